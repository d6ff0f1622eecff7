"""The synthetic set: motion tells the class, nothing else does, and train and test share no texture."""

import colorsys
import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from unreel.corpus.motion_set import make_set as motion_set_module
from unreel.corpus.motion_set import scene as scene_module
from unreel.corpus.motion_set.make_set import MOTIONS, make_set, render_video
from unreel.corpus.motion_set.scene import draw_scene, draw_texture
from unreel.corpus.motion_set.set_folder import assign_split
from unreel.errors import InputError
from unreel.video.decoding.decoder import read_frames

SMALL = {"frames": 10, "size": (32, 48)}


def pixels(folder: Path) -> dict[str, np.ndarray]:
    """Every video of a set, decoded."""
    paths = sorted(folder.rglob("*.mp4"))
    return {str(path.relative_to(folder)): read_frames(path, range(10)) for path in paths}


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "set"
    make_set(out, classes=3, videos=4, seed=5, **SMALL)
    return out


def test_same_seed_same_pixels_and_another_seed_other_pixels(small_set: Path, tmp_path: Path) -> None:
    make_set(tmp_path / "same", classes=3, videos=4, seed=5, **SMALL)
    make_set(tmp_path / "other", classes=3, videos=4, seed=6, **SMALL)
    first, same, other = pixels(small_set), pixels(tmp_path / "same"), pixels(tmp_path / "other")
    assert first.keys() == same.keys() == other.keys()
    for name, frames in first.items():
        assert frames.std() > 5
        np.testing.assert_array_equal(frames, same[name])
        assert np.abs(frames.astype(int) - other[name]).mean() > 10


def test_files_show_the_rendered_videos(small_set: Path) -> None:
    drawn = render_video("drift_up", 5, 1, "train", num_frames=10, size=(32, 48))
    decoded = pixels(small_set)["drift_up/drift_up_0000.mp4"]
    assert np.abs(drawn.astype(int) - decoded).mean() < 12


def test_lists_and_synth_json_name_every_video(small_set: Path) -> None:
    lists = {split: (small_set / f"{split}.txt").read_text().split() for split in ("train", "test")}
    record = json.loads((small_set / "synth.json").read_text())
    assert sorted(lists["train"] + lists["test"]) == sorted(pixels(small_set)) == sorted(record["textures"])
    assert sorted({path.split("/")[0] for path in lists["test"]}) == sorted(list(MOTIONS)[:3])
    assert (len(lists["train"]), len(lists["test"])) == (9, 3)
    assert record["complete"] and record["settings"]["seed"] == 5


@pytest.mark.parametrize(
    ("videos", "share", "tests"), [(1, 0.3, 0), (2, 0.3, 1), (10, 0.3, 3), (40, 0.3, 12), (7, 0, 0)]
)
def test_split_sizes(videos: int, share: float, tests: int) -> None:
    assert [assign_split(number, share) for number in range(videos)].count("test") == tests


def test_train_and_test_share_no_texture(small_set: Path) -> None:
    textures = json.loads((small_set / "synth.json").read_text())["textures"]
    used = {
        split: {number for path in (small_set / f"{split}.txt").read_text().split() for number in textures[path]}
        for split in ("train", "test")
    }
    assert len(used["train"]) == 9 * 5 and len(used["test"]) == 3 * 5
    assert {number % 2 for number in used["train"]} == {0} and {number % 2 for number in used["test"]} == {1}
    assert hue_sectors(used["train"]) <= {0, 2, 4, 6, 8, 10}
    assert hue_sectors(used["test"]) <= {1, 3, 5, 7, 9, 11}


def hue_sectors(numbers: set[int]) -> set[int]:
    """Sectors of the two end colours of textures, as found in their pixels."""
    sectors = set()
    for number in numbers:
        flat = draw_texture(5, number, 48, 48).reshape(-1, 3) / 255
        for end in (flat.sum(1).argmin(), flat.sum(1).argmax()):
            sectors.add(int(colorsys.rgb_to_hsv(*flat[end])[0] * 12))
    return sectors


def test_a_scene_depends_on_seed_index_and_split_only() -> None:
    numbers = [draw_scene(*which).list_textures() for which in ((0, 1), (0, 1), (0, 2), (1, 1), (0, 1, "test"))]
    assert numbers[0] == numbers[1]
    assert len({tuple(n) for n in numbers}) == 4


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_frame_has_the_same_distribution_of_poses_in_every_class(motion: str) -> None:
    poses = np.concatenate(
        [
            motion_set_module.compute_poses(draw_scene(0, i, size=(32, 32)), motion, 0, i, 24)[
                scene_module.NUM_STILL_OBJECTS :, 7
            ]
            for i in range(60)
        ]
    )
    units = np.stack([poses[:, 0] / 32 % 1, poses[:, 1] / 32 % 1, poses[:, 2] / (2 * np.pi) % 1, poses[:, 3]])
    uniform = (np.arange(len(poses)) + 0.5) / len(poses)
    gaps = np.abs(np.sort(units, 1) - uniform).max(1)
    assert (gaps < 1.9 / np.sqrt(len(poses))).all(), gaps  # Kolmogorov-Smirnov, about one in a thousand


@pytest.mark.parametrize("motion", MOTIONS)
def test_every_window_of_eight_frames_moves(motion: str) -> None:
    for index in range(10):
        poses = motion_set_module.compute_poses(draw_scene(0, index), motion, 0, index, 48)[
            scene_module.NUM_STILL_OBJECTS :
        ]
        poses *= [1, 1, 20, 30]  # the rim of a thing: pixels a radian, pixels a unit of size
        for start in range(41):
            assert (np.ptp(poses[:, start : start + 8], axis=1).max(1) > 3).all(), (index, start)


def flow(video: np.ndarray) -> np.ndarray:
    """Right, down, divergence and clockwise curl of what moves against the ground; (T - 1, 4)."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video]
    dense, rows = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST), []
    for before, after in itertools.pairwise(grey):
        field = dense.calc(before, after, None)
        u, v = np.moveaxis(field - np.median(field, (0, 1)), 2, 0)
        (uy, ux), (vy, vx) = np.gradient(u), np.gradient(v)
        moving = np.hypot(u, v) > 0.4
        rows.append([part[moving].sum() / (moving.sum() + 30) for part in (u, v, 8 * (ux + vy), 8 * (vx - uy))])
    return np.array(rows)


@pytest.fixture(scope="module")
def videos() -> tuple[np.ndarray, np.ndarray]:
    """Forty videos of each of the eight classes, and their classes."""
    names = list(MOTIONS)[:8]
    drawn = [
        render_video(name, 1, 14 * k + c, num_frames=17, size=(64, 80))
        for c, name in enumerate(names)
        for k in range(40)
    ]
    return np.stack(drawn), np.repeat(np.arange(8), 40)


def neighbour_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    flat = features.reshape(len(features), -1).astype(np.float64)
    distances = (flat**2).sum(1)[:, None] + (flat**2).sum(1) - 2 * flat @ flat.T
    np.fill_diagonal(distances, np.inf)
    return float((labels[distances.argmin(1)] == labels).mean())


def test_frames_and_colours_do_not_tell_the_class(videos: tuple[np.ndarray, np.ndarray]) -> None:
    frames, labels = videos
    chance, error = 1 / 8, np.sqrt(1 / 8 * 7 / 8 / len(labels))
    for blind in (frames.mean(1), frames[:, 8], frames.mean((1, 2, 3)), frames[:, 8].std((1, 2))):
        assert abs(neighbour_accuracy(blind, labels) - chance) < 3 * error


def test_motion_tells_the_class(videos: tuple[np.ndarray, np.ndarray]) -> None:
    frames, labels = (part[::4] for part in videos)
    flows = np.stack([flow(video) for video in frames])
    features = np.concatenate([np.median(flows, 1), flows.std(1)], 1)
    assert neighbour_accuracy(features / features.std(0), labels) > 0.6


STEADY = {
    "drift_left": (0, -1), "drift_right": (0, 1), "drift_up": (1, -1), "drift_down": (1, 1), "loom_out": (2, -1),
    "loom_in": (2, 1), "spin_counterclockwise": (3, -1), "spin_clockwise": (3, 1),
}  # fmt: skip
SWINGING = {"sway": 0, "bob": 1, "pulse": 2, "rock": 3}


def flow_on_movers(motion: str, index: int) -> np.ndarray:
    """Flow within each mover: right, down, outward, clockwise; (movers, T - 1, 4) in pixels a frame."""
    video, scene = render_video(motion, 3, index, num_frames=17), draw_scene(3, index)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video]
    dense = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    fields = [dense.calc(before, after, None) for before, after in itertools.pairwise(grey)]
    return np.array(
        [
            [within(field, pose) for field, pose in zip(fields, poses, strict=False)]
            for poses in motion_set_module.compute_poses(scene, motion, 3, index, 17)[scene_module.NUM_STILL_OBJECTS :]
        ]
    )


def within(field: np.ndarray, pose: np.ndarray) -> list[float]:
    reach = int(
        0.3
        * 96
        * scene_module.DIAMETER_RANGE[0]
        * (scene_module.DIAMETER_RANGE[1] / scene_module.DIAMETER_RANGE[0]) ** pose[3]
    )
    y, x = (part.ravel() for part in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    u, v = field[(int(pose[1]) + y) % 96, (int(pose[0]) + x) % 128].T
    far = np.hypot(x, y).mean()
    return [u.mean(), v.mean(), (u * x + v * y).mean() / far, (v * x - u * y).mean() / far]


@pytest.mark.parametrize("motion", STEADY)
def test_steady_motions_keep_their_sign(motion: str) -> None:
    part, sign = STEADY[motion]
    flows = np.median([flow_on_movers(motion, index) for index in range(8)], 2).reshape(-1, 4)
    assert (sign * flows[:, part] > 0.05).mean() > 0.8, flows
    middle = np.abs(np.median(flows, 0))
    assert middle[part] > 3 * np.delete(middle, part).max(), middle


@pytest.mark.parametrize("motion", SWINGING)
def test_swinging_motions_change_their_sign(motion: str) -> None:
    part = SWINGING[motion]
    flows = np.concatenate([flow_on_movers(motion, index) for index in range(8)])
    size = np.median(np.abs(flows), (0, 1))
    assert size[part] > 1.5 * np.delete(size, part).max(), size
    assert np.median(np.abs(flows.mean(1))[:, part]) < 0.5 * size[part]


@pytest.mark.parametrize(("motion", "way"), [("orbit_clockwise", 1), ("orbit_counterclockwise", -1)])
def test_orbits_turn_in_their_direction(motion: str, way: int) -> None:
    for index in range(6):
        x, y = np.moveaxis(motion_set_module.compute_poses(draw_scene(3, index), motion, 3, index, 17)[-1, :, :2], 1, 0)
        u, v = np.diff(x), np.diff(y)
        assert (way * (u[:-1] * v[1:] - v[:-1] * u[1:]) > 0).all()  # down is positive: clockwise turns right into down


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 0}, "classes=0: choose 1 to 14 of drift_left, drift_up"),
        ({"classes": 15}, "rock"),
        ({"videos": 0}, "videos=0"),
        ({"frames": 1}, "frames=1"),
        ({"size": (31, 48)}, "even"),
        ({"fps": 0}, "fps=0"),
        ({"test_share": 1.0}, "test_share=1.0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_settings_that_can_not_be_used(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_set(tmp_path / "set", **options)
    assert not (tmp_path / "set").exists()


def test_unknown_motion_lists_the_known() -> None:
    with pytest.raises(InputError, match="Did you mean 'drift_left'"):
        render_video("drift_lefft", 0, 0)


def test_a_folder_that_holds_something_else_is_left_alone(small_set: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        make_set(tmp_path, classes=1, videos=1)
    with pytest.raises(InputError, match="is a file"):
        make_set(tmp_path / "mine.txt", classes=1, videos=1)
    with pytest.raises(InputError, match="other settings"):
        make_set(small_set, classes=3, videos=4, seed=6, **SMALL)
    (tmp_path / "mine.txt").rename(tmp_path / "synth.json")
    with pytest.raises(InputError, match="not readable"):
        make_set(tmp_path, classes=1, videos=1)
    assert [path.name for path in tmp_path.iterdir()] == ["synth.json"]


def test_an_incomplete_set_is_made_again_and_progress_is_reported(tmp_path: Path) -> None:
    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_set(tmp_path / "set", classes=2, videos=2, on_progress=stop, **SMALL)
    assert not json.loads((tmp_path / "set/synth.json").read_text())["complete"]
    seen: list[tuple[int, int]] = []
    make_set(tmp_path / "set", classes=2, videos=2, on_progress=lambda *now: seen.append(now), **SMALL)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert json.loads((tmp_path / "set/synth.json").read_text())["complete"]
