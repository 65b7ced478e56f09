/* allocations.c - see allocations.h. */
#include "failing/allocations.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* What is allocated and not freed: an open hash table of pointers. */
enum { TABLE_SIZE = 1 << 17 };
static void *table[TABLE_SIZE];
static char grave; /* in place of one that was freed */
static long live, count, failing;
static bool active, goes_on;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void *__real_malloc(size_t size);
void *__real_calloc(size_t number, size_t size);
void *__real_realloc(void *pointer, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **out, size_t alignment, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
int __real_vasprintf(char **out, const char *format, va_list arguments);
FILE *__real_fopen(const char *path, const char *mode);
FILE *__real_fdopen(int fd, const char *mode);
FILE *__real_tmpfile(void);
FILE *__real_open_memstream(char **out, size_t *size);
int __real_scandir(const char *path, struct dirent ***out, int (*wanted)(const struct dirent *),
                   int (*compare)(const struct dirent **, const struct dirent **));
void __real_free(void *pointer);
int __real_compress2(Bytef *to, uLongf *to_size, const Bytef *from, uLong from_size, int level);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t number, size_t size);
void *__wrap_realloc(void *pointer, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
int __wrap_vasprintf(char **out, const char *format, va_list arguments);
int __wrap_asprintf(char **out, const char *format, ...) __attribute__((format(printf, 2, 3)));
FILE *__wrap_fopen(const char *path, const char *mode);
FILE *__wrap_fdopen(int fd, const char *mode);
FILE *__wrap_tmpfile(void);
FILE *__wrap_open_memstream(char **out, size_t *size);
int __wrap_scandir(const char *path, struct dirent ***out, int (*wanted)(const struct dirent *),
                   int (*compare)(const struct dirent **, const struct dirent **));
void __wrap_free(void *pointer);
int __wrap_compress2(Bytef *to, uLongf *to_size, const Bytef *from, uLong from_size, int level);
int __wrap_fsync(int fd);

static bool fails(void)
{
    pthread_mutex_lock(&mutex);
    bool now = false;
    if (active) {
        count++;
        now = failing && (count == failing || (goes_on && count > failing));
    }
    pthread_mutex_unlock(&mutex);
    if (now) { errno = ENOMEM; }
    return now;
}

static size_t slot_of(const void *pointer)
{
    return (size_t)((uintptr_t)pointer >> 4) * 2654435761u % TABLE_SIZE;
}

static void *note(void *pointer)
{
    pthread_mutex_lock(&mutex);
    if (active && pointer) {
        size_t slot = slot_of(pointer);
        while (table[slot] && table[slot] != &grave) { slot = (slot + 1) % TABLE_SIZE; }
        table[slot] = pointer;
        live++;
    }
    pthread_mutex_unlock(&mutex);
    return pointer;
}

static void forget(const void *pointer)
{
    pthread_mutex_lock(&mutex);
    for (size_t slot = slot_of(pointer); pointer && table[slot]; slot = (slot + 1) % TABLE_SIZE) {
        if (table[slot] != pointer) { continue; }
        table[slot] = &grave;
        live--;
        break;
    }
    pthread_mutex_unlock(&mutex);
}

void allocations_begin(long fail_at, bool on)
{
    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
    memset(table, 0, sizeof table);
    live = count = 0;
    failing = fail_at;
    goes_on = on;
    active = true;
}

long allocations_end(long *leaked)
{
    active = false;
    *leaked = live;
    return count;
}

long allocations_now(void)
{
    return count;
}

/* ---- in place of the library's */

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : note(__real_malloc(size));
}

void *__wrap_calloc(size_t number, size_t size)
{
    return fails() ? NULL : note(__real_calloc(number, size));
}

void *__wrap_realloc(void *pointer, size_t size)
{
    if (fails()) { return NULL; }
    forget(pointer);
    return note(__real_realloc(pointer, size));
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : note(__real_aligned_alloc(alignment, size));
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t size)
{
    if (fails()) { return ENOMEM; }
    const int error = __real_posix_memalign(out, alignment, size);
    if (!error) { note(*out); }
    return error;
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : note(__real_strdup(text));
}

char *__wrap_strndup(const char *text, size_t size)
{
    return fails() ? NULL : note(__real_strndup(text, size));
}

int __wrap_vasprintf(char **out, const char *format, va_list arguments)
{
    if (fails()) { return -1; } /* *out is undefined then, and stays what it was */
    const int length = __real_vasprintf(out, format, arguments);
    if (length >= 0) { note(*out); }
    return length;
}

int __wrap_asprintf(char **out, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int length = __wrap_vasprintf(out, format, arguments);
    va_end(arguments);
    return length;
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    return fails() ? NULL : __real_fopen(path, mode);
}

FILE *__wrap_fdopen(int fd, const char *mode)
{
    return fails() ? NULL : __real_fdopen(fd, mode);
}

FILE *__wrap_tmpfile(void)
{
    return fails() ? NULL : __real_tmpfile();
}

FILE *__wrap_open_memstream(char **out, size_t *size)
{
    return fails() ? NULL : __real_open_memstream(out, size);
}

int __wrap_scandir(const char *path, struct dirent ***out, int (*wanted)(const struct dirent *),
                   int (*compare)(const struct dirent **, const struct dirent **))
{
    return fails() ? -1 : __real_scandir(path, out, wanted, compare);
}

void __wrap_free(void *pointer)
{
    forget(pointer);
    __real_free(pointer);
}

/* ---- what would take most of the time: pictures are compressed as little as can be, and nothing waits for the disk */

int __wrap_compress2(Bytef *to, uLongf *to_size, const Bytef *from, uLong from_size, int level)
{
    (void)level;
    return __real_compress2(to, to_size, from, from_size, Z_BEST_SPEED);
}

int __wrap_fsync(int fd)
{
    (void)fd;
    return 0;
}
