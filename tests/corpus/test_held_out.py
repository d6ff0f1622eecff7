"""Which videos are held out of training."""

import numpy as np
import pytest

from unreel.corpus.held_out import format_paths, parse_paths, split_held_out
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
