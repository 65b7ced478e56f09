/*
 * replay.c - a main for a fuzz target without libFuzzer: runs every file, and every file of every folder, once.
 *   fuzz_NAME [FILE | FOLDER]...
 */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz/target.h"

static int count;

static void run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    FUZZ_EXPECT(file, path);
    struct stat info;
    FUZZ_EXPECT(fstat(fileno(file), &info) == 0, path);
    /* As long as the file, so that a sanitizer sees a read beyond its end. */
    uint8_t *bytes = malloc((size_t)info.st_size + (info.st_size == 0));
    FUZZ_EXPECT(bytes && fread(bytes, 1, (size_t)info.st_size, file) == (size_t)info.st_size, path);
    fclose(file);
    fprintf(stderr, "%s: %lld bytes\n", path, (long long)info.st_size);
    (void)LLVMFuzzerTestOneInput(bytes, (size_t)info.st_size);
    free(bytes);
    count++;
}

static void run_folder(const char *path)
{
    struct dirent **entries;
    int found = scandir(path, &entries, NULL, alphasort);
    FUZZ_EXPECT(found >= 0, path);
    for (int i = 0; i < found; i++) {
        char name[4096];
        if (entries[i]->d_name[0] != '.') {
            snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
            run_file(name);
        }
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        struct stat info;
        FUZZ_EXPECT(stat(argv[i], &info) == 0, argv[i]);
        if (S_ISDIR(info.st_mode)) {
            run_folder(argv[i]);
        } else {
            run_file(argv[i]);
        }
    }
    printf("%d inputs\n", count);
    return 0;
}
