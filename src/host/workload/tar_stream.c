/* tar_stream.c - see tar_stream.h. */
#include "workload/tar_stream.h"

#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes that are read at once: a scan jumps from header to header. */
enum { SCANNED = 4096, STREAMED = 1 << 17 }; /* the buffer holds the larger */
/* More than this of a compressed tar, and more than so many times its size, is a bomb: pictures are hardly compressed at all. */
#define UNCOMPRESSED_FREE ((uint64_t)256 << 20)
enum { MOST_TIMES = 1000 };

/* ---- the file, as libarchive asks for it */

/* A scan jumps from header to header. Where they are near each other, it is faster to have all of the file read than to wait for a disk,
 * or a server, at each: 5 ms of a disk are 700 KB, half a millisecond of a server 200 KB; on an SSD it costs a little. */
static void read_ahead(spade_tar_stream *stream)
{
    const uint64_t near = (uint64_t)128 << 10, step = (uint64_t)4 << 20;
    stream->reads++;
    if (stream->piece != SCANNED || stream->at + SCANNED <= stream->ahead) { return; }
    if ((stream->at - stream->base) / (uint64_t)stream->reads > near) { return; }
    (void)posix_fadvise(stream->file, (off_t)stream->at, (off_t)step, POSIX_FADV_WILLNEED);
    stream->ahead = stream->at + step;
}

static la_ssize_t on_read(struct archive *archive, void *user, const void **buffer)
{
    spade_tar_stream *stream = user;
    ssize_t n;
    read_ahead(stream);
    do {
        n = pread(stream->file, stream->buffer, stream->piece, (off_t)stream->at);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        archive_set_error(archive, errno, "%s", strerror(errno));
        return ARCHIVE_FATAL;
    }
    stream->at += (uint64_t)n;
    *buffer = stream->buffer;
    return n;
}

/* Only so far as the file goes: what is cut off is not passed over unseen. */
static la_int64_t on_skip(struct archive *archive, void *user, la_int64_t request)
{
    spade_tar_stream *stream = user;
    (void)archive;
    const uint64_t left = stream->at < stream->tar->size ? stream->tar->size - stream->at : 0;
    const uint64_t skipped = (uint64_t)request < left ? (uint64_t)request : left;
    stream->at += skipped;
    return (la_int64_t)skipped;
}

/* ---- faults */

static spade_status fail(const spade_tar_stream *stream, const char *what)
{
    const char *path = stream->tar->path;
    return stream->last
               ? spade_fail(stream->context, SPADE_ERROR_INPUT, "%s: %s (behind '%s')", path, what, stream->last)
               : spade_fail(stream->context, SPADE_ERROR_INPUT, "%s: %s", path, what);
}

static spade_status fail_memory(const spade_tar_stream *stream)
{
    return spade_fail(stream->context, SPADE_ERROR_MEMORY, "%s: out of memory", stream->tar->path);
}

static spade_status fail_as_said(const spade_tar_stream *stream)
{
    const int number = archive_errno(stream->archive);
    const char *said = archive_error_string(stream->archive);
    char what[400];
    if (number == ENOMEM) { return fail_memory(stream); }
    snprintf(what, sizeof what, "%s: %s", stream->begun ? "damaged, or cut off" : "no tar, or damaged",
             said ? said : "?");
    return fail(stream, what);
}

static spade_status check_compression(spade_tar_stream *stream)
{
    const uint64_t held = (uint64_t)archive_filter_bytes(stream->archive, 0);
    if (held > UNCOMPRESSED_FREE && held / MOST_TIMES > stream->at) {
        return fail(stream, "it holds more than 1000 times its size: no pictures compress so well");
    }
    return SPADE_OK;
}

/* ---- opening */

static int allow_formats(const spade_tar_stream *stream)
{
    struct archive *archive = stream->archive;
    if (archive_read_support_format_tar(archive) != ARCHIVE_OK) { return ARCHIVE_FATAL; }
    if (stream->base) { return ARCHIVE_OK; } /* a member, whatever its first bytes are */
    static int (*const filters[])(struct archive *) = {
        archive_read_support_filter_gzip, archive_read_support_filter_zstd, archive_read_support_filter_xz,
        archive_read_support_filter_bzip2, archive_read_support_filter_lz4};
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        const int code = filters[i](archive); /* ARCHIVE_WARN: by a program */
        if (code != ARCHIVE_OK && code != ARCHIVE_WARN) { return code; }
    }
    return ARCHIVE_OK;
}

static spade_status open_file(spade_tar_stream *stream)
{
    const spade_tar *tar = stream->tar;
    struct stat info;
    stream->file = open(tar->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (stream->file < 0 || fstat(stream->file, &info) != 0) { return fail(stream, strerror(errno)); }
    if (!S_ISREG(info.st_mode)) { return fail(stream, "not a regular file"); }
    if ((uint64_t)info.st_size != tar->size) { return fail(stream, "changed while it was read"); }
    return tar->size ? SPADE_OK : fail(stream, "empty file");
}

static spade_status open_archive(spade_tar_stream *stream)
{
    struct archive *archive = stream->archive = archive_read_new();
    if (!archive || allow_formats(stream) != ARCHIVE_OK ||
        archive_read_set_read_callback(archive, on_read) != ARCHIVE_OK ||
        archive_read_set_skip_callback(archive, on_skip) != ARCHIVE_OK ||
        archive_read_set_callback_data(archive, stream) != ARCHIVE_OK) {
        return fail_memory(stream);
    }
    return archive_read_open1(archive) == ARCHIVE_OK ? SPADE_OK : fail_as_said(stream);
}

spade_status spade_tar_open(spade_context *context, const spade_tar *tar, uint64_t offset, bool scan,
                            spade_tar_stream **out)
{
    spade_tar_stream *stream = *out = malloc(sizeof *stream);
    if (!stream) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", tar->path); }
    *stream = (spade_tar_stream){
        .context = context, .tar = tar, .file = -1, .at = offset, .base = offset, .piece = scan ? SCANNED : STREAMED};
    spade_status status = SPADE_OK;
    stream->buffer = malloc(STREAMED);
    if (!stream->buffer) { SPADE_GOTO(fail_memory(stream)); }
    SPADE_GOTO(open_file(stream));
    SPADE_GOTO(open_archive(stream));
done:
    if (status != SPADE_OK) {
        spade_tar_close(stream);
        *out = NULL;
    }
    return status;
}

void spade_tar_close(spade_tar_stream *stream)
{
    if (!stream) { return; }
    if (stream->archive) { (void)archive_read_free(stream->archive); }
    if (stream->file >= 0) { close(stream->file); }
    free(stream->buffer);
    free(stream->last);
    free(stream);
}

/* ---- members */

static const char *special_of(struct archive_entry *entry)
{
    if (archive_entry_hardlink(entry)) { return "link"; }
    switch (archive_entry_filetype(entry)) {
    case AE_IFREG: return NULL;
    case AE_IFDIR: return "folder";
    case AE_IFLNK: return "link";
    default: return "special file";
    }
}

/* What is known with the first header. */
static spade_status begin(spade_tar_stream *stream)
{
    stream->begun = true;
    stream->compressed = archive_filter_code(stream->archive, 0) != ARCHIVE_FILTER_NONE;
    if (archive_filter_count(stream->archive) > 2) { return fail(stream, "it is compressed more than once"); }
    if (stream->compressed) { stream->piece = STREAMED; }
    return SPADE_OK;
}

/* Of a compressed tar everything is decompressed, whoever wants it or not: with a look at how much it comes to. */
static spade_status pass_over(spade_tar_stream *stream)
{
    const void *block;
    size_t size;
    la_int64_t offset;
    for (;;) {
        const int code = archive_read_data_block(stream->archive, &block, &size, &offset);
        if (code == ARCHIVE_EOF) { return SPADE_OK; }
        if (code < ARCHIVE_WARN) { return fail_as_said(stream); }
        SPADE_TRY(check_compression(stream));
    }
}

spade_status spade_tar_next(spade_tar_stream *stream, spade_tar_member *out, bool *there)
{
    struct archive_entry *entry;
    *there = false;
    if (stream->compressed) { SPADE_TRY(pass_over(stream)); }
    const int code = archive_read_next_header(stream->archive, &entry);
    if (code != ARCHIVE_EOF && code < ARCHIVE_WARN) { return fail_as_said(stream); }
    if (!stream->begun) { SPADE_TRY(begin(stream)); }
    SPADE_TRY(check_compression(stream));
    if (code == ARCHIVE_EOF) { return SPADE_OK; }
    const char *name = archive_entry_pathname(entry);
    const la_int64_t size = archive_entry_size(entry);
    free(stream->last);
    stream->last = strdup(name ? name : "");
    if (!stream->last) { return fail_memory(stream); }
    *out = (spade_tar_member){.name = stream->last,
                              .special = special_of(entry),
                              .size = size > 0 ? (uint64_t)size : 0,
                              .offset = stream->base + (uint64_t)archive_read_header_position(stream->archive)};
    *there = true;
    return SPADE_OK;
}

spade_status spade_tar_read(spade_tar_stream *stream, void *to, size_t size, size_t *got)
{
    *got = 0;
    while (*got < size) {
        const la_ssize_t n = archive_read_data(stream->archive, (uint8_t *)to + *got, size - *got);
        if (n < 0) { return fail_as_said(stream); }
        if (n == 0) { break; }
        *got += (size_t)n;
    }
    return check_compression(stream);
}

spade_status spade_tar_read_rest(spade_tar_stream *stream, uint8_t **bytes, size_t *used)
{
    enum { LEAST = 1 << 16 };
    for (size_t capacity = *used;;) {
        capacity = capacity < LEAST ? LEAST : 2 * capacity;
        uint8_t *grown = realloc(*bytes, capacity);
        size_t got;
        if (!grown) { return fail_memory(stream); }
        *bytes = grown;
        SPADE_TRY(spade_tar_read(stream, grown + *used, capacity - *used, &got));
        *used += got;
        if (*used == capacity) { continue; }
        grown = realloc(*bytes, *used ? *used : 1); /* what is held is what is counted */
        if (grown) { *bytes = grown; }
        return SPADE_OK;
    }
}

/* Zeros fill a tar up to the size of a tape's record, which is rarely more than this. */
bool spade_tar_goes_on(const spade_tar_stream *stream)
{
    enum { READ = 1 << 16 };
    static const uint8_t zeros[READ];
    const uint64_t from = stream->base + (uint64_t)archive_filter_bytes(stream->archive, 0);
    if (stream->compressed || from >= stream->tar->size) { return false; }
    const ssize_t n = pread(stream->file, stream->buffer, READ, (off_t)from);
    return n > 0 && memcmp(stream->buffer, zeros, (size_t)n) != 0;
}

bool spade_tar_lacks_end(const spade_tar_stream *stream)
{
    const la_int64_t held = archive_filter_bytes(stream->archive, 0);
    return archive_read_header_position(stream->archive) >= held;
}
