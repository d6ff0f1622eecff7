"""Lists against the files on the disk: every problem is reported in a sentence, and the first is raised."""

import os
from pathlib import Path
from typing import Any

import pytest
from layouts import folders, own_lists, touch, write

from unreel.corpus.labels.labelled_set import load_labelled_set, validate_labelled_set
from unreel.errors import InputError


def test_problems_are_all_reported_and_the_first_is_raised(tmp_path: Path) -> None:
    own_lists(tmp_path)
    gone = "".join(f"run/gone{i}.mp4\n" for i in range(4))
    write(tmp_path / "test.txt", f"{gone}run/run2.mp4\nwalk/walk0.mp4\nrun/run2.mp4\n")
    message = (
        r"test.txt: 4 videos listed but not found: \S*gone0.mp4, \S*gone1.mp4, \S*gone2.mp4 \.\.\..*1 more problem"
    )
    with pytest.raises(InputError, match=message):
        load_labelled_set(tmp_path)
    report = validate_labelled_set(tmp_path)
    text = "\n".join(report.format_lines())
    assert len(report.problems) == 2 and "1 video in both lists, training and test: " in text
    assert "test.txt: 1 repeated line; each file counts once" in text
    assert f"4 videos below {tmp_path} in no list" in text and report.counts["test"] == (2, 2)
    assert report.format_lines()[-1].startswith("to do: add the missing videos or take them out of the lists; ")


def test_one_file_under_two_names_counts_as_one(tmp_path: Path) -> None:
    own_lists(tmp_path)
    os.symlink(tmp_path / "run/run0.mp4", tmp_path / "run/again.mp4")
    write(tmp_path / "test.txt", "run/again.mp4\nwalk/walk1.mp4\n")
    with pytest.raises(InputError, match="1 video in both lists, training and test: .*again.mp4"):
        load_labelled_set(tmp_path)
    os.symlink(tmp_path / "run/run0.mp4", tmp_path / "walk/again.mp4")
    write(tmp_path / "train.txt", "run/run0.mp4\nwalk/again.mp4\n")
    with pytest.raises(InputError, match=r"1 video with two labels: .*again.mp4 \('run', 'walk'\)"):
        load_labelled_set(tmp_path)


def test_a_class_that_only_the_test_list_has_is_reported(tmp_path: Path) -> None:
    own_lists(tmp_path)
    write(tmp_path / "train.txt", "run/run0.mp4\n")
    note = "1 class only in the test list, so 1 test video can't be classified correctly: walk"
    assert load_labelled_set(tmp_path).notes == [note] and note in validate_labelled_set(tmp_path).notes


def test_videos_without_a_class_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4")
    write(tmp_path / "train.txt", "a.mp4\n")
    write(tmp_path / "test.txt", "b.mp4\n")
    with pytest.raises(InputError, match="1 video of the training list without a class: .*a.mp4.*columns path,label"):
        load_labelled_set(tmp_path)


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    touch(folders(tmp_path), "stray.mp4")
    with pytest.raises(InputError, match="no class folders .*1 video elsewhere: .*stray.mp4"):
        load_labelled_set(tmp_path)
    touch(tmp_path / "one", "run/a.mp4", "run/b.mp4")
    with pytest.raises(InputError, match="there is one folder only"):
        load_labelled_set(tmp_path / "one")
    with pytest.raises(InputError, match="no labels.*no list.*no class folders.*2 videos directly in it") as refusal:
        load_labelled_set(touch(tmp_path / "flat", "a.mp4", "b.mp4"))
    assert "flat/CLASS/VIDEO.mp4" in str(refusal.value) and "path,label: --train TRAIN.csv" in str(refusal.value)


def test_an_empty_class_folder_is_refused_unless_lists_say_what_counts(tmp_path: Path) -> None:
    write(folders(tmp_path) / "notes/read.txt", "no class")
    (tmp_path / "jump").mkdir()
    with pytest.raises(InputError, match=f"{tmp_path}: 1 class without a video: jump"):
        load_labelled_set(tmp_path)
    own_lists(tmp_path)
    assert load_labelled_set(tmp_path).notes == [f"{tmp_path}: 1 class without a video: jump"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"layout": "ucf"}, "unknown layout 'ucf'. Did you mean 'ucf101'"),
        ({"split": 0, "layout": "ucf101"}, "split 0: the layout ucf101 has splits 1, 2 and 3"),
        ({"split": 4}, "split 4: "),
        ({"split": 2}, r"split 2: the layout folders has no numbered splits \(UCF101 and HMDB51 do\)"),
        ({"layout": "kinetics"}, "no training list; Kinetics has train.csv"),
    ],
)
def test_wrong_options_are_refused_and_a_problem_of_the_report(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    folders(tmp_path)
    with pytest.raises(InputError, match=message):
        load_labelled_set(tmp_path, **options)
    assert not validate_labelled_set(tmp_path, **options).is_valid
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: no lists of a known kind"):
        load_labelled_set(tmp_path, splits=tmp_path / "empty")
    assert "no such folder" in validate_labelled_set(tmp_path / "gone").format_lines()[1]
