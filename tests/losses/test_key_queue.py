"""The queue of keys: first in first out, its scores and its state."""

import math

import pytest
import torch
from instances import INSTANCES, dot, may, rows

from unreel.errors import InputError
from unreel.losses.key_queue import KeyQueue
from unreel.losses.negative_mask import NegativeMask


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


def test_a_queue_of_series_begins_with_means_of_unit_vectors_and_may_keep_own_keys() -> None:
    queue = KeyQueue(1000, 64, seed=3, segments=2, exclude_own=False)
    assert float(queue.rows.square().sum(dim=1).mean()) == pytest.approx(1 / 2, abs=0.02)
    plain = torch.randn(5, 8, generator=seeded(3))
    assert torch.equal(KeyQueue(5, 8, seed=3).rows, torch.nn.functional.normalize(plain, dim=1))
    mask = NegativeMask(INSTANCES, near_s=0)
    queue.enqueue(queue.rows[:1].clone(), torch.tensor([0]))
    assert torch.isfinite(queue.score_keys(torch.rand(1, 64), mask, torch.tensor([0]))).all()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
