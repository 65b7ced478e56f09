/* test_journal.c - a file of lines that survives its writer: torn ends, long lines, and files that are no journals. */
#include "base/base.h"
#include "store/journal.h"
#include "support/command.h"

typedef struct fixture {
    spade_context *context;
    char *folder, path[300];
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_int_equal(spade_context_create(NULL, &f->context), SPADE_OK);
    f->folder = folder_make();
    snprintf(f->path, sizeof f->path, "%s/journal", f->folder);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    folder_remove(f->folder);
    spade_context_destroy(f->context);
    free(f);
    return 0;
}

static void expect_line(fixture *f, const spade_journal *journal, int64_t offset, const char *text, int64_t *next)
{
    char *line;
    assert_int_equal(spade_journal_read(f->context, journal, offset, &line, next), SPADE_OK);
    assert_string_equal(line, text);
    free(line);
}

static void test_lines(void **state)
{
    enum { LONG = 200000 }; /* over several pieces */
    fixture *f = *state;
    spade_journal journal;
    int64_t offsets[3], next;
    bool found;
    char *text = malloc(LONG + 1);
    assert_non_null(text);
    memset(text, 'x', LONG);
    text[LONG] = 0;
    assert_int_equal(spade_journal_open(f->context, f->path, &journal, &found), SPADE_OK);
    assert_false(found);
    assert_int_equal(spade_journal_create(f->context, f->path, "head", &journal), SPADE_OK);
    const char *const lines[] = {"one", text, ""};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(spade_journal_append(f->context, &journal, lines[i], &offsets[i]), SPADE_OK);
    }
    spade_journal_close(&journal);
    assert_int_equal(spade_journal_open(f->context, f->path, &journal, &found), SPADE_OK);
    assert_true(found);
    expect_line(f, &journal, 0, "head", &next);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(next, offsets[i]);
        expect_line(f, &journal, offsets[i], lines[i], &next);
    }
    assert_int_equal(next, journal.size);
    spade_journal_close(&journal);
    free(text);
}

/* However many bytes of the last line there are: it is cut off, and the next one stands in its place. */
static void test_torn(void **state)
{
    fixture *f = *state;
    static const char whole[] = "head\nfirst\nsecond\n";
    for (size_t length = 1; length < sizeof whole; length++) {
        spade_journal journal;
        int64_t offset, next, lines = 0;
        bool found;
        file_write(f->path, whole, length);
        for (size_t i = 0; i < length; i++) { lines = whole[i] == '\n' ? (int64_t)i + 1 : lines; }
        assert_int_equal(spade_journal_open(f->context, f->path, &journal, &found), SPADE_OK);
        assert_true(found);
        assert_int_equal(journal.size, lines);
        assert_int_equal(spade_journal_append(f->context, &journal, "new", &offset), SPADE_OK);
        assert_int_equal(offset, lines);
        expect_line(f, &journal, offset, "new", &next);
        spade_journal_close(&journal);
        size_t size;
        char *text = file_read(f->path, &size);
        assert_int_equal(size, lines + 4);
        assert_memory_equal(text, whole, (size_t)lines);
        free(text);
    }
}

static void test_no_journal(void **state)
{
    fixture *f = *state;
    spade_journal journal;
    bool found;
    assert_int_equal(spade_journal_open(f->context, f->folder, &journal, &found), SPADE_ERROR_IO);
    spade_journal_close(&journal); /* safe */
    file_write(f->path, "", 0);
    assert_int_equal(spade_journal_open(f->context, f->path, &journal, &found), SPADE_OK);
    assert_int_equal(journal.size, 0);
    spade_journal_close(&journal);
}

/* What a killed process left goes, what somebody writes stays, and so does everything else. */
static void test_temporaries(void **state)
{
    fixture *f = *state;
    char left[400], other[400];
    spade_output output;
    snprintf(left, sizeof left, "%s/map.npy.spade-0123abcd", f->folder);
    snprintf(other, sizeof other, "%s/map.npy.spade-0123abcx", f->folder);
    file_write(left, "x", 1);
    file_write(other, "x", 1);
    assert_int_equal(spade_output_open(f->context, f->path, &output), SPADE_OK);
    spade_sweep_temporaries(f->folder);
    assert_false(file_exists(left));
    assert_true(file_exists(other));
    assert_true(file_exists(output.temporary));
    assert_int_equal(spade_output_commit(f->context, &output), SPADE_OK);
    assert_true(file_exists(f->path));
}

static void test_lock(void **state)
{
    fixture *f = *state;
    int first, second;
    assert_int_equal(spade_lock_folder(f->context, f->folder, &first), SPADE_OK);
    assert_int_equal(spade_lock_folder(f->context, f->folder, &second), SPADE_ERROR_IO);
    assert_non_null(strstr(spade_message(f->context), "another spade"));
    close(first);
    assert_int_equal(spade_lock_folder(f->context, f->folder, &second), SPADE_OK);
    close(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_torn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_journal, setup, teardown),
        cmocka_unit_test_setup_teardown(test_temporaries, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lock, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
