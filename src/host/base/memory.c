/*
 * memory.c - checked sizes, and memory within the context's byte budget. Three parts:
 *   charging: what is in use is counted against the budget, and refused where it does not fit;
 *   the block cache: large blocks of host memory outlive their users;
 *   eviction: what its owner keeps because it may be needed again is released, the oldest first, when room is needed.
 */
#include <sys/mman.h>

#include "base/base.h"

enum { ALIGNMENT = 64, HUGE_PAGE = 2 << 20, PAGE = 4096 };
enum { MIN_CACHED_BLOCK = 4 << 20 }; /* bytes; smaller blocks are malloc's */
static const uint64_t MAX_CACHED_BYTES = UINT64_C(1) << 30;

/* ---- sizes */

bool spade_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

bool spade_mul_dims(const int64_t *dims, int rank, int64_t *out)
{
    int64_t product = 1;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0 || __builtin_mul_overflow(product, dims[i], &product)) { return false; }
    }
    *out = product;
    return true;
}

/*
 * ---- the block cache. Memory that is touched for the first time costs as much as a pass of arithmetic over it (a page
 * fault for every page, which the system clears), and a trace asks for matrices of the same sizes again and again: who
 * asks for about as much as a free block has gets that block. Free blocks are not charged, but they never reach beyond
 * the budget: spade_charge makes room first. Under AddressSanitizer no block is kept, so that it sees every use after
 * free.
 */

typedef struct cached_block {
    void *pointer;
    size_t size;
    bool in_use;
} cached_block;

struct spade_block_cache {
    cached_block *blocks;
    int count, capacity;
    uint64_t unused; /* bytes of blocks that are not in use, and what those in use have more than was asked for, which is: */
    uint64_t waste;
};

#if defined(__SANITIZE_ADDRESS__)
static const bool keeps_blocks = false;
#else
static const bool keeps_blocks = true;
#endif

static void drop_block(struct spade_block_cache *cache, int i)
{
    cache->unused -= cache->blocks[i].size;
    free(cache->blocks[i].pointer);
    cache->blocks[i] = cache->blocks[--cache->count];
}

/* The largest block that is not in use, or -1. */
static int largest_free_block(const struct spade_block_cache *cache)
{
    int best = -1;
    for (int i = 0; i < cache->count; i++) {
        if (cache->blocks[i].in_use) { continue; }
        if (best < 0 || cache->blocks[i].size > cache->blocks[best].size) { best = i; }
    }
    return best;
}

static void shrink_block_cache(struct spade_block_cache *cache, uint64_t max_unused)
{
    while (cache->unused > max_unused) {
        int i = largest_free_block(cache);
        if (i < 0) { return; }
        drop_block(cache, i);
    }
}

/* Drop free blocks until `bytes` more fit the budget beside the rest. */
static void make_room(spade_context *context, size_t bytes)
{
    if (!context->block_cache || context->budget == UINT64_MAX) { return; }
    uint64_t available = context->budget > context->used ? context->budget - context->used : 0;
    shrink_block_cache(context->block_cache, available > bytes ? available - bytes : 0);
}

/* What a block for `bytes` may have more. It is not charged: with a budget all blocks together waste at most 1/64 of it, beside a
 * little in each. */
static size_t max_waste(const spade_context *context, size_t bytes)
{
    const uint64_t allowed = context->budget / 64, waste = context->block_cache ? context->block_cache->waste : 0;
    const uint64_t left = allowed > waste ? allowed - waste : 0;
    const size_t little = bytes / 64, much = bytes / 2;
    return left >= much ? much : left > little ? (size_t)left : little;
}

/* The smallest free block that holds `bytes` without wasting much, or NULL. */
static void *reuse_block(spade_context *context, size_t bytes)
{
    struct spade_block_cache *cache = context->block_cache;
    const size_t most = max_waste(context, bytes);
    int best = -1;
    for (int i = 0; cache && i < cache->count; i++) {
        const cached_block *b = &cache->blocks[i];
        if (b->in_use || b->size < bytes || b->size - bytes > most) { continue; }
        if (best < 0 || b->size < cache->blocks[best].size) { best = i; }
    }
    if (best < 0) { return NULL; }
    cache->blocks[best].in_use = true;
    cache->unused -= bytes;
    cache->waste += cache->blocks[best].size - bytes;
    return cache->blocks[best].pointer;
}

/* Room for one more block in the list; false when there is no memory for that. */
static bool grow_block_list(spade_context *context)
{
    if (!context->block_cache) { context->block_cache = calloc(1, sizeof *context->block_cache); }
    struct spade_block_cache *cache = context->block_cache;
    if (!cache) { return false; }
    if (cache->count < cache->capacity) { return true; }
    int capacity = cache->capacity ? 2 * cache->capacity : 16;
    cached_block *blocks = realloc(cache->blocks, (size_t)capacity * sizeof *blocks);
    if (!blocks) { return false; }
    cache->blocks = blocks;
    cache->capacity = capacity;
    return true;
}

/* Not aligned_alloc: that wants whole multiples of the alignment, and AddressSanitizer insists on them. */
static void *allocate_huge_pages(size_t size)
{
    void *pointer = NULL;
    return posix_memalign(&pointer, HUGE_PAGE, size) == 0 ? pointer : NULL;
}

/* A new block, already charged; NULL when the system has no more. */
static void *allocate_block(spade_context *context, size_t bytes)
{
    if (!grow_block_list(context)) { return NULL; }
    struct spade_block_cache *cache = context->block_cache;
    size_t size = (bytes + PAGE - 1) / PAGE * PAGE;
    void *pointer = allocate_huge_pages(size);
    if (!pointer) { /* the system may have enough once the free blocks are dropped */
        shrink_block_cache(cache, 0);
        pointer = allocate_huge_pages(size);
    }
    if (!pointer) { return NULL; }
    (void)madvise(pointer, size, MADV_HUGEPAGE); /* only for speed: small pages work too */
    cache->blocks[cache->count++] = (cached_block){.pointer = pointer, .size = size, .in_use = true};
    cache->unused += size - bytes;
    cache->waste += size - bytes;
    return pointer;
}

/* The block is no longer in use; its bytes have been released from the budget. */
static void free_block(spade_context *context, void *pointer, size_t bytes)
{
    struct spade_block_cache *cache = context->block_cache;
    int i = 0;
    while (cache->blocks[i].pointer != pointer) { i++; }
    cache->blocks[i].in_use = false;
    cache->unused += bytes;
    cache->waste -= cache->blocks[i].size - bytes;
    if (!keeps_blocks) { drop_block(cache, i); }
    shrink_block_cache(cache, MAX_CACHED_BYTES);
    make_room(context, 0);
}

void spade_block_cache_destroy(spade_context *context)
{
    struct spade_block_cache *cache = context->block_cache;
    if (!cache) { return; }
    for (int i = 0; i < cache->count; i++) { free(cache->blocks[i].pointer); }
    free(cache->blocks);
    free(cache);
    context->block_cache = NULL;
}

/* ---- eviction: a list of what may be released, the oldest first */

static void unlink_item(spade_context *context, spade_lru_item *item)
{
    *(item->older ? &item->older->newer : &context->oldest) = item->newer;
    *(item->newer ? &item->newer->older : &context->newest) = item->older;
    item->older = item->newer = NULL;
    context->evictable -= item->bytes;
}

bool spade_lru_evict(spade_context *context)
{
    spade_lru_item *item = context->oldest;
    if (!item) { return false; }
    unlink_item(context, item);
    item->evict(item);
    return true;
}

void spade_lru_insert(spade_context *context, spade_lru_item *item)
{
    if (item->bytes > context->max_evictable) { /* keeping it would cost all the others */
        item->evict(item);
        return;
    }
    item->older = context->newest;
    item->newer = NULL;
    *(context->newest ? &context->newest->newer : &context->oldest) = item;
    context->newest = item;
    context->evictable += item->bytes;
    while (context->evictable > context->max_evictable && spade_lru_evict(context)) {}
}

void spade_lru_remove(spade_context *context, spade_lru_item *item)
{
    unlink_item(context, item);
    spade_note_peak(context);
}

/* ---- charging and allocation */

uint64_t spade_budget_left(const spade_context *context)
{
    uint64_t used = spade_bytes_in_use(context);
    return context->budget > used ? context->budget - used : 0;
}

spade_status spade_charge(spade_context *context, size_t bytes, const char *what)
{
    if (bytes > spade_budget_left(context)) {
        char need[32], budget[32];
        double megabytes = ((double)spade_bytes_in_use(context) + (double)bytes) / 1048576.0 + 1.0;
        return spade_fail(context, SPADE_ERROR_MEMORY,
                          "the memory budget of %s does not hold %s (%s more): it takes at least --memory %.0fM",
                          spade_format_bytes(context->budget, budget), what, spade_format_bytes(bytes, need),
                          megabytes);
    }
    while (context->used + bytes > context->budget && spade_lru_evict(context)) {}
    make_room(context, bytes);
    context->used += bytes;
    spade_note_peak(context);
    return SPADE_OK;
}

void spade_release(spade_context *context, size_t bytes)
{
    context->used -= bytes <= context->used ? bytes : context->used;
}

spade_status spade_alloc(spade_context *context, size_t bytes, const char *what, void **out)
{
    *out = NULL;
    if (bytes > SIZE_MAX / 2) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: size overflows", what); }
    /* The system may promise what it has not, and stop the process when it is used. */
    if (bytes >= MIN_CACHED_BLOCK && bytes > spade_machine_memory()) {
        char need[32], has[32];
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: %s needs %s, this machine has %s", what,
                          spade_format_bytes(bytes, need), spade_format_bytes(spade_machine_memory(), has));
    }
    if (bytes >= MIN_CACHED_BLOCK && bytes <= spade_budget_left(context)) { *out = reuse_block(context, bytes); }
    SPADE_TRY(spade_charge(context, bytes, what));
    if (*out) { return SPADE_OK; }
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    *out = bytes >= MIN_CACHED_BLOCK ? allocate_block(context, bytes)
                                     : aligned_alloc(ALIGNMENT, rounded ? rounded : ALIGNMENT);
    if (!*out) {
        char need[32];
        spade_release(context, bytes);
        return spade_fail(context, SPADE_ERROR_MEMORY, "out of memory: %s needs %s", what,
                          spade_format_bytes(bytes, need));
    }
    return SPADE_OK;
}

spade_status spade_alloc_zeroed(spade_context *context, size_t bytes, const char *what, void **out)
{
    SPADE_TRY(spade_alloc(context, bytes, what, out));
    memset(*out, 0, bytes);
    return SPADE_OK;
}

void spade_free_bytes(spade_context *context, void *pointer, size_t bytes)
{
    if (!pointer) { return; }
    spade_release(context, bytes);
    if (bytes >= MIN_CACHED_BLOCK) {
        free_block(context, pointer, bytes);
    } else {
        free(pointer);
    }
}
