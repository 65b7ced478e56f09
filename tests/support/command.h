/* command.h - run the built command and look at what it said: for the tests from outside. */
#ifndef SPADE_TEST_COMMAND_H
#define SPADE_TEST_COMMAND_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct command_result {
    int code;        /* exit code, or -signal */
    char *out, *err; /* what it wrote; empty strings, never NULL */
} command_result;

/* A whole file; NULL when it cannot be read. A NUL follows the bytes. */
static inline char *file_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file) { return NULL; }
    fseek(file, 0, SEEK_END);
    long length = ftell(file);
    rewind(file);
    char *bytes = calloc((size_t)length + 1, 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, (size_t)length, file), length);
    fclose(file);
    if (size) { *size = (size_t)length; }
    return bytes;
}

static inline void file_write(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline bool file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* A new empty folder; remove it with folder_remove(), which frees the path. */
static inline char *folder_make(void)
{
    char *path = strdup("/tmp/spade_test_XXXXXX");
    assert_non_null(path);
    assert_non_null(mkdtemp(path));
    return path;
}

static inline void folder_remove(char *path)
{
    char command[256];
    snprintf(command, sizeof command, "rm -r '%s'", path);
    assert_int_equal(system(command), 0);
    free(path);
}

/* FOLDER/NAME; the text of one of the last four calls. */
static inline const char *path_inside(const char *folder, const char *name)
{
    static char path[4][512];
    static int next;
    char *own = path[next++ % 4];
    snprintf(own, sizeof path[0], "%s/%s", folder, name);
    return own;
}

/* Run `spade ARGUMENTS`, split at blanks by the shell. */
__attribute__((format(printf, 1, 2))) static inline command_result command_run(const char *format, ...)
{
    char arguments[4096], line[6000], path[300];
    va_list list;
    va_start(list, format);
    assert_true(vsnprintf(arguments, sizeof arguments, format, list) < (int)sizeof arguments);
    va_end(list);
    char *folder = folder_make();
    snprintf(line, sizeof line, "OMP_WAIT_POLICY=passive %s %s >%s/out 2>%s/err </dev/null", SPADE_COMMAND, arguments,
             folder, folder);
    int status = system(line);
    command_result result = {.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status)};
    if (result.code > 128) { result.code = 128 - result.code; } /* the shell's way of telling a signal */
    snprintf(path, sizeof path, "%s/out", folder);
    result.out = file_read(path, NULL);
    snprintf(path, sizeof path, "%s/err", folder);
    result.err = file_read(path, NULL);
    assert_true(result.out && result.err);
    folder_remove(folder);
    return result;
}

/* The same, which has to end well. */
static inline command_result command_run_well(const char *arguments)
{
    command_result result = command_run("%s", arguments);
    if (result.code != 0) { fail_msg("spade %s: code %d: %s", arguments, result.code, result.err); }
    return result;
}

static inline void command_clear(command_result *result)
{
    free(result->out);
    free(result->err);
    *result = (command_result){0};
}

/* A page of docs/ is what `spade ARGUMENTS` makes now. */
static inline void command_expect_page(const char *arguments, const char *name)
{
    command_result result = command_run_well(arguments);
    char path[512];
    snprintf(path, sizeof path, "%s/docs/%s", SPADE_SOURCE_DIR, name);
    char *page = file_read(path, NULL);
    if (!page || strcmp(page, result.out) != 0) {
        fail_msg("docs/%s is old: build/spade %s > docs/%s", name, arguments, name);
    }
    free(page);
    command_clear(&result);
}

#endif
