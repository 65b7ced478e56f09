/* cmd_devices.c - spade devices. */
#include "cli/cli.h"

enum { MAX_DEVICES = 64 };

static void print_device(const spade_device_info *device, bool json)
{
    char bytes[32];
    if (json) {
        json_t *line =
            json_pack("{s:s, s:s, s:I, s:i, s:s}", "name", device->name, "description", device->description, "memory",
                      (json_int_t)device->memory, "threads", device->threads, "note", device->note);
        cli_print_json(line);
        json_decref(line);
        return;
    }
    printf("%-8s %s", device->name, device->description);
    if (device->threads) { printf(", %d thread%s", device->threads, device->threads == 1 ? "" : "s"); }
    if (device->memory) { printf(", %s", spade_format_bytes(device->memory, bytes)); }
    if (device->note[0]) { printf(" (cannot be used: %s)", device->note); }
    putchar('\n');
}

static int run(cli_options *options)
{
    spade_device_info devices[MAX_DEVICES];
    int count = spade_devices(devices, MAX_DEVICES);
    for (int i = 0; i < count && i < MAX_DEVICES; i++) { print_device(&devices[i], options->json); }
    return EXIT_DONE;
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
