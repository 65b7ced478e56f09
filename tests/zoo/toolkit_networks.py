"""Networks as toolkits want them, with the weights of a file or rounded otherwise, and their rectifiers nudged across zero."""
import copy
import functools
import types
import typing

import numpy as np
import torch
import torch.nn.functional as F

from networks import make, spread_weights

NEAR = 2e-6  # of a module's largest input: what float32 may take for the other side of zero, or of another value


def forward_block(block, x):
    y = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(x)))))
    return block.relu2(y + (x if block.downsample is None else block.downsample(x)))


@functools.lru_cache(maxsize=2)
def original(name):
    """Captum's DeepLift and zennit's canonisers want a module for each rectifier, and none that writes into its input."""
    torch.backends.mha.set_fastpath_enabled(False)
    network, side = make(name)
    spread_weights(network)
    for module in network.modules():
        if isinstance(module, torch.nn.ReLU):
            module.inplace = False
    for block in network.modules():
        if type(block).__name__ == "BasicBlock":
            block.relu2 = torch.nn.ReLU()
            block.forward = types.MethodType(forward_block, block)
    return network.eval(), side


def make_network(name, dtype=torch.float32, file=None):
    """file: whose weights it has, in place of its own."""
    network, side = original(name)
    network = copy.deepcopy(network)
    if file:
        load_weights(network, side, file)
    return network.to(dtype), side


def layers_in_order(network, side):
    """Convolutions and linear layers, in the order in which they run."""
    found, hooks = [], []
    for module in network.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            hooks.append(module.register_forward_hook(lambda module, *_: found.append(module)))
    with torch.no_grad():
        network(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return found


def load_weights(network, side, file):
    """Those of an ONNX file of the same network: what the exporter made of convolutions with BatchNorm behind them, or what
    `spade trace` wrote."""
    import onnx

    graph = onnx.load(str(file)).graph
    constants = {c.name: c for c in graph.initializer}
    nodes = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    layers = layers_in_order(network, side)
    assert len(nodes) == len(layers), f"{file}: {len(nodes)} layers, not {len(layers)}"
    for node, layer in zip(nodes, layers):
        values = [torch.from_numpy(onnx.numpy_helper.to_array(constants[name]).copy()) for name in node.input[1:]]
        assert values[0].shape == layer.weight.shape, f"{file}: {node.name}"
        layer.weight = torch.nn.Parameter(values[0])
        layer.bias = torch.nn.Parameter(values[1]) if len(values) > 1 else None
    for name, module in list(network.named_modules()):
        if isinstance(module, torch.nn.BatchNorm2d):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, torch.nn.Identity())


def round_weights(network):
    """Each weight moved by at most a unit in float32's last place."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.rand(parameter.shape, generator=generator, dtype=torch.float64) * 2 - 1
            parameter *= (1 + noise * 2.0**-23).to(parameter.dtype)
    return network


def make_input(side):
    """Smooth, with some noise: [1, 3, side, side], as a picture that is normalised."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.randn([1, 3, 8, 8], generator=generator)
    fine = torch.randn([1, 3, side, side], generator=generator)
    return F.interpolate(coarse, size=(side, side), mode="bicubic") + 0.2 * fine


# ---- modules with a kink: rectifiers, and pools of the largest value


class Nudge(typing.NamedTuple):
    """What moves a value to the other side of a kink."""
    share: float  # how far it is, of the module's largest input
    module: str
    image: int    # counted over the passes; -1: the only one, in every pass
    place: int
    step: float


def rectifier_nudges(name, image, z):
    flat, largest = z.flatten(), z.abs().max()
    for place in torch.nonzero(flat.abs() <= NEAR * largest).flatten().tolist():
        value = flat[place]
        step = -2 * value if value != 0 else 1e-3 * NEAR * largest
        yield Nudge((value.abs() / largest).item(), name, image, place, step.item())


def pool_nudges(name, image, z, module):
    """The second value of a window made larger than its first, which lies as near above it."""
    places = torch.arange(z.numel(), dtype=z.dtype).reshape(z.shape)
    padded = F.pad(z, [module.padding] * 4, value=-np.inf), F.pad(places, [module.padding] * 4)
    size, stride = module.kernel_size, module.stride
    windows, places = (v.unfold(1, size, stride).unfold(2, size, stride).flatten(3) for v in padded)
    top, at = windows.topk(2, -1)
    gap, largest = top[..., 0] - top[..., 1], z.abs().max()
    for i in torch.nonzero((gap > 0) & (gap <= NEAR * largest) & (top[..., 0] != 0)):
        window = tuple(i.tolist())
        second = int(places[window][at[window][1]])
        yield Nudge((gap[window] / largest).item(), name, image, second, 2 * gap[window].item())


def kinked(network):
    return [(name, module) for name, module in network.named_modules()
            if isinstance(module, (torch.nn.ReLU, torch.nn.MaxPool2d))]


def find_nudges(network, one_image, run):
    """All values of the passes that run(network) makes that float32 may see on the other side, the nearest first."""
    found, hooks = [], []
    for name, module in kinked(network):
        def look(_, args, name=name, module=module, seen=None):
            for z in args[0].detach():
                of = (name, -1 if one_image else len(seen), z)
                found.extend(rectifier_nudges(*of) if isinstance(module, torch.nn.ReLU) else pool_nudges(*of, module))
                seen.append(of[1])
        hooks.append(module.register_forward_pre_hook(functools.partial(look, seen=[])))
    run(network)
    for hook in hooks:
        hook.remove()
    return sorted(set(found))


def apply_nudges(network, nudges):
    """Added to the modules' inputs in the passes from now on."""
    for name, module in kinked(network):
        own = [nudge for nudge in nudges if nudge.module == name]

        def add(_, args, own=own, seen=None):
            moved = torch.zeros_like(args[0])
            for nudge in own:
                image = max(nudge.image - len(seen), 0) if nudge.image >= 0 else 0
                if nudge.image < 0 or len(seen) <= nudge.image < len(seen) + len(moved):
                    moved[image].view(-1)[nudge.place] = nudge.step
            seen.extend(range(len(moved)))
            return (args[0] + moved,)
        if own:
            module.register_forward_pre_hook(functools.partial(add, seen=[]))
    return network
