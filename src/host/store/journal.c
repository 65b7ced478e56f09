/* journal.c - see journal.h. Lines are read with pread, a piece at a time, so that memory holds one line. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/journal.h"

enum { PIECE = 65536 };

static spade_status fail(spade_context *context, const char *path, const char *what)
{
    return spade_fail(context, SPADE_ERROR_IO, "%s: %s: %s", path, what, strerror(errno));
}

/* Bytes of the file up to and with the last newline. */
static bool find_whole_lines(int file, int64_t size, int64_t *out)
{
    char piece[PIECE];
    *out = 0;
    for (int64_t end = size; end > 0;) {
        int64_t start = end > PIECE ? end - PIECE : 0;
        if (pread(file, piece, (size_t)(end - start), start) != end - start) { return false; }
        const char *newline = memrchr(piece, '\n', (size_t)(end - start));
        if (newline) {
            *out = start + (newline - piece) + 1;
            return true;
        }
        end = start;
    }
    return true;
}

spade_status spade_journal_open(spade_context *context, const char *path, spade_journal *out, bool *found)
{
    struct stat info;
    *out = (spade_journal){.file = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK)};
    *found = false;
    if (out->file < 0 && errno == ENOENT) { return SPADE_OK; }
    if (out->file < 0) { return fail(context, path, "cannot be read and written"); }
    spade_status status = SPADE_OK;
    out->path = strdup(path);
    if (!out->path) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path)); }
    if (fstat(out->file, &info) != 0) { SPADE_GOTO(fail(context, path, "cannot be read")); }
    if (!S_ISREG(info.st_mode)) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_INPUT, "%s: not a regular file", path)); }
    if (!find_whole_lines(out->file, info.st_size, &out->size)) { SPADE_GOTO(fail(context, path, "cannot be read")); }
    if (out->size < info.st_size && ftruncate(out->file, out->size) != 0) {
        SPADE_GOTO(fail(context, path, "cannot be written"));
    }
    *found = true;
done:
    if (status != SPADE_OK) { spade_journal_close(out); }
    return status;
}

spade_status spade_journal_create(spade_context *context, const char *path, const char *first_line, spade_journal *out)
{
    spade_output file;
    bool found;
    *out = (spade_journal){.file = -1};
    SPADE_TRY(spade_output_open(context, path, &file));
    fputs(first_line, file.file);
    fputc('\n', file.file);
    SPADE_TRY(spade_output_commit(context, &file));
    return spade_journal_open(context, path, out, &found);
}

static bool write_all(int file, const char *bytes, size_t size, int64_t offset)
{
    while (size > 0) {
        ssize_t written = pwrite(file, bytes, size, offset);
        if (written < 0 && errno == EINTR) { continue; }
        if (written <= 0) { return false; }
        bytes += written;
        size -= (size_t)written;
        offset += written;
    }
    return true;
}

spade_status spade_journal_append(spade_context *context, spade_journal *journal, const char *line, int64_t *offset)
{
    const size_t length = strlen(line);
    *offset = journal->size;
    if (write_all(journal->file, line, length, journal->size) &&
        write_all(journal->file, "\n", 1, journal->size + (int64_t)length) && fdatasync(journal->file) == 0) {
        journal->size += (int64_t)length + 1;
        return SPADE_OK;
    }
    spade_status status = fail(context, journal->path, "cannot write");
    (void)ftruncate(journal->file, journal->size); /* half a line is of no use */
    return status;
}

spade_status spade_journal_read(spade_context *context, const spade_journal *journal, int64_t offset, char **line,
                                int64_t *next)
{
    size_t length = 0, capacity = PIECE;
    char *text = malloc(capacity);
    *line = NULL;
    while (text) {
        if (capacity - length < PIECE) {
            char *larger = realloc(text, capacity *= 2);
            if (!larger) { break; }
            text = larger;
        }
        ssize_t count = pread(journal->file, text + length, PIECE, offset + (int64_t)length);
        if (count < 0 && errno == EINTR) { continue; }
        if (count <= 0) {
            if (count == 0) { errno = EINVAL; } /* lines end in newlines: something shortened the file */
            free(text);
            return fail(context, journal->path, "cannot be read");
        }
        char *newline = memchr(text + length, '\n', (size_t)count);
        if (newline) {
            *newline = 0;
            *line = text;
            *next = offset + (newline - text) + 1;
            return SPADE_OK;
        }
        length += (size_t)count;
    }
    free(text);
    return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", journal->path);
}

void spade_journal_close(spade_journal *journal)
{
    if (journal->file > 0) { close(journal->file); }
    free(journal->path);
    *journal = (spade_journal){.file = -1};
}
