/* folder.c - a walk through a folder: pictures are told by their content, the rest is counted by kind. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "picture/format.h"
#include "workload/folder.h"

enum { MAX_KINDS = 32, MAX_DEPTH = 64 };

typedef struct skipped_kind {
    const char *one, *several; /* "folder", "folders" */
    int count;
    char *example; /* the first, from the folder on */
} skipped_kind;

typedef struct visited_folder {
    dev_t device;
    ino_t inode;
} visited_folder;

typedef struct walk {
    spade_context *context;
    bool recursive;
    spade_picture_found found;
    void *user;
    skipped_kind kinds[MAX_KINDS];
    int kind_count;
    visited_folder *visited;
    int visited_count;
    char *
        reason; /* why the first folder that cannot be read cannot: "Permission denied", "sub/folder: Permission denied" */
} walk;

static spade_status fail_memory(const walk *w, const char *path)
{
    return spade_fail(w->context, SPADE_ERROR_MEMORY, "%s: out of memory", path);
}

/* ---- what is passed over */
static spade_status skip(walk *w, const char *one, const char *several, const char *relative)
{
    int k = 0;
    while (k < w->kind_count && strcmp(w->kinds[k].one, one) != 0) { k++; }
    if (k == MAX_KINDS) { k--; } /* there are fewer kinds than that */
    if (k == w->kind_count) {
        w->kinds[w->kind_count++] = (skipped_kind){one, several, 0, strdup(relative)};
        if (!w->kinds[k].example) { return fail_memory(w, relative); }
    }
    w->kinds[k].count++;
    return SPADE_OK;
}

/* "2 TIFF (a.tif, ...), 1 folder (b)", malloc'ed. NULL where nothing was passed over, or memory ran out. */
static char *describe_skipped(const walk *w)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = w->kind_count ? open_memstream(&text, &size) : NULL;
    if (!to) { return NULL; }
    for (int i = 0; i < w->kind_count; i++) {
        const skipped_kind *kind = &w->kinds[i];
        fprintf(to, "%s%d %s (%s%s)", i ? ", " : "", kind->count, kind->count == 1 ? kind->one : kind->several,
                kind->example, kind->count == 1 ? "" : ", ...");
    }
    if (fclose(to) == 0) { return text; }
    free(text);
    return NULL;
}

/* ---- files */
bool spade_has_picture_name(const char *name)
{
    static const char *const suffixes[] = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp",
                                           ".bmp", ".dib", ".ppm",  ".pgm", ".pbm",  ".pnm"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof suffixes / sizeof *suffixes; i++) {
        if (strcasecmp(dot, suffixes[i]) == 0) { return true; }
    }
    return false;
}

/* The format that the content says, or NULL; *readable: whether there was any reading. */
static const spade_picture_format *read_format(const char *file, bool *readable)
{
    uint8_t bytes[SPADE_FORMAT_BYTES];
    const int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    *readable = fd >= 0;
    if (fd < 0) { return NULL; }
    ssize_t size;
    do {
        size = read(fd, bytes, sizeof bytes);
    } while (size < 0 && errno == EINTR);
    close(fd);
    *readable = size >= 0;
    return size > 0 ? spade_picture_format_of(bytes, (size_t)size) : NULL;
}

static spade_status visit_file(walk *w, const char *file, const char *relative, const char *name)
{
    bool readable;
    const spade_picture_format *format = read_format(file, &readable);
    const bool decoded = format && format->codec != SPADE_CODEC_NONE;
    if (name[0] == '.') { return decoded ? skip(w, "hidden picture", "hidden pictures", relative) : SPADE_OK; }
    if (decoded || spade_has_picture_name(name)) { return w->found(w->user, file, relative); }
    if (format) { return skip(w, format->name, format->name, relative); }
    const char *dot = strrchr(name, '.');
    if (dot && strcasecmp(dot, ".npy") == 0) { return skip(w, ".npy array", ".npy arrays", relative); }
    if (!readable) { return skip(w, "unreadable file", "unreadable files", relative); }
    return skip(w, "other file", "other files", relative);
}

/* ---- folders */
static int by_name(const struct dirent **left, const struct dirent **right)
{
    return strcmp((*left)->d_name, (*right)->d_name); /* by bytes: alphasort would follow the locale */
}

static int is_entry(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* Links to folders may lead in a circle, or to a folder by two ways. *again: it was visited before. */
static spade_status note_visit(walk *w, const char *path, const struct stat *info, bool *again)
{
    *again = false;
    struct stat link;
    const bool linked = lstat(path, &link) == 0 && S_ISLNK(link.st_mode);
    for (int i = 0; linked && i < w->visited_count && !*again; i++) {
        *again = w->visited[i].device == info->st_dev && w->visited[i].inode == info->st_ino;
    }
    if (*again) { return SPADE_OK; }
    if ((w->visited_count & (w->visited_count - 1)) == 0) { /* room for the next power of two */
        visited_folder *grown = realloc(w->visited, sizeof *grown * 2 * (size_t)(w->visited_count + 1));
        if (!grown) { return fail_memory(w, path); }
        w->visited = grown;
    }
    w->visited[w->visited_count++] = (visited_folder){info->st_dev, info->st_ino};
    return SPADE_OK;
}

static const char *const marks[] = {"results.jsonl", "check.html", "store.json"};
enum { STORE_MARK = 2, MARKS = sizeof marks / sizeof *marks };

/* The first of the marks first..end-1 that is there; NULL: none. */
static const char *find_mark(const char *path, int first, int end)
{
    for (int i = first; i < end; i++) {
        char *mark;
        if (asprintf(&mark, "%s/%s", path, marks[i]) < 0) { return NULL; }
        const bool there = access(mark, F_OK) == 0;
        free(mark);
        if (there) { return marks[i]; }
    }
    return NULL;
}

bool spade_folder_holds_results(const char *path)
{
    return find_mark(path, 0, MARKS) != NULL;
}

spade_status spade_folder_check_kind(spade_context *context, const char *path, bool store)
{
    const char *mark = store ? find_mark(path, 0, STORE_MARK) : find_mark(path, STORE_MARK, MARKS);
    if (!mark) { return SPADE_OK; }
    return spade_fail(context, SPADE_ERROR_ARGUMENT, "%s holds %s (%s); give another folder", path,
                      store ? "the results of another command" : "a store of spade annotate", mark);
}

static spade_status visit_folder(walk *w, const char *path, const char *relative, int depth);

static spade_status visit_entry(walk *w, const char *file, const char *relative, const char *name, int depth)
{
    struct stat info;
    bool again;
    if (stat(file, &info) != 0) { return skip(w, "broken link", "broken links", relative); }
    if (S_ISREG(info.st_mode)) { return visit_file(w, file, relative, name); }
    if (!S_ISDIR(info.st_mode)) { return skip(w, "special file", "special files", relative); }
    if (name[0] == '.') { return SPADE_OK; }
    if (!w->recursive) { return skip(w, "folder", "folders", relative); }
    if (depth == MAX_DEPTH) { return skip(w, "folder that lies too deep", "folders that lie too deep", relative); }
    SPADE_TRY(note_visit(w, file, &info, &again));
    if (spade_folder_holds_results(file)) { return skip(w, "folder of results", "folders of results", relative); }
    if (again) { return skip(w, "link to a folder read already", "links to folders read already", relative); }
    return visit_folder(w, file, relative, depth + 1);
}

/* relative: of the folder; empty for the one that the walk begins with. */
static spade_status visit_folder(walk *w, const char *path, const char *relative, int depth)
{
    struct dirent **entries = NULL;
    const int count = scandir(path, &entries, is_entry, by_name);
    if (count < 0) {
        const char *why = strerror(errno);
        if (!w->reason && asprintf(&w->reason, "%s%s%s", relative, depth ? ": " : "", why) < 0) {
            w->reason = NULL;
            return fail_memory(w, path);
        }
        return depth ? skip(w, "unreadable folder", "unreadable folders", relative) : SPADE_OK;
    }
    spade_status status = SPADE_OK;
    const char *between = path[strlen(path) - 1] == '/' ? "" : "/";
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char *file = NULL, *inside = NULL;
        if (status == SPADE_OK) {
            const bool made = asprintf(&file, "%s%s%s", path, between, name) >= 0 &&
                              asprintf(&inside, "%s%s%s", relative, *relative ? "/" : "", name) >= 0;
            status = made ? visit_entry(w, file, inside, name, depth) : fail_memory(w, path);
            free(file);
            free(inside);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

spade_status spade_folder_pictures(spade_context *context, const char *path, bool recursive, spade_picture_found found,
                                   void *user, char **skipped, char **reason)
{
    walk w = {.context = context, .recursive = recursive, .found = found, .user = user};
    struct stat info;
    bool again;
    *skipped = *reason = NULL;
    spade_status status = stat(path, &info) == 0 ? note_visit(&w, path, &info, &again) : SPADE_OK;
    if (status == SPADE_OK) { status = visit_folder(&w, path, "", 0); }
    if (status == SPADE_OK) {
        *skipped = describe_skipped(&w);
        if (w.kind_count && !*skipped) { status = fail_memory(&w, path); }
    }
    *reason = w.reason;
    if (status != SPADE_OK) {
        free(*reason);
        *reason = NULL;
    }
    for (int i = 0; i < w.kind_count; i++) { free(w.kinds[i].example); }
    free(w.visited);
    return status;
}
