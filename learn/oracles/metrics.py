#!/usr/bin/env python3
"""Makes tests/golden/metrics.json: metrics of the same predictions by scikit-learn, torchmetrics, netcal and SciPy.

    pip install numpy scikit-learn torch==2.11.0 torchmetrics netcal scipy && learn/oracles/metrics.py
"""

import json
import pathlib
import warnings
from importlib.metadata import version

import numpy as np
import torch
from netcal.metrics import ECE
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss, precision_recall_fscore_support
from torchmetrics.functional.classification import multiclass_calibration_error

BINS = 15


def equal_width(confidence, right):
    """ECE over (lo, hi] bins, from netcal, which bins likewise."""
    return float(ECE(BINS).measure(confidence, right.astype(int)))


def adaptive(confidence, right):
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, min(BINS, len(order)))
    return float(sum(abs(right[p].sum() - confidence[p].sum()) for p in parts) / len(order))


def measure(logits, labels):
    classes = logits.shape[1]
    logs = log_softmax(logits, axis=1)
    p = np.exp(logs)
    predicted = logits.argmax(axis=1)
    confidence, right = p.max(axis=1), predicted == labels
    every = list(range(classes))
    precision, recall, f1, _ = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    compat = multiclass_calibration_error(torch.from_numpy(p), torch.from_numpy(labels), classes, n_bins=BINS, norm="l1")
    fit = minimize_scalar(
        lambda u: -log_softmax(logits / np.exp(u), axis=1)[np.arange(len(labels)), labels].mean(),
        bounds=(-6.9, 9.2), method="bounded", options={"xatol": 1e-12},
    )
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(f1.mean()),
        "nll": float(log_loss(labels, p, labels=every)) if p.min() > 1e-15 else float(-logs[np.arange(len(labels)), labels].mean()),
        "brier": float(((p - np.eye(classes)[labels]) ** 2).sum(axis=1).mean()),
        "ece": equal_width(confidence, right),
        "ece_compat": float(compat),
        "ece_adaptive": adaptive(confidence, right),
        "ece_classwise": float(np.mean([classwise(p[:, k], labels == k) for k in every])),
        "precision": precision.tolist(), "recall": recall.tolist(), "f1": f1.tolist(),
        "confusion": confusion_matrix(labels, predicted, labels=every).tolist(),
        "temperature": float(np.exp(fit.x)),
        "nll_after": float(fit.fun),
    }


def classwise(p, is_class):
    """(lo, hi] bins of a class's probability; a probability of 0 falls into the first."""
    index = np.clip(np.ceil(p * BINS).astype(int) - 1, 0, BINS - 1)
    return sum(abs(is_class[index == b].sum() - p[index == b].sum()) for b in range(BINS)) / len(p)


def main():
    warnings.filterwarnings("ignore")
    random = np.random.default_rng(7)
    cases = []
    for name, rows, classes, scale in [("seven", 400, 7, 2.0), ("overconfident", 200, 7, 30.0), ("scale 100", 60, 5, 100.0), ("absent class", 50, 4, 1.0)]:
        labels = random.integers(0, classes - (name == "absent class"), rows)
        logits = np.round(random.normal(size=(rows, classes)) * scale, 3)
        logits[np.arange(rows), labels] += scale
        logits = np.round(logits, 3)
        if name == "absent class":
            logits[:, classes - 1] -= 20
        cases.append({"name": name, "classes": classes, "logits": logits.flatten().tolist(), "labels": labels.tolist(), **measure(logits, labels)})
    mcnemar = [{"one": a, "other": b, "p": float(binomtest(a, a + b).pvalue)} for a, b in [(3, 9), (10, 12), (0, 5), (40, 80)]]
    packages = ["numpy", "scikit-learn", "torchmetrics", "netcal", "scipy", "torch"]
    made = {"script": "learn/oracles/metrics.py", "versions": {name: version(name) for name in packages}, "cases": cases, "mcnemar": mcnemar}
    path = pathlib.Path(__file__).parents[1] / "tests/golden/metrics.json"
    path.write_text(json.dumps(made) + "\n")
    for case in cases:
        print(case["name"], {k: v for k, v in case.items() if isinstance(v, float)})


if __name__ == "__main__":
    main()
