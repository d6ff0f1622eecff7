"""SimCLR, CVRL and both versions of MoCo against slow explicit twins."""

import dataclasses
import math
from typing import Any

import pytest
import torch
from methods import (
    EARLIER_B,
    INDEX_B,
    NEAR_S,
    B,
    N,
    alone,
    build,
    cross_entropy,
    dot,
    inter,
    intra,
    shake,
    through,
    unit,
    views,
    with_queue,
)
from torch import Tensor

from unreel.methods.registry import load_preset

BOTH = (("view1", "view2"), ("view2", "view1"))


def config_of(preset: str, broken: str, near_s: float, **changes: Any) -> Any:
    config, _ = load_preset(preset)
    return dataclasses.replace(config, intra_negatives=broken, exclude_neighbours_s=near_s, **changes)


def names(broken: str) -> tuple[str, ...]:
    return ("view1", "view2") if broken == "none" else ("view1", "view2", "intra")


def contrast(z: dict[str, list[Tensor]], a: str, b: str, tau: float, near_s: float) -> float:
    """One direction: among the other clips, and among the broken ones where there are some."""
    broken = intra(z[a], z[b], z["intra"], tau, near_s) if "intra" in z else 0.0
    return inter(z[a], z[b], tau, near_s) + broken


@pytest.mark.parametrize("near_s", [0.0, NEAR_S])
@pytest.mark.parametrize("broken", ["none", "repeat"])
@pytest.mark.parametrize("preset", ["simclr", "cvrl"])
def test_simclr_is_the_mean_of_both_directions_and_cvrl_their_sum(preset: str, broken: str, near_s: float) -> None:
    method, batch = build(preset, config_of(preset, broken, near_s, temperature=0.3)), views(*names(broken))
    z = {n: through(method.head, alone(method.backbone, clips)) for n, clips in batch.tensors.items()}
    directions = [contrast(z, a, b, 0.3, near_s) for a, b in BOTH]
    wanted = sum(directions) / 2 if preset == "simclr" else sum(directions)
    assert float(method(batch).loss.detach()) == pytest.approx(wanted, rel=1e-9)
    assert directions[0] != pytest.approx(directions[1], rel=1e-4)


@pytest.mark.parametrize(("preset", "terms"), [("simclr", 1), ("cvrl", 2)])
def test_equal_embeddings_give_chance(preset: str, terms: int) -> None:
    method = build(preset, config_of(preset, "none", 0.0))
    with torch.no_grad():
        method.backbone.matrix.zero_()
    output = method(views("view1", "view2"))
    assert float(output.loss.detach()) == pytest.approx(terms * math.log(2 * B - 1))
    assert float(output.logs["top1"]) == 0


def test_broken_clips_and_neighbours_carry_gradient() -> None:
    """The broken clips are negatives of this batch, not constants."""
    for preset in ("simclr", "cvrl", "moco", "moco-v3"):
        method, batch = build(preset, config_of(preset, "repeat", 0.0)), views(*names("repeat"))
        batch.tensors["intra"].requires_grad_()
        method(batch).loss.backward()
        assert batch.tensors["intra"].grad.abs().sum() > 0


def earlier_keys(method: Any) -> list[Tensor]:
    """Send an earlier batch through, then move the weights; returns that batch's keys as its teacher saw them."""
    earlier = views("view1", "view2", seed=3, index_B=EARLIER_B)
    teacher = method.teacher.network
    keys = through(teacher.head, alone(teacher.backbone, earlier.tensors["view2"]))
    method(earlier)
    method.after_step()
    shake(method)
    return keys


@pytest.mark.parametrize("near_s", [0.0, NEAR_S])
@pytest.mark.parametrize("broken", ["none", "repeat"])
def test_moco_v2_finds_its_key_among_the_queue(broken: str, near_s: float) -> None:
    """Keys of the same instance (8 and 3 come twice) are masked, as are those of neighbours in time."""
    method = build("moco", config_of("moco", broken, near_s, temperature=0.3, queue_size=2 * B))
    keys = earlier_keys(method)
    queue = [*zip(EARLIER_B.tolist(), keys, strict=True), *((-1, row) for row in method.queue.rows[B:])]
    batch, teacher = views(*names(broken)), method.teacher.network
    q = {n: through(method.head, alone(method.backbone, clips)) for n, clips in batch.tensors.items()}
    k = through(teacher.head, alone(teacher.backbone, batch.tensors["view2"]))
    wanted = with_queue(q["view1"], k, queue, 0.3, near_s)
    wanted += intra(q["view1"], k, q["intra"], 0.3, near_s) if "intra" in q else 0.0
    assert float(method(batch).loss.detach()) == pytest.approx(wanted, rel=1e-9)
    everybody = [(-1, vector) for _, vector in queue]
    assert with_queue(q["view1"], k, everybody, 0.3, 0) > with_queue(q["view1"], k, queue, 0.3, near_s) + 1e-3


@pytest.mark.parametrize("near_s", [0.0, NEAR_S])
@pytest.mark.parametrize("broken", ["none", "repeat"])
def test_moco_v3_finds_the_keys_of_the_batch_both_ways(broken: str, near_s: float) -> None:
    method = build("moco-v3", config_of("moco-v3", broken, near_s, temperature=0.3))
    earlier_keys(method)
    batch, teacher = views(*names(broken)), method.teacher.network
    guess = torch.nn.Sequential(method.head, method.predictor)  # what lies between them has no unit length
    q = {n: through(guess, alone(method.backbone, clips)) for n, clips in batch.tensors.items()}
    k = {n: through(teacher.head, alone(teacher.backbone, batch.tensors[n])) for n in ("view1", "view2")}
    wanted = sum(inter(q[a], k[b], 0.3, near_s, within=False) for a, b in BOTH)
    wanted += sum(intra(q[a], k[b], q["intra"], 0.3, near_s) for a, b in BOTH if "intra" in q)
    assert float(method(batch).loss.detach()) == pytest.approx(wanted, rel=1e-9)
    assert method.queue is None


@pytest.mark.parametrize("preset", ["moco", "moco-v3"])
def test_the_teacher_takes_a_share_of_the_student_and_no_gradient(preset: str) -> None:
    changes = {"queue_size": 2 * B} if preset == "moco" else {}
    method, batch = (
        build(preset, config_of(preset, "none", 0.0, teacher_momentum=0.3, **changes)),
        views("view1", "view2"),
    )
    for seed in range(3):
        shake(method, seed)
        before = [w.clone() for w in method.teacher.parameters()]
        method(batch).loss.backward()
        method.after_step()
        share = min(0.3, 1 - 1 / (seed + 1))
        student = [*method.backbone.parameters(), *method.head.parameters()]
        for old, new, now in zip(before, student, method.teacher.parameters(), strict=True):
            assert torch.allclose(now, share * old + (1 - share) * new, rtol=1e-12)
    assert all(w.grad is None for w in method.teacher.parameters())


@pytest.mark.parametrize("preset", ["simclr", "cvrl", "moco", "moco-v3"])
def test_neighbours_kept_out_make_the_task_easier(preset: str) -> None:
    losses = []
    for near_s in (0.0, NEAR_S):
        changes = {"queue_size": 2 * B} if preset == "moco" else {}
        method = build(preset, config_of(preset, "none", near_s, **changes))
        if preset.startswith("moco"):
            earlier_keys(method)
        losses.append(float(method(views("view1", "view2")).loss.detach()))
    assert losses[1] < losses[0] - 1e-6


def test_the_twins_see_neighbours_and_repeated_instances() -> None:
    """What the tests above rest on: somebody is hidden, and not everybody."""
    assert set(EARLIER_B.tolist()) & set(INDEX_B.tolist()) == {3, 8} and max(*INDEX_B, *EARLIER_B) < N
    same = unit(torch.ones(3).double())
    assert inter([same] * B, [same] * B, 1.0, 0.0) > inter([same] * B, [same] * B, 1.0, NEAR_S)
    assert cross_entropy([dot(same, same)] * 5, 0.1) == pytest.approx(math.log(5))
