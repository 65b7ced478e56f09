"""Which modules the layers of a network belong to, as PyTorch runs it: what spade's names have to be."""
import re

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Operations that multiply by a weight, and where among their arguments it may stand.
PRODUCTS = {"convolution": (1,), "mm": (0, 1), "bmm": (0, 1), "addmm": (1, 2), "baddbmm": (1, 2)}


class LayerRecorder(TorchDispatchMode):
    """Notes whose parameter each convolution and product reads; a convolution by a computed weight is the running module's.
    layers: the names that each has, several where a module stands in several places; none from the second run of one on.
    of_constants: for each, whether the picture has no part in it, as in an MLP over a table of positions."""

    def __init__(self, network):
        super().__init__()
        self.names, self.layers, self.of_constants, self.running, self.handles = {}, [], [], [], []
        for name, parameter in network.named_parameters(remove_duplicate=False):
            names = self.names.setdefault(parameter.untyped_storage().data_ptr(), set())
            layer = re.sub("[._]weight$", "", name)
            names.add(layer)
            if layer == name:  # a table, of which a module may have several
                module = name.rpartition(".")[0]
                names.update([module, f"{module}#2", f"{module}#3"])
        for name, module in network.named_modules():
            self.handles.append(module.register_forward_pre_hook(lambda *_, name=name: self.running.append(name)))
            self.handles.append(module.register_forward_hook(lambda *_: self.running.pop() and None))

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        operation = function.overloadpacket.__name__
        for place in PRODUCTS.get(operation, ()):
            names = self.names.get(arguments[place].untyped_storage().data_ptr())
            if names is not None:
                self.layers.append(names if names not in self.layers else set())
                break
        else:
            if operation == "convolution":
                self.layers.append({self.running[-1]})
        if len(self.of_constants) < len(self.layers):
            self.of_constants.append(not any(isinstance(a, torch.Tensor) and a.requires_grad for a in arguments))
        return function(*arguments, **(options or {}))


def layer_names(network, x, listed=()):
    """In the order in which the network runs them, see LayerRecorder.layers. Those of constants only where they are listed: spade
    computes linear layers of constants when it loads a file, which are no layers then, and runs convolutions of constants."""
    torch.backends.mha.set_fastpath_enabled(False)  # one fused operation, which shows no weights
    recorder = LayerRecorder(network.requires_grad_(False))  # so that what the picture makes, and that alone, wants a gradient
    try:
        with recorder:
            network(x.clone().requires_grad_())
    finally:
        for handle in recorder.handles:
            handle.remove()
    return [names for names, of_constants in zip(recorder.layers, recorder.of_constants)
            if not of_constants or not names.isdisjoint(listed)]


def add_in_projections(layers, path):
    """PATH.in_proj for PATH.qkv where the file has no word of it: the older exporter's, of a weight by which an attention
    multiplies without calling the module."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    tensors = [tensor.name for tensor in graph.initializer]
    if any(node.metadata_props for node in graph.node):
        return layers
    return [names | {f"{name.rpartition('.')[0]}.in_proj" for name in names if not any(t.startswith(name) for t in tensors)}
            for names in layers]


def find_wrong(names, expected):
    """The first name that is none of its layer's, or that two layers have; a module's second run may have any other name. None: all
    are right."""
    for i in range(max(len(names), len(expected))):
        if i >= len(names) or i >= len(expected):
            return (names + ["(none)"])[i] if i >= len(expected) else "(none)"
        if (expected[i] and names[i] not in expected[i]) or names[i] in names[:i]:
            return names[i]
    return None
