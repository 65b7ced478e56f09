/* reader.c - the items of several inputs: their pictures and masks are decoded side by side, or ahead. */
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "workload/image_item.h"

/* The mask's file: that of the input itself, where a manifest says it; else `mask`, if there is one: itself, or NAME.png, or
 * NAME_mask.png in the folder; *out NULL when there is none. malloc'ed. both (or NULL): the folder has the two, of which the first
 * is taken. */
static spade_status find_mask(spade_context *context, const char *mask, const spade_input *input, char **out,
                              bool *both)
{
    struct stat info;
    *out = NULL;
    if (both) { *both = false; }
    if (input->mask || !mask) {
        *out = input->mask ? strdup(input->mask) : NULL;
        return *out || !input->mask ? SPADE_OK
                                    : spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", input->mask);
    }
    if (stat(mask, &info) != 0 || !S_ISDIR(info.st_mode)) {
        *out = strdup(mask);
        return *out ? SPADE_OK : spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", mask);
    }
    static const char *const endings[] = {".png", "_mask.png"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        char *path = NULL;
        if (asprintf(&path, "%s/%s%s", mask, input->stem, endings[i]) < 0) {
            free(*out);
            *out = NULL;
            return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", mask);
        }
        const bool there = access(path, F_OK) == 0;
        if (both) { *both = there && *out; }
        if (there && !*out) {
            *out = path;
        } else {
            free(path);
        }
    }
    return SPADE_OK;
}

spade_status spade_masks_check(spade_context *context, const char *mask, const spade_inputs *inputs)
{
    int usable = 0, missing = 0, twice = 0;
    const char *first = NULL, *first_twice = NULL;
    for (int i = 0; i < inputs->count; i++) {
        char *path = NULL;
        if (inputs->items[i].error) { continue; }
        usable++;
        bool both;
        SPADE_TRY(find_mask(context, mask, &inputs->items[i], &path, &both));
        if (both && !twice++) { first_twice = inputs->items[i].stem; }
        if (!path && !missing++) { first = inputs->items[i].stem; }
        free(path);
    }
    if (twice) {
        spade_log(context, SPADE_LOG_WARNING, "%s: two masks for %d input%s: %s.png is taken, %s_mask.png is not%s",
                  mask, twice, twice == 1 ? "" : "s", first_twice, first_twice, twice == 1 ? "" : ", ...");
    }
    if (!missing) { return SPADE_OK; }
    if (missing == usable) {
        return spade_fail(context, SPADE_ERROR_INPUT,
                          "%s: no mask for any of %d inputs (looked for %s.png and %s_mask.png%s)", mask, usable, first,
                          first, missing > 1 ? ", ..." : "");
    }
    spade_log(context, SPADE_LOG_WARNING, "%s: no masks for %d of %d inputs (looked for %s.png and %s_mask.png%s)",
              mask, missing, usable, first, first, missing > 1 ? ", ..." : "");
    return SPADE_OK;
}

/* ---- files */

static void close_files(spade_files *files)
{
    spade_decoding_destroy(files->decoding);
    for (int i = 0; i < files->count; i++) {
        free(files->paths[i]);
        free(files->messages[i]);
        spade_picture_clear(&files->pictures[i]);
    }
    free(files->picture_of);
    free(files->mask_of);
    free(files->masks);
    free(files->paths);
    free(files->contents);
    free(files->pictures);
    free(files->fingerprints);
    free(files->statuses);
    free(files->messages);
    *files = (spade_files){0};
}

static bool has_mask_bytes(const spade_input *input)
{
    return input->bytes && input->bytes->mask.data;
}

static spade_status list_files(spade_context *context, const char *mask, spade_files *files)
{
    for (int i = 0; i < files->input_count; i++) {
        const spade_input *input = &files->inputs[i];
        files->picture_of[i] = files->mask_of[i] = -1;
        if (input->error) { continue; }
        if (input->index < 0) {
            char *copy = files->paths[files->count] = strdup(input->file);
            if (!copy) { return spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", input->file); }
            if (input->bytes) { files->contents[files->count] = input->bytes->picture; }
            files->picture_of[i] = files->count++;
        }
        SPADE_TRY(find_mask(context, mask, input, &files->paths[files->count], NULL));
        if (!files->paths[files->count]) { continue; }
        if (has_mask_bytes(input)) { files->contents[files->count] = input->bytes->mask; }
        files->masks[files->count] = true;
        files->mask_of[i] = files->count++;
    }
    return SPADE_OK;
}

spade_status spade_reader_prefetch(spade_reader *reader, const spade_input *inputs, int count)
{
    spade_files *files = &reader->files;
    size_t n = (size_t)count + 1, max_files = 2 * n; /* a picture and a mask each */
    close_files(files);
    *files = (spade_files){.inputs = inputs,
                           .input_count = count,
                           .picture_of = malloc(n * sizeof *files->picture_of),
                           .mask_of = malloc(n * sizeof *files->mask_of),
                           .masks = calloc(max_files, sizeof *files->masks),
                           .paths = calloc(max_files, sizeof *files->paths),
                           .contents = calloc(max_files, sizeof *files->contents),
                           .pictures = calloc(max_files, sizeof *files->pictures),
                           .fingerprints = calloc(max_files, sizeof *files->fingerprints),
                           .statuses = calloc(max_files, sizeof *files->statuses),
                           .messages = calloc(max_files, sizeof *files->messages)};
    spade_status status = SPADE_OK;
    if (!files->picture_of || !files->mask_of || !files->masks || !files->paths || !files->contents ||
        !files->pictures || !files->fingerprints || !files->statuses || !files->messages) {
        SPADE_GOTO(spade_fail(reader->context, SPADE_ERROR_MEMORY, "out of memory: list of %d inputs", count));
    }
    SPADE_GOTO(list_files(reader->context, reader->mask, files));
    if (files->count) { /* a failure is recorded for each file */
        (void)spade_decoding_begin(reader->context, (const char *const *)files->paths, files->contents, files->masks,
                                   reader->preprocess->channels == 4, files->count, files->pictures, files->statuses,
                                   files->messages, &files->decoding);
        if (files->decoding) { spade_decoding_fingerprints(files->decoding, files->fingerprints); }
        if (files->decoding && reader->upright) { spade_decoding_upright(files->decoding); }
    }
done:
    if (status != SPADE_OK) { close_files(files); }
    return status;
}

/* ---- items */

static spade_status open_array(spade_reader *reader, const char *path)
{
    spade_context *context = reader->context;
    const spade_preprocess *preprocess = reader->preprocess;
    if (reader->array_path && strcmp(reader->array_path, path) == 0) { return SPADE_OK; }
    spade_array_clear(&reader->array);
    free(reader->array_path);
    reader->array_path = NULL;
    SPADE_TRY(spade_array_load(context, path, 0, &reader->array));
    SPADE_TRY(
        spade_check_array(context, path, &reader->array, preprocess->channels, preprocess->height, preprocess->width));
    reader->array_path = strdup(path);
    return reader->array_path ? SPADE_OK : spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path);
}

/* Hand on how the decoding of a file went. */
static spade_status check_file(spade_reader *reader, int file)
{
    const spade_files *files = &reader->files;
    if (files->statuses[file] == SPADE_OK) { return SPADE_OK; }
    const char *message = files->messages[file] ? files->messages[file] : "out of memory";
    return spade_fail(reader->context, files->statuses[file], "%s", message);
}

/* The entry of an array that an input is, [channels, height, width]; the reader's. */
static spade_status find_entry(spade_reader *reader, const spade_input *input, const float **out)
{
    const int64_t size = reader->preprocess->channels * reader->preprocess->height * reader->preprocess->width;
    SPADE_TRY(open_array(reader, input->file));
    if (input->index >= reader->array.dims[0]) {
        return spade_fail(reader->context, SPADE_ERROR_INPUT, "%s: changed while it was read", input->file);
    }
    *out = reader->array.data + input->index * size;
    return SPADE_OK;
}

static void fingerprint_entry(const spade_preprocess *p, const float *entry, char out[SPADE_FINGERPRINT_SIZE])
{
    const size_t size = (size_t)(p->channels * p->height * p->width);
    const spade_mapping piece = {.data = (const uint8_t *)entry, .size = sizeof *entry * size};
    spade_fingerprint(&piece, 1, out);
}

/* Of what the input is now. mask: its file, or NULL */
static spade_status make_fingerprint(spade_reader *reader, const spade_input *input, const char *mask,
                                     spade_input_fingerprint *out)
{
    spade_context *context = reader->context;
    *out = (spade_input_fingerprint){.content = ""};
    if (input->index >= 0) {
        const float *entry;
        SPADE_TRY(find_entry(reader, input, &entry));
        fingerprint_entry(reader->preprocess, entry, out->content);
    } else if (input->bytes) {
        spade_fingerprint(&input->bytes->picture, 1, out->content);
    } else {
        SPADE_TRY(spade_fingerprint_file(context, input->file, out->content));
    }
    if (has_mask_bytes(input)) {
        spade_fingerprint(&input->bytes->mask, 1, out->mask);
        return SPADE_OK;
    }
    return mask ? spade_fingerprint_file(context, mask, out->mask) : SPADE_OK;
}

spade_status spade_reader_load_one(spade_reader *reader, const spade_input *input, spade_image_item *item)
{
    spade_status loaded = SPADE_OK;
    char *message = NULL;
    *item = (spade_image_item){0};
    spade_status status = spade_reader_load(reader, input, 1, item, &loaded, &message);
    if (status == SPADE_OK && loaded != SPADE_OK) {
        status = spade_fail(reader->context, loaded, "%s", message ? message : "out of memory");
    }
    free(message);
    return status;
}

spade_status spade_reader_fingerprint(spade_reader *reader, const spade_input *input, spade_input_fingerprint *out)
{
    char *mask = NULL;
    if (input->error) { return spade_fail(reader->context, SPADE_ERROR_INPUT, "%s", input->error); }
    SPADE_TRY(find_mask(reader->context, reader->mask, input, &mask, NULL));
    spade_status status = make_fingerprint(reader, input, mask, out);
    free(mask);
    return status;
}

static spade_status make_item(spade_reader *reader, int i, spade_image_item *item)
{
    spade_context *context = reader->context;
    const spade_preprocess *preprocess = reader->preprocess;
    spade_files *files = &reader->files;
    const spade_input *input = &files->inputs[i];
    int picture = files->picture_of[i], mask = files->mask_of[i];
    if (input->error) { return spade_fail(context, SPADE_ERROR_INPUT, "%s", input->error); }
    if (picture >= 0) {
        SPADE_TRY(check_file(reader, picture));
        SPADE_TRY(spade_image_item_from_picture(context, preprocess, input, &files->pictures[picture], item));
        memcpy(item->fingerprint.content, files->fingerprints[picture], SPADE_FINGERPRINT_SIZE);
    } else {
        const float *tensor;
        SPADE_TRY(find_entry(reader, input, &tensor));
        SPADE_TRY(spade_image_item_from_tensor(context, preprocess, tensor, item));
        fingerprint_entry(preprocess, tensor, item->fingerprint.content);
    }
    if (mask < 0) { return SPADE_OK; }
    SPADE_TRY(check_file(reader, mask));
    memcpy(item->fingerprint.mask, files->fingerprints[mask], SPADE_FINGERPRINT_SIZE);
    return spade_image_item_set_mask(context, preprocess, files->paths[mask], &files->pictures[mask], item);
}

spade_status spade_reader_load(spade_reader *reader, const spade_input *inputs, int count, spade_image_item *items,
                               spade_status *statuses, char **messages)
{
    spade_files *files = &reader->files;
    for (int i = 0; i < count; i++) {
        items[i] = (spade_image_item){0};
        messages[i] = NULL;
    }
    if (files->inputs != inputs || files->input_count != count) {
        SPADE_TRY(spade_reader_prefetch(reader, inputs, count));
    }
    if (files->decoding) { spade_decoding_finish(files->decoding); }
    const spade_status decoded = spade_decoding_check(reader->context, files->statuses, files->messages, files->count);
    if (decoded != SPADE_OK) {
        close_files(files);
        return decoded;
    }
    for (int i = 0; i < count; i++) {
        statuses[i] = make_item(reader, i, &items[i]);
        if (statuses[i] == SPADE_OK) { continue; }
        messages[i] = strdup(spade_message(reader->context));
        spade_image_item_clear(reader->context, &items[i]);
    }
    close_files(files);
    return SPADE_OK;
}

spade_status spade_reader_unchanged(spade_reader *reader, const spade_input *input, const json_t *record,
                                    bool *unchanged)
{
    spade_input_fingerprint now;
    const spade_status status = spade_reader_fingerprint(reader, input, &now);
    *unchanged = status == SPADE_OK && strcmp(spade_json_text_at(record, "xxh128"), now.content) == 0 &&
                 strcmp(spade_json_text_at(record, "mask_xxh128"), now.mask) == 0;
    if (status == SPADE_ERROR_MEMORY) { return status; }
    spade_error_clear(reader->context);
    return SPADE_OK;
}

void spade_reader_close(spade_reader *reader)
{
    close_files(&reader->files);
    spade_array_clear(&reader->array);
    free(reader->array_path);
    reader->array_path = NULL;
}
