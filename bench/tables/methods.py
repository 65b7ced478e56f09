"""Maps of one picture beside Captum's at its fastest settings; and what methods save that share a walk."""
import json
import os
import statistics
import sys

import harness
from networks import NETWORKS

TITLE = "Maps of one picture"
NAME = "resnet18"
GRID = ":samples=200:superpixels=grid:segments=49"
# method, forward and backward passes of an input that its definition needs
METHODS = (("saliency", 1, 1), ("integrated_gradients:steps=50", 50, 50), ("gradient_shap:samples=20", 20, 20),
           ("occlusion:window=16:stride=8", 730, 0), ("lime" + GRID, 200, 0), ("kernel_shap" + GRID, 202, 0),
           ("deeplift:compat=captum", 2, 2))
# made together, and at most what share of the sum of their single times that may take
SHARED = (("saliency,input_x_gradient,gradcam,gradcam++,layercam,guided_gradcam,guided_backprop,deconvolution", 0.8),
          ("smoothgrad:samples=20,smoothgrad_squared:samples=20,vargrad:samples=20", 0.4))
QUICK = 5  # as many maps of the methods that take no second


def kind(method):
    return method.split(":")[0]


def is_quick(method):
    return kind(method) in ("saliency", "deeplift")


def ours(path, methods, options, repeat, *more):
    """bench_methods -> its lines, by method"""
    lines = harness.run([harness.program("methods"), harness.network(NAME), path, ",".join(methods), "--threads",
                         options.threads, "--repeat", repeat, "--device", options.device, *more], options.threads).lines()
    return {line["method"]: line for line in lines}


def theirs(path, methods, options, repeat, settings=()):
    script = os.path.join(harness.here, "peers", "captum_methods.py")
    arguments = [sys.executable, script, NAME, path, ",".join(map(kind, methods)), options.threads, repeat, *settings]
    return harness.run(arguments, options.threads, **harness.openblas_core()).lines()


def best_settings(path, options):
    """Of each method the setting whose map was the fastest."""
    lines, best = theirs(path, [method for method, *_ in METHODS], options, 1), {}
    for line in lines:
        if line["method"] not in best or min(line["seconds"]) < min(best[line["method"]]["seconds"]):
            best[line["method"]] = line
    options.versions.add(lines[0]["versions"])
    return [best[kind(method)]["setting"] for method, *_ in METHODS]


def compare(path, options):
    """Taking turns, method by method -> rows."""
    settings, rows = best_settings(path, options), []
    operations = json.loads(harness.run([harness.command, "info", harness.network(NAME), "--json"], 1).output)["operations"]
    for (method, forward, backward), setting in zip(METHODS, settings):
        limit = (forward + backward) * operations / harness.peak(options)["float32"]
        repeat, own, first, peer = QUICK if is_quick(method) else 1, [], [], []
        for _ in range(options.repeat):
            line = ours(path, [method], options, repeat)[method]
            own += line["seconds"]
            first.append(line["first"])
            peer += theirs(path, [method], options, repeat, [setting])[0]["seconds"]
        rows.append([f"`{method}`", harness.spread(own), harness.seconds(statistics.median(first)), harness.spread(peer),
                     setting, harness.times(statistics.median(peer), statistics.median(own)), harness.seconds(limit)])
    return rows


def share(path, options):
    rows = []
    for methods, most in SHARED:
        lines = ours(path, methods.split(","), options, options.repeat, "--together")
        together = lines.pop("together")["seconds"]
        singles = [sum(line["seconds"][i] for line in lines.values()) for i in range(options.repeat)]
        ratio = statistics.median(a / b for a, b in zip(together, singles))
        rows.append([methods.replace(",", ", "), harness.spread(singles), harness.spread(together), f"{ratio:.2f}", most])
    return rows


NOTE = ("The first map also plans the network's pass and packs its weights. Captum's setting: memory format of network and input, "
        "inputs together; the fastest of those that `peers/captum_methods.py` knows. Its LIME is scikit-learn's Lasso. At the peak: "
        "the operations of convolutions and linear layers in the passes that the definition asks for, at the speed of a large sgemm.")


def make(options):
    import numpy

    os.makedirs(harness.out, exist_ok=True)
    path = os.path.join(harness.out, "methods.npy")
    numpy.save(path, numpy.random.default_rng(0).standard_normal((1, 3, 224, 224), numpy.float32))
    header = ("method", "spade", "first map", "Captum", "its setting", "times as fast", "at the peak")
    return [f"{NETWORKS[NAME]}, 224x224, random weights, threads: {options.threads}; {options.repeat} runs of each, taking turns: "
            "median (least - most).", "", *harness.table(header, compare(path, options)), "", NOTE, "",
            "Maps of one picture made together, as those of one `--method` list are:", "",
            *harness.table(("methods", "sum of single maps", "together", "share", "at most"), share(path, options))]
