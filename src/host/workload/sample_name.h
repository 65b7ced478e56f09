/*
 * sample_name.h - WebDataset's rule: the members of a sample have one key, their path up to the first dot of its last part, and stand side
 * by side; what follows the dot says what they are.
 */
#ifndef SPADE_WORKLOAD_SAMPLE_NAME_H
#define SPADE_WORKLOAD_SAMPLE_NAME_H

#include "base/base.h"

typedef enum sample_role {
    SAMPLE_NO_KEY,        /* it belongs to no sample */
    SAMPLE_META,          /* __NAME__, of whoever wrote the tar: passed over as WebDataset does */
    SAMPLE_PICTURE,       /* KEY.jpg */
    SAMPLE_INNER_PICTURE, /* KEY.input.jpg: the picture, where there is none of the kind before */
    SAMPLE_MASK,          /* KEY.mask.png, KEY.seg.png, KEY.segmentation.png */
    SAMPLE_TEXT,          /* KEY.txt, KEY.cls, KEY.json, ...: a column */
    SAMPLE_LONG_TEXT,     /* larger than SAMPLE_MOST_TEXT */
    SAMPLE_OTHER          /* the picture, if its content says so and there is no other one */
} sample_role;

enum {
    SAMPLE_MOST_TEXT = 1 << 16, /* bytes of a column */
    SAMPLE_MOST_TEXTS = 16,     /* columns of a sample */
    SAMPLE_MOST_MEMBERS = 64,
    SAMPLE_SUFFIX = 64 /* of a name that is told from others, with its end */
};

/* *key: characters of the key; the suffix begins one behind it. */
sample_role sample_role_of(const char *name, uint64_t size, int *key);
/* Behind the key, in small letters, as WebDataset compares them; cut to SAMPLE_SUFFIX. */
void sample_suffix(const char *name, int key, char out[SAMPLE_SUFFIX]);

#endif
