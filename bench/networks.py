"""The networks of the benchmarks: torchvision's, with random weights, and single layers for the Hessian benchmark.

This file does not import PyTorch: the tables are made from it too.
"""
import collections

# name of the row, kind, input channels, outputs, pixels a side (tokens: positions), kernel, stride, groups, variants
Layer = collections.namedtuple("Layer", "name kind channels rows size kernel stride groups variants")


def _convolution(channels, rows, size, kernel=3, stride=1, groups=1, variants=64):
    kind = "depthwise" if groups > 1 else "convolution"
    return Layer(f"{kind}-{channels}x{rows}-{size}-{kernel}x{kernel}-s{stride}", kind, channels, rows, size, kernel,
                 stride, groups, variants)


LAYERS = [
    _convolution(64, 64, 56),
    _convolution(128, 128, 28),
    _convolution(256, 256, 14),
    _convolution(512, 512, 7),
    _convolution(128, 128, 56, stride=2),
    _convolution(512, 512, 14, stride=2),
    _convolution(256, 64, 56, kernel=1),
    _convolution(1024, 256, 14, kernel=1),
    _convolution(256, 512, 56, kernel=1, stride=2),
    _convolution(144, 144, 56, groups=144),
    Layer("linear-2048x1000", "linear", 2048, 1000, 1, 1, 1, 1, 1024),
    Layer("linear-768x768-196-tokens", "tokens", 768, 768, 196, 1, 1, 1, 64),
]

NETWORKS = {"resnet18": "ResNet-18", "resnet50": "ResNet-50", "vit_b_16": "ViT-B/16"}

# network, variants of the tables that compare with the peer
TRACES = [("resnet18", 64), ("resnet50", 32), ("vit_b_16", 32)]
