"""The loader's work, counted: batches in memory, opened files, decoded frames, bytes sent to the device."""

import pickle
import select
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unreel
from unreel.corpus.inspection import inspect
from unreel.errors import InputError
from unreel.profiling.measure import time_decoding
from unreel.settings import Settings
from unreel.training import batches, loop
from unreel.training.job import build_training_job
from unreel.training.run_folder.config import build_run_config
from unreel.training.runtime.auto_settings import resolve_config
from unreel.types import Instance
from unreel.video.loading import clip_dataset, loaders
from unreel.video.loading.clip_dataset import ClipDataset
from unreel.video.loading.loaders import build_training_loader, count_batches_in_memory
from unreel.video.sampling.batch_sampler import ResumableBatchSampler
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.two_views import TwoViewOptions

SIZE = (16, 24)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(video, frames) of each time a file is opened to be decoded."""
    calls: list[tuple[int, int]] = []
    real = clip_dataset.read_frames

    def counted(path: str, frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        calls.append((int(Path(path).stem), len(frames)))
        return real(path, frames, size)

    monkeypatch.setattr(clip_dataset, "read_frames", counted)
    return calls


# Batches in memory.


class CountingSampler(ResumableBatchSampler):
    """Counts the batches that were requested."""

    num_requested = 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for items in super().__iter__():
            self.num_requested += 1
            yield items


@pytest.mark.parametrize(("workers", "ahead"), [(0, 2), (1, 1), (2, 2), (2, 3)])
def test_as_many_batches_are_in_memory_as_stated(workers: int, ahead: int, short_videos: list[Instance]) -> None:
    order = CountingSampler(len(short_videos), 2, 0, 0, 14)
    loader = build_training_loader(ClipDataset(short_videos, ClipSpec(4), SIZE, 1, 0), order, workers, False, ahead)
    max_in_memory = 0
    for num_used, _ in enumerate(loader):
        time.sleep(0.01)  # a slow step: the loader gets as far ahead as it may
        max_in_memory = max(max_in_memory, order.num_requested - num_used)
    assert max_in_memory == count_batches_in_memory(workers, ahead) and order.num_requested == 14


def test_a_worker_says_nothing_about_a_broken_file(
    short_videos: list[Instance], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = Path(short_videos[0].path).read_bytes()
    (tmp_path / "9.mp4").write_bytes(content[: len(content) * 2 // 3])
    broken = [Instance(str(tmp_path / "9.mp4"), 8, 0.0, float("inf")), *short_videos]
    loader = build_training_loader(
        ClipDataset(broken, ClipSpec(16), SIZE, 1, 0), ResumableBatchSampler(9, 9, 0, 0, 1), 1, False
    )
    assert [len(batch.failures) for batch in loader] == [1]
    assert capfd.readouterr() == ("", "")


# Several draws of one opened video.


@pytest.mark.parametrize("workers", [0, 2])
def test_several_draws_share_one_pass_over_the_file(workers: int, short_videos: list[Instance], read: Any) -> None:
    clips = ClipDataset(short_videos, ClipSpec(4), SIZE, 2, 7, num_draws=3)
    (batch,) = build_training_loader(clips, ResumableBatchSampler(8, 2, 5, 0, 1), workers, False)
    ((_, a), (_, b)) = next(iter(ResumableBatchSampler(8, 2, 5, 0, 1)))
    assert batch.frames.shape == (6, 2, 4, *SIZE, 3) and batch.draw_B is not None
    assert batch.index_B.tolist() == batch.video_B.tolist() == [a, a, a, b, b, b]
    assert batch.draw_B.tolist() == [a, a + 8, a + 16, b, b + 8, b + 16]
    if not workers:  # else the files are opened elsewhere
        assert [video for video, _ in read] == [a, b]
    first = ClipDataset(short_videos, ClipSpec(4), SIZE, 2, 7)[(0, a)].frames
    assert first is not None and torch.equal(batch.frames[0], torch.from_numpy(first))  # as without further draws
    assert not torch.equal(batch.frames[1], batch.frames[0]) or not torch.equal(batch.frames[2], batch.frames[0])


def test_each_draw_is_augmented_by_itself(short_videos: list[Instance]) -> None:
    clips = ClipDataset(short_videos, ClipSpec(4), (37, 49), 1, 7, num_draws=2)
    (batch,) = build_training_loader(clips, ResumableBatchSampler(8, 4, 5, 0, 1), 0, False)
    options = TwoViewOptions(pairs="same-moment", augment="color")
    batch.frames[1::2] = batch.frames[::2]  # so that only the random draws differ
    view = options.recipe(options.view_spec(32), 0)(batch).tensors["view1"]
    assert not any(torch.equal(view[k], view[k + 1]) for k in range(0, 8, 2))
    batch.draw_B = None
    view = options.recipe(options.view_spec(32), 0)(batch).tensors["view1"]
    assert all(torch.equal(view[k], view[k + 1]) for k in range(0, 8, 2))


def test_a_run_with_draws_takes_as_many_rows_and_more_steps_a_pass(
    motion_set: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    train_step = loop.train_step

    def counted(setup: Any, clips: Any, *args: Any) -> None:
        index_B = clips.index_B.tolist()
        seen.append((len(index_B), len(set(index_B))))
        train_step(setup, clips, *args)

    monkeypatch.setattr(loop, "train_step", counted)
    options = small | {"batch_size": 4, "draws_per_video": 2, "epochs": 1, "steps": 0, "held_out": 0.0, "num_frames": 4}
    state = unreel.pretrain(motion_set / "train.txt", out=tmp_path / "run", quiet=True, method="iic", **options)
    assert state["step"] == 8 and seen == [(4, 2)] * 8  # 16 videos, two a step


@pytest.mark.parametrize(("batch", "draws"), [(16, 3), (4, 4), (2, 2), (4, 0)])
def test_draws_that_do_not_fill_a_batch_are_refused(batch: int, draws: int) -> None:
    with pytest.raises(InputError, match="draws_per_video"):
        Settings(batch_size=batch, draws_per_video=draws)


# Work of a step.


def test_bytes_are_what_goes_to_the_device(
    motion_set: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = inspect(motion_set / "train.txt", check="fast", shots=False)
    job = build_training_job(tmp_path, manifest, resolve_config(build_run_config("iic", small)))
    clips, *_ = time_decoding(job, num_rounds=1)
    sent: list[torch.Tensor] = []
    monkeypatch.setattr(batches, "move_tensor", lambda value, fabric: sent.append(value) or value)
    batches.move_clips(clips, None)  # type: ignore[arg-type]
    tensors = [value for value in sent if isinstance(value, torch.Tensor)]
    height, width = job.encoder.spec.views.resize_hw
    frames = 4 * 2 * (8 + 1) * height * width * 3  # rows, clips, frames with the one before, bytes of a pixel
    assert sum(t.nbytes for t in tensors if t.ndim > 1) == frames  # uint8: conversion is the device's work
    assert sum(t.nbytes for t in tensors if t.ndim == 1) == 4 * 3 * 8  # row, video, start


def test_no_frame_is_decoded_that_is_not_delivered(short_videos: list[Instance], read: list[tuple[int, int]]) -> None:
    clips = ClipDataset(short_videos, ClipSpec(6), SIZE, 2, 7)
    delivered = 0
    for epoch, index in np.ndindex(3, 8):
        sample = clips[(epoch, index)]
        assert sample.frames is not None
        delivered += sum(len(clip) for clip in sample.frames)
    assert len(read) == 24  # one opening for both clips
    assert sum(count for _, count in read) <= delivered  # fewer where the two overlap


def test_a_run_reports_what_its_loader_keeps_in_memory(
    motion_set: Path, tmp_path: Path, small: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for cache_mb, text in ((-1, "decoded batches in memory; decoded, these videos take about"), (0, "in memory\n")):
        options = small | {"steps": 1, "cache_mb": cache_mb, "num_frames": 4}
        unreel.pretrain(motion_set / "train.txt", out=tmp_path / str(cache_mb), **options)
        assert text in capsys.readouterr().err


def test_a_batch_that_can_not_be_filled_is_reported(
    motion_set: Path, tmp_path: Path, small: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for batch, is_reported in ((64, True), (4, False)):
        options = small | {"steps": 1, "batch_size": batch, "num_frames": 4, "held_out": 0.0}
        unreel.pretrain(motion_set / "train.txt", out=tmp_path / str(batch), **options)
        assert ("not 64: there are" in " ".join(capsys.readouterr().err.split())) == is_reported


@pytest.mark.parametrize(
    ("cores", "workers", "threads"), [(8, 3, 4), (4, 3, 2), (4, 1, 3), (2, 1, 1), (2, 5, 1), (4, 0, 4)]
)
def test_torch_leaves_a_core_to_each_loader_process_and_takes_it_back(
    cores: int, workers: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [4]
    monkeypatch.setattr(loaders.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: chosen[-1])
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setattr(loaders, "_iterate_resilient", lambda *_: iter("ab"))
    samples: Any = loaders.build_sequential_loader(ClipDataset([], ClipSpec(8), SIZE, 1), workers)
    assert next(samples) == "a" and chosen == [4, threads]
    assert list(samples) == ["b"] and chosen == [4, threads, 4]


def test_a_loop_that_ends_late_does_not_undo_what_was_set_since(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = [4]
    monkeypatch.setattr(loaders.os, "cpu_count", lambda: 4)
    monkeypatch.setattr(torch, "get_num_threads", lambda: chosen[-1])
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    with loaders.reserve_loader_cores(2):
        torch.set_num_threads(1)
    assert chosen[-1] == 1


def test_only_what_a_pipe_writes_at_once_is_piped() -> None:
    """A process that dies in the middle of a longer message would leave half of it."""
    frames = np.zeros((1, 1, 2, 2, 3), np.uint8)
    for num_clips, is_tensor in ((10, False), (10_000, True)):
        moved = loaders.make_tensors(clip_dataset.ClipSample(0, 0, frames, np.zeros((num_clips, 2))))
        assert isinstance(moved.frames, torch.Tensor) and isinstance(moved.spans_s, torch.Tensor) == is_tensor
        assert is_tensor or len(pickle.dumps(moved.spans_s)) < select.PIPE_BUF - 1024


def test_a_parent_that_has_stopped_is_no_error_of_a_loader_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread that hands memory over reports through sys.excepthook; whatever else happens there is told."""
    told: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: told.append(error))
    loaders.ignore_lost_reader()
    errors = [ConnectionResetError(104, "reset by peer"), EOFError(), ValueError("else")]
    for error in errors:
        sys.excepthook(type(error), error, None)
    assert told == errors[2:]
