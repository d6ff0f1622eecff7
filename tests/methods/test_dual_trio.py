"""Dual and trio against slow explicit twins: contrast, series, and the ranking of segments put back in order."""

import dataclasses
import math
from typing import Any

import methods
import pytest
import torch
from methods import (
    EARLIER_B,
    NEAR_S,
    B,
    alone,
    build,
    in_order,
    inter,
    intra,
    job,
    rank,
    shake,
    through,
    unit,
    views,
    with_queue,
)
from torch import Tensor, nn

from unreel.losses.shuffle_rank import shuffle_rank_loss
from unreel.methods.registry import load_preset

BOTH = (("view1", "view2"), ("view2", "view1"))
TAU, THETA = 0.3, 0.4
RANKED = ("view1", "view2", "again", "shuffled")


def config_of(preset: str, **changes: Any) -> Any:
    return dataclasses.replace(load_preset(preset)[0], temperature=TAU, theta=THETA, **changes)


def series_of(head: nn.Module, pooled: list[Tensor], segments: int) -> list[Tensor]:
    """The head's numbers cut into `segments` vectors of unit length, (S, D) for each clip."""
    cut = [head(h[None])[0].detach().view(segments, -1) for h in pooled]
    return [torch.stack([unit(v) for v in series]) for series in cut]


def ranking(series: dict[str, list[Tensor]], order_BS: Tensor, limit: float = math.inf) -> float:
    """Mean of clip 1 and of clip 1 again against the shuffled clip put back in order."""
    ordered = in_order(series["shuffled"], order_BS)
    return sum(rank(series[n], ordered, THETA, limit) for n in ("view1", "again")) / 2


def means(series: list[Tensor]) -> list[Tensor]:
    return [s.sum(dim=0) / len(s) for s in series]


@pytest.mark.parametrize("near_s", [0.0, NEAR_S])
@pytest.mark.parametrize(
    ("segments", "limit", "broken", "by_series", "ranked"),
    [
        (2, 0.0, "none", True, True),
        (4, 0.0, "repeat", True, True),
        (4, 0.5, "none", False, True),
        (2, 0.0, "repeat", True, False),
    ],
)
def test_dual_in_the_batch(
    segments: int, limit: float, broken: str, by_series: bool, ranked: bool, near_s: float
) -> None:
    config = config_of(
        "dual",
        segments=segments,
        max_exponent=limit,
        intra_negatives=broken,
        series=by_series,
        shuffle_rank=ranked,
        exclude_neighbours_s=near_s,
    )
    method = build("dual", config)
    batch = views(*(RANKED if ranked else RANKED[:2]), *(["intra"] * (broken != "none")), segments=segments)
    pooled = {n: alone(method.backbone, clips) for n, clips in batch.tensors.items()}
    clip = {n: through(method.heads.clip, h) for n, h in pooled.items()}
    series = {n: series_of(method.heads.series, h, segments) for n, h in pooled.items()}
    wanted = 0.0
    for a, b in BOTH:
        wanted += inter(clip[a], clip[b], TAU, near_s) / 2
        wanted += intra(clip[a], clip[b], clip["intra"], TAU, near_s) / 2 if "intra" in clip else 0.0
        wanted += inter(means(series[a]), means(series[b]), TAU, near_s) / 2 if by_series else 0.0
    output = method(batch)
    if ranked:
        ranks = ranking(series, batch.segment_order_BS, limit or math.inf)
        assert float(output.logs["rank"]) == pytest.approx(ranks, rel=1e-9)
        wanted += ranks
    assert float(output.loss.detach()) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("near_s", [0.0, NEAR_S])
@pytest.mark.parametrize(("segments", "broken"), [(2, "none"), (4, "repeat")])
def test_dual_with_queues(segments: int, broken: str, near_s: float) -> None:
    config = config_of(
        "dual-moco", segments=segments, queue_size=2 * B, intra_negatives=broken, exclude_neighbours_s=near_s
    )
    method = build("dual-moco", config)

    def keys(clips: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        teacher = method.teacher.network
        pooled = alone(teacher.backbone, clips)
        return through(teacher.heads.clip, pooled), means(series_of(teacher.heads.series, pooled, segments))

    earlier = views(*RANKED, seed=3, index_B=EARLIER_B, segments=segments)
    old = keys(earlier.tensors["view2"])
    method(earlier)
    method.after_step()
    shake(method)
    queues = []
    for vectors, queue in zip(old, (method.clip_queue, method.series_queue), strict=True):
        queues.append([*zip(EARLIER_B.tolist(), vectors, strict=True), *((-1, row) for row in queue.rows[B:])])
    batch = views(*RANKED, *(["intra"] * (broken != "none")), segments=segments)
    pooled = {n: alone(method.backbone, clips) for n, clips in batch.tensors.items()}
    clip = {n: through(method.heads.clip, h) for n, h in pooled.items()}
    series = {n: series_of(method.heads.series, h, segments) for n, h in pooled.items()}
    key, key_mean = keys(batch.tensors["view2"])
    wanted = with_queue(clip["view1"], key, queues[0], TAU, near_s)
    wanted += with_queue(means(series["view1"]), key_mean, queues[1], TAU, near_s)
    wanted += intra(clip["view1"], key, clip["intra"], TAU, near_s) if "intra" in clip else 0.0
    wanted += ranking(series, batch.segment_order_BS)
    assert float(method(batch).loss.detach()) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("near_s", [0.0, NEAR_S])
@pytest.mark.parametrize(
    ("segments", "weight", "broken", "head"),
    [
        (2, 0.5, "shuffle-frames", "none"),
        (4, 2.0, "repeat", "mlp"),
        (2, 0.0, "repeat", "none"),
        (4, 0.5, "none", "mlp"),
    ],
)
def test_trio_with_all_its_parts_and_without(
    segments: int, weight: float, broken: str, head: str, near_s: float
) -> None:
    config = config_of(
        "trio",
        segments=segments,
        rank_weight=weight,
        intra_negatives=broken,
        head=head,
        exclude_neighbours_s=near_s,
    )
    method = build("trio", config)
    batch = views(*(RANKED if weight else RANKED[:2]), *(["intra"] * (broken != "none")), segments=segments)
    pooled = {n: alone(method.backbone, clips) for n, clips in batch.tensors.items()}
    z = {n: through(method.head, h) for n, h in pooled.items()}
    wanted = sum(inter(z[a], z[b], TAU, near_s) for a, b in BOTH) / 2
    wanted += sum(intra(z[a], z[b], z["intra"], TAU, near_s) for a, b in BOTH if "intra" in z) / 2
    if weight:
        series = {n: series_of(method.series, h, segments) for n, h in pooled.items()}
        wanted += weight * ranking(series, batch.segment_order_BS)
    assert float(method(batch).loss.detach()) == pytest.approx(wanted, rel=1e-9)


class Segments(nn.Module):
    """A backbone that gives the mean colour of each of S segments: S x 3 features."""

    def __init__(self, segments: int) -> None:
        super().__init__()
        self.segments, self.num_features = segments, 3 * segments

    def forward(self, clips: Tensor) -> Tensor:
        return clips.unflatten(2, (self.segments, -1)).mean(dim=(3, 4, 5)).mT.flatten(1)[:, :, None, None, None]


@pytest.mark.parametrize("segments", [2, 4])
@pytest.mark.parametrize("preset", ["dual", "trio"])
def test_a_network_that_knows_its_segments_is_put_back_in_order(preset: str, segments: int) -> None:
    """From the real recipe: in order, the shuffled clip says what "again" says, segment for segment."""
    ranked = {"rank_weight": 0.5} if preset == "trio" else {}
    method, recipe, clips = job(preset, lambda: Segments(segments), segments=segments, theta=THETA, **ranked)
    steps = torch.linspace(0, 255, clips.frames.shape[2]).to(torch.uint8)[:, None, None, None]  # a clip that brightens
    clips.frames = (clips.frames // 4 + steps // 4 * 3).clone()
    batch = recipe(clips)
    assert any(order != sorted(order) for order in batch.segment_order_BS.tolist())

    def known(name: str) -> Tensor:
        colours_BS3 = method.backbone(batch.tensors[name]).view(B, segments, 3)
        return torch.nn.functional.normalize(colours_BS3, dim=2)

    if preset == "dual":
        found = method.compute_rank_loss({n: known(n) for n in ("view1", "again", "shuffled")}, batch)
    else:
        padded = nn.Linear(3 * segments, 64 * segments, bias=False)  # the numbers of a segment, then zeros
        with torch.no_grad():
            padded.weight.zero_()
            for s in range(segments):
                padded.weight[64 * s : 64 * s + 3, 3 * s : 3 * s + 3] = torch.eye(3)
        method.series = padded
        pooled = {n: method.backbone(batch.tensors[n]).mean((2, 3, 4)) for n in ("view1", "again", "shuffled")}
        found = method.compute_rank_loss(pooled, batch)
    own, again = known("view1"), known("again")
    wanted = (shuffle_rank_loss(own, again, THETA) + shuffle_rank_loss(again, again, THETA)) / 2
    assert float(found.detach()) == pytest.approx(float(wanted), rel=1e-5)


@pytest.mark.parametrize("preset", ["dual", "dual-moco", "trio"])
def test_nothing_is_shuffled_that_is_not_ranked(preset: str) -> None:
    unranked = {"rank_weight": 0.0} if preset == "trio" else {"shuffle_rank": False}
    _, recipe, clips = job(preset, methods.Conv, **unranked)
    assert not {"again", "shuffled"} & set(recipe(clips).tensors)
    ranked = {"rank_weight": 0.5} if preset == "trio" else {}
    _, recipe, clips = job(preset, methods.Conv, **ranked)
    assert {"again", "shuffled"} <= set(recipe(clips).tensors)


@pytest.mark.parametrize("preset", ["dual", "dual-moco", "trio"])
def test_neighbours_kept_out_make_the_task_easier(preset: str) -> None:
    losses = []
    for near_s in (0.0, NEAR_S):
        changes = {"queue_size": 2 * B} if preset == "dual-moco" else {}
        method = build(preset, config_of(preset, exclude_neighbours_s=near_s, intra_negatives="none", **changes))
        method(views(*RANKED, seed=3, index_B=EARLIER_B, segments=2))
        method.after_step()
        losses.append(float(method(views(*RANKED, segments=2)).loss.detach()))
    assert losses[1] < losses[0] - 1e-6
