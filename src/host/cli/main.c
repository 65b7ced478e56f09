/* main.c - the commands and their help. */
#include "cli/cli.h"

static const cli_command commands[] = {
    {"info", "info MODEL [options]",
     "What is in a model: operators, and its layers with shapes, parameters and operations.", NULL,
     OPTIONS_COMMON | OPTIONS_RUN | OPTIONS_SIZE, 1, 1, cmd_info},
    {"explain", "explain MODEL INPUT... -o DIR [options]",
     "Explain a network's decisions: maps of the dense network and of the trace side by side.",
     "MODEL is an ONNX file. INPUT is a picture (PNG, JPEG, BMP, PNM), a folder of pictures, or a .npy file of\n"
     "inputs that are normalised already, float32 [n,3,H,W]. DIR/report.html shows the results, DIR/results.json\n"
     "and DIR/NAME/ hold them.",
     OPTIONS_COMMON | OPTIONS_RUN | OPTIONS_PICTURE | OPTIONS_TRACE | OPTIONS_MAPS | OPTIONS_OUTPUT, 2, -1,
     cmd_explain},
    {"trace", "trace MODEL [INPUT] -o OUT.onnx|OUT.safetensors [options]", "Write the sparse network of one input.",
     "INPUT is a picture or a .npy file of one normalised input; --batch FILE.npy may stand in its place.",
     OPTIONS_COMMON | OPTIONS_RUN | OPTIONS_PICTURE | OPTIONS_TRACE | OPTIONS_OUTPUT, 1, 2, cmd_trace},
    {"devices", "devices [options]", "The devices that spade can compute on.", NULL, OPTIONS_COMMON, 0, 0, cmd_devices},
    {"version", "version [options]", "Versions of spade and of the libraries it uses.", NULL, OPTIONS_COMMON, 0, 0,
     cmd_version},
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static void print_overview(FILE *file)
{
    fputs("usage: spade COMMAND [options]\n\nspade explains image classifiers through sparse traces.\n\ncommands:\n",
          file);
    for (int i = 0; i < COMMAND_COUNT; i++) { fprintf(file, "  %-10s %s\n", commands[i].name, commands[i].summary); }
    fputs("\nspade COMMAND --help tells more. Exit codes: 0 done, 1 failed, 2 bad usage, 3 some inputs failed, 4 "
          "stopped by\n"
          "a signal.\n",
          file);
}

static const cli_command *find_command(const char *name)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(name, commands[i].name) == 0) { return &commands[i]; }
    }
    return NULL;
}

static int help(int argc, char **argv)
{
    const cli_command *about = argc > 2 ? find_command(argv[2]) : NULL;
    if (argc > 2 && !about) { return cli_usage_error(NULL, "unknown command '%s'", argv[2]); }
    if (about) {
        cli_print_help(about, stdout);
    } else {
        print_overview(stdout);
    }
    return EXIT_DONE;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_overview(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        return help(argc, argv);
    }
    const char *name = strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
    const cli_command *command = find_command(name);
    if (!command) { return cli_usage_error(NULL, "unknown command '%s'", argv[1]); }

    cli_options options;
    int code = EXIT_USAGE;
    if (cli_parse(command, argc - 2, argv + 2, &options)) {
        if (options.help) {
            cli_print_help(command, stdout);
            code = EXIT_DONE;
        } else {
            code = command->run(&options);
        }
    }
    cli_options_clear(&options);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fputs("spade: cannot write to standard output\n", stderr);
        code = code ? code : EXIT_FAILED;
    }
    return code;
}
