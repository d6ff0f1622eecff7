"""Boxes, detections, proposals and label maps: files are read, written, and refused with file and line."""

from pathlib import Path

import numpy as np
import pytest
from layouts import AVA_ROWS, write_rows

from unreel.corpus.labels.boxes import (
    Detections,
    read_boxes,
    read_detections,
    read_proposals,
    write_boxes,
    write_detections,
)
from unreel.corpus.labels.label_map import read_label_map
from unreel.errors import InputError


def test_rows_of_one_person_are_one_box_with_several_actions(tmp_path: Path) -> None:
    one, two, other = read_boxes(write_rows(tmp_path, AVA_ROWS))
    assert (one.key, two.key, other.key) == (("-5KQ66BBWC4", 902.0), ("-5KQ66BBWC4", 903.0), ("other", 1.25))
    assert one.boxes.tolist() == [[0.077, 0.151, 0.283, 0.811], [0.332, 0.194, 0.481, 0.891]]
    assert one.actions == [frozenset({80, 9}), frozenset({12})]
    assert two.boxes.tolist() == [[0.0, 0.5, 1.0, 1.0]]  # what hangs over the border is clipped


def test_boxes_survive_writing(tmp_path: Path) -> None:
    first = read_boxes(write_rows(tmp_path, AVA_ROWS + '"a, b",7,0,0,0.123456789,1,3\n'))
    write_boxes(tmp_path / "again.csv", first)
    second = read_boxes(tmp_path / "again.csv")
    assert [(k.key, k.actions) for k in first] == [(k.key, k.actions) for k in second]
    assert all((a.boxes == b.boxes).all() for a, b in zip(first, second, strict=True))
    assert (tmp_path / "again.csv").read_text().startswith("-5KQ66BBWC4,0902,")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,1,0.1,0.1,0.5,0.5", r"line 2: 6 cells, expected video,time,x1"),
        (",1,0.1,0.1,0.5,0.5,1", "line 2: no video name"),
        ("a,soon,0.1,0.1,0.5,0.5,1", "the time is 'soon'"),
        ("a,-1,0.1,0.1,0.5,0.5,1", "before the start of the video"),
        ("a,1,nan,0.1,0.5,0.5,1", "x1 is 'nan', not a finite number"),
        ("a,1,0.1,0.1,inf,0.5,1", "x2 is 'inf'"),
        ("a,1,0.1,0.1,0.5,1.2,1", "y2 is 1.2; boxes are shares"),
        ("a,1,-0.1,0.1,0.5,1,1", "x1 is -0.1"),
        ("a,1,0.5,0.1,0.5,0.5,1", "empty box, x2=0.5 is not greater than x1=0.5"),
        ("a,1,0.1,0.6,0.5,0.5,1", "empty box, y2=0.5 is not greater than y1=0.6"),
        ("a,1,1.0,0.1,1.01,0.5,1", "empty box, x2=1"),
        ("a,1,0.1,0.1,0.5,0.5,jump", "the action is 'jump'"),
        ("a,1,0.1,0.1,0.5,0.5,3", "unknown action 3; it is not one of the 2 in the label map"),
        ("a,1,0.1,0.1,0.5,0.5,1,0.87", "may be a file of detections"),
    ],
)
def test_rows_that_can_not_be_used_are_named(tmp_path: Path, row: str, message: str) -> None:
    path = write_rows(tmp_path, f"a,1,0.1,0.1,0.5,0.5,1\n{row}\n")
    with pytest.raises(InputError, match=message) as error:
        read_boxes(path, {1, 2})
    assert str(path) in str(error.value) and "line 2" in str(error.value)


def test_detections_survive_writing_and_may_name_persons(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    boxes = np.sort(rng.random((20, 2, 2)), axis=1).reshape(20, 4)
    keys = [(f"v{n % 3}", round(n / 4, 3)) for n in range(20)]
    scores = rng.random(20).astype(np.float32).astype(np.float64)
    write_detections(tmp_path / "d.csv", Detections(keys, boxes, rng.integers(1, 9, 20), scores))
    again = read_detections(tmp_path / "d.csv", range(1, 9))
    assert again.keys == keys
    np.testing.assert_allclose(again.boxes, boxes, atol=1e-8)
    np.testing.assert_array_equal(again.scores.astype(np.float32), scores.astype(np.float32))
    named = read_detections(write_rows(tmp_path, "a,1,0,0,1,1,5,0.25,17\n"))
    assert (named.actions.tolist(), named.scores.tolist()) == ([5], [0.25])
    for row, message in (("a,1,0,0,1,1,5", "7 cells"), ("a,1,0,0,1,1,5,nan", "the score is 'nan'")):
        with pytest.raises(InputError, match=message):
            read_detections(write_rows(tmp_path, row + "\n"))
    assert len(read_detections(write_rows(tmp_path, ""))) == 0


def test_proposals_are_boxes_without_actions(tmp_path: Path) -> None:
    rows = "a,1,0,0,1,1,5,0.9\na,1,0,0,1,1,6,0.8\na,1,0,0,0.5,1,,0.3\nb,2,0,0,1,1\n"
    one, two = read_proposals(write_rows(tmp_path, rows), 0.5)
    assert (one.key, two.key, one.actions) == (("a", 1.0), ("b", 2.0), [frozenset()])
    assert one.boxes.tolist() == [[0, 0, 1, 1]]
    assert len(read_proposals(tmp_path / "rows.csv")[0].boxes) == 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.pbtxt", 'item {\n  name: "bend/bow (at the waist)"\n  id: 1\n}\nitem {\n  name: "sit"\n  id: 11\n}\n'),
        (
            "a.txt",
            "label { name: 'bend/bow (at the waist)' label_id: 1 label_type: X } label { label_id: 11 name: 'sit'}",
        ),
        ("a.csv", "id,name\n1,bend/bow (at the waist)\n11,sit\n"),
        ("b.csv", '1,"bend/bow (at the waist)"\n11,sit,extra\n'),
    ],
)
def test_label_maps(tmp_path: Path, name: str, text: str) -> None:
    assert read_label_map(write_rows(tmp_path, text, name)) == {1: "bend/bow (at the waist)", 11: "sit"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no action in it"),
        ("1,sit\n1,stand\n", "line 2: action 1 has two names, 'sit' and 'stand'"),
        ("one,sit\n", "line 1: the action is 'one'"),
        ("1\n", "rows id,name"),
        ('item {\n id: 3\n}\nitem { name: "x" }', "needs a name and an id"),
    ],
)
def test_bad_label_maps_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_label_map(write_rows(tmp_path, text, "labels.csv"))
