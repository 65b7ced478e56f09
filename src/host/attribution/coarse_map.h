/* coarse_map.h - what methods whose maps are as coarse as a layer share: the option `upsample`, and enlarging. */
#ifndef SPADE_ATTRIBUTION_COARSE_MAP_H
#define SPADE_ATTRIBUTION_COARSE_MAP_H

#include "attribution/registry.h"

enum { ATTRIBUTION_BILINEAR, ATTRIBUTION_NONE }; /* words of `upsample`, in their order */
/* clang-format off */
#define ATTRIBUTION_UPSAMPLE_OPTION                                                                                    \
    {.name = "upsample",                                                                                               \
     .help = "to the input's size, or none: as large as the layer's value",                                            \
     .type = SPADE_OPTION_WORD,                                                                                        \
     .words = "bilinear|none",                                                                                         \
     .default_value = "bilinear"}
/* clang-format on */

/* [1, H, W] of the input, or of the coarse maps. */
void attribution_coarse_shape(const attribution_job *job, int64_t height, int64_t width, int upsample,
                              int64_t shape[3]);
/* small, host [n, height, width], to maps, host [n, H, W] or, where nothing is enlarged, the same. */
void attribution_enlarge_maps(const attribution_job *job, const float *small, int64_t height, int64_t width,
                              int upsample, float *maps);
/* small, host [n, height, width]: the job's targets. */
typedef spade_status (*attribution_coarse_fn)(const attribution_job *job, const void *user, float *small);
/* maps, host [n, H, W] or [n, height, width]: what `make` gives, enlarged if that is asked for. */
spade_status attribution_coarse_maps(const attribution_job *job, int64_t height, int64_t width, int upsample,
                                     attribution_coarse_fn make, const void *user, float *maps);

#endif
