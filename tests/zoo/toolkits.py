#!/usr/bin/env python3
"""Compare spade's maps with those of Captum, zennit and pytorch-grad-cam, of every method that both have, and its metrics with
Quantus's. Where random numbers are drawn, the toolkits are given spade's (spade_random.py).

By hand, in zoo.py's environment, with the toolkits beside it; all three networks take about an hour on two processors:

    zoo/bin/pip install captum zennit grad-cam quantus scikit-learn
    zoo/bin/python tests/zoo/toolkits.py --folder DIR [--spade build/spade] [--networks tv:resnet18,...] [--grep TEXT] [--trace]
                                         [--table FILE.md]

Networks have random weights (networks.py), DIR keeps their files as zoo.py's. --trace compares maps of a trace (sparsity 0.5)
in place of the network's, of networks whose layers are all convolutions and Gemm.

The table has the largest difference between spade's map and the toolkit's in float64, as a share of the largest value. One
above LIMIT has a reason, and the reason is measured:
- rounding: the toolkit's own map moves by as much (a quarter at least) in float32, in rows or channels last (which sum in other
  orders), or in float64 if each weight is moved by a unit in float32's last place;
- kinks: rectifiers whose input is within NEAR of zero, and largest values of a pool that are within NEAR of another
  (toolkit_networks.py): with some of them on the other side, the toolkit's map in float64 is spade's;
- another definition (toolkit_methods.py): told to do as spade does, the toolkit makes spade's map.
A difference without one fails the comparison.
"""
import argparse
import collections
import dataclasses
import datetime
import importlib.metadata
import json
import os
import pathlib
import re
import tempfile
import warnings

import numpy as np
import torch

from checks import Refused, run
from networks import export
from toolkit_methods import COPIES, KINDS, SIGMA, STEPS, TARGET, methods_of
from toolkit_networks import NEAR, apply_nudges, find_nudges, make_input, make_network, original, round_weights

LIMIT = 1e-3
TRACE = ("--sparsity", 0.5, "--variants", 8)
KINKS = collections.defaultdict(list)  # of each network those that were on the other side, where methods of one point look first
PACKAGES = ("torch", "torchvision", "captum", "zennit", "grad-cam", "quantus")


def spade_run(spade, path, x, folder, *options):
    np.save(f"{folder}/x.npy", x.numpy())
    run(spade, "explain", path, f"{folder}/x.npy", "-o", f"{folder}/out", "--resize", "0", "--device", "cpu", "--no-report",
        "--class", TARGET, *options)


def spade_map(spade, path, x, method, trace=False):
    with tempfile.TemporaryDirectory(prefix="toolkits") as folder:
        spade_run(spade, path, x, folder, "--method", method, *(("--no-dense", *TRACE) if trace else ("--no-trace",)))
        return np.load(next(pathlib.Path(folder).glob("out/*/*.npy"))).astype(np.float64)


def toolkit_map(compute, network, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        map_ = compute(network, x.detach().clone().requires_grad_())
    return map_.detach().numpy().astype(np.float64)[0]


class Comparison:
    """Of one method on one network."""

    def __init__(self, name, file, method, ours, weights):
        """file: with the weights that the exporter wrote, or spade trace. weights: the network takes them, None: its own."""
        self.name, self.file, self.method, self.weights = name, file, method, weights
        self.given, self.ours, self.exact = ours, self.shape(ours), self.theirs(method.compute)
        self.difference = self.distance(self.ours)

    def theirs(self, compute, dtype=torch.float64, change=lambda network: network, form=torch.contiguous_format):
        network, side = make_network(self.name, dtype, self.weights)
        x = make_input(side).to(dtype).contiguous(memory_format=form)
        return self.shape(toolkit_map(compute, change(network).to(memory_format=form), x))

    def shape(self, map_):
        """One number a pixel where spade's map has that; from 0 to 1 as pytorch-grad-cam's."""
        if self.method.text.startswith(("lime", "kernel_shap", "occlusion", "gradcam", "layercam", "scorecam")):
            map_ = map_[:1]
        if self.method.toolkit == "grad-cam" and len(map_) == 1:
            map_ = (map_ - map_.min()) / (1e-7 + (map_ - map_.min()).max())
        return map_

    def distance(self, map_, from_=None):
        """From the toolkit's map, or from another one."""
        return np.abs(map_ - (self.exact if from_ is None else from_)).max() / np.abs(self.exact).max()

    def rounding(self):
        """How far the toolkit's own map goes."""
        compute = self.method.compute
        runs = [lambda: self.theirs(compute, torch.float32),
                lambda: self.theirs(compute, torch.float32, form=torch.channels_last),
                lambda: self.theirs(compute, change=round_weights)]
        own = 0
        for run_otherwise in runs:
            if 4 * own < self.difference:
                own = max(own, self.distance(run_otherwise()))
        return own

    def kinks(self):
        """Of the nearest kinks those that bring the toolkit's map to spade's: how many, the farthest, and what is left."""
        compute = self.method.compute
        network, side = make_network(self.name, torch.float64, self.weights)
        x = make_input(side).double()
        nudges = find_nudges(network, self.method.points == 1, lambda net: toolkit_map(compute, net, x))
        known = KINKS[self.name] if self.method.points == 1 else []
        taken, nearest = [], self.exact
        for nudge in sorted(nudges, key=lambda nudge: nudge not in known):
            map_ = self.theirs(compute, change=lambda net, nudge=nudge: apply_nudges(net, taken + [nudge]))
            if np.linalg.norm(self.ours - map_) < 0.99 * np.linalg.norm(self.ours - nearest):
                taken, nearest = taken + [nudge], map_
                if self.distance(self.ours, nearest) < (LIMIT / 10 if self.method.points == 1 else LIMIT):
                    break
        known += taken if self.method.points == 1 else []
        return len(taken), max([nudge.share for nudge in taken], default=0), self.distance(self.ours, nearest)

    def reason(self):
        """(the text, whether it explains the difference)"""
        method = self.method
        if self.difference <= LIMIT:
            return "", True
        if method.other or method.file_weights:
            as_ours = dataclasses.replace(method, compute=method.other or method.compute, other=None, file_weights=False)
            weights = self.file if method.file_weights else self.weights
            told = Comparison(self.name, self.file, as_ours, self.given, weights)
            if told.difference < self.difference / 2:
                text, right = told.reason()
                return f"{method.why}: {told.difference:.1e}" + f" ({text})" * bool(text), right
        own = self.rounding()
        text, right = f"rounding: {own:.1e}", self.difference <= 4 * own
        if method.points == 1 or method.points and not right:
            count, farthest, left = self.kinks()
            if left <= LIMIT:
                return f"{count} kink{'s' * (count > 1)} within {farthest:.0e} on the other side: {left:.1e} ({text})", True
        return text, right


def prepare(spade, name, folder, trace):
    """(the network's file, the file of what is explained, whose weights the toolkits' network takes: None, its own)"""
    path = folder / f"{name.replace(':', '_')}.old.onnx"
    if not path.exists():
        export(name, "old", path)
    if not trace:
        return path, path, None
    sparse = folder / f"{name.replace(':', '_')}.trace.onnx"
    np.save(folder / "x.npy", make_input(original(name)[1]).numpy())
    run(spade, "trace", path, folder / "x.npy", "-o", sparse, "--resize", "0", "--device", "cpu", *TRACE)
    return path, sparse, sparse


def map_rows(arguments, name):
    path, file, weights = prepare(arguments.spade, name, arguments.folder, arguments.trace)
    for method in methods_of(name):
        if not re.search(arguments.grep, f"{method.toolkit} {method.text}"):
            continue
        try:
            ours = spade_map(arguments.spade, path, make_input(original(name)[1]), method.text, arguments.trace)
            comparison = Comparison(name, file, method, ours, weights)
            why, right = comparison.reason()
            difference = f"{comparison.difference:.1e}"
        except Refused as message:
            difference, why, right = "-", str(message), False
        yield f"| {name} | {method.toolkit} | `{method.text}` | {difference} | {why if right else '! ' + why} |", right


# ---- metrics


def masks(side):
    """A disc, and the corner of a picture."""
    row, column = np.mgrid[:side, :side]
    yield (row - side // 2) ** 2 + (column - side // 3) ** 2 < (side // 4) ** 2
    yield (row < side // 2) & (column > side // 3)


def quantus_values(network, x, map_, mask):
    import quantus

    given = {"abs": False, "normalise": False, "disable_warnings": True, "display_progressbar": False}
    batch = {"model": network, "x_batch": x.numpy(), "y_batch": np.array([TARGET]), "a_batch": map_[None, None],
             "s_batch": mask[None, None].astype(int)}
    return {"roc_auc": quantus.AUC(**given)(**batch)[0], "pointing": float(quantus.PointingGame(**given)(**batch)[0])}


def metric_rows(arguments, name):
    """Of the same maps and masks: the largest difference of each metric."""
    from PIL import Image

    path, differences, count = prepare(arguments.spade, name, arguments.folder, False)[0], collections.defaultdict(float), 0
    network, side = make_network(name)
    x = make_input(side)
    for mask in masks(side):
        with tempfile.TemporaryDirectory(prefix="toolkits") as folder:
            Image.fromarray(mask.astype(np.uint8) * 255).save(f"{folder}/mask.png")
            spade_run(arguments.spade, path, x, folder, "--no-trace", "--method", "saliency,input_x_gradient,gradcam,layercam",
                      "--metric", "roc_auc,pointing", "--mask", f"{folder}/mask.png")
            for item in json.loads(pathlib.Path(f"{folder}/out/results.json").read_text())["inputs"][0]["maps"]:
                map_ = np.abs(np.load(f"{folder}/out/{item['dense']['map']}")).max(0)
                for metric, value in quantus_values(network, x, map_, mask).items():
                    differences[metric] = max(differences[metric], abs(value - item["dense"][metric]))
                count += 1
    for metric, difference in differences.items():
        yield f"| {name} | quantus | `{metric}`, {count} maps and masks | {difference:.1e} | |", difference <= LIMIT


# ---- the table


def processor():
    models = re.findall(r"^model name\s*:\s*(.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return f"{models[0] if models else 'unknown'}, {os.cpu_count()} processors"


def header(arguments):
    versions = ", ".join(f"{package} {importlib.metadata.version(package)}" for package in PACKAGES)
    what = "a trace of sparsity 0.5 (8 variants), its weights in the toolkits' network" if arguments.trace else "networks"
    return [f"## Maps of {what}, {datetime.date.today()}", "",
            f"Class {TARGET}, random weights, inputs 224x224; {STEPS} steps, {COPIES} noisy copies of deviation {SIGMA}, spade's "
            "random numbers. Difference: the largest from the toolkit's map in float64, as a share of its largest value (of a "
            f"metric: of its values). Above {LIMIT:g} it has a reason, and behind the colon what is left without it. Rounding: how "
            "far the toolkit's own map goes in float32, in rows and channels last, or of weights rounded otherwise. Kinks: "
            f"rectifiers within {NEAR:g} of zero, as a share of the layer's largest value, and pools with a second value as near "
            "to the first.", "",
            f"Machine: {processor()}. {versions}; {run(arguments.spade, 'version').splitlines()[0]}.", "",
            "| network | toolkit | method | difference | reason |", "|---|---|---|---|---|"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spade", default="build/spade")
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--networks", default=",".join(KINDS))
    parser.add_argument("--grep", default="", help="only lines 'toolkit method' in which this regular expression is found")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--table", type=pathlib.Path, help="DIR/toolkits.md if it is not given")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    lines, wrong = header(arguments), 0
    for name in arguments.networks.split(","):
        rows = [map_rows(arguments, name)]
        if not arguments.trace and re.search(arguments.grep, "quantus roc_auc pointing"):
            rows.append(metric_rows(arguments, name))
        for line, right in (row for part in rows for row in part):
            wrong += not right
            lines.append(line)
            print(line, flush=True)
            (arguments.table or arguments.folder / "toolkits.md").write_text("\n".join(lines) + "\n")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
