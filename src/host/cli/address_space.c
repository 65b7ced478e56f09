/*
 * address_space.c - `ulimit -v`. OpenBLAS asks for a buffer per thread before main(), and for one more per call at a time, and
 * where it gets none it asks for ever. So before any library starts, what the limit leaves is divided among the threads;
 * where not even one has enough, the command ends with a line.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cli/cli.h"

static const uint64_t mebibyte = 1 << 20;
/* Of a thread: OpenBLAS's two buffers, one of which it has from the beginning; the C library's heap, and a stack. */
enum { BLAS_BUFFER = 128, HEAP = 64, STACK = 8, MAX_VARIABLES = 4096 };
/* For files, networks and results, in MiB: with less no work is worth beginning. */
enum { ROOM = 96 };

static uint64_t get_limit(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY ? limit.rlim_cur : UINT64_MAX;
}

/* What this process has by now; 0 where the system does not say. */
static uint64_t get_mapped(void)
{
    char text[64];
    const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (file < 0) { return 0; }
    const ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    text[length > 0 ? length : 0] = 0;
    return strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t cli_address_space_left(int threads)
{
    const uint64_t limit = get_limit(), taken = get_mapped();
    const uint64_t share = (uint64_t)threads * (BLAS_BUFFER + HEAP + STACK) * mebibyte;
    if (limit == UINT64_MAX) { return UINT64_MAX; }
    return limit > taken + share ? limit - taken - share : 0;
}

bool cli_address_space_suffices(int threads)
{
    return cli_address_space_left(threads) >= ROOM / 2 * mebibyte;
}

/* Under sanitizers, which map terabytes, and whose checks do not work yet at this point, there is no such limit. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED

/* The value of a variable; not getenv(), which does not know them yet. */
static const char *find_variable(char **variables, const char *name)
{
    const size_t length = strlen(name);
    for (; *variables; variables++) {
        if (strncmp(*variables, name, length) == 0 && (*variables)[length] == '=') { return *variables + length + 1; }
    }
    return NULL;
}

static int count_threads(char **variables)
{
    cpu_set_t processors;
    const char *wanted = find_variable(variables, "OMP_NUM_THREADS");
    const long threads = wanted ? strtol(wanted, NULL, 10) : 0;
    if (threads > 0 && threads <= CPU_SETSIZE) { return (int)threads; }
    if (sched_getaffinity(0, sizeof processors, &processors) == 0) { return CPU_COUNT(&processors); }
    return CPU_SETSIZE; /* more than the set holds */
}

/* The command begins again with so many threads; nothing else has changed. Comes back where it cannot. */
static void begin_again(char **arguments, char **variables, int threads)
{
    static const char *const names[] = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MALLOC_ARENA_MAX"};
    enum { NAMES = sizeof names / sizeof *names };
    static char values[NAMES][64], *changed[MAX_VARIABLES];
    int count = 0;
    for (; *variables && count < MAX_VARIABLES - NAMES - 1; variables++) {
        bool replaced = false;
        for (int i = 0; i < NAMES; i++) {
            const size_t length = strlen(names[i]);
            replaced = replaced || (strncmp(*variables, names[i], length) == 0 && (*variables)[length] == '=');
        }
        if (!replaced) { changed[count++] = *variables; }
    }
    for (int i = 0; i < NAMES; i++) {
        snprintf(values[i], sizeof values[i], "%s=%d", names[i], i < 2 ? threads : 1);
        changed[count++] = values[i];
    }
    execve("/proc/self/exe", arguments, changed);
    execve((const char *)getauxval(AT_EXECFN), arguments, changed); /* without /proc: as it was called */
}

static void divide_address_space(int count, char **arguments, char **variables)
{
    (void)count;
    const uint64_t limit = get_limit(), base = get_mapped() + ROOM * mebibyte;
    if (limit == UINT64_MAX) { return; }
    const uint64_t each = (2 * BLAS_BUFFER + HEAP + STACK) * mebibyte, fits = limit > base ? (limit - base) / each : 0;
    const int threads = count_threads(variables);
    if (fits >= (uint64_t)threads) { return; }
    if (fits) { begin_again(arguments, variables, (int)fits); }
    char line[160];
    const unsigned long long given = limit / mebibyte, needed = (base + each) / mebibyte + 1;
    const int length =
        snprintf(line, sizeof line, "spade: ulimit -v leaves %llu MiB; spade needs %llu MiB\n", given, needed);
    ssize_t written = write(STDERR_FILENO, line, (size_t)length);
    (void)written;
    _exit(EXIT_FAILED);
}

__attribute__((section(".preinit_array"), used)) static void (*const before_all)(int, char **,
                                                                                 char **) = divide_address_space;
#endif
