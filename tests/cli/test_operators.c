/* test_operators.c - `spade operators` and docs/operators.md: the rows and the tables of operators have the same names. */
#include <jansson.h>

#include "import/fold/fold.h"
#include "import/operators/operators.h"
#include "spade/spade.h"
#include "support/command.h"

/* The page that people read is what the rows say. */
static void test_page(void **state)
{
    (void)state;
    command_expect_page("operators --markdown", "operators.md");
}

static void test_text_and_json(void **state)
{
    (void)state;
    spade_known_operator o;
    command_result text = command_run_well("operators"), json = command_run_well("operators --json");
    json_t *list = json_loads(json.out, 0, NULL);
    assert_true(json_is_array(list));
    for (int i = 0; spade_known_operator_at(i, &o); i++) {
        const json_t *item = json_array_get(list, (size_t)i);
        assert_string_equal(json_string_value(json_object_get(item, "name")), o.name);
        assert_int_equal(json_integer_value(json_object_get(item, "opset")), o.opset);
        assert_non_null(strstr(text.out, o.name));
    }
    for (char *line = text.out, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        if (end - line > 100) { fail_msg("more than 100 columns: %.*s", (int)(end - line), line); }
    }
    json_decref(list);
    command_clear(&text);
    command_clear(&json);
    command_result result = command_run("operators --markdown --json");
    assert_int_equal(result.code, 2);
    command_clear(&result);
}

/* One operator: its row and no other's, "Conv" is not "ConvTranspose". */
static void test_one(void **state)
{
    (void)state;
    command_result result = command_run_well("operators Conv"), all = command_run_well("operators");
    assert_memory_equal(result.out, "  Conv ", strlen("  Conv "));
    assert_non_null(strstr(all.out, result.out));
    command_clear(&all);
    for (const char *line = result.out; (line = strchr(line, '\n')) && line[1]; line++) {
        assert_int_equal(line[3], ' '); /* what follows belongs to the same one */
    }
    command_clear(&result);
    result = command_run_well("operators Conv --json");
    json_t *list = json_loads(result.out, 0, NULL);
    assert_int_equal(json_array_size(list), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "name")), "Conv");
    json_decref(list);
    command_clear(&result);
    result = command_run("operators Sigmoyd");
    assert_int_equal(result.code, 2);
    assert_string_equal(result.out, "");
    assert_non_null(strstr(result.err, "no operator 'Sigmoyd' is computed; close to it: Sigmoid, "));
    command_clear(&result);
    result = command_run("operators Conv --markdown");
    assert_int_equal(result.code, 2);
    command_clear(&result);
}

static void expect_row(const char *name, unsigned flag)
{
    spade_known_operator o;
    for (int i = 0; spade_known_operator_at(i, &o); i++) {
        if (strcmp(o.name, name) == 0 && o.flags & flag) { return; }
    }
    fail_msg("%s has no row in src/host/import/known_operators.c", name);
}

/* In the order of names, each once, each computed somewhere; and none is missing. */
static void test_rows(void **state)
{
    (void)state;
    static const fold_operator *const folded[] = {fold_elementwise_operators, fold_movement_operators,
                                                  fold_create_operators, fold_reduce_operators};
    static const spade_onnx_operator *const lowered[] = {
#define TABLE(name) spade_##name##_operators,
        SPADE_OPERATOR_FAMILIES(TABLE)
#undef TABLE
    };
    spade_known_operator o, before = {.name = ""};
    for (int i = 0; spade_known_operator_at(i, &o); i++) {
        if (strcmp(before.name, o.name) >= 0) { fail_msg("%s behind %s", o.name, before.name); }
        if (!o.flags) { fail_msg("nothing computes %s", o.name); }
        assert_in_range(o.opset, 7, 24);
        before = o;
    }
    assert_false(spade_known_operator_at(-1, &o));
    for (size_t t = 0; t < sizeof folded / sizeof *folded; t++) {
        for (const fold_operator *f = folded[t]; f->op_type; f++) {
            expect_row(f->op_type, SPADE_OPERATOR_ON_CONSTANTS);
        }
    }
    for (size_t t = 0; t < sizeof lowered / sizeof *lowered; t++) {
        for (const spade_onnx_operator *l = lowered[t]; l->op_type; l++) {
            expect_row(l->op_type, SPADE_OPERATOR_ON_PICTURE);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_page), cmocka_unit_test(test_text_and_json),
                                       cmocka_unit_test(test_one), cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
