/* annotate.h - annotate as the tests of the command run it, on one network, with manifest and store in one folder. */
#ifndef SPADE_TEST_ANNOTATE_H
#define SPADE_TEST_ANNOTATE_H

#include "support/command.h"

#define ANNOTATE_MODEL SPADE_TEST_DATA "/models/scene_resnet.onnx"

/* Its code, and what it says on stderr, among other things; NULL: anything. manifest: a shell's pattern stays one. */
static inline void annotate_in(const char *folder, const char *manifest, const char *store, const char *arguments,
                               int code, const char *says)
{
    command_result r =
        command_run("annotate " ANNOTATE_MODEL " '%s/%s' -o %s/%s %s", folder, manifest, folder, store, arguments);
    if (r.code != code || (says && !strstr(r.err, says))) {
        fail_msg("%s: code %d, expected %d: %s (expected '%s')", arguments, r.code, code, r.err, says ? says : "");
    }
    command_clear(&r);
}

/* The first shards of two stores have the same bytes, and merge finds no fault in the first. */
static inline void annotate_expect_same(const char *folder, const char *store, const char *other, int shards)
{
    for (int i = 0; i < shards; i++) {
        char line[600];
        snprintf(line, sizeof line, "cd %s && cmp %s/shard-%06d.tar %s/shard-%06d.tar", folder, store, i, other, i);
        if (system(line) != 0) { fail_msg("%s and %s: shard %d differs", store, other, i); }
    }
    command_result r = command_run("merge %s/%s -q", folder, store);
    if (r.code || *r.err) { fail_msg("%s", r.err); }
    command_clear(&r);
}

#endif
