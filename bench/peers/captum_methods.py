"""The peer: Captum's occlusion, LIME and KernelSHAP of one input.

captum_perturbation.py NET INPUT.npy METHOD SAMPLES SEGMENTS THREADS: prints a line of JSON for each number of perturbed
inputs that Captum runs together; the fastest is the one to compare with. The network is loaded before the clock starts, and
a first map of few samples is not counted. Needs captum and scikit-learn (PyPI), which CI does not have.
"""
import json
import os
import sys
import time

import captum
import numpy as np
import torch
from captum.attr import KernelShap, Lime, Occlusion

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from export import build


def segments(height, width, wanted):
    """Rectangles, as spade's superpixels=grid."""
    rows = max(1, round(height / (height * width / wanted) ** 0.5))
    columns = max(1, round(wanted / rows))
    row = torch.arange(height)[:, None] * rows // height
    return (row * columns + torch.arange(width)[None] * columns // width)[None, None]


def attribute(method, network, x, samples, wanted, together):
    if method == "occlusion":
        return Occlusion(network).attribute(x, (3, 16, 16), (3, 8, 8), target=0, perturbations_per_eval=together)
    explainer = {"lime": Lime, "kernel_shap": KernelShap}[method](network)
    return explainer.attribute(x, target=0, n_samples=samples, feature_mask=segments(*x.shape[-2:], wanted),
                               perturbations_per_eval=together)


def main():
    name, path, method, samples, wanted, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    network = build(name)[0].eval()
    x = torch.from_numpy(np.load(path))
    with torch.no_grad():
        if method != "occlusion":
            attribute(method, network, x, 20, int(wanted), 4)
        for together in (1, 4, 16, 64):
            start = time.perf_counter()
            attribute(method, network, x, int(samples), int(wanted), together)
            seconds = time.perf_counter() - start
            print(json.dumps({"seconds": seconds, "together": together,
                              "versions": f"PyTorch {torch.__version__}, Captum {captum.__version__}"}), flush=True)


if __name__ == "__main__":
    main()
