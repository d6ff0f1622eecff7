"""Two processes with half a batch each must do what one does with the whole batch, gradients included."""

from typing import Any

import pytest
import torch
from processes import run_on
from torch import Tensor

from unreel.losses.all_gather import all_gather, all_gather_no_grad, get_rank_offset
from unreel.losses.byol import byol_loss
from unreel.losses.infonce import infonce_with_intra_negatives, symmetric_infonce
from unreel.losses.key_queue import KeyQueue
from unreel.losses.negative_mask import NegativeMask
from unreel.losses.similarity import score_intra_negatives, score_pairs
from unreel.losses.vicreg import vicreg_loss
from unreel.types import Instance

WORLD, ROWS, WIDTH = 2, 6, 5
INDEX_N = torch.tensor([7, 3, 4, 0, 8, 2])  # 3 and 4, 7 and 8 are neighbours: within and across the processes
INSTANCES = [Instance("x.mp4", i // 3, 5.0 * i, 5.0 * i + 5) for i in range(10)]


def joined_batch() -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(0)
    return {n: torch.randn(ROWS, WIDTH, generator=made, dtype=torch.float64) for n in ("a", "b", "broken")}


def pairs(a: Tensor, b: Tensor, broken: Tensor, index_B: Tensor, within: bool) -> Tensor:
    allowed = NegativeMask(INSTANCES, 6).build_mask(index_B, all_gather_no_grad(index_B))
    return infonce_with_intra_negatives(
        score_pairs(a, b, allowed, within), score_intra_negatives(a, broken, allowed), 0.5
    )


def both(a: Tensor, b: Tensor, broken: Tensor, index_B: Tensor) -> Tensor:
    allowed = NegativeMask(INSTANCES, 6).build_mask(index_B, all_gather_no_grad(index_B))
    return symmetric_infonce(a, b, broken, allowed, 0.5)[0]


def queued(a: Tensor, b: Tensor, broken: Tensor, index_B: Tensor) -> Tensor:
    queue, near = KeyQueue(9, WIDTH, seed=0).double(), NegativeMask(INSTANCES, 6)
    queue.enqueue(broken, index_B)
    first = queue.score_keys(a, near, index_B)
    queue.enqueue(b, index_B)
    own = (a * b).sum(dim=1, keepdim=True)
    return infonce_with_intra_negatives(torch.cat([own, first, queue.score_keys(a, near, index_B)], dim=1), None, 0.5)


LOSSES = {
    "pairs": lambda a, b, broken, index_B: pairs(a, b, broken, index_B, True),
    "across": lambda a, b, broken, index_B: pairs(a, b, broken, index_B, False),
    "both_ways": both,
    "queue": queued,
    "vicreg": lambda a, b, broken, index_B: vicreg_loss(a, b),
    "byol": lambda a, b, broken, index_B: byol_loss(a, b),
}


def losses_and_gradients(rows: int) -> dict[str, Any]:
    """Every loss of this process's rows, and its gradient with respect to them."""
    mine = slice(get_rank_offset(rows), get_rank_offset(rows) + rows)
    out = {}
    for name, loss_of in LOSSES.items():
        leaves = {n: x[mine].clone().requires_grad_() for n, x in joined_batch().items()}
        loss = loss_of(**leaves, index_B=INDEX_N[mine])
        loss.backward()
        zero = torch.zeros(rows, WIDTH, dtype=torch.float64)
        grads = {n: zero if x.grad is None else x.grad for n, x in leaves.items()}
        out[name] = {"loss": loss.detach(), **grads}
    return out


def parts() -> dict[str, Any]:
    """What joining and the queue make of this process's rows."""
    rows = ROWS // WORLD
    mine = slice(get_rank_offset(rows), get_rank_offset(rows) + rows)
    leaf = joined_batch()["a"][mine].T.contiguous().T.clone().requires_grad_()  # not contiguous in memory
    queue = KeyQueue(8, WIDTH, seed=0).double()
    for name in ("a", "b"):
        queue.enqueue(joined_batch()[name][mine], INDEX_N[mine])
    return {
        "gather": all_gather(leaf).detach(),
        "constant": all_gather_no_grad(leaf),
        "constant has a graph": all_gather_no_grad(leaf).requires_grad,
        "without grad": all_gather(leaf.detach()),
        "index": all_gather_no_grad(INDEX_N[mine]),
        "first": get_rank_offset(rows),
        "queue": dict(queue.state_dict()),
    }


def everything() -> dict[str, Any]:
    return {"losses": losses_and_gradients(ROWS // WORLD), "parts": parts()}


@pytest.fixture(scope="module")
def on_two() -> list[dict[str, Any]]:
    return run_on(WORLD, everything)


@pytest.mark.parametrize("name", list(LOSSES))
def test_two_processes_equal_one_on_the_joined_batch(name: str, on_two: list[dict[str, Any]]) -> None:
    """DDP takes the mean over processes of the gradients, hence the division."""
    one, two = losses_and_gradients(ROWS)[name], [r["losses"][name] for r in on_two]
    torch.testing.assert_close(torch.stack([t["loss"] for t in two]).mean(), one["loss"], rtol=1e-12, atol=0)
    for leaf in ("a", "b", "broken"):
        found = torch.cat([t[leaf] for t in two]) / WORLD
        torch.testing.assert_close(found, one[leaf], rtol=1e-10, atol=1e-14)
    assert one["a"].abs().min() > 0


def test_rows_come_in_the_order_of_ranks(on_two: list[dict[str, Any]]) -> None:
    batch = joined_batch()["a"]
    for rank, found in enumerate(r["parts"] for r in on_two):
        assert all(torch.equal(found[n], batch) for n in ("gather", "constant", "without grad"))
        assert torch.equal(found["index"], INDEX_N) and found["index"].dtype == torch.int64
        assert found["first"] == rank * ROWS // WORLD and not found["constant has a graph"]


def test_the_queue_is_the_same_on_all_processes_and_on_one(on_two: list[dict[str, Any]]) -> None:
    queue = KeyQueue(8, WIDTH, seed=0).double()
    for name in ("a", "b"):
        queue.enqueue(joined_batch()[name], INDEX_N)
    for found in on_two:
        for name, value in queue.state_dict().items():
            assert torch.equal(found["parts"]["queue"][name], value), name


def test_one_process_needs_no_joining() -> None:
    x = torch.ones(2, 3, requires_grad=True)
    assert all_gather(x) is x and get_rank_offset(7) == 0 and not all_gather_no_grad(x).requires_grad


def fail_on_the_second() -> int:
    if get_rank_offset(1) == 1:
        raise ValueError("on purpose")
    return 0


def test_a_failure_on_a_process_is_not_swallowed() -> None:
    with pytest.raises(RuntimeError, match="on purpose"):
        run_on(2, fail_on_the_second)
