"""Clips that slide over whole videos: where they begin, what they show, in chunks and at once, and `unreel index`."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import refused, succeeds
from videos import encode, number_of

from unreel.embedding import join_views
from unreel.errors import InputError
from unreel.indexing.store import clip_sampling
from unreel.indexing.store.clip_sampling import SlidingWindow
from unreel.indexing.store.embeddings_file import read_embeddings
from unreel.models.encoder.checkpoint_files import save_encoder
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.types import FileFailure, Instance
from unreel.video.decoding.decoder import read_frames as read_frames
from unreel.video.loading import sliding_clips
from unreel.video.loading.sliding_clips import SlidingClipDataset
from unreel.video.sampling.clip_sampling import compute_sliding_starts
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.view_spec import ViewSpec

SPEC = ClipSpec(4, lead_in=1)
SIZE = (64, 96)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 3, 12, 30 and 61 frames, at 25 a second."""
    folder = tmp_path_factory.mktemp("videos")
    for n in (3, 12, 30, 61):
        encode(folder / f"{n}.mp4", n)
    return folder


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderSpec("tiny", "iic", SPEC, ViewSpec(size=32))).eval()


def starts_slowly(length: int, span: int, hop: float) -> list[int]:
    """Step by step: every clip that fits, and one more that ends with the video."""
    found, at = [], 0.0
    while round(at) + span <= length:
        found.append(round(at))
        at += hop
    last = max(0, length - span)
    return found + [last] * (not found or found[-1] != last)


@pytest.mark.parametrize("length", [1, 4, 5, 6, 7, 12, 30, 61])
@pytest.mark.parametrize("hop_s, hop", [(0.0, 2.0), (0.04, 1.0), (0.08, 2.0), (0.104, 2.6), (1.0, 25.0), (0.001, 1.0)])
def test_starts_are_those_of_walking_along(length: int, hop_s: float, hop: float) -> None:
    times_s = np.arange(length) / 25
    assert compute_sliding_starts(np.arange(length), times_s, SPEC, hop_s) == starts_slowly(
        length, SPEC.total_frames, hop
    )


def test_a_hop_in_seconds_does_not_drift() -> None:
    """An hour at 29.97 frames a second, a clip each second."""
    times_s = np.arange(107_892) / 29.97
    starts_s = times_s[compute_sliding_starts(np.arange(len(times_s)), times_s, SPEC, 1.0)]
    np.testing.assert_allclose(starts_s[:-1], np.arange(len(starts_s) - 1), atol=0.02)


def test_every_frame_is_in_a_clip_and_chunks_are_what_one_pass_gives(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(videos / "61.mp4")
    whole = SlidingClipDataset([(Instance(path, 0, 0.0, np.inf), 0)], SPEC, SIZE, 0.12)[0, 0]
    assert whole.frames is not None and whole.spans_s is not None
    assert len(whole.frames) == len(whole.spans_s) == 20
    shown = np.array([[number_of(frame) for frame in clip] for clip in whole.frames])
    assert set(shown.ravel()) == set(range(61)) and (np.diff(shown, axis=1) == 1).all()
    np.testing.assert_allclose(whole.spans_s, np.stack([shown[:, 1], shown[:, -1] + 1], axis=1) / 25)
    monkeypatch.setattr(sliding_clips, "CHUNK_CLIPS", 7)
    chunks = SlidingClipDataset([(Instance(path, 0, 0.0, np.inf), n) for n in range(3)], SPEC, SIZE, 0.12)
    parts = [chunks[0, n] for n in range(3)]
    assert [len(part.frames) for part in parts] == [7, 7, 6]
    np.testing.assert_array_equal(np.concatenate([part.frames for part in parts]), whole.frames)
    assert all((part.spans_s == whole.spans_s).all() for part in parts)


@pytest.mark.parametrize("chunk, group", [(64, 64), (5, 64), (5, 2), (1, 1)])
def test_rows_are_those_of_embedding_clip_by_clip(
    chunk: int, group: int, videos: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (sliding_clips, clip_sampling):
        monkeypatch.setattr(place, "CHUNK_CLIPS", chunk)
    monkeypatch.setattr(clip_sampling, "VIDEOS_PER_GROUP", group)
    who = [Instance(str(videos / f"{n}.mp4"), 0, 0.0, np.inf) for n in (61, 3, 30, 12)]
    told: list[tuple[int, int]] = []
    rows = SlidingWindow(hop_s=0.12).embed_videos(encoder, who, 0, pytest.fail, lambda *counts: told.append(counts))
    found = {row.video_index: row for row in rows}
    assert sorted(found) == [0, 1, 2, 3]
    num_chunks = sum(-(-len(row.vectors_KD) // chunk) for row in found.values())
    assert [done for done, _ in told] == list(range(1, num_chunks + 1)) and told[-1] == (num_chunks, num_chunks)
    assert told[0][1] < num_chunks or chunk == 64, "a long video shows how far it is"
    for number, frames in ((0, 61), (2, 30), (3, 12)):
        starts = starts_slowly(frames, SPEC.total_frames, 3.0)
        vectors = []
        for start in starts:
            clip = read_frames(
                who[number].path, np.arange(start, start + SPEC.total_frames), encoder.spec.views.resize_hw
            )
            vectors.append(
                join_views({n: v.numpy() for n, v in encoder.extract_features(torch.as_tensor(clip)[None]).items()})
            )
        np.testing.assert_allclose(found[number].vectors_KD, np.concatenate(vectors), atol=1e-5)
        np.testing.assert_allclose(found[number].spans_K2[:, 0], (np.array(starts) + 1) / 25)
    assert len(found[1].vectors_KD) == 1


def test_a_video_that_breaks_off_in_a_later_chunk_is_left_out_once(
    videos: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unreel.errors import VideoError

    def breaks(path: str, numbers: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        if path.endswith("61.mp4") and numbers.max() > 30:
            raise VideoError(path, "damaged", "frame 31")
        return read_frames(path, numbers, size)

    for place in (sliding_clips, clip_sampling):
        monkeypatch.setattr(place, "CHUNK_CLIPS", 4)
    monkeypatch.setattr(sliding_clips, "read_frames", breaks)
    who, failed = [Instance(str(videos / f"{n}.mp4"), 0, 0.0, np.inf) for n in (61, 30)], list[FileFailure]()
    rows = list(SlidingWindow(hop_s=0.12).embed_videos(encoder, who, 0, failed.append))
    assert [row.video_index for row in rows] == [1] and failed == [FileFailure(who[0].path, "damaged", "frame 31")]


def test_a_length_in_seconds_is_a_rate(encoder: Encoder) -> None:
    assert SlidingWindow().make_clip_spec(encoder) == SPEC
    assert SlidingWindow(2.0).make_clip_spec(encoder) == ClipSpec(4, fps=2.0, stride_frames=0, lead_in=1)
    with pytest.raises(InputError, match="longer time"):
        SlidingWindow(0.001).make_clip_spec(encoder)
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="hop_s must be"):
            SlidingWindow(hop_s=wrong)


def test_the_command_follows_its_files_and_mixes_nothing(videos: Path, encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    save_encoder(encoder, tmp_path / "e")
    source = Path(shutil.copytree(videos, tmp_path / "v"))
    done = succeeds("index", tmp_path / "e", source, "--out", tmp_path / "i", "--hop-s", 0.4)
    rows = {n: len(starts_slowly(n, SPEC.total_frames, 10.0)) for n in (3, 12, 30, 61)}
    assert f"{sum(rows.values())} rows of 4 videos, 4 contents newly embedded" in done.out
    found = read_embeddings(tmp_path / "i")
    assert {n: found.paths.count(str(source / f"{n}.mp4")) for n in rows} == rows
    (source / "61.mp4").rename(source / "moved.mp4")
    (source / "12.mp4").unlink()
    done = succeeds("index", tmp_path / "e", source, "--out", tmp_path / "i", "--hop-s", 0.4)
    assert f"{sum(rows.values()) - rows[12]} rows of 3 videos, nothing had to be embedded" in done.out
    assert read_embeddings(tmp_path / "i").paths.count(str(source / "moved.mp4")) == rows[61]
    refused("index", tmp_path / "e", source, "--out", tmp_path / "i", says=("--length-s 0 --hop-s 0.4", "--hop-s 0"))
    says = ("unreel index --length-s 0 --hop-s 0.4", "unreel embed --per video")
    refused("embed", tmp_path / "e", source, "--out", tmp_path / "i", says=says)
    refused("index", tmp_path / "e", source, "--out", tmp_path / "j", "--length-s", -1, says=("length_s must be",))
