/* cmd_status.c - spade status: how far a store is. */
#include "cli/cli.h"

static long long count_in(const json_t *result, const char *object, const char *key)
{
    return json_integer_value(json_object_get(json_object_get(result, object), key));
}

/* "3 h 12 min" */
static void print_time(double seconds)
{
    const double minutes = seconds / 60;
    if (seconds < 90) {
        printf("%.0f s", seconds);
    } else if (minutes < 90) {
        printf("%.0f min", minutes);
    } else if (minutes < 48 * 60) {
        printf("%.0f h %.0f min", (double)(int64_t)(minutes / 60), minutes - 60 * (double)(int64_t)(minutes / 60));
    } else {
        printf("%.1f days", minutes / 60 / 24);
    }
}

static void print_aside(const json_t *aside)
{
    enum { SHOWN = 10 };
    const size_t count = json_array_size(aside);
    if (!count) { return; }
    printf("set aside: shard%s", count == 1 ? "" : "s");
    for (size_t i = 0; i < count && i < SHOWN; i++) {
        printf("%s %lld", i ? "," : "", (long long)json_integer_value(json_array_get(aside, i)));
    }
    printf("%s; annotate --retry tries %s again\n", count > SHOWN ? ", ..." : "", count == 1 ? "it" : "them");
}

static void print_workers(const json_t *workers)
{
    enum { SHOWN = 32 };
    size_t i;
    json_t *worker;
    json_array_foreach(workers, i, worker)
    {
        if (i == SHOWN) { printf("  and %zu more\n", json_array_size(workers) - SHOWN); }
        if (i >= SHOWN) { return; }
        printf("  shard %lld: %lld of %lld, ", (long long)json_integer_value(json_object_get(worker, "shard")),
               (long long)json_integer_value(json_object_get(worker, "done")),
               (long long)json_integer_value(json_object_get(worker, "of")));
        cli_print_text(spade_json_text_at(worker, "host"), 0);
        printf(", process %lld\n", (long long)json_integer_value(json_object_get(worker, "pid")));
    }
}

static void print_status(const json_t *result)
{
    const json_t *rate = json_object_get(result, "rate"), *workers = json_object_get(result, "workers");
    printf("pictures: %lld of %lld done", count_in(result, "pictures", "done"),
           (long long)json_integer_value(json_object_get(result, "entries")));
    if (count_in(result, "pictures", "failed")) { printf(", %lld failed", count_in(result, "pictures", "failed")); }
    printf("\nshards: %lld of %lld done, %lld in the making", count_in(result, "shards", "done"),
           count_in(result, "shards", "all"), count_in(result, "shards", "in_the_making"));
    if (count_in(result, "shards", "interrupted")) {
        printf(", %lld begun that nobody is at", count_in(result, "shards", "interrupted"));
    }
    if (count_in(result, "shards", "lost")) { printf(", %lld whose tar is lost", count_in(result, "shards", "lost")); }
    putchar('\n');
    if (count_in(result, "pictures", "failed")) {
        puts("failed pictures: annotate --retry tries them again; why they failed is in shard-*.done.json, and in the "
             "index of spade merge");
    }
    print_aside(json_object_get(json_object_get(result, "shards"), "set_aside"));
    print_workers(workers);
    if (json_is_number(rate)) {
        printf("rate: %.3g pictures a second, ", json_number_value(rate));
        print_time(spade_json_real_at(result, "seconds_left"));
        puts(" left");
    } else if (count_in(result, "pictures", "left")) {
        puts(json_array_size(workers) ? "rate: not known before a shard is done" : "nobody works on it");
    }
}

static int run(cli_options *options)
{
    cli_progress progress;
    json_t *result;
    int code = EXIT_DONE;
    spade_context *context = cli_context(options, &progress, &code);
    if (!context) { return code; }
    const spade_status status = spade_store_status(context, options->arguments[0], &result);
    if (status != SPADE_OK) {
        code = cli_failure(options, status, spade_message(context));
    } else if (options->json) {
        code = cli_print_json(result);
    } else if (!options->quiet) {
        print_status(result);
    }
    json_decref(result);
    spade_context_destroy(context);
    return code;
}

const cli_command command_status = {
    .name = "status",
    .usage = "status STORE [options]",
    .summary = "How far annotate is with a store.",
    .details = "It reads the store and writes nothing, also while runs are at work on it, here or elsewhere.",
    .options = OPTIONS_COMMON,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
