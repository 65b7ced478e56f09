"""From the picture to the trace: the command against the PyTorch peer, in one run."""
import os
import statistics

import harness
from networks import NETWORKS, TRACES

TITLE = "Image to trace"


def spade(name, variants, options):
    trace = os.path.join(harness.out, "trace.onnx")
    arguments = [harness.command, "trace", harness.network(name), harness.picture, "--variants", variants, "--sparsity",
                 options.sparsity, "--threads", options.threads, "--quiet", "-o", trace]
    return [harness.run(arguments, options.threads) for _ in range(options.repeat)]


def rows(name, variants, options):
    ours = spade(name, variants, options)
    inside = [run["seconds"] for run in harness.stages(name, options, variants=variants)]
    theirs = harness.peer(name, variants, options)
    entries = [("spade trace, whole process", [run.seconds for run in ours], max(run.resident for run in ours)),
               ("spade, from the library", inside, None),
               ("PyTorch peer", [run["seconds"] for run in theirs], max(run["resident"] for run in theirs))]
    theirs_median = statistics.median(entries[-1][1])
    for program, values, resident in entries:
        yield (NETWORKS[name], variants, program, harness.spread(values), harness.mib(resident),
               harness.times(theirs_median, statistics.median(values)))


def make(options):
    table = [row for name, variants in TRACES for row in rows(name, options.variants or variants, options)]
    return [f"224x224, random weights, sparsity {options.sparsity}, all layers but the first convolution, "
            f"threads: {options.threads}; runs: {options.repeat} of spade, {options.peer_repeat} of the peer.",
            "",
            *harness.table(("network", "variants", "program", "image to trace, median (least - most)", "peak memory",
                            "times as fast as the peer"), table),
            "",
            "The command is timed from its start to its end: it loads the network before the trace and writes the "
            "sparse one after it. The library and the peer are timed from the picture file to sparse weights in "
            "memory, with the network loaded before. The peer updates the columns behind a block at once, the faster "
            "way to write it."]
