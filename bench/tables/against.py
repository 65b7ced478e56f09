"""This build against another one (--old BUILD), in one run, alternating: is a change faster, slower, or neither?"""
import os
import statistics
import subprocess

import harness
from networks import NETWORKS, TRACES

TITLE = "This build against another"
STAGES = ("augment", "forward", "hessian", "factor", "sweep")


def loads(build, name):
    """Whether that build takes the network: an older one may lack its operators."""
    return subprocess.run([os.path.join(build, "spade"), "info", harness.network(name)], capture_output=True).returncode == 0


def stages(build, name, variants, options):
    arguments = [os.path.join(build, "bench", "bench_stages"), harness.network(name), harness.picture,
                 f"--variants={variants}", f"--sparsity={options.sparsity}", f"--threads={options.threads}", "--repeat=1"]
    if options.device != "cpu":
        arguments.append(f"--device={options.device}")
    return harness.run(arguments, options.threads).lines()[-1]


def command(build, name, variants, options):
    """The whole process: `spade trace` from the picture to the file."""
    target = os.path.join(harness.out, "against.safetensors")
    arguments = [os.path.join(build, "spade"), "trace", harness.network(name), harness.picture, "-o", target, "--quiet",
                 "--variants", variants, "--sparsity", options.sparsity, "--threads", options.threads,
                 "--device", options.device]
    return harness.run(arguments, options.threads).seconds


def row(what, old, new):
    ratio = [b / a for a, b in zip(old, new)]
    change = statistics.median(new) / statistics.median(old) - 1
    return [what, harness.spread(old), harness.spread(new), f"{100 * change:+.1f} %",
            f"{100 * (statistics.median(ratio) - 1):+.1f} %"]


def network_table(name, variants, options):
    builds = {"old": os.path.abspath(options.old), "new": harness.build}
    runs = {"old": [], "new": []}
    whole = {"old": [], "new": []}
    for i in range(options.repeat + 1):  # the first pair fills the caches
        for which in ("old", "new") if i % 2 else ("new", "old"):
            run = stages(builds[which], name, variants, options)
            seconds = command(builds[which], name, variants, options)
            if i:
                runs[which].append(run)
                whole[which].append(seconds)
    rows = [row(stage, *([run[stage]["seconds"] for run in runs[which]] for which in builds)) for stage in STAGES]
    rows.append(row("picture to trace", *([run["seconds"] for run in runs[which]] for which in builds)))
    rows.append(row("spade trace, whole process", whole["old"], whole["new"]))
    return [f"## {NETWORKS[name]}, {variants} variants", "",
            *harness.table(("", "other build", "this build", "of medians", "median of pairs"), rows), ""]


def make(options):
    lines = [f"224x224, random weights, sparsity {options.sparsity}, threads: {options.threads}; {options.repeat} runs of each, "
             "taking turns: median (least - most).", ""]
    for name, variants in TRACES:
        if not loads(os.path.abspath(options.old), name):
            lines += [f"{NETWORKS[name]}: the other build does not load it.", ""]
            continue
        lines += network_table(name, options.variants or variants, options)
    return lines
