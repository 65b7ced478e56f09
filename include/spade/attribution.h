/*
 * spade/attribution.h - interpretability methods, on the dense network or on a trace.
 *
 * A method gives a map for a class: one number for each input value, [C, H, W], or a smaller map where the method looks
 * at a layer. F, which the definitions speak of, is the class's logit, or with output=scores the score that the
 * network gives it (spade_model_scores(): softmax, or sigmoid). Of one output z, the logit of class 1 is z and that of
 * class 0 is -z. A contrast explains one class against another: F is F_A - F_B, of one output and classes 1 and 0 2z.
 * The methods and their options are listed by spade_method_at(), with definition and source.
 *
 *   spade_attribution *method;
 *   spade_attribution_create(context, "smoothgrad:samples=25:sigma=0.1", &method);
 *   spade_attribution_map_shape(context, model, method, shape);
 *   const spade_target target = {.class_index = 281}; // or .contrast = true, .against = 282 as well
 *   spade_attribute(context, model, NULL, method, input, &target, 1, map, NULL);
 *   spade_attribution_destroy(method);
 */
#ifndef SPADE_ATTRIBUTION_H
#define SPADE_ATTRIBUTION_H

#include "spade/option.h"
#include "spade/picture.h"
#include "spade/trace.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- what there is */

typedef enum spade_method_flags {
    SPADE_METHOD_SIGNED = 1,        /* the map says for and against: it may be negative */
    SPADE_METHOD_COMPLETENESS = 2,  /* the map should sum to a known difference of F; spade_map_note has the delta */
    SPADE_METHOD_OFFSET = 4,        /* only differences within a map mean something: SPADE_REDUCE_ABOVE_LEAST */
    SPADE_METHOD_WRAPPER = 8,       /* of maps of another method, whose flags count: spade_attribution_flags() */
    SPADE_METHOD_CONSERVATION = 16, /* relevance goes from node to node, and none is to be lost: spade/check.h */
    SPADE_METHOD_SLOPE = 32, /* a derivative, or made of such: times a change of the input it says how F changes */
    SPADE_METHOD_RANDOM = 64 /* numbers are drawn for it: the option `seed` counts */
} spade_method_flags;

typedef struct spade_method_info {
    const char *name;       /* "smoothgrad" */
    const char *title;      /* "SmoothGrad" */
    const char *definition; /* formula, one line */
    const char *source;     /* paper */
    const char *cost;       /* of the map of one class, in passes of one picture through the network */
    const char *needs;      /* which networks and options it is for; NULL: all */
    unsigned flags;         /* spade_method_flags */
    const spade_option_info *options;
    int option_count;
    double
        completeness; /* COMPLETENESS: the delta, as a share of the difference, that its source or definition lets pass */
} spade_method_info;

SPADE_API int spade_method_count(void);
SPADE_API const spade_method_info *spade_method_at(int index);          /* NULL: no such index */
SPADE_API const spade_method_info *spade_method_find(const char *name); /* NULL: no such method */
/* Options that every method has beside its own: what is explained, and the seed. *count: how many. */
SPADE_API const spade_option_info *spade_method_common_options(int *count);

/* ---- a method with its options */

typedef struct spade_attribution spade_attribution;

/*
 * From text: METHOD[:OPTION=VALUE]..., as spade/option.h says it.
 * SPADE_ERROR_ARGUMENT says what is wrong and what there is. *out: NULL after a failure.
 */
SPADE_API spade_status spade_attribution_create(spade_context *context, const char *text, spade_attribution **out);
/* Set one option. The value is written as in the text; a LAYER is cut at its last colon if a whole number follows. */
SPADE_API spade_status spade_attribution_set(spade_context *context, spade_attribution *attribution, const char *option,
                                             const char *value);
/* The same for what is asked of several methods at once: a method that has no such option is left as it is, and so is
 * an option that was set already, by the text or by spade_attribution_set(). */
SPADE_API spade_status spade_attribution_set_default(spade_context *context, spade_attribution *attribution,
                                                     const char *option, const char *value);
/* 1: it would set this option: the method has it, and nobody set it. The options of a method inside of this one (of=METHOD)
 * are not among its own. */
SPADE_API int spade_attribution_takes_default(const spade_attribution *attribution, const char *option);
/* How pictures become inputs (spade_preprocess_apply()): baselines that are said in pictures need it: black, random, and
 * a file that is a picture. Copied. */
SPADE_API spade_status spade_attribution_set_preprocess(spade_context *context, spade_attribution *attribution,
                                                        const spade_preprocess *preprocess);
/* spade_method_flags of its maps: the method's, or of a wrapper those of the method inside. */
SPADE_API unsigned spade_attribution_flags(const spade_attribution *attribution);
/* spade_method_info.completeness likewise; 0: the method promises no sum. */
SPADE_API double spade_attribution_completeness(const spade_attribution *attribution);
SPADE_API const spade_method_info *spade_attribution_method(const spade_attribution *attribution);
/* The files that its options name: the option and the path of number `index` among those that were given, both the
 * attribution's. False: there are no more. */
SPADE_API bool spade_attribution_file(const spade_attribution *attribution, int index, const char **option,
                                      const char **path);
/* 1: the same method, and every option has the same value, whether it was written or is the default: the maps are the same. */
SPADE_API int spade_attributions_equal(const spade_attribution *a, const spade_attribution *b);
SPADE_API void spade_attribution_destroy(spade_attribution *attribution); /* NULL is fine */

/* ---- maps */

/* Size of a map of this network, known before it is made: [C, H, W], most often that of the network's input. An
 * option that does not fit the network (a layer that it does not have) is SPADE_ERROR_ARGUMENT. */
SPADE_API spade_status spade_attribution_map_shape(spade_context *context, const spade_model *model,
                                                   const spade_attribution *attribution, int64_t shape[3]);
/* Forward and backward passes that the map of one class takes: for estimates of time. */
SPADE_API double spade_attribution_passes(const spade_model *model, const spade_attribution *attribution);

/* What is known of a map beside its numbers. */
typedef struct spade_map_note {
    /* completeness: sum of the map (of superpixels: one number of each) - difference; NaN: the method promises no such sum */
    double delta;
    double difference; /* F(x) - F(baseline); NaN with a delta that is */
} spade_map_note;

/*
 * What a map explains: a class, or with `contrast` a class against another. Every method takes F_A - F_B where its
 * definition has F: gradients are those of the difference, images are scored by it, the relevance of LRP begins with z_A
 * at A and -z_B at B. So where a map is linear in F it is the difference of the maps of the classes, and elsewhere
 * (absolute values, max(.., 0), guided walks) it is not. attention_rollout depends neither on a class nor on a contrast.
 */
typedef struct spade_target {
    int64_t class_index; /* A: F_A is explained */
    int64_t against;     /* B, of a contrast: F_A - F_B is */
    bool contrast;
} spade_target;

/*
 * input [C, H, W] normalised; targets [n]; maps out [n, shape of a map]; notes out [n], may be NULL. trace: NULL for
 * the dense network. A class that the network has not, and a class against itself, are SPADE_ERROR_ARGUMENT. An operator
 * that the method has no backward rule for is SPADE_ERROR_UNSUPPORTED and named, never a silent gradient. An input with NaN
 * or infinite numbers is SPADE_ERROR_INPUT, a map of them SPADE_ERROR_NUMERICAL; what is not finite only inside of the network,
 * where a relu makes 0 of it, is found by spade_model_forward().
 */
SPADE_API spade_status spade_attribute(spade_context *context, const spade_model *model, const spade_trace *trace,
                                       const spade_attribution *attribution, const float *input,
                                       const spade_target *targets, int n, float *maps, spade_map_note *notes);

/*
 * Maps of several methods from one walk through the network: of those of smoothgrad, smoothgrad_squared and vargrad, of
 * saliency and input_x_gradient, of gradcam, gradcam++ and layercam, and of guided_backprop and guided_gradcam, where the
 * options that they have in common are the same. 1: these two can be made together; so can all that can with the same one,
 * which comes first then, at most SPADE_MAX_TOGETHER.
 */
enum { SPADE_MAX_TOGETHER = 8 };
SPADE_API int spade_attributions_share(const spade_attribution *a, const spade_attribution *b);
/* spade_attribute() for attributions [count] that share their walk: maps out [count], each [n, shape of a map], to the bit
 * what they are alone. notes out [count, n], may be NULL. SPADE_ERROR_ARGUMENT: they do not share it. */
SPADE_API spade_status spade_attribute_together(spade_context *context, const spade_model *model,
                                                const spade_trace *trace, const spade_attribution *const *attributions,
                                                int count, const float *input, const spade_target *targets, int n,
                                                float *const *maps, spade_map_note *notes);

/*
 * The same for several pictures on the dense network: inputs [pictures, C, H, W]; targets [pictures, n]; maps out [count],
 * each [pictures, n, shape of a map]; notes out [count, pictures, n], may be NULL. On a GPU the methods that go back once
 * from one input or two (saliency and input_x_gradient, guided_backprop and guided_gradcam, deconvolution, lrp, attnlrp, deeplift) take the
 * pictures through the network in batches of 2, 4, .. 32 images, filled up with the last one: a map is the same to the bit
 * whenever its batch is the same, and what it is alone up to rounding. Others, and all on the CPU, take one picture after the
 * other: there maps are to the bit what they are alone.
 */
SPADE_API int
spade_attribution_takes_pictures(const spade_attribution *attribution); /* 1: it is one of those methods */
SPADE_API spade_status spade_attribute_pictures(spade_context *context, const spade_model *model,
                                                const spade_attribution *const *attributions, int count,
                                                const float *inputs, int pictures, const spade_target *targets, int n,
                                                float *const *maps, spade_map_note *notes);

#ifdef __cplusplus
}
#endif
#endif
