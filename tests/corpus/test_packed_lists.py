"""The lists of a packed corpus: the same sides, classes and groups as beside the originals, which may be gone."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from videos import encode, encode_sound

from unreel.corpus.labels.detection_set import DetectionSet
from unreel.corpus.labels.labelled_set import load_labelled_set, validate_labelled_set
from unreel.corpus.lists import VideoEntry
from unreel.corpus.motion_set.boxes import make_box_set
from unreel.errors import InputError
from unreel.packing.pack import pack
from unreel.packing.pack_settings import PackSettings
from unreel.video.decoding import decoder, packet_index
from unreel.video.sources import packed_corpus
from unreel.video.sources.paths import is_piece, normalize_path


def sides(data: Path | str, corpus: Path | None = None, **options: object) -> dict[str, list[tuple[str, str, str]]]:
    dataset = load_labelled_set(Path(data), **options)  # type: ignore[arg-type]
    names: dict[str, str] = {}
    if corpus:
        index = packed_corpus.open_packed_corpus(corpus)
        names = {index.piece_path(row): source for row, source in enumerate(index.get_column("source"))}

    def describe(entry: VideoEntry) -> tuple[str, str, str]:
        path = names.get(normalize_path(entry.path)) or entry.path.relative_to(data).as_posix()
        return path, entry.label, entry.group

    return {part: [describe(entry) for entry in getattr(dataset, part)] for part in ("train", "validation", "test")}


def labelled_folder(folder: Path, layout: str) -> Path:
    for label in ("Run", "Walk"):
        for group in (1, 2, 3):
            path = folder / label / f"v_{label}_g{group:02d}_c01.avi"
            path.parent.mkdir(parents=True, exist_ok=True)
            encode(path, 20, "mpeg4")
    names = [f"{label}/v_{label}_g{group:02d}_c01.avi" for label in ("Run", "Walk") for group in (1, 2, 3)]
    if layout == "ucf101":
        (folder / "ucfTrainTestlist").mkdir()
        for number in (1, 2):
            parts = [n for n in names if f"g{number:02d}" in n], [n for n in names if f"g{number:02d}" not in n]
            (folder / f"ucfTrainTestlist/testlist{number:02d}.txt").write_text("\n".join(parts[0]))
            (folder / f"ucfTrainTestlist/trainlist{number:02d}.txt").write_text("\n".join(f"{n} 1" for n in parts[1]))
    if layout == "lists":
        (folder / "train.csv").write_text("path,label,group\n" + "".join(f"{n},{n[0]},{n[-9]}\n" for n in names[::2]))
        (folder / "test.csv").write_text("path,label\n" + "".join(f"{n},{n[0]}\n" for n in names[1::2]))
    return folder


@pytest.mark.parametrize(
    ("layout", "options"),
    [("folders", [{}, {"seed": 5}]), ("lists", [{}]), ("ucf101", [{}, {"split": 2}])],
)
def test_lists_and_drawn_test_parts_are_those_of_the_originals(
    layout: str, options: list[dict[str, object]], tmp_path: Path
) -> None:
    folder = labelled_folder(tmp_path / "in", layout)
    pack(folder, tmp_path / "out", PackSettings(short_side=64))
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    before = [sides(folder, **options) for options in options]
    assert (
        validate_labelled_set(moved).is_valid
        and validate_labelled_set(moved).counts == validate_labelled_set(folder).counts
    )
    shutil.rmtree(folder)
    assert [sides(moved, moved, **options) for options in options] == before
    assert before[0]["train"] and before[0]["test"]
    with pytest.raises(InputError) as caught:
        load_labelled_set(moved, split=9)
    assert "unreel-" not in str(caught.value)


def test_user_lists_and_videos_that_could_not_be_packed(tmp_path: Path) -> None:
    folder = labelled_folder(tmp_path / "in", "folders")
    encode_sound(folder / "Run/silent.mp4")
    encode(folder / "Walk/long.mp4", 150)
    (tmp_path / "train.txt").write_text("Run/silent.mp4\nWalk/long.mp4\nRun/v_Run_g01_c01.avi\n")
    (tmp_path / "test.txt").write_text(f"Run/v_Run_g02_c01.avi\n{folder}/Walk/v_Walk_g01_c01.avi\n")
    pack(folder, tmp_path / "out", PackSettings(short_side=64, segment_s=2.0))
    dataset = load_labelled_set(tmp_path / "out", train=tmp_path / "train.txt", test=tmp_path / "test.txt")
    assert [entry.label for entry in dataset.train] == ["Walk"] * 3 + ["Run"] and len(dataset.test) == 2
    assert [entry.group for entry in dataset.train] == ["Walk/long.mp4"] * 3 + ["Run_g01"]
    assert all(is_piece(entry.path) for entry in dataset.train + dataset.test)
    assert any("1 video of the lists without a piece" in note for note in dataset.notes)
    assert any("1 video in several pieces" in note for note in dataset.notes)


def test_keyframes_with_boxes_are_found_in_the_pieces(tmp_path: Path) -> None:
    make_box_set(tmp_path / "in", videos=3, seed=1, seconds=4, size=(48, 64), fps=12.5, test_share=0.4)
    pack(tmp_path / "in", tmp_path / "out", PackSettings(segment_s=1.5))
    before, after = DetectionSet.load(tmp_path / "in"), DetectionSet.load(tmp_path / "out")
    assert after.action_names == before.action_names and [k.key for k in after.train] == [k.key for k in before.train]
    assert any("3 videos in several pieces" in warning for warning in after.warnings)
    for number, keyframe in enumerate(before.train + before.test):
        original, piece = before.make_instance(keyframe, number), after.make_instance(keyframe, number)
        assert is_piece(piece.path) and 0 <= piece.start_s < 2
        frames = []
        for instance in (original, piece):
            times_s = packet_index.index_frames(instance.path).times_s
            frame = int(np.searchsorted(times_s, instance.start_s + 1e-6, side="right")) - 1
            frames.append(decoder.read_frames(instance.path, [frame])[0].astype(float))
        assert np.abs(frames[0] - frames[1]).mean() < 4
