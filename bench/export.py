"""Networks with random weights (seed 0) as ONNX.

export.py NET OUT.onnx      torchvision's network of that name; or "wide", VGG-16's first linear layer behind one convolution
export.py --layers FOLDER   the single layers of networks.py, FOLDER/NAME.onnx
"""
import inspect
import os
import sys

import torch
import torch.nn as nn
import torchvision

from networks import LAYERS


class Attention(nn.Module):
    """nn.MultiheadAttention in the parts that it is made of: its own forward pass calls no layers, so nothing could hook into
    them, and in eval() it is one operator that old exporters cannot write."""

    def __init__(self, whole):
        super().__init__()
        self.heads = whole.num_heads
        self.qkv = nn.Linear(whole.embed_dim, 3 * whole.embed_dim)
        self.out_proj = nn.Linear(whole.embed_dim, whole.embed_dim)
        self.qkv.weight, self.qkv.bias = whole.in_proj_weight, whole.in_proj_bias
        self.out_proj.weight, self.out_proj.bias = whole.out_proj.weight, whole.out_proj.bias

    def forward(self, query, key, value, need_weights):
        n, tokens, channels = query.shape
        q, k, v = self.qkv(query).reshape(n, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-2, -1)) / (channels // self.heads) ** 0.5
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, tokens, channels)
        return self.out_proj(y), None


def wide():
    """VGG-16's classifier of 25,088 inputs, behind one convolution that makes them of a picture of 14 pixels."""
    return nn.Sequential(nn.Conv2d(3, 512, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(25088, 4096), nn.ReLU(),
                         nn.Linear(4096, 1000))


def build(name):
    """-> module, pixels a side"""
    torch.manual_seed(0)
    if name == "wide":
        return wide().eval(), 14
    net = getattr(torchvision.models, name)(weights=None).eval()
    for module in list(net.modules()):
        if isinstance(getattr(module, "self_attention", None), nn.MultiheadAttention):
            module.self_attention = Attention(module.self_attention)
    if hasattr(net, "heads"):  # torchvision leaves the classes of a ViT at zero
        nn.init.normal_(net.heads.head.weight, std=0.02)
    return net, 224


class Tokens(nn.Module):
    """A linear layer over [n, 1, positions, channels], as in transformers: one product with a constant."""

    def __init__(self, channels, rows):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, rows) / channels**0.5)

    def forward(self, x):
        return x.matmul(self.weight).flatten(1)


def build_layer(layer):
    """-> module, shape of its input for one image"""
    torch.manual_seed(0)
    if layer.kind == "tokens":
        return Tokens(layer.channels, layer.rows), (1, layer.size, layer.channels)
    if layer.kind == "linear":
        return nn.Sequential(nn.Flatten(), nn.Linear(layer.channels, layer.rows)), (layer.channels, 1, 1)
    convolution = nn.Conv2d(layer.channels, layer.rows, layer.kernel, layer.stride, layer.kernel // 2,
                            groups=layer.groups, bias=False)
    return nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten()), (layer.channels, layer.size, layer.size)


def export(module, shape, path):
    """Written beside its place first, then renamed: an interrupted export leaves no half file there."""
    # the exporter that keeps BatchNorm: the only one of old versions, an option of new ones
    choice = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    torch.onnx.export(module.eval(), torch.zeros(1, *shape), path + ".part", opset_version=13,
                      # BatchNorm stays a node: the weights are the trained ones
                      training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False,
                      input_names=["input"], output_names=["logits"],
                      dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}}, **choice)
    os.replace(path + ".part", path)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    if sys.argv[1] == "--layers":
        for layer in LAYERS:
            export(*build_layer(layer), os.path.join(sys.argv[2], f"{layer.name}.onnx"))
    else:
        module, size = build(sys.argv[1])
        export(module, (3, size, size), sys.argv[2])


if __name__ == "__main__":
    main()
