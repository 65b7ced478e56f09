/* samples.c - the rows that are at work: see samples.h. */
#include "workload/samples.h"

#include <ctype.h>

#include "base/text.h"
#include "picture/format.h"
#include "workload/sample_name.h"

#define MOST_PICTURE ((uint64_t)256 << 20) /* as of a file, picture/decode.c */

/* A sample while it is read. */
typedef struct reading {
    spade_samples *samples;
    spade_sample *sample;
    const spade_tar *tar;
    char suffixes[SAMPLE_MOST_MEMBERS]
                 [SAMPLE_SUFFIX]; /* of its members, cut: in messages, and where one is there twice */
    int count;
    sample_role picture; /* of the member that is its picture so far; SAMPLE_NO_KEY: none */
    char *names[2];      /* of the picture's and the mask's members */
    json_t *texts;       /* suffix: content */
    bool foreign_label;  /* its .cls is not UTF-8 */
} reading;

static spade_status fail_memory(const spade_samples *samples, const spade_tar *tar)
{
    return spade_fail(samples->context, SPADE_ERROR_MEMORY, "%s: out of memory", tar->path);
}

/* The sample's own failure, of which the first counts; its name is put before it at the end. */
__attribute__((format(printf, 2, 3))) static spade_status blame(const reading *r, const char *format, ...)
{
    va_list arguments;
    if (r->sample->error) { return SPADE_OK; }
    va_start(arguments, format);
    const int length = vasprintf(&r->sample->error, format, arguments);
    va_end(arguments);
    if (length >= 0) { return SPADE_OK; }
    r->sample->error = NULL;
    return fail_memory(r->samples, r->tar);
}

/* ---- from member to member */

static const spade_tar *tar_at_hand(const spade_samples *samples)
{
    return &samples->tars.items[samples->tar];
}

/* On to the next member of a sample. */
static spade_status advance(spade_samples *samples, int *key)
{
    for (;;) {
        SPADE_TRY(spade_tar_next(samples->stream, &samples->member, &samples->there));
        if (!samples->there) { return SPADE_OK; }
        if (!samples->member.special && sample_role_of(samples->member.name, samples->member.size, key) > SAMPLE_META) {
            return SPADE_OK;
        }
    }
}

static bool has_key(const spade_tar_member *member, int length, const char *key)
{
    return strlen(key) == (size_t)length && strncmp(member->name, key, (size_t)length) == 0;
}

static void close_stream(spade_samples *samples)
{
    spade_tar_close(samples->stream);
    samples->stream = NULL;
    samples->there = false;
}

/* ---- members of a sample */

static void drop(spade_samples *samples, spade_sample *sample, spade_mapping *bytes)
{
    spade_release(samples->context, bytes->size);
    sample->charged -= bytes->size;
    free((void *)(uintptr_t)bytes->data);
    *bytes = (spade_mapping){0};
}

/* The content of the member at hand, of which `first` (malloc'ed, taken over; NULL: nothing) has the beginning. of: what it is, where
 * that is to be said. *out data NULL: the sample is to blame. */
static spade_status read_content(const reading *r, const char *of, uint8_t *first, size_t used, spade_mapping *out)
{
    spade_samples *samples = r->samples;
    const spade_tar_member *member = &samples->member;
    char size[32];
    if (member->size > MOST_PICTURE) {
        free(first);
        return blame(r, "%s%s, the limit is 256 MiB", of, spade_format_bytes(member->size, size));
    }
    const spade_status status = spade_tar_read_rest(samples->stream, &first, &used);
    if (status == SPADE_OK && spade_charge(samples->context, used, "a picture of a tar") == SPADE_OK) {
        *out = (spade_mapping){.data = first, .size = used};
        r->sample->charged += used;
        return SPADE_OK;
    }
    free(first);
    if (status != SPADE_OK) { return status; }
    spade_error_clear(samples->context);
    return blame(r, "%sno memory for %s; --memory may allow more", of, spade_format_bytes(used, size));
}

static spade_status keep_name(const reading *r, char **name)
{
    free(*name);
    *name = strdup(r->samples->member.name);
    return *name ? SPADE_OK : fail_memory(r->samples, r->tar);
}

/* One that is better than what was taken for the picture before. */
static spade_status take_picture(reading *r, sample_role role, uint8_t *first, size_t used)
{
    drop(r->samples, r->sample, &r->sample->bytes.picture);
    r->picture = role;
    const spade_status status = keep_name(r, &r->names[0]);
    if (status == SPADE_OK) { return read_content(r, "", first, used, &r->sample->bytes.picture); }
    free(first);
    return status;
}

/* A picture by its content: nothing else is known to be one yet. */
static spade_status look_into(reading *r)
{
    uint8_t *first = malloc(SPADE_FORMAT_BYTES);
    size_t used = 0;
    if (!first) { return fail_memory(r->samples, r->tar); }
    const spade_status status = spade_tar_read(r->samples->stream, first, SPADE_FORMAT_BYTES, &used);
    if (status == SPADE_OK && spade_picture_format_of(first, used)) {
        return take_picture(r, SAMPLE_OTHER, first, used);
    }
    free(first);
    return status;
}

static spade_status take_mask(reading *r)
{
    if (r->names[1]) { return SPADE_OK; }
    SPADE_TRY(keep_name(r, &r->names[1]));
    return read_content(r, "its mask: ", NULL, 0, &r->sample->bytes.mask);
}

static spade_status take_text(reading *r, const char *suffix)
{
    spade_samples *samples = r->samples;
    uint8_t *text = NULL;
    size_t used = 0;
    if (json_object_size(r->texts) >= SAMPLE_MOST_TEXTS) { return SPADE_OK; }
    spade_status status = spade_tar_read_rest(samples->stream, &text, &used);
    uint8_t *whole = status == SPADE_OK ? realloc(text, used + 1) : NULL;
    if (whole) {
        text = whole;
        text[used] = 0;
        r->foreign_label = r->foreign_label || (strcmp(suffix, "cls") == 0 && !spade_is_utf8((const char *)text));
        for (size_t i = 0; i < used; i++) { text[i] += text[i] ? 0 : (uint8_t)'?'; } /* what cannot be in a text */
        spade_json_set(&r->texts, suffix, spade_json_text((const char *)text));
    }
    free(text);
    if (status == SPADE_OK && (!whole || !r->texts)) { status = fail_memory(samples, r->tar); }
    return status;
}

static spade_status read_member(reading *r, int key)
{
    const spade_tar_member *member = &r->samples->member;
    const sample_role role = sample_role_of(member->name, member->size, &key);
    if (r->count == SAMPLE_MOST_MEMBERS) { return blame(r, "more than 64 members have its key"); }
    char *suffix = r->suffixes[r->count];
    sample_suffix(member->name, key, suffix);
    for (int i = 0; i < r->count; i++) {
        if (strcmp(r->suffixes[i], suffix) == 0) { return blame(r, "two of its members are called .%s", suffix); }
    }
    r->count++;
    if (r->sample->error) { return SPADE_OK; }
    switch (role) {
    case SAMPLE_PICTURE: return r->picture == SAMPLE_PICTURE ? SPADE_OK : take_picture(r, role, NULL, 0);
    case SAMPLE_INNER_PICTURE:
        return r->picture == SAMPLE_PICTURE || r->picture == role ? SPADE_OK : take_picture(r, role, NULL, 0);
    case SAMPLE_MASK: return take_mask(r);
    case SAMPLE_TEXT: return take_text(r, suffix);
    default: return r->picture == SAMPLE_NO_KEY ? look_into(r) : SPADE_OK;
    }
}

/* ---- a sample */

/* A short text in one line, without blanks around it; malloc'ed, *out NULL where it is none. */
static spade_status cut_label(const reading *r, const char *text, char **out)
{
    enum { MOST = 200 };
    *out = NULL;
    while (isspace((unsigned char)*text)) { text++; }
    size_t length = strlen(text);
    while (length && isspace((unsigned char)text[length - 1])) { length--; }
    if (!length || length > MOST || memchr(text, '\n', length)) { return SPADE_OK; }
    *out = strndup(text, length);
    return *out ? SPADE_OK : fail_memory(r->samples, r->tar);
}

/* "label" or "cls" of a JSON object. *is_one: there is neither, or the label is in *out. */
static spade_status find_label_in(const reading *r, const char *text, char **out, bool *is_one)
{
    spade_json_error error;
    spade_status status = SPADE_OK;
    json_t *object = spade_json_parse(text, strlen(text), &error);
    *is_one = false;
    if (!object) { return error.memory ? fail_memory(r->samples, r->tar) : SPADE_OK; }
    const json_t *label = json_object_get(object, "label");
    if (!label || json_is_null(label)) { label = json_object_get(object, "cls"); }
    if (json_is_integer(label)) {
        if (asprintf(out, "%lld", (long long)json_integer_value(label)) < 0) {
            *out = NULL;
            status = fail_memory(r->samples, r->tar);
        }
    } else if (json_is_string(label)) {
        status = cut_label(r, json_string_value(label), out);
    }
    *is_one = *out || (json_is_object(object) && (!label || json_is_null(label)));
    json_decref(object);
    return status;
}

static spade_status find_label(const reading *r)
{
    spade_samples *samples = r->samples;
    char **label = &r->sample->label;
    bool is_one = true;
    spade_status status = SPADE_OK;
    const char *text = json_string_value(json_object_get(r->texts, "cls"));
    if (text) {
        status = r->foreign_label ? SPADE_OK : cut_label(r, text, label);
        is_one = *label != NULL;
    } else {
        text = json_string_value(json_object_get(r->texts, "json"));
        if (text) { status = find_label_in(r, text, label, &is_one); }
    }
    if (status != SPADE_OK || is_one || samples->unlabelled++) { return status; }
    samples->unlabelled_file = strdup(r->sample->file);
    return samples->unlabelled_file ? SPADE_OK : fail_memory(samples, r->tar);
}

/* TAR/NAME, by the tar's path, and by its name for the record. */
static spade_status name_member(const reading *r, const char *column, const char *name, char **path)
{
    json_t **columns = &r->sample->columns;
    char *text;
    free(*path);
    if (asprintf(path, "%s/%s", r->tar->path, name) < 0) {
        *path = NULL;
        return fail_memory(r->samples, r->tar);
    }
    if (asprintf(&text, "%s/%s", r->tar->name, name) < 0) { return fail_memory(r->samples, r->tar); }
    spade_json_set(columns, column, spade_json_text(text));
    free(text);
    return *columns ? SPADE_OK : fail_memory(r->samples, r->tar);
}

static spade_status say_no_picture(const reading *r)
{
    enum { SAID = 8 };
    char list[SAID * (SAMPLE_SUFFIX + 2) + 8] = "";
    size_t at = 0;
    for (int i = 0; i < r->count && i < SAID; i++) {
        at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i ? ", " : "", r->suffixes[i]);
    }
    return blame(r, "none of its members is a picture (%s%s)", list, r->count > SAID ? ", ..." : "");
}

static spade_status name_error(const reading *r)
{
    char *text, **error = &r->sample->error;
    if (!*error) { return SPADE_OK; }
    if (asprintf(&text, "%s: %s", r->sample->file, *error) < 0) { return fail_memory(r->samples, r->tar); }
    free(*error);
    *error = text;
    return SPADE_OK;
}

static spade_status finish(const reading *r)
{
    spade_sample *sample = r->sample;
    const char *suffix;
    json_t *text;
    if (r->names[0]) { SPADE_TRY(name_member(r, "image", r->names[0], &sample->file)); }
    if (r->picture == SAMPLE_NO_KEY) { SPADE_TRY(say_no_picture(r)); }
    SPADE_TRY(name_error(r));
    spade_json_set(&sample->columns, "__key__", spade_json_text(sample->key));
    if (r->names[1]) { SPADE_TRY(name_member(r, "mask", r->names[1], &sample->mask)); }
    SPADE_TRY(find_label(r));
    if (sample->label) { spade_json_set(&sample->columns, "label", spade_json_text(sample->label)); }
    json_object_foreach(r->texts, suffix, text)
    {
        spade_json_set(&sample->columns, suffix, json_incref(text));
    }
    return sample->columns ? SPADE_OK : fail_memory(r->samples, r->tar);
}

/* From the member at hand to that of the next sample. */
static spade_status read_sample(spade_samples *samples, spade_sample *sample)
{
    reading r = {.samples = samples, .sample = sample, .tar = tar_at_hand(samples), .texts = json_object()};
    int key = 0;
    spade_status status = SPADE_OK;
    sample->columns = json_object();
    (void)sample_role_of(samples->member.name, samples->member.size, &key);
    sample->key = strndup(samples->member.name, (size_t)key);
    if (!sample->key || !r.texts) { SPADE_GOTO(fail_memory(samples, r.tar)); }
    SPADE_GOTO(name_member(&r, "image", sample->key, &sample->file)); /* until its picture is found */
    do {
        SPADE_GOTO(read_member(&r, key));
        SPADE_GOTO(advance(samples, &key));
    } while (samples->there && has_key(&samples->member, key, sample->key));
    samples->at++;
    status = finish(&r);
done:
    free(r.names[0]);
    free(r.names[1]);
    json_decref(r.texts);
    return status;
}

static spade_status skip_sample(spade_samples *samples)
{
    int key = 0;
    (void)sample_role_of(samples->member.name, samples->member.size, &key);
    char *own = strndup(samples->member.name, (size_t)key);
    if (!own) { return fail_memory(samples, tar_at_hand(samples)); }
    spade_status status;
    do {
        status = advance(samples, &key);
    } while (status == SPADE_OK && samples->there && has_key(&samples->member, key, own));
    free(own);
    samples->at++;
    return status;
}

/* ---- rows */

static int find_tar(const spade_samples *samples, int64_t row)
{
    int low = 0, high = samples->tars.count - 1; /* the last one that begins at the row or before */
    while (low < high) {
        const int middle = low + (high - low + 1) / 2;
        if (samples->of_tar[middle].first <= row) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

/* The first member of the row's is at hand. */
static spade_status seek(spade_samples *samples, int64_t row)
{
    const int tar = find_tar(samples, row);
    const sample_tar *place = &samples->of_tar[tar];
    const bool here = samples->stream && samples->tar == tar;
    if (!here || row < samples->at || (row > samples->at && !place->compressed)) {
        int key;
        close_stream(samples);
        samples->tar = tar;
        samples->at = place->compressed ? place->first : row;
        SPADE_TRY(spade_tar_open(samples->context, tar_at_hand(samples), place->compressed ? 0 : samples->offsets[row],
                                 false, &samples->stream));
        SPADE_TRY(advance(samples, &key));
    }
    while (samples->there && samples->at < row) { SPADE_TRY(skip_sample(samples)); }
    return samples->there ? SPADE_OK
                          : spade_fail(samples->context, SPADE_ERROR_INPUT, "%s: changed while it was read",
                                       tar_at_hand(samples)->path);
}

static void clear_sample(spade_samples *samples, spade_sample *sample)
{
    spade_release(samples->context, sample->charged);
    free((void *)(uintptr_t)sample->bytes.picture.data);
    free((void *)(uintptr_t)sample->bytes.mask.data);
    free(sample->key);
    free(sample->file);
    free(sample->mask);
    free(sample->label);
    free(sample->error);
    json_decref(sample->columns);
    free(sample);
}

spade_status spade_samples_take(spade_samples *samples, int64_t row, const spade_sample **out)
{
    spade_sample *sample = calloc(1, sizeof *sample);
    *out = NULL;
    if (!sample) { return spade_fail(samples->context, SPADE_ERROR_MEMORY, "out of memory"); }
    sample->row = row;
    spade_status status = seek(samples, row);
    if (status == SPADE_OK) { status = read_sample(samples, sample); }
    if (status != SPADE_OK) {
        clear_sample(samples, sample);
        close_stream(samples);
        return status;
    }
    *(samples->last ? &samples->last->next : &samples->held) = sample;
    samples->last = sample;
    *out = sample;
    return SPADE_OK;
}

const spade_sample *spade_samples_find(const spade_samples *samples, int64_t row)
{
    const spade_sample *sample = samples->held;
    while (sample && sample->row != row) { sample = sample->next; }
    return sample;
}

void spade_samples_release(spade_samples *samples, int64_t row)
{
    spade_sample *before = NULL, *sample = samples->held;
    for (; sample && sample->row != row; sample = sample->next) { before = sample; }
    if (!sample) { return; }
    *(before ? &before->next : &samples->held) = sample->next;
    if (samples->last == sample) { samples->last = before; }
    clear_sample(samples, sample);
}

/* ---- all of it */

spade_status spade_samples_open(spade_context *context, const char *path, spade_tar_list *tars, const char *store,
                                spade_samples *out)
{
    bool known = false;
    spade_status status = SPADE_OK;
    *out = (spade_samples){.context = context, .tars = *tars};
    *tars = (spade_tar_list){0};
    out->of_tar = calloc((size_t)out->tars.count + 1, sizeof *out->of_tar);
    if (!out->of_tar) { SPADE_GOTO(spade_fail(context, SPADE_ERROR_MEMORY, "%s: out of memory", path)); }
    if (store) { SPADE_GOTO(spade_samples_read_index(out, store, &known)); }
    if (!known) { status = spade_samples_scan(out, path); }
done:
    if (status != SPADE_OK) { spade_samples_close(out); }
    return status;
}

void spade_samples_close(spade_samples *samples)
{
    if (!samples->context) { return; }
    if (samples->unlabelled) {
        spade_log(
            samples->context, SPADE_LOG_WARNING,
            "%s%s: no label in .cls or .json, which %s not one line of at most 200 bytes of UTF-8, or a \"label\" or "
            "\"cls\" that is such a text or a whole number (%lld sample%s)",
            samples->unlabelled_file, samples->unlabelled == 1 ? "" : ", ...", samples->unlabelled == 1 ? "is" : "are",
            (long long)samples->unlabelled, samples->unlabelled == 1 ? "" : "s");
    }
    close_stream(samples);
    while (samples->held) { spade_samples_release(samples, samples->held->row); }
    free(samples->of_tar);
    free(samples->offsets);
    free(samples->unlabelled_file);
    spade_tar_list_clear(&samples->tars);
    *samples = (spade_samples){0};
}
