"""The drawn test part: whole groups, every class on both sides where that is possible."""

import itertools
import random
from collections import defaultdict
from pathlib import Path

import pytest
from layouts import rows, touch

from unreel.corpus.labels.labelled_set import load_labelled_set
from unreel.corpus.labels.test_split import draw_test_split
from unreel.corpus.lists import VideoEntry
from unreel.errors import InputError


def test_the_drawn_test_part_moves_with_the_seed_and_not_with_the_folder(tmp_path: Path) -> None:
    for place in ("here", "there"):
        touch(
            tmp_path / place,
            *(
                f"{label}/v_{label}_g{g:02d}_c{c:02d}.avi"
                for label in ("run", "walk", "sit")
                for g in range(8)
                for c in range(3)
            ),
        )
    drawn = {seed: load_labelled_set(tmp_path / "here", seed=seed) for seed in range(5)}
    parts = {seed: rows(dataset.test, tmp_path / "here") for seed, dataset in drawn.items()}
    assert rows(load_labelled_set(tmp_path / "there", seed=3).test, tmp_path / "there") == parts[3]
    assert len({str(part) for part in parts.values()}) == 5
    for seed, dataset in drawn.items():
        assert len(dataset.test) == 18 and len(dataset.train) == 54
        assert dataset.notes == [
            f"no test list: 18 of 72 videos (25 %) make the test part, drawn by whole groups with seed {seed}"
        ]


def sides(items: list[VideoEntry], seed: int) -> tuple[dict[str, set[str]], dict[str, set[bool]], list[str]]:
    """Groups of each class, sides of each class, and the classes that are told to be torn."""
    train, test, torn = draw_test_split(items, Path("/d"), seed)
    assert not {i.group for i in train} & {i.group for i in test} and sorted(train + test, key=items.index) == items
    groups, where = defaultdict(set), defaultdict(set)
    for side, part in ((False, train), (True, test)):
        for entry in part:
            groups[entry.label].add(entry.group)
            where[entry.label].add(side)
    return groups, where, torn


def possible(groups: dict[str, set[str]]) -> bool:
    """Is there any choice of whole groups with every class of two groups or more on both sides? By trying them all."""
    names = sorted(set().union(*groups.values()))
    wanted = [of for of in groups.values() if len(of) > 1]
    choices = (
        {n for n, t in zip(names, bits, strict=True) if t} for bits in itertools.product((0, 1), repeat=len(names))
    )
    return any(all(of & test and of - test for of in wanted) for test in choices)


def test_groups_stay_whole_and_classes_are_on_both_sides_wherever_that_is_possible() -> None:
    chance, refused = random.Random(5), 0
    for seed in range(150):
        labels, groups_n = chance.randint(1, 6), chance.randint(2, 7)
        items = [
            VideoEntry(Path(f"/d/{i}.mp4"), f"c{chance.randrange(labels)}", f"g{chance.randrange(groups_n)}")
            for i in range(chance.randint(4, 16))
        ]
        try:
            groups, where, torn = sides(items, seed)
        except InputError as error:
            refused += 1
            assert "every class has a single group" in str(error)
            continue
        split = [name for name, of in groups.items() if len(of) > 1]
        assert torn == sorted(name for name in split if len(where[name]) < 2)
        assert not torn or not possible(groups)
    assert refused < 20


def test_classes_tied_in_a_ring_can_not_all_be_on_both_sides() -> None:
    ring = [("c0", "a"), ("c0", "b"), ("c1", "b"), ("c1", "c"), ("c2", "c"), ("c2", "a")]
    items = [VideoEntry(Path(f"/d/{i}.mp4"), label, group) for i, (label, group) in enumerate(ring)]
    groups, _, torn = sides(items, 0)
    assert len(torn) == 1 and not possible(groups)


def test_a_class_of_one_group_stays_in_training(tmp_path: Path) -> None:
    touch(tmp_path, "run/v_run_g01_c01.avi", "run/v_run_g01_c02.avi", *(f"sit/v_sit_g0{i}_c01.avi" for i in range(4)))
    for seed in range(6):
        dataset = load_labelled_set(tmp_path, seed=seed)
        assert {entry.label for entry in dataset.test} == {"sit"} and len(dataset.test) == 1
        assert "1 class only in the training list: run" in dataset.notes
    touch(tmp_path / "lone", "run/v_run_g01_c01.avi", "sit/v_sit_g01_c01.avi")
    with pytest.raises(InputError, match="no test part can be made, as every class has a single group"):
        load_labelled_set(tmp_path / "lone")
