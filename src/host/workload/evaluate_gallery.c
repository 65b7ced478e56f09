/*
 * evaluate_gallery.c - which pictures report.html shows, and where their maps wait for it.
 *
 * For each pair of a method and a trace there are two lists: the pictures whose map the trace makes best, and worst, by the
 * difference of one metric. Their maps are drawn when the picture is worked on, if it is in a list by then, and removed when
 * others have pushed it out of all. The other two ways were no choice: at the end maps could be made again only with their
 * traces, which take minutes where they are exact; and kept for all pictures they are too much (of 50,000 pictures, ten methods
 * and three traces: 3 million drawings of 20 KB, 60 GB). Kept so, they are at most two lists' of each pair; what is drawn in vain
 * grows with the logarithm of the number of pictures. Whoever is in a list at the end has been in it since the picture was done:
 * among fewer pictures there is only more room. So it does not matter where a run was interrupted.
 *
 * DIR/gallery/KEY.tiles is a picture's file: KEY is the fingerprint of the results' header and of the picture's record, so that
 * drawings of another configuration, of another picture under the same name, or of other values are never found. A file is written
 * beside its name and renamed, before the record is: a process that is killed leaves at most files that nobody looks for, which
 * the next run sweeps away.
 *
 *   a file: | a line with xxh128 of KEY and the rest | lines "METHOD COLUMN NETWORK BYTES" | an empty line | the PNGs in that order |
 *
 * Files may be missing all the same: pictures left the manifest and others moved up, there was no report before, or a smaller one;
 * and what is not what its first line says is as good as missing, which is said.
 * Then those pictures are evaluated once more at the end of the run (evaluate.c), for their maps alone.
 */
#include <dirent.h>
#include <math.h>
#include <unistd.h>

#include "base/base.h"
#include "workload/evaluate.h"

/* Where nobody says how many: fewer of many pairs, so that the report stays below 20 MB. */
enum { DEFAULT_SIZE = 6, MAX_DEFAULT_ENTRIES = 144 };
enum { MAX_INDEX = 1 << 20, MAX_FILE = 1 << 30 };
static const char suffix[] = ".tiles";

static spade_status fail_memory(const evaluate_job *job)
{
    return spade_fail(job->context, SPADE_ERROR_MEMORY, "%s/gallery: out of memory", job->request->output);
}

static int pair_of(const evaluate_job *job, int method, int column)
{
    return method * (job->column_count - job->gallery.first_column) + column - job->gallery.first_column;
}

static int pair_count(const evaluate_job *job)
{
    return job->method_count * (job->column_count - job->gallery.first_column);
}

const gallery_entry *evaluate_gallery_list(const evaluate_job *job, int method, int column, int which, int *count)
{
    const int list = GALLERY_LISTS * pair_of(job, method, column) + which;
    *count = job->gallery.counts[list];
    return job->gallery.entries + (ptrdiff_t)list * job->gallery.size;
}

/* ---- open, close */

/* The header but for the path of the model, which may be another one when the run goes on. */
static spade_status fingerprint_header(evaluate_job *job, const json_t *header)
{
    json_t *copy = json_copy((json_t *)(uintptr_t)header);
    const bool whole = json_object_size(copy) == json_object_size(header); /* what there is no memory for is left out */
    if (whole) { (void)json_object_del(copy, "model"); }
    char *text = whole ? spade_json_dump(copy, JSON_COMPACT) : NULL;
    json_decref(copy);
    if (!text) { return fail_memory(job); }
    spade_fingerprint(&(spade_mapping){.data = (const uint8_t *)text, .size = strlen(text)}, 1, job->gallery.header);
    free(text);
    return SPADE_OK;
}

/* The first metric of maps; -1: there is none. */
static int choose_metric(const evaluate_job *job)
{
    for (int i = 0; i < job->metric_count; i++) {
        if (!evaluate_of_trace(job, i)) { return i; }
    }
    return -1;
}

static int choose_size(const evaluate_job *job)
{
    const int asked = job->request->gallery, fitting = MAX_DEFAULT_ENTRIES / GALLERY_LISTS / pair_count(job);
    if (!job->request->report || job->gallery.metric < 0) { return 0; }
    if (asked >= 0) { return asked; }
    return fitting > DEFAULT_SIZE ? DEFAULT_SIZE : fitting ? fitting : 1;
}

spade_status evaluate_gallery_open(evaluate_job *job, const json_t *header)
{
    evaluate_gallery *gallery = &job->gallery;
    gallery->metric = choose_metric(job);
    gallery->first_column = job->column_count > 1;
    gallery->size = choose_size(job);
    if (!gallery->size) { return SPADE_OK; }
    const size_t lists = GALLERY_LISTS * (size_t)pair_count(job);
    gallery->entries = calloc(lists * (size_t)gallery->size, sizeof *gallery->entries);
    gallery->counts = calloc(lists, sizeof *gallery->counts);
    gallery->keys = calloc((size_t)job->inputs.count + 1, sizeof *gallery->keys);
    if (!gallery->entries || !gallery->counts || !gallery->keys) { return fail_memory(job); }
    return fingerprint_header(job, header);
}

void evaluate_gallery_close(evaluate_job *job)
{
    evaluate_gallery *gallery = &job->gallery;
    for (int i = 0; gallery->keys && i < job->inputs.count; i++) { free(gallery->keys[i]); }
    free(gallery->entries);
    free(gallery->counts);
    free(gallery->keys);
    *gallery = (evaluate_gallery){0};
}

/* ---- lists */

static bool comes_before(int which, const gallery_entry *a, const gallery_entry *b)
{
    if (a->gain != b->gain) { return which == GALLERY_BEST ? a->gain > b->gain : a->gain < b->gain; }
    return a->position < b->position;
}

/* Where the entry stands, or would stand; -1: it does not belong there. With a trace the best have gained and the worst lost. */
static int find_place(const evaluate_job *job, int list, const gallery_entry *entry)
{
    const evaluate_gallery *gallery = &job->gallery;
    const gallery_entry *entries = gallery->entries + (ptrdiff_t)list * gallery->size;
    const int which = list % GALLERY_LISTS;
    if (!isfinite(entry->gain)) { return -1; }
    if (gallery->first_column && (which == GALLERY_BEST ? entry->gain <= 0 : entry->gain >= 0)) { return -1; }
    for (int i = 0; i < gallery->counts[list]; i++) {
        if (entries[i].position == entry->position || comes_before(which, entry, &entries[i])) { return i; }
    }
    return gallery->counts[list] < gallery->size ? gallery->counts[list] : -1;
}

static bool is_listed(const evaluate_job *job, int position)
{
    const evaluate_gallery *gallery = &job->gallery;
    for (int list = 0; list < GALLERY_LISTS * pair_count(job); list++) {
        const gallery_entry *entries = gallery->entries + (ptrdiff_t)list * gallery->size;
        for (int i = 0; i < gallery->counts[list]; i++) {
            if (entries[i].position == position) { return true; }
        }
    }
    return false;
}

/* A value that JSON has not counts as none, here as when the record is read back. */
static double gain_of(const evaluate_job *job, double dense, double value)
{
    const evaluate_gallery *gallery = &job->gallery;
    const double gain = gallery->first_column ? value - dense : value;
    return explained_metric(&job->run, gallery->metric)->better == SPADE_METRIC_LOWER ? -gain : gain;
}

bool evaluate_gallery_wants(const evaluate_job *job, int position, int method, int column, double dense, double value)
{
    if (!job->gallery.size || column < job->gallery.first_column) { return false; }
    const gallery_entry entry = {gain_of(job, dense, value), position};
    const int list = GALLERY_LISTS * pair_of(job, method, column);
    return find_place(job, list + GALLERY_BEST, &entry) >= 0 || find_place(job, list + GALLERY_WORST, &entry) >= 0;
}

/* *dropped: the position that is not in this list any more; -1: none. */
static void insert(const evaluate_job *job, int list, const gallery_entry *entry, int *dropped)
{
    const evaluate_gallery *gallery = &job->gallery;
    gallery_entry *entries = gallery->entries + (ptrdiff_t)list * gallery->size;
    int *count = &gallery->counts[list];
    const int place = find_place(job, list, entry);
    *dropped = -1;
    if (place < 0) { return; }
    if (*count == gallery->size) {
        *dropped = entries[*count - 1].position;
    } else {
        ++*count;
    }
    memmove(entries + place + 1, entries + place, sizeof *entries * (size_t)(*count - 1 - place));
    entries[place] = *entry;
}

static void take_out(const evaluate_job *job, int position)
{
    const evaluate_gallery *gallery = &job->gallery;
    for (int list = 0; list < GALLERY_LISTS * pair_count(job); list++) {
        gallery_entry *entries = gallery->entries + (ptrdiff_t)list * gallery->size;
        int kept = 0;
        for (int i = 0; i < gallery->counts[list]; i++) {
            if (entries[i].position != position) { entries[kept++] = entries[i]; }
        }
        gallery->counts[list] = kept;
    }
}

/* ---- files */

static spade_status path_of(const evaluate_job *job, const char *key, char **out)
{
    if (asprintf(out, "%s/gallery/%s%s", job->request->output, key, suffix) >= 0) { return SPADE_OK; }
    *out = NULL;
    return fail_memory(job);
}

static void remove_file(const evaluate_job *job, const char *key)
{
    char *path = NULL;
    if (path_of(job, key, &path) == SPADE_OK && path) { (void)unlink(path); } /* else the next run sweeps it away */
    free(path);
}

static int is_tiles(const struct dirent *entry)
{
    const size_t digits = strspn(entry->d_name, "0123456789abcdef");
    return digits == SPADE_FINGERPRINT_SIZE - 1 && strcmp(entry->d_name + digits, suffix) == 0;
}

static bool has_key(const evaluate_job *job, const char *name)
{
    for (int i = 0; job->gallery.keys && i < job->inputs.count; i++) {
        const char *key = job->gallery.keys[i];
        if (key && strncmp(key, name, SPADE_FINGERPRINT_SIZE - 1) == 0) { return true; }
    }
    return false;
}

void evaluate_gallery_sweep(const evaluate_job *job)
{
    char *folder;
    struct dirent **entries;
    if (asprintf(&folder, "%s/gallery", job->request->output) < 0) { return; }
    const int count = scandir(folder, &entries, is_tiles, alphasort);
    if (count >= 0) { spade_sweep_temporaries(folder); }
    for (int i = 0; i < count; i++) {
        char *path = NULL;
        if (!has_key(job, entries[i]->d_name) && asprintf(&path, "%s/%s", folder, entries[i]->d_name) >= 0) {
            (void)unlink(path);
            free(path);
        }
        free(entries[i]);
    }
    if (count >= 0) { free(entries); }
    (void)rmdir(folder); /* if nothing is in it */
    free(folder);
}

/* The lines, and the empty one. malloc'ed; NULL: out of memory. */
static char *make_index(const gallery_tiles *tiles)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    if (!file) { return NULL; }
    for (int i = 0; i < tiles->count; i++) {
        const gallery_tile *tile = &tiles->items[i];
        fprintf(file, "%d %d %d %zu\n", tile->method, tile->column, tile->network, tile->size);
    }
    fputc('\n', file);
    const bool written = !ferror(file);
    if (fclose(file) == 0 && written) { return text; }
    free(text);
    return NULL;
}

/* Of the picture's key, the index and the PNGs. */
static spade_status hash_tiles(const evaluate_job *job, const char *key, const char *index, const gallery_tiles *tiles,
                               char out[SPADE_FINGERPRINT_SIZE])
{
    spade_mapping *pieces = calloc((size_t)tiles->count + 2, sizeof *pieces);
    if (!pieces) { return fail_memory(job); }
    pieces[0] = (spade_mapping){.data = (const uint8_t *)key, .size = strlen(key)};
    pieces[1] = (spade_mapping){.data = (const uint8_t *)index, .size = strlen(index)};
    for (int i = 0; i < tiles->count; i++) {
        pieces[2 + i] = (spade_mapping){.data = tiles->items[i].png, .size = tiles->items[i].size};
    }
    spade_fingerprint(pieces, tiles->count + 2, out);
    free(pieces);
    return SPADE_OK;
}

static spade_status write_file(const evaluate_job *job, const char *key, const gallery_tiles *tiles)
{
    spade_output file;
    char *folder = NULL, *path = NULL, *index = make_index(tiles), hash[SPADE_FINGERPRINT_SIZE];
    spade_status status = SPADE_OK;
    if (!index || asprintf(&folder, "%s/gallery", job->request->output) < 0) {
        folder = NULL;
        SPADE_GOTO(fail_memory(job));
    }
    SPADE_GOTO(hash_tiles(job, key, index, tiles, hash));
    SPADE_GOTO(spade_make_folders(job->context, folder, "cannot make the folder", NULL));
    SPADE_GOTO(path_of(job, key, &path));
    SPADE_GOTO(spade_output_open(job->context, path, &file));
    fprintf(file.file, "%s\n%s", hash, index);
    for (int i = 0; i < tiles->count; i++) { fwrite(tiles->items[i].png, 1, tiles->items[i].size, file.file); }
    status = spade_output_commit(job->context, &file);
done:
    free(index);
    free(folder);
    free(path);
    return status;
}

/* malloc'ed. */
static spade_status make_key(const evaluate_job *job, const json_t *record, char **out)
{
    char *text = spade_json_dump(record, JSON_COMPACT);
    *out = text ? malloc(SPADE_FINGERPRINT_SIZE) : NULL;
    if (*out) {
        const spade_mapping pieces[] = {
            {.data = (const uint8_t *)job->gallery.header, .size = SPADE_FINGERPRINT_SIZE - 1},
            {.data = (const uint8_t *)text, .size = strlen(text)}};
        spade_fingerprint(pieces, 2, *out);
    }
    free(text);
    return *out ? SPADE_OK : fail_memory(job);
}

/* ---- pictures that are done */

static void release(evaluate_job *job, int position)
{
    char **key = &job->gallery.keys[position];
    if (!*key || is_listed(job, position)) { return; }
    remove_file(job, *key);
    free(*key);
    *key = NULL;
}

static double value_in(const json_t *record, int method, int metric, int column)
{
    const json_t *of_method = json_array_get(json_object_get(record, "values"), (size_t)method),
                 *value = json_array_get(json_array_get(of_method, (size_t)metric), (size_t)column);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void insert_everywhere(evaluate_job *job, int position, const json_t *record)
{
    const evaluate_gallery *gallery = &job->gallery;
    for (int method = 0; method < job->method_count; method++) {
        const double dense = value_in(record, method, gallery->metric, 0);
        for (int column = gallery->first_column; column < job->column_count; column++) {
            const double value = value_in(record, method, gallery->metric, column);
            const gallery_entry entry = {gain_of(job, dense, value), position};
            for (int which = 0; which < GALLERY_LISTS; which++) {
                int dropped;
                insert(job, GALLERY_LISTS * pair_of(job, method, column) + which, &entry, &dropped);
                if (dropped >= 0) { release(job, dropped); }
            }
        }
    }
}

static bool is_wanted(const evaluate_job *job, int position, const json_t *record)
{
    const evaluate_gallery *gallery = &job->gallery;
    for (int method = 0; method < job->method_count; method++) {
        const double dense = value_in(record, method, gallery->metric, 0);
        for (int column = gallery->first_column; column < job->column_count; column++) {
            const double value = value_in(record, method, gallery->metric, column);
            if (evaluate_gallery_wants(job, position, method, column, dense, value)) { return true; }
        }
    }
    return false;
}

spade_status evaluate_gallery_add(evaluate_job *job, int position, const json_t *record, const gallery_tiles *tiles)
{
    evaluate_gallery *gallery = &job->gallery;
    char *key;
    if (!gallery->size || (!gallery->keys[position] && !is_wanted(job, position, record))) { return SPADE_OK; }
    SPADE_TRY(make_key(job, record, &key));
    if (tiles && tiles->count) {
        const spade_status status = write_file(job, key, tiles);
        if (status != SPADE_OK) {
            free(key);
            return status;
        }
    }
    if (gallery->keys[position]) { take_out(job, position); } /* an earlier record, which does not hold any more */
    free(gallery->keys[position]);
    gallery->keys[position] = key;
    insert_everywhere(job, position, record);
    release(job, position);
    return SPADE_OK;
}

void evaluate_gallery_forget(evaluate_job *job, int position)
{
    if (!job->gallery.size || !job->gallery.keys[position]) { return; }
    take_out(job, position);
    release(job, position);
}

spade_status evaluate_gallery_complete(evaluate_job *job, int position, const json_t *record,
                                       const gallery_tiles *tiles, bool *same)
{
    char *key;
    SPADE_TRY(make_key(job, record, &key));
    *same = job->gallery.keys[position] && strcmp(key, job->gallery.keys[position]) == 0;
    const spade_status status = *same ? write_file(job, key, tiles) : SPADE_OK;
    free(key);
    return status;
}

/* ---- tiles */

const gallery_tile *gallery_tiles_find(const gallery_tiles *tiles, int method, int column, int network)
{
    for (int i = 0; i < tiles->count; i++) {
        const gallery_tile *tile = &tiles->items[i];
        if (tile->method == method && tile->column == column && tile->network == network) { return tile; }
    }
    return NULL;
}

void gallery_tiles_clear(gallery_tiles *tiles)
{
    for (int i = 0; !tiles->file.data && i < tiles->count; i++) { free((void *)(uintptr_t)tiles->items[i].png); }
    if (tiles->file.data) { spade_unmap(&tiles->file); }
    free(tiles->items);
    *tiles = (gallery_tiles){0};
}

/* The lines before the empty one. tiles->items has room for as many as there are lines. */
static bool read_index(char *index, size_t header, gallery_tiles *tiles)
{
    size_t at = header;
    for (char *line = index, *end; (end = strchr(line, '\n')); line = end + 1) {
        gallery_tile *tile = &tiles->items[tiles->count];
        *end = 0;
        if (sscanf(line, "%d %d %d %zu", &tile->method, &tile->column, &tile->network, &tile->size) != 4 ||
            tile->size > tiles->file.size - at) {
            return false;
        }
        tile->png = tiles->file.data + at;
        at += tile->size;
        tiles->count++;
    }
    return at == tiles->file.size;
}

/* Is what stands behind the first line what was written for this picture? */
static bool is_whole(const spade_mapping *file, const char *key)
{
    char hash[SPADE_FINGERPRINT_SIZE];
    if (file->size < SPADE_FINGERPRINT_SIZE || file->data[SPADE_FINGERPRINT_SIZE - 1] != '\n') { return false; }
    const spade_mapping pieces[] = {
        {.data = (const uint8_t *)key, .size = strlen(key)},
        {.data = file->data + SPADE_FINGERPRINT_SIZE, .size = file->size - SPADE_FINGERPRINT_SIZE}};
    spade_fingerprint(pieces, 2, hash);
    return memcmp(file->data, hash, SPADE_FINGERPRINT_SIZE - 1) == 0;
}

/* What is not a file of ours, whole, holds nothing. */
static spade_status read_file(const evaluate_job *job, const char *path, const char *key, gallery_tiles *out)
{
    enum { START = SPADE_FINGERPRINT_SIZE }; /* of the index */
    SPADE_TRY(spade_map_file(job->context, path, MAX_FILE, &out->file));
    const bool ours = is_whole(&out->file, key);
    const size_t rest = ours ? out->file.size - START : 0;
    const char *start = (const char *)out->file.data + (ours ? START : 0),
               *end = memmem(start, rest < MAX_INDEX ? rest : MAX_INDEX, "\n\n", 2);
    const size_t length = end ? (size_t)(end - start) + 1 : 0;
    char *index = strndup(start, length);
    size_t lines = 0;
    for (const char *at = index; at && (at = strchr(at, '\n')); at++) { lines++; }
    out->items = calloc(lines + 1, sizeof *out->items);
    const bool memory = !index || !out->items, whole = !memory && length && read_index(index, START + length + 1, out);
    free(index);
    if (!whole) { gallery_tiles_clear(out); }
    out->damaged = !whole;
    return memory ? fail_memory(job) : SPADE_OK;
}

spade_status evaluate_gallery_load(const evaluate_job *job, int position, gallery_tiles *out)
{
    const char *key = job->gallery.keys[position];
    char *path;
    *out = (gallery_tiles){0};
    if (!key) { return SPADE_OK; }
    SPADE_TRY(path_of(job, key, &path));
    const spade_status status = access(path, R_OK) == 0 ? read_file(job, path, key, out) : SPADE_OK;
    free(path);
    return status;
}

/* Of a picture whose maps are to be made once more. */
static void warn_of_damage(const evaluate_job *job, int position)
{
    spade_log(job->context, SPADE_LOG_WARNING, "%s/gallery/%s%s: it is not what was written there for %s",
              job->request->output, job->gallery.keys[position], suffix, job->inputs.items[position].name);
}

spade_status evaluate_gallery_lacks(const evaluate_job *job, int position, bool *lacks)
{
    gallery_tiles tiles;
    *lacks = false;
    if (!job->gallery.size || !job->gallery.keys[position]) { return SPADE_OK; }
    SPADE_TRY(evaluate_gallery_load(job, position, &tiles));
    if (tiles.damaged) { warn_of_damage(job, position); }
    for (int list = 0; list < GALLERY_LISTS * pair_count(job) && !*lacks; list++) {
        const int columns = job->column_count - job->gallery.first_column, pair = list / GALLERY_LISTS,
                  method = pair / columns, column = pair % columns + job->gallery.first_column;
        int count;
        const gallery_entry *entries = evaluate_gallery_list(job, method, column, list % GALLERY_LISTS, &count);
        for (int i = 0; i < count && !*lacks; i++) {
            *lacks = entries[i].position == position && !gallery_tiles_find(&tiles, method, column, DENSE);
        }
    }
    gallery_tiles_clear(&tiles);
    return SPADE_OK;
}
