/*
 * merge_gallery.c - STORE/gallery: pages of pictures with their maps, from the index. A page is made whole before the next one begins:
 * memory holds one, however many there are.
 *
 *   index.html          what the store is, its pages, and the first failures
 *   page-0001.html ...  GALLERY_PAGE pictures each, everything in the file
 *   failures.html       pictures that could not be used; where there are any
 */
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "picture/decode.h"
#include "report/text.h"
#include "workload/merge.h"
#include "workload/merge_gallery.h"

static spade_status fail_memory(const gallery *g)
{
    return spade_fail(g->context, SPADE_ERROR_MEMORY, "%s/gallery: out of memory", g->store->folder);
}

static spade_status fail_temporary(const gallery *g)
{
    return spade_fail(g->context, SPADE_ERROR_IO, "%s/gallery: cannot write a temporary file: %s", g->store->folder,
                      strerror(errno));
}

static spade_status count(gallery *g, const char *sql, int64_t *out)
{
    sqlite3_stmt *statement;
    bool row;
    SPADE_TRY(spade_database_prepare(g->context, g->database, sql, &statement));
    const spade_status status = spade_database_step(g->context, statement, &row);
    *out = status == SPADE_OK && row ? sqlite3_column_int64(statement, 0) : 0;
    (void)sqlite3_finalize(statement);
    return status;
}

static const char *text_at(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return text ? text : "";
}

/* ---- what all pages share */

/* A method of the store's maps, with its options: "smoothgrad", "samples=25". */
static spade_status add_method(gallery *g, const char *method, const char *options)
{
    char text[1024];
    const int n = g->run.method_count;
    spade_method_choice *larger = realloc(g->methods, sizeof *larger * (size_t)(n + 1));
    if (!larger) { return fail_memory(g); }
    g->methods = larger;
    g->run.methods = larger;
    g->methods[n] = (spade_method_choice){.options = *options ? strdup(options) : NULL, .label = strdup(method)};
    g->run.method_count++;
    if (!g->methods[n].label || (*options && !g->methods[n].options)) { return fail_memory(g); }
    snprintf(text, sizeof text, "%s%s%s", method, *options ? ":" : "", options);
    return spade_attribution_create(g->context, text, &g->methods[n].attribution);
}

/* Of one picture: all have the same methods. */
static spade_status find_methods(gallery *g)
{
    static const char sql[] =
        "SELECT DISTINCT method, coalesce(options, '') FROM maps WHERE row = (SELECT row FROM maps LIMIT 1)";
    sqlite3_stmt *statement;
    bool row;
    SPADE_TRY(spade_database_prepare(g->context, g->database, sql, &statement));
    spade_status status = spade_database_step(g->context, statement, &row);
    while (status == SPADE_OK && row) {
        status = add_method(g, text_at(statement, 0), text_at(statement, 1));
        if (status == SPADE_OK) { status = spade_database_step(g->context, statement, &row); }
    }
    (void)sqlite3_finalize(statement);
    return status;
}

static int method_of(const gallery *g, const char *method, const char *options)
{
    for (int i = 0; i < g->run.method_count; i++) {
        const char *own = g->methods[i].options ? g->methods[i].options : "";
        if (strcmp(g->methods[i].label, method) == 0 && strcmp(own, options) == 0) { return i; }
    }
    return -1;
}

/* How pictures became inputs, as store.json has it; without that maps are drawn on grey. */
static void read_preprocess(gallery *g)
{
    const json_t *p = json_object_get(g->store->description, "pictures");
    const int64_t height = json_integer_value(json_object_get(p, "height")),
                  width = json_integer_value(json_object_get(p, "width"));
    const double share = spade_json_real_at(p, "crop_share");
    if (height < 1 || width < 1 || height > SPADE_MAX_SIDE || width > SPADE_MAX_SIDE) { return; }
    spade_preprocess_init(&g->preprocess, height, width);
    g->preprocess.resize = json_integer_value(json_object_get(p, "resize"));
    g->preprocess.squash = json_is_true(json_object_get(p, "squash"));
    g->preprocess.crop_share = share > 0 ? share : 0;
    g->preprocess.resample =
        strcmp(spade_json_text_at(p, "resample"), "bicubic") == 0 ? SPADE_RESAMPLE_BICUBIC : SPADE_RESAMPLE_BILINEAR;
    g->upright = json_is_true(json_object_get(p, "upright"));
}

/* Where the manifest was, or, if a store has moved with it, what was typed then. */
static const char *manifest_path(const gallery *g)
{
    const char *absolute = spade_json_text_at(g->store->description, "manifest_absolute_path"),
               *typed = spade_json_text_at(g->store->description, "manifest_path");
    return *absolute && (access(absolute, F_OK) == 0 || access(typed, F_OK) != 0) ? absolute : typed;
}

/* A tree's pictures lie in it, a CSV file's beside it. */
static spade_status find_root(gallery *g)
{
    const char *manifest = manifest_path(g), *slash = strrchr(manifest, '/');
    struct stat info;
    const bool tree = stat(manifest, &info) == 0 && S_ISDIR(info.st_mode);
    g->root = tree ? strdup(manifest) : slash ? strndup(manifest, (size_t)(slash - manifest)) : strdup(".");
    return g->root ? SPADE_OK : fail_memory(g);
}

/* The tars of the store, if they are still there and the same ones. */
static spade_status open_tars(gallery *g)
{
    const json_t *manifest = json_object_get(g->store->description, "manifest");
    const char *paths[] = {manifest_path(g), spade_json_text_at(g->store->description, "manifest_path")};
    if (strcmp(spade_json_text_at(manifest, "kind"), spade_manifest_kinds[SPADE_MANIFEST_TARS]) != 0) {
        return SPADE_OK;
    }
    for (int i = 0; i < 2 && !g->manifest.count; i++) {
        const spade_status status = spade_manifest_open(g->context, paths[i], g->store->folder, &g->manifest);
        if (status == SPADE_ERROR_MEMORY) { return status; }
        spade_error_clear(g->context);
        if (strcmp(spade_json_text_at(manifest, "sha256"), g->manifest.sha256) != 0) {
            spade_manifest_close(&g->manifest);
        }
    }
    return SPADE_OK;
}

static spade_status open_gallery(gallery *g, spade_context *context, const spade_store *store)
{
    char *path;
    *g = (gallery){.context = context, .store = store};
    const char *model = spade_json_text_at(store->description, "model_path");
    g->run = (explained_run){.context = context, .folder = store->folder, .model = *model ? model : store->folder};
    g->report = (html_report){.run = &g->run,
                              .both = json_array_size(json_object_get(store->description, "networks")) == NETWORKS};
    if (asprintf(&path, "%s/" SPADE_INDEX_FILE, store->folder) < 0) { return fail_memory(g); }
    const spade_status status = spade_database_open(context, path, SQLITE_OPEN_READONLY, &g->database);
    free(path);
    SPADE_TRY(status);
    SPADE_TRY(find_methods(g));
    read_preprocess(g);
    SPADE_TRY(open_tars(g));
    return find_root(g);
}

static void clear_page(gallery *g)
{
    for (int i = 0; i < g->count; i++) {
        gallery_picture *picture = &g->pictures[i];
        free(picture->image);
        free(picture->label);
        free(picture->maps);
        spade_picture_clear(&picture->picture);
        *picture = (gallery_picture){0};
    }
    g->count = 0;
}

static void close_gallery(gallery *g)
{
    clear_page(g);
    spade_method_choices_destroy(g->methods, g->run.method_count);
    spade_database_close(g->database);
    spade_manifest_close(&g->manifest);
    free(g->root);
    free(g->first_missing);
}

/* ---- a page's pictures */

static void take_decision(sqlite3_stmt *statement, int column, gallery_decision *out)
{
    const bool there = sqlite3_column_type(statement, column) == SQLITE_INTEGER;
    out->class_index = there ? sqlite3_column_int64(statement, column) : -1;
    out->score = sqlite3_column_double(statement, column + 2);
    snprintf(out->name, sizeof out->name, "%s", text_at(statement, column + 1));
    if (!*out->name) { snprintf(out->name, sizeof out->name, "class %lld", (long long)out->class_index); }
}

static spade_status take_map(gallery *g, sqlite3_stmt *statement, gallery_picture *picture)
{
    const int n = picture->map_count, method = method_of(g, text_at(statement, 0), text_at(statement, 1));
    const bool contrast = sqlite3_column_type(statement, 5) == SQLITE_INTEGER;
    if (method < 0) { return SPADE_OK; }
    if ((n & (n - 1)) == 0) {
        gallery_map *larger = realloc(picture->maps, sizeof *larger * (n ? 2 * (size_t)n : 1));
        if (!larger) { return fail_memory(g); }
        picture->maps = larger;
    }
    gallery_map *map = &picture->maps[picture->map_count++];
    *map = (gallery_map){
        .method = method,
        .is_trace = strcmp(text_at(statement, 2), explained_networks[TRACE]) == 0,
        .target = {.class_index = sqlite3_column_int64(statement, 3),
                   .against = sqlite3_column_int64(statement, 5),
                   .contrast = contrast},
        .shard = sqlite3_column_int64(statement, 8),
        .offset = sqlite3_column_int64(statement, 9),
        .bytes = sqlite3_column_int64(statement, 10),
        .scale = sqlite3_column_type(statement, 11) == SQLITE_NULL ? 1 : sqlite3_column_double(statement, 11),
        .zero = sqlite3_column_int(statement, 12)};
    snprintf(map->name, sizeof map->name, "%s", text_at(statement, 4));
    snprintf(map->against, sizeof map->against, "%s", text_at(statement, 6));
    snprintf(map->file, sizeof map->file, "%s", text_at(statement, 7));
    snprintf(map->metrics, sizeof map->metrics, "%s", text_at(statement, 13));
    return SPADE_OK;
}

static spade_status read_maps(gallery *g, sqlite3_stmt *statement, gallery_picture *picture)
{
    bool row;
    (void)sqlite3_bind_int64(statement, 1, picture->row);
    spade_status status = spade_database_step(g->context, statement, &row);
    while (status == SPADE_OK && row) {
        status = take_map(g, statement, picture);
        if (status == SPADE_OK) { status = spade_database_step(g->context, statement, &row); }
    }
    (void)sqlite3_reset(statement);
    return status;
}

static spade_status take_picture(gallery *g, sqlite3_stmt *statement)
{
    gallery_picture *picture = &g->pictures[g->count++];
    const bool labelled = sqlite3_column_type(statement, 2) == SQLITE_TEXT;
    *picture = (gallery_picture){.row = sqlite3_column_int64(statement, 0), .image = strdup(text_at(statement, 1))};
    picture->label = labelled ? strdup(text_at(statement, 2)) : NULL;
    take_decision(statement, 3, &picture->decisions[DENSE]);
    take_decision(statement, 6, &picture->decisions[TRACE]);
    snprintf(picture->content, sizeof picture->content, "%s", text_at(statement, 9));
    return picture->image && (picture->label || !labelled) ? SPADE_OK : fail_memory(g);
}

/* The pictures behind a row. */
static spade_status read_pictures(gallery *g, int64_t after)
{
    static const char sql[] =
        "SELECT row, image, label, class, name, score, trace_class, trace_name, trace_score, xxh128 "
        "FROM pictures "
        "WHERE row > ?1 ORDER BY row LIMIT ?2";
    sqlite3_stmt *statement;
    bool row;
    SPADE_TRY(spade_database_prepare(g->context, g->database, sql, &statement));
    (void)sqlite3_bind_int64(statement, 1, after);
    (void)sqlite3_bind_int(statement, 2, GALLERY_PAGE);
    spade_status status = spade_database_step(g->context, statement, &row);
    while (status == SPADE_OK && row) {
        status = take_picture(g, statement);
        if (status == SPADE_OK) { status = spade_database_step(g->context, statement, &row); }
    }
    (void)sqlite3_finalize(statement);
    return status;
}

static spade_status read_page(gallery *g, int64_t after)
{
    static const char sql[] =
        "SELECT method, coalesce(options, ''), network, class, name, against, against_name, file, shard, offset, "
        "bytes, scale, zero, "
        "(SELECT group_concat(printf('%s %.3f', metric, value), ', ') FROM metrics AS m WHERE m.row = maps.row AND "
        "m.file = maps.file) FROM maps WHERE row = ?1 ORDER BY rowid";
    sqlite3_stmt *statement;
    clear_page(g);
    SPADE_TRY(read_pictures(g, after));
    SPADE_TRY(spade_database_prepare(g->context, g->database, sql, &statement));
    spade_status status = SPADE_OK;
    for (int i = 0; i < g->count && status == SPADE_OK; i++) { status = read_maps(g, statement, &g->pictures[i]); }
    (void)sqlite3_finalize(statement);
    return status;
}

/* Where a picture's file is, or what it is in its tar. */
static spade_status find_picture(gallery *g, const gallery_picture *picture, char **path, spade_mapping *content)
{
    const bool whole = *picture->image == '/';
    spade_input input;
    if (picture->row < g->manifest.count) {
        const spade_status status = spade_manifest_take(&g->manifest, picture->row, &input);
        if (status == SPADE_ERROR_MEMORY) { return status; }
        if (status == SPADE_OK) { *content = input.bytes->picture; }
        spade_error_clear(g->context);
    }
    if (asprintf(path, "%s%s%s", whole ? "" : g->root, whole ? "" : "/", picture->image) >= 0) { return SPADE_OK; }
    *path = NULL;
    return fail_memory(g);
}

/* What could not be decoded is another file now, or (false) none that can be read, or the one that was explained. */
static bool is_another(gallery *g, const gallery_picture *picture, const char *path, const spade_mapping *content)
{
    char now[SPADE_FINGERPRINT_SIZE];
    if (content->data) {
        spade_fingerprint(content, 1, now);
    } else if (spade_fingerprint_file(g->context, path, now) != SPADE_OK) {
        spade_error_clear(g->context);
        return false;
    }
    return strcmp(now, picture->content) != 0;
}

/* Those that are not there any more, or not what was explained, stay away: the page says so, and the end of the job how many.
 * decoded: the fingerprint of what was decoded. */
static void take_decoded(gallery *g, int i, spade_picture *picture, spade_status status, const char *decoded,
                         const char *path, const spade_mapping *content)
{
    gallery_picture *shown = &g->pictures[i];
    const bool another =
        status == SPADE_OK ? strcmp(decoded, shown->content) != 0 : is_another(g, shown, path, content);
    if (status == SPADE_OK && !another) {
        shown->picture = *picture;
        return;
    }
    g->others += another;
    if (!another && !g->missing++) { g->first_missing = strdup(path); }
    spade_picture_clear(picture);
}

static spade_status decode(gallery *g)
{
    char *paths[GALLERY_PAGE] = {0}, *messages[GALLERY_PAGE] = {0};
    spade_picture pictures[GALLERY_PAGE] = {{0}};
    spade_mapping contents[GALLERY_PAGE] = {{0}};
    spade_status statuses[GALLERY_PAGE], status = SPADE_OK;
    char fingerprints[GALLERY_PAGE][SPADE_FINGERPRINT_SIZE] = {{0}};
    spade_decode *decoding = NULL;
    if (!g->preprocess.height) { return SPADE_OK; }
    for (int i = 0; i < g->count; i++) { SPADE_GOTO(find_picture(g, &g->pictures[i], &paths[i], &contents[i])); }
    if (spade_decoding_begin(g->context, (const char *const *)paths, contents, NULL, false, g->count, pictures,
                             statuses, messages, &decoding) == SPADE_OK) {
        if (g->upright) { spade_decoding_upright(decoding); }
        spade_decoding_fingerprints(decoding, fingerprints);
        spade_decoding_finish(decoding);
    }
    status = spade_decoding_check(g->context, statuses, messages, g->count);
    if (status != SPADE_OK) {
        for (int i = 0; i < g->count; i++) { spade_picture_clear(&pictures[i]); }
        goto done;
    }
    for (int i = 0; i < g->count; i++) {
        take_decoded(g, i, &pictures[i], statuses[i], fingerprints[i], paths[i], &contents[i]);
    }
    spade_error_clear(g->context);
done:
    spade_decoding_destroy(decoding);
    for (int i = 0; i < g->count; i++) {
        if (g->manifest.count) { spade_manifest_release(&g->manifest, g->pictures[i].row); }
        free(paths[i]);
        free(messages[i]);
    }
    return status;
}

/* ---- files */

typedef struct gallery_part {
    gallery *g;
    int64_t page, pages, pictures, failures, changed; /* changed: pictures that the trace decides differently */
    FILE *rows;                                       /* anonymous temporary file: the pages in the index */
} gallery_part;
typedef spade_status (*gallery_writer)(FILE *file, const gallery_part *part);

static spade_status write_file(const gallery_part *part, const char *name, gallery_writer write)
{
    gallery *g = part->g;
    spade_output out;
    char *path;
    if (asprintf(&path, "%s/gallery/%s", g->store->folder, name) < 0) { return fail_memory(g); }
    spade_status status = spade_output_open(g->context, path, &out);
    free(path);
    SPADE_TRY(status);
    status = write(out.file, part);
    if (status == SPADE_OK) { return spade_output_commit(g->context, &out); }
    spade_output_abort(&out);
    return status;
}

static void write_navigation(FILE *file, const gallery_part *part)
{
    const long long page = part->page, pages = part->pages;
    fputs("<nav class=\"pages\"><span>", file);
    if (page > 1) { fprintf(file, "<a href=\"page-%04lld.html\">&larr; page %lld</a>", page - 1, page - 1); }
    fprintf(file, "</span><span><a href=\"index.html\">All pages</a> &middot; page %lld of %lld</span><span>", page,
            pages);
    if (page < pages) { fprintf(file, "<a href=\"page-%04lld.html\">page %lld &rarr;</a>", page + 1, page + 1); }
    fputs("</span></nav>\n", file);
}

static spade_status write_page(FILE *file, const gallery_part *part)
{
    gallery *g = part->g;
    char title[64], words[400];
    snprintf(words, sizeof words, "%s%s",
             g->report.both ? "Dense and trace share one scale, so their colours can be compared. " : "",
             gallery_key(g));
    snprintf(title, sizeof title, "spade, page %lld: ", (long long)part->page);
    html_write_begin(file, &g->report, title);
    write_navigation(file, part);
    SPADE_TRY(html_write_legend(file, &g->report, words));
    html_write_choice(file, &g->report);
    fputs("<div class=\"gallery\">\n", file);
    for (int i = 0; i < g->count; i++) { SPADE_TRY(gallery_write_card(file, g, &g->pictures[i])); }
    fputs("</div>\n", file);
    write_navigation(file, part);
    html_write_end(file);
    return SPADE_OK;
}

/* The first failures, `most` of them (below 0: all), in a section that stays open. */
static spade_status write_failed(FILE *file, const gallery_part *part, int most)
{
    gallery *g = part->g;
    sqlite3_stmt *statement;
    bool row;
    SPADE_TRY(spade_database_prepare(g->context, g->database,
                                     "SELECT row, image, error FROM failures ORDER BY row LIMIT ?1", &statement));
    (void)sqlite3_bind_int(statement, 1, most);
    fprintf(
        file,
        "<section class=\"card\"><h3>%lld picture%s could not be explained</h3><div class=\"scroll\"><table><tr><th "
        "class=\"n\">row</th><th>picture</th><th>why</th></tr>\n",
        (long long)part->failures, part->failures == 1 ? "" : "s");
    spade_status status = spade_database_step(g->context, statement, &row);
    while (status == SPADE_OK && row) {
        fprintf(file, "<tr><td class=\"n\">%lld</td><td>", (long long)sqlite3_column_int64(statement, 0));
        spade_html_text(file, text_at(statement, 1));
        fputs("</td><td>", file);
        spade_html_text(file, text_at(statement, 2));
        fputs("</td></tr>\n", file);
        status = spade_database_step(g->context, statement, &row);
    }
    (void)sqlite3_finalize(statement);
    fputs("</table></div>", file);
    return status;
}

static spade_status write_failures(FILE *file, const gallery_part *part)
{
    html_write_begin(file, &part->g->report, "spade, failures: ");
    fputs("<nav class=\"pages\"><span><a href=\"index.html\">All pages</a></span></nav>", file);
    SPADE_TRY(write_failed(file, part, -1));
    fputs("</section>\n", file);
    html_write_end(file);
    return SPADE_OK;
}

/* ---- the index */

/* A page in the index: its first picture that is there, in small, and its rows. Of very many pages only the first have one: the index
 * is a file that a browser must open. */
static spade_status note_page(const gallery_part *part)
{
    enum { SHOWN = 400 };
    gallery *g = part->g;
    FILE *file = part->rows;
    const gallery_picture *first = &g->pictures[0], *last = &g->pictures[g->count - 1], *shown = first;
    while (shown < last && !shown->picture.rgb) { shown++; }
    fputs("<tr><td class=\"strip\">", file);
    if (part->page <= SHOWN) { SPADE_TRY(gallery_write_thumbnail(file, g, shown)); }
    fprintf(file, "</td><td><a href=\"page-%04lld.html\">page %lld</a></td><td>row%s %lld", (long long)part->page,
            (long long)part->page, last == first ? "" : "s", (long long)first->row);
    if (last != first) { fprintf(file, " to %lld", (long long)last->row); }
    fputs(" <span class=\"soft\">", file);
    spade_html_text(file, first->image);
    if (last != first) {
        fputs(" to ", file);
        spade_html_text(file, last->image);
    }
    fputs("</span></td></tr>\n", file);
    return SPADE_OK;
}

/* What the store is made with: what readers ask first in a line, and all of it behind that. */
static spade_status write_origin(FILE *file, const gallery *g)
{
    const json_t *about = g->store->description, *configuration = json_object_get(about, "configuration"), *network;
    const json_t *sparsity = json_object_get(configuration, "sparsity");
    bool traced = false;
    size_t i;
    fputs("<p class=\"soft\">Pictures of ", file);
    spade_html_text(file, manifest_path(g));
    fputs("; maps of the ", file);
    json_array_foreach((json_t *)(uintptr_t)json_object_get(about, "networks"), i, network)
    {
        const bool trace = strcmp(json_string_value(network), explained_networks[TRACE]) == 0;
        fprintf(file, "%s%s", i ? " and the " : "", trace ? "trace" : "network");
        traced = traced || trace;
    }
    for (int m = 0; m < g->run.method_count; m++) {
        fputs(m ? ", " : ": ", file);
        spade_html_text(file, g->methods[m].label);
    }
    if (traced && json_is_number(sparsity)) { fprintf(file, "; sparsity %g", json_number_value(sparsity)); }
    if (traced && json_is_string(sparsity)) { fprintf(file, "; sparsity %s", json_string_value(sparsity)); }
    if (traced) {
        fprintf(file, ", solver %s, %lld variants", spade_json_text_at(configuration, "solver"),
                (long long)json_integer_value(json_object_get(configuration, "variants")));
    }
    fputs("</p>", file);
    return html_write_settings(file, g->context, configuration);
}

static spade_status write_index(FILE *file, const gallery_part *part)
{
    enum { SHOWN = 20 };
    gallery *g = part->g;
    if (fflush(part->rows) != 0 || ferror(part->rows)) { return fail_temporary(g); }
    html_write_begin(file, &g->report, "spade: ");
    fputs("<header class=\"card\"><h1>", file);
    spade_html_text(file, html_model_name(&g->report));
    fprintf(file, "</h1><p class=\"soft\">%lld picture%s explained by spade %s; indexed by spade %s</p>",
            (long long)part->pictures, part->pictures == 1 ? "" : "s",
            spade_json_text_at(g->store->description, "version"), spade_version());
    if (part->changed) {
        fprintf(file, "<p class=\"warn\">The trace decides differently for %lld of them.</p>",
                (long long)part->changed);
    }
    SPADE_TRY(write_origin(file, g));
    fputs("</header><section class=\"card\"><h3>Pages</h3><div class=\"scroll\"><table><tr><th></th><th>page</th>"
          "<th>pictures</th></tr>\n",
          file);
    html_append(file, part->rows);
    fputs("</table></div></section>\n", file);
    if (part->failures) {
        SPADE_TRY(write_failed(file, part, SHOWN));
        fprintf(file,
                "<p class=\"below\"><a href=\"failures.html\">%s</a>; the same <code>spade annotate</code> with "
                "<code>--retry</code> tries them again</p></section>\n",
                part->failures > SHOWN ? "All of them" : "As a page");
    }
    html_write_end(file);
    return SPADE_OK;
}

/* ---- what an earlier gallery has more */

static void remove_others(const gallery *g, int64_t pages, bool failures)
{
    char *folder;
    if (asprintf(&folder, "%s/gallery", g->store->folder) < 0) { return; }
    DIR *list = opendir(folder);
    for (const struct dirent *entry; list && (entry = readdir(list));) {
        long long page;
        int end = 0;
        const bool is_page = sscanf(entry->d_name, "page-%lld.html%n", &page, &end) == 1 && end && !entry->d_name[end];
        if ((is_page && page > pages) || (!failures && strcmp(entry->d_name, "failures.html") == 0)) {
            (void)unlinkat(dirfd(list), entry->d_name, 0);
        }
    }
    if (list) { closedir(list); }
    free(folder);
}

static spade_status write_pages(gallery_part *part, const spade_workload_events *events, bool *stopped)
{
    gallery *g = part->g;
    int64_t after = -1;
    for (part->page = 1; part->page <= part->pages; part->page++) {
        char name[64];
        if (events->stop && events->stop(events->user)) {
            *stopped = true;
            return SPADE_OK;
        }
        SPADE_TRY(read_page(g, after));
        if (!g->count) { break; }
        after = g->pictures[g->count - 1].row;
        SPADE_TRY(decode(g));
        snprintf(name, sizeof name, "page-%04lld.html", (long long)part->page);
        SPADE_TRY(write_file(part, name, write_page));
        SPADE_TRY(note_page(part));
        spade_report_progress(g->context, "pages", (double)part->page, (double)part->pages);
    }
    return SPADE_OK;
}

static spade_status make_folder(const gallery *g)
{
    char *folder;
    if (asprintf(&folder, "%s/gallery", g->store->folder) < 0) { return fail_memory(g); }
    const spade_status status = spade_make_folders(g->context, folder, "cannot make the folder", NULL);
    if (status == SPADE_OK) { spade_sweep_temporaries(folder); }
    free(folder);
    return status;
}

/* Maps that are drawn on grey, and why. */
static void warn_of_grey(const gallery *g)
{
    if (g->missing) {
        spade_log(g->context, SPADE_LOG_WARNING,
                  "%s/gallery: %lld picture%s not there, or cannot be read (%s%s): the maps are drawn on grey",
                  g->store->folder, (long long)g->missing, g->missing == 1 ? " is" : "s are",
                  g->first_missing ? g->first_missing : "", g->missing == 1 ? "" : ", ...");
    }
    if (g->others) {
        spade_log(g->context, SPADE_LOG_WARNING,
                  "%s/gallery: %lld picture%s not what %s when the maps were made: the maps are drawn on grey",
                  g->store->folder, (long long)g->others, g->others == 1 ? " is" : "s are",
                  g->others == 1 ? "it was" : "they were");
    }
}

spade_status merge_write_gallery(spade_context *context, const spade_store *store, const spade_workload_events *events,
                                 bool *stopped)
{
    gallery *g = malloc(sizeof *g);
    gallery_part part = {.g = g};
    if (!g) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s/gallery: out of memory", store->folder); }
    spade_status status;
    SPADE_GOTO(open_gallery(g, context, store));
    SPADE_GOTO(count(g, "SELECT count(*) FROM pictures", &part.pictures));
    SPADE_GOTO(count(g, "SELECT count(*) FROM failures", &part.failures));
    SPADE_GOTO(count(g, "SELECT count(*) FROM pictures WHERE trace_class <> class", &part.changed));
    part.pages = (part.pictures + GALLERY_PAGE - 1) / GALLERY_PAGE;
    SPADE_GOTO(make_folder(g));
    part.rows = tmpfile();
    if (!part.rows) { SPADE_GOTO(fail_temporary(g)); }
    SPADE_GOTO(write_pages(&part, events, stopped));
    if (*stopped) { goto done; }
    if (part.failures) { SPADE_GOTO(write_file(&part, "failures.html", write_failures)); }
    SPADE_GOTO(write_file(&part, "index.html", write_index));
    remove_others(g, part.pages, part.failures > 0);
    warn_of_grey(g);
done:
    if (part.rows) { fclose(part.rows); }
    close_gallery(g);
    free(g);
    return status;
}
