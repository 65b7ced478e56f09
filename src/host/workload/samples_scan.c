/* samples_scan.c - once through all tars: which samples there are, and what will not be read. */
#include "base/text.h"
#include "store/store.h"
#include "workload/sample_name.h"
#include "workload/samples.h"

enum { MOST_KINDS = 24, KIND = SAMPLE_SUFFIX + 16 };

/* Members of a kind that are not read. */
typedef struct unread_kind {
    char one[KIND], several[KIND];
    int64_t count;
    int64_t here; /* in the sample at hand, where it is not known yet whether they are */
    char *example;
} unread_kind;

/* Keys of a tar, by their hashes: 0 is an empty place. */
typedef struct key_set {
    uint64_t *hashes;
    size_t capacity, count;
} key_set;

typedef struct scan {
    spade_samples *samples;
    spade_context *context;
    const spade_tar *tar;
    spade_sha256 sha;
    unread_kind kinds[MOST_KINDS];
    int kind_count;
    key_set keys;
    char *key;  /* of the sample at hand; NULL: none */
    int chosen; /* the kind of the member that is its picture; below 0: none is by its name */
    bool inner, mask;
    int texts;
    int64_t repeated; /* keys that are there again, away from their first members */
    char *repeated_key;
    int64_t foreign; /* members whose names are not UTF-8 */
    char *foreign_name;
    int unended; /* tars without the mark of the end */
    const spade_tar *first_unended;
    int joined; /* tars with more behind that mark */
    const spade_tar *first_joined;
} scan;

static spade_status fail_memory(const scan *s)
{
    return spade_fail(s->context, SPADE_ERROR_MEMORY, "%s: out of memory", s->tar->path);
}

/* ---- what is not read */

static spade_status find_kind(scan *s, const char *one, const char *several, const char *example, unread_kind **out)
{
    int k = 0;
    while (k < s->kind_count && strcmp(s->kinds[k].one, one) != 0) { k++; }
    if (k == MOST_KINDS - 1 && k == s->kind_count) { one = several = "of other kinds"; }
    if (k == MOST_KINDS) { k--; }
    *out = &s->kinds[k];
    if (k < s->kind_count) { return SPADE_OK; }
    s->kind_count++;
    snprintf((*out)->one, KIND, "%s", one);
    snprintf((*out)->several, KIND, "%s", several);
    (*out)->example = strdup(example);
    return (*out)->example ? SPADE_OK : fail_memory(s);
}

static spade_status leave(scan *s, const char *one, const char *several, const char *example)
{
    unread_kind *kind;
    SPADE_TRY(find_kind(s, one, several, example, &kind));
    kind->count++;
    return SPADE_OK;
}

/* By its suffix; whether it is read is known at the sample's end. */
static spade_status put_off(scan *s, const char *name, int key, int *kind)
{
    char suffix[SAMPLE_SUFFIX], text[KIND];
    unread_kind *found;
    sample_suffix(name, key, suffix);
    snprintf(text, sizeof text, ".%s", suffix);
    SPADE_TRY(find_kind(s, text, text, name, &found));
    found->here++;
    *kind = (int)(found - s->kinds);
    return SPADE_OK;
}

static void say_unread(const scan *s, const char *path)
{
    char *text = NULL;
    size_t size = 0;
    int said = 0;
    FILE *to = open_memstream(&text, &size);
    for (int i = 0; to && i < s->kind_count; i++) {
        const unread_kind *kind = &s->kinds[i];
        if (!kind->count) { continue; }
        fprintf(to, "%s%lld %s (%s%s)", said++ ? ", " : "", (long long)kind->count,
                kind->count == 1 ? kind->one : kind->several, kind->example, kind->count == 1 ? "" : ", ...");
    }
    const bool made = to && fclose(to) == 0;
    if (made && said) { spade_log(s->context, SPADE_LOG_WARNING, "%s: not read: %s", path, text); }
    free(text);
    if (s->repeated) {
        spade_log(s->context, SPADE_LOG_WARNING,
                  "%s: %lld key%s there again, away from the first members (%s%s): members that do not stand side by "
                  "side, as WebDataset has them, are samples of their own",
                  path, (long long)s->repeated, s->repeated == 1 ? " is" : "s are", s->repeated_key,
                  s->repeated == 1 ? "" : ", ...");
    }
    if (s->foreign) {
        spade_log(s->context, SPADE_LOG_WARNING,
                  "%s: %lld name%s not UTF-8 (%s%s): bytes that are not become ? in the records", path,
                  (long long)s->foreign, s->foreign == 1 ? " is" : "s are", s->foreign_name,
                  s->foreign == 1 ? "" : ", ...");
    }
    if (s->joined) {
        spade_log(s->context, SPADE_LOG_WARNING,
                  "%s: not read: what stands behind the mark of the tar's end%s; `tar -A` joins tars, `cat` does not",
                  s->first_joined->path, s->joined == 1 ? "" : " (others, too)");
    }
    if (s->unended) {
        spade_log(s->context, SPADE_LOG_WARNING, "%s: without the mark of a tar's end: cut off?%s",
                  s->first_unended->path, s->unended == 1 ? "" : " (others, too)");
    }
}

/* ---- keys */

static bool grow_set(key_set *set)
{
    const key_set old = *set;
    set->capacity = old.capacity ? 2 * old.capacity : 1024;
    set->hashes = calloc(set->capacity, sizeof *set->hashes);
    if (!set->hashes) {
        *set = old;
        return false;
    }
    for (size_t i = 0; i < old.capacity; i++) {
        size_t at = old.hashes[i] & (set->capacity - 1);
        if (!old.hashes[i]) { continue; }
        while (set->hashes[at]) { at = (at + 1) & (set->capacity - 1); }
        set->hashes[at] = old.hashes[i];
    }
    free(old.hashes);
    return true;
}

static spade_status note_key(scan *s)
{
    key_set *set = &s->keys;
    uint64_t hash = spade_hash(s->key, strlen(s->key), 0);
    hash += !hash;
    if (2 * set->count >= set->capacity && !grow_set(set)) { return fail_memory(s); }
    size_t at = hash & (set->capacity - 1);
    while (set->hashes[at] && set->hashes[at] != hash) { at = (at + 1) & (set->capacity - 1); }
    if (!set->hashes[at]) {
        set->hashes[at] = hash;
        set->count++;
        return SPADE_OK;
    }
    if (!s->repeated++) { s->repeated_key = strdup(s->key); }
    return s->repeated_key ? SPADE_OK : fail_memory(s);
}

/* ---- samples */

/* What was put off is decided: the picture is read, and where its name says that it is one, no content is looked at. */
static void end_sample(scan *s)
{
    if (!s->key) { return; }
    for (int i = 0; i < s->kind_count; i++) {
        if (s->chosen >= 0) { s->kinds[i].count += s->kinds[i].here - (i == s->chosen); }
        s->kinds[i].here = 0;
    }
    free(s->key);
    s->key = NULL;
}

static spade_status begin_sample(scan *s, const spade_tar_member *member, int key)
{
    spade_samples *samples = s->samples;
    const int64_t count = samples->count;
    end_sample(s);
    s->chosen = -1;
    s->inner = s->mask = false;
    s->texts = 0;
    if (count == SPADE_STORE_MAX_ENTRIES) {
        return spade_fail(s->context, SPADE_ERROR_INPUT, "%s: more than %d samples", s->tar->path,
                          SPADE_STORE_MAX_ENTRIES);
    }
    if ((count & (count - 1)) == 0) { /* room for the next power of two */
        uint64_t *offsets = realloc(samples->offsets, sizeof *offsets * 2 * (size_t)(count + 1));
        if (!offsets) { return fail_memory(s); }
        samples->offsets = offsets;
    }
    samples->offsets[samples->count++] = member->offset;
    s->key = strndup(member->name, (size_t)key);
    return s->key ? note_key(s) : fail_memory(s);
}

static spade_status choose_picture(scan *s, const char *name, int key, bool inner)
{
    int kind;
    SPADE_TRY(put_off(s, name, key, &kind));
    if (s->chosen >= 0 && (inner || !s->inner)) { return SPADE_OK; }
    s->chosen = kind;
    s->inner = inner;
    return SPADE_OK;
}

static spade_status add_member(scan *s, const spade_tar_member *member, sample_role role, int key)
{
    int kind;
    char long_text[KIND], suffix[SAMPLE_SUFFIX];
    switch (role) {
    case SAMPLE_PICTURE:
    case SAMPLE_INNER_PICTURE: return choose_picture(s, member->name, key, role == SAMPLE_INNER_PICTURE);
    case SAMPLE_MASK:
        s->samples->masks = true;
        if (s->mask) { return leave(s, "further mask", "further masks", member->name); }
        s->mask = true;
        return SPADE_OK;
    case SAMPLE_TEXT:
        if (s->texts++ >= SAMPLE_MOST_TEXTS) {
            return leave(s, "text behind the 16th", "texts behind the 16th", member->name);
        }
        return SPADE_OK;
    case SAMPLE_LONG_TEXT:
        sample_suffix(member->name, key, suffix);
        snprintf(long_text, sizeof long_text, ".%s over 64 KiB", suffix);
        return leave(s, long_text, long_text, member->name);
    default: return put_off(s, member->name, key, &kind);
    }
}

static spade_status see_member(scan *s, const spade_tar_member *member)
{
    int key;
    char line[32];
    const sample_role role = sample_role_of(member->name, member->size, &key);
    const int length = snprintf(line, sizeof line, "\n%llu\n", (unsigned long long)member->size);
    spade_sha256_add(&s->sha, member->name, strlen(member->name));
    spade_sha256_add(&s->sha, line, (size_t)length);
    if (member->special) {
        if (strcmp(member->special, "folder") == 0) { return SPADE_OK; }
        const bool link = strcmp(member->special, "link") == 0;
        return leave(s, member->special, link ? "links" : "special files", member->name);
    }
    if (role == SAMPLE_META) { return SPADE_OK; }
    if (!spade_is_utf8(member->name) && !s->foreign++ && !(s->foreign_name = strdup(member->name))) {
        return fail_memory(s);
    }
    if (role == SAMPLE_NO_KEY) { return leave(s, "file of no sample", "files of no sample", member->name); }
    if (!s->key || strlen(s->key) != (size_t)key || strncmp(s->key, member->name, (size_t)key) != 0) {
        SPADE_TRY(begin_sample(s, member, key));
    }
    return add_member(s, member, role, key);
}

static spade_status scan_tar(scan *s, int tar)
{
    spade_tar_stream *stream;
    spade_tar_member member;
    spade_samples *samples = s->samples;
    char line[32];
    s->tar = &samples->tars.items[tar];
    samples->of_tar[tar].first = samples->count;
    const int length = snprintf(line, sizeof line, "\n%llu\n", (unsigned long long)s->tar->size);
    spade_sha256_add(&s->sha, s->tar->name, strlen(s->tar->name));
    spade_sha256_add(&s->sha, line, (size_t)length);
    SPADE_TRY(spade_tar_open(s->context, s->tar, 0, true, &stream));
    bool there = true;
    spade_status status = SPADE_OK;
    for (;;) {
        SPADE_GOTO(spade_tar_next(stream, &member, &there));
        if (!there) { break; }
        SPADE_GOTO(see_member(s, &member));
    }
    samples->of_tar[tar].compressed = stream->compressed;
    spade_log(s->context, SPADE_LOG_INFO, "%s: %lld samples%s", s->tar->path,
              (long long)(samples->count - samples->of_tar[tar].first), stream->compressed ? ", compressed" : "");
    if (spade_tar_goes_on(stream) && !s->joined++) { s->first_joined = s->tar; }
    if (spade_tar_lacks_end(stream) && !s->unended++) { s->first_unended = s->tar; }
done:
    spade_tar_close(stream);
    end_sample(s);
    free(s->keys.hashes);
    s->keys = (key_set){0};
    return status;
}

spade_status spade_samples_scan(spade_samples *samples, const char *path)
{
    scan s = {.samples = samples, .context = samples->context, .chosen = -1};
    const int count = samples->tars.count;
    spade_status status = SPADE_OK;
    spade_sha256_begin(&s.sha);
    for (int i = 0; i < count; i++) { SPADE_GOTO(scan_tar(&s, i)); }
    samples->of_tar[count].first = samples->count;
    samples->scanned = true;
    spade_sha256_end(&s.sha, samples->sha256);
    say_unread(&s, path);
    if (!samples->count) {
        status =
            spade_fail(samples->context, SPADE_ERROR_INPUT,
                       "%s: no sample in it: none of its members is called KEY.SUFFIX, as KEY.jpg and KEY.cls", path);
    }
done:
    for (int i = 0; i < s.kind_count; i++) { free(s.kinds[i].example); }
    free(s.repeated_key);
    free(s.foreign_name);
    return status;
}
