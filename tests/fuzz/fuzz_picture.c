/*
 * fuzz_picture.c - any bytes as a picture, in the worker that decodes them (picture/decoder): the whole program runs as a
 * function, for a picture, for one with its alpha channel and for a mask. What it writes has to be one line and no picture, or
 * a whole picture. Its end is a jump back; memory that goes with a process is then released here.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <unistd.h>

#include "fuzz/target.h"
#include "picture/decoder/decoder.h"
#include "picture/format.h"

/* ---- memory that the worker and its libraries take; without AddressSanitizer nobody tells, and nothing is released */
enum { MAX_BLOCKS = 1 << 16 };
static const volatile void *blocks[MAX_BLOCKS];
static size_t block_count;
static _Thread_local bool running; /* libFuzzer's thread that watches the memory takes some of its own */

__attribute__((weak)) int __sanitizer_install_malloc_and_free_hooks(void (*taken)(const volatile void *, size_t),
                                                                    void (*freed)(const volatile void *));

static void note_taken(const volatile void *block, size_t size)
{
    (void)size;
    if (running && block && block_count < MAX_BLOCKS) { blocks[block_count++] = block; }
}

static void note_freed(const volatile void *block)
{
    for (size_t i = block_count; running && i-- > 0;) {
        if (blocks[i] != block) { continue; }
        blocks[i] = blocks[--block_count];
        return;
    }
}

static void release(void)
{
    running = false;
    while (block_count) { free((void *)(uintptr_t)blocks[--block_count]); }
}

/* ---- what the worker writes, and its end */
static jmp_buf end;
static uint8_t answer[32]; /* the header */
static size_t picture_bytes, message_bytes;

static ssize_t worker_write(int file, const void *bytes, size_t size)
{
    if (file == 2) {
        FUZZ_EXPECT(!memchr(bytes, '\n', size), "a message of several lines");
        message_bytes += size;
        return (ssize_t)size;
    }
    FUZZ_EXPECT(file == 1, "a file that is not the worker's");
    for (size_t i = 0; i < size && picture_bytes + i < sizeof answer; i++) {
        answer[picture_bytes + i] = ((const uint8_t *)bytes)[i];
    }
    picture_bytes += size;
    return (ssize_t)size;
}

__attribute__((noreturn)) static void worker_exit(int code)
{
    longjmp(end, 1 + code);
}

/* The limits are those of a process, which goes on here. */
void decoder_enter_sandbox(void)
{
}

#define main worker_main
#define write worker_write
#define _exit worker_exit
#define decoder_check_size worker_check_size /* decoder_check_size() below stands in for it */
#include "picture/decoder/worker.c"
#undef main
#undef write
#undef _exit
#undef decoder_check_size

/* Small pictures only, which keeps decoding quick. */
void decoder_check_size(uint64_t width, uint64_t height)
{
    enum { FEW_PIXELS = 1 << 18 };
    worker_check_size(width, height);
    if (width * height > FEW_PIXELS) { decoder_fail("larger than what this target decodes"); }
}

/* option: "--mask", "--alpha", or NULL */
static void decode_file(const char *path, const char *option)
{
    char *picture[] = {(char *)(uintptr_t) "spade-decode", (char *)(uintptr_t)path, NULL};
    char *optional[] = {picture[0], (char *)(uintptr_t)option, picture[1], NULL};
    picture_bytes = message_bytes = 0;
    const int file = open("/dev/null", O_RDONLY | O_CLOEXEC); /* the number that the worker's file will have */
    close(file);
    running = true;
    int code = setjmp(end);
    if (!code) { code = 1 + (option ? worker_main(3, optional) : worker_main(2, picture)); }
    release();
    close(file);
    if (code == 1) {
        uint32_t head[3]; /* width, height, flags */
        memcpy(head, answer + 4, sizeof head);
        const size_t channels = head[2] & FLAG_ALPHA ? 4 : 3;
        FUZZ_EXPECT(memcmp(answer, "SPD2", 4) == 0 && head[0] && head[1], "a picture without pixels");
        FUZZ_EXPECT(channels == 3 || (option && strcmp(option, "--alpha") == 0), "an alpha channel that nobody wants");
        FUZZ_EXPECT(picture_bytes == sizeof answer + (size_t)head[0] * head[1] * channels, "not a whole picture");
    } else {
        FUZZ_EXPECT(picture_bytes == 0 && message_bytes > 0, "a failure without a message, or half a picture");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool first = true;
    if (first && __sanitizer_install_malloc_and_free_hooks) {
        (void)__sanitizer_install_malloc_and_free_hooks(note_taken, note_freed);
    }
    first = false;
    const char *path = fuzz_file("picture", data, size);
    decode_file(path, NULL);
    decode_file(path, "--alpha");
    decode_file(path, "--mask");
    return 0;
}
