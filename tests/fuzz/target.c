/* target.c - see target.h. */
#include <fcntl.h>
#include <ftw.h>
#include <unistd.h>

#include "fuzz/target.h"

static const uint64_t memory = (uint64_t)256 << 20;

void fuzz_stop(const char *file, int line, const char *text)
{
    fprintf(stderr, "%s:%d: %s\n", file, line, text);
    abort();
}

spade_context *fuzz_context(void)
{
    spade_context_options options;
    spade_context *context = NULL;
    spade_context_options_init(&options);
    options.device = "cpu";
    options.threads = 1;
    options.memory = memory;
    FUZZ_EXPECT(spade_context_create(&options, &context) == SPADE_OK, "no context");
    return context;
}

void fuzz_context_end(spade_context *context)
{
    FUZZ_EXPECT(spade_bytes_in_use(context) == 0, "memory is still charged when everything has been released");
    spade_context_destroy(context);
}

bool fuzz_worked(const spade_context *context, spade_status status)
{
    if (status == SPADE_OK) { return true; }
    const char *message = spade_message(context);
    if (status == SPADE_ERROR_INTERNAL) { fuzz_stop(__FILE__, __LINE__, message); }
    FUZZ_EXPECT(*message, "a failure without a message");
    for (const char *at = message; *at; at++) {
        FUZZ_EXPECT((unsigned char)*at >= 0x20 && *at != 0x7f, "a message with a control character");
    }
    return false;
}

/* ---- files */

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

static void remove_folder(void)
{
    enum { OPEN_FOLDERS = 8 };
    (void)nftw(fuzz_folder(), remove_entry, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS);
}

const char *fuzz_folder(void)
{
    static char folder[256];
    if (!*folder) {
        const char *place = getenv("TMPDIR");
        snprintf(folder, sizeof folder, "%s/spade-fuzz-XXXXXX", place ? place : "/tmp");
        FUZZ_EXPECT(mkdtemp(folder), "cannot make a temporary folder");
        atexit(remove_folder);
    }
    return folder;
}

const char *fuzz_file(const char *name, const void *bytes, size_t size)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_EXPECT(file >= 0, "cannot write a temporary file");
    for (size_t done = 0; done < size;) {
        ssize_t written = write(file, (const char *)bytes + done, size - done);
        FUZZ_EXPECT(written > 0, "cannot write a temporary file");
        done += (size_t)written;
    }
    close(file);
    return path;
}
