"""A folder of videos with boxes: its lists, label map, exclusions and clock."""

from pathlib import Path

import pytest
from layouts import AVA_ROWS, write_rows

from unreel.corpus.labels.boxes import (
    read_exclusions,
)
from unreel.corpus.labels.detection_set import DetectionSet
from unreel.errors import InputError


def ava_folder(folder: Path) -> Path:
    write_rows(folder, AVA_ROWS, "ava_train_v2.1.csv")
    write_rows(folder, AVA_ROWS, "ava_train_v2.2.csv")
    write_rows(folder, "test,0902,0,0,1,1,12,1\ntest,0903,0,0,1,1,80,1\n", "ava_val_v2.2.csv")
    write_rows(folder, "test,0903\n", "ava_val_excluded_timestamps_v2.2.csv")
    write_rows(folder, 'item { name: "stand" id: 12 }', "ava_action_list_v2.2_for_activitynet_2019.pbtxt")
    write_rows(folder, 'label { name: "watch" label_id: 80 }', "ava_action_list_v2.2.pbtxt")
    (folder / "videos").mkdir()
    write_rows(folder / "videos", "", "other.mkv")
    return folder


def test_ava_folder(tmp_path: Path) -> None:
    detections = DetectionSet.load(ava_folder(tmp_path), clock_s=900)
    assert (len(detections.train), len(detections.test), detections.action_names) == (3, 2, {12: "stand"})
    assert [k.time_s for k in detections.drop_excluded(detections.test)] == [902]
    assert detections.train[0].actions == [frozenset(), frozenset({12})]  # a person without an evaluated action stays
    assert len(detections.warnings) == 2 and "9, 80" in detections.warnings[0]
    here, gone = (detections.make_instance(detections.train[k], 0) for k in (2, 0))
    assert Path(here.path) == tmp_path / "videos" / "other.mkv" and not Path(gone.path).exists()
    assert gone.start_s == 2
    assert detections.make_instance(detections.test[0], 0).start_s == 2


def test_sets_that_lack_a_part_or_share_a_keyframe(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no training list: none of train\.csv"):
        DetectionSet.load(tmp_path / "nowhere")
    write_rows(tmp_path, AVA_ROWS, "train.csv")
    with pytest.raises(InputError, match="no test list"):
        DetectionSet.load(tmp_path)
    write_rows(tmp_path, "other,1.25,0.5,0.5,1,1,12\n", "test.csv")
    with pytest.raises(InputError, match=r"both lists have 1 keyframe in common, the first is other at 1\.25 s"):
        DetectionSet.load(tmp_path)
    write_rows(tmp_path, "other,2,0.5,0.5,1,1,12\n", "test.csv")
    assert DetectionSet.load(tmp_path).action_names == {9: "9", 12: "12", 80: "80"}


def test_exclusions(tmp_path: Path) -> None:
    assert read_exclusions(write_rows(tmp_path, "a,0902\nb,1.5\n")) == {("a", 902.0), ("b", 1.5)}
    with pytest.raises(InputError, match="3 cells"):
        read_exclusions(write_rows(tmp_path, "a,1,2\n"))
