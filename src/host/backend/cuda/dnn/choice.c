/* choice.c - the file of timed choices. dnn.h says what is in it and when it is used. */
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "backend/cuda/dnn/dnn.h"

enum { MAX_PATH = 4096, MAX_LINE = 1024, MAX_BYTES = 4 << 20 };
static const char format_line[] = "spade convolutions 1\n";

static bool switched_off(void)
{
    const char *text = getenv("SPADE_CUDA_CACHE");
    return text && strcmp(text, "off") == 0;
}

bool spade_dnn_tunes(void)
{
    const char *text = getenv("SPADE_CUDA_TUNE");
    return text && strcmp(text, "1") == 0 && !switched_off();
}

/* Where the file is; its folder is made where it is missing and `make` says so. false: there is no place for it. */
static bool find_file(bool make, char path[MAX_PATH])
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    bool own = cache && cache[0] == '/'; /* the specification has relative ones ignored */
    if (!own && (!home || home[0] != '/')) { return false; }
    const char *base = own ? cache : home, *below = own ? "" : "/.cache";
    struct stat info;
    if (snprintf(path, MAX_PATH, "%s%s/spade/convolutions", base, below) >= MAX_PATH) { return false; }
    char *name = strrchr(path, '/');
    *name = '\0'; /* the folder */
    if (make) {
        char *last = strrchr(path, '/');
        *last = '\0'; /* the cache folder itself */
        (void)mkdir(path, 0700);
        *last = '/';
        (void)mkdir(path, 0777);
    }
    bool there = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    *name = '/';
    return there;
}

/* "GPU<tab>version<tab>key": what an entry is for. */
static void print_subject(const spade_cuda_device *device, const char *key, char *out, size_t size)
{
    struct cudaDeviceProp properties = {0};
    spade_cuda_ignore_error(cudaGetDeviceProperties(&properties, device->index));
    properties.name[strcspn(properties.name, "\t\n")] = '\0';
    snprintf(out, size, "%s\t%zu\t%s", properties.name, cudnnGetVersion(), key);
}

/* A line without its newline: is it an entry, and for which subject? Cuts the line behind the subject. */
static bool parse_line(char *line, spade_dnn_choice *out)
{
    char *checksum = strrchr(line, '\t'), *end;
    if (!checksum) { return false; }
    errno = 0;
    uint64_t sum = strtoull(checksum + 1, &end, 16);
    if (errno || end != checksum + 17 || *end || sum != spade_hash(line, (size_t)(checksum - line), 0)) {
        return false;
    }
    *checksum = '\0';
    char *engine = strrchr(line, '\t');
    if (!engine) { return false; }
    *engine = '\0';
    char *candidate = strrchr(line, '\t');
    if (!candidate) { return false; }
    *candidate = '\0';
    out->candidate = atoi(candidate + 1);
    out->engine = atoll(engine + 1);
    return out->candidate >= 0 && out->candidate < SPADE_DNN_MAX_TIMED;
}

/* The file's text with a NUL behind it, for the caller to free; NULL: there is none, or none of this format. */
static char *read_text(const char *path)
{
    FILE *file = fopen(path, "rbe");
    if (!file) { return NULL; }
    char *text = malloc(MAX_BYTES + 1);
    size_t size = text ? fread(text, 1, MAX_BYTES + 1, file) : 0;
    fclose(file);
    if (!text || size > MAX_BYTES) {
        free(text);
        return NULL;
    }
    text[size] = '\0';
    if (strncmp(text, format_line, strlen(format_line)) == 0) { return text; }
    free(text);
    return NULL;
}

/* The next whole line behind *at, cut off and copied; false at the end. Overlong lines are passed over. */
static bool next_line(char **at, char line[MAX_LINE])
{
    for (char *end; (end = strchr(*at, '\n')) != NULL;) {
        size_t length = (size_t)(end - *at);
        const char *begin = *at;
        *at = end + 1;
        if (length >= MAX_LINE) { continue; }
        memcpy(line, begin, length);
        line[length] = '\0';
        return true;
    }
    return false;
}

bool spade_dnn_choice_read(const spade_cuda_device *device, const char *key, spade_dnn_choice *out)
{
    char path[MAX_PATH], subject[MAX_LINE], line[MAX_LINE];
    if (switched_off() || !find_file(false, path)) { return false; }
    char *text = read_text(path), *at = text;
    bool found = false;
    if (!text) { return false; }
    print_subject(device, key, subject, sizeof subject);
    while (!found && next_line(&at, line)) { found = parse_line(line, out) && strcmp(line, subject) == 0; }
    free(text);
    return found;
}

/* Every entry of the old text but that of the subject. */
static void copy_others(char *text, const char *subject, FILE *to)
{
    char line[MAX_LINE], cut[MAX_LINE];
    spade_dnn_choice choice;
    while (next_line(&text, line)) {
        memcpy(cut, line, strlen(line) + 1);
        if (parse_line(cut, &choice) && strcmp(cut, subject) != 0) { fprintf(to, "%s\n", line); }
    }
}

/* What went wrong with the file is no failure of the caller's. */
static void warn(spade_context *context)
{
    spade_log(context, SPADE_LOG_WARNING, "timed choices are not kept: %s", spade_message(context));
    spade_error_clear(context);
}

void spade_dnn_choice_write(const spade_cuda_device *device, const char *key, const spade_dnn_choice *choice)
{
    spade_context *context = device->base.context;
    char path[MAX_PATH], subject[MAX_LINE], line[2 * MAX_LINE];
    spade_output output;
    if (!find_file(true, path)) {
        spade_log(context, SPADE_LOG_WARNING, "there is no cache folder: timed choices are not kept");
        return;
    }
    print_subject(device, key, subject, sizeof subject);
    char *slash = strrchr(path, '/');
    *slash = 0;
    spade_sweep_temporaries(path);
    *slash = '/';
    if (spade_output_open(context, path, &output) != SPADE_OK) {
        warn(context);
        return;
    }
    char *old = read_text(path);
    fputs(format_line, output.file);
    if (old) { copy_others(old + strlen(format_line), subject, output.file); }
    free(old);
    int length = snprintf(line, sizeof line, "%s\t%d\t%" PRId64, subject, choice->candidate, choice->engine);
    fprintf(output.file, "%s\t%016" PRIx64 "\n", line, spade_hash(line, (size_t)length, 0));
    if (spade_output_commit(context, &output) != SPADE_OK) { warn(context); }
}
