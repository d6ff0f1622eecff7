"""AVA's files, the folder they make, clips around keyframes, and the synthetic set with boxes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unreel.corpus.labels import synthetic_boxes
from unreel.corpus.labels.boxes import (
    Detections,
    read_boxes,
    read_detections,
    read_exclusions,
    read_proposals,
    write_boxes,
    write_detections,
)
from unreel.corpus.labels.detection_set import DetectionSet
from unreel.corpus.labels.label_map import read_label_map
from unreel.corpus.labels.synthetic_boxes import ACTIONS, make_box_set
from unreel.errors import InputError
from unreel.video.decoding.decoder import read_frames
from unreel.video.decoding.probe import probe

ROWS = """\
-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,80,1
-5KQ66BBWC4,0902,0.332,0.194,0.481,0.891,12,0
-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,9,1
-5KQ66BBWC4,0903,-0.004,0.5,1.01,1,12,2
other,1.25,0.1,0.1,0.2,0.2,12
"""


def saved(folder: Path, text: str, name: str = "rows.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_rows_of_one_person_are_one_box_with_several_actions(tmp_path: Path) -> None:
    one, two, other = read_boxes(saved(tmp_path, ROWS))
    assert (one.key, two.key, other.key) == (("-5KQ66BBWC4", 902.0), ("-5KQ66BBWC4", 903.0), ("other", 1.25))
    assert one.boxes.tolist() == [[0.077, 0.151, 0.283, 0.811], [0.332, 0.194, 0.481, 0.891]]
    assert one.actions == [frozenset({80, 9}), frozenset({12})]
    assert two.boxes.tolist() == [[0.0, 0.5, 1.0, 1.0]]  # what hangs over the border is clipped


def test_boxes_survive_writing(tmp_path: Path) -> None:
    first = read_boxes(saved(tmp_path, ROWS + '"a, b",7,0,0,0.123456789,1,3\n'))
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
    path = saved(tmp_path, f"a,1,0.1,0.1,0.5,0.5,1\n{row}\n")
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
    named = read_detections(saved(tmp_path, "a,1,0,0,1,1,5,0.25,17\n"))
    assert (named.actions.tolist(), named.scores.tolist()) == ([5], [0.25])
    for row, message in (("a,1,0,0,1,1,5", "7 cells"), ("a,1,0,0,1,1,5,nan", "the score is 'nan'")):
        with pytest.raises(InputError, match=message):
            read_detections(saved(tmp_path, row + "\n"))
    assert len(read_detections(saved(tmp_path, ""))) == 0


def test_proposals_are_boxes_without_actions(tmp_path: Path) -> None:
    rows = "a,1,0,0,1,1,5,0.9\na,1,0,0,1,1,6,0.8\na,1,0,0,0.5,1,,0.3\nb,2,0,0,1,1\n"
    one, two = read_proposals(saved(tmp_path, rows), 0.5)
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
    assert read_label_map(saved(tmp_path, text, name)) == {1: "bend/bow (at the waist)", 11: "sit"}


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
        read_label_map(saved(tmp_path, text, "labels.csv"))


def ava_folder(folder: Path) -> Path:
    saved(folder, ROWS, "ava_train_v2.1.csv")
    saved(folder, ROWS, "ava_train_v2.2.csv")
    saved(folder, "test,0902,0,0,1,1,12,1\ntest,0903,0,0,1,1,80,1\n", "ava_val_v2.2.csv")
    saved(folder, "test,0903\n", "ava_val_excluded_timestamps_v2.2.csv")
    saved(folder, 'item { name: "stand" id: 12 }', "ava_action_list_v2.2_for_activitynet_2019.pbtxt")
    saved(folder, 'label { name: "watch" label_id: 80 }', "ava_action_list_v2.2.pbtxt")
    (folder / "videos").mkdir()
    saved(folder / "videos", "", "other.mkv")
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
    saved(tmp_path, ROWS, "train.csv")
    with pytest.raises(InputError, match="no test list"):
        DetectionSet.load(tmp_path)
    saved(tmp_path, "other,1.25,0.5,0.5,1,1,12\n", "test.csv")
    with pytest.raises(InputError, match=r"1 keyframes are in both lists, the first is other at 1\.25 s"):
        DetectionSet.load(tmp_path)
    saved(tmp_path, "other,2,0.5,0.5,1,1,12\n", "test.csv")
    assert DetectionSet.load(tmp_path).action_names == {9: "9", 12: "12", 80: "80"}


@pytest.fixture(scope="module")
def box_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("boxes") / "set"
    make_box_set(out, videos=5, seed=3, seconds=3, size=(64, 96), fps=12.5)
    return out


def test_the_synthetic_set_reads_as_a_detection_set(box_set: Path, tmp_path: Path) -> None:
    detections = DetectionSet.load(box_set)
    assert detections.action_names == ACTIONS and not detections.warnings
    keyframes = [*detections.train, *detections.test]
    assert {k.video for k in keyframes} == {f"boxes_{n:04d}" for n in range(5)}
    assert {k.time_s for k in keyframes} == {1.0, 2.0}
    assert len(detections.train) == 6 and len(detections.test) == 4
    info = probe(box_set / "videos" / "boxes_0000.mp4")
    assert (info.width, info.height, info.num_frames) == (96, 64, 38)
    make_box_set(tmp_path / "same", videos=5, seed=3, seconds=3, size=(64, 96), fps=12.5)
    for file in sorted(box_set.rglob("*.*")):
        assert file.read_bytes() == (tmp_path / "same" / file.relative_to(box_set)).read_bytes(), file


def alone(index: int, path: int, pulses: bool, monkeypatch: pytest.MonkeyPatch) -> synthetic_boxes.BoxScene:
    """A video whose objects all do the same."""

    class Chosen:
        integers, random = (lambda *_: path), (lambda _: 0.0 if pulses else 1.0)

    usual = synthetic_boxes.make_generator
    monkeypatch.setattr(synthetic_boxes, "make_generator", lambda *at: Chosen() if at[3] == "action" else usual(*at))
    return synthetic_boxes.draw_box_scene(0, index, "train", 40, (96, 128), 12.5)


MOVES: dict[str, Callable[[np.ndarray], list[bool]]] = {
    "still": lambda s: [s[0] == 0, s[1] == 0, s[3] == 0],
    "shake": lambda s: [s[0] > 5, s[1] == 0, s[3] == 0],
    "nod": lambda s: [s[0] == 0, s[1] > 5, s[3] == 0],
    "circle": lambda s: [s[0] > 5, s[1] > 5, s[3] == 0],
}


@pytest.mark.parametrize("pulses", [False, True])
@pytest.mark.parametrize("path", [1, 2, 3, 4])
def test_objects_move_as_their_actions_say(path: int, pulses: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(4):
        drawn = alone(index, path, pulses, monkeypatch)
        expected = {ACTIONS[path]} | {"pulse"} if pulses else {ACTIONS[path]}
        expected -= {"still"} if pulses else set()
        for poses, actions in zip(drawn.poses, drawn.actions, strict=True):
            span = np.ptp(poses, axis=0)
            assert {ACTIONS[a] for a in actions} == expected
            assert all(MOVES[ACTIONS[path]](span * [1, 1, 1, not pulses]))
            assert (span[3] > 0.2) == pulses


def test_boxes_enclose_their_objects() -> None:
    """With an object and without it, the frame differs in its box and nowhere else."""
    for index in range(5):
        drawn = synthetic_boxes.draw_box_scene(1, index, "train", 26, (96, 128), 12.5)
        for k, thing in enumerate(drawn.scene.objects):
            with_it = replace(drawn, scene=replace(drawn.scene, objects=[thing]), poses=[drawn.poses[k]])
            bare = replace(drawn, scene=replace(drawn.scene, objects=[]), poses=[])
            pair = (synthetic_boxes.render_box_scene(shown)[12].astype(int) for shown in (with_it, bare))
            changed = np.abs(np.subtract(*pair)).max(axis=2)
            (keyframe,) = synthetic_boxes.list_keyframes("x", with_it, 12.5)
            x1, y1, x2, y2 = np.rint(keyframe.boxes[0] * [128, 96, 128, 96]).astype(int)
            inside = changed[y1:y2, x1:x2]
            assert (inside > 20).mean() > 0.3
            outside = changed.copy()
            outside[max(0, y1 - 3) : y2 + 3, max(0, x1 - 3) : x2 + 3] = 0
            assert outside.max() <= 2  # the soft edge


def test_actions_are_drawn_as_often_as_stated() -> None:
    at_s = np.zeros(1)
    sets = [synthetic_boxes._draw_object_motion(0, n, 0, at_s, (96, 128))[1] for n in range(3000)]
    share = {a: np.mean([a in labels for labels in sets]) for a in ACTIONS}
    expected = {1: 0.25 * 0.7, 2: 0.25, 3: 0.25, 4: 0.25, 5: 0.3}
    assert all(abs(share[a] - expected[a]) < 4 * np.sqrt(0.25 / 3000) for a in ACTIONS), share


@pytest.mark.parametrize(
    ("options", "message"),
    [({"videos": 0}, "videos=0"), ({"seconds": 1}, "seconds=1"), ({"size": (31, 48)}, "even"), ({"fps": 1}, "fps=1"),
     ({"test_share": 1}, "test_share=1"), ({"seed": -1}, "seed=-1")],
)  # fmt: skip
def test_settings_that_can_not_be_used(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_box_set(tmp_path / "set", **options)
    assert not (tmp_path / "set").exists()


def test_another_set_is_left_alone(box_set: Path) -> None:
    with pytest.raises(InputError, match="other settings"):
        make_box_set(box_set, videos=4, seed=3, seconds=3, size=(64, 96), fps=12.5)


def test_exclusions(tmp_path: Path) -> None:
    assert read_exclusions(saved(tmp_path, "a,0902\nb,1.5\n")) == {("a", 902.0), ("b", 1.5)}
    with pytest.raises(InputError, match="3 cells"):
        read_exclusions(saved(tmp_path, "a,1,2\n"))


def test_files_show_the_rendered_videos(box_set: Path) -> None:
    drawn = synthetic_boxes.draw_box_scene(3, 0, "train", 38, (64, 96), 12.5)
    decoded = read_frames(box_set / "videos" / "boxes_0000.mp4", range(38))
    assert np.abs(decoded.astype(int) - synthetic_boxes.render_box_scene(drawn)).mean() < 12
