"""Scores of a batch, who is left out of them, and the queue, against explicit loops in float64."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unreel.errors import InputError
from unreel.losses.infonce import infonce_loss, infonce_with_intra_negatives, symmetric_infonce, top1_accuracy
from unreel.losses.key_queue import KeyQueue
from unreel.losses.negative_mask import NegativeMask
from unreel.losses.similarity import compute_dot_products, positive_first, score_intra_negatives, score_pairs
from unreel.types import Instance

# Two recordings; starts in seconds. In recording 0 instances 0, 1 and 2 are 4 s apart from one to the next.
STARTS = [(0, 0.0), (0, 4.0), (0, 8.0), (1, 0.0), (1, 4.0), (1, 100.0)]
INSTANCES = [Instance(f"{v}.mp4", v, s, s + 4) for v, s in STARTS]


def rows(seed: int, count: int = 4, width: int = 5) -> Tensor:
    made = torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(made, dim=1)


def dot(x: Tensor, y: Tensor) -> float:
    return sum(float(p) * float(q) for p, q in zip(x, y, strict=True))


def may(i: int, j: int, near_s: float) -> bool:
    if i == j:
        return False
    if j == -1:
        return True
    return not (near_s and STARTS[i][0] == STARTS[j][0] and abs(STARTS[i][1] - STARTS[j][1]) < near_s)


@pytest.mark.parametrize("near_s", [0, 4.0, 4.5, 9.0])
def test_neighbours_pair_by_pair(near_s: float) -> None:
    index, others = [2, 0, 5], [1, -1, 2, 3, 0, 5, 4]
    expected = [[may(i, j, near_s) for j in others] for i in index]
    who = NegativeMask(INSTANCES, near_s)
    assert who.build_mask(torch.tensor(index), torch.tensor(others)).tolist() == expected
    rolled = [others[k:] + others[:k] for k in range(3)]
    expected = [[may(i, j, near_s) for j in row] for i, row in zip(index, rolled, strict=True)]
    assert who.build_mask(torch.tensor(index), torch.tensor(rolled)).tolist() == expected


def test_nobody_is_never_hidden_even_from_the_last_instance() -> None:
    """Row -1 of a tensor is its last."""
    who = NegativeMask(INSTANCES, 1000)
    assert who.build_mask(torch.tensor([5, 0]), torch.tensor([-1, -1])).all()


def test_neighbours_leave_nothing_in_a_checkpoint() -> None:
    who = NegativeMask(INSTANCES, 1)
    assert not who.state_dict() and all(b.dtype != torch.float64 for b in who.buffers())


@pytest.mark.parametrize("near_s", [0, 4.5])
@pytest.mark.parametrize("within", [True, False])
def test_pair_scores_against_a_double_loop(within: bool, near_s: float) -> None:
    a, b, index = rows(0), rows(1), torch.tensor([1, 3, 0, 5])
    found = score_pairs(a, b, NegativeMask(INSTANCES, near_s).build_mask(index, index), within)
    assert found.shape == (4, 7 if within else 4)
    for i in range(4):
        assert float(found[i, 0]) == pytest.approx(dot(a[i], b[i]), rel=1e-12)
        expected = []
        for other in [b, a] if within else [b]:
            for j in range(4):
                if j != i:
                    expected.append(dot(a[i], other[j]) if may(int(index[i]), int(index[j]), near_s) else -math.inf)
        assert sorted(found[i, 1:].tolist()) == pytest.approx(sorted(expected), rel=1e-12)


def test_columns_after_the_partner_go_round_in_a_ring() -> None:
    square = torch.arange(12).view(3, 4)
    assert positive_first(square).tolist() == [[0, 1, 2, 3], [5, 6, 7, 4], [10, 11, 8, 9]]
    assert positive_first(square[:2], 2).tolist() == [[2, 3, 0, 1], [7, 4, 5, 6]]


def test_the_own_broken_clip_counts_and_those_of_neighbours_do_not() -> None:
    a, broken, index = rows(0), rows(2), torch.tensor([1, 3, 0, 5])
    found = score_intra_negatives(a, broken, NegativeMask(INSTANCES, 4.5).build_mask(index, index))
    for i in range(4):
        for j in range(4):
            counts = i == j or may(int(index[i]), int(index[j]), 4.5)
            expected = dot(a[i], broken[j]) if counts else -math.inf
            assert float(found[i, j]) == pytest.approx(expected, rel=1e-12)
    assert found.isinf().sum() == 2


def nt_xent(a: Tensor, b: Tensor, tau: float) -> Tensor:
    """Both directions with nobody left out and no broken clips."""
    return symmetric_infonce(a, b, None, torch.ones(len(a), len(a), dtype=torch.bool), tau)[0]


def explicit_nt_xent(a: Tensor, b: Tensor, tau: float) -> float:
    """SimCLR's equation 1, word for word."""
    clips, total = torch.cat([a, b]), 0.0
    count = len(clips)
    for i in range(count):
        partner = (i + len(a)) % count
        below = sum(math.exp(dot(clips[i], clips[k]) / tau) for k in range(count) if k != i)
        total -= math.log(math.exp(dot(clips[i], clips[partner]) / tau) / below)
    return total / count


@pytest.mark.parametrize("tau", [0.07, 0.5])
@pytest.mark.parametrize("count", [1, 4])
def test_nt_xent_against_a_double_loop(count: int, tau: float) -> None:
    a, b = rows(0, count), rows(1, count)
    assert nt_xent(a, b, tau).item() == pytest.approx(explicit_nt_xent(a, b, tau), rel=1e-9, abs=1e-15)


def test_gradient_of_nt_xent_is_that_of_finite_differences() -> None:
    leaves = (rows(0, 3).requires_grad_(), rows(1, 3).requires_grad_())
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b, 0.5), leaves)


def test_broken_clips_stand_in_a_softmax_of_their_own() -> None:
    scores, broken = rows(3), rows(4)
    both = infonce_with_intra_negatives(scores, broken, 0.1)
    beside = torch.cat([scores[:, :1], broken], dim=1)
    assert both.item() == pytest.approx((infonce_loss(scores, 0.1) + infonce_loss(beside, 0.1)).item(), rel=1e-12)
    assert torch.equal(infonce_with_intra_negatives(scores, None, 0.1), infonce_loss(scores, 0.1))


def test_top1_counts_anchors_and_does_not_praise_a_tie() -> None:
    scores = torch.tensor(
        [[0.5, 0.1, 0.2], [0.1, 0.5, 0.2], [0.3, 0.1, -math.inf], [0.9, 0.8, 0.1]], requires_grad=True
    )
    assert top1_accuracy(scores).item() == 0.75 and not top1_accuracy(scores).requires_grad
    assert top1_accuracy(torch.ones(3, 5)).item() == 0
    assert top1_accuracy(scores, torch.zeros(2, 3)).item() == pytest.approx(3 / 6)
    assert top1_accuracy(torch.zeros(2, 1)).item() == 1


def test_scores_keep_full_precision_under_autocast() -> None:
    a, b = rows(0, 4, 64).float(), rows(1, 4, 64).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (a @ b.T).dtype == torch.bfloat16 and compute_dot_products(a, b).dtype == torch.float32
        found = score_pairs(a, b, torch.ones(4, 4, dtype=torch.bool))
    torch.testing.assert_close(found, score_pairs(a, b, torch.ones(4, 4, dtype=torch.bool)), rtol=0, atol=0)
    assert compute_dot_products(a.bfloat16(), b.bfloat16()).dtype == torch.float32
    assert compute_dot_products(a.double(), b.double()).dtype == torch.float64


def test_the_queue_begins_with_unit_vectors_of_nobody() -> None:
    state = torch.random.get_rng_state()
    queue = KeyQueue(500, 8, seed=3)
    assert torch.equal(state, torch.random.get_rng_state())
    torch.testing.assert_close(queue.rows.norm(dim=1), torch.ones(500))
    assert (queue.rows.mean(dim=0).abs() < 0.1).all() and (queue.index_K == -1).all()
    assert torch.equal(queue.rows, KeyQueue(500, 8, seed=3).rows)
    assert not torch.equal(queue.rows, KeyQueue(500, 8, seed=4).rows)


@pytest.mark.parametrize("batches", [[4, 4, 4, 4], [4, 3, 4, 4, 2]])
def test_first_in_first_out(batches: list[int]) -> None:
    """Also with batches that lost a clip; the list is the slow twin."""
    queue = KeyQueue(8, 2, seed=0)
    twin = [(row.tolist(), -1) for row in queue.rows]
    given = 0
    for count in batches:
        keys = torch.arange(given, given + count).float()[:, None].expand(-1, 2)
        queue.enqueue(keys.clone().requires_grad_(), torch.arange(given, given + count))
        twin = twin[count:] + [([float(k), float(k)], k) for k in range(given, given + count)]
        given += count
        found = sorted(zip(queue.rows.tolist(), queue.index_K.tolist(), strict=True))
        assert found == sorted(twin)
    assert not queue.rows.requires_grad and int(queue.pointer) == given % 8


def test_scores_of_the_queue_hide_the_own_instance_and_its_neighbours() -> None:
    queue, who = KeyQueue(6, 5, seed=0).double(), NegativeMask(INSTANCES, 4.5)
    queue.enqueue(rows(5), torch.tensor([1, 2, 5, 3]))
    q, index = rows(6, 2), torch.tensor([2, 3])
    found, owners = queue.score_keys(q, who, index), [1, 2, 5, 3, -1, -1]
    assert queue.index_K.tolist() == owners
    for i in range(2):
        for k, j in enumerate(owners):
            expected = dot(q[i], queue.rows[k]) if may(int(index[i]), j, 4.5) else -math.inf
            assert float(found[i, k]) == pytest.approx(expected, rel=1e-12)
    assert found.isinf().sum() == 3


def test_a_push_before_backward_does_not_disturb_the_graph() -> None:
    queue, who = KeyQueue(4, 5, seed=0).double(), NegativeMask(INSTANCES, 0)
    before, q = queue.rows.clone(), rows(0, 1).requires_grad_()
    scores = queue.score_keys(q, who, torch.tensor([0]))
    queue.enqueue(rows(1), torch.tensor([0, 1, 2, 3]))
    scores.sum().backward()
    torch.testing.assert_close(q.grad, before.sum(dim=0, keepdim=True))


def test_a_batch_larger_than_the_queue_is_refused() -> None:
    with pytest.raises(InputError, match=r"queue of 4 keys can't take a batch of 5; raise --queue-size"):
        KeyQueue(4, 5, seed=0).enqueue(rows(0, 5), torch.arange(5))


def test_the_queue_survives_its_state_to_the_bit() -> None:
    queue, other = KeyQueue(6, 5, seed=0), KeyQueue(6, 5, seed=1)
    queue.enqueue(rows(0).float(), torch.arange(4))
    other.load_state_dict(queue.state_dict())
    assert sorted(queue.state_dict()) == ["index_K", "pointer", "rows"]
    for one in (queue, other):
        one.enqueue(rows(1).float(), torch.arange(4))
    assert all(torch.equal(x, other.state_dict()[n]) for n, x in queue.state_dict().items())
