"""Learning rates of the schedules, and what the optimisers are built with."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from unreel.errors import InputError
from unreel.settings import Settings
from unreel.training.lr_schedule import compute_lr, set_lr
from unreel.training.optimizers import build_optimizer


@pytest.mark.parametrize("epoch_steps", [1, 7, 596])
def test_the_papers_drops(epoch_steps: int) -> None:
    """IIC's release: times 0.2 after epochs 45, 90, 125 and 160 of 240, so epochs counted from 0 drop at 45, 90, ..."""
    settings, total = Settings(), 240 * epoch_steps
    for epoch in range(240):
        drops = (epoch >= 45) + (epoch >= 90) + (epoch >= 125) + (epoch >= 160)
        for step in (epoch * epoch_steps, (epoch + 1) * epoch_steps - 1):
            assert compute_lr(step, total, settings) == pytest.approx(0.01 * 0.2**drops, rel=1e-12)


def test_drops_are_shares_of_a_run_of_any_length() -> None:
    rates = [compute_lr(step, 48 * 10, Settings()) for step in range(480)]
    changes = [step for step in range(1, 480) if rates[step] != rates[step - 1]]
    assert changes == [90, 180, 250, 320]


@pytest.mark.parametrize("epoch_steps", [1, 60, 150, 1000])
def test_a_run_of_an_epoch_or_less_drops_too(epoch_steps: int) -> None:
    """Settings.schedule promises drops at 45/240 ... of the run, also to `--steps 100` on a large set."""
    rates = [compute_lr(step, 100, Settings()) for step in range(100)]
    assert rates[10] == pytest.approx(0.01) and rates[99] == pytest.approx(0.01 * 0.2**4)
    assert all(0.19 < after / before <= 1 for before, after in zip(rates[:-1], rates[1:], strict=True))


@pytest.mark.parametrize("schedule", ["steps", "cosine"])
def test_warmup_is_a_straight_line_to_the_peak(schedule: Any) -> None:
    settings = Settings(schedule=schedule, warmup=0.1, lr=0.5)
    rates = [compute_lr(step, 100, settings) for step in range(12)]
    assert rates[:11] == pytest.approx([0.5 * (k + 1) / 11 for k in range(11)])
    assert max(rates) == rates[10] == 0.5


def test_cosine_ends_at_zero() -> None:
    settings = Settings(schedule="cosine", warmup=0.2, lr=0.3)
    rates = [compute_lr(step, 1000, settings) for step in range(1001)]
    assert rates[200] == pytest.approx(0.3) and rates[600] == pytest.approx(0.15) and rates[1000] == pytest.approx(0)
    assert 0 < rates[999] < 1e-5
    assert all(after < before for before, after in zip(rates[200:-1], rates[201:], strict=True))
    assert compute_lr(0, 10, Settings(schedule="cosine", lr=0.3)) == 0.3


@pytest.mark.parametrize("epochs", [200, 800])
def test_cvrls_rate_against_the_twin_of_tensorflows(epochs: int) -> None:
    """A cosine over all steps; for 5 epochs a line from 0 instead, to where the cosine is at their end."""
    settings = Settings(schedule="cosine-from-start", lr=0.32, warmup_epochs=5, epochs=epochs)
    total, warm = 7 * epochs, 35

    def cosine(step: int) -> float:
        return 0.32 * 0.5 * (1 + math.cos(math.pi * step / total))

    rates = [compute_lr(step, total, settings, steps_per_epoch=7) for step in range(total + 1)]
    assert rates[:warm] == pytest.approx([step / warm * cosine(warm) for step in range(warm)])
    assert rates[warm:] == pytest.approx([cosine(step) for step in range(warm, total + 1)], abs=1e-12)
    assert rates[0] == 0 and max(rates) == rates[warm] < 0.32
    assert compute_lr(0, 10, Settings(schedule="cosine-from-start", lr=0.3)) == 0.3


def test_a_warm_up_in_epochs_is_as_long_whatever_the_run() -> None:
    settings = Settings(schedule="cosine", warmup_epochs=2, lr=0.5)
    short, long = ([compute_lr(step, total, settings, steps_per_epoch=4) for step in range(9)] for total in (40, 400))
    assert short == pytest.approx([0.5 * (k + 1) / 9 for k in range(8)] + [0.5]) and long == pytest.approx(short)
    with pytest.raises(InputError, match="warmup 0.1 and warmup_epochs 2 both say"):
        Settings(warmup=0.1, warmup_epochs=2)


def test_optimizers_get_the_settings_and_the_trainable_weights() -> None:
    method = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    method[0].requires_grad_(False)
    sgd = build_optimizer(method, Settings(lr=0.2, momentum=0.7, weight_decay=0.03))
    adamw = build_optimizer(method, Settings(optimizer="adamw", lr=0.2, weight_decay=0.03))
    assert isinstance(sgd, torch.optim.SGD) and isinstance(adamw, torch.optim.AdamW)
    for optimizer in (sgd, adamw):
        (group,) = optimizer.param_groups
        assert [id(p) for p in group["params"]] == [id(p) for p in method[1].parameters()]
        assert (group["lr"], group["weight_decay"]) == (0.2, 0.03)
        set_lr(optimizer, 0.5)
        assert group["lr"] == 0.5
    assert sgd.param_groups[0]["momentum"] == 0.7
