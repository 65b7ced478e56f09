"""What spade aims at on one H100, beside what it does here: one row a goal. tables/gpu.py shows them."""
import os
import statistics
import sys
import tempfile

import harness
from networks import NETWORKS

HEADER = ("work", "seconds", "goal", "reached", "parts")
STAGES = ("augment", "forward", "hessian", "factor", "sweep")


def row(work, value, goal, text=harness.seconds, more="-", least=False):
    """least: the goal is a least number, and not a most."""
    reached = value >= goal if least else value <= goal
    return [work, text(value), ("at least " if least else "") + text(goal), "yes" if reached else "no", more]


def trace(name, precision, goal, variants, options):
    runs = harness.stages(name, options, variants=variants, precision=precision, repeat=options.repeat + 1)
    parts = harness.middle(harness.stages(name, options, variants=variants, precision=precision, repeat=options.repeat + 1, profile=True))
    more = ", ".join(f"{stage} {harness.seconds(parts[stage]['seconds'])}" for stage in STAGES)
    value = harness.middle(runs)["seconds"]
    yield row(f"{NETWORKS[name]}, {variants} variants, {precision}, picture to trace", value, goal, more=more)
    if name == "vit_b_16" and not options.no_peer:
        peer = harness.middle(harness.peer(name, variants, options))["seconds"]
        yield row(f"{NETWORKS[name]}, {precision}: times as fast as PyTorch (float32)", peer / value, 10, "{:.1f}".format, least=True)


def bulk(variants, options):
    runs = harness.pictures("resnet50", options, variants=variants, together=8, precision="bf16", repeat=options.repeat + 1)
    value = 8 / harness.middle(runs)["seconds"]
    yield row("ResNet-50, bf16, 8 pictures in flight, with a saliency map: pictures a second", value, 8, "{:.2f}".format, least=True)


def exact(options):
    with tempfile.TemporaryDirectory() as folder:
        arguments = [harness.command, "trace", harness.network("resnet50"), harness.picture, "--solver", "exact", "--variants",
                     64 if not options.variants else min(64, options.variants), "--device", options.device, "-q", "-o",
                     os.path.join(folder, "trace.onnx")]
        yield row("ResNet-50, exact solver, 64 variants, whole process", harness.run(arguments, options.threads).seconds, 5)


def gradients(options):
    import numpy

    os.makedirs(harness.out, exist_ok=True)
    path = os.path.join(harness.out, "methods.npy")
    numpy.save(path, numpy.random.default_rng(0).standard_normal((1, 3, 224, 224), numpy.float32))
    peer = {}
    if not options.no_peer:
        script = os.path.join(harness.here, "peers", "torch_gradients.py")
        peer = harness.run([sys.executable, script, "resnet50", options.threads, options.repeat, options.device.split(":")[0]],
                           options.threads, **harness.openblas_core()).lines()[-1]["seconds"]
    for precision in ("fp32",) if options.device == "cpu" else ("fp32", "tf32", "bf16"):
        lines = harness.run([harness.program("methods"), harness.network("resnet50"), path, "saliency,smoothgrad:samples=50", "--threads",
                             options.threads, "--repeat", options.repeat, "--device", options.device, "--precision", precision],
                            options.threads).lines()
        one, fifty = (statistics.median(line["seconds"]) for line in lines)
        yield row(f"ResNet-50, {precision}, one saliency map", one, 0.003)
        if precision in peer:
            yield row(f"ResNet-50, {precision}, 50 gradients; the goal: PyTorch's", fifty, statistics.median(peer[precision]))


def guarded(work, rows):
    """One that fails ends itself, and not the others."""
    try:
        yield from rows
    except SystemExit as end:
        yield [work, "failed", "-", "no", str(end).replace("|", "/")]


def rows(variants, options):
    precisions = (("fp32", 0.45),) if options.device == "cpu" else (("fp32", 0.45), ("tf32", 0.25), ("bf16", 0.18))
    for precision, goal in precisions:
        yield from guarded(f"ResNet-50, {precision}", trace("resnet50", precision, goal, variants, options))
    vit = "fp32" if options.device == "cpu" else "tf32"
    yield from guarded(f"ViT-B/16, {vit}", trace("vit_b_16", vit, 0.6, variants, options))
    if options.device != "cpu":
        yield from guarded("in bulk", bulk(variants, options))
    yield from guarded("exact", exact(options))
    yield from guarded("gradients", gradients(options))
