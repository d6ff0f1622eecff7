"""Synthetic videos with boxes: objects move as their actions say, boxes enclose them, same settings, same files."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unreel.corpus.labels.detection_set import DetectionSet
from unreel.corpus.motion_set import boxes
from unreel.corpus.motion_set.boxes import ACTIONS, make_box_set
from unreel.errors import InputError
from unreel.video.decoding.decoder import read_frames
from unreel.video.decoding.probe import probe


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


def alone(index: int, path: int, pulses: bool, monkeypatch: pytest.MonkeyPatch) -> boxes.BoxScene:
    """A video whose objects all do the same."""

    class Chosen:
        integers, random = (lambda *_: path), (lambda _: 0.0 if pulses else 1.0)

    usual = boxes.make_generator
    monkeypatch.setattr(boxes, "make_generator", lambda *at: Chosen() if at[3] == "action" else usual(*at))
    return boxes.draw_box_scene(0, index, "train", 40, (96, 128), 12.5)


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
        drawn = boxes.draw_box_scene(1, index, "train", 26, (96, 128), 12.5)
        for k, thing in enumerate(drawn.scene.objects):
            with_it = replace(drawn, scene=replace(drawn.scene, objects=[thing]), poses=[drawn.poses[k]])
            bare = replace(drawn, scene=replace(drawn.scene, objects=[]), poses=[])
            pair = (boxes.render_box_scene(shown)[12].astype(int) for shown in (with_it, bare))
            changed = np.abs(np.subtract(*pair)).max(axis=2)
            (keyframe,) = boxes.list_keyframes("x", with_it, 12.5)
            x1, y1, x2, y2 = np.rint(keyframe.boxes[0] * [128, 96, 128, 96]).astype(int)
            inside = changed[y1:y2, x1:x2]
            assert (inside > 20).mean() > 0.3
            outside = changed.copy()
            outside[max(0, y1 - 3) : y2 + 3, max(0, x1 - 3) : x2 + 3] = 0
            assert outside.max() <= 2  # the soft edge


def test_actions_are_drawn_as_often_as_stated() -> None:
    at_s = np.zeros(1)
    sets = [boxes._draw_object_motion(0, n, 0, at_s, (96, 128))[1] for n in range(3000)]
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


def test_files_show_the_rendered_videos(box_set: Path) -> None:
    drawn = boxes.draw_box_scene(3, 0, "train", 38, (64, 96), 12.5)
    decoded = read_frames(box_set / "videos" / "boxes_0000.mp4", range(38))
    assert np.abs(decoded.astype(int) - boxes.render_box_scene(drawn)).mean() < 12
