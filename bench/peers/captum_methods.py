"""The peer: Captum's maps of one input, each method at the settings that are its fastest here.

captum_methods.py NET INPUT.npy METHODS THREADS REPEAT [SETTING...]: a line of JSON for each of METHODS (behind commas) and each of
its settings, with the seconds of REPEAT maps; settings given: only these, one for each method. A setting is the memory format
of network and input, and how many inputs Captum runs together. The network is loaded before the clock starts, and a first map
of each setting is not counted. Needs captum and scikit-learn (PyPI), which CI does not have.
"""
import json
import os
import sys
import time
import types
import warnings

import captum
import numpy as np
import torch
from captum import attr

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from export import build

FORMATS = {"rows": torch.contiguous_format, "channels last": torch.channels_last}
TOGETHER = (1, 4, 16, 64)
STEPS, DRAWN, SAMPLES, SEGMENTS = 50, 20, 200, 7  # as tables/methods.py


def segments(height, width):
    """Rectangles, as spade's superpixels=grid."""
    row, column = (torch.arange(size) * SEGMENTS // size for size in (height, width))
    return (row[:, None] * SEGMENTS + column)[None, None]


def linear_model(kind, network, x, together):
    with torch.no_grad():
        return kind(network).attribute(x, target=0, n_samples=SAMPLES, feature_mask=segments(*x.shape[-2:]),
                                       perturbations_per_eval=together)


def occlusion(network, x, together):
    with torch.no_grad():
        return attr.Occlusion(network).attribute(x, (3, 16, 16), (3, 8, 8), target=0, perturbations_per_eval=together)


# how a map is made, and of how many inputs at a time that can be
METHODS = {
    "saliency": (lambda network, x, _: attr.Saliency(network).attribute(x, target=0), (1,)),
    "integrated_gradients": (lambda network, x, together: attr.IntegratedGradients(network).attribute(
        x, target=0, n_steps=STEPS, internal_batch_size=together), (1, 5, 10, 25, STEPS)),
    "gradient_shap": (lambda network, x, _: attr.GradientShap(network).attribute(
        x, torch.rand(DRAWN, *x.shape[1:]), target=0, n_samples=DRAWN), (DRAWN,)),
    "occlusion": (occlusion, TOGETHER),
    "lime": (lambda *arguments: linear_model(attr.Lime, *arguments), TOGETHER),
    "kernel_shap": (lambda *arguments: linear_model(attr.KernelShap, *arguments), TOGETHER),
    "deeplift": (lambda network, x, _: attr.DeepLift(network).attribute(x, target=0), (2,)),
}


def forward_block(block, x):
    y = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
    return block.relu2(y + (x if block.downsample is None else block.downsample(x)))


def for_deeplift(network):
    """A module for each rectifier, and none that writes into its input: Captum's DeepLift takes no other networks."""
    for module in network.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    for block in network.modules():
        if type(block).__name__ == "BasicBlock":
            block.relu2 = torch.nn.ReLU()
            block.forward = types.MethodType(forward_block, block)
    return network


def settings_of(method):
    return [f"{form}, {together}" for form in FORMATS for together in METHODS[method][1]]


def seconds_of(method, setting, name, path, repeat):
    form, together = setting.split(", ")
    network = build(name)[0].eval().requires_grad_(False).to(memory_format=FORMATS[form])
    network = for_deeplift(network) if method == "deeplift" else network
    x = torch.from_numpy(np.load(path)).contiguous(memory_format=FORMATS[form])
    seconds = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        METHODS[method][0](network, x.clone().requires_grad_(), int(together))
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def main():
    name, path, methods, threads, repeat, *given = sys.argv[1:]
    warnings.simplefilter("ignore")
    torch.set_num_threads(int(threads))
    for i, method in enumerate(methods.split(",")):
        for setting in [given[i]] if given else settings_of(method):
            print(json.dumps({"method": method, "setting": setting,
                              "seconds": seconds_of(method, setting, name, path, int(repeat)),
                              "versions": f"PyTorch {torch.__version__}, Captum {captum.__version__}"}), flush=True)


if __name__ == "__main__":
    main()
