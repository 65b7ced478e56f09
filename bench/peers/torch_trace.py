"""The peer: the trace of one picture as a user of PyTorch would write it from the paper.

torch_trace.py NET PICTURE VARIANTS SPARSITY THREADS [DEVICE]: prints one line of JSON. DEVICE: cpu (default) or cuda; there
too everything is float32 (TF32 off) and pictures are augmented by torchvision's transforms on the processor. The clock starts at the picture file
(Python, the libraries and the network are loaded before) and stops when the network holds the sparse weights.

The sweep updates the columns behind a block at once, by one product, not after every column: the faster of the two ways
to write it, so the fair one.
"""
import json
import os
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision
from PIL import Image
from torchvision import transforms as T

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from export import build


class Clock:
    """Seconds by stage: everything since the last call belongs to the stage that is named."""

    def __init__(self, device):
        self.device = device
        self.seconds = dict.fromkeys(("augment", "forward", "hessian", "factor", "sweep"), 0.0)
        self.last = self.start = time.perf_counter()

    def done(self, stage):
        if self.device == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.seconds[stage] += now - self.last
        self.last = now


def variants(path, count):
    augment = T.Compose([
        T.RandomResizedCrop(224, scale=(0.2, 1.0)),
        T.RandomHorizontalFlip(),
        T.ColorJitter(brightness=0.5, hue=0.3),
        T.ToTensor(),
        T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])
    picture = Image.open(path).convert("RGB")
    return torch.stack([augment(picture) for _ in range(count)])


def layers(net):
    """Every convolution and linear layer but the first convolution."""
    found = [m for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    return found[1:]


def hessians(net, batch, clock):
    out = {}

    def hook(module, inputs, _):
        clock.done("forward")
        x = inputs[0]
        if isinstance(module, nn.Conv2d):
            x = F.unfold(x, module.kernel_size, module.dilation, module.padding, module.stride)  # [n, K, positions]
            x = x.transpose(0, 1).reshape(x.shape[1], -1)
        else:
            x = x.flatten(0, -2).t()  # tokens are samples, too
        out[module] = 2.0 / len(batch) * x.matmul(x.t())
        clock.done("hessian")

    handles = [m.register_forward_hook(hook) for m in layers(net)]
    net(batch)
    for handle in handles:
        handle.remove()
    clock.done("forward")
    return out


def factor(H, W, damping=0.01):
    """Dead inputs, damping, then the upper Cholesky factor of the inverse."""
    dead = torch.diag(H) == 0
    H[dead, dead] = 1
    W[:, dead] = 0
    H += damping * torch.diag(H).mean() * torch.eye(len(H), device=H.device)
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(H)), upper=True)


def sweep(W, U, b, sparsity):
    """Blocks of b columns from left to right; W becomes sparse."""
    for a in range(0, W.shape[1], b):
        e = a + b
        score = W[:, a:e] ** 2 / torch.diag(U)[a:e] ** 2
        count = int(score.numel() * sparsity)
        mask = torch.zeros(score.numel(), dtype=torch.bool, device=W.device)
        mask[torch.argsort(score.flatten(), stable=True)[:count]] = True
        mask = mask.view_as(score)
        errors = torch.zeros_like(score)
        for i in range(a, e):  # inside the block column by column, the columns behind it at once
            pruned = mask[:, i - a]
            errors[:, i - a] = torch.where(pruned, W[:, i], torch.zeros((), device=W.device)) / U[i, i]
            W[:, i:e] -= errors[:, i - a, None] * U[i, i:e]
            W[pruned, i] = 0
        W[:, e:] -= errors.matmul(U[a:e, e:])


def prune(module, H, sparsity, clock):
    W = module.weight.data.flatten(1).clone()
    b = module.weight[0, 0].numel() if module.weight.dim() == 4 else 1
    U = factor(H, W)
    clock.done("factor")
    sweep(W, U, b, sparsity)
    module.weight.data = W.view_as(module.weight)
    clock.done("sweep")


def main():
    name, path, count, sparsity, threads = sys.argv[1:6]
    device = sys.argv[6] if len(sys.argv) > 6 else "cpu"
    torch.set_num_threads(int(threads))
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    net, _ = build(name)
    net.to(device)
    if device == "cuda":
        net(torch.zeros(2, 3, 224, 224, device=device))  # libraries loaded, kernels chosen: not in the time
    with torch.no_grad():
        clock = Clock(device)
        batch = variants(path, int(count)).to(device)
        clock.done("augment")
        H = hessians(net, batch, clock)
        for module in layers(net):
            prune(module, H.pop(module), float(sparsity), clock)
    zeros = sum(int((m.weight == 0).sum()) for m in layers(net))
    total = sum(m.weight.numel() for m in layers(net))
    print(json.dumps({"seconds": clock.last - clock.start, "stages": clock.seconds, "zeros": zeros, "weights": total,
                      "memory": torch.cuda.max_memory_allocated() if device == "cuda" else 0,
                      "versions": f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}"}))


if __name__ == "__main__":
    main()
