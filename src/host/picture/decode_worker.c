/*
 * decode_worker.c - spade-decode: one picture file in (fd 0, or a path), one block of RGB out (fd 1).
 *
 * A process of its own because stb_image 2.27 reads out of bounds on hostile JPEG files: a crash or a hang here is that
 * file's error and nobody else's. It also accepts half a BMP, PNM, JPEG or a PNG with wrong checksums, so the
 * containers are checked here first: header, sizes, checksums, end marker. Memory is limited by counting stb's
 * allocations (an address space limit would break AddressSanitizer), time by RLIMIT_CPU.
 *
 * Out: "SPD1", then width, height, flags (uint32, native order), then height * width * 3 bytes.
 * On failure: exit status 1 and the reason, one line, on fd 2.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MAX_SIDE = 16384 /* SPADE_MAX_SIDE */, MAX_PIXELS = 64 * 1000 * 1000, MAX_FILE = 256 << 20, MAX_SECONDS = 20 };
enum { FLAG_GREY_CLIPPED = 2, ORIENTATION_SHIFT = 8 }; /* from this bit on: EXIF's orientation, 0: none */

/* ---- counted allocation: stb asks for memory as the file says, this says no. One picture a process, so one counter.
 */
static size_t allocated, allocation_limit;

typedef union block_head {
    size_t size;
    max_align_t align;
} block_head;

static void *counted_malloc(size_t size)
{
    if (size > allocation_limit - allocated) { return NULL; }
    block_head *head = calloc(1, sizeof *head + size); /* zeroed: no pixel may depend on old memory */
    if (!head) { return NULL; }
    head->size = size;
    allocated += size;
    return head + 1;
}

static void counted_free(void *pointer)
{
    if (!pointer) { return; }
    block_head *head = (block_head *)pointer - 1;
    allocated -= head->size;
    free(head);
}

static void *counted_realloc(void *pointer, size_t size)
{
    void *moved = counted_malloc(size);
    if (moved && pointer) {
        size_t old = ((block_head *)pointer - 1)->size;
        memcpy(moved, pointer, old < size ? old : size);
        counted_free(pointer);
    }
    return moved;
}

#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_NO_STDIO
#define STBI_MAX_DIMENSIONS MAX_SIDE
#define STBI_MALLOC(size) counted_malloc(size)
#define STBI_REALLOC(pointer, size) counted_realloc(pointer, size)
#define STBI_FREE(pointer) counted_free(pointer)
#include <stb_image.h>

typedef struct file_bytes {
    const uint8_t *data;
    size_t size;
} file_bytes;

typedef struct header {
    uint32_t width, height;
    uint32_t flags;
    bool grey16; /* PNG of 16-bit grey: read as such, then clipped */
} header;

__attribute__((noreturn)) static void fail(const char *reason)
{
    size_t length = strlen(reason);
    ssize_t written = write(2, reason, length);
    (void)written;
    _exit(1);
}

static uint32_t big32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t little32(const uint8_t *p)
{
    return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static uint32_t little16(const uint8_t *p)
{
    return (uint32_t)p[1] << 8 | p[0];
}

static void check_size(uint64_t width, uint64_t height)
{
    char reason[160];
    if (width == 0 || height == 0) { fail("the picture has no pixels"); }
    if (width > MAX_SIDE || height > MAX_SIDE) {
        snprintf(reason, sizeof reason, "%llu x %llu pixels, the limit is %d a side", (unsigned long long)width,
                 (unsigned long long)height, MAX_SIDE);
        fail(reason);
    }
    if (width * height > MAX_PIXELS) {
        snprintf(reason, sizeof reason, "%llu x %llu pixels, the limit is %d megapixels", (unsigned long long)width,
                 (unsigned long long)height, MAX_PIXELS / 1000000);
        fail(reason);
    }
}

/* ---- EXIF: the rotation or mirroring that the TIFF block asks for (tag 0x0112): 2 to 8; 0: none */
static uint32_t exif_orientation(const uint8_t *tiff, size_t size)
{
    if (size < 8 || (memcmp(tiff, "II*\0", 4) != 0 && memcmp(tiff, "MM\0*", 4) != 0)) { return 0; }
    bool big = tiff[0] == 'M';
    uint32_t at = big ? big32(tiff + 4) : little32(tiff + 4);
    if (at > size || size - at < 2) { return 0; }
    uint32_t entries = big ? (uint32_t)tiff[at] << 8 | tiff[at + 1] : little16(tiff + at);
    for (uint32_t i = 0; i < entries && (size_t)at + 2 + 12 * ((size_t)i + 1) <= size; i++) {
        const uint8_t *entry = tiff + at + 2 + 12 * (size_t)i;
        uint32_t tag = big ? (uint32_t)entry[0] << 8 | entry[1] : little16(entry);
        if (tag == 0x0112) {
            uint32_t value = big ? (uint32_t)entry[8] << 8 | entry[9] : little16(entry + 8);
            return value >= 2 && value <= 8 ? value : 0;
        }
    }
    return 0;
}

/* ---- PNG */
static void crc32_table(uint32_t table[256])
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) { c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1; }
        table[i] = c;
    }
}

static uint32_t crc32_of(const uint32_t table[256], const uint8_t *data, size_t size)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < size; i++) { crc = table[(crc ^ data[i]) & 0xff] ^ crc >> 8; }
    return ~crc;
}

static header check_png(file_bytes file)
{
    header head = {0};
    bool data_seen = false;
    uint32_t table[256];
    crc32_table(table);
    size_t at = 8;
    for (;;) {
        if (file.size - at < 12) { fail("PNG is truncated"); }
        size_t length = big32(file.data + at);
        const uint8_t *type = file.data + at + 4;
        const uint8_t *body = type + 4;
        if (length > file.size - at - 12) { fail("PNG is truncated"); }
        if (crc32_of(table, type, length + 4) != big32(body + length)) { fail("PNG is corrupt: wrong checksum"); }
        if (at == 8) {
            if (memcmp(type, "IHDR", 4) != 0 || length != 13) { fail("PNG is corrupt: it does not begin with IHDR"); }
            head.width = big32(body);
            head.height = big32(body + 4);
            check_size(head.width, head.height);
            head.grey16 = body[8] == 16 && body[9] == 0;
        } else if (memcmp(type, "IDAT", 4) == 0) {
            data_seen = true;
        } else if (memcmp(type, "eXIf", 4) == 0) {
            head.flags |= exif_orientation(body, length) << ORIENTATION_SHIFT;
        } else if (memcmp(type, "IEND", 4) == 0) {
            break;
        }
        at += length + 12;
    }
    if (!data_seen) { fail("PNG has no picture data"); }
    return head;
}

/* ---- JPEG: markers from SOI to EOI; stb fills what is missing with grey, so a file without EOI is refused here */
static size_t skip_scan(file_bytes file, size_t at)
{
    while (at + 1 < file.size) {
        uint8_t next = file.data[at + 1];
        if (file.data[at] != 0xff || next == 0 || (next >= 0xd0 && next <= 0xd7)) {
            at++;
        } else if (next == 0xff) {
            at++; /* fill byte */
        } else {
            return at;
        }
    }
    fail("JPEG is truncated");
}

static bool is_frame_header(uint8_t marker)
{
    return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

static header check_jpeg(file_bytes file)
{
    header head = {0};
    bool scan_seen = false;
    size_t at = 2;
    for (;;) {
        while (at + 1 < file.size && file.data[at] == 0xff && file.data[at + 1] == 0xff) { at++; }
        if (file.size - at < 2) { fail("JPEG is truncated"); }
        if (file.data[at] != 0xff) { fail("JPEG is corrupt: marker expected"); }
        uint8_t marker = file.data[at + 1];
        if (marker == 0xd9) { break; }
        at += 2;
        if (file.size - at < 2) { fail("JPEG is truncated"); }
        size_t length = (size_t)file.data[at] << 8 | file.data[at + 1];
        const uint8_t *body = file.data + at + 2;
        if (length < 2) { fail("JPEG is corrupt: segment length"); }
        if (length > file.size - at) { fail("JPEG is truncated"); }
        if (is_frame_header(marker)) {
            if (length < 8) { fail("JPEG is corrupt: frame header"); }
            if (marker > 0xc2) { fail("JPEG of a kind that is not supported (only baseline and progressive are)"); }
            head.height = (uint32_t)body[1] << 8 | body[2];
            head.width = (uint32_t)body[3] << 8 | body[4];
            check_size(head.width, head.height);
        } else if (marker == 0xe1 && length > 8 && memcmp(body, "Exif\0\0", 6) == 0) {
            head.flags = (head.flags & FLAG_GREY_CLIPPED) | exif_orientation(body + 6, length - 8) << ORIENTATION_SHIFT;
        }
        at += length;
        if (marker == 0xda) {
            scan_seen = true;
            at = skip_scan(file, at);
        }
    }
    if (!scan_seen || head.width == 0) { fail("JPEG has no picture data"); }
    return head;
}

/* ---- BMP: stb does not look whether the rows are there */
static header check_bmp(file_bytes file)
{
    if (file.size < 26) { fail("BMP is truncated"); }
    uint64_t offset = little32(file.data + 10);
    uint32_t info = little32(file.data + 14);
    uint64_t width, height;
    uint32_t bits, compression = 0;
    if (info == 12) {
        width = little16(file.data + 18);
        height = little16(file.data + 20);
        bits = little16(file.data + 24);
    } else {
        if (info != 40 && info != 56 && info != 108 && info != 124) { fail("BMP is corrupt or of an unknown version"); }
        if (file.size < 14 + (size_t)info) { fail("BMP is truncated"); }
        width = little32(file.data + 18);
        int64_t signed_height = (int32_t)little32(file.data + 22); /* negative: rows from the top */
        height = (uint64_t)(signed_height < 0 ? -signed_height : signed_height);
        bits = little16(file.data + 28);
        compression = little32(file.data + 30);
    }
    check_size(width, height);
    if (compression != 0 && compression != 3) { fail("compressed BMP is not supported"); }
    if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32) { fail("BMP is corrupt: bits"); }
    uint64_t row = (width * bits + 31) / 32 * 4;
    if (offset < 14 + (uint64_t)info || offset > file.size ||
        row * (height - 1) + (width * bits + 7) / 8 > file.size - offset) {
        fail("BMP is truncated");
    }
    return (header){.width = (uint32_t)width, .height = (uint32_t)height};
}

/* ---- PNM (P1-P6), decoded here: stb knows neither lengths nor the largest value. Semantics of Pillow 9.4. */
static bool is_space(int c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void skip_space(file_bytes file, size_t *at)
{
    while (*at < file.size) {
        if (file.data[*at] == '#') {
            while (*at < file.size && file.data[*at] != '\n' && file.data[*at] != '\r') { (*at)++; }
        } else if (is_space(file.data[*at])) {
            (*at)++;
        } else {
            return;
        }
    }
}

/* A decimal number, at most `digits` long. */
static uint32_t pnm_number(file_bytes file, size_t *at, int digits)
{
    skip_space(file, at);
    uint64_t value = 0;
    int n = 0;
    while (*at < file.size && file.data[*at] >= '0' && file.data[*at] <= '9') {
        if (++n > digits) { fail("PNM is corrupt: a number is too long"); }
        value = value * 10 + (uint64_t)(file.data[(*at)++] - '0');
    }
    if (n == 0) { fail(*at >= file.size ? "PNM is truncated" : "PNM is corrupt: number expected"); }
    return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static uint32_t pnm_sample(file_bytes file, size_t *at, char kind, uint32_t largest)
{
    if (kind == '1') {
        skip_space(file, at);
        if (*at >= file.size) { fail("PNM is truncated"); }
        uint8_t c = file.data[(*at)++];
        if (c != '0' && c != '1') { fail("PNM is corrupt: 0 or 1 expected"); }
        return c == '0';
    }
    if (kind <= '3') {
        uint32_t value = pnm_number(file, at, 5);
        if (value > largest) { fail("PNM is corrupt: a sample is above the largest value"); }
        return value;
    }
    uint32_t value = file.data[(*at)++];
    if (largest > 255) { value = value << 8 | file.data[(*at)++]; }
    return value < largest ? value : largest;
}

/* Grey above 8 bits is stretched to 16 bits and then clipped at 255, everything else is stretched to 8 bits: as Pillow
 * does. */
static uint8_t pnm_to_byte(uint32_t value, uint32_t largest, bool grey)
{
    if (largest == 255) { return (uint8_t)value; }
    double full = grey && largest > 255 ? 65535.0 : 255.0;
    double scaled = rint((double)value / (double)largest * full);
    return scaled > 255.0 ? 255 : (uint8_t)scaled;
}

static uint8_t *decode_pnm(file_bytes file, header *head)
{
    char kind = (char)file.data[1];
    bool bitmap = kind == '1' || kind == '4', grey = kind != '3' && kind != '6';
    size_t at = 2;
    head->width = pnm_number(file, &at, 10);
    head->height = pnm_number(file, &at, 10);
    uint32_t largest = bitmap ? 1 : pnm_number(file, &at, 10);
    check_size(head->width, head->height);
    if (largest == 0 || largest > 65535) { fail("PNM is corrupt: the largest value must be 1 to 65535"); }
    if (at >= file.size || !is_space(file.data[at])) { fail("PNM is truncated"); }
    at++;
    size_t width = head->width, height = head->height, samples = width * (grey ? 1 : 3);
    size_t row_bytes = kind == '4' ? (width + 7) / 8 : samples * (largest > 255 ? 2 : 1);
    if (kind >= '4' && row_bytes * height > file.size - at) { fail("PNM is truncated"); }
    if (grey && largest > 255) { head->flags |= FLAG_GREY_CLIPPED; }
    uint8_t *rgb = malloc(width * height * 3);
    if (!rgb) { fail("out of memory"); }
    for (size_t y = 0; y < height; y++) {
        uint8_t *out = rgb + y * width * 3;
        for (size_t i = 0; i < samples; i++) {
            uint8_t value;
            if (kind == '4') {
                value = file.data[at + i / 8] >> (7 - i % 8) & 1 ? 0 : 255;
            } else {
                value = pnm_to_byte(pnm_sample(file, &at, kind, largest), largest, grey);
            }
            if (grey) {
                out[3 * i] = out[3 * i + 1] = out[3 * i + 2] = value;
            } else {
                out[i] = value;
            }
        }
        if (kind == '4') { at += row_bytes; }
    }
    return rgb;
}

/* ---- stb */
static uint8_t *decode_stb(file_bytes file, header *head)
{
    int width = 0, height = 0, channels = 0;
    size_t pixels = (size_t)head->width * head->height;
    /* The most stb needs is a 16-bit RGBA PNG or a progressive JPEG: under 40 bytes a pixel. A zlib bomb stops here. */
    allocation_limit = ((size_t)16 << 20) + 40 * pixels;
    uint8_t *rgb = NULL;
    if (head->grey16) {
        stbi_us *grey = stbi_load_16_from_memory(file.data, (int)file.size, &width, &height, &channels, 1);
        if (grey && (uint32_t)width == head->width && (uint32_t)height == head->height) {
            rgb = malloc(pixels * 3);
            if (!rgb) { fail("out of memory"); }
            for (size_t i = 0; i < pixels; i++) { memset(rgb + 3 * i, grey[i] > 255 ? 255 : grey[i], 3); }
            head->flags |= FLAG_GREY_CLIPPED; /* NOLINT(clang-analyzer-unix.Malloc): this process ends soon */
        }
    } else {
        rgb = stbi_load_from_memory(file.data, (int)file.size, &width, &height, &channels, 3);
    }
    if (!rgb || (uint32_t)width != head->width || (uint32_t)height != head->height) {
        char reason[160];
        const char *why = stbi_failure_reason();
        snprintf(reason, sizeof reason, "cannot be decoded (%s)", why ? why : "sizes disagree");
        fail(reason);
    }
    return rgb;
}

/* ---- in and out */
static file_bytes read_all(int fd)
{
    size_t capacity = 1 << 16, size = 0;
    uint8_t *data = malloc(capacity);
    while (data) {
        ssize_t n = read(fd, data + size, capacity - size);
        if (n < 0 && errno == EINTR) { continue; }
        if (n < 0) { fail(strerror(errno)); }
        if (n == 0) { return (file_bytes){data, size}; }
        size += (size_t)n;
        if (size > MAX_FILE) { fail("the file is larger than 256 MiB"); }
        if (size == capacity) {
            uint8_t *grown = realloc(data, capacity *= 2);
            if (!grown) { free(data); }
            data = grown;
        }
    }
    fail("out of memory");
}

static void write_all(const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    while (size > 0) {
        ssize_t n = write(1, p, size);
        if (n < 0 && errno == EINTR) { continue; }
        if (n < 0) { _exit(1); } /* the reader is gone */
        p += n;
        size -= (size_t)n;
    }
}

int main(int argc, char **argv)
{
    struct rlimit cpu = {MAX_SECONDS, MAX_SECONDS + 1}, core = {0, 0};
    setrlimit(RLIMIT_CPU, &cpu);
    setrlimit(RLIMIT_CORE, &core);
    int fd = 0;
    if (argc > 1 && (fd = open(argv[1], O_RDONLY | O_CLOEXEC)) < 0) { fail(strerror(errno)); }
    file_bytes file = read_all(fd);
    const uint8_t *p = file.data;
    header head = {0};
    uint8_t *rgb;
    if (file.size == 0) { fail("empty file"); }
    if (file.size >= 8 && memcmp(p, "\x89PNG\r\n\x1a\n", 8) == 0) {
        head = check_png(file);
        rgb = decode_stb(file, &head);
    } else if (file.size >= 3 && p[0] == 0xff && p[1] == 0xd8 && p[2] == 0xff) {
        head = check_jpeg(file);
        rgb = decode_stb(file, &head);
    } else if (file.size >= 2 && p[0] == 'B' && p[1] == 'M') {
        head = check_bmp(file);
        rgb = decode_stb(file, &head);
    } else if (file.size >= 3 && p[0] == 'P' && p[1] >= '1' && p[1] <= '6' && (is_space(p[2]) || p[2] == '#')) {
        rgb = decode_pnm(file, &head);
    } else {
        fail("not a PNG, JPEG, BMP or PNM picture");
    }
    uint32_t out[4];
    memcpy(out, "SPD1", 4);
    out[1] = head.width;
    out[2] = head.height;
    out[3] = head.flags;
    write_all(out, sizeof out);
    write_all(rgb, (size_t)head.width * head.height * 3);
    _exit(0); /* memory goes with the process */
}
