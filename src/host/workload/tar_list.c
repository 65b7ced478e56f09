/* tar_list.c - see tar_list.h. */
#include "workload/tar_list.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"
#include "workload/folder.h"

enum { MAX_TARS = 1000000, MAX_BRACES = 16 };

typedef struct finder {
    spade_context *context;
    const char *asked;
    spade_tar_list *list;
} finder;

static spade_status fail_memory(const finder *f)
{
    return spade_fail(f->context, SPADE_ERROR_MEMORY, "%s: out of memory", f->asked);
}

static bool ends_in(const char *text, const char *end)
{
    const size_t length = strlen(text), n = strlen(end);
    return length > n && strcasecmp(text + length - n, end) == 0;
}

bool spade_is_tar_name(const char *path)
{
    static const char *const endings[] = {".tar",    ".tar.gz", ".tgz",     ".tar.zst", ".tzst",
                                          ".tar.xz", ".txz",    ".tar.bz2", ".tbz2",    ".tar.lz4"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (ends_in(path, endings[i])) { return true; }
    }
    return false;
}

/* A tar of another name: by the mark of POSIX and GNU headers. */
static bool begins_as_tar(const char *path)
{
    enum { MARK = 257 };
    char mark[5];
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    const bool is = file >= 0 && pread(file, mark, sizeof mark, MARK) == sizeof mark && memcmp(mark, "ustar", 5) == 0;
    if (file >= 0) { close(file); }
    return is;
}

/* A shard of a store, which lies beside its record: maps are no pictures. */
static bool is_shard(const char *path)
{
    int64_t shard;
    const char *suffix, *slash = strrchr(path, '/');
    char *record;
    const size_t folder = slash ? (size_t)(slash - path) + 1 : 0;
    if (!spade_store_parse_name(path + folder, &shard, &suffix) || strcmp(suffix, SPADE_SHARD_TAR) != 0) {
        return false;
    }
    if (asprintf(&record, "%.*s" SPADE_SHARD_DONE, (int)(suffix - path), path) < 0) { return false; }
    const bool is = access(record, F_OK) == 0;
    free(record);
    return is;
}

static spade_status add(const finder *f, const char *path)
{
    struct stat info;
    spade_tar_list *list = f->list;
    const char *slash = strrchr(path, '/');
    if (stat(path, &info) != 0) { return spade_fail(f->context, SPADE_ERROR_INPUT, "%s: %s", path, strerror(errno)); }
    if (!S_ISREG(info.st_mode) || !(spade_is_tar_name(path) || begins_as_tar(path))) {
        return spade_fail(f->context, SPADE_ERROR_INPUT, "%s: no tar; a pattern of files is one of tars", path);
    }
    if (is_shard(path)) {
        return spade_fail(f->context, SPADE_ERROR_INPUT, "%s: a shard of results of spade annotate, not of pictures",
                          path);
    }
    if (list->count == MAX_TARS) {
        return spade_fail(f->context, SPADE_ERROR_INPUT, "%s: more than %d tars", f->asked, MAX_TARS);
    }
    if ((list->count & (list->count - 1)) == 0) { /* room for the next power of two */
        spade_tar *items = realloc(list->items, sizeof *items * 2 * (size_t)(list->count + 1));
        if (!items) { return fail_memory(f); }
        list->items = items;
    }
    char *copy = strdup(path);
    if (!copy) { return fail_memory(f); }
    list->items[list->count++] =
        (spade_tar){.path = copy,
                    .name = slash ? copy + (slash - path) + 1 : copy,
                    .size = (uint64_t)info.st_size,
                    .modified = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec,
                    .device = (uint64_t)info.st_dev,
                    .inode = (uint64_t)info.st_ino};
    return SPADE_OK;
}

/* ---- patterns */

static int by_text(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right); /* by bytes: glob's own order is the locale's */
}

static spade_status add_matches(const finder *f, const char *pattern)
{
    glob_t found = {0};
    const int code = glob(pattern, GLOB_NOSORT | GLOB_ERR, NULL, &found);
    spade_status status = SPADE_OK;
    if (code == GLOB_NOSPACE) {
        status = fail_memory(f);
    } else if (code != 0) {
        status = spade_fail(f->context, SPADE_ERROR_INPUT, "%s: %s", pattern,
                            code == GLOB_NOMATCH ? "there is no such file" : "a folder in it cannot be read");
    } else {
        qsort((void *)found.gl_pathv, found.gl_pathc, sizeof *found.gl_pathv, by_text);
        for (size_t i = 0; i < found.gl_pathc && status == SPADE_OK; i++) { status = add(f, found.gl_pathv[i]); }
    }
    globfree(&found);
    return status;
}

/* What one pattern without braces names. */
static spade_status add_named(const finder *f, const char *path)
{
    return access(path, F_OK) != 0 && strpbrk(path, "*?[") ? add_matches(f, path) : add(f, path);
}

/* A pair of braces; inside: of what stands between them, `length` characters. */
typedef struct braces {
    const char *inside;
    int length;
    bool range;
    long long first, last, step; /* of a range */
    int width;                   /* digits, with zeros before; 0: as many as there are */
} braces;

static int digits(const char *text)
{
    const int sign = *text == '-';
    int n = sign;
    while (isdigit((unsigned char)text[n])) { n++; }
    return n > sign && n - sign <= 18 ? n : 0;
}

/* 000000..000009, 0..100..10 */
static bool read_range(braces *b)
{
    const int n = digits(b->inside);
    if (!n || strncmp(b->inside + n, "..", 2) != 0) { return false; }
    const char *second = b->inside + n + 2;
    const int m = digits(second);
    const char *end = second + m;
    if (!m) { return false; }
    b->first = strtoll(b->inside, NULL, 10);
    b->last = strtoll(second, NULL, 10);
    b->step = 1;
    if (strncmp(end, "..", 2) == 0 && digits(end + 2)) {
        b->step = llabs(strtoll(end + 2, NULL, 10));
        end += 2 + digits(end + 2);
    }
    const bool zeros = (n > 1 && *b->inside == '0') || (m > 1 && *second == '0');
    b->width = zeros ? n > m ? n : m : 0;
    return end == b->inside + b->length && b->step > 0;
}

/* What stands between braces up to the comma outside of inner ones, or to the end. */
static int item_length(const char *text, int length)
{
    int depth = 0, n = 0;
    for (; n < length && (depth || text[n] != ','); n++) { depth += (text[n] == '{') - (text[n] == '}'); }
    return n;
}

/* The first pair that is a range or a list; false: there is none. */
static bool find_braces(const char *text, braces *out)
{
    for (const char *at = text; (at = strchr(at, '{')); at++) {
        int depth = 1, n = 1;
        for (; at[n] && depth; n++) { depth += (at[n] == '{') - (at[n] == '}'); }
        if (depth) { continue; }
        *out = (braces){.inside = at + 1, .length = n - 2};
        out->range = read_range(out);
        if (out->range || item_length(out->inside, out->length) < out->length) { return true; }
    }
    return false;
}

static spade_status expand(const finder *f, const char *text, int depth);

/* The text with this in the place of the braces. */
static spade_status expand_with(const finder *f, const char *text, const braces *b, const char *item, int length,
                                int depth)
{
    char *whole;
    if (asprintf(&whole, "%.*s%.*s%s", (int)(b->inside - 1 - text), text, length, item, b->inside + b->length + 1) <
        0) {
        return fail_memory(f);
    }
    const spade_status status = expand(f, whole, depth + 1);
    free(whole);
    return status;
}

/* Every tar that the text with braces names, in their order. */
static spade_status expand(const finder *f, const char *text, int depth)
{
    braces b;
    if (!find_braces(text, &b)) { return add_named(f, text); }
    if (depth == MAX_BRACES) {
        return spade_fail(f->context, SPADE_ERROR_INPUT, "%s: more than %d pairs of braces", f->asked, MAX_BRACES);
    }
    if (b.range) {
        const long long step = b.first <= b.last ? b.step : -b.step;
        for (long long i = b.first; step > 0 ? i <= b.last : i >= b.last; i += step) {
            char number[32];
            const int length = snprintf(number, sizeof number, "%0*lld", b.width, i);
            SPADE_TRY(expand_with(f, text, &b, number, length, depth));
        }
        return SPADE_OK;
    }
    for (int at = 0; at <= b.length;) {
        const int length = item_length(b.inside + at, b.length - at);
        SPADE_TRY(expand_with(f, text, &b, b.inside + at, length, depth));
        at += length + 1;
    }
    return SPADE_OK;
}

/* ---- a folder */

typedef struct folder_content {
    struct dirent **entries;
    int count, tars, folders;
    const char *other; /* the first file that is no tar */
    int others;
} folder_content;

static int is_shown(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static int by_name(const struct dirent **left, const struct dirent **right)
{
    return strcmp((*left)->d_name, (*right)->d_name);
}

static spade_status look(const finder *f, const char *folder, folder_content *out)
{
    for (int i = 0; i < out->count; i++) {
        const char *name = out->entries[i]->d_name;
        struct stat info;
        char *path;
        if (asprintf(&path, "%s/%s", folder, name) < 0) { return fail_memory(f); }
        const bool there = stat(path, &info) == 0, tar = there && S_ISREG(info.st_mode) && spade_is_tar_name(name);
        const bool results = there && S_ISDIR(info.st_mode) && spade_folder_holds_results(path);
        free(path);
        if (results) { continue; } /* also the store of these tars */
        out->folders += there && S_ISDIR(info.st_mode);
        out->tars += tar;
        if (!tar && !out->others++) { out->other = name; }
    }
    return SPADE_OK;
}

static spade_status add_tars(const finder *f, const char *folder, const folder_content *content)
{
    for (int i = 0; i < content->count; i++) {
        char *path;
        if (!spade_is_tar_name(content->entries[i]->d_name)) { continue; }
        const char *between = folder[strlen(folder) - 1] == '/' ? "" : "/";
        if (asprintf(&path, "%s%s%s", folder, between, content->entries[i]->d_name) < 0) { return fail_memory(f); }
        const spade_status status = add(f, path);
        free(path);
        SPADE_TRY(status);
    }
    if (content->others) {
        spade_log(f->context, SPADE_LOG_WARNING, "%s: not read: %d %s beside the tars (%s%s)", folder, content->others,
                  content->others == 1 ? "file" : "files", content->other, content->others == 1 ? "" : ", ...");
    }
    return SPADE_OK;
}

/* One with folders in it is a tree of classes. */
static spade_status find_in_folder(const finder *f, const char *folder)
{
    folder_content content = {0};
    content.count = scandir(folder, &content.entries, is_shown, by_name);
    if (content.count < 0) { return SPADE_OK; } /* whoever reads it as a tree says why */
    spade_status status = look(f, folder, &content);
    if (status == SPADE_OK && content.tars && !content.folders) { status = add_tars(f, folder, &content); }
    if (status == SPADE_OK && content.tars && content.folders) {
        spade_log(
            f->context, SPADE_LOG_WARNING,
            "%s: has folders, and is taken for one of pictures: of %d tar%s nothing is read; '%s/*.tar' are tars only",
            folder, content.tars, content.tars == 1 ? "" : "s", folder);
    }
    for (int i = 0; i < content.count; i++) { free(content.entries[i]); }
    free(content.entries);
    return status;
}

static int by_file(const void *left, const void *right)
{
    const spade_tar *a = *(const spade_tar *const *)left, *b = *(const spade_tar *const *)right;
    if (a->device != b->device) { return a->device < b->device ? -1 : 1; }
    return (a->inode > b->inode) - (a->inode < b->inode);
}

/* One that is there twice, by its name or through a link: its samples are, too. */
static spade_status warn_of_twins(const finder *f)
{
    const spade_tar_list *list = f->list;
    const spade_tar **tars = malloc(sizeof *tars * (size_t)list->count);
    int count = 0, first = 0;
    if (!tars) { return fail_memory(f); }
    for (int i = 0; i < list->count; i++) { tars[i] = &list->items[i]; }
    qsort(tars, (size_t)list->count, sizeof *tars, by_file);
    for (int i = 1; i < list->count; i++) {
        if (by_file(&tars[i - 1], &tars[i]) == 0 && !count++) { first = i; }
    }
    if (count) {
        spade_log(f->context, SPADE_LOG_WARNING, "%s: %d tar%s there twice (%s is %s): so are their samples", f->asked,
                  count, count == 1 ? " is" : "s are", tars[first]->path, tars[first - 1]->path);
    }
    free(tars);
    return SPADE_OK;
}

spade_status spade_tar_list_find(spade_context *context, const char *path, spade_tar_list *out)
{
    const finder f = {context, path, out};
    struct stat info;
    braces b;
    spade_status status = SPADE_OK;
    *out = (spade_tar_list){0};
    if (stat(path, &info) == 0) {
        if (S_ISDIR(info.st_mode)) {
            status = find_in_folder(&f, path);
        } else if (S_ISREG(info.st_mode) && (spade_is_tar_name(path) || begins_as_tar(path))) {
            status = add(&f, path);
        }
    } else if (strstr(path, "://") || strncmp(path, "pipe:", 5) == 0) {
        status = spade_fail(context, SPADE_ERROR_INPUT, "%s: only files are read; fetch the tars first", path);
    } else if (find_braces(path, &b) || strpbrk(path, "*?[")) {
        status = expand(&f, path, 0);
    }
    if (status == SPADE_OK && out->count > 1) { status = warn_of_twins(&f); }
    if (status != SPADE_OK) { spade_tar_list_clear(out); }
    return status;
}

void spade_tar_list_clear(spade_tar_list *list)
{
    for (int i = 0; i < list->count; i++) { free(list->items[i].path); }
    free(list->items);
    *list = (spade_tar_list){0};
}
