"""The order of instances: each once per epoch, unrelated between epochs; it can be resumed at any step."""

import numpy as np
import pytest
from scipy.stats import chisquare

from unreel.video.sampling.batch_sampler import ResumableBatchSampler, permute_epoch, steps_per_epoch


def test_captured_order() -> None:
    """A change here changes every run that was ever recorded."""
    assert permute_epoch(0, 1, 8).tolist() == [5, 0, 2, 7, 3, 6, 4, 1]


def test_an_epoch_has_every_instance_once() -> None:
    for count in (1, 2, 17, 1000):
        assert sorted(permute_epoch(0, 3, count).tolist()) == list(range(count))


def test_orders_of_epochs_and_seeds_are_unrelated() -> None:
    orders = [permute_epoch(seed, epoch, 1000) for seed in (0, 1) for epoch in range(4)]
    related = np.corrcoef(np.stack(orders)) - np.eye(len(orders))
    assert np.abs(related).max() < 4 / np.sqrt(1000)


def test_every_position_is_equally_likely_for_every_instance() -> None:
    orders = np.stack([permute_epoch(0, epoch, 6) for epoch in range(3000)])
    counts = np.stack([np.bincount(orders[:, place], minlength=6) for place in range(6)])
    assert chisquare(counts, axis=1).pvalue.min() > 0.001


@pytest.mark.parametrize(("instances", "batch"), [(10, 3), (12, 4), (7, 7), (5, 8), (1, 4)])
def test_batches_can_be_resumed_at_any_step(instances: int, batch: int) -> None:
    stop = 3 * steps_per_epoch(instances, batch) + 1
    whole = list(ResumableBatchSampler(instances, batch, 2, 0, stop))
    assert len(whole) == len(ResumableBatchSampler(instances, batch, 2, 0, stop)) == stop
    for cut in range(stop + 1):
        parts = [
            ResumableBatchSampler(instances, batch, 2, 0, cut),
            ResumableBatchSampler(instances, batch, 2, cut, stop),
        ]
        assert [len(part) for part in parts] == [cut, stop - cut]
        assert [items for part in parts for items in part] == whole


def test_batches_can_be_iterated_twice() -> None:
    batches = ResumableBatchSampler(10, 3, 2, 1, 8)
    assert list(batches) == list(batches)


@pytest.mark.parametrize(("instances", "batch", "steps"), [(10, 3, 3), (12, 4, 3), (7, 7, 1), (5, 8, 1), (1, 4, 1)])
def test_an_epoch_is_its_order_in_full_batches(instances: int, batch: int, steps: int) -> None:
    assert steps_per_epoch(instances, batch) == steps
    lists = list(ResumableBatchSampler(instances, batch, 2, 0, 3 * steps))
    for epoch in range(3):
        of_epoch = lists[epoch * steps : (epoch + 1) * steps]
        assert {len(items) for items in of_epoch} == {min(batch, instances)}
        assert {e for items in of_epoch for e, _ in items} == {epoch}
        drawn = [i for items in of_epoch for _, i in items]
        assert drawn == permute_epoch(2, epoch, instances)[: len(drawn)].tolist()
        assert all(type(i) is int for i in drawn)


def test_instances_left_out_of_an_epoch_come_in_others() -> None:
    assert {i for items in ResumableBatchSampler(10, 4, 0, 0, 20) for _, i in items} == set(range(10))


def test_another_seed_is_another_order() -> None:
    assert list(ResumableBatchSampler(50, 10, 0, 0, 5)) != list(ResumableBatchSampler(50, 10, 1, 0, 5))


def test_neighbours_stay_together() -> None:
    order = permute_epoch(0, 3, 11, together=2)
    assert sorted(order) == list(range(11)) and order[-1] == 10
    assert (order[1:10:2] == order[0:10:2] + 1).all() and (order[0:10:2] % 2 == 0).all()
    assert order[:10:2].tolist() != sorted(order[:10:2])
    whole = list(ResumableBatchSampler(12, 4, 0, 0, 6, together=2))
    assert list(ResumableBatchSampler(12, 4, 0, 0, 6, together=2).skip_steps(2)) == whole[2:]
