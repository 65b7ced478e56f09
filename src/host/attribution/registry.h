/* registry.h - the table of methods, and what a call of spade_attribute() hands to each of them. */
#ifndef SPADE_ATTRIBUTION_REGISTRY_H
#define SPADE_ATTRIBUTION_REGISTRY_H

#include "base/named_options.h"
#include "base/target_text.h"
#include "engine/model.h"
#include "spade/check.h"

/* Everything that one call of spade_attribute() works on. */
typedef struct attribution_job {
    spade_context *context;
    const spade_model *model;
    const char *method; /* its name, for messages and progress */
    spade_score score;  /* what F is of a class */
    uint64_t seed;
    const spade_preprocess *preprocess; /* how inputs were made of pictures; NULL: not known */
    int64_t channels, height, width;    /* of the input */
    int64_t size;                       /* channels * height * width */
    int64_t outputs;                    /* of the network; 1: it has two classes */
    int64_t class_count;
    /* Only while maps are made: */
    const spade_trace *trace;    /* NULL: the dense network */
    const float *input;          /* [pictures, size] */
    const spade_target *targets; /* [pictures, n] */
    int pictures;                /* 1, but for methods that take several */
    int n;
} attribution_job;

struct attribution_method;

/* One of the methods that are made of one walk. */
typedef struct attribution_member {
    const void *part;    /* its row's */
    const void *options; /* its own struct */
    float *maps;         /* [pictures, n, shape of a map] */
} attribution_member;

/*
 * Methods whose maps are made of one walk where the options that they have in common are the same: members [count], 1 to
 * SPADE_MAX_TOGETHER. A map is to the bit what it is alone. Such methods have no notes.
 */
typedef struct attribution_family {
    spade_status (*run)(const attribution_job *job, const attribution_member *members, int count);
    bool
        takes_pictures; /* run() is for any number of pictures, which share passes where that is faster; else for one */
} attribution_family;

/*
 * One row per method, at the end of the method's file. `options` below is the method's own struct, [options_bytes],
 * filled in from the texts of its options; base/named_options.h says which type of member each type of option has.
 */
typedef struct attribution_method {
    spade_method_info info;
    size_t options_bytes;
    const size_t *option_offsets; /* [info.option_count]: of each option's member */
    /* Do the options fit the network? NULL: they always do. */
    spade_status (*check)(const attribution_job *job, const void *options);
    /* [C, H, W] of a map, after a successful check. NULL: the input's. */
    void (*shape)(const attribution_job *job, const void *options, int64_t shape[3]);
    /* Forward and backward passes for one class. NULL: one. */
    double (*passes)(const attribution_job *job, const void *options);
    /* maps [pictures, n, shape of a map]; notes [pictures, n] without a delta yet, or NULL. NULL: the family's is called. */
    spade_status (*run)(const attribution_job *job, const void *options, float *maps, spade_map_note *notes);
    bool takes_pictures;              /* of run(), as the family's */
    const attribution_family *family; /* NULL: it shares its walk with no other */
    const void *part;                 /* what it makes of the walk, for the family's `run` */
    /* spade_method_flags of a map. NULL: info.flags. */
    unsigned (*flags)(const void *options);
    double (*completeness)(const void *options); /* likewise, of info.completeness */
    /* SPADE_METHOD_CONSERVATION: the walk once more, for one class, and what becomes of its relevance. */
    spade_status (*conserve)(const attribution_job *job, const void *options, const spade_target *target,
                             spade_conservation *out);
} attribution_method;

/*
 * THE list of methods, in the order in which they are shown: attribution_NAME is the row of NAME (of gradcam++ that is
 * gradcam_plus_plus). It ends NAME.c, or the file of the first of several methods that share all but their row (smoothgrad.c).
 */
/* clang-format off */
#define ATTRIBUTION_METHODS(ROW) \
    ROW(saliency)                \
    ROW(input_x_gradient)        \
    ROW(integrated_gradients)    \
    ROW(smoothgrad)              \
    ROW(smoothgrad_squared)      \
    ROW(vargrad)                 \
    ROW(gradient_shap)           \
    ROW(deeplift)                \
    ROW(lrp)                     \
    ROW(attnlrp)                 \
    ROW(guided_backprop)         \
    ROW(deconvolution)           \
    ROW(gradcam)                 \
    ROW(gradcam_plus_plus)       \
    ROW(layercam)                \
    ROW(scorecam)                \
    ROW(guided_gradcam)          \
    ROW(attention_rollout)       \
    ROW(attention_gradient)      \
    ROW(smooth)                  \
    ROW(occlusion)               \
    ROW(rise)                    \
    ROW(lime)                    \
    ROW(kernel_shap)
/* clang-format on */
#define ATTRIBUTION_DECLARATION(name) extern const attribution_method attribution_##name;
ATTRIBUTION_METHODS(ATTRIBUTION_DECLARATION)
#undef ATTRIBUTION_DECLARATION

/* Member of an option of type METHOD. */
typedef struct attribution_wrapped {
    char *text;                     /* as the options hold it */
    spade_attribution *attribution; /* owned; made of the text by options.c */
} attribution_wrapped;

/* The options that every method has. */
typedef struct attribution_common {
    int output; /* 0: logits, 1: scores */
    int64_t seed;
} attribution_common;

struct spade_attribution {
    const attribution_method *method;
    void *options; /* the method's own struct */
    attribution_common common;
    spade_preprocess *preprocess; /* owned; NULL: nobody said */
    spade_named_options named;    /* both, by the names of their options */
};

/* ---- registry.c */
/* attribution_method.shape of methods whose maps have one number a pixel of the input. */
void attribution_pixels_shape(const attribution_job *job, const void *options, int64_t shape[3]);
/* As the backend's seeds take it. */
static inline spade_seed_target attribution_seed_target(const spade_target *target)
{
    return (spade_seed_target){target->class_index, target->contrast ? target->against : -1};
}
/* A job without an attribution, whose F is the class's score: of the metrics that ask the network. what: for messages and
 * progress. */
attribution_job attribution_job_of_scores(spade_context *context, const spade_model *model, const char *what);
/* Its targets are classes of the network. */
spade_status attribution_check_targets(const attribution_job *job);
/* What the job asks of one of its pictures. */
attribution_job attribution_job_of_picture(const attribution_job *job, int picture);
/* The attribution's maps, of a job whose options were checked: as attribution_method.run has them. */
spade_status attribution_run(const attribution_job *job, const spade_attribution *attribution, float *maps,
                             spade_map_note *notes);
/* NULL: there is no method of this name, which is the first `length` characters. */
const attribution_method *attribution_find(const char *name, size_t length);

/* ---- not_finite.c: the map of a target failed with SPADE_ERROR_NUMERICAL, `status`, whose message is set. A message that names
 * the layer takes its place where one is to blame at the input itself, and not only at inputs that the method made of it. */
spade_status attribution_explain_not_finite(const attribution_job *job, const spade_target *target,
                                            spade_status status);

/* ---- options.c */
/* From a method and the part of the text behind its name: "" or ":samples=25". */
spade_status attribution_create(spade_context *context, const attribution_method *method, const char *options,
                                spade_attribution **out);

#endif
