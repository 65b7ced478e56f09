/* cmd_version.c - spade version. */
#include "cli/cli.h"

static int run(cli_options *options)
{
    char text[1024], *rest = NULL;
    spade_library_versions(text, sizeof text);
    if (!options->json) {
        printf("spade %s\n%s", spade_version(), text);
        return EXIT_DONE;
    }
    json_t *libraries = json_object();
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *space = strchr(line, ' ');
        if (!space) { continue; }
        *space = 0;
        spade_json_set(&libraries, line, json_string(space + 1));
    }
    json_t *all = json_object();
    spade_json_set(&all, "spade", json_string(spade_version()));
    spade_json_set(&all, "libraries", libraries);
    const int code = cli_print_json(all);
    json_decref(all);
    return code;
}

const cli_command command_version = {
    .name = "version",
    .usage = "version [options]",
    .summary = "Versions of spade and of the libraries it uses.",
    .options = OPTIONS_COMMON,
    .min_arguments = 0,
    .max_arguments = 0,
    .run = run,
};
