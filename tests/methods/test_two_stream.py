"""The loss of two-stream against its slow twin."""

import math

import pytest
import torch

from unreel.methods import two_stream
from unreel.types import Instance

B, D = 5, 7


def unit_rows(seed: int) -> torch.Tensor:
    rows = torch.randn(B, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return rows / rows.norm(dim=1, keepdim=True)


def slow_contrast(a: torch.Tensor, b: torch.Tensor, tau: float) -> float:
    """The mean over all 2B clips of -log of the partner's share among the 2B - 1 others."""
    clips = [*a.tolist(), *b.tolist()]
    total = 0.0
    for i, own in enumerate(clips):
        scores = [math.exp(sum(x * y for x, y in zip(own, other, strict=True)) / tau) for other in clips]
        total -= math.log(scores[(i + B) % (2 * B)] / (sum(scores) - scores[i]))
    return total / (2 * B)


def slow_intra(a: torch.Tensor, b: torch.Tensor, intra: torch.Tensor, tau: float) -> float:
    total = 0.0
    for own, partner in ((a, b), (b, a)):
        for i in range(B):
            positive = math.exp(float(own[i] @ partner[i]) / tau)
            total -= math.log(positive / (positive + sum(math.exp(float(own[i] @ n) / tau) for n in intra)))
    return total / (2 * B)


@pytest.mark.parametrize("with_intra", [True, False])
def test_loss_is_the_sum_of_both_streams(with_intra: bool) -> None:
    config = two_stream.Config(temperature=0.2)
    instances = [Instance(f"{n}.mp4", n, 0.0, 1.0) for n in range(B)]
    method = two_stream.Method(torch.nn.Identity(), instances, config, seed=0)
    z = {name: unit_rows(seed) for seed, name in enumerate(("looks1", "looks2", "motion1", "motion2", "intra"))}
    if not with_intra:
        del z["intra"]
    looks, motion = slow_contrast(z["looks1"], z["looks2"], 0.2), slow_contrast(z["motion1"], z["motion2"], 0.2)
    extra = slow_intra(z["motion1"], z["motion2"], z["intra"], 0.2) if with_intra else 0.0
    output = method.compute_loss(z, method.negative_mask.build_batch_mask(torch.arange(B)))
    assert output.loss.item() == pytest.approx(looks + motion + extra, rel=1e-9)
    assert output.logs["looks"].item() == pytest.approx(looks, rel=1e-9)
