/* Memory within the budget: large blocks are reused, never beyond the budget, and given back when others need room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"

enum { MIB = 1 << 20 };

#if defined(__SANITIZE_ADDRESS__)
static const bool keeps_blocks = false;
#else
static const bool keeps_blocks = true;
#endif

static spade_context *make_context(uint64_t memory)
{
    spade_context_options options;
    spade_context *context = NULL;
    spade_context_options_init(&options);
    options.device = "cpu";
    options.threads = 1;
    options.memory = memory;
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    return context;
}

static void *take(spade_context *context, size_t bytes)
{
    void *pointer = NULL;
    assert_int_equal(spade_alloc(context, bytes, "a block", &pointer), SPADE_OK);
    assert_int_equal((uintptr_t)pointer % 64, 0);
    memset(pointer, 1, bytes);
    return pointer;
}

static void test_accounts_are_what_was_asked_for(void **state)
{
    (void)state;
    spade_context *context = make_context(0);
    const size_t sizes[] = {1, 4 * MIB - 1, 4 * MIB, 5 * MIB + 3, 9 * MIB};
    void *blocks[5];
    for (int round = 0; round < 3; round++) {
        size_t sum = 0;
        for (int i = 0; i < 5; i++) {
            blocks[i] = take(context, sizes[i]);
            sum += sizes[i];
            assert_int_equal(context->used, sum);
        }
        for (int i = 4; i >= 0; i--) {
            spade_free_bytes(context, blocks[i], sizes[i]);
            sum -= sizes[i];
            assert_int_equal(context->used, sum);
        }
    }
    assert_int_equal(context->peak, 22 * MIB + 3);
    spade_context_destroy(context);
}

/* Two users at a time never get the same block, whatever was kept. */
static void test_blocks_in_use_are_distinct(void **state)
{
    (void)state;
    spade_context *context = make_context(0);
    uint8_t *blocks[8] = {0};
    uint32_t state_word = 1;
    for (int step = 0; step < 400; step++) {
        state_word = state_word * 1664525U + 1013904223U;
        int i = (int)(state_word >> 24) % 8;
        size_t bytes = (size_t)(4 + i) * MIB;
        if (blocks[i]) {
            for (size_t at = 0; at < bytes; at += 4096) { assert_int_equal(blocks[i][at], i); }
            spade_free_bytes(context, blocks[i], bytes);
            blocks[i] = NULL;
        } else {
            blocks[i] = take(context, bytes);
            for (size_t at = 0; at < bytes; at += 4096) { blocks[i][at] = (uint8_t)i; }
        }
    }
    for (int i = 0; i < 8; i++) { spade_free_bytes(context, blocks[i], (size_t)(4 + i) * MIB); }
    assert_int_equal(context->used, 0);
    spade_context_destroy(context);
}

/* A block may be larger than what is asked for; with a budget those in use together by 1/64 of it, beside a little in each. */
static void test_larger_blocks(void **state)
{
    (void)state;
    static const struct {
        uint64_t memory;
        bool again[2]; /* the first and the second of two blocks of 12 MiB serve for 9 MiB */
    } cases[] = {
        {0, {true, true}}, {(uint64_t)1 << 30, {true, true}}, {256 * MIB, {true, false}}, {100 * MIB, {false, false}}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        spade_context *context = make_context(cases[c].memory);
        void *large[2], *small[2];
        for (int i = 0; i < 2; i++) { large[i] = take(context, 12 * MIB); }
        for (int i = 0; i < 2; i++) { spade_free_bytes(context, large[i], 12 * MIB); }
        for (int i = 0; i < 2; i++) { small[i] = take(context, 9 * MIB); }
        for (int i = 0; i < 2; i++) {
            const bool again = small[i] == large[0] || small[i] == large[1];
            assert_true(again == (keeps_blocks && cases[c].again[i]));
        }
        for (int i = 0; i < 2; i++) { spade_free_bytes(context, small[i], 9 * MIB); }
        assert_int_equal(context->used, 0);
        spade_context_destroy(context);
    }
}

/* 16 MiB: what is kept gives way to what is asked for, of another size; what does not fit is refused as before. */
static void test_what_is_kept_gives_way(void **state)
{
    (void)state;
    spade_context *context = make_context(16 * MIB);
    void *pointer = NULL;
    spade_free_bytes(context, take(context, 10 * MIB), 10 * MIB);
    void *block = take(context, 16 * MIB);
    assert_int_equal(spade_alloc(context, 1, "one byte more", &pointer), SPADE_ERROR_MEMORY);
    assert_null(pointer);
    spade_free_bytes(context, block, 16 * MIB);
    assert_int_equal(spade_alloc(context, 16 * MIB + 1, "too much", &pointer), SPADE_ERROR_MEMORY);
    block = take(context, 6 * MIB);
    void *other = take(context, 10 * MIB);
    spade_free_bytes(context, block, 6 * MIB);
    spade_free_bytes(context, other, 10 * MIB);
    assert_int_equal(context->used, 0);
    spade_context_destroy(context);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accounts_are_what_was_asked_for),
        cmocka_unit_test(test_blocks_in_use_are_distinct),
        cmocka_unit_test(test_larger_blocks),
        cmocka_unit_test(test_what_is_kept_gives_way),
    };
    return cmocka_run_group_tests_name("block cache", tests, NULL, NULL);
}
