"""A GPU: traces with many variants, stage by stage, beside the PyTorch peer on the same GPU in the same run."""
import goals
import harness
from networks import NETWORKS

TITLE = "Traces on a GPU"
STAGES = ("augment", "forward", "hessian", "factor", "sweep")
VARIANTS = 1024


def rows(name, variants, options):
    repeat = options.repeat + 1  # the first, with everything cold, is the slowest and is not the middle one
    whole = harness.middle(harness.stages(name, options, variants=variants, repeat=repeat))
    run = harness.middle(harness.stages(name, options, variants=variants, repeat=repeat, profile=True))
    peer = harness.middle(harness.peer(name, variants, options))
    for stage in STAGES:
        ours, theirs = run[stage]["seconds"], peer["stages"][stage]
        yield [NETWORKS[name], stage, harness.seconds(ours), harness.seconds(theirs), harness.times(theirs, ours)]
    yield [NETWORKS[name], "rest", harness.seconds(run["seconds"] - sum(run[stage]["seconds"] for stage in STAGES)), "-", "-"]
    yield [NETWORKS[name], "all, each waited for", harness.seconds(run["seconds"]), "-", "-"]
    yield [NETWORKS[name], "picture to trace", harness.seconds(whole["seconds"]), harness.seconds(peer["seconds"]),
           harness.times(peer["seconds"], whole["seconds"])]
    yield [NETWORKS[name], "memory", harness.mib(max(whole[stage]["memory"] for stage in STAGES)),
           harness.mib(peer["memory"]), "-"]


def bulk(name, variants, options):
    """Pictures together, and under a budget: the same numbers."""
    checksums = set()
    for together, memory in ((1, 0), (4, 0), (8, 0), (1, 8 << 30), (1, 3 << 30)):
        runs = harness.pictures(name, options, variants=variants, together=together, memory=memory, repeat=options.repeat + 1)
        run = harness.middle(runs)
        checksums |= {line["checksum"] for line in runs}
        yield [NETWORKS[name], together, harness.mib(memory), harness.seconds(run["trace"] / together), harness.seconds(run["map"]),
               harness.giga(1e9 * together / run["seconds"]), harness.mib(run["memory"])]
    if len(checksums) != 1:
        raise SystemExit(f"gpu: {NETWORKS[name]}: weights or map of the first picture depend on memory or company: {checksums}")


def make(options):
    variants = options.variants or VARIANTS
    table = [row for name in NETWORKS for row in rows(name, variants, options)]
    pictures = [row for name in NETWORKS for row in bulk(name, variants, options)]
    return [f"Device {options.device}, {variants} variants at 224x224, random weights, sparsity {options.sparsity}, all "
            "layers but the first convolution. The peer: float32 with TF32 off. Stages are from runs that wait for the "
            "device at both ends of each; picture to trace is from runs that wait where results are needed only, and is "
            "what counts.", "",
            *harness.table(("network", "stage", "spade", "PyTorch peer", "times as fast"), table), "",
            "From picture files to traces and saliency maps, several pictures in one call; weights and map of the first are "
            "the same bytes in all rows of a network.", "",
            *harness.table(("network", "together", "budget", "trace, each", "map", "pictures a second", "memory"), pictures), "",
            "What is aimed at on one H100 80GB (or H200), and what was measured here:", "",
            *harness.table(goals.HEADER, goals.rows(variants, options))]
