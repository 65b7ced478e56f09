/* main.c - the commands and their help. */
#include "cli/cli.h"

static const cli_command *const commands[] = {
#define COMMAND_ROW(name) &command_##name,
    CLI_COMMANDS(COMMAND_ROW)
#undef COMMAND_ROW
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static void print_overview(FILE *file)
{
    fputs("usage: spade COMMAND [options]\n\nspade explains image classifiers through sparse traces.\n\ncommands:\n",
          file);
    for (int i = 0; i < COMMAND_COUNT; i++) { fprintf(file, "  %-10s %s\n", commands[i]->name, commands[i]->summary); }
    fputs("\nspade COMMAND --help tells more. Exit codes: 0 done, 1 failed, 2 bad usage, 3 some inputs failed, 4 "
          "stopped by\n"
          "a signal.\n",
          file);
}

static const cli_command *find_command(const char *name)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(name, commands[i]->name) == 0) { return commands[i]; }
    }
    return NULL;
}

static int help(int argc, char **argv)
{
    const cli_command *about = argc > 2 ? find_command(argv[2]) : NULL;
    if (argc > 2 && !about) { return cli_usage_error(NULL, "unknown command '%s'", argv[2]); }
    if (about) { return cli_print_help(about, stdout); }
    print_overview(stdout);
    return EXIT_DONE;
}

static int run(int argc, char **argv)
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
        code = options.help ? cli_print_help(command, stdout) : command->run(&options);
    }
    cli_options_clear(&options);
    return code;
}

int main(int argc, char **argv)
{
    cli_start();
    int code = run(argc, argv);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fputs("spade: cannot write to standard output\n", stderr);
        code = code ? code : EXIT_FAILED;
    }
    return code;
}
