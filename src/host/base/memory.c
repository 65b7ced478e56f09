/* memory.c - checked sizes and allocation within the context's byte budget. */
#include "base/base.h"
#include "base/block_cache.h"

enum { ALIGNMENT = 64 };

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

uint64_t spade_budget_left(const spade_context *context)
{
    uint64_t used = spade_bytes_in_use(context);
    return context->budget > used ? context->budget - used : 0;
}

spade_status spade_charge(spade_context *context, size_t bytes, const char *what)
{
    if (bytes > spade_budget_left(context)) {
        char need[32], budget[32];
        double at_least = ((double)spade_bytes_in_use(context) + (double)bytes) / 1048576.0 + 1.0;
        return spade_fail(context, SPADE_ERROR_MEMORY,
                          "the memory budget of %s does not hold %s (%s more): it takes at least --memory %.0fM",
                          spade_format_bytes(context->budget, budget), what, spade_format_bytes(bytes, need), at_least);
    }
    while (context->used + bytes > context->budget && spade_lru_evict(context)) {}
    spade_block_cache_make_room(context, bytes);
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
    if (bytes >= SPADE_BLOCK_CACHE_MIN && bytes <= spade_budget_left(context)) {
        *out = spade_block_cache_reuse(context, bytes);
    }
    SPADE_TRY(spade_charge(context, bytes, what));
    if (*out) { return SPADE_OK; }
    size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    *out = bytes >= SPADE_BLOCK_CACHE_MIN ? spade_block_cache_add(context, bytes)
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
    if (bytes >= SPADE_BLOCK_CACHE_MIN) {
        spade_block_cache_keep(context, pointer, bytes);
    } else {
        free(pointer);
    }
}
