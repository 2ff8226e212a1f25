#!/usr/bin/env python3
"""Makes tests/golden/losses.json: values and gradients of the losses in torch, f64, straight from their papers' formulas.

    pip install torch==2.11.0 && learn/oracles/losses.py
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F

N, K = 6, 7


def kd(student, teacher, t):
    p = F.softmax(teacher / t, 1)
    return t * t * (p * (F.log_softmax(teacher / t, 1) - F.log_softmax(student / t, 1))).sum(1).mean()


def dkd(student, teacher, labels, t):
    """The parts, by picking the other classes out row by row."""
    target, others = 0, 0
    for z_s, z_t, y in zip(student / t, teacher / t, labels):
        rest = [c for c in range(K) if c != y]
        parts = []
        for z in (z_t, z_s):
            all_ = torch.logsumexp(z, 0)
            parts.append((z[y] - all_, torch.logsumexp(z[rest], 0) - all_, F.log_softmax(z[rest], 0)))
        (ty, tr, to), (sy, sr, so) = parts
        target = target + ty.exp() * (ty - sy) + tr.exp() * (tr - sr)
        others = others + (to.exp() * (to - so)).sum()
    return t * t * target / N, t * t * others / N


def negative(logits, other):
    out = []
    for z, c in zip(logits, other):
        rest = [k for k in range(K) if k != c]
        out.append(torch.logsumexp(z, 0) - torch.logsumexp(z[rest], 0))
    return torch.stack(out)


def arcface(embedding, weight, labels, s, m, straight):
    cos = F.normalize(embedding) @ F.normalize(weight).T
    clamped = cos + (cos.clamp(-1 + 1e-4, 1 - 1e-4) - cos).detach()
    rows = []
    for row, y in zip(clamped, labels):
        c = row[y]
        theta = torch.acos(c)
        phi = torch.cos(theta + m) if theta + m <= math.pi else c - m * math.sin(m)
        if straight:
            phi = c + (phi - c).detach()
        rows.append(torch.stack([phi if k == y else row[k] for k in range(K)]))
    return s * torch.stack(rows)


def pearson(a, b):
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-8)


def dist(student, teacher, tau):
    """hunto/DIST_KD, inter- and intra-class relations."""
    p_s, p_t = F.softmax(student / tau, 1), F.softmax(teacher / tau, 1)
    return tau * tau * (1 - pearson(p_s, p_t).mean()), tau * tau * (1 - pearson(p_s.T, p_t.T).mean())


def standardised(logits):
    """mdistiller's `normalize` of logit standardisation."""
    return (logits - logits.mean(-1, keepdim=True)) / (1e-7 + logits.std(dim=-1, keepdim=True))


def entry(loss, *inputs):
    gradients = torch.autograd.grad(loss, inputs, retain_graph=True)
    return {"value": loss.item(), "gradients": [gradient.flatten().tolist() for gradient in gradients]}


def main():
    torch.manual_seed(11)
    base_s, base_t = torch.randn(N, K, dtype=torch.float64), torch.randn(N, K, dtype=torch.float64)
    labels = torch.randint(0, K, (N,))
    other = (labels + torch.randint(1, K, (N,))) % K
    weights = torch.rand(K, dtype=torch.float64) + 0.5
    prior = torch.log(torch.softmax(torch.randn(K, dtype=torch.float64), 0))
    # A generator of its own: the numbers above and below stay as they were.
    votes = torch.randint(0, 5, (N, K), generator=torch.Generator().manual_seed(3)).double() + 0.01
    targets = votes / votes.sum(1, keepdim=True)
    scales = []
    for scale in (1.0, 5.0, 30.0, 100.0):
        s, t = (scale * base_s).requires_grad_(), scale * base_t
        ce = F.cross_entropy(s, labels)
        between, within = dist(s, t, 2.0)
        target, others = dkd(s, t, labels, 2.0)
        p_y = F.softmax(s, 1)[range(N), labels].detach()
        nl = negative(s, other)
        sel = p_y >= 1 / K
        pos = p_y >= 0.5
        doubted = F.softmax(t, 1)[range(N), labels] < 1 / K
        mean = lambda values, mask: (values * mask).sum() / max(int(mask.sum()), 1)
        scales.append({
            "cross_entropy": entry(ce, s),
            "cross_entropy_smooth_weighted": entry(F.cross_entropy(s, labels, weights, label_smoothing=0.1), s),
            "cross_entropy_adjusted": entry(F.cross_entropy(s + prior, labels), s),
            "distillation": entry(kd(s, t, 2.0), s),
            "decoupled_target": entry(target, s),
            "decoupled_others": entry(others, s),
            "decoupled_reference": entry(1.5 * ce + 2 / 5 * (1.0 * target + 8.0 * others), s),
            "decoupled_blended": entry(0.5 * ce + 0.5 * target + 4.0 * others, s),
            "correlation_between": entry(between, s),
            "correlation_within": entry(within, s),
            "correlation": entry(0.5 * ce + 2.0 * between + 3.0 * within, s),
            "standardised": entry(kd(standardised(s), standardised(t), 2.0), s),
            "soft_targets": entry(-(targets * F.log_softmax(s, 1)).sum(1).mean(), s),
            "soft_targets_smooth_weighted": entry(F.cross_entropy(s, targets, weights, label_smoothing=0.1), s),
            "negative": entry(nl.mean(), s),
            "selected": entry(mean(nl, sel), s),
            "positive": entry(mean(-F.log_softmax(s, 1)[range(N), labels], pos) + 0 * s.sum(), s),
            "doubted": entry(mean(nl, doubted), s),
        })
    embedding = torch.randn(N, 8, dtype=torch.float64)
    weight = torch.randn(K, 8, dtype=torch.float64)
    # Angles of 0, of pi, and of more than pi - m.
    embedding[0] = 3 * weight[labels[0]]
    embedding[1] = -2 * weight[labels[1]]
    embedding[2] = -weight[labels[2]] + 0.05 * torch.randn(8, dtype=torch.float64)
    embedding.requires_grad_()
    weight.requires_grad_()
    margins = {}
    for name, straight in (("analytic", False), ("straight_through", True)):
        logits = arcface(embedding, weight, labels, 30.0, 0.35, straight)
        margins[name] = {"logits": logits.flatten().tolist(), **entry(F.cross_entropy(logits, labels), embedding, weight)}
    made = {
        "script": "learn/oracles/losses.py", "torch": torch.__version__,
        "student": base_s.flatten().tolist(), "teacher": base_t.flatten().tolist(),
        "labels": labels.tolist(), "other": other.tolist(), "weights": weights.tolist(), "prior": prior.tolist(),
        "targets": targets.flatten().tolist(),
        "scales": scales,
        "embedding": embedding.flatten().tolist(), "weight": weight.flatten().tolist(), "arcface": margins,
    }
    path = pathlib.Path(__file__).parents[1] / "tests/golden/losses.json"
    path.write_text(json.dumps(made) + "\n")
    print({key: value["value"] for key, value in scales[3].items()})


if __name__ == "__main__":
    main()
