"""The methods that spade has in common with Captum, zennit and pytorch-grad-cam, as each toolkit is asked for them."""
import contextlib
import dataclasses
import typing
from unittest import mock

import numpy as np
import torch

import spade_random

TARGET = 0
STEPS, COPIES, SIGMA = 20, 8, 0.15
SIDE, COALITIONS = 4, 100  # superpixels: rectangles, SIDE x SIDE
GRID = f"superpixels=grid:segments={SIDE * SIDE}:samples={COALITIONS}"


@dataclasses.dataclass
class Method:
    toolkit: str
    text: str                         # spade's
    compute: typing.Callable          # (network, x) -> the toolkit's map
    points: int = 0                   # gradients that it is made of, where kinks (toolkit_networks.py) may change them
    other: typing.Callable = None     # the toolkit's map where it is told to do as spade does
    why: str = ""                     # what is different without that
    file_weights: bool = False        # `other` is `compute` with the weights that the exporter wrote


@dataclasses.dataclass
class Kind:
    """What the methods have to know of a network."""
    rectifiers: bool
    stage: str = ""       # its last one with pixels
    wide: str = ""        # a layer of few channels, for Score-CAM
    canonizer: str = ""
    tokens: bool = False


KINDS = {"tv:resnet18": Kind(True, "layer4", "layer1", "ResNetCanonizer"),
         "tv:vgg11": Kind(True, "features.18", "features.4", "VGGCanonizer"),
         "tv:vit_b_16": Kind(False, "encoder.layers.encoder_layer_11.ln_1", tokens=True)}


def numbers_of(x):
    return x.detach().numpy().astype(np.float32)


def noise(x, copies):
    """spade's, of deviation 1."""
    return torch.from_numpy(spade_random.normal(spade_random.input_key(numbers_of(x)), copies, x.shape[1:])).to(x.dtype)


@contextlib.contextmanager
def drawn(where, name, numbers):
    """Numbers in place of a function that draws as many as it is asked for, one call after another."""
    left = list(numbers)

    def draw(*arguments, **_):
        shape = getattr(arguments[-1], "shape", None) or [arguments[-1]]
        return torch.stack([left.pop(0) for _ in range(shape[0])])

    with mock.patch.object(where, name, draw):
        yield


def superpixels(x, side):
    row, column = (torch.arange(n) * side // n for n in x.shape[-2:])
    return (row[:, None] * side + column)[None, None]


# ---- Captum
def noisy_gradient(kind):
    def compute(net, x):
        from captum import attr

        scale = spade_random.deviation(numbers_of(x), SIGMA)
        with drawn(torch, "normal", scale * noise(x, COPIES)):
            return attr.NoiseTunnel(attr.Saliency(net)).attribute(
                x, nt_type=kind, nt_samples=COPIES, nt_samples_batch_size=4, stdevs=scale, target=TARGET, abs=False)
    return compute


def gradient_shap(net, x):
    from captum import attr

    scale, key = spade_random.deviation(numbers_of(x), SIGMA), spade_random.input_key(numbers_of(x))
    with drawn(torch, "normal", scale * noise(x, COPIES)), \
            mock.patch.object(np.random, "uniform", lambda *_: spade_random.shares(key, COPIES)):
        return attr.GradientShap(net).attribute(x, torch.zeros_like(x), n_samples=COPIES, stdevs=scale, target=TARGET)


def lime(**lasso):
    def compute(net, x):
        from captum import attr
        from captum._utils.models.linear_model import SkLearnLasso

        key = spade_random.input_key(numbers_of(x))
        left = list(torch.from_numpy(spade_random.lime_coalitions(key, COALITIONS, SIDE * SIDE)))
        explainer = attr.Lime(net, interpretable_model=SkLearnLasso(alpha=1e-4, **lasso),
                              perturb_func=lambda *_, **__: left.pop(0)[None])
        return explainer.attribute(x, target=TARGET, n_samples=COALITIONS, feature_mask=superpixels(x, SIDE),
                                   perturbations_per_eval=10)
    return compute


def kernel_shap(net, x):
    from captum import attr

    key = spade_random.input_key(numbers_of(x))
    coalitions = torch.from_numpy(spade_random.kernel_shap_coalitions(key, COALITIONS, SIDE * SIDE))
    ends = torch.stack([torch.ones_like(coalitions[0]), torch.zeros_like(coalitions[0])])

    class Explainer(attr.KernelShap):
        def kernel_shap_perturb_generator(self, *_, **__):
            yield from torch.cat([ends, coalitions])[:, None]

    return Explainer(net).attribute(x, target=TARGET, n_samples=COALITIONS + 2, feature_mask=superpixels(x, SIDE),
                                    perturbations_per_eval=10)


def captum_for_any():
    from captum import attr

    yield "saliency", lambda net, x: attr.Saliency(net).attribute(x, target=TARGET), 1
    yield "input_x_gradient", lambda net, x: attr.InputXGradient(net).attribute(x, target=TARGET), 1
    yield f"integrated_gradients:steps={STEPS}", lambda net, x: attr.IntegratedGradients(net).attribute(
        x, target=TARGET, n_steps=STEPS, method="gausslegendre", internal_batch_size=5), STEPS
    for name, kind in (("smoothgrad", "smoothgrad"), ("smoothgrad_squared", "smoothgrad_sq"), ("vargrad", "vargrad")):
        yield f"{name}:samples={COPIES}", noisy_gradient(kind), COPIES
    yield f"gradient_shap:samples={COPIES}:sigma={SIGMA}:baseline=0", gradient_shap, COPIES
    yield "occlusion:window=64:stride=32", lambda net, x: attr.Occlusion(net).attribute(
        x, target=TARGET, sliding_window_shapes=(3, 64, 64), strides=(3, 32, 32), perturbations_per_eval=7), 0
    yield f"kernel_shap:{GRID}", kernel_shap, 0
    yield "kernel_shap:superpixels=grid:segments=4:samples=14", lambda net, x: attr.ShapleyValues(net).attribute(
        x, target=TARGET, feature_mask=superpixels(x, 2), perturbations_per_eval=4), 0


def captum_for_rectifiers(layer):
    from captum import attr

    yield "deeplift:compat=captum", lambda net, x: attr.DeepLift(net).attribute(x, target=TARGET), 0
    yield "guided_backprop", lambda net, x: attr.GuidedBackprop(net).attribute(x, target=TARGET), 1
    yield "deconvolution", lambda net, x: attr.Deconvolution(net).attribute(x, target=TARGET), 1
    yield f"gradcam:layer={layer}", lambda net, x: attr.LayerAttribution.interpolate(
        attr.LayerGradCam(net, net.get_submodule(layer)).attribute(x, target=TARGET, relu_attributions=True), x.shape[2:],
        "bilinear"), 0
    yield f"guided_gradcam:layer={layer}", lambda net, x: attr.GuidedGradCam(net, net.get_submodule(layer)).attribute(
        x, target=TARGET), 1


def captum_methods(kind):
    for text, compute, points in captum_for_any():
        yield Method("captum", text, compute, points if kind.rectifiers else 0)
    yield Method("captum", f"lime:{GRID}:alpha=0.0001", lime(), other=lime(tol=1e-12, max_iter=10**6),
                 why="scikit-learn's Lasso stops at its tolerance of 1e-4; with 1e-12")
    if not kind.rectifiers:
        return
    for text, compute, points in captum_for_rectifiers(kind.stage):
        yield Method("captum", text, compute, points)
    if kind.canonizer == "VGGCanonizer":  # Captum has no rules for BatchNorm and for additions that are no modules
        from captum import attr

        yield Method("captum", "lrp:composite=epsilon", lambda net, x: attr.LRP(net).attribute(x, target=TARGET))


# ---- zennit
def relevance(make_composite, **more):
    def compute(net, x):
        from zennit import attribution

        with attribution.Gradient(net, make_composite(x), **more) as attributor:
            weight = torch.eye(1000, dtype=x.dtype)[[TARGET]]
            return attributor(x, lambda output: output * weight)[1]
    return compute


def gradient_by(make_composite):
    """What goes back begins with 1."""
    def compute(net, x):
        from zennit import attribution

        with attribution.Gradient(net, make_composite(x)) as attributor:
            return attributor(x, torch.eye(1000, dtype=x.dtype)[[TARGET]])[1]
    return compute


def epsilon_composite(canonizers):
    from zennit import composites, rules, types

    return composites.LayerMapComposite(composites.layer_map_base() + [(types.Linear, rules.Epsilon())], canonizers=canonizers)


def paper_composite(canonizers, x):
    """alpha=1 beta=0 without biases, z^B in the first convolution."""
    from zennit import composites, rules, types

    return composites.SpecialFirstLayerMapComposite(
        composites.layer_map_base(1e-9) + [(types.Linear, rules.ZPlus(1e-9, zero_params="bias"))],
        [(types.Convolution, rules.ZBox(x.min().item(), x.max().item(), 1e-9, zero_params="bias"))], canonizers=canonizers)


def zennit_lrp(kind):
    from zennit import composites, torchvision

    def canonizers():
        return [getattr(torchvision, kind.canonizer)()]

    yield "epsilon", lambda x: epsilon_composite(canonizers())
    yield "epsilon_plus", lambda x: composites.EpsilonPlus(canonizers=canonizers())
    yield "epsilon_plus_flat", lambda x: composites.EpsilonPlusFlat(canonizers=canonizers())
    yield "gamma", lambda x: composites.EpsilonGammaBox(low=x.min().item(), high=x.max().item(), canonizers=canonizers())
    yield "paper", lambda x: paper_composite(canonizers(), x)


def zennit_integrated(net, x):
    from zennit import attribution

    with attribution.IntegratedGradients(net, n_iter=STEPS) as attributor:
        return attributor(x, torch.eye(1000, dtype=x.dtype)[[TARGET]])[1]


def zennit_integrated_at_nodes(net, x):
    """One step of its sum for each node, at the node, with the node's weight."""
    from zennit import attribution

    nodes, weights = np.polynomial.legendre.leggauss(STEPS)
    map_ = 0
    for node, weight in zip((nodes + 1) / 2, weights / 2):
        with mock.patch.object(torch, "linspace", lambda *_: torch.tensor([node], dtype=x.dtype)), \
                attribution.IntegratedGradients(net, n_iter=1) as attributor:
            map_ = map_ + weight * attributor(x, torch.eye(1000, dtype=x.dtype)[[TARGET]])[1]
    return map_


def zennit_smoothgrad(copies):
    def compute(net, x):
        from zennit import attribution

        left = list(noise(x, COPIES)[:, None])
        with mock.patch.object(torch, "randn_like", lambda *_: left.pop(0)), \
                attribution.SmoothGrad(net, noise_level=SIGMA, n_iter=copies) as attributor:
            return attributor(x, torch.eye(1000, dtype=x.dtype)[[TARGET]])[1]
    return compute


def zennit_smoothgrad_of_noise(net, x):
    """Without its last copy."""
    from zennit import attribution

    with attribution.Gradient(net) as attributor:
        last = attributor(x, torch.eye(1000, dtype=x.dtype)[[TARGET]])[1]
    return ((COPIES + 1) * zennit_smoothgrad(COPIES + 1)(net, x) - last) / COPIES


def zennit_occlusion(net, x):
    """It sums the scores of what is left: F of the input less these is the map."""
    import functools

    from zennit import attribution

    hide = functools.partial(attribution.occlude_independent, fill_fn=torch.zeros_like, invert=True)
    with attribution.Occlusion(net, occlusion_fn=hide, window=(32, 32), stride=(32, 32)) as attributor:
        output, map_ = attributor(x.detach(), lambda output: output * torch.eye(1000, dtype=x.dtype)[[TARGET]])
    return output[0, TARGET] - map_


def zennit_methods(kind):
    from zennit import composites

    yield Method("zennit", f"integrated_gradients:steps={STEPS}", zennit_integrated, other=zennit_integrated_at_nodes,
                 why=f"it sums at {STEPS} equal steps, 1/{STEPS} to 1; at Gauss-Legendre's nodes, with their weights")
    yield Method("zennit", f"smoothgrad:samples={COPIES}", zennit_smoothgrad(COPIES), other=zennit_smoothgrad_of_noise,
                 why=f"its last copy is the input without noise; without that copy, of {COPIES} others")
    yield Method("zennit", "occlusion:window=32:stride=32", zennit_occlusion)
    if not kind.rectifiers:
        return
    yield Method("zennit", "guided_backprop", gradient_by(lambda x: composites.GuidedBackprop()), 1)
    yield Method("zennit", "deconvolution", gradient_by(lambda x: composites.DeconvNet()), 1)
    folded = kind.canonizer == "ResNetCanonizer"
    for composite, make in zennit_lrp(kind):
        yield Method("zennit", f"lrp:composite={composite}", relevance(make), file_weights=folded,
                     why="the exporter folds BatchNorm into convolutions in float32; of the file's weights" if folded else "")


# ---- pytorch-grad-cam
def to_grid(tokens):
    side = int((tokens.shape[1] - 1) ** 0.5)
    return tokens[:, 1:].reshape(len(tokens), side, side, -1).permute(0, 3, 1, 2)


def activation_map(name, layer, tokens, square=False):
    """square: masks are enlarged with pixels as squares."""
    def compute(net, x):
        import pytorch_grad_cam as cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        def enlarge(size):
            return torch.nn.Upsample(size, mode="bilinear", align_corners=False)

        options = {"reshape_transform": to_grid} if tokens else {}
        with getattr(cam, name)(model=net, target_layers=[net.get_submodule(layer)], **options) as made, \
                mock.patch("tqdm.tqdm", lambda numbers: numbers), \
                mock.patch.object(torch.nn, "UpsamplingBilinear2d", enlarge if square else torch.nn.UpsamplingBilinear2d):
            made.batch_size = 8
            return torch.from_numpy(made(input_tensor=x, targets=[ClassifierOutputTarget(TARGET)])[None])
    return compute


def replace_modules(model, kind, by):
    """As pytorch-grad-cam's, with the hooks of what is replaced."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is kind:
                made = type(by)()
                made._forward_pre_hooks = child._forward_pre_hooks
                setattr(parent, name, made)


def gradcam_guided(net, x):
    from pytorch_grad_cam import GuidedBackpropReLUModel, guided_backprop

    with mock.patch.object(guided_backprop, "replace_all_layer_type_recursive", replace_modules):
        return torch.from_numpy(GuidedBackpropReLUModel(net, "cpu")(x, TARGET).transpose(2, 0, 1)[None])


def gradcam_methods(kind):
    text = f":layer={kind.stage}" if kind.rectifiers else ""
    for name, method in (("gradcam", "GradCAM"), ("gradcam++:epsilon=0.000001", "GradCAMPlusPlus"), ("layercam", "LayerCAM")):
        yield Method("grad-cam", name + text, activation_map(method, kind.stage, kind.tokens))
    if kind.rectifiers:
        yield Method("grad-cam", f"scorecam:layer={kind.wide}", activation_map("ScoreCAM", kind.wide, False),
                     other=activation_map("ScoreCAM", kind.wide, False, square=True),
                     why="it enlarges masks with align_corners=True; with pixels as squares, as it enlarges maps")
        yield Method("grad-cam", "guided_backprop", gradcam_guided, 1)


def methods_of(name):
    kind = KINDS[name]
    yield from captum_methods(kind)
    yield from zennit_methods(kind)
    yield from gradcam_methods(kind)
