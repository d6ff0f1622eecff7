"""Which videos are held out of training."""

from collections import Counter

import numpy as np
import pytest

from unreel.corpus.held_out import format_paths, parse_paths, split_held_out
from unreel.rows.instance_rows import InstanceRows
from unreel.seeding import make_generator
from unreel.types import Instance


def listed(sizes: list[int], by: str = "group") -> list[Instance]:
    """Instances of groups (or of recordings cut into segments) of these sizes, interleaved."""
    out = []
    for g, size in enumerate(sizes):
        for k in range(size):
            group, path = (f"g{g}", f"{g}_{k}.mp4") if by == "group" else ("", f"{g}.mp4")
            out.append(Instance(path, len(out), 10.0 * k, 10.0 * k + 10, group=group))
    return [out[i] for i in np.random.default_rng(0).permutation(len(out))]


@pytest.mark.parametrize("by", ["group", "path"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_held_out_shares_no_group_with_what_is_trained_on(by: str, seed: int) -> None:
    everything = listed([4] * 30, by)
    training, held = split_held_out(everything, 0.1, seed)
    assert {i.group or i.path for i in training}.isdisjoint({i.group or i.path for i in held})
    assert 12 <= len(held) < 16
    assert training == [i for i in everything if i not in held] and held == [i for i in everything if i in held]


def split_slowly(instances: list[Instance], share: float, seed: int) -> tuple[list[Instance], list[Instance]]:
    """The split written with lists and sets of names."""
    count = min(200, round(share * len(instances)))
    units = [i.group or i.path for i in instances]
    if len(set(units)) < 4:
        units = [f"{i.path}@{i.start_s}" for i in instances]
    names, sizes = sorted(set(units)), Counter(units)
    order = [names[k] for k in make_generator(seed, 0, 0, "hold-out").permutation(len(names))]
    chosen: list[str] = []
    for limit, wanted in ((2 * count, count), (len(instances) // 2, 2)):
        for name in order:
            num_chosen = sum(sizes[other] for other in chosen)
            if num_chosen < wanted and name not in chosen and num_chosen + sizes[name] <= limit:
                chosen.append(name)
    pairs = list(zip(instances, units, strict=True))
    return [i for i, unit in pairs if unit not in chosen], [i for i, unit in pairs if unit in chosen]


@pytest.mark.parametrize("sizes", [[4] * 30, [97, 1, 1, 1], [1] * 5 + [60], [300] + [2] * 10, [60], [25, 25]])
@pytest.mark.parametrize("by", ["group", "path"])
def test_the_split_is_that_of_a_slow_twin(sizes: list[int], by: str) -> None:
    """Also of earlier versions, so that a run goes on with the videos that it began with."""
    everything = listed(sizes, by)
    for seed in range(5):
        assert split_held_out(everything, 0.1, seed) == split_slowly(everything, 0.1, seed)
    some = InstanceRows.from_instances(everything).select(slice(0, 40))
    assert split_held_out(some, 0.1, 0) == split_slowly(list(some), 0.1, 0)


def test_holding_out_is_deterministic_and_goes_by_the_seed() -> None:
    everything = listed([1] * 100)
    assert split_held_out(everything, 0.1, 0) == split_held_out(everything, 0.1, 0)
    assert len({tuple(split_held_out(everything, 0.1, seed)[1]) for seed in range(5)}) == 5
    shuffled = everything[::-1]
    assert set(split_held_out(shuffled, 0.1, 0)[1]) == set(split_held_out(everything, 0.1, 0)[1])


def test_few_instances_are_all_trained_on() -> None:
    assert split_held_out(listed([1] * 19), 0.5, 0) == (listed([1] * 19), [])
    assert len(split_held_out(listed([1] * 20), 0.1, 0)[1]) == 2
    assert split_held_out(listed([1] * 100), 0.0, 0)[1] == []
    assert len(split_held_out(listed([1] * 5000), 0.1, 0)[1]) == 200


def test_a_single_recording_gives_up_segments() -> None:
    training, held = split_held_out(listed([60], by="path"), 0.1, 0)
    assert len(held) == 6 and len(training) == 54


@pytest.mark.parametrize("sizes", [[97, 1, 1, 1], [1] * 5 + [60], [300] + [2] * 10, [25] * 4, [1, 40, 40, 40]])
@pytest.mark.parametrize("by", ["group", "path"])
def test_one_large_group_never_leaves_little_to_train_on(sizes: list[int], by: str) -> None:
    """A long recording among short clips: whatever the seed, at most half is held out, and something is."""
    for seed in range(10):
        training, held = split_held_out(listed(sizes, by), 0.1, seed)
        assert 2 <= len(held) <= len(training), f"seed {seed}: {len(held)} held out, {len(training)} to train on"


def test_paths_of_any_name_are_read_again() -> None:
    """A line end of any kind in a name; a list of earlier versions has plain lines alone."""
    paths = ["/v/a.mp4", "/v/two\nlines.mp4", "/v/\u2028.mp4", "/v/\x0b\r.mp4", '/v/"quoted".mp4', "/v/é \\n.mp4"]
    assert parse_paths(format_paths(paths)) == set(paths)
    assert format_paths(["/v/a.mp4", "/v/b.mp4"]) == "/v/a.mp4\n/v/b.mp4\n" and parse_paths("") == set()
