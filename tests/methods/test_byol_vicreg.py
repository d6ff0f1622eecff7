"""BYOL and VICReg against slow explicit twins."""

import dataclasses
import math

import pytest
import torch
from methods import B, alone, build, dot, shake, through, views
from torch import Tensor

from unreel.methods.registry import load_preset


@pytest.mark.parametrize("norm", ["running", "batch"])
def test_byol_guesses_what_the_teacher_says_of_the_other_view(norm: str) -> None:
    method = build("byol", dataclasses.replace(load_preset("byol")[0], teacher_norm=norm))
    batch, teacher = views("view1", "view2"), method.teacher.network
    method(views("view1", "view2", seed=3))
    method.after_step()
    shake(method)
    wanted = 0.0
    for mine, other in (("view1", "view2"), ("view2", "view1")):
        h = alone(method.backbone, batch.tensors[mine])
        p = through(method.predictor, [method.projector(v[None])[0].detach() for v in h])
        z = through(teacher.projector, alone(teacher.backbone, batch.tensors[other]))
        wanted += sum(2 - 2 * dot(p[i], z[i]) for i in range(B)) / B
    assert float(method(batch).loss.detach()) == pytest.approx(wanted, rel=1e-9)


def test_byol_trains_the_network_and_not_the_teacher() -> None:
    method, batch = build("byol", load_preset("byol")[0]), views("view1", "view2")
    method(batch).loss.backward()
    assert method.backbone.matrix.grad.abs().sum() > 0
    assert all(w.grad is None and not w.requires_grad for w in method.teacher.parameters())
    for step in range(3):
        before = [w.clone() for w in method.teacher.parameters()]
        shake(method, step)
        method.after_step()
        share = min(method.config.teacher_momentum, 1 - 1 / (step + 1))
        student = [*method.backbone.parameters(), *method.projector.parameters()]
        for old, new, now in zip(before, student, method.teacher.parameters(), strict=True):
            assert torch.allclose(now, share * old + (1 - share) * new, rtol=1e-12)


def variance_and_covariance(z: list[Tensor]) -> tuple[float, float]:
    """Mean over the numbers of the hinge on their deviation; squared covariances of different ones over their count."""
    rows, width = len(z), len(z[0])
    columns = [[float(row[d]) for row in z] for d in range(width)]
    centred = [[x - sum(c) / rows for x in c] for c in columns]

    def covariance(d: int, e: int) -> float:
        return sum(x * y for x, y in zip(centred[d], centred[e], strict=True)) / (rows - 1)

    hinge = sum(max(0.0, 1 - math.sqrt(covariance(d, d) + 1e-4)) for d in range(width)) / width
    repeated = sum(covariance(d, e) ** 2 for d in range(width) for e in range(width) if d != e) / width
    return hinge, repeated


@pytest.mark.parametrize("weights", [(25.0, 25.0, 1.0), (1.0, 0.0, 7.0), (0.0, 3.0, 0.5)])
def test_vicreg_agrees_varies_and_decorrelates(weights: tuple[float, float, float]) -> None:
    """Scales of the release: the hinge is the mean over the two views, the covariance their sum."""
    invariance, variance, covariance = weights
    config = load_preset("vicreg")[0]
    config = dataclasses.replace(config, invariance=invariance, variance=variance, covariance=covariance, head_width=12)
    method, batch = build("vicreg", config), views("view1", "view2")
    shake(method)
    a, b = ([method.head(h[None])[0].detach() for h in alone(method.backbone, x)] for x in batch.tensors.values())
    distance = sum(float((x - y).pow(2).sum()) for x, y in zip(a, b, strict=True)) / (B * 12)
    (vary_a, repeat_a), (vary_b, repeat_b) = variance_and_covariance(a), variance_and_covariance(b)
    wanted = invariance * distance + variance * (vary_a + vary_b) / 2 + covariance * (repeat_a + repeat_b)
    assert float(method(batch).loss.detach()) == pytest.approx(wanted, rel=1e-9)
    assert min(distance, vary_a, repeat_a) > 0
