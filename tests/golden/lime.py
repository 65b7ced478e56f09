#!/usr/bin/env python3
"""lime.py - makes data/lime.json: LIME's coefficients by scikit-learn's Lasso, for tests/unit/test_surrogate_devices.c.

Everything is done again here, in double: the samples (Philox4x32-10), the network (x -> sigmoid -> fc), the superpixels
(rectangles), the weights. Needs numpy and scikit-learn:

    python3 tests/golden/lime.py > tests/golden/data/lime.json
"""

import json
import math

import numpy as np
import sklearn
from sklearn.linear_model import Lasso

CHANNELS, HEIGHT, WIDTH, CLASSES = 2, 9, 14, 3
PIXELS = HEIGHT * WIDTH
SIZE = CHANNELS * PIXELS
STREAM = 2  # the last word of the counters (lime.c)


def philox(key, counter):
    """One block of Philox4x32-10 (Salmon et al. 2011)."""
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k[1], a & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def content_hash(data, seed):
    """FNV-1a/64 with a final avalanche (base/random.c)."""
    h = 0xCBF29CE484222325 ^ seed
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    h ^= h >> 33
    h = h * 0xFF51AFD7ED558CCD & 0xFFFFFFFFFFFFFFFF
    return h ^ h >> 33


def network(images):
    """F of the classes: images [n, SIZE] -> [n, CLASSES]; the weights have a formula, so that the test can have them too."""
    weights = np.array([math.sin(1 + 0.37 * i) for i in range(CLASSES * SIZE)], np.float32).astype(np.float64)
    return 1 / (1 + np.exp(-images)) @ weights.reshape(CLASSES, SIZE).T


def case(samples, segments, baseline, alpha, width, seed):
    x = np.array([2 * math.sin(0.5 + 1.7 * i) for i in range(SIZE)], np.float32)
    key = content_hash(x.tobytes(), seed)
    key = [key & 0xFFFFFFFF, key >> 32]
    spacing = math.sqrt(PIXELS / segments)
    rows = round(HEIGHT / spacing)
    columns = round(segments / rows)
    cells = np.array([p // WIDTH * rows // HEIGHT * columns + p % WIDTH * columns // WIDTH for p in range(PIXELS)])
    count = rows * columns
    keep = np.zeros((samples, count))
    for i in range(samples):
        for s in range(count):
            block = philox(key, [i, s // 128, 0, STREAM])
            keep[i, s] = block[s % 128 // 32] >> s % 32 & 1
    original = x.astype(np.float64)
    mask = np.tile(keep[:, cells], CHANNELS)
    images = mask * original + (1 - mask) * baseline
    norms = np.linalg.norm(images, axis=1) * np.linalg.norm(original)
    distance = 1 - images @ original / np.maximum(norms, 1e-8)
    weights = np.exp(-(distance**2) / (2 * width**2))
    values = network(images)
    coefficients = []
    for c in range(CLASSES):
        model = Lasso(alpha=alpha, tol=1e-14, max_iter=1000000).fit(keep, values[:, c], sample_weight=weights)
        coefficients.append([float(f"{w:.9g}") for w in model.coef_])
    method = (f"lime:samples={samples}:superpixels=grid:segments={segments}:baseline={baseline:g}:alpha={alpha:g}"
              f":kernel_width={width:g}:seed={seed}")
    return {"method": method, "segments": count, "coefficients": coefficients}


def main():
    cases = [
        case(50, 12, 0, 0.01, 1, 0),
        case(200, 12, 0.5, 0.1, 0.25, 3),
        case(150, 40, -1, 0.05, 2, 1),  # more than a word of random bits
        case(20, 40, 0, 0.1, 1, 0),  # fewer samples than superpixels
    ]
    lines = ",\n  ".join(json.dumps(c) for c in cases)
    print(f'{{"made_with": "scikit-learn {sklearn.__version__}",\n "cases": [\n  {lines}\n ]}}')


if __name__ == "__main__":
    main()
