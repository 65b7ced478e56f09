/* test_samples.c - WebDataset's tars: which they are, which samples they hold, whatever row is asked for, and what nobody should write. */
#include <archive_entry.h>
#include <sys/stat.h>

#include "support/command.h"
#include "support/tars.h"
#include "workload/manifest.h"
#include "workload/sample_name.h"

#define PNG "\x89PNG\r\n\x1a\n rest"
#define JPEG "\xff\xd8\xff rest"

static char *folder;
static char said[2048]; /* warnings */

static const char *inside(const char *name)
{
    return path_inside(folder, name);
}

static void on_log(void *user, spade_log_level level, const char *message)
{
    (void)user;
    (void)level;
    const size_t at = strlen(said);
    snprintf(said + at, sizeof said - at, "%s\n", message);
}

static spade_context make_context(void)
{
    *said = 0;
    return (spade_context){.budget = UINT64_MAX, .log = on_log};
}

static int make_folder(void **state)
{
    (void)state;
    folder = folder_make();
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

/* ---- names */

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        sample_role role;
        int key;
        const char *suffix;
    } names[] = {
        {"a.jpg", SAMPLE_PICTURE, 1, "jpg"},
        {"./x.y/a.JPEG", SAMPLE_PICTURE, 7, "jpeg"},
        {"d/a.input.png", SAMPLE_INNER_PICTURE, 3, "input.png"},
        {"a.mask.png", SAMPLE_MASK, 1, "mask.png"},
        {"a.Seg.PNG", SAMPLE_MASK, 1, "seg.png"},
        {"a.seg.old.png", SAMPLE_INNER_PICTURE, 1, "seg.old.png"},
        {"a.cls", SAMPLE_TEXT, 1, "cls"},
        {"a.meta.json", SAMPLE_TEXT, 1, "meta.json"},
        {"a.npy", SAMPLE_OTHER, 1, "npy"},
        {"a.", SAMPLE_OTHER, 1, ""},
        {"/etc/passwd.png", SAMPLE_PICTURE, 11, "png"},
        {"a", SAMPLE_NO_KEY, 0, NULL},
        {".png", SAMPLE_NO_KEY, 0, NULL},
        {"x.y/._a.png", SAMPLE_NO_KEY, 4, NULL},
        {"__meta__.json", SAMPLE_PICTURE, 8, NULL}, /* as WebDataset's expression: only a whole part */
        {"__meta__/a.png", SAMPLE_META, 10, NULL},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char suffix[SAMPLE_SUFFIX];
        int key;
        const sample_role role = sample_role_of(names[i].name, 1, &key);
        if (!names[i].suffix) {
            assert_true(role == names[i].role || role == SAMPLE_TEXT);
            continue;
        }
        sample_suffix(names[i].name, key, suffix);
        if (role != names[i].role || key != names[i].key || strcmp(suffix, names[i].suffix) != 0) {
            fail_msg("%s: role %d, key %d, suffix %s", names[i].name, (int)role, key, suffix);
        }
    }
    int key;
    assert_int_equal(sample_role_of("a.txt", SAMPLE_MOST_TEXT + 1, &key), SAMPLE_LONG_TEXT);
}

/* ---- which tars */

static void expect_list(const char *pattern, const char *names)
{
    spade_context context = make_context();
    spade_tar_list list;
    char found[512] = "";
    const spade_status status = spade_tar_list_find(&context, inside(pattern), &list);
    if (status != SPADE_OK) {
        if (!strstr(context.message, names)) { fail_msg("%s: %s", pattern, context.message); }
        return;
    }
    for (int i = 0; i < list.count; i++) {
        assert_string_equal(list.items[i].name, strrchr(list.items[i].path, '/') + 1);
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s", i ? " " : "", list.items[i].name);
    }
    spade_tar_list_clear(&list);
    if (strcmp(found, names) != 0) { fail_msg("%s: %s, expected %s", pattern, found, names); }
}

static void test_lists(void **state)
{
    (void)state;
    static const char *const files[] = {"s/a-08.tar", "s/a-09.tar", "s/a-10.tar", "s/b.tar.gz",
                                        "s/x{1}.tar", "m/a.tar",    "one.csv"};
    assert_int_equal(mkdir(inside("s"), 0700) | mkdir(inside("m"), 0700) | mkdir(inside("m/cat"), 0700) |
                         mkdir(inside("none"), 0700),
                     0);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) { file_write(inside(files[i]), "image\n", 6); }
    expect_list("s/a-08.tar", "a-08.tar");
    expect_list("s/a-{08..10}.tar", "a-08.tar a-09.tar a-10.tar");
    expect_list("s/a-{10..8..2}.tar", "s/a-8.tar: No such file");
    expect_list("s/a-{10..08..2}.tar", "a-10.tar a-08.tar");
    expect_list("s/{b.tar.gz,a-{09,08}.tar}", "b.tar.gz a-09.tar a-08.tar");
    expect_list("s/a-{0{8,9},10}.tar", "a-08.tar a-09.tar a-10.tar");
    expect_list("s/x{1}.tar", "x{1}.tar");
    expect_list("s/*.tar", "a-08.tar a-09.tar a-10.tar x{1}.tar");
    expect_list("s/{a,b}*", "a-08.tar a-09.tar a-10.tar b.tar.gz");
    expect_list("s", "a-08.tar a-09.tar a-10.tar b.tar.gz x{1}.tar");
    expect_list("s/", "a-08.tar a-09.tar a-10.tar b.tar.gz x{1}.tar");
    expect_list("s/a-{08..12}.tar", "s/a-11.tar: No such file");
    expect_list("s/c*.tar", "there is no such file");
    expect_list("{one,two}.csv", "one.csv: no tar");
    expect_list("one.csv", "");
    expect_list("m", ""); /* a folder in it: classes */
    expect_list("none", "");
    expect_list("there.csv", "");
    expect_list(
        "{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}{0..1}",
        "more than 16 pairs");
}

/* ---- content */

static void add_samples(struct archive *tar)
{
    enum { LONG = SAMPLE_MOST_TEXT + 1 };
    char *text = calloc(1, LONG + 1);
    assert_non_null(text);
    memset(text, 'x', LONG);
    tar_add_special(tar, "d", AE_IFDIR, NULL);
    tar_add_text(tar, "README", "no sample");
    tar_add_text(tar, "d/a.cls", " 7\n");
    tar_add_text(tar, "d/a.npy", "not read");
    tar_add_text(tar, "d/a.png", PNG);
    tar_add_text(tar, "d/a.mask.png", PNG "mask");
    tar_add_text(tar, "d/a.txt", "a \xc3\xbc caption");
    tar_add_text(tar, "d/b.input.jpg", JPEG "input");
    tar_add_text(tar, "d/b.other.jpg", JPEG "other");
    tar_add_text(tar, "d/b.json", "{\"label\": \"cat\", \"x\": [1]}");
    tar_add_text(tar, "d/b.JPG", JPEG);
    tar_add_text(tar, "d/c.bin", "no picture");
    tar_add_text(tar, "d/c.data", JPEG "data");
    tar_add_text(tar, "d/c.json", "{\"cls\": -3}");
    tar_add_special(tar, "d/c.png", AE_IFLNK, "/etc/passwd");
    tar_add_special(tar, "d/c.jpg", AE_IFREG, "d/a.png");
    tar_add_special(tar, "d/c.jpeg", AE_IFCHR, NULL);
    tar_add_text(tar, "d/e.cls", "4");
    tar_add(tar, "d/e.txt", text, LONG);
    tar_add_text(tar, "f.png", PNG);
    tar_add_text(tar, "f.PNG", PNG);
    tar_add_text(tar, "/g\x1b[31m\n.png", "");
    tar_add_text(tar, "d/a.png", PNG "again");
    free(text);
}

enum { SAMPLES = 7 };

static const spade_sample *take(spade_samples *samples, int64_t row)
{
    const spade_sample *sample;
    if (spade_samples_take(samples, row, &sample) != SPADE_OK) { fail_msg("%s", samples->context->message); }
    assert_ptr_equal(spade_samples_find(samples, row), sample);
    assert_int_equal(sample->row, row);
    return sample;
}

static void expect_bytes(const spade_mapping *bytes, const char *text)
{
    if (!text) {
        assert_null(bytes->data);
        return;
    }
    assert_int_equal(bytes->size, strlen(text));
    assert_memory_equal(bytes->data, text, bytes->size);
}

static void expect_sample(spade_samples *samples, int64_t row)
{
    static const struct {
        const char *key, *image, *label, *picture, *mask, *error;
        size_t columns;
    } expected[SAMPLES] = {
        {"d/a", "d/a.png", "7", PNG, PNG "mask", NULL, 6},
        {"d/b", "d/b.JPG", "cat", JPEG, NULL, NULL, 4},
        {"d/c", "d/c.data", "-3", JPEG "data", NULL, NULL, 4},
        {"d/e", "d/e", "4", NULL, NULL, "none of its members is a picture (cls, txt)", 4},
        {"f", "f.png", NULL, PNG, NULL, "two of its members are called .png", 2},
        {"/g\x1b[31m\n", "/g\x1b[31m\n.png", NULL, "", NULL, NULL, 2},
        {"d/a", "d/a.png", NULL, PNG "again", NULL, NULL, 2},
    };
    const spade_sample *s = take(samples, row);
    char path[300];
    const spade_tar *tar = &samples->tars.items[samples->tar];
    snprintf(path, sizeof path, "%s/%s", tar->name, expected[row].image);
    assert_string_equal(spade_json_text_at(s->columns, "image"), path);
    snprintf(path, sizeof path, "%s/%s", tar->path, expected[row].image);
    assert_string_equal(s->file, path);
    assert_string_equal(s->key, expected[row].key);
    assert_string_equal(spade_json_text_at(s->columns, "label"), expected[row].label ? expected[row].label : "");
    assert_true(!s->label == !expected[row].label && !s->error == !expected[row].error);
    if (s->error && !strstr(s->error, expected[row].error)) { fail_msg("%s", s->error); }
    expect_bytes(&s->bytes.picture, expected[row].picture);
    expect_bytes(&s->bytes.mask, expected[row].mask);
    assert_int_equal(json_object_size(s->columns), expected[row].columns);
    spade_samples_release(samples, row);
    assert_null(spade_samples_find(samples, row));
}

static void open_samples(spade_context *context, const char *path, const char *store, spade_samples *out)
{
    spade_tar_list list;
    assert_int_equal(spade_tar_list_find(context, path, &list), SPADE_OK);
    assert_int_equal(list.count, 1);
    if (spade_samples_open(context, path, &list, store, out) != SPADE_OK) { fail_msg("%s", context->message); }
}

static void test_content(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int filter;
    } forms[] = {{"c.tar", ARCHIVE_FILTER_NONE},
                 {"c.tar.gz", ARCHIVE_FILTER_GZIP},
                 {"c.tar.zst", ARCHIVE_FILTER_ZSTD},
                 {"c.tar.xz", ARCHIVE_FILTER_XZ}};
    static const int order[] = {0, 1, 2, 3, 4, 5, 6, 6, 2, 3, 0, 5, 1, 1, 4};
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        spade_context context = make_context();
        spade_samples samples;
        struct archive *tar = tar_make(inside(forms[f].name), forms[f].filter, 0);
        add_samples(tar);
        tar_end(tar);
        open_samples(&context, inside(forms[f].name), NULL, &samples);
        assert_int_equal(samples.count, SAMPLES);
        assert_true(samples.masks && samples.of_tar[0].compressed == (f > 0));
        static const char *const warnings[] = {"1 file of no sample (README)",
                                               "2 links (d/c.png, ...)",
                                               "1 special file (d/c.jpeg)",
                                               "1 .txt over 64 KiB (d/e.txt)",
                                               "1 .npy (d/a.npy)",
                                               "1 .input.jpg (d/b.input.jpg)",
                                               "1 .other.jpg",
                                               "1 key is there again",
                                               "1 .png (d/a.png)"};
        for (size_t i = 0; i < sizeof warnings / sizeof *warnings; i++) {
            if (!strstr(said, warnings[i])) { fail_msg("%s: no '%s'", said, warnings[i]); }
        }
        for (size_t i = 0; i < sizeof order / sizeof *order; i++) { expect_sample(&samples, order[i]); }
        assert_true(context.used > 0 || !samples.held);
        take(&samples, 0); /* what is held is released, too */
        take(&samples, 1);
        spade_samples_close(&samples);
        assert_int_equal(context.used, 0);
    }
}

/* As the manifest of a store: kinds, rows, and how many rows are at work. */
static void test_manifest(void **state)
{
    (void)state;
    spade_context context = make_context();
    spade_manifest manifest;
    spade_input input;
    json_t *columns;
    struct archive *tar = tar_make(inside("m.tar"), ARCHIVE_FILTER_NONE, 0);
    add_samples(tar);
    tar_end(tar);
    assert_int_equal(spade_manifest_open(&context, inside("m.tar"), NULL, &manifest), SPADE_OK);
    assert_int_equal(manifest.kind, SPADE_MANIFEST_TARS);
    assert_true(manifest.count == SAMPLES && manifest.masks);
    assert_int_equal(spade_manifest_take(&manifest, 1, &input), SPADE_OK);
    assert_true(input.bytes && input.position == 1 && input.index < 0 && !input.error && !input.mask);
    assert_string_equal(input.label, "cat");
    assert_int_equal(spade_manifest_row(&context, &manifest, 1, &columns), SPADE_OK);
    assert_string_equal(spade_json_text_at(columns, "image"), "m.tar/d/b.JPG");
    json_decref(columns);
    spade_manifest_release(&manifest, 1);
    assert_int_equal(spade_manifest_row(&context, &manifest, 1, &columns), SPADE_ERROR_INTERNAL);
    spade_manifest_close(&manifest);
    spade_inputs inputs;
    int64_t folders;
    assert_int_equal(spade_manifest_read(&context, inside("m.tar"), &inputs, &folders), SPADE_ERROR_INPUT);
    assert_non_null(strstr(context.message, "spade annotate"));
}

/* Pictures that the memory does not hold are their own failure. */
static void test_memory(void **state)
{
    (void)state;
    spade_context context = make_context();
    spade_samples samples;
    enum { SIZE = 300000 };
    char *bytes = calloc(1, SIZE);
    assert_non_null(bytes);
    struct archive *tar = tar_make(inside("big.tar"), ARCHIVE_FILTER_NONE, 0);
    tar_add(tar, "a.png", bytes, SIZE);
    tar_add_text(tar, "b.png", PNG);
    tar_add_text(tar, "b.mask.png", PNG);
    tar_end(tar);
    free(bytes);
    context.budget = SIZE / 2;
    open_samples(&context, inside("big.tar"), NULL, &samples);
    const spade_sample *sample = take(&samples, 0);
    assert_non_null(strstr(sample->error, "big.tar/a.png: no memory for 293.0 KiB"));
    assert_null(take(&samples, 1)->error);
    spade_samples_close(&samples);
    assert_int_equal(context.used, 0);
}

/* ---- the index */

static void test_index(void **state)
{
    (void)state;
    spade_context context = make_context();
    spade_samples samples, again;
    struct archive *tar = tar_make(inside("i.tar"), ARCHIVE_FILTER_NONE, 0);
    add_samples(tar);
    tar_end(tar);
    open_samples(&context, inside("i.tar"), folder, &samples);
    assert_true(samples.scanned);
    spade_samples_keep(&samples, folder);
    open_samples(&context, inside("i.tar"), folder, &again);
    assert_false(again.scanned);
    assert_string_equal(samples.sha256, again.sha256);
    assert_true(again.count == SAMPLES && again.masks && !again.of_tar[0].compressed &&
                again.of_tar[1].first == SAMPLES);
    for (int i = SAMPLES; i-- > 0;) { expect_sample(&again, i); }
    spade_samples_close(&again);
    /* damaged, it is not believed */
    size_t size = 0;
    char *bytes = file_read(inside("tars.index"), &size);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i += i < 40 || i + 80 > size ? 1 : 7) {
        bytes[i] ^= 1;
        file_write(inside("tars.index"), bytes, size);
        bytes[i] ^= 1;
        open_samples(&context, inside("i.tar"), folder, &again);
        assert_true(again.count == SAMPLES);
        assert_memory_equal(again.offsets, samples.offsets, SAMPLES * sizeof *samples.offsets);
        spade_samples_close(&again);
        if (i % 3) { continue; }
        file_write(inside("tars.index"), bytes, i);
        open_samples(&context, inside("i.tar"), folder, &again);
        assert_true(again.count == SAMPLES && again.scanned);
        spade_samples_close(&again);
    }
    file_write(inside("tars.index"), bytes, size);
    free(bytes);
    const struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(-1, inside("i.tar"), times, 0), 0);
    open_samples(&context, inside("i.tar"), folder, &again);
    assert_true(again.scanned);
    assert_string_equal(samples.sha256, again.sha256);
    spade_samples_close(&again);
    spade_samples_close(&samples);
}

/* ---- what nobody should write */

/* A new file: over an old one the disk is waited for. */
static void write_anew(const char *name, const char *bytes, size_t size)
{
    (void)remove(inside(name));
    file_write(inside(name), bytes, size);
}

/* Opened and read to its end, every row of it: well, or with one line that names the tar. */
static spade_status read_all(const char *path, char message[SPADE_MESSAGE_BYTES])
{
    spade_context context = make_context();
    spade_tar_list list;
    spade_samples samples;
    const spade_sample *sample;
    spade_status status = spade_tar_list_find(&context, path, &list);
    if (status == SPADE_OK) { status = spade_samples_open(&context, path, &list, NULL, &samples); }
    if (status == SPADE_OK) {
        for (int64_t i = 0; i < samples.count && status == SPADE_OK; i++) {
            status = spade_samples_take(&samples, i, &sample);
            spade_samples_release(&samples, i);
        }
        spade_samples_close(&samples);
    }
    assert_int_equal(context.used, 0);
    snprintf(message, SPADE_MESSAGE_BYTES, "%s", context.message);
    if (status != SPADE_OK && (status != SPADE_ERROR_INPUT || !strstr(message, path))) { fail_msg("%s", message); }
    for (const char *at = message; *at; at++) { assert_true((unsigned char)*at >= 0x20 && *at != 0x7f); }
    return status;
}

static void expect_refused(const char *name, const char *what)
{
    char message[SPADE_MESSAGE_BYTES];
    assert_int_equal(read_all(inside(name), message), SPADE_ERROR_INPUT);
    if (!strstr(message, what)) { fail_msg("%s, expected '%s'", message, what); }
}

static void test_damaged(void **state)
{
    (void)state;
    enum { BLOCK = 512 };
    char message[SPADE_MESSAGE_BYTES];
    size_t size = 0;
    static const char *const names[] = {"t.tar", "t.tar.gz"};
    for (int f = 0; f < 2; f++) {
        struct archive *tar = tar_make(inside(names[f]), f ? ARCHIVE_FILTER_GZIP : ARCHIVE_FILTER_NONE, 0);
        tar_add_text(tar, "a.png", PNG);
        tar_add_text(tar, "a.cls", "1");
        tar_add_text(tar, "b.png", PNG);
        tar_end(tar);
        char *bytes = file_read(inside(names[f]), &size);
        assert_non_null(bytes);
        for (size_t i = 0; i < size && i < 8 * BLOCK; i += f || i % BLOCK < 2 ? 1 : 13) {
            write_anew("x.tar", bytes, i);
            const spade_status status = read_all(inside("x.tar"), message);
            /* between two members nothing tells but that the end's mark lacks */
            if (status == SPADE_OK && !strstr(said, "cut off?") && i <= 6 * BLOCK) {
                fail_msg("%zu bytes: %s", i, said);
            }
        }
        for (size_t i = 0; i < size && i < 6 * BLOCK; i += i % BLOCK < 160 ? 1 : 5) {
            bytes[i] = (char)(bytes[i] ^ (1 << i % 8));
            write_anew("x.tar", bytes, size);
            bytes[i] = (char)(bytes[i] ^ (1 << i % 8));
            (void)read_all(inside("x.tar"), message);
        }
        free(bytes);
    }
}

/* The size field of the header at `at`, and its sum anew. */
static void set_size(char *bytes, size_t at, const char *octal)
{
    enum { SIZE = 124, SUM = 148, BLOCK = 512 };
    unsigned sum = 0;
    memcpy(bytes + at + SIZE, octal, 12);
    memset(bytes + at + SUM, ' ', 8);
    for (int i = 0; i < BLOCK; i++) { sum += (unsigned char)bytes[at + (size_t)i]; }
    snprintf(bytes + at + SUM, 8, "%06o", sum);
}

static void test_sizes(void **state)
{
    (void)state;
    static const char *const sizes[] = {"77777777777",                                /* 8 GiB less a byte */
                                        "\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", /* 2^63 - 1 */
                                        "\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", /* more */
                                        "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" /* -1 */};
    char message[SPADE_MESSAGE_BYTES];
    size_t size = 0;
    struct archive *tar = tar_make(inside("s.tar"), ARCHIVE_FILTER_NONE, 0);
    tar_add_text(tar, "a.png", PNG);
    tar_add_text(tar, "b.png", PNG);
    tar_end(tar);
    char *bytes = file_read(inside("s.tar"), &size);
    assert_non_null(bytes);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        set_size(bytes, 1024, sizes[i]);
        write_anew("x.tar", bytes, size);
        assert_int_equal(read_all(inside("x.tar"), message), SPADE_ERROR_INPUT);
    }
    free(bytes);
}

static void test_hostile(void **state)
{
    (void)state;
    enum { PIECE = 1 << 20, PIECES = 300 };
    char name[32];
    char *zeros = calloc(1, PIECE);
    assert_non_null(zeros);
    struct archive *tar = tar_make(inside("bomb.tar.zst"), ARCHIVE_FILTER_ZSTD, 0);
    for (int i = 0; i < PIECES; i++) {
        snprintf(name, sizeof name, "%d.bin", i);
        tar_add(tar, name, zeros, PIECE);
    }
    tar_end(tar);
    free(zeros);
    expect_refused("bomb.tar.zst", "it holds more than 1000 times its size");
    tar = tar_make(inside("twice.tar.gz"), ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_ZSTD);
    tar_add_text(tar, "a.png", PNG);
    tar_end(tar);
    expect_refused("twice.tar.gz", "compressed more than once");
    tar = tar_make(inside("none.tar"), ARCHIVE_FILTER_NONE, 0);
    tar_add_text(tar, "README", PNG);
    tar_end(tar);
    expect_refused("none.tar", "no sample in it");
    tar = tar_make(inside("zero.tar"), ARCHIVE_FILTER_NONE, 0);
    tar_end(tar);
    expect_refused("zero.tar", "no sample in it");
    file_write(inside("empty.tar"), "", 0);
    expect_refused("empty.tar", "empty file");
    file_write(inside("text.tar"), "image,label\n", 12);
    expect_refused("text.tar", "no tar, or damaged");
}

/* Long ones, and such as are no UTF-8. */
static void test_long_names(void **state)
{
    (void)state;
    char message[SPADE_MESSAGE_BYTES], name[300];
    memset(name, 'n', sizeof name);
    snprintf(name + 250, sizeof name - 250, "/\xc3\xbc.png");
    struct archive *tar = tar_make(inside("names.tar"), ARCHIVE_FILTER_NONE, 0);
    tar_add_text(tar, name, PNG);
    tar_add_text(tar, "\xff.png", PNG);
    tar_add_text(tar, "z.png", PNG);
    tar_end(tar);
    spade_context context = make_context();
    spade_samples samples;
    open_samples(&context, inside("names.tar"), NULL, &samples);
    assert_int_equal(samples.count, 3);
    name[strlen(name) - 4] = 0;
    assert_string_equal(take(&samples, 0)->key, name);
    assert_string_equal(take(&samples, 1)->key, "\xff");
    assert_null(take(&samples, 2)->error);
    spade_samples_close(&samples);
    assert_int_equal(read_all(inside("names.tar"), message), SPADE_OK);
}

/* ---- files with holes, as GNU tar writes them (pax, version 1.0) */

enum { BLOCK_SIZE = 512 };

static void write_block(FILE *to, const char *name, char type, size_t size)
{
    char block[BLOCK_SIZE] = "", octal[13];
    snprintf(block, 100, "%s", name);
    memcpy(block + 100, "0000644", 7);
    block[156] = type;
    memcpy(block + 257,
           "ustar\0"
           "00",
           8);
    snprintf(octal, sizeof octal, "%011zo", size);
    set_size(block, 0, octal);
    assert_int_equal(fwrite(block, 1, sizeof block, to), sizeof block);
}

static void write_padded(FILE *to, const char *text)
{
    char block[BLOCK_SIZE] = "";
    snprintf(block, sizeof block, "%s", text);
    assert_int_equal(fwrite(block, 1, sizeof block, to), sizeof block);
}

/* One byte in the middle of so many. */
static void write_sparse(FILE *to, const char *name, long long size)
{
    char records[BLOCK_SIZE] = "", lines[4][64], map[64];
    snprintf(lines[0], sizeof lines[0], "GNU.sparse.major=1\n");
    snprintf(lines[1], sizeof lines[1], "GNU.sparse.minor=0\n");
    snprintf(lines[2], sizeof lines[2], "GNU.sparse.name=%s\n", name);
    snprintf(lines[3], sizeof lines[3], "GNU.sparse.realsize=%lld\n", size);
    for (int i = 0; i < 4; i++) {
        const size_t at = strlen(records);
        snprintf(records + at, sizeof records - at, "%02zu %s", strlen(lines[i]) + 3, lines[i]);
    }
    write_block(to, "pax", 'x', strlen(records));
    write_padded(to, records);
    snprintf(map, sizeof map, "1\n%lld\n1\n", size / 2);
    write_block(to, "GNUSparseFile.0/x", '0', BLOCK_SIZE + 1);
    write_padded(to, map);
    write_padded(to, "x");
}

static void test_holes(void **state)
{
    (void)state;
    FILE *file = fopen(inside("holes.tar"), "wb");
    assert_non_null(file);
    write_sparse(file, "a.png", (long long)1 << 20);
    write_sparse(file, "b.png", (long long)1 << 40);
    write_block(file, "c.png", '0', strlen(PNG));
    write_padded(file, PNG);
    for (int i = 0; i < 2; i++) { write_padded(file, ""); }
    assert_int_equal(fclose(file), 0);
    spade_context context = make_context();
    spade_samples samples;
    open_samples(&context, inside("holes.tar"), NULL, &samples);
    assert_int_equal(samples.count, 3);
    const spade_mapping *holes = &take(&samples, 0)->bytes.picture;
    assert_true(holes->size == 1 << 20 && holes->data[1 << 19] == 'x' && !holes->data[0]);
    assert_non_null(strstr(take(&samples, 1)->error, "b.png: 1.0 TiB, the limit is 256 MiB"));
    expect_bytes(&take(&samples, 2)->bytes.picture, PNG);
    spade_samples_close(&samples);
}

/* Of a tar that another one has replaced meanwhile. */
static void test_changed(void **state)
{
    (void)state;
    spade_context context = make_context();
    spade_samples samples;
    const spade_sample *sample;
    struct archive *tar = tar_make(inside("v.tar"), ARCHIVE_FILTER_NONE, 0);
    for (int i = 0; i < 30; i++) {
        char name[16];
        snprintf(name, sizeof name, "%02d.png", i);
        tar_add_text(tar, name, PNG);
    }
    tar_end(tar);
    open_samples(&context, inside("v.tar"), NULL, &samples);
    assert_int_equal(truncate(inside("v.tar"), 10240), 0);
    assert_int_equal(spade_samples_take(&samples, 20, &sample), SPADE_ERROR_INPUT);
    assert_non_null(strstr(context.message, "v.tar: changed while it was read"));
    spade_samples_close(&samples);
    assert_int_equal(context.used, 0);
}

/* A sample of more members than anybody writes, all read over. */
static void test_many_members(void **state)
{
    (void)state;
    spade_context context = make_context();
    spade_samples samples;
    struct archive *tar = tar_make(inside("many.tar"), ARCHIVE_FILTER_NONE, 0);
    tar_add_text(tar, "a.png", PNG);
    for (int i = 0; i < 200; i++) {
        char name[16];
        snprintf(name, sizeof name, "a.%03d.txt", i);
        tar_add_text(tar, name, "text");
    }
    tar_add_text(tar, "b.png", PNG);
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "b.%03d.txt", i);
        tar_add_text(tar, name, "text");
    }
    tar_end(tar);
    open_samples(&context, inside("many.tar"), NULL, &samples);
    assert_int_equal(samples.count, 2);
    assert_non_null(strstr(take(&samples, 0)->error, "more than 64 members"));
    const spade_sample *b = take(&samples, 1);
    assert_null(b->error);
    assert_int_equal(json_object_size(b->columns), 2 + SAMPLE_MOST_TEXTS);
    assert_non_null(strstr(said, "texts behind the 16th"));
    spade_samples_close(&samples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),        cmocka_unit_test(test_lists),  cmocka_unit_test(test_content),
        cmocka_unit_test(test_manifest),     cmocka_unit_test(test_memory), cmocka_unit_test(test_index),
        cmocka_unit_test(test_damaged),      cmocka_unit_test(test_sizes),  cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_long_names),   cmocka_unit_test(test_holes),  cmocka_unit_test(test_changed),
        cmocka_unit_test(test_many_members),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
