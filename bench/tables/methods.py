"""Maps made of forward passes beside Captum's, at the number of inputs together that is Captum's fastest."""
import json
import os
import sys

import harness
from networks import NETWORKS

TITLE = "Maps made of forward passes"
NAME, SAMPLES, SEGMENTS = "resnet18", 200, 49
GRID = f":samples={SAMPLES}:superpixels=grid:segments={SEGMENTS}"
METHODS = (("occlusion", "occlusion:window=16:stride=8"), ("lime", "lime" + GRID), ("kernel_shap", "kernel_shap" + GRID))


def ours(method, path, options):
    """Seconds of one map, the network loaded."""
    folder = os.path.join(harness.out, "perturbation")
    harness.run([harness.command, "explain", harness.network(NAME), path, "-o", folder, "--restart", "--no-trace", "--class",
                 "0", "--method", method, "--threads", options.threads, "--device", options.device, "--quiet"],
                options.threads)
    with open(os.path.join(folder, "results.json")) as f:
        return json.load(f)["inputs"][0]["seconds"]["dense_maps"]


def theirs(kind, path, options):
    script = os.path.join(harness.here, "peers", "captum_perturbation.py")
    return harness.run([sys.executable, script, NAME, path, kind, SAMPLES, SEGMENTS, options.threads], options.threads).lines()


def make(options):
    import numpy

    os.makedirs(harness.out, exist_ok=True)
    path = os.path.join(harness.out, "perturbation.npy")
    numpy.save(path, numpy.random.default_rng(0).standard_normal((1, 3, 224, 224), numpy.float32))
    rows = []
    for kind, method in METHODS:
        best, runs = [], []
        for _ in range(options.repeat):  # taking turns
            runs.append(ours(method, path, options))
            best.append(min(theirs(kind, path, options), key=lambda line: line["seconds"]))
        options.versions.add(best[0]["versions"])
        peer = [line["seconds"] for line in best]
        rows.append([f"`{method}`", harness.spread(runs), harness.spread(peer), min(best, key=lambda b: b["seconds"])["together"],
                     harness.times(sorted(peer)[len(peer) // 2], sorted(runs)[len(runs) // 2])])
    return [f"{NETWORKS[NAME]}, 224x224, random weights, threads: {options.threads}; {options.repeat} runs of each, taking turns: "
            "median (least - most).", "",
            *harness.table(("method", "spade", "Captum", "inputs together", "times as fast"), rows), "",
            "spade makes a map [224, 224] with KernelSHAP's coalitions in pairs; it plans the network's pass within these "
            "seconds, which are those of the first map. Captum's LIME is scikit-learn's Lasso."]
