/* test_cli_robust.c - bad inputs to the command: one clear line, the right exit code, never a crash. */
#include "support/results.h"

#define MODEL SPADE_TEST_DATA "/models/scene_resnet.onnx"
#define PICTURE SPADE_TEST_DATA "/images/scene00.png"
#define FAST "--resize 0 --variants 8"

/* The exit code, something said on stderr, and no crash or sanitizer report. */
static void expect(int code, const char *says, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void expect(int code, const char *says, const char *format, ...)
{
    char arguments[2048];
    va_list list;
    va_start(list, format);
    vsnprintf(arguments, sizeof arguments, format, list);
    va_end(list);
    command_result result = command_run("%s", arguments);
    bool sane = result.code == code && !strstr(result.err, "Sanitizer") && !strstr(result.err, "runtime error");
    if (!sane || !*result.err || (says && !strstr(result.err, says))) {
        fail_msg("spade %s: code %d (not %d), '%s'", arguments, result.code, code, result.err);
    }
    command_clear(&result);
}

static void in_folder(const char *folder, const char *name, char *path)
{
    snprintf(path, 512, "%s/%s", folder, name);
}

static void test_models(void **state)
{
    (void)state;
    char *folder = folder_make();
    char path[512];
    size_t size = 0;
    char *model = file_read(MODEL, &size);
    assert_non_null(model);
    expect(1, "nowhere.onnx", "info nowhere.onnx");
    expect(1, NULL, "info %s", folder);
    in_folder(folder, "empty.onnx", path);
    file_write(path, "", 0);
    expect(1, "empty", "info %s", path);
    in_folder(folder, "text.onnx", path);
    file_write(path, "This is not a network.\n", 23);
    expect(1, "text.onnx", "explain %s " PICTURE " -o %s/out", path, folder);
    in_folder(folder, "picture.onnx", path);
    expect(1, "scene00.png", "info " PICTURE);
    for (int i = 1; i <= 12; i++) {
        in_folder(folder, "cut.onnx", path);
        file_write(path, model, size * (size_t)i / 13);
        expect(1, "cut.onnx", "info %s", path);
    }
    for (size_t i = 0; i < size; i++) { model[i] = (char)(i * 2654435761u >> 13); }
    in_folder(folder, "noise.onnx", path);
    file_write(path, model, size);
    expect(1, "noise.onnx", "info %s", path);
    free(model);
    folder_remove(folder);
}

static void test_pictures(void **state)
{
    (void)state;
    char *folder = folder_make();
    char path[512];
    size_t size = 0;
    char *picture = file_read(PICTURE, &size);
    assert_non_null(picture);
    expect(1, "nowhere.png", "explain " MODEL " nowhere.png -o %s/out " FAST, folder);
    expect(1, "no pictures", "explain " MODEL " %s -o %s/out " FAST, folder, folder);
    expect(3, "nowhere.png", "explain " MODEL " nowhere.png " PICTURE " -o %s/out " FAST, folder);
    in_folder(folder, "cut.png", path);
    for (int i = 1; i <= 8; i++) {
        file_write(path, picture, size * (size_t)i / 9);
        expect(1, "cut.png", "explain " MODEL " %s -o %s/out " FAST, path, folder);
    }
    static const struct {
        const char *name, *bytes;
        size_t size;
    } bad[] = {
        {"empty.png", "", 0},
        {"gif.png", "GIF89a\1\0\1\0\0\0\0;", 14},
        {"huge.ppm", "P6\n100000 100000\n255\nabc", 24},
        {"zero.ppm", "P6\n0 0\n255\n", 11},
        {"short.ppm", "P6\n64 64\n255\nabc", 16},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        in_folder(folder, bad[i].name, path);
        file_write(path, bad[i].bytes, bad[i].size);
        expect(1, bad[i].name, "explain " MODEL " %s -o %s/out " FAST, path, folder);
    }
    free(picture);
    folder_remove(folder);
}

/* A .npy header of this dtype and shape, with `count` zero floats. */
static void write_npy(const char *path, const char *descr, const char *shape, size_t count)
{
    char header[128];
    char *bytes = calloc(128 + 4 * count, 1);
    assert_non_null(bytes);
    int length =
        snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape);
    memset(bytes, ' ', 128);
    memcpy(bytes, "\x93NUMPY\x01\x00\x76\x00", 10);
    memcpy(bytes + 10, header, (size_t)length);
    bytes[127] = '\n';
    file_write(path, bytes, 128 + 4 * count);
    free(bytes);
}

static void test_arrays(void **state)
{
    (void)state;
    char *folder = folder_make();
    char path[512];
    const size_t count = 3 * 64 * 64;
    in_folder(folder, "x.npy", path);
    write_npy(path, "<f4", "(1, 3, 64, 64)", count);
    command_result good = command_run("explain " MODEL " %s -o %s/out --variants 8 --no-trace", path, folder);
    assert_int_equal(good.code, 0);
    command_clear(&good);
    static const struct {
        const char *descr, *shape;
        size_t count;
    } cases[] = {{"<i4", "(1, 3, 64, 64)", 3 * 64 * 64},  {">f4", "(1, 3, 64, 64)", 3 * 64 * 64},
                 {"<f4", "(3, 64, 64)", 3 * 64 * 64},     {"<f4", "(1, 3, 32, 32)", 3 * 32 * 32},
                 {"<f4", "(1, 3, 64, 64)", 100},          {"<f4", "(0, 3, 64, 64)", 0},
                 {"<f4", "(99999999999, 3, 64, 64)", 10}, {"<f4", "(-1, 3, 64, 64)", 10}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_npy(path, cases[i].descr, cases[i].shape, cases[i].count);
        expect(1, "x.npy", "explain " MODEL " %s -o %s/bad --variants 8", path, folder);
        expect(1, "x.npy", "trace " MODEL " --batch %s -o %s/t.onnx", path, folder);
    }
    folder_remove(folder);
}

static void test_configurations(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"variantz: 3\n", "unknown key 'variantz'"},
                                           {"sparsity: 0,5\n", "'0,5' is not a number"},
                                           {"sigma: nan\n", "'nan' is not a number"},
                                           {"{", "bad.yaml"},
                                           {"", "empty"}};
    char *folder = folder_make();
    char path[512];
    in_folder(folder, "bad.yaml", path);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        file_write(path, cases[i][0], strlen(cases[i][0]));
        expect(2, cases[i][1], "explain " MODEL " " PICTURE " -o %s/out --config %s", folder, path);
    }
    in_folder(folder, "good.yaml", path);
    file_write(path, "seed: 3\n", 8);
    expect(2, "--config: it is given twice", "explain " MODEL " " PICTURE " -o %s/out --config %s --config %s", folder,
           path, path);
    expect(2, "-o: it is given twice", "explain " MODEL " " PICTURE " -o %s/out -o %s/other", folder, folder);
    expect(2, "nowhere.yaml", "explain " MODEL " " PICTURE " -o %s/out --config nowhere.yaml", folder);
    folder_remove(folder);
}

static void test_masks_and_labels(void **state)
{
    (void)state;
    char *folder = folder_make();
    char path[512];
    static const char black[] = "P5\n64 64\n255\n";
    char *mask = calloc(sizeof black - 1 + 64 * 64, 1);
    assert_non_null(mask);
    memcpy(mask, black, sizeof black - 1);
    in_folder(folder, "black.pgm", path);
    file_write(path, mask, sizeof black - 1 + 64 * 64);
    expect(1, "empty", "explain " MODEL " " PICTURE " -o %s/out --mask %s " FAST, folder, path);
    expect(1, "nowhere", "explain " MODEL " " PICTURE " -o %s/out --mask nowhere " FAST, folder);
    expect(1, "photo.jpg", "explain " MODEL " " PICTURE " -o %s/out --mask " SPADE_TEST_DATA "/images/photo.jpg " FAST,
           folder);
    in_folder(folder, "labels", path);
    file_write(path, "one\ntwo\n", 8);
    expect(1, "2 names", "explain " MODEL " " PICTURE " -o %s/out --labels %s " FAST, folder, path);
    free(mask);
    folder_remove(folder);
}

static void test_resources(void **state)
{
    (void)state;
    char *folder = folder_make();
    char path[512];
    expect(1, NULL, "explain " MODEL " " PICTURE " -o %s/out --memory 100K " FAST, folder);
    expect(1, NULL, "info " MODEL " --device cuda");
    in_folder(folder, "file", path);
    file_write(path, "x", 1);
    expect(1, "file", "explain " MODEL " " PICTURE " -o %s " FAST, path);
    expect(1, "nowhere", "trace " MODEL " " PICTURE " -o %s/nowhere/t.onnx " FAST, folder);
    folder_remove(folder);
}

/* Standard descriptors in every combination of open and closed: the results are the same, and nothing is written into them. */
static void test_closed_descriptors(void **state)
{
    (void)state;
    char *folder = folder_make(), first[512], other[512];
    snprintf(first, sizeof first, "%s/7", folder);
    for (int open = 7; open >= 0; open--) {
        char line[2048];
        snprintf(other, sizeof other, "%s/%d", folder, open);
        snprintf(line, sizeof line,
                 "OMP_WAIT_POLICY=passive %s explain " MODEL " " PICTURE " -o %s --threads 1 " FAST " %s %s %s",
                 SPADE_COMMAND, other, open & 1 ? "</dev/null" : "<&-", open & 2 ? ">/dev/null" : ">&-",
                 open & 4 ? "2>/dev/null" : "2>&-");
        const int status = system(line);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), open & 2 ? 0 : 1); /* what was to be printed was not */
        assert_same_folders(first, other);
    }
    folder_remove(folder);
}

/* Names that would change what a terminal shows: C0, C1 and marks of direction reach neither of the outputs. */
static void test_unprintable_names(void **state)
{
    (void)state;
    static const char *const marks[] = {"\x1b[31m",
                                        "\xc2\x9b"
                                        "31m",
                                        "\xe2\x80\xae"
                                        "gnp",
                                        "\x9b"
                                        "31m",
                                        "\x7f"};
    char *folder = folder_make(), path[512];
    size_t size = 0;
    char *picture = file_read(PICTURE, &size);
    assert_non_null(picture);
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        snprintf(path, sizeof path, "%s/good%zu%s.png", folder, i, marks[i]);
        file_write(path, picture, size);
        snprintf(path, sizeof path, "%s/bad%zu%s.png", folder, i, marks[i]);
        file_write(path, "junk", 4);
    }
    for (int json = 0; json < 2; json++) {
        command_result result =
            command_run("explain " MODEL " %s -o %s/out%d " FAST "%s", folder, folder, json, json ? " --json" : "");
        assert_int_equal(result.code, 3);
        for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
            const bool shown = strstr(result.out, marks[i]) || strstr(result.err, marks[i]);
            if (shown) { fail_msg("mark %zu reached the terminal", i); }
        }
        const char *named = strstr(result.err, "bad0"); /* the name stands in its line once */
        assert_non_null(named);
        const char *again = strstr(named + 1, "bad0"), *end = strchr(named, '\n');
        assert_true(end && (!again || again > end));
        command_clear(&result);
    }
    free(picture);
    folder_remove(folder);
}

/* The command with files of at most so many blocks of 512 bytes; its exit code. A failure is one line, through a pipe. */
static int run_with_room(int blocks, const char *arguments)
{
    char line[2048], text[4096];
    snprintf(line, sizeof line,
             "ulimit -f %d; OMP_WAIT_POLICY=passive exec %s %s --threads 1 -q " FAST " 2>&1 >/dev/null", blocks,
             SPADE_COMMAND, arguments);
    FILE *messages = popen(line, "r");
    assert_non_null(messages);
    text[fread(text, 1, sizeof text - 1, messages)] = 0;
    const int status = pclose(messages);
    assert_true(WIFEXITED(status));
    const char *end = strchr(text, '\n');
    const bool line_of_ours = strncmp(text, "spade: ", 7) == 0 && end && !end[1];
    if (WEXITSTATUS(status) ? !line_of_ours : *text != 0) { fail_msg("%d blocks, %s: %s", blocks, arguments, text); }
    return WEXITSTATUS(status);
}

/* Every picture and array in the folder is what it is in the other one. */
static void assert_whole_files(const char *folder, const char *whole)
{
    static const char *const names[] = {"input.png", "dense_saliency.npy", "dense_saliency.png", "trace_saliency.npy",
                                        "trace_saliency.png"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[600];
        size_t sizes[2] = {0, 0};
        snprintf(path, sizeof path, "%s/scene00/%s", folder, names[i]);
        char *there = file_read(path, &sizes[0]);
        if (!there) { continue; }
        snprintf(path, sizeof path, "%s/scene00/%s", whole, names[i]);
        char *reference = file_read(path, &sizes[1]);
        assert_non_null(reference);
        assert_int_equal(sizes[0], sizes[1]);
        assert_memory_equal(there, reference, sizes[0]);
        free(there);
        free(reference);
    }
}

/* A disk that is full, for any amount of output: one line, a code that is not 0, and no file under its name that is not whole. */
static void test_full_output(void **state)
{
    (void)state;
    static const char *const lines[] = {"--help",  "explain --help", "info " MODEL,   "info " MODEL " --json",
                                        "methods", "operators",      "version --json"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char line[1024];
        snprintf(line, sizeof line, "%s %s >/dev/full 2>/dev/null", SPADE_COMMAND, lines[i]);
        assert_int_equal(WEXITSTATUS(system(line)), 1);
    }
    char *folder = folder_make(), path[512], whole[512], arguments[1024];
    snprintf(whole, sizeof whole, "%s/whole", folder);
    snprintf(arguments, sizeof arguments, "explain " MODEL " " PICTURE " -o %s", whole);
    assert_int_equal(run_with_room(1 << 20, arguments), 0);
    for (int blocks = 0; blocks < 96; blocks += blocks < 12 ? 1 : 8) {
        snprintf(path, sizeof path, "%s/t%d.onnx", folder, blocks);
        snprintf(arguments, sizeof arguments, "trace " MODEL " " PICTURE " -o %s", path);
        assert_int_equal(run_with_room(blocks, arguments), 1);
        assert_false(file_exists(path));
        snprintf(path, sizeof path, "%s/out%d", folder, blocks);
        snprintf(arguments, sizeof arguments, "explain " MODEL " " PICTURE " -o %s", path);
        assert_int_equal(run_with_room(blocks, arguments), 1);
        assert_whole_files(path, whole);
        assert_int_equal(files_count(path, "report.html"), 0); /* the largest of them */
    }
    assert_int_equal(files_count(folder, ".spade-"), 0); /* no temporary file either */
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closed_descriptors), cmocka_unit_test(test_unprintable_names),
        cmocka_unit_test(test_full_output),        cmocka_unit_test(test_models),
        cmocka_unit_test(test_pictures),           cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_configurations),     cmocka_unit_test(test_masks_and_labels),
        cmocka_unit_test(test_resources),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
