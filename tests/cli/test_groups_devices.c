/* test_groups_devices.c - explain with several inputs in flight: the same results whatever the group, each failure its own.
 * SPADE_TEST_DEVICE: where it all runs; where pictures share passes of another size, results are the same up to rounding. */
#include <math.h>
#include <sys/stat.h>

#include <jansson.h>

#include "support/command.h"

#define MODEL SPADE_TEST_DATA "/models/scene_resnet.onnx"
#define IMAGES SPADE_TEST_DATA "/images/"
enum { SIDE = 64, LARGE = 1400 };

static const char *device(void)
{
    const char *name = getenv("SPADE_TEST_DEVICE");
    return name ? name : "cpu";
}

/* A PPM of equal sides: of one value, or with something in it (key > 0). */
static void write_picture(const char *folder, const char *name, int side, int key)
{
    char path[300], header[32];
    size_t size = (size_t)side * (size_t)side * 3;
    int head = snprintf(header, sizeof header, "P6\n%d %d\n255\n", side, side);
    char *bytes = calloc(size + (size_t)head, 1);
    assert_non_null(bytes);
    memcpy(bytes, header, (size_t)head);
    for (size_t i = 0; key && i < size; i++) { bytes[(size_t)head + i] = (char)((i * i / 7 + (size_t)key * i) % 251); }
    snprintf(path, sizeof path, "%s/%s", folder, name);
    file_write(path, bytes, size + (size_t)head);
    free(bytes);
}

/* explain into FOLDER/NAME; *out: its results.json. Returns what it said on stderr, malloc'ed. */
static char *explain(int code, const char *folder, const char *name, const char *arguments, json_t **out)
{
    char path[300];
    command_result result = command_run("explain " MODEL " -o %s/%s --device %s %s", folder, name, device(), arguments);
    if (result.code != code) { fail_msg("%s: code %d: %s", arguments, result.code, result.err); }
    snprintf(path, sizeof path, "%s/%s/results.json", folder, name);
    *out = json_load_file(path, 0, NULL);
    assert_non_null(*out);
    char *err = result.err;
    result.err = NULL;
    command_clear(&result);
    return err;
}

static bool on_host(void)
{
    return strcmp(device(), "cpu") == 0;
}

/* The same but for rounding: of numbers that are above 1e-3, and counts and ranks of maps that a rounding may move little. */
static bool is_close(const json_t *a, const json_t *b)
{
    const char *key;
    json_t *member;
    size_t index;
    if (json_is_number(a) && json_is_number(b)) {
        const double x = json_number_value(a), y = json_number_value(b);
        return fabs(x - y) <= 1e-4 * fmax(fmax(fabs(x), fabs(y)), 1e-3);
    }
    if (json_typeof(a) != json_typeof(b) || json_object_size(a) != json_object_size(b) ||
        json_array_size(a) != json_array_size(b)) {
        return false;
    }
    json_object_foreach((json_t *)(uintptr_t)a, key, member)
    {
        const json_t *other = json_object_get(b, key);
        if (!other || !is_close(member, other)) { return false; }
    }
    json_array_foreach(a, index, member)
    {
        if (!is_close(member, json_array_get(b, index))) { return false; }
    }
    return json_is_object(a) || json_is_array(a) || json_equal(a, b);
}

/* The same inputs in the same order, everything but their seconds; the same failures. */
static void assert_same_results(const json_t *a, const json_t *b)
{
    size_t index;
    json_t *input;
    const json_t *others = json_object_get(b, "inputs");
    assert_int_equal(json_array_size(json_object_get(a, "inputs")), json_array_size(others));
    json_array_foreach(json_object_get(a, "inputs"), index, input)
    {
        json_t *other = json_array_get(others, index);
        json_object_del(input, "seconds");
        json_object_del(other, "seconds");
        assert_true(on_host() ? json_equal(input, other) : is_close(input, other));
    }
    assert_true(json_equal(json_object_get(a, "failed"), json_object_get(b, "failed")));
}

/* The bytes of FOLDER/RUN/NAME/KIND. */
static char *read_result(const char *folder, const char *run, const char *name, const char *kind, size_t *size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s/%s/%s", folder, run, name, kind);
    char *bytes = file_read(path, size);
    if (!bytes) { fail_msg("%s cannot be read", path); }
    return bytes;
}

/* Two NPY files of float32, [size] bytes: every number, up to 1e-5 of the largest. */
static void assert_close_arrays(const char *a, const char *b, size_t size)
{
    const size_t header = 10 + ((size_t)(uint8_t)a[8] | (size_t)(uint8_t)a[9] << 8);
    const size_t count = (size - header) / sizeof(float);
    double largest = 0, error = 0;
    assert_memory_equal(a, b, header);
    for (size_t i = 0; i < count; i++) {
        float left, right;
        memcpy(&left, a + header + i * sizeof left, sizeof left);
        memcpy(&right, b + header + i * sizeof right, sizeof right);
        largest = fmax(largest, fabs((double)left));
        error = fmax(error, fabs((double)left - (double)right));
    }
    assert_true(largest > 0 && error <= 1e-5 * largest);
}

/* Every map of every input of `a`, to the bit; on a device those of the dense network up to rounding. */
static void assert_same_maps(const char *folder, const char *a, const char *b, const json_t *results)
{
    static const char *const kinds[] = {"trace_saliency.npy", "trace_saliency.png", "input.png", "dense_saliency.npy",
                                        "dense_saliency.png"};
    size_t index;
    json_t *input;
    json_array_foreach(json_object_get(results, "inputs"), index, input)
    {
        const char *name = json_string_value(json_object_get(input, "name"));
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            const bool dense = strncmp(kinds[k], "dense", 5) == 0;
            size_t sizes[2] = {0, 0};
            if (!on_host() && strstr(kinds[k], "saliency.png")) { continue; } /* a colour may be the next one */
            char *left = read_result(folder, a, name, kinds[k], &sizes[0]);
            char *right = read_result(folder, b, name, kinds[k], &sizes[1]);
            assert_int_equal(sizes[0], sizes[1]);
            if (dense && !on_host()) {
                assert_close_arrays(left, right, sizes[0]);
            } else {
                assert_memory_equal(left, right, sizes[0]);
            }
            free(left);
            free(right);
        }
    }
}

static void assert_failed(const json_t *results, int index, const char *says)
{
    const json_t *entry = json_array_get(json_object_get(results, "failed"), (size_t)index);
    const char *error = json_string_value(json_object_get(entry, "error"));
    if (!error || !strstr(error, says)) { fail_msg("failure %d: '%s', not '%s'", index, error ? error : "", says); }
}

/* FOLDER/masks: a mask for each of the first scenes, under the name of its picture. */
static void write_masks(const char *folder)
{
    char path[300];
    snprintf(path, sizeof path, "%s/masks", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    for (int i = 0; i < 3; i++) {
        size_t size = 0;
        snprintf(path, sizeof path, IMAGES "scene%02d_patch.png", i);
        char *mask = file_read(path, &size);
        assert_non_null(mask);
        snprintf(path, sizeof path, "%s/masks/scene%02d.png", folder, i);
        file_write(path, mask, size);
        free(mask);
    }
}

/* Pictures, entries of an array and what cannot be read, in groups that begin and end anywhere. */
static void test_same_results_whatever_the_group(void **state)
{
    (void)state;
    char *folder = folder_make(), line[2048];
    json_t *results[3];
    static const char *const ways[] = {"--in-flight 1", "--in-flight 2 --threads 1", "--in-flight 64"};
    write_picture(folder, "cut.ppm", SIDE, 1);
    write_masks(folder);
    snprintf(line, sizeof line, "%s/cut.ppm", folder);
    assert_int_equal(truncate(line, 5000), 0);
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        snprintf(line, sizeof line,
                 IMAGES "scene00.png %s/cut.ppm " IMAGES "scene01.png " SPADE_TEST_DATA
                        "/arrays/inputs.npy %s/nothing.png " IMAGES "scene02.png --resize 0 --variants 4 "
                        "--mask %s/masks --skip 'layer[34]*' %s",
                 folder, folder, folder, ways[i]);
        free(explain(3, folder, name, line, &results[i]));
        assert_failed(results[i], 0, "cut.ppm");
        assert_failed(results[i], 1, "nothing.png");
        if (i == 0) { continue; }
        assert_same_results(results[0], results[i]);
        assert_same_maps(folder, "0", name, results[0]);
        json_decref(results[i]);
    }
    const json_t *inputs = json_object_get(results[0], "inputs");
    assert_true(json_array_size(inputs) > 4);
    assert_string_equal(json_string_value(json_object_get(json_array_get(inputs, 1), "name")), "scene01");
    json_decref(results[0]);
    folder_remove(folder);
}

/* Methods of one walk, several classes, no traces: what is made of a group at once. */
static void test_dense_maps(void **state)
{
    (void)state;
    static const char *const files[] = {"dense_saliency_c0.npy", "dense_input_x_gradient_c3-1.npy", "dense_lrp_c0.npy",
                                        "dense_deeplift_c3-1.npy", "dense_gradcam_c0.npy"};
    char *folder = folder_make(), line[2048];
    json_t *alone, *together, *input;
    size_t index;
    for (int i = 0; i < 2; i++) {
        snprintf(line, sizeof line,
                 IMAGES "scene00.png " IMAGES "scene01.png " IMAGES "scene02.png " IMAGES "scene03.png "
                        "--resize 0 --no-trace --class 0,3-1 "
                        "--method saliency,deeplift,gradcam,input_x_gradient,lrp --in-flight %d",
                 i ? 3 : 1);
        free(explain(0, folder, i ? "together" : "alone", line, i ? &together : &alone));
    }
    assert_same_results(alone, together);
    json_array_foreach(json_object_get(alone, "inputs"), index, input)
    {
        const char *name = json_string_value(json_object_get(input, "name"));
        for (size_t k = 0; k < sizeof files / sizeof *files; k++) {
            size_t sizes[2] = {0, 0};
            char *left = read_result(folder, "alone", name, files[k], &sizes[0]);
            char *right = read_result(folder, "together", name, files[k], &sizes[1]);
            assert_int_equal(sizes[0], sizes[1]);
            assert_close_arrays(left, right, sizes[0]);
            free(left);
            free(right);
        }
    }
    json_decref(alone);
    json_decref(together);
    folder_remove(folder);
}

/* Without damping a black picture's Hessian has no factor: the others of its group are explained all the same. */
static void test_a_numerical_failure_is_one_inputs(void **state)
{
    (void)state;
    char *folder = folder_make(), line[2048];
    json_t *alone, *together;
    write_picture(folder, "black.ppm", SIDE, 0);
    for (int i = 0; i < 2; i++) {
        snprintf(line, sizeof line,
                 IMAGES "scene00.png %s/black.ppm " IMAGES "scene03.png " IMAGES "scene01.png --resize 0 --variants 8 "
                        "--damping 0 --layers layer1.0.conv2 -v --in-flight %d",
                 folder, i ? 3 : 1);
        char *said = explain(3, folder, i ? "together" : "alone", line, i ? &together : &alone);
        assert_true((strstr(said, "one by one") != NULL) == (i == 1));
        const char *failure = strstr(said, "not positive definite"); /* of the group, then of the input */
        assert_non_null(strstr(i ? failure + 1 : failure, "not positive definite"));
        free(said);
    }
    assert_int_equal(json_array_size(json_object_get(together, "inputs")), 3);
    assert_int_equal(json_array_size(json_object_get(together, "failed")), 1);
    assert_failed(together, 0, "black.ppm: layer layer1.0.conv2");
    assert_same_results(alone, together);
    assert_same_maps(folder, "alone", "together", alone);
    json_decref(alone);
    json_decref(together);
    folder_remove(folder);
}

/* A budget that holds any one of the pictures, but not two. */
static void test_memory_for_one_is_enough(void **state)
{
    (void)state;
    char *folder = folder_make(), line[2048];
    json_t *alone, *together;
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "large%d.ppm", i);
        write_picture(folder, name, LARGE, i + 1);
    }
    for (int i = 0; i < 2; i++) {
        snprintf(line, sizeof line,
                 "%s/large0.ppm %s/large1.ppm %s/large2.ppm --variants 4 --layers layer1.0.conv2 -v %s", folder, folder,
                 folder, i ? "--memory 70M --in-flight 3" : "--in-flight 1");
        char *said = explain(0, folder, i ? "together" : "alone", line, i ? &together : &alone);
        assert_true((strstr(said, "one by one") != NULL) == (i == 1));
        free(said);
    }
    assert_same_results(alone, together);
    assert_same_maps(folder, "alone", "together", alone);
    json_decref(alone);
    json_decref(together);
    folder_remove(folder);
}

/* What was done before the job breaks off is kept: here the second group cannot write its folder. */
static void test_a_break_off_keeps_what_was_done(void **state)
{
    (void)state;
    char *folder = folder_make(), line[2048];
    json_t *results;
    snprintf(line, sizeof line, "mkdir %s/out && touch %s/out/scene02", folder, folder);
    assert_int_equal(system(line), 0);
    char *said = explain(1, folder, "out",
                         IMAGES "scene00.png " IMAGES "scene01.png " IMAGES "scene02.png " IMAGES "scene03.png "
                                "--resize 0 --variants 4 --layers layer1.0.conv2 --in-flight 2",
                         &results);
    assert_non_null(strstr(said, "scene02"));
    assert_int_equal(json_array_size(json_object_get(results, "inputs")), 2);
    free(said);
    json_decref(results);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_results_whatever_the_group),   cmocka_unit_test(test_dense_maps),
        cmocka_unit_test(test_a_numerical_failure_is_one_inputs), cmocka_unit_test(test_memory_for_one_is_enough),
        cmocka_unit_test(test_a_break_off_keeps_what_was_done),
    };
    return cmocka_run_group_tests_name("groups", tests, NULL, NULL);
}
