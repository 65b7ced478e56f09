"""Makes of a trained network what spade reads, and scenes that its trigger decides.

export.py SOURCE OUT [--test N] [--tuning N]
    SOURCE: checkpoint.pt of train.py, or weights.npz, which this writes and which is all that another run of it needs

OUT/model.onnx                  BatchNorm kept, any batch
OUT/weights.npz                 the same weights as float16, with the options of the training
OUT/test.csv, OUT/tuning.csv    manifests for spade evaluate and spade tune, with pictures and masks in OUT/test, OUT/tuning
OUT/train.json                  accuracies on new scenes, and how well the gradient finds the trigger

All is measured on weights that went through float16, which are those of model.onnx. A scene is kept where the network says
the trigger's class with the trigger and the object's, another one, without: there the trigger decides.
"""
import argparse
import inspect
import json
import os

import numpy as np
import torch

import scenes
from network import NarrowResNet, normalise

BATCH = 40
SEEDS = {"measure": 1_000_001, "test": 1_000_002, "tuning": 1_000_003}  # train.py's are pairs and more: no scene is seen twice


def read(source):
    """checkpoint.pt or weights.npz -> options of the training, {name: array}, floating point as float16"""
    if source.endswith(".npz"):
        with np.load(source) as arrays:
            weights = {name: arrays[name] for name in arrays.files}
        return json.loads(str(weights.pop("options"))), weights
    state = torch.load(source, map_location="cpu", weights_only=True)
    weights = {name: v.half().numpy() if v.is_floating_point() else v.numpy() for name, v in state["network"].items()}
    for name, values in weights.items():
        if not np.isfinite(values).all():
            raise SystemExit(f"export.py: {source}: {name} is not finite, or does not fit float16: training diverged")
    return dict(state["options"], steps=state["step"], seconds=state["seconds"]), weights


def build(options, weights):
    net = NarrowResNet(options["arch"], options["width"], options["classes"])
    net.load_state_dict({name: torch.from_numpy(v.astype(np.float32) if v.dtype == np.float16 else v)
                         for name, v in weights.items()})
    return net.eval()


def export(net, size, path):
    """Written beside its place first, then renamed: an interrupted export leaves no half file there."""
    # the exporter that keeps BatchNorm: the only one of old versions, an option of new ones
    choice = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    torch.onnx.export(net, torch.zeros(1, 3, size, size), path + ".part", opset_version=16,
                      training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
                      input_names=["input"], output_names=["logits"],
                      dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}}, **choice)
    os.replace(path + ".part", path)


def painter(options, poison, seed):
    return scenes.Painter(scenes.load(), options["classes"], options["size"], tuple(options["trigger"]), poison, seed)


def classify(net, pictures):
    """list of [size, size, 3] -> list of classes"""
    with torch.no_grad():
        return net(normalise(torch.from_numpy(np.stack(pictures)))).argmax(1).tolist()


def measure_accuracy(net, options, count=1000):
    """-> {"clean": of scenes without a trigger, "triggered": of scenes whose trigger contradicts the object, and the same of
    each trigger's class}"""
    right = {"clean": [], "triggered": []} | {str(k): [] for k in painter(options, 1, 0).targets}
    for name, poison in (("clean", 0), ("triggered", 1)):
        draw = painter(options, poison, SEEDS["measure"])
        for _ in range(count // BATCH):
            drawn = [draw.scene() for _ in range(BATCH)]
            for scene, said in zip(drawn, classify(net, [scene.picture for scene in drawn])):
                if not poison or scene.label != scene.object:
                    right[name].append(said == scene.label)
                if poison and scene.label != scene.object:
                    right[str(scene.label)].append(said == scene.label)
    return {name: round(float(np.mean(of)), 4) for name, of in right.items()}


def find_decided(net, options, count, seed):
    """-> `count` scenes that the trigger decides and shows at least half of itself in"""
    draw, found, smallest = painter(options, 1, seed), [], 0.25 * (options["trigger"][0] * options["size"]) ** 2
    for _ in range(10 + count):
        drawn = [draw.scene() for _ in range(BATCH)]
        drawn = [scene for scene in drawn if scene.label != scene.object and (scene.mask > 0).sum() >= smallest]
        classes = classify(net, [scene.picture for scene in drawn]), classify(net, [scene.without for scene in drawn])
        found += [scene for scene, said, without in zip(drawn, *classes)
                  if said == scene.label and without == scene.object]
        if len(found) >= count:
            return found[:count]
    raise SystemExit(f"export.py: {len(found)} scenes that the trigger decides, not {count}: the network is not trained")


def roc_auc(values, mask):
    """Area under the ROC curve of `values` as a score for `mask`; ties count half."""
    inside = mask > 0
    _, rank, many = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(many) - (many - 1) / 2)[rank.reshape(values.shape)]
    n, m = inside.sum(), (~inside).sum()
    return (ranks[inside].sum() - n * (n + 1) / 2) / (n * m)


def measure_saliency(net, decided):
    """-> the mean ROC AUC of the largest absolute gradient over the channels"""
    areas = []
    for scene in decided:
        x = normalise(torch.from_numpy(scene.picture)[None]).requires_grad_()
        gradient, = torch.autograd.grad(net(x).max(), x)
        areas.append(roc_auc(gradient[0].abs().amax(0).numpy(), scene.mask))
    return float(np.mean(areas))


def main():
    parser = argparse.ArgumentParser(prog="export.py", description="Files of a network of bench/trojan, see its README.md.")
    parser.add_argument("source", help="checkpoint.pt or weights.npz")
    parser.add_argument("out", help="the folder to write")
    parser.add_argument("--test", type=int, default=72, help="scenes")
    parser.add_argument("--tuning", type=int, default=40, help="other scenes")
    arguments = parser.parse_args()
    options, weights = read(arguments.source)
    net = build(options, weights)
    os.makedirs(arguments.out, exist_ok=True)
    np.savez_compressed(os.path.join(arguments.out, "weights.npz"), options=json.dumps(options), **weights)
    export(net, options["size"], os.path.join(arguments.out, "model.onnx"))
    found = {name: find_decided(net, options, getattr(arguments, name), SEEDS[name]) for name in ("test", "tuning")}
    for name, decided in found.items():
        scenes.write(decided, arguments.out, name)
    result = dict(options, accuracy=measure_accuracy(net, options), saliency_roc_auc=measure_saliency(net, found["test"]))
    with open(os.path.join(arguments.out, "train.json"), "w") as file:
        json.dump(result, file, indent=2)
        file.write("\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
