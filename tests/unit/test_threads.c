/*
 * Two contexts in two threads, and one context in many calls: each gives the numbers, to the last bit, that a context gives
 * that is alone and new. Run under ThreadSanitizer as well (scripts/test.sh), with pictures decoded, files written and
 * OpenMP's threads at work in both.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/base.h"
#include "spade/spade.h"
#include "support/command.h"
#include "support/context.h"
#include "support/wire.h"
#include "support/targets.h"

#define MODEL SPADE_TEST_DATA "/exports/resnet.new.onnx"
#define PICTURE SPADE_TEST_DATA "/images/scene00.png"

/* In place of the C library's: the mask of new files is the whole process's, and can only be read by setting it. Who does that
 * while another thread makes a file gives that one the wrong mode, or leaves the mask at 0, once in ten thousand times. */
static atomic_int mask_calls;

mode_t umask(mode_t mask)
{
    atomic_fetch_add(&mask_calls, 1);
    return (mode_t)syscall(SYS_umask, mask);
}

enum { CLASSES = 5, SIDE = 32, SIZE = 3 * SIDE * SIDE, VARIANTS = 6, ROUNDS = 3 };

#ifndef __has_feature /* clang has it */
#define __has_feature(name) 0
#endif

/* Under ThreadSanitizer one each: LLVM's OpenMP runtime (14 to 19) ends in its own memory now and then where two threads that
 * are not its own run tasks with dependences at once; one context of two threads is tried below. */
enum { CONTEXT_THREADS = __has_feature(thread_sanitizer) ? 1 : 2 };

typedef struct numbers {
    float logits[2][CLASSES]; /* of the dense network, and of the trace */
    float maps[2][SIZE];
} numbers;

typedef struct job {
    spade_context *context; /* NULL: one of its own */
    char path[300];         /* file that it writes */
    bool failed;
    char message[SPADE_MESSAGE_BYTES];
    numbers out;
} job;

typedef struct objects {
    spade_model *model;
    spade_picture picture;
    spade_batch *batch;
    spade_trace *trace;
    spade_attribution *saliency;
} objects;

static spade_status compute(spade_context *context, const char *path, objects *o, numbers *out)
{
    const int64_t target = 1;
    float input[SIZE];
    spade_preprocess preprocess;
    spade_augment_options augment;
    spade_trace_options options;
    int64_t channels, height, width;
    SPADE_TRY(spade_model_load(context, MODEL, NULL, &o->model));
    spade_model_input(o->model, &channels, &height, &width);
    if (channels * height * width != SIZE || spade_model_outputs(o->model) != CLASSES) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: not the network that this test is for", MODEL);
    }
    spade_preprocess_init(&preprocess, height, width);
    SPADE_TRY(spade_picture_load(context, PICTURE, &o->picture));
    SPADE_TRY(spade_preprocess_apply(context, &preprocess, &o->picture, input, NULL));
    spade_augment_options_init(&augment);
    augment.variants = VARIANTS;
    spade_trace_options_init(&options);
    SPADE_TRY(spade_batch_from_picture(context, &o->picture, &preprocess, &augment, &o->batch));
    SPADE_TRY(spade_trace_create(context, o->model, o->batch, &options, &o->trace));
    SPADE_TRY(spade_attribution_create(context, "saliency", &o->saliency));
    for (int i = 0; i < 2; i++) {
        const spade_trace *trace = i ? o->trace : NULL;
        SPADE_TRY(spade_model_forward(context, o->model, trace, input, 1, out->logits[i]));
        SPADE_TRY(spade_attribute(context, o->model, trace, o->saliency, input, targets_of(&target, 1), 1, out->maps[i],
                                  NULL));
    }
    return spade_array_save(context, path, out->maps[1], 1, (int64_t[]){SIZE});
}

static void run(job *j)
{
    objects o = {0};
    spade_context *context = j->context;
    if (!context) {
        spade_context_options options;
        spade_context_options_init(&options);
        options.device = "cpu";
        options.threads = CONTEXT_THREADS;
        j->failed = spade_context_create(&options, &context) != SPADE_OK;
    }
    if (!j->failed) { j->failed = compute(context, j->path, &o, &j->out) != SPADE_OK; }
    snprintf(j->message, sizeof j->message, "%s", spade_message(context));
    spade_attribution_destroy(o.saliency);
    spade_trace_destroy(o.trace);
    spade_batch_destroy(o.batch);
    spade_picture_clear(&o.picture);
    spade_model_destroy(o.model);
    if (!j->context) { spade_context_destroy(context); }
}

static void expect_same(const job *j, const numbers *wanted)
{
    if (j->failed) { fail_msg("%s", j->message); }
    assert_memory_equal(&j->out, wanted, sizeof *wanted);
}

static job *make_job(spade_context *context, int number)
{
    job *j = calloc(1, sizeof *j);
    assert_non_null(j);
    j->context = context;
    snprintf(j->path, sizeof j->path, "%s/map%d.npy", test_folder(), number);
    return j;
}

/* One thread of two. */
typedef struct worker {
    pthread_t thread;
    job *rounds[ROUNDS];
} worker;

static void *run_rounds(void *user)
{
    worker *w = user;
    for (int i = 0; i < ROUNDS; i++) { run(w->rounds[i]); }
    return NULL;
}

static void test_two_contexts(void **state)
{
    (void)state;
    worker workers[2];
    job *alone = make_job(NULL, 0);
    const mode_t before = umask(022);
    run(alone);
    expect_same(alone, &alone->out);
    for (int i = 0; i < 2; i++) {
        for (int round = 0; round < ROUNDS; round++) {
            workers[i].rounds[round] = make_job(NULL, 1 + i * ROUNDS + round);
        }
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run_rounds, &workers[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        for (int round = 0; round < ROUNDS; round++) {
            struct stat info;
            job *j = workers[i].rounds[round];
            expect_same(j, &alone->out);
            assert_int_equal(stat(j->path, &info), 0);
            assert_int_equal(info.st_mode & 0777, 0644);
            free(j);
        }
    }
    assert_int_equal(mask_calls, 1); /* this test's own */
    assert_int_equal(umask(before), 022);
    free(alone);
}

static void test_one_context_many_calls(void **state)
{
    (void)state;
    job *alone = make_job(NULL, 0);
    run(alone);
    spade_context *context = test_context("cpu", 2);
    for (int round = 0; round < ROUNDS; round++) {
        job *j = make_job(context, round);
        run(j);
        expect_same(j, &alone->out);
        free(j);
    }
    assert_int_equal(spade_bytes_in_use(context), 0);
    spade_context_destroy(context);
    free(alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_two_contexts),
                                       cmocka_unit_test(test_one_context_many_calls)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
