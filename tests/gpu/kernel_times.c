/*
 * kernel_times.c - where a CUDA program's device time goes, by kernel and without a profiler. pack.sh builds it, run.sh loads it into
 * the benchmark:
 *
 *   CUDA_INJECTION64_PATH=libkernel_times.so PROGRAM ...
 *
 * At the program's end it prints to stderr, largest first: device milliseconds, launches, mean microseconds and name of every kernel
 * (kernels in CUDA graphs one by one), copies by kind with bytes; and for how long the device was busy (the union of all intervals) of
 * the span from the first activity to the last. KERNEL_TIMES_ROWS: how many rows (40). KERNEL_TIMES_GRIDS=1: apart by grid and block.
 */
#include <cupti.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* CUDA 13; older toolkits number them lower. */
#ifndef KERNEL_RECORD
#define KERNEL_RECORD CUpti_ActivityKernel10
#define MEMCPY_RECORD CUpti_ActivityMemcpy6
#define MEMSET_RECORD CUpti_ActivityMemset4
#endif

typedef struct row {
    char name[160];
    uint64_t ns, count, bytes;
} row;
typedef struct interval {
    uint64_t start, end;
} interval;

static row rows[4096];
static int row_count;
static interval *intervals;
static size_t interval_count, interval_room;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void add(const char *name, uint64_t start, uint64_t end, uint64_t bytes)
{
    int i = 0;
    while (i < row_count && strcmp(rows[i].name, name) != 0) { i++; }
    if (i == row_count) {
        if (row_count == 4096) { return; }
        snprintf(rows[row_count++].name, sizeof rows[0].name, "%s", name);
    }
    rows[i].ns += end - start;
    rows[i].count++;
    rows[i].bytes += bytes;
    if (interval_count == interval_room) {
        interval_room = interval_room ? 2 * interval_room : 1 << 16;
        intervals = realloc(intervals, interval_room * sizeof *intervals);
        if (!intervals) { abort(); }
    }
    intervals[interval_count++] = (interval){start, end};
}

static void CUPTIAPI request(uint8_t **buffer, size_t *size, size_t *records)
{
    *size = 8 << 20;
    *buffer = aligned_alloc(8, *size);
    *records = 0;
}

static void CUPTIAPI completed(CUcontext context, uint32_t stream, uint8_t *buffer, size_t size, size_t valid)
{
    (void)context, (void)stream, (void)size;
    CUpti_Activity *record = NULL;
    pthread_mutex_lock(&lock);
    while (cuptiActivityGetNextRecord(buffer, valid, &record) == CUPTI_SUCCESS) {
        char name[160];
        if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
            const KERNEL_RECORD *k = (const KERNEL_RECORD *)record;
            if (getenv("KERNEL_TIMES_GRIDS")) {
                snprintf(name, sizeof name, "%.100s  grid %dx%dx%d block %d", k->name, k->gridX, k->gridY, k->gridZ,
                         k->blockX * k->blockY * k->blockZ);
            } else {
                snprintf(name, sizeof name, "%.150s", k->name);
            }
            add(name, k->start, k->end, 0);
        } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
            const MEMCPY_RECORD *m = (const MEMCPY_RECORD *)record;
            static const char *const kinds[] = {"?", "host to device",   "device to host", "3", "4", "5", "6",
                                                "7", "device to device", "host to host"};
            snprintf(name, sizeof name, "copy %s%s", m->copyKind < 10 ? kinds[m->copyKind] : "?",
                     m->srcKind == 1 || m->dstKind == 1 ? ", pageable" : "");
            add(name, m->start, m->end, m->bytes);
        } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMSET) {
            const MEMSET_RECORD *m = (const MEMSET_RECORD *)record;
            add("memset", m->start, m->end, m->bytes);
        }
    }
    pthread_mutex_unlock(&lock);
    free(buffer);
}

static int by_time(const void *a, const void *b)
{
    const row *x = a, *y = b;
    return x->ns < y->ns ? 1 : x->ns > y->ns ? -1 : 0;
}

static int by_start(const void *a, const void *b)
{
    const interval *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start ? 1 : 0;
}

static void report(void)
{
    cuptiActivityFlushAll(1);
    pthread_mutex_lock(&lock);
    uint64_t total = 0, busy = 0, end = 0;
    for (int i = 0; i < row_count; i++) { total += rows[i].ns; }
    qsort(rows, (size_t)row_count, sizeof rows[0], by_time);
    qsort(intervals, interval_count, sizeof intervals[0], by_start);
    for (size_t i = 0; i < interval_count; i++) {
        uint64_t start = intervals[i].start > end ? intervals[i].start : end;
        if (intervals[i].end > start) { busy += intervals[i].end - start; }
        if (intervals[i].end > end) { end = intervals[i].end; }
    }
    const char *text = getenv("KERNEL_TIMES_ROWS");
    int limit = text ? atoi(text) : 40;
    fprintf(stderr, "device: busy %.2f ms of a span of %.2f ms; sum of all %.2f ms in %zu activities\n",
            (double)busy / 1e6, interval_count ? (double)(end - intervals[0].start) / 1e6 : 0.0, (double)total / 1e6,
            interval_count);
    fprintf(stderr, "%10s %6s %8s %10s  %s\n", "ms", "share", "launches", "mean us", "name");
    for (int i = 0; i < row_count && i < limit; i++) {
        fprintf(stderr, "%10.3f %5.1f%% %8llu %10.2f  %s", (double)rows[i].ns / 1e6,
                100.0 * (double)rows[i].ns / (double)total, (unsigned long long)rows[i].count,
                (double)rows[i].ns / 1e3 / (double)rows[i].count, rows[i].name);
        if (rows[i].bytes) {
            fprintf(stderr, "  %.1f MB, %.1f GB/s", (double)rows[i].bytes / 1e6,
                    (double)rows[i].bytes / (double)rows[i].ns);
        }
        fputc('\n', stderr);
    }
    pthread_mutex_unlock(&lock);
}

int InitializeInjection(void);
int InitializeInjection(void)
{
    cuptiActivityRegisterCallbacks(request, completed);
    cuptiActivityEnable(CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL);
    cuptiActivityEnable(CUPTI_ACTIVITY_KIND_MEMCPY);
    cuptiActivityEnable(CUPTI_ACTIVITY_KIND_MEMSET);
    atexit(report);
    return 1;
}
