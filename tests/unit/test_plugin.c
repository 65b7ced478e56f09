/* test_plugin.c - who has no GPU, or does not want it, loads nothing of CUDA. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "backend/plugin.h"

/* Is an object with this in its name mapped into the process? */
static bool is_loaded(const char *name)
{
    char line[4096];
    bool found = false;
    FILE *file = fopen("/proc/self/maps", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) { found = found || strstr(line, name); }
    fclose(file);
    return found;
}

static void open_and_close(const char *device)
{
    spade_context *context;
    spade_context_options options;
    spade_context_options_init(&options);
    options.device = device;
    assert_int_equal(spade_context_create(&options, &context), SPADE_OK);
    spade_context_destroy(context);
}

static void test_nothing_loaded(void **state)
{
    (void)state;
    char text[1024], path[4096];
    assert_true(is_loaded("libc.so")); /* the test can fail */
    open_and_close("cpu");
    assert_false(is_loaded("spade-cuda"));
    assert_false(is_loaded("libcu"));
    if (spade_plugin_wanted()) { return; } /* here is a GPU, or somebody wants its backend */
    open_and_close("auto");
    spade_library_versions(text, sizeof text);
    assert_false(is_loaded("spade-cuda"));
    assert_int_equal(strstr(text, "spade-cuda.so installed") != NULL, spade_plugin_find(path, sizeof path));
}

/* What the environment names is what is looked for. */
static void test_environment(void **state)
{
    (void)state;
    char path[4096];
    setenv("SPADE_CUDA_LIBRARY", "/nowhere/a.so", 1);
    assert_true(spade_plugin_wanted());
    assert_true(spade_plugin_find(path, sizeof path));
    assert_string_equal(path, "/nowhere/a.so");
    open_and_close("auto"); /* cannot be loaded: the processor serves */
    unsetenv("SPADE_CUDA_LIBRARY");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_loaded), cmocka_unit_test(test_environment)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
