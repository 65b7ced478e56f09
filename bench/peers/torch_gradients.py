"""The peer: 50 gradients of a class's logit in one batch, as integrated gradients or SmoothGrad ask for them.

torch_gradients.py NET THREADS REPEAT DEVICE: prints one line of JSON, seconds of each of REPEAT batches: in float32, and on a GPU
with TF32 as well. The first batches are not counted.
"""
import json
import os
import sys
import time

import torch
import torchvision

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from export import build

POINTS, WARM = 50, 3


def batch(net, points, device):
    start = time.perf_counter()
    net(points)[:, 0].sum().backward()
    gradient = points.grad
    if device == "cuda":
        torch.cuda.synchronize()
    points.grad = None
    assert gradient.shape == points.shape
    return time.perf_counter() - start


def main():
    name, threads, repeat, device = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    torch.set_num_threads(threads)
    net, size = build(name)
    net = net.to(device)
    for weight in net.parameters():
        weight.requires_grad_(False)
    points = torch.randn(POINTS, 3, size, size, device=device, requires_grad=True)
    seconds = {}
    for precision in ("fp32", "tf32") if device == "cuda" else ("fp32",):
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
        seconds[precision] = [batch(net, points, device) for _ in range(WARM + repeat)][WARM:]
    print(json.dumps({"seconds": seconds, "versions": f"PyTorch {torch.__version__}, torchvision {torchvision.__version__}"}))


if __name__ == "__main__":
    main()
