#!/usr/bin/env python3
"""Maps of layers and of attention on the small networks (small.py), for tests/golden/test_inner_maps_devices.c.

PyTorch in float64 gives values and gradients inside of a network; what the methods make of them is written down here once more,
in NumPy, from their definitions. NAME.maps.npy holds [methods, classes, height * width] one after another, of the methods that
NAME.maps.txt names, a line each.

    python3 tests/zoo/export_maps.py tests/golden/data/exports
"""
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import small

CLASSES = (0, 3)
# Layers by name; the first one is what no name gives.
LAYERS = {"resnet": ["features.3", "features.2", "features.1"], "mobilenet": ["features.3"], "inception": ["features.4"],
          "norms": ["features.8"], "convnext": ["features.6", "features.3"], "swin": ["norm", "blocks.0.norm1"],
          "vit": ["blocks.1.norm1", "blocks.0.norm2"], "vit_multihead": ["blocks.0.norm1"], "mixer": ["norm"]}
ATTENTION = {"vit": ["", ":block=1", ":block=blocks.0", ":head=1", ":block=0:head=0"], "vit_multihead": ["", ":head=2"]}
ROLLOUT = ["", ":fuse=max", ":fuse=min", ":discard=0.6", ":fuse=max:discard=0.9"]


# ---- methods, from values A and gradients G [channels, height, width]
def gradcam(a, g, **_):
    return np.maximum(np.einsum("chw,c->hw", a, g.mean((1, 2))), 0)


def gradcam_plus_plus(a, g, epsilon=0.0):
    alpha = np.zeros_like(g)
    below = 2 * g**2 + a.sum((1, 2), keepdims=True) * g**3 + epsilon
    alpha[g != 0] = (g**2 / np.where(g != 0, below, 1))[g != 0]
    return np.maximum(np.einsum("chw,c->hw", a, (alpha * np.maximum(g, 0)).sum((1, 2))), 0)


def layercam(a, g, **_):
    return np.maximum((np.maximum(g, 0) * a).sum(0), 0)


def enlarge(map_, size):
    """Bilinear; pixels are squares whose outer edges coincide."""
    for axis in (0, 1):
        old = map_.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, old - 1)
        share = (at - low).reshape(-1, 1) if axis == 0 else at - low
        map_ = np.take(map_, low, axis) * (1 - share) + np.take(map_, high, axis) * share
    return map_


def scorecam(network, x, a, class_):
    scores = []
    for channel in a:
        mask = enlarge(channel, small.SIDE)
        mask = (mask - mask.min()) / (mask.max() - mask.min()) if mask.max() > mask.min() else 0 * mask
        scores.append(network(x * torch.from_numpy(mask)).detach().numpy()[0, class_])
    weights = np.exp(scores - np.max(scores))
    return np.maximum(np.einsum("chw,c->hw", a, weights / weights.sum()), 0)


# ---- attention: for each block [heads, tokens, tokens]
def rollout(blocks, fuse="mean", discard=0.0):
    result = np.eye(blocks[0].shape[-1])
    for attention in blocks:
        fused = getattr(attention, fuse)(0)
        flat = fused.reshape(-1)
        lowest = np.argsort(flat, kind="stable")[:int(flat.size * discard)]
        flat[lowest[lowest != 0]] = 0
        mixed = (fused + np.eye(len(fused))) / 2
        result = mixed / mixed.sum(-1, keepdims=True) @ result
    return result[0, 1:]


def attention_gradient(blocks, gradients):
    result = np.eye(blocks[0].shape[-1])
    for attention, gradient in zip(blocks, gradients):
        result = result + np.maximum(attention * gradient, 0).mean(0) @ result
    return result[0, 1:]


def options_of(text):
    pairs = dict(item.split("=") for item in text.split(":") if item)
    return {key: float(value) if key in ("epsilon", "discard") else value for key, value in pairs.items()}


# ---- what PyTorch says
class Recorder:
    """Outputs of modules by name, and attention probabilities in order, with their gradients after backward()."""

    def __init__(self, network, names):
        self.values, self.attention = {}, []
        for name in names:
            network.get_submodule(name).register_forward_hook(self.hook(name))

    def hook(self, name):
        def keep(_, inputs, output):
            output.retain_grad()
            self.values[name] = output
        return keep

    def keep_attention(self, weights):
        weights.retain_grad()
        self.attention.append(weights)
        return weights

    def features(self, name, gradient):
        value = self.values[name].grad if gradient else self.values[name]
        value = value.detach().numpy()[0]
        if value.ndim == 2:  # tokens, channels
            value = value[len(value) % 2:].T  # without the class token
            side = int(len(value[0]) ** 0.5)
            return value.reshape(-1, side, side)
        return value.transpose(2, 0, 1) if name.startswith(("norm", "blocks")) else value  # Swin's are channels last


def run(name, x, class_):
    network = small.make(name).double()
    recorder = Recorder(network, LAYERS[name])
    softmax = torch.Tensor.softmax

    def product(q, k, v, *_):
        weights = recorder.keep_attention(softmax(q * q.shape[-1] ** -0.5 @ k.transpose(-2, -1), -1))
        return weights @ v, None

    torch.Tensor.softmax = lambda tensor, dim: recorder.keep_attention(softmax(tensor, dim))
    F._scaled_dot_product_attention = product
    network(x)[0, class_].backward()
    torch.Tensor.softmax = softmax
    return network, recorder


def maps_of(name, x, class_):
    network, recorder = run(name, x, class_)
    for number, layer in enumerate(LAYERS[name]):
        a, g = recorder.features(layer, False), recorder.features(layer, True)
        text = "" if number == 0 else f":layer={layer}"
        yield "gradcam" + text, gradcam(a, g)
        yield "gradcam++" + text, gradcam_plus_plus(a, g)
        yield "gradcam++" + text + ":epsilon=0.000001", gradcam_plus_plus(a, g, 1e-6)
        yield "layercam" + text, layercam(a, g)
        if number == 0:
            plain = small.make(name).double()
            yield "scorecam", scorecam(plain, x, a, class_)
    for text in ATTENTION.get(name, []):
        options = options_of(text)
        blocks = [w.detach().numpy().reshape(-1, *w.shape[-2:]).copy() for w in recorder.attention]
        gradients = [w.grad.numpy().reshape(-1, *w.shape[-2:]).copy() for w in recorder.attention]
        if "block" in options:
            chosen = int(options["block"].replace("blocks.", ""))
            blocks, gradients = blocks[chosen:chosen + 1], gradients[chosen:chosen + 1]
        if "head" in options:
            head = int(options["head"])
            blocks, gradients = [b[head:head + 1] for b in blocks], [g[head:head + 1] for g in gradients]
        yield "attention_gradient" + text, attention_gradient(blocks, gradients)
        for more in ROLLOUT if "head" not in options else [""]:
            yield "attention_rollout" + text + more, rollout([b.copy() for b in blocks], **options_of(more))


def main():
    folder = Path(sys.argv[1])
    x = torch.from_numpy(small.make_inputs(1)).double()
    for name in LAYERS:
        per_class = [list(maps_of(name, x, class_)) for class_ in CLASSES]
        names = [text for text, _ in per_class[0]]
        numbers = [maps[i][1].reshape(-1) for i in range(len(names)) for maps in per_class]
        np.save(folder / f"{name}.maps.npy", np.concatenate(numbers).astype(np.float32))
        (folder / f"{name}.maps.txt").write_text("".join(f"{text}\n" for text in names))


if __name__ == "__main__":
    main()
