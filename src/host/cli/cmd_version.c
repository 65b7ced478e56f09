/* cmd_version.c - spade version. */
#include "cli/cli.h"

int cmd_version(cli_options *options)
{
    if (!options->json) {
        printf("spade %s\n%s", spade_version(), spade_library_versions());
        size_t length = strlen(spade_library_versions());
        if (length && spade_library_versions()[length - 1] != '\n') { putchar('\n'); }
        return EXIT_DONE;
    }
    json_t *libraries = json_object();
    char *text = strdup(spade_library_versions()), *rest = NULL;
    for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest)) {
        char *space = strchr(line, ' ');
        if (!space) { continue; }
        *space = 0;
        json_object_set_new(libraries, line, json_string(space + 1));
    }
    free(text);
    json_t *all = json_pack("{s:s, s:o}", "spade", spade_version(), "libraries", libraries);
    cli_print_json(all);
    json_decref(all);
    return EXIT_DONE;
}
