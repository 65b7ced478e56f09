/* preset.h - how pictures are prepared for networks of one family, by name or as a file says it. */
#ifndef SPADE_CONFIG_PRESET_H
#define SPADE_CONFIG_PRESET_H

#include "base/base.h"
#include "spade/picture.h"

/* The members are those of spade_settings. */
typedef struct spade_preset {
    const char *name;
    double mean[4], std[4]; /* of colours, and of channels that are none */
    int resample;           /* spade_resample */
    bool filter_unsaid;     /* a file whose pictures are resized does not say with which: it is bilinear */
    double crop_share;
    int64_t resize;    /* -1: as crop_share says */
    int64_t open_size; /* of networks that leave their input's size open; 0: unknown */
    int scale;         /* 0: values to 1; 1: to 255 */
    bool squash, bgr;
} spade_preset;

/* text: imagenet, clip, inception, none, or a file: timm's config.json, Hugging Face's preprocessor_config.json. */
spade_status spade_preset_find(spade_context *context, const char *text, spade_preset *out);

#endif
