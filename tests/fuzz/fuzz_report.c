/*
 * fuzz_report.c - any bytes as the texts of a report: names of files, inputs and classes, options, an error. None of them may
 * end what it stands in: the HTML has the tags that it has with harmless texts, every row of the CSV as many cells as its
 * head, and the JSON the same texts when it is read again.
 */
#include "base/text.h"
#include "fuzz/target.h"
#include "base/text.h"
#include "report/report.h"
#include "report/text.h"

enum { TEXTS = 8, CLASSES = 2, MAX_TEXT = 400 };
enum { MODEL, FILE_NAME, NAME, FIRST_CLASS, SECOND_CLASS, PICTURE, FAILURE, OUTPUT_NAME };

typedef struct texts {
    char *items[TEXTS];
} texts;

/* Pieces of the input, which end at NULs; harmless: of the same lengths, all letters. */
static texts split(const uint8_t *data, size_t size, bool harmless)
{
    texts out;
    for (int i = 0; i < TEXTS; i++) {
        const uint8_t *end = memchr(data, 0, size);
        const size_t whole = end ? (size_t)(end - data) : size, length = whole < MAX_TEXT ? whole : MAX_TEXT;
        out.items[i] = malloc(length + 2);
        FUZZ_EXPECT(out.items[i], "out of memory");
        memcpy(out.items[i], data, length);
        if (harmless) { memset(out.items[i], 'a', length); }
        out.items[i][length] = 0;
        if (!length) { strcpy(out.items[i], "a"); } /* a name that is missing is another report */
        data += end ? whole + 1 : whole;
        size -= end ? whole + 1 : whole;
    }
    return out;
}

static void clear(texts *all)
{
    for (int i = 0; i < TEXTS; i++) { free(all->items[i]); }
}

/* ---- a report of one input, explained on both networks, and one that failed */

typedef struct files {
    char json[512], csv[512], html[512];
} files;

static files paths(void)
{
    files out;
    snprintf(out.json, sizeof out.json, "%s/results.json", fuzz_folder());
    snprintf(out.csv, sizeof out.csv, "%s/results.csv", fuzz_folder());
    snprintf(out.html, sizeof out.html, "%s/report.html", fuzz_folder());
    return out;
}

static void write_record(const explained_run *run, const explained_input *explained, const char *failure)
{
    const files out = paths();
    results_json_writer json;
    results_csv_writer csv;
    html_report *html;
    json_t *head = run_json(run), *record = explained_json(run, explained);
    char *header = json_dumps(head, JSON_COMPACT), *line = json_dumps(record, JSON_COMPACT);
    FUZZ_EXPECT(header && line, "a record that cannot be written");
    FUZZ_EXPECT(results_json_open(run->context, out.json, header, &json) == SPADE_OK, spade_message(run->context));
    FUZZ_EXPECT(results_csv_open(run, out.csv, &csv) == SPADE_OK, spade_message(run->context));
    /* More pictures than one file holds: pages, which show them beside themselves. */
    FUZZ_EXPECT(html_report_open(run, 1, UINT64_MAX, &html) == SPADE_OK, spade_message(run->context));
    results_json_list(&json, "inputs");
    results_json_add(&json, line);
    results_csv_add(&csv, explained);
    FUZZ_EXPECT(html_report_add(html, explained) == SPADE_OK, spade_message(run->context));
    html_report_add_failure(html, failure);
    FUZZ_EXPECT(results_json_commit(&json) == SPADE_OK, spade_message(run->context));
    FUZZ_EXPECT(results_csv_commit(&csv) == SPADE_OK, spade_message(run->context));
    FUZZ_EXPECT(html_report_save(html) == SPADE_OK, spade_message(run->context));
    html_report_close(html);
    free(header);
    free(line);
    json_decref(head);
    json_decref(record);
}

static void write_report(spade_context *context, const texts *all)
{
    spade_settings settings;
    spade_settings_init(&settings);
    settings.output_name = strdup(all->items[OUTPUT_NAME]);
    class_names names = {.items = (char **)(uintptr_t)&all->items[FIRST_CLASS], .count = CLASSES};
    explained_run run = {.context = context,
                         .folder = fuzz_folder(),
                         .model = all->items[MODEL],
                         .settings = &settings,
                         .names = &names,
                         .class_count = CLASSES};
    spade_method_choice *methods;
    spade_metric_choice *metrics;
    FUZZ_EXPECT(spade_settings_methods(context, &settings, &methods, &run.method_count) == SPADE_OK, "no methods");
    FUZZ_EXPECT(spade_settings_metrics(context, &settings, &metrics, &run.metric_count) == SPADE_OK, "no metrics");
    run.methods = methods;
    run.metrics = metrics;
    double values[2 * CLASSES] = {0.75, 0.25, 0.25, 0.75};
    explained_input explained = {.file = all->items[FILE_NAME],
                                 .name = all->items[NAME],
                                 .index = -1,
                                 .content = "0",
                                 .class_count = CLASSES,
                                 .logits = values,
                                 .scores = values,
                                 .ran = {true, true},
                                 .top = {0, 1},
                                 .picture = all->items[PICTURE]};
    FUZZ_EXPECT(explained_input_add_pairs(&explained, run.method_count, run.metric_count), "out of memory");
    explained.pairs[0].target = (spade_target){.class_index = 0, .against = 1, .contrast = true};
    for (int network = 0; network < NETWORKS; network++) {
        explained.pairs[0].maps[network].present = true;
        explained.pairs[0].maps[network].array = explained.pairs[0].maps[network].heatmap = all->items[PICTURE];
    }
    write_record(&run, &explained, all->items[FAILURE]);
    free(explained.pairs);
    free(explained.values);
    spade_method_choices_destroy(methods, run.method_count);
    spade_metric_choices_destroy(metrics, run.metric_count);
    spade_settings_clear(&settings);
}

/* ---- what came of it */

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    FUZZ_EXPECT(file, path);
    fseek(file, 0, SEEK_END);
    const size_t size = (size_t)ftell(file);
    rewind(file);
    char *text = calloc(size + 1, 1);
    FUZZ_EXPECT(text && fread(text, 1, size, file) == size && strlen(text) == size, path);
    fclose(file);
    return text;
}

/* Clean UTF-8 without control characters but line ends. */
static void expect_clean(const char *text)
{
    char *clean = spade_utf8(text);
    FUZZ_EXPECT(clean && strcmp(clean, text) == 0, "bytes that are no UTF-8");
    free(clean);
    for (const char *at = text; *at; at++) {
        FUZZ_EXPECT(*at == '\n' || ((unsigned char)*at >= 0x20 && *at != 0x7f), "a control character");
    }
}

typedef struct marks {
    size_t tags, ends, quotes, apostrophes, lines;
} marks;

static marks count_marks(const char *text)
{
    marks out = {0};
    for (; *text; text++) {
        out.tags += *text == '<';
        out.ends += *text == '>';
        out.quotes += *text == '"';
        out.apostrophes += *text == '\'';
        out.lines += *text == '\n';
    }
    return out;
}

/* Cells of each row (RFC 4180), every row the same number, and none begins as a formula does; returns how many rows. */
static int count_rows(const char *text)
{
    int rows = 0, cells = 1, wanted = 0;
    bool quoted = false;
    for (const char *begin = text; *text; text++) {
        const bool first = text == begin || (!quoted && (text[-1] == ',' || text[-1] == '\n'));
        FUZZ_EXPECT(!first || !strchr("=+-@", text[*text == '"']), "a formula"); /* no number here is below 0 */
        if (*text == '"') {
            quoted = !quoted;
        } else if (!quoted && *text == ',') {
            cells++;
        } else if (!quoted && *text == '\n') {
            wanted = rows++ ? wanted : cells;
            FUZZ_EXPECT(cells == wanted, "a row of another number of cells than the head");
            cells = 1;
        }
    }
    FUZZ_EXPECT(!quoted && cells == 1, "half a row");
    return rows;
}

static void expect_text(const json_t *object, const char *key, const char *text)
{
    char *clean = spade_utf8(text);
    FUZZ_EXPECT(clean && strcmp(json_string_value(json_object_get(object, key)), clean) == 0, key);
    free(clean);
}

static void check_files(const texts *all, marks *html)
{
    enum { ROWS = 3 };
    const files written = paths();
    char *text = read_file(written.html);
    expect_clean(text);
    *html = count_marks(text);
    free(text);
    text = read_file(written.csv);
    expect_clean(text);
    FUZZ_EXPECT(count_rows(text) == ROWS, "another number of rows");
    free(text);
    json_t *json = json_load_file(written.json, 0, NULL);
    FUZZ_EXPECT(json, "results.json is no JSON");
    const json_t *record = json_array_get(json_object_get(json, "inputs"), 0);
    expect_text(json, "model", all->items[MODEL]);
    expect_text(record, "file", all->items[FILE_NAME]);
    expect_text(record, "name", all->items[NAME]);
    expect_text(json_object_get(record, "dense"), "name", all->items[FIRST_CLASS]);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static marks wanted; /* of harmless texts: they do not depend on how long these are */
    spade_context *context = fuzz_context();
    texts hostile = split(data, size, false);
    marks is;
    if (!wanted.tags) {
        texts harmless = split(data, size, true);
        write_report(context, &harmless);
        check_files(&harmless, &wanted);
        clear(&harmless);
    }
    write_report(context, &hostile);
    check_files(&hostile, &is);
    FUZZ_EXPECT(memcmp(&is, &wanted, sizeof is) == 0, "a text changed the tags of the report");
    clear(&hostile);
    fuzz_context_end(context);
    return 0;
}
