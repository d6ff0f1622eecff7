"""Jobs by workers that come and go: every result once, in the order of the jobs."""

from collections.abc import Sequence

import pytest
from fake_engine import FakeEngine

from unreel.engines.worker_batches import BATCHES_AHEAD, LOST, MAX_BATCH_JOBS, map_batches
from unreel.errors import InputError


def square(jobs: Sequence[int], plus: int) -> list[int]:
    if -1 in jobs:
        raise InputError("made to fail")
    return [job**2 + plus for job in jobs]


def right(jobs: Sequence[int]) -> list[tuple[int, int]]:
    return [(job, job**2 + 1) for job in jobs]


@pytest.mark.parametrize("count", [0, 1, 7, 90])
@pytest.mark.parametrize("is_counted", [True, False])
def test_results_come_once_and_in_order(count: int, is_counted: bool) -> None:
    engine = FakeEngine()
    done = map_batches(engine, square, iter(range(count)), (1,), count if is_counted else None)
    assert list(done) == right(range(count))
    assert not engine.tasks and engine.most_at_once <= 3 * BATCHES_AHEAD


def test_few_jobs_are_shared_among_all_workers() -> None:
    sizes = []
    engine = FakeEngine(lambda jobs, _plus: bool(sizes.append(len(jobs))))
    assert list(map_batches(engine, square, range(12), (1,), 12)) == right(range(12))
    assert sizes == [2] * 6
    assert list(map_batches(engine, square, range(900), (1,), 900)) == right(range(900))
    assert max(sizes) == MAX_BATCH_JOBS


def test_a_batch_that_is_lost_is_taken_apart_and_nothing_is_missing() -> None:
    engine = FakeEngine(lambda jobs, _plus: len(jobs) > 1 and 5 in jobs)
    assert list(map_batches(engine, square, range(40), (1,), 40)) == right(range(40))
    assert engine.num_lost == 1


def test_a_job_that_ends_every_worker_is_left_out_alone() -> None:
    engine = FakeEngine(lambda jobs, _plus: 5 in jobs)
    results = list(map_batches(engine, square, range(40), (1,), 40))
    assert results == [*right(range(5)), (5, LOST), *right(range(6, 40))]


def test_workers_that_are_added_get_work() -> None:
    engine = FakeEngine(num_workers=1)
    done = map_batches(engine, square, range(90), (1,))
    assert [next(done)] == right([0])
    engine.num_workers = 5
    assert list(done) == right(range(1, 90))
    assert engine.most_at_once == 5 * BATCHES_AHEAD


def test_without_any_worker_it_waits_for_one() -> None:
    assert list(map_batches(FakeEngine(num_workers=0), square, range(9), (1,))) == right(range(9))


def test_an_early_job_that_takes_long_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unreel.engines.worker_batches.MAX_WAITING_BATCHES", 4)
    engine = FakeEngine(num_workers=2)
    monkeypatch.setattr(engine, "wait", lambda tasks: [max(tasks)])  # the first is the last to end
    done = map_batches(engine, square, range(900), (1,), 900)
    assert [next(done)] == right([0]) and engine.num_submitted == 2 * 4
    assert list(done) == right(range(1, 900))


def test_an_error_of_the_work_ends_all() -> None:
    engine = FakeEngine()
    with pytest.raises(InputError, match="made to fail"):
        list(map_batches(engine, square, range(-9, 500), (1,)))
    assert not engine.tasks


def test_who_stops_early_leaves_no_task_behind() -> None:
    engine = FakeEngine()
    done = map_batches(engine, square, range(90), (1,), 90)
    next(done)
    done.close()  # type: ignore[attr-defined]
    assert not engine.tasks
