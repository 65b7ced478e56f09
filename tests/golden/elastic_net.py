#!/usr/bin/env python3
"""elastic_net.py - makes data/elastic_net.json: solutions by scikit-learn's SAGA, for tests/unit/test_elastic_net.c.

The features are made again here by their formula, as float32. Needs numpy and scikit-learn:

    python3 tests/golden/elastic_net.py > tests/golden/data/elastic_net.json
"""

import json

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression

SAMPLES, FEATURES, CLASSES = 48, 10, 3
CASES = [(0.99, 0.05), (0.99, 0.005), (0.5, 0.02)]  # alpha, lambda


def problem():
    i, j = np.meshgrid(np.arange(SAMPLES), np.arange(FEATURES), indexing="ij")
    y = np.arange(SAMPLES) % 7 % CLASSES
    x = 3 + np.sin(1 + 0.7 * i * (j + 1)) + 0.5 * np.cos(2.3 * (j + 2) * (y[:, None] + 1)) * (1 + 0.2 * j)
    return x.astype(np.float32), y


def main():
    x, y = problem()
    wide = x.astype(np.float64)
    z = (wide - wide.mean(0)) / wide.std(0)
    cases = []
    for alpha, strength in CASES:
        model = LogisticRegression(solver="saga", C=1 / (SAMPLES * strength), l1_ratio=alpha, penalty="elasticnet",
                                   tol=1e-14, max_iter=2000000)
        model.fit(z, y)
        weights = model.coef_ / wide.std(0)
        bias = model.intercept_ - weights @ wide.mean(0)
        logits = wide @ weights.T + bias
        loss = np.mean(np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) + logits.max(1)
                       - logits[np.arange(SAMPLES), y])
        w = model.coef_
        cases.append({"alpha": alpha, "lambda": strength, "weights": weights.ravel().tolist(),
                      "bias": (bias - bias.mean()).tolist(),
                      "objective": loss + strength * ((1 - alpha) / 2 * (w ** 2).sum() + alpha * np.abs(w).sum())})
    print(json.dumps({"scikit-learn": sklearn.__version__, "cases": cases}))


main()
