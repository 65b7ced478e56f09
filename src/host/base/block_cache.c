/* block_cache.c - the large blocks of a context, in use and kept; pool.h says why. */
#include <sys/mman.h>

#include "base/block_cache.h"

enum { HUGE_PAGE = 2 << 20, PAGE = 4096 };
static const uint64_t MAX_KEPT = UINT64_C(1) << 30;

typedef struct block {
    void *pointer;
    size_t size;
    bool in_use;
} block;

struct spade_pool {
    block *blocks;
    int count, capacity;
    uint64_t kept; /* bytes of blocks that are not in use, and what those in use have more than was asked for */
};

#if defined(__SANITIZE_ADDRESS__)
static const bool keeps = false;
#else
static const bool keeps = true;
#endif

static void drop(struct spade_pool *pool, int i)
{
    pool->kept -= pool->blocks[i].size;
    free(pool->blocks[i].pointer);
    pool->blocks[i] = pool->blocks[--pool->count];
}

/* The largest block that is not in use, or -1. */
static int largest_kept(const struct spade_pool *pool)
{
    int best = -1;
    for (int i = 0; i < pool->count; i++) {
        if (!pool->blocks[i].in_use && (best < 0 || pool->blocks[i].size > pool->blocks[best].size)) { best = i; }
    }
    return best;
}

static void shrink(struct spade_pool *pool, uint64_t most)
{
    for (int i = largest_kept(pool); i >= 0 && pool->kept > most; i = largest_kept(pool)) { drop(pool, i); }
}

void spade_block_cache_make_room(spade_context *context, size_t bytes)
{
    if (!context->pool || context->budget == UINT64_MAX) { return; }
    uint64_t left = context->budget > context->used ? context->budget - context->used : 0;
    shrink(context->pool, left > bytes ? left - bytes : 0);
}

void *spade_block_cache_reuse(spade_context *context, size_t bytes)
{
    struct spade_pool *pool = context->pool;
    /* with a budget, what a block has too much must not add up */
    size_t slack = context->budget == UINT64_MAX ? bytes / 2 : bytes / 64;
    int best = -1;
    for (int i = 0; pool && i < pool->count; i++) {
        const block *b = &pool->blocks[i];
        if (b->in_use || b->size < bytes || b->size - bytes > slack) { continue; }
        if (best < 0 || b->size < pool->blocks[best].size) { best = i; }
    }
    if (best < 0) { return NULL; }
    pool->blocks[best].in_use = true;
    pool->kept -= bytes;
    return pool->blocks[best].pointer;
}

static bool grow(spade_context *context)
{
    if (!context->pool) { context->pool = calloc(1, sizeof *context->pool); }
    struct spade_pool *pool = context->pool;
    if (!pool) { return false; }
    if (pool->count < pool->capacity) { return true; }
    int capacity = pool->capacity ? 2 * pool->capacity : 16;
    block *blocks = realloc(pool->blocks, (size_t)capacity * sizeof *blocks);
    if (!blocks) { return false; }
    pool->blocks = blocks;
    pool->capacity = capacity;
    return true;
}

/* aligned_alloc wants whole multiples of the alignment, and AddressSanitizer insists on them. */
static void *allocate(size_t size)
{
    void *pointer = NULL;
    return posix_memalign(&pointer, HUGE_PAGE, size) == 0 ? pointer : NULL;
}

void *spade_block_cache_add(spade_context *context, size_t bytes)
{
    if (!grow(context)) { return NULL; }
    struct spade_pool *pool = context->pool;
    size_t size = (bytes + PAGE - 1) / PAGE * PAGE;
    void *pointer = allocate(size);
    if (!pointer) { /* the system has no more: without what is kept, perhaps */
        shrink(pool, 0);
        pointer = allocate(size);
    }
    if (!pointer) { return NULL; }
    (void)madvise(pointer, size, MADV_HUGEPAGE); /* a wish: small pages work too */
    pool->blocks[pool->count++] = (block){.pointer = pointer, .size = size, .in_use = true};
    pool->kept += size - bytes;
    return pointer;
}

void spade_block_cache_keep(spade_context *context, void *pointer, size_t bytes)
{
    struct spade_pool *pool = context->pool;
    int i = 0;
    while (pool->blocks[i].pointer != pointer) { i++; }
    pool->blocks[i].in_use = false;
    pool->kept += bytes;
    if (!keeps) { drop(pool, i); }
    shrink(pool, MAX_KEPT);
    spade_block_cache_make_room(context, 0);
}

void spade_block_cache_destroy(spade_context *context)
{
    if (!context->pool) { return; }
    for (int i = 0; i < context->pool->count; i++) { free(context->pool->blocks[i].pointer); }
    free(context->pool->blocks);
    free(context->pool);
    context->pool = NULL;
}
