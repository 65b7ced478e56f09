"""The peer of the exact solver: the row-by-row form as published, in PyTorch, float64.

torch_exact.py COLUMNS GROUP ROWS THREADS: eliminates ROWS rows to their end and prints one line of JSON. Each row has its
own copy of the inverse; each elimination scores all groups by the inverses of their diagonal blocks and updates all of
the copy by one product.
"""
import json
import sys
import time

import torch


def problem(columns, rows):
    torch.manual_seed(0)
    strength = 0.1 + torch.rand(columns, 1, dtype=torch.float64)
    x = (strength * (torch.rand(columns, columns // 2 + 64, dtype=torch.float64) - 0.4)).clamp(min=0)
    H = 2.0 / x.shape[1] * x @ x.T
    H += 0.01 * torch.diag(H).mean() * torch.eye(columns, dtype=torch.float64)
    return torch.cholesky_inverse(torch.linalg.cholesky(H)), torch.randn(rows, columns, dtype=torch.float64)


def eliminate(w, inverse, group):
    """One row to its end -> order of its groups, losses."""
    count = len(w) // group
    w, inverse, alive = w.clone(), inverse.clone(), torch.ones(count, dtype=torch.bool)
    index, order, losses = torch.arange(count), [], []
    for _ in range(count):
        blocks = inverse.view(count, group, count, group)[index, :, index, :]
        block_inverses = torch.linalg.inv(blocks) if group > 1 else 1 / blocks
        parts = w.view(count, 1, group)
        multipliers = parts @ block_inverses  # [count, 1, group]
        scores = (multipliers * parts).sum((1, 2)).masked_fill(~alive, float("inf"))
        j = int(torch.argmin(scores))
        order.append(j)
        losses.append(float(scores[j]) / 2)
        at = slice(j * group, (j + 1) * group)
        rows = inverse[at].clone()
        w -= (multipliers[j] @ rows)[0]
        alive[j] = False
        gone = (~alive).repeat_interleave(group)
        w[gone] = 0
        inverse -= rows.T @ (block_inverses[j] @ rows)
        inverse[gone, gone] = 1
    return order, losses


def main():
    columns, group, rows, threads = map(int, sys.argv[1:])
    torch.set_num_threads(threads)
    inverse, W = problem(columns, rows)
    start = time.perf_counter()
    for w in W:
        eliminate(w, inverse, group)
    print(json.dumps({"seconds_per_row": (time.perf_counter() - start) / rows, "versions": f"PyTorch {torch.__version__}"}))


if __name__ == "__main__":
    main()
