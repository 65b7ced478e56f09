/* cmd_devices.c - spade devices. */
#include "cli/cli.h"

enum { MAX_DEVICES = 64 };

static int print_device(const spade_device_info *device, bool json)
{
    char bytes[32];
    if (json) {
        json_t *line = json_object();
        spade_json_set(&line, "name", json_string(device->name));
        spade_json_set(&line, "description", spade_json_text(device->description));
        spade_json_set(&line, "memory", json_integer((json_int_t)device->memory));
        spade_json_set(&line, "threads", json_integer(device->threads));
        spade_json_set(&line, "note", spade_json_text(device->note));
        const int code = cli_print_json(line);
        json_decref(line);
        return code;
    }
    printf("%-8s ", device->name);
    cli_print_text(device->description, 0);
    if (device->threads) { printf(", %d thread%s", device->threads, device->threads == 1 ? "" : "s"); }
    if (device->memory) { printf(", %s", spade_format_bytes(device->memory, bytes)); }
    if (device->note[0]) {
        fputs(" (cannot be used: ", stdout);
        cli_print_text(device->note, 0);
        putchar(')');
    }
    putchar('\n');
    return EXIT_DONE;
}

static int run(cli_options *options)
{
    spade_device_info devices[MAX_DEVICES];
    int count = spade_devices(devices, MAX_DEVICES);
    int code = EXIT_DONE;
    for (int i = 0; i < count && i < MAX_DEVICES && code == EXIT_DONE; i++) {
        code = print_device(&devices[i], options->json);
    }
    return code;
}

const cli_command command_devices = {
    .name = "devices",
    .usage = "devices [options]",
    .summary = "The devices that spade can compute on.",
    .options = OPTIONS_COMMON,
    .min_arguments = 0,
    .max_arguments = 0,
    .run = run,
};
