/* test_target_text.c - what a map explains, in words: names, classes without one, names that are too long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/target_text.h"
#include "base/text.h"

static void expect(const char *wanted, const spade_target *target, const char *name, const char *against)
{
    char text[SPADE_TARGET_TEXT];
    assert_string_equal(spade_target_text(target, name, against, text), wanted);
}

static void test_words(void **state)
{
    (void)state;
    const spade_target one = {.class_index = 3}, two = {.class_index = 3, .against = 12, .contrast = true};
    expect("class 3", &one, NULL, NULL);
    expect("class 3 (cat)", &one, "cat", "dog");
    expect("class 3", &one, "class 3", NULL); /* where there is no name, JSON has the number */
    expect("class 3 (class 4)", &one, "class 4", NULL);
    expect("class 3 against class 12", &two, NULL, NULL);
    expect("class 3 (cat) against class 12 (dog)", &two, "cat", "dog");
    expect("class 3 against class 12 (dog)", &two, NULL, "dog");
}

/* Cut between characters, and both classes are there. */
static void test_long_names(void **state)
{
    (void)state;
    const spade_target target = {.class_index = INT64_MAX, .against = INT64_MIN, .contrast = true};
    char name[1000] = "x", text[SPADE_TARGET_TEXT];
    for (size_t i = 1; i + 3 < sizeof name; i += 2) { memcpy(name + i, "\xc3\xa9", 3); }
    spade_target_text(&target, name, name, text);
    assert_true(spade_is_utf8(text));
    assert_non_null(strstr(text, "class 9223372036854775807 (x\xc3\xa9"));
    assert_non_null(strstr(text, "\xc3\xa9) against class -9223372036854775808 (x\xc3\xa9"));
    assert_int_equal(text[strlen(text) - 1], ')');
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_words), cmocka_unit_test(test_long_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
