"""Where the time of a trace goes: each stage against its operations at this machine's measured peak, and the peer's."""
import harness
from networks import NETWORKS, TRACES

TITLE = "Stages of a trace"
STAGES = {"augment": None, "forward": "float32", "hessian": "float32", "factor": "float64", "sweep": "float64"}


def stage_row(stage, run, theirs, peak):
    seconds, memory = run[stage]["seconds"], run[stage]["memory"]
    cells = ["-"] * 4
    operations = run["operations"].get(stage)
    if operations and seconds > 0:
        limit = operations / peak[STAGES[stage]]
        cells = [harness.giga(operations), harness.giga(operations / seconds), harness.seconds(limit),
                 harness.percent(limit / seconds)]
    return [stage, harness.seconds(seconds), *cells, harness.mib(memory), *against(theirs.get(stage), seconds)]


def against(theirs, ours):
    if theirs is None:
        return ["-", "-"]
    return [harness.seconds(theirs), harness.times(theirs, ours)]


def network_table(name, variants, options):
    run = harness.middle(harness.stages(name, options, variants=variants))
    peer = harness.middle(harness.peer(name, variants, options)) if not options.no_peer else {}
    theirs, peak = peer.get("stages", {}), harness.peak(options)
    rows = [stage_row(stage, run, theirs, peak) for stage in STAGES]
    rest = run["seconds"] - sum(run[stage]["seconds"] for stage in STAGES)
    limit = sum(run["operations"].get(stage, 0) / peak[kind] for stage, kind in STAGES.items() if kind)
    rows.append(["rest", harness.seconds(rest), *["-"] * 7])
    rows.append(["all", harness.seconds(run["seconds"]), "-", "-", harness.seconds(limit),
                 harness.percent(limit / run["seconds"]), f"{harness.mib(run['resident'])} resident",
                 *against(peer.get("seconds"), run["seconds"])])
    direct = run["operations"]["hessian_direct"]
    return [f"## {NETWORKS[name]}, {variants} variants", "",
            *harness.table(("stage", "seconds", "GFLOP", "GFLOP/s", "limit", "share of peak", "memory", "PyTorch peer",
                            "times as fast"), rows),
            "", f"Hessians by their definition (half of the symmetric product): {harness.giga(direct)} GFLOP, "
            f"{harness.seconds(direct / peak['float32'])} at the peak.", ""]


def peak_table(options):
    harness.peak(options)
    sizes = [line for line in options.peaks[options.threads] if "size" in line]
    kinds = sorted({(line["precision"], line["own"]) for line in sizes})
    columns = sorted({line["size"] for line in sizes})
    speed = {(line["precision"], line["own"], line["size"]): line["flops"] for line in sizes}
    rows = [[precision, "a thread each" if own else "all threads",
             *(harness.giga(speed[precision, own, n]) if (precision, own, n) in speed else "-" for n in columns)]
            for precision, own in kinds]
    return ["## Peak", "", "GFLOP/s of square matrix products, the fastest of each size; the peak is the largest.", "",
            *harness.table(("precision", "one product by", *columns), rows)]


def make(options):
    lines = [f"224x224, random weights, sparsity {options.sparsity}, threads: {options.threads}. Limit: the operations "
             "at the measured peak (below). bench/README.md says how to read the columns.", ""]
    for name, variants in TRACES:
        lines += network_table(name, options.variants or variants, options)
    return lines + peak_table(options)
