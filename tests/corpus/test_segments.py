"""Where long recordings are cut: the arithmetic, and the shot changes found in real files."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from videos import encode

from unreel.corpus.manifest import Manifest
from unreel.corpus.segments import build_instances, cut_segments
from unreel.corpus.shot_detection import compute_histograms, detect_shot_changes, find_cuts, measure_distance
from unreel.errors import InputError
from unreel.rows.video_rows import Video
from unreel.types import Instance

ROW = Video("/v/a.mp4", "h264", 320, 240, 25.0, 250, 10.0, 0, False, 1000, "00", "run", "anna")


def manifest(*durations_s: float) -> Manifest:
    rows = [replace(ROW, path=f"/v/{n}.mp4", content_hash=str(n), duration_s=d) for n, d in enumerate(durations_s)]
    return Manifest("/v", tuple(rows))


def test_five_hours_are_1800_instances_that_know_their_file() -> None:
    instances = build_instances(manifest(*[3600.0] * 5))
    assert len(instances) == 1800
    assert [sum(i.video == n for i in instances) for n in range(5)] == [360] * 5
    assert instances[361] == Instance("/v/1.mp4", 1, 10.0, 20.0, "run", "anna")


def test_only_videos_longer_than_one_and_a_half_segments_are_cut() -> None:
    assert [(i.video, i.start_s, i.end_s) for i in build_instances(manifest(3.0, 15.0, 15.1))] == [
        (0, 0.0, 3.0),
        (1, 0.0, 15.0),
        (2, 0.0, 7.55),
        (2, 7.55, 15.1),
    ]
    assert all(len(build_instances(manifest(3600.0), segment_s=never)) == 1 for never in (0, float("inf")))
    assert len(build_instances(manifest(3600.0), segment_s=60.0)) == 60
    for wrong in (-1.0, float("nan")):
        with pytest.raises(InputError, match=f"segment_s={wrong}"):
            build_instances(manifest(3.0), segment_s=wrong)


def build_slowly(manifest: Manifest, segment_s: float) -> list[Instance]:
    """The instances, one after the other."""
    instances: list[Instance] = []
    numbers: dict[str, int] = {}
    for video in manifest.videos:
        if not video.duplicate_of:
            number, spans = numbers.setdefault(video.recording or video.path, len(numbers)), [(0.0, video.duration_s)]
            if 0 < 1.5 * segment_s < video.duration_s:
                spans = cut_segments(video.duration_s, video.shot_changes_s, segment_s)
            times_s = ((video.label, video.group, start_s, end_s) for start_s, end_s in spans)
            instances += [
                Instance(video.path, number, s, e, label, group, video.offset_s) for label, group, s, e in times_s
            ]
    return instances


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("segment_s", [0.0, 4.0, 10.0])
def test_instances_are_those_of_a_slow_twin(seed: int, segment_s: float) -> None:
    """Pieces of recordings in any order, duplicates, long videos among short ones, several with one path."""
    rng = np.random.default_rng(seed)
    rows = [
        replace(
            ROW,
            path=f"/v/{rng.integers(40)}.mp4",
            duration_s=float(rng.uniform(1, 40)),
            group=f"g{rng.integers(3)}",
            recording=rng.choice(["", "r", "a", "z"]),
            offset_s=float(rng.integers(3)),
            duplicate_of=rng.choice(["", "", "", "/v/0.mp4"]),
            shot_changes_s=tuple(sorted(rng.uniform(0, 20, rng.integers(3)))),
        )
        for _ in range(30)
    ]
    assert build_instances(Manifest("/v", rows), segment_s) == build_slowly(Manifest("/v", rows), segment_s)


def test_each_content_is_used_once_and_files_are_numbered_among_the_unique() -> None:
    first, again, last = manifest(3.0, 3.0, 4.0).videos
    listed = Manifest("/v", (first, replace(again, duplicate_of=first.path), last))
    assert [(i.video, i.path) for i in build_instances(listed)] == [(0, "/v/0.mp4"), (1, "/v/2.mp4")]


def test_the_shots_of_a_video_shorter_than_its_segments_are_left_whole() -> None:
    row = replace(ROW, duration_s=14.0, shot_changes_s=(5.0,))
    assert len(build_instances(Manifest("/v", (row,)))) == 1


@pytest.mark.parametrize(
    "duration_s, changes_s, edges_s",
    [
        (30.0, (), [0, 10, 20, 30]),
        (26.0, (), [0, 26 / 3, 52 / 3, 26]),
        (30.0, (12.0,), [0, 12, 21, 30]),
        (30.0, (4.0, 8.0, 12.0), [0, 4, 8, 12, 21, 30]),
        (30.0, (12.0, 12.5), [0, 12, 21, 30]),
        (30.0, (0.5, 29.5), [0, 10, 20, 30]),
        (30.0, (0.0, 30.0, 31.0, -1.0), [0, 10, 20, 30]),
        (30.0, (21.0, 12.0), [0, 12, 21, 30]),
        (0.4, (0.2,), [0, 0.4]),
    ],
)
def test_cuts_fall_on_shot_changes(duration_s: float, changes_s: tuple[float, ...], edges_s: list[float]) -> None:
    segments = cut_segments(duration_s, changes_s, 10.0)
    assert [start for start, _ in segments] + [duration_s] == pytest.approx(edges_s)
    assert segments[-1][1] == duration_s


def test_segments_cover_every_second_once() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        duration_s = float(rng.uniform(0.1, 200))
        changes_s = tuple(rng.uniform(-1, duration_s + 1, rng.integers(0, 40)))
        segments = cut_segments(duration_s, changes_s, 10.0)
        assert segments[0][0] == 0.0 and segments[-1][1] == duration_s
        assert all(a[1] == b[0] for a, b in itertools.pairwise(segments))
        lengths = [end - start for start, end in segments]
        assert max(lengths) < 15.01 and min(lengths) >= min(1.0, duration_s) - 1e-6


def texture(seed: int) -> np.ndarray:
    """Coloured blobs, uint8 (160, 240, 3): each number looks its own way."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    return cv2.resize(coarse, (240, 160), interpolation=cv2.INTER_CUBIC)


SCENES = [texture(seed) for seed in range(3)]


def moving(frame: int, scene: np.ndarray) -> np.ndarray:
    """A window that drifts 1 pixel a frame over a texture, back and forth."""
    x = abs(frame % 240 - 120)
    return np.ascontiguousarray(scene[20:84, x : x + 96])


def film(*starts: int) -> Callable[[int, int, int], np.ndarray]:
    """Scenes 0, 1, 2 ... that begin at these frames."""
    return lambda n, width, height: moving(n, SCENES[int(np.searchsorted(starts, n, "right")) - 1])


NO_SCENE_CUTS = {"bf": "2", "x264-params": "scenecut=0:open-gop=0"}


@pytest.mark.parametrize("gop", [12, 50, 250, 1])
@pytest.mark.parametrize("starts", [(0, 63, 133), (0, 5, 197)])
def test_cuts_between_key_frames_are_found_to_the_frame(tmp_path: Path, gop: int, starts: tuple[int, ...]) -> None:
    options = {**NO_SCENE_CUTS, "g": str(gop)}
    path = encode(tmp_path / "film.mp4", 200, options=options, draw=film(*starts))
    assert [time_s * 25 for time_s in detect_shot_changes(str(path))] == pytest.approx(starts[1:], abs=0.01)


@pytest.mark.parametrize("name, codec", [("film.avi", "mpeg4"), ("film.ts", "libx264"), ("film.mkv", "libx264")])
def test_cuts_are_found_in_other_containers(tmp_path: Path, name: str, codec: str) -> None:
    path = encode(tmp_path / name, 120, codec, options={"g": "25"}, draw=film(0, 40, 92))
    assert [time_s * 25 for time_s in detect_shot_changes(str(path))] == pytest.approx([40, 92], abs=0.05)


def test_a_moving_scene_has_no_shot_change(tmp_path: Path) -> None:
    path = encode(tmp_path / "pan.mp4", 240, options={**NO_SCENE_CUTS, "g": "60"}, draw=film(0))
    ends = [compute_histograms(cv2.resize(moving(n, SCENES[0]), (32, 24))) for n in (0, 60)]
    assert measure_distance(*ends) > 0.08, "the key frames must differ, or this test shows nothing"
    assert detect_shot_changes(str(path)) == []


def test_a_dissolve_or_a_flash_is_no_cut(tmp_path: Path) -> None:
    def dissolve(n: int, width: int, height: int) -> np.ndarray:
        share = min(max((n - 30) / 30, 0), 1)
        return np.uint8((1 - share) * moving(n, SCENES[0]) + share * moving(n, SCENES[1]))

    def flash(n: int, width: int, height: int) -> np.ndarray:
        return np.full((64, 96, 3), 255, np.uint8) if n == 40 else moving(n, SCENES[0])

    assert detect_shot_changes(str(encode(tmp_path / "d.mp4", 90, options={"g": "30"}, draw=dissolve))) == []
    assert detect_shot_changes(str(encode(tmp_path / "f.mp4", 90, options={"g": "30"}, draw=flash))) == []


def test_a_file_of_one_frame_has_no_shot_change(tmp_path: Path) -> None:
    assert detect_shot_changes(str(encode(tmp_path / "one.mp4", 1))) == []


def test_histogram_distance_is_the_shift_of_levels() -> None:
    black, white = np.zeros((24, 32, 3), np.uint8), np.full((24, 32, 3), 255, np.uint8)
    assert measure_distance(compute_histograms(black), compute_histograms(black)) == 0
    assert measure_distance(compute_histograms(black), compute_histograms(white)) == 1
    assert measure_distance(compute_histograms(black), compute_histograms(white // 2)) == pytest.approx(7 / 15)
    shots = np.stack([compute_histograms(black)] * 9 + [compute_histograms(white)] * 9)
    assert find_cuts(shots) == [9]


def test_large_changes_from_frame_to_frame_are_no_cut_unless_one_stands_out() -> None:
    panning = np.stack([compute_histograms(np.full((24, 32, 3), 36 * n, np.uint8)) for n in range(7)])
    assert measure_distance(panning[0], panning[1]) > 0.08
    assert find_cuts(panning) == []
