"""Every method on two processes with half a batch each does what one process does with the whole batch."""

from typing import Any

import pytest
import torch
from methods import NEAR_S, B, Conv, job, shake, views_in_float64
from processes import run_on
from torch import Tensor

from unreel.losses.all_gather import get_rank_offset
from unreel.methods.registry import find_methods
from unreel.types import Clips

WORLD = 2
# Of the second batch 2 and 4 were in the first, the latter in the other process; 3 and 4 are neighbours.
INDICES = torch.tensor([[0, 2, 4, 6], [3, 2, 4, 8]])
# Every preset as it is, and options that compare with something else.
JOBS: dict[str, tuple[str, dict[str, Any]]] = {preset: (preset, {}) for preset in sorted(find_methods())}
JOBS |= {f"{p} broken": (p, {"intra_negatives": "repeat"}) for p in ("simclr", "cvrl", "moco", "moco-v3", "dual")}
JOBS |= {f"{p} apart": (p, {"exclude_neighbours_s": NEAR_S}) for p in ("trio", "iic", "cvrl", "moco", "dual-moco")}
JOBS |= {"iic nce": ("iic", {"loss": "nce"}), "trio head": ("trio", {"head": "mlp", "rank_weight": 0.5})}


def share(clips: Clips, rows: int) -> Clips:
    """The clips of this process; all of them when it is alone."""
    mine = slice(get_rank_offset(rows), get_rank_offset(rows) + rows)
    return Clips(clips.frames[mine], clips.index_B[mine], clips.video_B[mine], clips.start_s_B[mine], clips.epoch)


def two_steps(preset: str, changes: dict[str, Any], rows: int) -> dict[str, Any]:
    """Loss and gradients of a second step, which sees what the first one left in memory, and the state after it.

    In evaluation mode, so that batch norm has no say: with several processes its statistics are SyncBatchNorm's.
    """
    method, recipe, clips = job(preset, Conv, num_frames=4, **changes)
    method.double().eval()
    losses = []
    for step in range(2):
        clips.index_B = INDICES[step]
        mine = share(clips, rows)
        views = views_in_float64(recipe, mine)
        method.zero_grad()
        output = method(views)
        output.loss.backward()
        losses.append(output.loss.detach())
        shake(method, step)  # the optimiser's step
        method.after_step()
    grads = {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}
    return {"losses": losses, "grads": grads, "state": {n: t.clone() for n, t in method.state_dict().items()}}


def everything(rows: int) -> dict[str, Any]:
    return {name: two_steps(preset, changes, rows) for name, (preset, changes) in JOBS.items()}


@pytest.fixture(scope="module")
def on_two() -> list[dict[str, Any]]:
    return run_on(WORLD, everything, B // WORLD)


@pytest.fixture(scope="module")
def on_one() -> dict[str, Any]:
    return everything(B)


def near(found: Tensor, wanted: Tensor, name: str) -> bool:
    """IIC compares in float32, the others in float64."""
    loose = name.startswith(("iic", "cmc"))
    return torch.allclose(found, wanted, rtol=1e-4 if loose else 1e-7, atol=1e-5 if loose else 1e-9)


@pytest.mark.parametrize("name", JOBS)
def test_two_processes_equal_one_on_the_joined_batch(
    name: str, on_one: dict[str, Any], on_two: list[dict[str, Any]]
) -> None:
    wanted, ranks = on_one[name], [found[name] for found in on_two]
    for step in range(2):
        assert near(sum(found["losses"][step] for found in ranks) / WORLD, wanted["losses"][step], name)
    assert set(wanted["grads"]) == set(ranks[0]["grads"]) == set(ranks[1]["grads"])
    for weight, gradient in wanted["grads"].items():
        assert near(sum(found["grads"][weight] for found in ranks) / WORLD, gradient, name), weight  # as DDP does


@pytest.mark.parametrize("name", JOBS)
def test_memory_queues_and_teachers_stay_the_same_everywhere(
    name: str, on_one: dict[str, Any], on_two: list[dict[str, Any]]
) -> None:
    wanted, (first, second) = on_one[name]["state"], (found[name]["state"] for found in on_two)
    assert list(wanted) == list(first) == list(second)
    for part, tensor in wanted.items():
        assert torch.equal(first[part], second[part]), part  # to the bit, or the processes drift apart
        assert near(first[part].double(), tensor.double(), name), part


@pytest.mark.parametrize(("name", "rows"), [("iic-paper", 6), ("moco", 2 * B), ("dual-moco", 2 * B)])
def test_memory_holds_both_batches(name: str, rows: int, on_one: dict[str, Any]) -> None:
    """What the tests above rest on: the second step saw what the first one left."""
    method, _, _ = job(JOBS[name][0], Conv)
    fresh, kept = method.state_dict(), on_one[name]["state"]
    part = next(n for n in fresh if n.endswith("rows"))
    assert (fresh[part].double() != kept[part].double()).any(dim=1).sum() == rows
