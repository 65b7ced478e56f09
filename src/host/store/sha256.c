/* sha256.c - SHA-256 through the library Nettle. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/sha256.h"

void spade_sha256_begin(spade_sha256 *sha)
{
    sha256_init(&sha->state);
}

void spade_sha256_add(spade_sha256 *sha, const void *bytes, size_t size)
{
    sha256_update(&sha->state, size, bytes);
}

void spade_sha256_end(spade_sha256 *sha, char out[SPADE_SHA256_SIZE])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(&sha->state, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) { snprintf(out + 2 * i, 3, "%02x", digest[i]); }
}

void spade_sha256_of(const void *bytes, size_t size, char out[SPADE_SHA256_SIZE])
{
    spade_sha256 sha;
    spade_sha256_begin(&sha);
    spade_sha256_add(&sha, bytes, size);
    spade_sha256_end(&sha, out);
}

spade_status spade_sha256_file(spade_context *context, const char *path, char out[SPADE_SHA256_SIZE], uint64_t *size)
{
    char piece[65536];
    ssize_t count;
    uint64_t total = 0;
    spade_sha256 sha;
    struct stat info;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a pipe is not waited for */
    if (fd < 0) { return spade_fail(context, SPADE_ERROR_INPUT, "%s: %s", path, strerror(errno)); }
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return spade_fail(context, SPADE_ERROR_INPUT, "%s: not a regular file", path);
    }
    spade_sha256_begin(&sha);
    while ((count = read(fd, piece, sizeof piece)) > 0 || (count < 0 && errno == EINTR)) {
        if (count < 0) { continue; }
        spade_sha256_add(&sha, piece, (size_t)count);
        total += (uint64_t)count;
    }
    const int error = errno;
    close(fd);
    if (count < 0) { return spade_fail(context, SPADE_ERROR_IO, "%s: %s", path, strerror(error)); }
    spade_sha256_end(&sha, out);
    if (size) { *size = total; }
    return SPADE_OK;
}
