"""The loss of two-stream against its slow twin."""

import math

import pytest
import torch
from instances import dot, explicit_nt_xent, rows

from unreel.methods import two_stream
from unreel.types import Instance

B = 5


def slow_intra(a: torch.Tensor, b: torch.Tensor, intra: torch.Tensor, tau: float) -> float:
    total = 0.0
    for own, partner in ((a, b), (b, a)):
        for i in range(B):
            positive = math.exp(dot(own[i], partner[i]) / tau)
            total -= math.log(positive / (positive + sum(math.exp(dot(own[i], n) / tau) for n in intra)))
    return total / (2 * B)


@pytest.mark.parametrize("with_intra", [True, False])
def test_loss_is_the_sum_of_both_streams(with_intra: bool) -> None:
    config = two_stream.Config(temperature=0.2)
    instances = [Instance(f"{n}.mp4", n, 0.0, 1.0) for n in range(B)]
    method = two_stream.Method(torch.nn.Identity(), instances, config, seed=0)
    z = {name: rows(seed, B) for seed, name in enumerate(("looks1", "looks2", "motion1", "motion2", "intra"))}
    if not with_intra:
        del z["intra"]
    looks, motion = explicit_nt_xent(z["looks1"], z["looks2"], 0.2), explicit_nt_xent(z["motion1"], z["motion2"], 0.2)
    extra = slow_intra(z["motion1"], z["motion2"], z["intra"], 0.2) if with_intra else 0.0
    output = method.compute_loss(z, method.negative_mask.build_batch_mask(torch.arange(B)))
    assert output.loss.item() == pytest.approx(looks + motion + extra, rel=1e-9)
    assert output.logs["looks"].item() == pytest.approx(looks, rel=1e-9)
