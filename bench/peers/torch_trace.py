"""The peer: the trace of one picture as a user of PyTorch would write it from the paper.

torch_trace.py PICTURE VARIANTS SPARSITY THREADS: prints one line of JSON. The clock starts at the picture file (Python, the
libraries and the network are loaded before) and stops when the network holds the sparse weights.
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
from export_resnet18 import build


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


def hessians(net, batch):
    out = {}

    def hook(module, inputs, _):
        x = inputs[0]
        if isinstance(module, nn.Conv2d):
            x = F.unfold(x, module.kernel_size, module.dilation, module.padding, module.stride)  # [n, K, positions]
            x = x.transpose(0, 1).reshape(x.shape[1], -1)
        else:
            x = x.t()
        out[module] = 2.0 / len(batch) * x.matmul(x.t())

    handles = [m.register_forward_hook(hook) for m in layers(net)]
    net(batch)
    for handle in handles:
        handle.remove()
    return out


def prune(module, H, sparsity, damping=0.01):
    W = module.weight.data.flatten(1).clone()
    b = module.weight[0, 0].numel() if module.weight.dim() == 4 else 1
    dead = torch.diag(H) == 0
    H[dead, dead] = 1
    W[:, dead] = 0
    H += damping * torch.diag(H).mean() * torch.eye(len(H))
    U = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(H)), upper=True)
    for a in range(0, W.shape[1], b):
        e = a + b
        score = W[:, a:e] ** 2 / torch.diag(U)[a:e] ** 2
        count = int(score.numel() * sparsity)
        mask = torch.zeros(score.numel(), dtype=torch.bool)
        mask[torch.argsort(score.flatten(), stable=True)[:count]] = True
        mask = mask.view_as(score)
        errors = torch.zeros_like(score)
        for i in range(a, e):  # inside the block column by column, the columns behind it at once
            pruned = mask[:, i - a]
            errors[:, i - a] = torch.where(pruned, W[:, i], torch.zeros(())) / U[i, i]
            W[:, i:e] -= errors[:, i - a, None] * U[i, i:e]
            W[pruned, i] = 0
        W[:, e:] -= errors.matmul(U[a:e, e:])
    module.weight.data = W.view_as(module.weight)


def main():
    path, count, sparsity, threads = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(threads)
    net = build()
    with torch.no_grad():
        start = time.perf_counter()
        batch = variants(path, count)
        augmented = time.perf_counter()
        H = hessians(net, batch)
        forward = time.perf_counter()
        for module in layers(net):
            prune(module, H.pop(module), sparsity)
        end = time.perf_counter()
    zeros = sum(int((m.weight == 0).sum()) for m in layers(net))
    total = sum(m.weight.numel() for m in layers(net))
    print(json.dumps({"seconds": end - start, "augment": augmented - start, "hessian": forward - augmented,
                      "solve": end - forward, "zeros": zeros, "weights": total,
                      "versions": f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}"}))


if __name__ == "__main__":
    main()
