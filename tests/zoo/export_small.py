#!/usr/bin/env python3
"""Write the small networks as test data: tests/golden/data/exports, which test_exports_devices.c compares with.

    export_small.py FOLDER [NAME ...]

PyTorch before 2.9 (Debian 12's 1.13) writes NAME.old.onnx, with its defaults at opset 13. Since 2.9 it is NAME.new.onnx of the
default exporter (needs onnxscript), without its stack traces, and what PyTorch computes in float64: NAME.logits.npy and
NAME.gradients.npy (of each picture's first class), and NAME.layers.txt, the modules of the layers. inputs.npy holds the pictures.
"""
import pathlib
import sys
import warnings

import numpy as np
import onnx
import torch

import small
from layers import layer_names

PICTURES = 2
IS_NEW = tuple(int(n) for n in torch.__version__.split(".")[:2]) >= (2, 9)


def export(network, x, path):
    options = {"input_names": ["input"], "output_names": ["logits"]}
    if IS_NEW:
        options.update(dynamic_shapes=({0: torch.export.Dim("batch")},), external_data=False, verbose=False)
    else:
        options.update(opset_version=13, dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (x,), str(path), **options)
    model = onnx.load(path)
    for node in model.graph.node if IS_NEW else []:  # where the network's source lay: half of the file
        kept = [entry for entry in node.metadata_props if not entry.key.endswith("stack_trace")]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(model, path)


def compute(network, x):
    """Logits, and the gradient of each picture's first class."""
    x = x.clone().requires_grad_()
    logits = network(x)
    gradients, = torch.autograd.grad(logits[:, 0].sum(), x)
    return logits.detach(), gradients


def main():
    folder, names = pathlib.Path(sys.argv[1]), sys.argv[2:] or list(small.NETWORKS)
    inputs = small.make_inputs(PICTURES)
    x = torch.from_numpy(inputs)
    np.save(folder / "inputs.npy", inputs)
    for name in names:
        export(small.make(name), x, folder / f"{name}.{'new' if IS_NEW else 'old'}.onnx")
        logits, gradients = compute(small.make(name).double(), x.double())
        if IS_NEW:
            np.save(folder / f"{name}.logits.npy", logits.numpy().astype(np.float32))
            np.save(folder / f"{name}.gradients.npy", gradients.numpy().astype(np.float32))
            (folder / f"{name}.layers.txt").write_text("".join(f"{n}\n" for names in layer_names(small.make(name), x) for n in names))
        print(f"{name}: logits up to {logits.abs().max():.2f}, gradients up to {gradients.abs().max():.3f}")


if __name__ == "__main__":
    main()
