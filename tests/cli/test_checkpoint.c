/* test_checkpoint.c - an exact trace that is killed halfway and goes on; checkpoints of other requests, damaged ones,
 * of several inputs. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>

#include <jansson.h>

#include "support/command.h"

#define MODEL SPADE_TEST_DATA "/models/scene_resnet.onnx"
#define PICTURE SPADE_TEST_DATA "/images/scene00.png"
enum { LAYERS = 20, ATTEMPTS = 30 };

extern char **environ;

/* Finished layers in a checkpoint; the path of one of them (any) where `path` is not NULL. */
static int count_layers(const char *folder, char *path, size_t size)
{
    int count = 0;
    DIR *list = opendir(folder);
    if (!list) { return 0; }
    for (const struct dirent *entry; (entry = readdir(list));) {
        size_t length = strlen(entry->d_name), end = strlen(".layer");
        if (length <= end || strcmp(entry->d_name + length - end, ".layer") != 0) { continue; }
        if (path) { snprintf(path, size, "%s/%s", folder, entry->d_name); }
        count++;
    }
    closedir(list);
    return count;
}

/* The trace to NAME.safetensors, with more options; returns how many layers came from the checkpoint. */
static int trace(const char *folder, const char *name, const char *options)
{
    command_result result = command_run("trace " MODEL " " PICTURE " --resize 0 --variants 8 --solver exact %s "
                                        "--json -o %s/%s.safetensors",
                                        options, folder, name);
    if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
    json_t *object = json_loads(result.out, 0, NULL), *layer;
    const json_t *layers = json_object_get(object, "layers");
    int resumed = 0;
    size_t index;
    assert_int_equal(json_array_size(layers), LAYERS + 1);
    json_array_foreach(layers, index, layer)
    {
        resumed += json_is_true(json_object_get(layer, "resumed"));
    }
    json_decref(object);
    command_clear(&result);
    return resumed;
}

static void assert_same(const char *folder, const char *left, const char *right)
{
    char path[512];
    size_t sizes[2] = {0, 0};
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, left);
    char *a = file_read(path, &sizes[0]);
    snprintf(path, sizeof path, "%s/%s.safetensors", folder, right);
    char *b = file_read(path, &sizes[1]);
    assert_true(a && b);
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(a, b, sizes[0]);
    free(a);
    free(b);
}

/* Start a trace, kill it as soon as three layers are done. Returns how many there are then: all, where it was too
 * quick. */
static int kill_halfway(const char *checkpoint, char *output)
{
    char *const arguments[] = {(char *)(uintptr_t)SPADE_COMMAND,
                               (char *)(uintptr_t) "trace",
                               (char *)(uintptr_t)MODEL,
                               (char *)(uintptr_t)PICTURE,
                               (char *)(uintptr_t) "--resize=0",
                               (char *)(uintptr_t) "--variants=8",
                               (char *)(uintptr_t) "--solver=exact",
                               (char *)(uintptr_t) "--checkpoint",
                               (char *)(uintptr_t)checkpoint,
                               (char *)(uintptr_t) "-q",
                               (char *)(uintptr_t) "-o",
                               output,
                               NULL};
    pid_t child;
    int status;
    assert_int_equal(posix_spawn(&child, SPADE_COMMAND, NULL, NULL, arguments, environ), 0);
    while (count_layers(checkpoint, NULL, 0) < 3 && waitpid(child, &status, WNOHANG) == 0) { usleep(200); }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return count_layers(checkpoint, NULL, 0);
}

static void test_killed_and_resumed(void **state)
{
    (void)state;
    char *folder = folder_make(), checkpoint[256], output[256], options[300];
    int finished = LAYERS;
    assert_int_equal(trace(folder, "whole", ""), 0);
    snprintf(output, sizeof output, "%s/killed.safetensors", folder);
    for (int i = 0; finished == LAYERS && i < ATTEMPTS; i++) { /* a machine may be quicker than the signal */
        snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint/%d", folder, i);
        finished = kill_halfway(checkpoint, output);
    }
    assert_in_range(finished, 3, LAYERS - 1);
    assert_false(file_exists(output));
    snprintf(options, sizeof options, "--checkpoint %s --threads 1", checkpoint);
    assert_int_equal(trace(folder, "resumed", options), finished);
    assert_same(folder, "whole", "resumed");
    assert_int_equal(count_layers(checkpoint, NULL, 0), LAYERS);
    assert_int_equal(trace(folder, "again", options), LAYERS);
    assert_same(folder, "whole", "again");
    folder_remove(folder);
}

static void test_other_requests_and_damage(void **state)
{
    (void)state;
    char *folder = folder_make(), options[400], path[512], *bytes;
    size_t size = 0;
    snprintf(options, sizeof options, "--checkpoint %s/c", folder);
    assert_int_equal(trace(folder, "first", options), 0);

    /* other groups: nothing fits; fewer layers: those that are asked for do */
    assert_int_equal(trace(folder, "plain", "--group element"), 0);
    snprintf(options, sizeof options, "--group element --checkpoint %s/c", folder);
    assert_int_equal(trace(folder, "other", options), 0);
    assert_same(folder, "plain", "other");
    snprintf(options, sizeof options, "--group element --skip 'layer4.*' --checkpoint %s/c", folder);
    assert_int_equal(trace(folder, "skipped", options), LAYERS - 3);
    snprintf(options, sizeof options, "--checkpoint %s/c", folder);
    assert_int_equal(trace(folder, "second", options), LAYERS); /* the first request is still there */
    assert_same(folder, "first", "second");

    /* other variants: another sample beside it */
    snprintf(options, sizeof options, "--seed 7 --checkpoint %s/c", folder);
    assert_int_equal(trace(folder, "seed", options), 0);
    snprintf(options, sizeof options, "--seed 7 --bgr --checkpoint %s/c", folder);
    assert_int_equal(trace(folder, "bgr", options), 0);
    snprintf(path, sizeof path, "%s/c", folder);
    assert_int_equal(count_layers(path, NULL, 0), 4 * LAYERS);

    /* one number of one layer changed; a file cut short */
    snprintf(options, sizeof options, "--checkpoint %s/d", folder);
    assert_int_equal(trace(folder, "whole", options), 0);
    snprintf(options, sizeof options, "%s/d", folder);
    assert_int_equal(count_layers(options, path, sizeof path), LAYERS);
    bytes = file_read(path, &size);
    bytes[size - 3] ^= 1;
    file_write(path, bytes, size);
    snprintf(options, sizeof options, "--checkpoint %s/d", folder);
    assert_int_equal(trace(folder, "damaged", options), LAYERS - 1);
    assert_same(folder, "whole", "damaged");
    file_write(path, bytes, size / 2);
    assert_int_equal(trace(folder, "short", options), LAYERS - 1);
    assert_same(folder, "whole", "short");
    file_write(path, bytes, 0);
    assert_int_equal(trace(folder, "empty", options), LAYERS - 1);
    assert_same(folder, "whole", "empty");
    free(bytes);
    folder_remove(folder);
}

static void test_explain_keeps_every_input(void **state)
{
    (void)state;
    char *folder = folder_make(), path[512];
    size_t sizes[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        command_result result = command_run("explain " MODEL " " PICTURE " " SPADE_TEST_DATA
                                            "/images/scene01.png --resize 0 --variants 8 --solver exact --class 1 "
                                            "--checkpoint %s/c -o %s/%d",
                                            folder, folder, i);
        if (result.code != 0) { fail_msg("code %d: %s", result.code, result.err); }
        command_clear(&result);
        snprintf(path, sizeof path, "%s/c", folder);
        assert_int_equal(count_layers(path, NULL, 0), 2 * LAYERS);
    }
    snprintf(path, sizeof path, "%s/0/scene01/trace_saliency.npy", folder);
    char *a = file_read(path, &sizes[0]);
    snprintf(path, sizeof path, "%s/1/scene01/trace_saliency.npy", folder);
    char *b = file_read(path, &sizes[1]);
    assert_true(a && b && sizes[0] == sizes[1]);
    assert_memory_equal(a, b, sizes[0]);
    free(a);
    free(b);
    folder_remove(folder);
}

static void test_a_folder_that_cannot_be_is_an_error(void **state)
{
    (void)state;
    command_result result =
        command_run("trace " MODEL " " PICTURE " --resize 0 --variants 8 --solver exact --checkpoint "
                    "/dev/null/c -o /tmp/spade_never.safetensors");
    assert_int_equal(result.code, 1);
    assert_non_null(strstr(result.err, "/dev/null/c: cannot write checkpoints"));
    command_clear(&result);
    result = command_run("trace " MODEL " " PICTURE " --group rows -o /tmp/spade_never.safetensors");
    assert_int_equal(result.code, 2);
    assert_non_null(strstr(result.err, "'rows' is none of kernel, element, channels-last"));
    command_clear(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_and_resumed),
        cmocka_unit_test(test_other_requests_and_damage),
        cmocka_unit_test(test_explain_keeps_every_input),
        cmocka_unit_test(test_a_folder_that_cannot_be_is_an_error),
    };
    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
