/*
 * Hostile and broken pictures: cut at every byte, every byte changed, impossible headers, other formats. Each must give
 * one line that names the file, or a picture; never a crash, a hang or half a picture.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "picture/decode.h"

/* 9 x 7 pixels of grey, baseline */
static const uint8_t jpeg[] = {
    0xff, 0xd8, 0xff, 0xe0, 0x00, 0x10, 0x4a, 0x46, 0x49, 0x46, 0x00, 0x01, 0x01, 0x00, 0x00, 0x01, 0x00, 0x01,
    0x00, 0x00, 0xff, 0xdb, 0x00, 0x43, 0x00, 0x1b, 0x12, 0x14, 0x17, 0x14, 0x11, 0x1b, 0x17, 0x16, 0x17, 0x1e,
    0x1c, 0x1b, 0x20, 0x28, 0x42, 0x2b, 0x28, 0x25, 0x25, 0x28, 0x51, 0x3a, 0x3d, 0x30, 0x42, 0x60, 0x55, 0x65,
    0x64, 0x5f, 0x55, 0x5d, 0x5b, 0x6a, 0x78, 0x99, 0x81, 0x6a, 0x71, 0x90, 0x73, 0x5b, 0x5d, 0x85, 0xb5, 0x86,
    0x90, 0x9e, 0xa3, 0xab, 0xad, 0xab, 0x67, 0x80, 0xbc, 0xc9, 0xba, 0xa6, 0xc7, 0x99, 0xa8, 0xab, 0xa4, 0xff,
    0xc0, 0x00, 0x0b, 0x08, 0x00, 0x07, 0x00, 0x09, 0x01, 0x01, 0x11, 0x00, 0xff, 0xc4, 0x00, 0x15, 0x00, 0x01,
    0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xff,
    0xc4, 0x00, 0x19, 0x10, 0x00, 0x03, 0x01, 0x01, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x01, 0x02, 0x11, 0x00, 0x21, 0x51, 0xff, 0xda, 0x00, 0x08, 0x01, 0x01, 0x00, 0x00, 0x3f, 0x00,
    0xb0, 0x67, 0x2f, 0x0a, 0x45, 0xf6, 0xf7, 0x3d, 0xff, 0xd9,
};

enum { BATCH = 24 };

typedef struct fixture {
    spade_context *context;
    char folder[64];
    char paths[BATCH][96];
} fixture;

static int set_up(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = "cpu";
    strcpy(f->folder, "/tmp/spade-robust-XXXXXX");
    if (!mkdtemp(f->folder)) { return 1; }
    for (int i = 0; i < BATCH; i++) { snprintf(f->paths[i], sizeof f->paths[i], "%s/picture%02d", f->folder, i); }
    *state = f;
    return spade_context_create(&options, &f->context) != SPADE_OK;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    for (int i = 0; i < BATCH; i++) { unlink(f->paths[i]); }
    rmdir(f->folder);
    spade_context_destroy(f->context);
    free(f);
    return 0;
}

static void write_bytes(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

/* Load the first n files; each failure must name its file in one line. Returns how many were accepted. */
static int load_batch(fixture *f, int n)
{
    const char *paths[BATCH] = {NULL};
    spade_picture pictures[BATCH];
    spade_status statuses[BATCH];
    char *messages[BATCH];
    int accepted = 0;
    for (int i = 0; i < n; i++) { paths[i] = f->paths[i]; }
    assert_int_equal(spade_picture_load_many(f->context, paths, n, pictures, statuses, messages), SPADE_OK);
    for (int i = 0; i < n; i++) {
        accepted += statuses[i] == SPADE_OK;
        if (statuses[i] == SPADE_OK) {
            assert_non_null(pictures[i].rgb);
            assert_null(messages[i]);
        } else {
            assert_null(pictures[i].rgb);
            assert_non_null(strstr(messages[i], paths[i]));
            assert_null(strchr(messages[i], '\n'));
            assert_true(strlen(messages[i]) > strlen(paths[i]) + 5);
        }
        free(messages[i]);
        spade_picture_clear(&pictures[i]);
    }
    return accepted;
}

static void refused(fixture *f, const void *bytes, size_t size, const char *says)
{
    spade_picture picture;
    write_bytes(f->paths[0], bytes, size);
    assert_int_equal(spade_picture_load(f->context, f->paths[0], &picture), SPADE_ERROR_INPUT);
    if (!strstr(spade_message(f->context), says)) { fail_msg("'%s' is not in '%s'", says, spade_message(f->context)); }
    assert_non_null(strstr(spade_message(f->context), f->paths[0]));
}

static void cut_everywhere(fixture *f, const uint8_t *bytes, size_t size)
{
    for (size_t length = 1; length < size; length += BATCH) {
        int n = 0;
        for (; n < BATCH && length + (size_t)n < size; n++) { write_bytes(f->paths[n], bytes, length + (size_t)n); }
        assert_int_equal(load_batch(f, n), 0);
    }
    write_bytes(f->paths[0], bytes, size);
    assert_int_equal(load_batch(f, 1), 1);
}

/* Each of the first `changed` bytes changed in turn: any outcome but a crash or a hang. */
static void changed_everywhere(fixture *f, const uint8_t *bytes, size_t size, size_t changed)
{
    uint8_t *copy = malloc(size);
    memcpy(copy, bytes, size);
    for (size_t at = 0; at < changed; at += BATCH) {
        int n = 0;
        for (; n < BATCH && at + (size_t)n < changed; n++) {
            uint8_t *byte = copy + at + (size_t)n;
            uint8_t old = *byte;
            *byte ^= (uint8_t)(0x01 + 37 * n);
            write_bytes(f->paths[n], copy, size);
            *byte = old;
        }
        load_batch(f, n);
    }
    free(copy);
}

static uint8_t *small_png(fixture *f, size_t *size)
{
    uint8_t pixels[5 * 4 * 3], *png;
    for (size_t i = 0; i < sizeof pixels; i++) { pixels[i] = (uint8_t)(i * 31); }
    assert_int_equal(spade_png_encode(f->context, pixels, 5, 4, 3, &png, size), SPADE_OK);
    return png;
}

static void small_bmp(uint8_t bmp[54 + 48])
{
    const uint8_t head[54] = {'B', 'M', 102, [10] = 54, [14] = 40, [18] = 4, [22] = 4, [26] = 1, [28] = 24};
    memcpy(bmp, head, sizeof head);
    for (int i = 0; i < 48; i++) { bmp[54 + i] = (uint8_t)(5 * i); }
}

static void cut_png(void **state)
{
    size_t size;
    uint8_t *png = small_png(*state, &size);
    cut_everywhere(*state, png, size);
    free(png);
}

static void cut_jpeg(void **state)
{
    cut_everywhere(*state, jpeg, sizeof jpeg);
}

static void cut_bmp(void **state)
{
    uint8_t bmp[54 + 48];
    small_bmp(bmp);
    cut_everywhere(*state, bmp, sizeof bmp);
    const uint8_t masks[12] = {0,    0xf8, 0, 0,   0xe0,
                               0x07, 0,    0, 0x1f}; /* of 16 bits: two rows of two pixels behind them */
    bmp[10] = 54 + sizeof masks;
    bmp[18] = bmp[22] = 2;
    bmp[28] = 16;
    bmp[30] = 3;
    memcpy(bmp + 54, masks, sizeof masks);
    cut_everywhere(*state, bmp, 54 + sizeof masks + 8);
}

static void cut_pnm(void **state)
{
    static const char ppm[] = "P6 2 3 255\nabcdefghijklmnopqr", pgm[] = "P5\n4 2\n255\nabcdefgh",
                      deep[] = "P5\n2 2\n999\nabcdefgh";
    static const char pbm[] = "P4\n9 2\nabcd", plain[] = "P3 1 2 9\n1 2 3 4 5 6";
    cut_everywhere(*state, (const uint8_t *)ppm, sizeof ppm - 1);
    cut_everywhere(*state, (const uint8_t *)pgm, sizeof pgm - 1);
    cut_everywhere(*state, (const uint8_t *)deep, sizeof deep - 1);
    cut_everywhere(*state, (const uint8_t *)pbm, sizeof pbm - 1);
    cut_everywhere(*state, (const uint8_t *)plain, sizeof plain - 1);
}

/* Of the golden set, malloc'ed. */
static uint8_t *read_golden(const char *name, size_t *size)
{
    char path[512];
    uint8_t *bytes = malloc(1 << 16);
    snprintf(path, sizeof path, SPADE_TEST_DATA "/decoding/%s", name);
    FILE *file = fopen(path, "rb");
    assert_true(file && bytes);
    *size = fread(bytes, 1, 1 << 16, file);
    assert_true(*size > 0 && *size < 1 << 16);
    fclose(file);
    return bytes;
}

static const char *const webps[] = {"lossy.webp", "lossless_alpha.webp"};

static void cut_webp(void **state)
{
    fixture *f = *state;
    size_t size;
    uint8_t *lossy = read_golden(webps[0], &size);
    cut_everywhere(f, lossy, size);
    free(lossy);
    uint8_t *lossless = read_golden(webps[1], &size);
    for (size_t n = 0; n < BATCH; n++) { write_bytes(f->paths[n], lossless, size * (n + 1) / (BATCH + 1)); }
    assert_int_equal(load_batch(f, BATCH), 0);
    free(lossless);
}

static void changed_bytes(void **state)
{
    size_t size;
    for (int i = 0; i < 2; i++) {
        uint8_t *webp = read_golden(webps[i], &size);
        changed_everywhere(*state, webp, size, size < 300 ? size : 300);
        free(webp);
    }
    uint8_t *png = small_png(*state, &size), bmp[54 + 48];
    small_bmp(bmp);
    changed_everywhere(*state, png, size, size);
    changed_everywhere(*state, jpeg, sizeof jpeg, sizeof jpeg);
    changed_everywhere(*state, bmp, sizeof bmp, sizeof bmp);
    changed_everywhere(*state, (const uint8_t *)"P6 2 3 255\nabcdefghijklmnopqr", 29, 29);
    free(png);
}

/* A PNG checks itself: no changed byte may go unseen. */
static void png_checksums(void **state)
{
    fixture *f = *state;
    size_t size;
    uint8_t *png = small_png(f, &size);
    for (size_t at = 0; at < size; at += 3) {
        png[at] ^= 0x40;
        spade_picture picture;
        write_bytes(f->paths[0], png, size);
        assert_int_equal(spade_picture_load(f->context, f->paths[0], &picture), SPADE_ERROR_INPUT);
        png[at] ^= 0x40;
    }
    free(png);
}

static void impossible_headers(void **state)
{
    fixture *f = *state;
    uint8_t bmp[54 + 48], jpg[sizeof jpeg];
    small_bmp(bmp);
    memset(bmp + 18, 0x7f, 8);
    refused(f, bmp, sizeof bmp, "the limit is 16384 a side");
    memset(bmp + 18, 0, 8);
    refused(f, bmp, sizeof bmp, "no pixels");
    small_bmp(bmp);
    bmp[30] = 1;
    refused(f, bmp, sizeof bmp, "compressed BMP");
    bmp[28] = 16;
    bmp[30] = 3; /* no room for masks before the pixels */
    refused(f, bmp, sizeof bmp, "masks");
    refused(f, "P6 0 3 255\n", 11, "no pixels");
    refused(f, "P6 16384 16384 255\n", 19, "the limit is 64 megapixels");
    refused(f, "P6 99999999999 1 255\n", 21, "too long");
    refused(f, "P6 4294967297 1 255\n", 20, "16384 a side");
    refused(f, "P6 1 1 70000\nabcdef", 19, "largest value");
    refused(f, "P6 1 1 0\nabc", 12, "largest value");
    refused(f, "P3 1 1 9\n1 2 10 ", 16, "above the largest");
    memcpy(jpg, jpeg, sizeof jpeg);
    for (size_t i = 2; i + 9 < sizeof jpg; i++) {
        if (jpg[i] == 0xff && jpg[i + 1] == 0xc0) { memset(jpg + i + 5, 0xff, 4); }
    }
    refused(f, jpg, sizeof jpg, "the limit is 16384 a side");
}

/* The grey JPEG with one more segment behind its first marker. */
static void refused_with_segment(fixture *f, const void *segment, size_t size, const char *says)
{
    uint8_t *bytes = malloc(sizeof jpeg + size);
    assert_non_null(bytes);
    memcpy(bytes, jpeg, 2);
    memcpy(bytes + 2, segment, size);
    memcpy(bytes + 2 + size, jpeg + 2, sizeof jpeg - 2);
    refused(f, bytes, sizeof jpeg + size, says);
    free(bytes);
}

/* What decoders have been overrun by is refused before they see it. */
static void hostile_jpeg(void **state)
{
    fixture *f = *state;
    uint8_t table[2 + 2 + 17 + 300] = {0xff, 0xc4, 0x01, 0x3f}, frame[19] = {0xff, 0xc0, 0, 17, 8, 0, 7, 0, 9, 2};
    for (int bits = 1; bits <= 16; bits++) { table[4 + bits] = 16; }
    table[4 + 16] = 17; /* 257 codes */
    refused_with_segment(f, table, sizeof table, "Huffman table");
    memset(table + 5, 0, 16);
    table[4 + 16] = 255;
    table[2] = (2 + 17 + 254) >> 8, table[3] = (2 + 17 + 254) & 255; /* fewer bytes than codes */
    refused_with_segment(f, table, 2 + 2 + 17 + 254, "Huffman table");
    table[2] = 0, table[3] = 2 + 5; /* shorter than its counts */
    refused_with_segment(f, table, 2 + 2 + 5, "Huffman table");
    refused_with_segment(f, frame, sizeof frame, "JPEG of 2 components");
    frame[1] = 0xc3;
    refused_with_segment(f, frame, sizeof frame, "of a kind that is not supported");
    static const uint8_t scan[] = {0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0};
    uint8_t *scans = malloc(300 * sizeof scan);
    assert_non_null(scans);
    for (size_t i = 0; i < 300; i++) { memcpy(scans + i * sizeof scan, scan, sizeof scan); }
    refused_with_segment(f, scans, 300 * sizeof scan, "more than 256 scans");
    free(scans);
}

static void count_line(void *user, spade_log_level level, const char *line)
{
    (void)level;
    *(int *)user += strstr(line, "damaged") != NULL;
}

/* Damage in the middle of the data, which libjpeg goes on after: a picture, and a word about it. */
static void damaged_jpeg(void **state)
{
    fixture *f = *state;
    size_t size;
    int lines = 0;
    spade_picture picture;
    spade_context_options options;
    spade_context *context;
    spade_context_options_init(&options);
    options.log = count_line;
    options.user = &lines;
    uint8_t *bytes = read_golden("baseline_444.jpg", &size);
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    for (int damaged = 0; damaged < 2; damaged++) {
        if (damaged) { memset(bytes + size - 60, 0xfe, 30); }
        write_bytes(f->paths[0], bytes, size);
        assert_int_equal(spade_picture_load(context, f->paths[0], &picture), SPADE_OK);
        spade_picture_clear(&picture);
        assert_int_equal(lines, damaged);
    }
    spade_context_destroy(context);
    free(bytes);
}

static void hostile_webp(void **state)
{
    fixture *f = *state;
    size_t size;
    uint8_t *webp = read_golden("lossless_alpha.webp", &size);
    assert_memory_equal(webp + 12, "VP8L", 4);
    memset(webp + 21, 0xff, 3); /* 14 bits of width, 14 of height: 16384 x ... */
    write_bytes(f->paths[0], webp, size);
    assert_int_equal(load_batch(f, 1), 0);
    static const uint8_t animated[] = "RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\x07\0\0\x07\0\0"
                                      "ANMF\0\0\0\0";
    refused(f, animated, sizeof animated - 1, "animated WebP");
    memcpy(webp + 16, "\xff\xff\xff\x7f", 4); /* a chunk that is longer than the file */
    refused(f, webp, size, "WebP is truncated");
    free(webp);
}

/* ---- what the decoder may not do */

/* The value of a line of /proc/PID/status, or "". */
static void read_status(pid_t pid, const char *key, char value[64])
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "r");
    *value = 0;
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, key, strlen(key)) == 0) { sscanf(line + strlen(key), " %63s", value); }
    }
    if (file) { fclose(file); }
}

/* A decoder that waits for its file has given everything up already. */
static void sandboxed(void **state)
{
    (void)state;
    enum { INHERITED = 57 }; /* a descriptor that the caller did not mean to leave open */
    int ends[2];
    char program[512], value[64], limits[64], inherited[64];
    char *const arguments[] = {program, NULL};
    pid_t pid;
    posix_spawn_file_actions_t actions;
    const char *slash = strrchr(SPADE_COMMAND, '/');
    snprintf(program, sizeof program, "%.*s/spade-decode", slash ? (int)(slash - SPADE_COMMAND) : 1,
             slash ? SPADE_COMMAND : ".");
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(dup2(ends[1], INHERITED), INHERITED);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, ends[0], 0), 0);
    assert_int_equal(posix_spawn(&pid, program, &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    *value = 0;
    for (int wait = 0; wait < 500 && strcmp(value, "1") != 0; wait++) {
        usleep(10000);
        read_status(pid, "NoNewPrivs:", value);
    }
    usleep(100000); /* what comes after it */
    char filter[64];
    read_status(pid, "Seccomp:", filter);
    snprintf(limits, sizeof limits, "/proc/%d/limits", (int)pid);
    FILE *file = fopen(limits, "r");
    char line[256], files[64] = "";
    while (file && fgets(line, sizeof line, file)) { sscanf(line, "Max open files %63s", files); }
    if (file) { fclose(file); }
    snprintf(inherited, sizeof inherited, "/proc/%d/fd/%d", (int)pid, INHERITED);
    const bool open_still = readlink(inherited, line, sizeof line) >= 0;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(ends[0]);
    close(ends[1]);
    close(INHERITED);
    assert_string_equal(value, "1");
    (void)open_still;
#ifndef __SANITIZE_ADDRESS__ /* sanitizers open files and start threads */
    assert_string_equal(files, "0");
    if (*filter) { assert_string_equal(filter, "2"); } /* this kernel has seccomp */
#ifdef SYS_close_range
    if (syscall(SYS_close_range, UINT_MAX, UINT_MAX, 0U) == 0) { assert_false(open_still); }
#endif
#endif
}

static void other_things(void **state)
{
    fixture *f = *state;
    uint8_t noise[200];
    uint32_t seed = 3;
    refused(f, "", 0, "empty");
    refused(f, "GIF89a\x01\x00\x01\x00\x00\x00\x00;", 14, "GIF is not supported");
    refused(f, "II*\0\x08\0\0\0", 8, "TIFF is not supported");
    refused(f, "image,label\na.png,3\n", 20, "not a picture (PNG, JPEG, WebP, BMP or PNM)");
    refused(f, "P7\nWIDTH 1\n", 11, "PAM is not supported");
    for (int round = 0; round < 8; round++) {
        for (size_t i = 0; i < sizeof noise; i++) {
            seed = seed * 1664525u + 1013904223u;
            noise[i] = (uint8_t)(seed >> 24);
        }
        static const char *const magics[] = {"\x89PNG\r\n\x1a\n", "\xff\xd8\xff",    "BM", "P6 ", "P2 ", "P1 ",
                                             "P5\n9 9 ",          "\xff\xd8\xff\xc0"};
        memcpy(noise, magics[round], strlen(magics[round]));
        write_bytes(f->paths[0], noise, sizeof noise);
        assert_int_equal(load_batch(f, 1), 0);
    }
    spade_picture picture;
    assert_int_equal(spade_picture_load(f->context, f->folder, &picture), SPADE_ERROR_INPUT);
    unlink(f->paths[0]);
    assert_int_equal(mkfifo(f->paths[0], 0600), 0); /* must not wait for a writer */
    assert_int_equal(spade_picture_load(f->context, f->paths[0], &picture), SPADE_ERROR_INPUT);
    unlink(f->paths[0]);
    assert_int_equal(spade_picture_load(f->context, f->paths[0], &picture), SPADE_ERROR_INPUT);
}

/* Standard descriptors may be closed in the program that uses the library. */
static void closed_standard_input(void **state)
{
    fixture *f = *state;
    size_t size;
    uint8_t *png = small_png(f, &size);
    write_bytes(f->paths[0], png, size);
    int saved = dup(0);
    close(0);
    int accepted = load_batch(f, 1);
    if (saved >= 0) {
        dup2(saved, 0);
        close(saved);
    }
    assert_int_equal(accepted, 1);
    free(png);
}

/* More pixels than a pipe holds: a helper that is not listened to waits with them. */
static void write_large(const char *path, int key)
{
    enum { SIDE = 600 };
    static const char header[] = "P6\n600 600\n255\n";
    uint8_t *bytes = malloc(sizeof header + SIDE * SIDE * 3);
    assert_non_null(bytes);
    memcpy(bytes, header, sizeof header - 1);
    for (size_t i = 0; i < SIDE * SIDE * 3; i++) { bytes[sizeof header - 1 + i] = (uint8_t)(i * 31 + (size_t)key); }
    write_bytes(path, bytes, sizeof header - 1 + SIDE * SIDE * 3);
    free(bytes);
}

static int count_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) { count += fcntl(fd, F_GETFD) >= 0; }
    return count;
}

/* Begun, left alone, and finished later: what spade_picture_load() gives. More files than helpers, a bad one among
 * them. */
static void decoded_ahead(void **state)
{
    enum { N = 7, BAD = 3 };
    fixture *f = *state;
    const char *paths[N];
    spade_picture pictures[N], alone;
    spade_status statuses[N];
    char *messages[N];
    spade_decode *decoding;
    int before = count_descriptors(), threads = f->context->threads;
    f->context->threads = 2;
    for (int i = 0; i < N; i++) {
        paths[i] = f->paths[i];
        write_large(f->paths[i], i);
    }
    assert_int_equal(truncate(f->paths[BAD], 1000), 0);
    assert_int_equal(
        spade_decoding_begin(f->context, paths, NULL, NULL, false, N, pictures, statuses, messages, &decoding),
        SPADE_OK);
    assert_true(count_descriptors() > before);
    usleep(50000);
    spade_decoding_finish(decoding);
    spade_decoding_destroy(decoding);
    f->context->threads = threads;
    for (int i = 0; i < N; i++) {
        assert_true((statuses[i] == SPADE_OK) == (i != BAD));
        if (i == BAD) {
            assert_non_null(strstr(messages[i], paths[i]));
        } else {
            assert_int_equal(spade_picture_load(f->context, paths[i], &alone), SPADE_OK);
            assert_int_equal(pictures[i].width, alone.width);
            assert_int_equal(pictures[i].height, alone.height);
            assert_memory_equal(pictures[i].rgb, alone.rgb, (size_t)(alone.width * alone.height * 3));
            spade_picture_clear(&alone);
        }
        spade_picture_clear(&pictures[i]);
        free(messages[i]);
    }
    assert_int_equal(count_descriptors(), before);
}

/* Begun and given up: nothing stays, neither processes nor descriptors. */
static void decoding_given_up(void **state)
{
    fixture *f = *state;
    const char *paths[2] = {f->paths[0], f->paths[1]};
    spade_picture pictures[2];
    spade_status statuses[2];
    char *messages[2];
    spade_decode *decoding;
    int before = count_descriptors();
    write_large(f->paths[0], 1);
    write_large(f->paths[1], 2);
    for (int wait = 0; wait < 2; wait++) { /* at work; done and waiting with its pixels */
        assert_int_equal(
            spade_decoding_begin(f->context, paths, NULL, NULL, false, 2, pictures, statuses, messages, &decoding),
            SPADE_OK);
        usleep(wait ? 50000 : 0);
        spade_decoding_destroy(decoding);
        assert_int_equal(count_descriptors(), before);
        assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
    }
    spade_decoding_destroy(NULL);
}

/* Together they are more than the budget holds; each alone is not. */
static void budget_of_several(void **state)
{
    fixture *f = *state;
    const char *paths[2] = {f->paths[0], f->paths[1]};
    spade_picture pictures[2];
    spade_status statuses[2];
    char *messages[2];
    uint64_t budget = f->context->budget;
    write_large(f->paths[0], 1);
    write_large(f->paths[1], 2);
    f->context->budget = f->context->used + 600 * 600 * 3 * 3 / 2;
    assert_int_equal(spade_picture_load_many(f->context, paths, 2, pictures, statuses, messages), SPADE_OK);
    f->context->budget = budget;
    int fit = statuses[0] == SPADE_OK ? 0 : 1;
    assert_int_equal(statuses[fit], SPADE_OK);
    assert_int_equal(statuses[1 - fit], SPADE_ERROR_MEMORY);
    assert_non_null(strstr(messages[1 - fit], paths[1 - fit]));
    free(messages[1 - fit]);
    spade_picture_clear(&pictures[fit]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_png),
        cmocka_unit_test(cut_jpeg),
        cmocka_unit_test(cut_bmp),
        cmocka_unit_test(cut_pnm),
        cmocka_unit_test(cut_webp),
        cmocka_unit_test(hostile_jpeg),
        cmocka_unit_test(damaged_jpeg),
        cmocka_unit_test(hostile_webp),
        cmocka_unit_test(sandboxed),
        cmocka_unit_test(changed_bytes),
        cmocka_unit_test(png_checksums),
        cmocka_unit_test(other_things),
        cmocka_unit_test(impossible_headers),
        cmocka_unit_test(closed_standard_input),
        cmocka_unit_test(decoded_ahead),
        cmocka_unit_test(decoding_given_up),
        cmocka_unit_test(budget_of_several),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
