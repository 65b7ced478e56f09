/*
 * fuzz_picture.c - any bytes as a picture, in the worker that decodes them (decode_worker.c): the whole program runs as a
 * function. What it asks of the system is answered here: memory is counted and released when it ends, as with a process;
 * what it writes has to be one line and no picture, or a whole picture.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fuzz/target.h"

/* ---- memory of the worker; more than this there is not, which keeps decoding quick */
enum { MEMORY = 32 << 20 };

typedef union block {
    struct {
        union block *next, *before;
        size_t size;
    } link;
    max_align_t align;
} block;

static block blocks; /* ring */
static size_t in_use;

static void *worker_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > MEMORY - in_use) { return NULL; }
    block *b = calloc(1, sizeof *b + bytes);
    FUZZ_EXPECT(b, "out of memory");
    b->link.size = bytes;
    b->link.next = blocks.link.next;
    b->link.before = &blocks;
    blocks.link.next->link.before = b;
    blocks.link.next = b;
    in_use += bytes;
    return b + 1;
}

static void *worker_malloc(size_t size)
{
    uint8_t *bytes = worker_calloc(1, size);
    if (bytes) { memset(bytes, 0xa5, size); }
    return bytes;
}

static void worker_free(void *bytes)
{
    if (!bytes) { return; }
    block *b = (block *)bytes - 1;
    b->link.before->link.next = b->link.next;
    b->link.next->link.before = b->link.before;
    in_use -= b->link.size;
    free(b);
}

static void *worker_realloc(void *bytes, size_t size)
{
    void *moved = worker_malloc(size);
    if (moved && bytes) {
        const size_t old = ((block *)bytes - 1)->link.size;
        memcpy(moved, bytes, old < size ? old : size);
        worker_free(bytes);
    }
    return moved;
}

/* ---- what it writes, and its end */
static jmp_buf end;
static uint8_t answer[16];    /* of the picture */
static size_t picture, lines; /* bytes written: of the picture, of the message */

static ssize_t worker_write(int file, const void *bytes, size_t size)
{
    if (file == 2) {
        FUZZ_EXPECT(!memchr(bytes, '\n', size), "a message of several lines");
        lines += size;
        return (ssize_t)size;
    }
    FUZZ_EXPECT(file == 1, "a file that is not the worker's");
    for (size_t i = 0; i < size && picture + i < sizeof answer; i++) {
        answer[picture + i] = ((const uint8_t *)bytes)[i];
    }
    picture += size;
    return (ssize_t)size;
}

__attribute__((noreturn)) static void worker_exit(int code)
{
    longjmp(end, 1 + code);
}

static int worker_limit(int resource, const struct rlimit *limit)
{
    return resource >= 0 && limit ? 0 : -1;
}

#define main worker_main
#define malloc worker_malloc
#define calloc worker_calloc
#define realloc worker_realloc
#define free worker_free
#define write worker_write
#define _exit worker_exit
#define setrlimit(resource, limit) worker_limit((int)(resource), limit)
#include "picture/decode_worker.c"
#undef main
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef write
#undef _exit
#undef setrlimit

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file("picture", data, size);
    char *arguments[] = {(char *)(uintptr_t) "spade-decode", (char *)(uintptr_t)path, NULL};
    blocks.link.next = blocks.link.before = &blocks;
    in_use = allocated = picture = lines = 0;
    const int file = open("/dev/null", O_RDONLY | O_CLOEXEC); /* the number that the worker's file will have */
    close(file);
    int code = setjmp(end);
    if (!code) { code = 1 + worker_main(2, arguments); }
    if (code == 1) {
        uint32_t sides[2];
        memcpy(sides, answer + 4, sizeof sides);
        FUZZ_EXPECT(memcmp(answer, "SPD1", 4) == 0 && sides[0] && sides[1], "a picture without pixels");
        FUZZ_EXPECT(picture == sizeof answer + (size_t)sides[0] * sides[1] * 3, "not a whole picture");
    } else {
        FUZZ_EXPECT(picture == 0 && lines > 0, "a failure without a message, or half a picture");
    }
    while (blocks.link.next != &blocks) { worker_free(blocks.link.next + 1); }
    close(file);
    return 0;
}
