"""Labelled data sets: every layout is recognised and read; ambiguous or missing lists are refused."""

from pathlib import Path

import pytest
from layouts import MAKERS, own_lists, rows, touch, ucf101, write

from unreel.corpus.labels.labelled_set import LabelledSet, load_labelled_set, validate_labelled_set
from unreel.corpus.labels.layouts import LAYOUTS
from unreel.errors import InputError


def test_every_layout_is_tried_here() -> None:
    assert {"auto", *MAKERS} == set(LAYOUTS)


@pytest.mark.parametrize("layout", MAKERS)
def test_a_layout_is_found_by_itself_and_by_name(tmp_path: Path, layout: str) -> None:
    make, name = MAKERS[layout]
    dataset = load_labelled_set(make(tmp_path))
    assert isinstance(dataset, LabelledSet) and dataset.name == name and dataset.root == tmp_path
    assert dataset == load_labelled_set(tmp_path, layout) and dataset.train and dataset.test and not dataset.validation
    assert all(entry.label and entry.path.is_file() for entry in dataset.train + dataset.test)
    report = validate_labelled_set(tmp_path)
    assert report.is_valid and report.name == name and report.format_lines()[-1].startswith("complete"), (
        report.format_lines()
    )
    assert report.counts["train"][0] == len(dataset.train) and report.counts["test"][0] == len(dataset.test)
    assert set(dataset.notes) <= set(report.notes)


@pytest.mark.parametrize("layout", [name for name in MAKERS if name != "folders"])
def test_a_layout_is_not_taken_for_another(tmp_path: Path, layout: str) -> None:
    MAKERS[layout][0](tmp_path)
    for other in set(MAKERS) - {layout, "folders"}:
        assert not validate_labelled_set(tmp_path, other).is_valid
        with pytest.raises(InputError, match=r"no (such|training|test|official)"):
            load_labelled_set(tmp_path, other)


@pytest.mark.parametrize("layout", [name for name in MAKERS if name != "folders"])
def test_lists_may_lie_in_a_folder_of_their_own(tmp_path: Path, layout: str) -> None:
    data = MAKERS[layout][0](tmp_path / "data")
    before = load_labelled_set(data)
    for path in [*data.glob("*.*"), data / "ucfTrainTestlist", data / "testTrainMulti_7030_splits"]:
        if path.exists():
            (tmp_path / "elsewhere").mkdir(exist_ok=True)
            path.rename(tmp_path / "elsewhere" / path.name)
    after = load_labelled_set(data, splits=tmp_path / "elsewhere")
    assert (after.name, after.train, after.test) == (before.name, before.train, before.test)


def test_lists_of_two_layouts_are_ambiguous(tmp_path: Path) -> None:
    own_lists(ucf101(tmp_path))
    with pytest.raises(InputError, match="lists of 2 layouts; choose with --layout lists or ucf101"):
        load_labelled_set(tmp_path)
    assert (
        load_labelled_set(tmp_path, "ucf101").name == "UCF101 split 1"
        and load_labelled_set(tmp_path, "lists").name == "lists"
    )


def test_csv_lists_with_a_validation_part(tmp_path: Path) -> None:
    touch(tmp_path, "a, b.mp4", "#c.mp4", "d.mp4", "e.mp4")
    write(tmp_path / "train.csv", 'path,label,group\n"a, b.mp4","run, fast",anna\n#c.mp4,walk,bert\n')
    write(tmp_path / "val.csv", "path,label\nd.mp4,walk\n")
    write(tmp_path / "test.csv", "path,label\ne.mp4,walk\n")
    dataset = load_labelled_set(tmp_path)
    assert rows(dataset.train, tmp_path) == [("a, b.mp4", "run, fast", "anna"), ("#c.mp4", "walk", "bert")]
    assert rows(dataset.validation, tmp_path) == [("d.mp4", "walk", "")]
    assert dataset.notes == ["1 class only in the training list: run, fast"]
    (tmp_path / "val.csv").rename(tmp_path / "validation.csv")
    assert load_labelled_set(tmp_path) == dataset


def test_lists_given_by_name(tmp_path: Path) -> None:
    own_lists(tmp_path / "data")
    write(tmp_path / "data/val.txt", "run/run3.mp4\n")
    mine = write(tmp_path / "mine.txt", "walk/walk3.mp4\nrun/run3.mp4\n")
    dataset = load_labelled_set(tmp_path / "data", test=mine)
    assert [row[0] for row in rows(dataset.test, tmp_path / "data")] == ["walk/walk3.mp4", "run/run3.mp4"]
    assert len(dataset.train) == 3 and dataset.validation == []
    with pytest.raises(InputError, match="gone.txt: no such test list"):
        load_labelled_set(tmp_path / "data", test=tmp_path / "gone.txt")
    with pytest.raises(InputError, match="the layout folders has its own"):
        load_labelled_set(tmp_path / "data", "folders", test=mine)


def test_a_training_list_needs_a_test_list(tmp_path: Path) -> None:
    own_lists(tmp_path)
    (tmp_path / "test.txt").unlink()
    with pytest.raises(InputError, match="test.txt: no such test list; name one with --test"):
        load_labelled_set(tmp_path)
