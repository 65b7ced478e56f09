/* fingerprint.c - XXH3-128 through the library xxHash. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/fingerprint.h"

void spade_fingerprint_text(uint64_t high, uint64_t low, char out[SPADE_FINGERPRINT_SIZE])
{
    snprintf(out, SPADE_FINGERPRINT_SIZE, "%016llx%016llx", (unsigned long long)high, (unsigned long long)low);
}

static void format(XXH128_hash_t hash, char out[SPADE_FINGERPRINT_SIZE])
{
    spade_fingerprint_text(hash.high64, hash.low64, out);
}

void spade_fingerprint(const spade_mapping *pieces, int count, char out[SPADE_FINGERPRINT_SIZE])
{
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_128bits_reset(&state);
    for (int i = 0; i < count; i++) { XXH3_128bits_update(&state, pieces[i].data, pieces[i].size); }
    format(XXH3_128bits_digest(&state), out);
}

spade_status spade_fingerprint_file(spade_context *context, const char *path, char out[SPADE_FINGERPRINT_SIZE])
{
    char piece[65536];
    ssize_t count;
    XXH3_state_t state;
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a pipe is not waited for */
    if (fd < 0) { return spade_fail(context, SPADE_ERROR_INPUT, "%s: %s", path, strerror(errno)); }
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: not a regular file", path);
    }
    XXH3_INITSTATE(&state);
    XXH3_128bits_reset(&state);
    while ((count = read(fd, piece, sizeof piece)) > 0) { XXH3_128bits_update(&state, piece, (size_t)count); }
    const int error = errno;
    close(fd);
    if (count < 0) { return spade_fail(context, SPADE_ERROR_IO, "%s: %s", path, strerror(error)); }
    format(XXH3_128bits_digest(&state), out);
    return SPADE_OK;
}
