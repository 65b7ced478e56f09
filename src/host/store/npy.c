/* npy.c - NumPy .npy files: a strict reader (format 1.0-3.0) and an atomic writer. Source: numpy.lib.format. */
#include <math.h>

#include "base/base.h"
#include "spade/array.h"
#include "store/labels.h"
#include "store/npy.h"

enum { MAX_HEADER = 65536, PIECE = 1 << 18 /* elements whose bytes in the file are dropped together */ };
#define MAX_FILE ((uint64_t)1 << 40)

int64_t spade_array_size(const spade_array *array)
{
    int64_t size = 1;
    for (int i = 0; i < array->rank; i++) { size *= array->dims[i]; }
    return size;
}

void spade_array_clear(spade_array *array)
{
    if (!array) { return; }
    free(array->data);
    *array = (spade_array){0};
}

/* ---- header: a Python dictionary literal {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), } */
typedef struct npy_header {
    char descr[24];
    bool fortran;
    int rank;
    int64_t dims[SPADE_MAX_RANK];
} npy_header;

typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_blank(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t')) { c->at++; }
}

static bool take(cursor *c, char wanted)
{
    skip_blank(c);
    if (c->at == c->end || *c->at != wanted) { return false; }
    c->at++;
    return true;
}

static bool take_word(cursor *c, const char *word)
{
    size_t length = strlen(word);
    skip_blank(c);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0) { return false; }
    c->at += length;
    return true;
}

/* A quoted string without escapes. A value that is no string (structured types are lists) is refused by the caller. */
static bool take_string(cursor *c, char *out, size_t capacity)
{
    skip_blank(c);
    if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) { return false; }
    char quote = *c->at++;
    size_t n = 0;
    while (c->at < c->end && *c->at != quote) {
        if (n + 1 >= capacity || *c->at == '\\') { return false; }
        out[n++] = *c->at++;
    }
    out[n] = '\0';
    return take(c, quote);
}

static bool take_shape(cursor *c, npy_header *header)
{
    if (!take(c, '(')) { return false; }
    bool comma = true;
    while (!take(c, ')')) {
        if (!comma || header->rank == SPADE_MAX_RANK) { return false; }
        skip_blank(c);
        int64_t value = 0;
        const char *start = c->at;
        for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
            if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *c->at - '0', &value)) {
                return false;
            }
        }
        if (c->at == start) { return false; }
        header->dims[header->rank++] = value;
        comma = take(c, ',');
        if (!comma && header->rank == 1) { return false; } /* (3) is a number, (3,) a shape */
    }
    return true;
}

static bool parse_header(cursor c, npy_header *header)
{
    bool descr = false, order = false, shape = false;
    char key[16];
    if (!take(&c, '{')) { return false; }
    while (!take(&c, '}')) {
        if (!take_string(&c, key, sizeof key) || !take(&c, ':')) { return false; }
        if (strcmp(key, "descr") == 0 && !descr) {
            descr = take_string(&c, header->descr, sizeof header->descr);
            if (!descr) {
                snprintf(header->descr, sizeof header->descr, "?");
                return true;
            }
        } else if (strcmp(key, "fortran_order") == 0 && !order) {
            header->fortran = take_word(&c, "True");
            order = header->fortran || take_word(&c, "False");
            if (!order) { return false; }
        } else if (strcmp(key, "shape") == 0 && !shape) {
            shape = take_shape(&c, header);
            if (!shape) { return false; }
        } else {
            return false;
        }
        if (!take(&c, ',')) {
            if (!take(&c, '}')) { return false; }
            break;
        }
    }
    skip_blank(&c);
    return descr && order && shape && c.at == c.end;
}

/* "float16" for "<f2": what people call it. */
static const char *type_name(const char *descr)
{
    static const char *const names[][2] = {
        {"f2", "float16"}, {"f4", "float32"}, {"f8", "float64"},   {"i1", "int8"},       {"i2", "int16"},
        {"i4", "int32"},   {"i8", "int64"},   {"u1", "uint8"},     {"u2", "uint16"},     {"u4", "uint32"},
        {"u8", "uint64"},  {"b1", "bool"},    {"c8", "complex64"}, {"c16", "complex128"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (descr[0] && strcmp(descr + 1, names[i][0]) == 0) { return names[i][1]; }
    }
    return "another type";
}

static spade_status read_header(spade_context *context, const char *path, const spade_mapping *file, npy_header *header,
                                size_t *data_at)
{
    const uint8_t *p = file->data;
    if (file->size < 10 || memcmp(p, "\x93NUMPY", 6) != 0) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: not a NumPy .npy file", path);
    }
    if (p[6] < 1 || p[6] > 3 || p[7] != 0) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: .npy format %d.%d, known are 1.0, 2.0 and 3.0", path, p[6],
                          p[7]);
    }
    size_t start = p[6] == 1 ? 10 : 12;
    if (file->size < start) { return spade_fail(context, SPADE_ERROR_INPUT, "%s: truncated in the header", path); }
    size_t length = p[8] | (size_t)p[9] << 8;
    if (p[6] > 1) { length |= (size_t)p[10] << 16 | (size_t)p[11] << 24; }
    if (length > MAX_HEADER) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: a header of %zu bytes, the limit is %d", path, length,
                          MAX_HEADER);
    }
    if (length > file->size - start) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: truncated in the header", path);
    }
    cursor text = {(const char *)p + start, (const char *)p + start + length};
    if (!parse_header(text, header)) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: malformed .npy header (rank is limited to %d)", path,
                          SPADE_MAX_RANK);
    }
    *data_at = start + length;
    return SPADE_OK;
}

/* Which types a reader takes: NumPy's names of them between spaces, and what they are called. */
typedef struct npy_types {
    const char *descrs, *wanted;
} npy_types;

/* Type, order and length -> number of elements and bytes of each. */
static spade_status check_content(spade_context *context, const char *path, const npy_header *header, npy_types types,
                                  uint64_t bytes, int64_t *count, size_t *element)
{
    char name[sizeof header->descr + 2];
    const char *wanted = types.wanted;
    snprintf(name, sizeof name, " %s ", header->descr);
    if (strchr(header->descr, ' ') || !strstr(types.descrs, name)) {
        if (strcmp(header->descr, "?") == 0) {
            return spade_fail(context, SPADE_ERROR_INPUT, "%s: a structured or malformed type, expected %s", path,
                              wanted);
        }
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: type %s%s ('%s'), expected %s", path,
                          header->descr[0] == '>' ? "big-endian " : "", type_name(header->descr), header->descr,
                          wanted);
    }
    if (header->fortran && header->rank > 1) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: Fortran order, expected C order (numpy.ascontiguousarray)",
                          path);
    }
    *element = (size_t)(header->descr[2] - '0');
    int64_t need;
    if (!spade_mul_dims(header->dims, header->rank, count) ||
        __builtin_mul_overflow(*count, (int64_t)*element, &need)) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: the shape overflows", path);
    }
    if ((uint64_t)need != bytes) {
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: %llu bytes of data, the shape needs %lld", path,
                          (unsigned long long)bytes, (long long)need);
    }
    return SPADE_OK;
}

/* Where number `index` of an array stands, from 0: "element [2, 0, 5, 7] (input, channel, row, column)". */
enum { POSITION_TEXT = 256 };
static const char *describe_position(const npy_header *header, int64_t index, char text[POSITION_TEXT])
{
    int64_t at[SPADE_MAX_RANK] = {0};
    size_t used = (size_t)snprintf(text, POSITION_TEXT, "element [");
    for (int i = header->rank - 1; i >= 0; i--) {
        at[i] = index % header->dims[i];
        index /= header->dims[i];
    }
    for (int i = 0; i < header->rank; i++) {
        used += (size_t)snprintf(text + used, POSITION_TEXT - used, "%s%lld", i ? ", " : "", (long long)at[i]);
    }
    snprintf(text + used, POSITION_TEXT - used, "]%s", header->rank == 4 ? " (input, channel, row, column)" : "");
    return text;
}

/* A float32 or float64. */
static double number_at(const uint8_t *data, size_t bytes)
{
    float single;
    double value;
    memcpy(&single, data, sizeof single);
    value = single;
    if (bytes == sizeof value) { memcpy(&value, data, sizeof value); }
    return value;
}

static spade_status fail_not_finite(spade_context *context, const char *path, const npy_header *header, int64_t index,
                                    double value)
{
    char text[POSITION_TEXT];
    return spade_fail(context, SPADE_ERROR_INPUT, "%s: %s is %s: no finite number%s", path,
                      describe_position(header, index, text),
                      isnan(value)   ? "NaN"
                      : isinf(value) ? "infinite"
                                     : "too large",
                      isfinite(value) ? " in float32" : "");
}

spade_status spade_array_load(spade_context *context, const char *path, int allow_float64, spade_array *out)
{
    spade_mapping file;
    npy_header header = {0};
    size_t at = 0, element = 0;
    int64_t count = 0;
    spade_status status;
    *out = (spade_array){0};
    SPADE_TRY(spade_map_file(context, path, MAX_FILE, &file));
    SPADE_GOTO(read_header(context, path, &file, &header, &at));
    const npy_types types =
        allow_float64 ? (npy_types){" <f4 <f8 ", "float32 or float64"} : (npy_types){" <f4 ", "float32"};
    SPADE_GOTO(check_content(context, path, &header, types, file.size - at, &count, &element));
    size_t bytes = (size_t)count * sizeof(float);
    if (bytes > spade_budget_left(context) || !(out->data = malloc(bytes ? bytes : 1))) {
        char need[32];
        status = spade_fail(context, SPADE_ERROR_MEMORY, "%s: the array needs %s of memory", path,
                            spade_format_bytes(bytes, need));
        goto done;
    }
    out->rank = header.rank;
    memcpy(out->dims, header.dims, sizeof out->dims);
    const uint8_t *data = file.data + at;
    for (int64_t i = 0; i < count; i++) {
        const double value = number_at(data + (size_t)i * element, element);
        out->data[i] = (float)value;
        if ((i + 1) % PIECE == 0) {
            spade_mapping_drop(&file, data + element * (size_t)(i + 1 - PIECE), element * PIECE);
        }
        if (!isfinite(out->data[i])) {
            status = fail_not_finite(context, path, &header, i, value);
            goto done;
        }
    }
done:
    spade_unmap(&file);
    if (status != SPADE_OK) { spade_array_clear(out); }
    return status;
}

bool spade_array_file_is_whole(spade_context *context, const char *path)
{
    const npy_types types = {" <f4 ", "float32"};
    spade_error before;
    spade_mapping file = {0};
    npy_header header = {0};
    size_t at = 0, element;
    int64_t count;
    spade_error_save(context, &before);
    const bool whole = spade_map_file(context, path, MAX_FILE, &file) == SPADE_OK &&
                       read_header(context, path, &file, &header, &at) == SPADE_OK &&
                       check_content(context, path, &header, types, file.size - at, &count, &element) == SPADE_OK;
    spade_unmap(&file);
    spade_error_restore(context, &before);
    return whole;
}

/* ---- labels */

/* False: it is a float that is no whole number, or one that does not fit. */
static bool read_label(const npy_header *header, const uint8_t *data, int64_t *out)
{
    const size_t bytes = (size_t)(header->descr[2] - '0');
    if (header->descr[1] == 'f') {
        const double value = number_at(data, bytes);
        if (!(fabs(value) < 0x1p53) || value != floor(value)) { return false; }
        *out = (int64_t)value;
        return true;
    }
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) { value |= (uint64_t)data[i] << (8 * i); }
    const bool negative = header->descr[1] == 'i' && data[bytes - 1] & 0x80;
    if (negative && bytes < 8) { value |= UINT64_MAX << (8 * bytes); }
    if (!negative && value > INT64_MAX) { return false; }
    memcpy(out, &value, sizeof *out);
    return true;
}

spade_status spade_labels_create(spade_context *context, const char *path, int64_t height, int64_t width,
                                 spade_labels *out)
{
    void *memory;
    *out = (spade_labels){.height = height, .width = width};
    spade_status status =
        spade_alloc(context, sizeof *out->data * (size_t)(height * width), "labels of pixels", &memory);
    if (status != SPADE_OK) {
        *out = (spade_labels){0};
        return spade_fail_in(context, status, "%s", path);
    }
    out->data = memory;
    return SPADE_OK;
}

spade_status spade_labels_load(spade_context *context, const char *path, spade_labels *out)
{
    static const npy_types types = {" |b1 |i1 |u1 <i2 <u2 <i4 <u4 <i8 <u8 <f4 <f8 ", "whole numbers"};
    spade_mapping file;
    npy_header header = {0};
    size_t at = 0, element = 0;
    int64_t count = 0;
    spade_status status;
    *out = (spade_labels){0};
    SPADE_TRY(spade_map_file(context, path, MAX_FILE, &file));
    SPADE_GOTO(read_header(context, path, &file, &header, &at));
    SPADE_GOTO(check_content(context, path, &header, types, file.size - at, &count, &element));
    if (header.rank != 2 || count < 1) {
        SPADE_GOTO(spade_fail(context, SPADE_ERROR_INPUT, "%s: %d axes and %lld numbers, expected [height, width]",
                              path, header.rank, (long long)count));
    }
    SPADE_GOTO(spade_labels_create(context, path, header.dims[0], header.dims[1], out));
    for (int64_t i = 0; i < count; i++) {
        if (!read_label(&header, file.data + at + (size_t)i * element, &out->data[i])) {
            char text[POSITION_TEXT];
            SPADE_GOTO(spade_fail(context, SPADE_ERROR_INPUT, "%s: %s is not a whole number", path,
                                  describe_position(&header, i, text)));
        }
    }
done:
    spade_unmap(&file);
    if (status != SPADE_OK) { spade_labels_clear(context, out); }
    return status;
}

void spade_labels_clear(spade_context *context, spade_labels *labels)
{
    if (labels->data) {
        spade_free_bytes(context, labels->data, sizeof *labels->data * (size_t)(labels->height * labels->width));
    }
    *labels = (spade_labels){0};
}

/* ---- writing */

size_t spade_npy_header(const char *descr, int rank, const int64_t *dims, char out[SPADE_NPY_HEADER])
{
    char shape[256] = "";
    size_t length = 0;
    for (int i = 0; i < rank; i++) {
        length += (size_t)snprintf(shape + length, sizeof shape - length, "%s%lld", i ? ", " : "", (long long)dims[i]);
    }
    if (rank == 1) { snprintf(shape + length, sizeof shape - length, ","); }
    int text = snprintf(out + 10, SPADE_NPY_HEADER - 10, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                        descr, shape);
    size_t total = ((size_t)text + 10 + 1 + 63) / 64 * 64; /* data begin at a multiple of 64, as NumPy writes them */
    memset(out + 10 + text, ' ', total - 10 - (size_t)text);
    out[total - 1] = '\n';
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)((total - 10) & 0xff);
    out[9] = (char)((total - 10) >> 8);
    return total;
}

spade_status spade_array_save(spade_context *context, const char *path, const float *data, int rank,
                              const int64_t *dims)
{
    char header[SPADE_NPY_HEADER];
    int64_t count;
    if (rank < 0 || rank > SPADE_MAX_RANK || !spade_mul_dims(dims, rank, &count)) {
        return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s: the shape is not one that can be written", path);
    }
    const size_t total = spade_npy_header("<f4", rank, dims, header);
    spade_output out;
    SPADE_TRY(spade_output_open(context, path, &out));
    fwrite(header, 1, total, out.file);
    fwrite(data, sizeof *data, (size_t)count, out.file);
    return spade_output_commit(context, &out);
}
