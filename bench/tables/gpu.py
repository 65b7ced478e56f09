"""A GPU: traces with many variants, stage by stage, beside the PyTorch peer on the same GPU in the same run."""
import harness
from networks import NETWORKS

TITLE = "Traces on a GPU"
STAGES = ("augment", "forward", "hessian", "factor", "sweep")
VARIANTS = 1024


def rows(name, variants, options):
    runs = harness.stages(name, options, variants=variants, repeat=options.repeat + 1)
    run = harness.middle(runs)  # the first, with everything cold, is the slowest and is not it
    peer = harness.middle(harness.peer(name, variants, options))
    for stage in STAGES:
        ours, theirs = run[stage]["seconds"], peer["stages"][stage]
        yield [NETWORKS[name], stage, harness.seconds(ours), harness.seconds(theirs), harness.times(theirs, ours)]
    yield [NETWORKS[name], "rest", harness.seconds(run["seconds"] - sum(run[stage]["seconds"] for stage in STAGES)), "-", "-"]
    yield [NETWORKS[name], "picture to trace", harness.seconds(run["seconds"]), harness.seconds(peer["seconds"]),
           harness.times(peer["seconds"], run["seconds"])]
    yield [NETWORKS[name], "memory", harness.mib(max(run[stage]["memory"] for stage in STAGES)),
           harness.mib(peer["memory"]), "-"]


def make(options):
    variants = options.variants or VARIANTS
    table = [row for name in NETWORKS for row in rows(name, variants, options)]
    return [f"Device {options.device}, {variants} variants at 224x224, random weights, sparsity {options.sparsity}, all "
            "layers but the first convolution. The peer: float32 with TF32 off. Work on the device is not waited for "
            "stage by stage in spade: seconds of a stage are those of giving the work; the whole is what counts.", "",
            *harness.table(("network", "stage", "spade", "PyTorch peer", "times as fast"), table)]
