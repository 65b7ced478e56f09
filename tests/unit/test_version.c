/* test_version.c - one version everywhere, and an introduction that says what the example does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/base.h"
#include "spade/spade.h"

static void test_headers_and_library(void **state)
{
    (void)state;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", SPADE_VERSION_MAJOR, SPADE_VERSION_MINOR, SPADE_VERSION_PATCH);
    assert_string_equal(SPADE_VERSION, text);
    assert_string_equal(spade_version(), SPADE_VERSION);
    assert_string_equal(SPADE_VERSION, SPADE_PROJECT_VERSION); /* CMake's, of libspade.so and spade.pc */
    assert_int_equal(SPADE_VERSION_NUMBER,
                     (SPADE_VERSION_MAJOR * 1000 + SPADE_VERSION_MINOR) * 1000 + SPADE_VERSION_PATCH);
}

/* The text of a file, which ends with a NUL; to be freed. */
static char *read_file(const char *path)
{
    spade_context context = {.budget = UINT64_MAX};
    spade_mapping file;
    assert_int_equal(spade_map_file(&context, path, 1 << 20, &file), SPADE_OK);
    char *text = strndup((const char *)file.data, file.size);
    assert_non_null(text);
    spade_unmap(&file);
    return text;
}

/* Every line of the example in spade.h is one of examples/explain.c, which is compiled and run, in the same order. */
static void test_introduction(void **state)
{
    (void)state;
    char *header = read_file(SPADE_SOURCE_DIR "/include/spade/spade.h");
    char *example = read_file(SPADE_SOURCE_DIR "/examples/explain.c");
    const char *at = example;
    char *line = strstr(header, "From examples/explain.c");
    int lines = 0;
    assert_non_null(line);
    for (line = strtok(strchr(line, '\n'), "\n"); line && strncmp(line, " * ----", 7) != 0; line = strtok(NULL, "\n")) {
        const char *code = line + strspn(line, " *");
        if (!*code) { continue; }
        at = strstr(at, code);
        if (!at) { fail_msg("spade.h's example has a line that examples/explain.c does not have there: %s", code); }
        at += strlen(code);
        lines++;
    }
    assert_in_range(lines, 15, 30);
    free(header);
    free(example);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers_and_library),
        cmocka_unit_test(test_introduction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
