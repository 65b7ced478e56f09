/* test_bulk.c - many inputs: memory that does not grow with their number, a report in pages. */
#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "support/model.h"
#include "support/results.h"

enum { CLASSES = 1000, FEW = 20, MANY = 120, SIDE = 8 };

/* Channels of 3x3 convolutions, averaged, to 1000 classes: scores are what a record is made of. */
static void write_network(const char *path)
{
    wire network = graph_of(3, SIDE, SIDE, CLASSES);
    const int64_t filters[] = {4, 3, 3, 3}, matrix[] = {CLASSES, 4};
    put_tensor(&network, tensor_random("w", 4, filters, 1));
    put_tensor(&network, tensor_random("m", 2, matrix, 2));
    put_node(&network, node_of("conv", "Conv", "x w", "a"));
    put_node(&network, node_of("relu", "Relu", "a", "b"));
    put_node(&network, node_of("pool", "GlobalAveragePool", "b", "c"));
    put_node(&network, node_of("flatten", "Flatten", "c", "d"));
    put_node(&network, with_int(node_of("fc", "Gemm", "d m", "y"), "transB", 1));
    wire model = model_of(network);
    file_write(path, model.bytes, model.size);
    wire_free(&model);
}

/* `count` pictures that differ. */
static void write_pictures(const char *folder, int count)
{
    char path[700], bytes[32 + SIDE * SIDE * 3];
    assert_int_equal(mkdir(folder, 0777), 0);
    for (int i = 0; i < count; i++) {
        int head = snprintf(bytes, sizeof bytes, "P6\n%d %d\n255\n", SIDE, SIDE);
        for (int k = 0; k < SIDE * SIDE * 3; k++) { bytes[head + k] = (char)((k * k + 7 * i * k + i) % 251); }
        snprintf(path, sizeof path, "%s/p&%03d #1.ppm", folder, i); /* a name that HTML and addresses must escape */
        file_write(path, bytes, (size_t)head + SIDE * SIDE * 3);
    }
}

/* explain FOLDER/INPUT into FOLDER/OUTPUT; returns its largest resident memory in bytes. */
static double explain(const char *folder, const char *input, const char *output, const char *more)
{
    char command[2000];
    struct rusage usage;
    int status;
    snprintf(command, sizeof command,
             "exec env OMP_WAIT_POLICY=passive ASAN_OPTIONS=quarantine_size_mb=1 " SPADE_COMMAND
             " explain %s/net.onnx %s/%s -o %s/%s --resize 0 --no-trace --threads 1 --device cpu --quiet %s",
             folder, folder, input, folder, output, more);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return 1024.0 * (double)usage.ru_maxrss;
}

static int count_text(const char *folder, const char *name, const char *text)
{
    char path[600];
    int count = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    char *html = file_read(path, NULL);
    assert_non_null(html);
    for (const char *at = html; (at = strstr(at, text)); at++) { count++; }
    free(html);
    return count;
}

static void assert_pages(const char *folder, const char *name, int cards, int linked)
{
    assert_int_equal(count_text(folder, name, "<article"), cards);
    assert_int_equal(count_text(folder, name, "src=\"../p%26"), linked);
}

static void test_many(void **state)
{
    (void)state;
    static const char few[] = "in/p?0[01]*"; /* the first 20 */
    char *folder = folder_make(), path[600], out[600];
    snprintf(path, sizeof path, "%s/net.onnx", folder);
    write_network(path);
    snprintf(path, sizeof path, "%s/in", folder);
    write_pictures(path, MANY);
    snprintf(out, sizeof out, "%s/out", folder);

    /* A few: one file with the pictures in it (the input and one map each), and the colour bar. */
    double few_bytes = explain(folder, few, "out", "");
    assert_pages(out, "report.html", FEW, 0);
    assert_int_equal(count_text(out, "report.html", "data:image/png"), 2 * FEW + 1);
    assert_int_equal(files_count(out, "page_"), 0);

    /* More: an index that shows eight of each page, and pages of a hundred that show the pictures beside them. */
    double many_bytes = explain(folder, "in", "out", "");
    assert_pages(out, "report.html", 0, 0);
    assert_int_equal(count_text(out, "report.html", "src=\"p%26"), 2 * 8);
    assert_pages(out, "report/page_0001.html", 100, 200);
    assert_pages(out, "report/page_0002.html", MANY - 100, 2 * (MANY - 100));
    assert_int_equal(count_text(out, "report.html", "p&amp;000 #1"), 2); /* the strip, and the first of its page */
    assert_int_equal(count_text(out, "report/page_0001.html", "p&000"), 0);
    /* A record held takes some 200 kB. */
    if (many_bytes > few_bytes + 6e6) {
        fail_msg("%d inputs: %.0f bytes, %d inputs: %.0f", FEW, few_bytes, MANY, many_bytes);
    }

    /* Pages go when they are no longer true, and so does the report where none is wanted. */
    explain(folder, few, "out", "");
    assert_int_equal(files_count(out, "page_"), 0);
    explain(folder, few, "out", "--no-report");
    assert_int_equal(files_count(out, ".html"), 0);
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_many)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
