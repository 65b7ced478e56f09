#!/usr/bin/env python3
"""Compare spade's maps with those of Captum, zennit and pytorch-grad-cam, of every method that both have and that draws no numbers.

By hand, in zoo.py's environment, with captum, zennit and grad-cam beside it:

    zoo/bin/pip install captum zennit grad-cam
    zoo/bin/python tests/zoo/toolkits.py --folder DIR [--spade build/spade] [--networks tv:resnet18,tv:vgg11,tv:vit_b_16] [--grep TEXT]

Networks have random weights (networks.py), DIR keeps their files as zoo.py's. DIR/toolkits.md is the table: of each
toolkit's map in float64 the largest difference of spade's, and of its own in float32, as a share of the largest value. spade's
is up to LIMIT, or up to four times the toolkit's own; any other has a reason in EXPLAINED, or the comparison fails.
"""
import argparse
import datetime
import importlib.metadata
import pathlib
import re
import tempfile
import types
import warnings

import numpy as np
import torch
import torch.nn.functional as F

from checks import Refused, run
from networks import export, make, spread_weights

LIMIT = 1e-3
TARGET = 0
EXPLAINED = {}  # (network or "", toolkit, method) -> why they differ


def explain(network, toolkit, method, why):
    EXPLAINED[network, toolkit, method] = why


def make_network(name, dtype=torch.float32):
    """Captum's DeepLift and zennit's canonisers want a module for each rectifier, and none that writes into its input."""
    network, side = make(name)
    spread_weights(network)
    for module in network.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    for block in network.modules():
        if type(block).__name__ == "BasicBlock":
            block.relu2 = torch.nn.ReLU()
            block.forward = types.MethodType(forward_block, block)
    return network.eval().to(dtype), side


def forward_block(block, x):
    y = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
    return block.relu2(y + (x if block.downsample is None else block.downsample(x)))


def make_input(side):
    """Smooth, with some noise: [1, 3, side, side], as a picture that is normalised."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randn([1, 3, 8, 8], generator=generator)
    fine = torch.randn([1, 3, side, side], generator=generator)
    return F.interpolate(coarse, size=(side, side), mode="bicubic") + 0.2 * fine


explain("", "grad-cam", "scorecam", "it enlarges masks with align_corners=True, spade with pixels as squares, as it enlarges maps")
explain("tv:resnet18", "zennit", "lrp", "the file's weights: the exporter folds BatchNorm in float32; of these weights both agree")


# ---- Captum
def captum_methods(name):
    from captum import attr

    yield "saliency", lambda net, x: attr.Saliency(net).attribute(x, target=TARGET)
    yield "input_x_gradient", lambda net, x: attr.InputXGradient(net).attribute(x, target=TARGET)
    yield "integrated_gradients:steps=50", lambda net, x: attr.IntegratedGradients(net).attribute(
        x, target=TARGET, n_steps=50, method="gausslegendre", internal_batch_size=10)
    yield "occlusion:window=32:stride=16", lambda net, x: attr.Occlusion(net).attribute(
        x, target=TARGET, sliding_window_shapes=(3, 32, 32), strides=(3, 16, 16), perturbations_per_eval=8)
    if "vit" in name:  # what follows is defined on networks of rectifiers
        return
    layer = last_stage(name)
    yield "deeplift:compat=captum", lambda net, x: attr.DeepLift(net).attribute(x, target=TARGET)
    yield "guided_backprop", lambda net, x: attr.GuidedBackprop(net).attribute(x, target=TARGET)
    yield "deconvolution", lambda net, x: attr.Deconvolution(net).attribute(x, target=TARGET)
    yield f"gradcam:layer={layer}", lambda net, x: attr.LayerAttribution.interpolate(
        attr.LayerGradCam(net, net.get_submodule(layer)).attribute(x, target=TARGET, relu_attributions=True), x.shape[2:], "bilinear")
    yield f"guided_gradcam:layer={layer}", lambda net, x: attr.GuidedGradCam(net, net.get_submodule(layer)).attribute(
        x, target=TARGET)


def last_stage(name):
    return {"tv:resnet18": "layer4", "tv:vgg11": "features.18"}[name]


# ---- zennit
def zennit_methods(name):
    from zennit import attribution, composites, torchvision

    if "vit" in name:
        return
    canonizers = [torchvision.ResNetCanonizer()] if "resnet" in name else [torchvision.VGGCanonizer()]

    def relevance(composite):
        def compute(net, x):
            with attribution.Gradient(net, composite) as attributor:
                weight = torch.eye(1000, dtype=x.dtype)[[TARGET]]
                return attributor(x, lambda output: output * weight)[1]
        return compute

    yield "lrp:composite=epsilon_plus", relevance(composites.EpsilonPlus(canonizers=canonizers))
    yield "lrp:composite=epsilon_plus_flat", relevance(composites.EpsilonPlusFlat(canonizers=canonizers))


# ---- pytorch-grad-cam
def gradcam_methods(name):
    import pytorch_grad_cam as cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    layer = "encoder.layers.encoder_layer_11.ln_1" if "vit" in name else last_stage(name)

    def to_grid(tokens):
        side = int((tokens.shape[1] - 1) ** 0.5)
        return tokens[:, 1:].reshape(len(tokens), side, side, -1).permute(0, 3, 1, 2)

    def compute(method):
        def of(net, x):
            options = {"reshape_transform": to_grid} if "vit" in name else {}
            with method(model=net, target_layers=[net.get_submodule(layer)], **options) as made:
                made.batch_size = 16
                return torch.from_numpy(made(input_tensor=x, targets=[ClassifierOutputTarget(TARGET)])[None])
        return of

    text = "" if "vit" in name else f":layer={layer}"
    yield "gradcam" + text, compute(cam.GradCAM)
    yield "gradcam++:epsilon=0.000001" + text, compute(cam.GradCAMPlusPlus)
    yield "layercam" + text, compute(cam.LayerCAM)
    if "resnet" in name:
        yield "scorecam" + text, compute(cam.ScoreCAM)


def scale(map_):
    """pytorch-grad-cam gives maps from 0 to 1."""
    map_ = map_ - map_.min()
    return map_ / (1e-7 + map_.max())


TOOLKITS = {"captum": captum_methods, "zennit": zennit_methods, "grad-cam": gradcam_methods}


def spade_map(spade, path, x, method):
    with tempfile.TemporaryDirectory(prefix="toolkits") as folder:
        np.save(f"{folder}/x.npy", x.numpy())
        run(spade, "explain", path, f"{folder}/x.npy", "-o", f"{folder}/out", "--resize", "0", "--device", "cpu", "--no-trace", "--no-report",
            "--method", method, "--class", TARGET)
        return np.load(next(pathlib.Path(folder).glob("out/*/*.npy"))).astype(np.float64)


def toolkit_map(name, compute, dtype):
    network, side = make_network(name, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        map_ = compute(network, make_input(side).to(dtype).requires_grad_())
    return map_.detach().numpy().astype(np.float64)[0]


def compare(spade, path, name, toolkit, method, compute):
    """Largest differences from the toolkit's map in float64: spade's, and the toolkit's own in float32."""
    exact, own = (toolkit_map(name, compute, dtype) for dtype in (torch.float64, torch.float32))
    ours = spade_map(spade, path, make_input(exact.shape[-1]), method)
    if len(ours) == 1:  # one number a pixel, which toolkits repeat for each channel
        exact, own = exact[:1], own[:1]
    if toolkit == "grad-cam":
        ours, exact, own = scale(ours), scale(exact), scale(own)
    return tuple(np.abs(map_ - exact).max() / np.abs(exact).max() for map_ in (ours, own))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spade", default="build/spade")
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--networks", default="tv:resnet18,tv:vgg11,tv:vit_b_16")
    parser.add_argument("--grep", default="", help="only lines 'toolkit method' in which this regular expression is found")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    versions = [f"{p} {importlib.metadata.version(p)}" for p in ("torch", "captum", "zennit", "grad-cam")]
    lines = [f"# Maps beside other toolkits', {datetime.date.today()}", "",
             f"{', '.join(versions)}. Largest difference from the toolkit's map in float64, as a share of its largest value; "
             f"class {TARGET}, random weights.", "",
             "| network | toolkit | method | spade | toolkit in float32 | |", "|---|---|---|---|---|---|"]
    wrong = 0
    for name in arguments.networks.split(","):
        path = arguments.folder / f"{name.replace(':', '_')}.old.onnx"
        if not path.exists():
            export(name, "old", path)
        for toolkit, methods in TOOLKITS.items():
            for method, compute in methods(name):
                if not re.search(arguments.grep, f"{toolkit} {method}"):
                    continue
                why = next((EXPLAINED[k] for k in EXPLAINED if k[0] in ("", name) and k[1] == toolkit and k[2] == method.split(":")[0]), "")
                try:
                    difference, own = compare(arguments.spade, path, name, toolkit, method, compute)
                except Refused as message:
                    difference, own, why = np.inf, 0, why or f"! {message}"
                is_same = difference <= max(LIMIT, 4 * own)
                wrong += not is_same and (not why or why.startswith("!"))
                lines.append(f"| {name} | {toolkit} | {method} | {difference:.1e} | {own:.1e} | {'' if is_same else why or '!'} |")
                print(lines[-1], flush=True)
                (arguments.folder / "toolkits.md").write_text("\n".join(lines) + "\n")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
