/* cluster.c - which share of the shards a process has: --shard, or what the cluster that it runs on says of it. */
#include "base/number.h"
#include "cli/cli.h"

/* The variables of a cluster: this process's number, and how many there are. */
typedef struct cluster_variables {
    const char *number, *count, *least,
        *step; /* least, step: numbers need not begin at 0, nor go by 1; NULL: they do */
} cluster_variables;

static const cluster_variables slurm_array = {"SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN",
                                              "SLURM_ARRAY_TASK_STEP"};
/* Of processes that were started together. Under Slurm mpirun's have the variables of what started that, too. */
static const cluster_variables mpi_processes = {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", NULL, NULL};
/* Only srun sets this count: a batch script is one process, and has SLURM_PROCID and SLURM_NTASKS of all that it may start. */
static const cluster_variables slurm_processes = {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", NULL, NULL};

/* False: it is there, and no whole number of at least `least`; a line said so. */
static bool read_variable(const char *name, int64_t least, int64_t otherwise, int64_t *out)
{
    const char *text = name ? getenv(name) : NULL;
    *out = otherwise;
    if (!text || (spade_parse_integer(text, out) && *out >= least)) { return true; }
    char line[300];
    snprintf(line, sizeof line,
             "%s: '%.100s' is not a whole number of at least %lld; --shard i/n says the share instead", name, text,
             (long long)least);
    cli_print_error(line);
    return false;
}

static bool read_share(const cluster_variables *names, cli_share *out)
{
    int64_t number, count, least, step;
    char line[400];
    if (!read_variable(names->number, 0, -1, &number) || !read_variable(names->count, 1, 0, &count) ||
        !read_variable(names->least, 0, 0, &least) || !read_variable(names->step, 1, 1, &step)) {
        return false;
    }
    const int64_t place = (number - least) / step;
    if (number < 0 || !count) {
        snprintf(line, sizeof line, "%s is set without %s; --shard i/n says the share instead",
                 count ? names->count : names->number, count ? names->number : names->count);
    } else if (number < least || (number - least) % step || place >= count) {
        snprintf(line, sizeof line,
                 "%s=%lld is none of %lld tasks from %lld in steps of %lld: an array must be MIN-MAX or MIN-MAX:STEP; "
                 "--shard i/n says the share instead",
                 names->number, (long long)number, (long long)count, (long long)least, (long long)step);
    } else {
        *out = (cli_share){.share = place, .shares = count, .number = names->number, .count = names->count};
        return true;
    }
    cli_print_error(line);
    return false;
}

/* "i/n" */
static bool parse_share(const char *text, cli_share *out)
{
    char number[32];
    const char *slash = strchr(text, '/');
    const size_t length = slash ? (size_t)(slash - text) : 0;
    *out = (cli_share){.share = -1};
    if (!length || length >= sizeof number) { return false; }
    memcpy(number, text, length);
    number[length] = 0;
    return spade_parse_integer(number, &out->share) && spade_parse_integer(slash + 1, &out->shares) &&
           out->share >= 0 && out->share < out->shares;
}

int cli_find_share(const cli_options *options, cli_share *out)
{
    *out = (cli_share){.share = 0, .shares = 1};
    if (options->shard) {
        if (parse_share(options->shard, out)) { return EXIT_DONE; }
        return cli_usage_error(options->command, "--shard: '%s' is not i/n with 0 <= i < n", options->shard);
    }
    const bool array = getenv(slurm_array.number) || getenv(slurm_array.count);
    const bool mpi = getenv(mpi_processes.number) || getenv(mpi_processes.count);
    cli_share processes = *out;
    if (array && !read_share(&slurm_array, out)) { return EXIT_USAGE; }
    if (mpi && !read_share(&mpi_processes, &processes)) { return EXIT_USAGE; }
    if (!mpi && getenv(slurm_processes.count) && !read_share(&slurm_processes, &processes)) { return EXIT_USAGE; }
    if (!array) {
        *out = processes;
    } else if (processes.shares > 1) { /* every task of the array is several processes */
        int64_t shares;
        if (__builtin_mul_overflow(out->shares, processes.shares, &shares)) {
            cli_print_error("more tasks and processes than there are numbers; --shard i/n says the share instead");
            return EXIT_USAGE;
        }
        *out = (cli_share){.share = out->share * processes.shares + processes.share,
                           .shares = shares,
                           .number = out->number,
                           .count = processes.number};
    }
    return EXIT_DONE;
}
