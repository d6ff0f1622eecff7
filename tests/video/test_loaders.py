"""The loader's work, counted: batches in memory, opened files, decoded frames, bytes sent; and the cache it shares."""

import itertools
import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unreel
from unreel.corpus.inspection import inspect
from unreel.errors import InputError, VideoError
from unreel.profiling.measure import time_decoding
from unreel.settings import Settings
from unreel.training import batches, loop
from unreel.training.job import build_training_job
from unreel.training.run_folder.config import build_run_config
from unreel.training.runtime.auto_settings import resolve_config
from unreel.types import Instance
from unreel.video.decoding.writer import write_video
from unreel.video.loading import cache_budget, clip_dataset, frame_cache
from unreel.video.loading.cache_budget import estimate_decoded_mb, plan_cache_budget
from unreel.video.loading.clip_dataset import ClipDataset
from unreel.video.loading.frame_cache import PENDING, FrameCache
from unreel.video.loading.free_memory import read_free_mb
from unreel.video.loading.loaders import build_training_loader, count_batches_in_memory
from unreel.video.sampling.batch_sampler import ResumableBatchSampler
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.two_views import TwoViewOptions

SIZE, FRAMES = (16, 24), 20


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[Instance]:
    """Eight videos of 20 frames, each of its own brightness."""
    out = tmp_path_factory.mktemp("plain")
    for video in range(8):
        write_video(out / f"{video}.mp4", (np.full((32, 48, 3), 20 * video + k, np.uint8) for k in range(FRAMES)), 25.0)
    return [Instance(str(out / f"{video}.mp4"), video, 0.0, float("inf")) for video in range(8)]


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


# How far it runs ahead.


class Counted(ResumableBatchSampler):
    """Notes how many batches have been asked for."""

    asked = 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for items in super().__iter__():
            self.asked += 1
            yield items


@pytest.mark.parametrize(("workers", "ahead"), [(0, 2), (1, 1), (2, 2), (2, 3)])
def test_no_more_batches_are_under_way_than_was_said(workers: int, ahead: int, whole: list[Instance]) -> None:
    order = Counted(len(whole), 2, 0, 0, 14)
    loader = build_training_loader(ClipDataset(whole, ClipSpec(4), SIZE, 1, 0), order, workers, False, ahead)
    most = 0
    for used, _ in enumerate(loader):
        time.sleep(0.01)  # a slow step: the loader gets as far ahead as it may
        most = max(most, order.asked - used)
    assert most == count_batches_in_memory(workers, ahead) and order.asked == 14


def test_a_worker_says_nothing_about_a_broken_file(
    whole: list[Instance], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    content = Path(whole[0].path).read_bytes()
    (tmp_path / "9.mp4").write_bytes(content[: len(content) * 2 // 3])
    broken = [Instance(str(tmp_path / "9.mp4"), 8, 0.0, float("inf")), *whole]
    loader = build_training_loader(
        ClipDataset(broken, ClipSpec(16), SIZE, 1, 0), ResumableBatchSampler(9, 9, 0, 0, 1), 1, False
    )
    assert [len(batch.failures) for batch in loader] == [1]
    assert capfd.readouterr() == ("", "")


# Several draws of one opened video.


@pytest.mark.parametrize("workers", [0, 2])
def test_several_draws_share_one_pass_over_the_file(workers: int, whole: list[Instance], read: Any) -> None:
    clips = ClipDataset(whole, ClipSpec(4), SIZE, 2, 7, num_draws=3)
    (batch,) = build_training_loader(clips, ResumableBatchSampler(8, 2, 5, 0, 1), workers, False)
    ((_, a), (_, b)) = next(iter(ResumableBatchSampler(8, 2, 5, 0, 1)))
    assert batch.frames.shape == (6, 2, 4, *SIZE, 3) and batch.draw_B is not None
    assert batch.index_B.tolist() == batch.video_B.tolist() == [a, a, a, b, b, b]
    assert batch.draw_B.tolist() == [a, a + 8, a + 16, b, b + 8, b + 16]
    if not workers:  # else the files are opened elsewhere
        assert [video for video, _ in read] == [a, b]
    first = ClipDataset(whole, ClipSpec(4), SIZE, 2, 7)[(0, a)].frames
    assert first is not None and torch.equal(batch.frames[0], torch.from_numpy(first))  # as without further draws
    assert not torch.equal(batch.frames[1], batch.frames[0]) or not torch.equal(batch.frames[2], batch.frames[0])


def test_each_draw_is_augmented_by_itself(whole: list[Instance]) -> None:
    clips = ClipDataset(whole, ClipSpec(4), (37, 49), 1, 7, num_draws=2)
    (batch,) = build_training_loader(clips, ResumableBatchSampler(8, 4, 5, 0, 1), 0, False)
    options = TwoViewOptions(pairs="same-moment", augment="color")
    batch.frames[1::2] = batch.frames[::2]  # so that chance alone tells them apart
    view = options.recipe(options.view_spec(32), 0)(batch).tensors["view1"]
    assert not any(torch.equal(view[k], view[k + 1]) for k in range(0, 8, 2))
    batch.draw_B = None
    view = options.recipe(options.view_spec(32), 0)(batch).tensors["view1"]
    assert all(torch.equal(view[k], view[k + 1]) for k in range(0, 8, 2))


def test_a_run_with_draws_takes_as_many_rows_and_more_steps_a_pass(
    motion_set: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    real = loop.train_step

    def noted(setup: Any, clips: Any, *args: Any) -> None:
        index_B = clips.index_B.tolist()
        seen.append((len(index_B), len(set(index_B))))
        real(setup, clips, *args)

    monkeypatch.setattr(loop, "train_step", noted)
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


def test_no_frame_is_decoded_that_is_not_delivered(whole: list[Instance], read: list[tuple[int, int]]) -> None:
    clips = ClipDataset(whole, ClipSpec(6), SIZE, 2, 7)
    delivered = 0
    for epoch, index in np.ndindex(3, 8):
        sample = clips[(epoch, index)]
        assert sample.frames is not None
        delivered += sum(len(clip) for clip in sample.frames)
    assert len(read) == 24  # one opening for both clips
    assert sum(count for _, count in read) <= delivered  # fewer where the two overlap


# The cache.


def test_processes_fill_one_cache_and_it_outlives_them(whole: list[Instance], monkeypatch: pytest.MonkeyPatch) -> None:
    clips = ClipDataset(whole, ClipSpec(4), SIZE, 1, 7, cache_mb=1)
    plain = ClipDataset(whole, ClipSpec(4), SIZE, 1, 7)
    first = list(build_training_loader(clips, ResumableBatchSampler(8, 2, 5, 0, 4), 2, False))
    assert clips.cache.cached_instances == set(range(8))
    assert clips.cache.used_bytes == 8 * FRAMES * SIZE[0] * SIZE[1] * 3

    def never(path: str, *_: Any) -> np.ndarray:
        raise VideoError(path, "damaged", "decoded again")

    wanted = list(build_training_loader(plain, ResumableBatchSampler(8, 2, 5, 0, 8), 0, False))
    monkeypatch.setattr(clip_dataset, "read_frames", never)
    later = list(build_training_loader(clips, ResumableBatchSampler(8, 2, 5, 4, 8), 2, False))
    for one, other in zip(wanted, first + later, strict=True):
        assert torch.equal(one.frames, other.frames) and not other.failures


def test_a_process_that_dies_leaves_nothing_behind_and_harms_nobody(whole: list[Instance]) -> None:
    names = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    clips = ClipDataset(whole, ClipSpec(4), SIZE, 1, 7, cache_mb=1)
    child = os.fork()
    if not child:  # it has begun with video 3 when it is killed
        clips.cache.offset_N[3] = PENDING
        os._exit(9)
    os.waitpid(child, 0)
    plain = ClipDataset(whole, ClipSpec(4), SIZE, 1, 7)
    for epoch, index in np.ndindex(2, 8):
        one, other = clips[(epoch, index)].frames, plain[(epoch, index)].frames
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    assert clips.cache.cached_instances == set(range(8)) - {3}
    if names:
        assert set(os.listdir("/dev/shm")) <= names


def test_a_lock_that_is_never_given_back_is_given_up(whole: list[Instance], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_cache, "LOCK_TIMEOUT_S", 0.01)
    clips = ClipDataset(whole, ClipSpec(4), SIZE, 1, 7, cache_mb=1)
    clips.cache.lock.acquire()
    for index in range(8):
        assert clips[(0, index)].frames is not None
    assert clips.cache.disabled and not clips.cache.cached_instances


def test_a_file_that_changed_is_decoded(whole: list[Instance]) -> None:
    cache = FrameCache(1, (2, 2), 1)

    def decode_from(value: int) -> Any:
        return lambda numbers: np.full((len(numbers), 2, 2, 3), value, np.uint8)

    assert cache.get_frames(0, np.array([1, 2]), np.arange(4), decode_from(1)).max() == 1
    assert cache.get_frames(0, np.array([1, 2]), np.arange(4), decode_from(2)).max() == 1
    assert cache.get_frames(0, np.array([4]), np.arange(5), decode_from(3)).tolist() == [[[[3] * 3] * 2] * 2]


def test_room_for_what_can_not_be_decoded_is_not_published() -> None:
    cache = FrameCache(1, (2, 2), 2)

    def broken(numbers: np.ndarray) -> np.ndarray:
        if len(numbers) > 1:
            raise VideoError("a.mp4", "damaged")
        return np.zeros((1, 2, 2, 3), np.uint8)

    for _ in range(2):
        assert len(cache.get_frames(0, np.array([1]), np.arange(4), broken)) == 1
    assert not cache.cached_instances


def test_more_memory_than_there_is_keeps_nothing() -> None:
    cache = FrameCache(2**43, (2, 2), 1)
    assert len(cache.get_frames(0, np.array([0]), np.arange(2), lambda n: np.zeros((len(n), 2, 2, 3), np.uint8))) == 1
    assert not cache.cached_instances


def test_a_cache_that_is_sent_to_another_process_begins_empty(whole: list[Instance]) -> None:
    clips = ClipDataset(whole, ClipSpec(4), SIZE, 1, 7, cache_mb=1)
    clips[(0, 0)]
    copy = pickle.loads(pickle.dumps(clips))
    assert not copy.cache.cached_instances and copy.cache.per_process and not len(copy.cache.buffer)
    np.testing.assert_array_equal(copy[(0, 0)].frames, clips[(0, 0)].frames)
    assert copy.cache.cached_instances == {0}


# How much memory it gets.

MEGABYTE_A_VIDEO = (182, 96)  # 20 frames of it are 1.0 MB


@pytest.mark.parametrize(
    ("asked", "spare", "budget", "says"),
    [
        (0, 1e6, 0, ""),
        (-1, 1e6, 28, "take about 8 MB: all of them are kept, and decoded once"),
        (-1, 20.0, 5, "take about 8 MB: the first 5 MB are kept"),
        (-1, 1.0, 0, "no decoded frames are kept"),
        (3, 1e6, 3, "the first 3 MB are kept"),
        (100, 1.0, 28, "all of them are kept"),
    ],
)
def test_the_cache_chooses_itself_by_the_sizes(
    asked: int, spare: float, budget: int, says: str, whole: list[Instance]
) -> None:
    plan = plan_cache_budget(asked, whole, ClipSpec(4), MEGABYTE_A_VIDEO, spare)
    assert abs(plan.budget_mb - budget) <= 1 and says in plan.explanation


def test_only_a_few_files_are_looked_into(whole: list[Instance], monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    real = cache_budget.index_frames
    monkeypatch.setattr(cache_budget, "index_frames", lambda path: looked.append(path) or real(path))
    monkeypatch.setattr(cache_budget, "run_isolated", lambda work, *arguments: work(*arguments))
    many = list(itertools.islice(itertools.cycle(whole), 1000))
    megabytes, share = estimate_decoded_mb(many, ClipSpec(4), MEGABYTE_A_VIDEO)
    assert megabytes == pytest.approx(1000, rel=0.01) and share == 1 and len(looked) == cache_budget.SAMPLE_SIZE
    halved = estimate_decoded_mb(many, ClipSpec(4, fps=12.5, stride_frames=0), MEGABYTE_A_VIDEO)[0]
    assert halved == pytest.approx(500, rel=0.01)


def test_long_videos_are_not_kept(whole: list[Instance], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache_budget, "MAX_FRAMES", 19)
    assert "longer than 19 frames" in plan_cache_budget(-1, whole, ClipSpec(4), SIZE, 1e6).explanation
    gone = [Instance(str(tmp_path / "gone.mp4"), 0, 0.0, 1.0)]
    assert plan_cache_budget(-1, gone, ClipSpec(4), SIZE, 1e6).budget_mb == 0


@pytest.mark.parametrize(
    ("files", "megabytes"),
    [
        ({"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:  2097152 kB\n"}, 2048),
        (
            {
                "proc/meminfo": "MemAvailable:  2097152 kB\n",
                "sys/fs/cgroup/memory.max": f"{2**30}\n",
                "sys/fs/cgroup/memory.current": f"{2**29}\n",
            },
            512,
        ),
        ({"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "5\n"}, 1024),
        ({}, 1024),
    ],
)
def test_free_memory_is_the_containers(files: dict[str, str], megabytes: float, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert read_free_mb(tmp_path) == megabytes


def test_a_run_says_what_its_loader_keeps(
    motion_set: Path, tmp_path: Path, small: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for cache_mb, says in ((-1, "decoded batches in memory; decoded, these videos take about"), (0, "in memory\n")):
        options = small | {"steps": 1, "cache_mb": cache_mb, "num_frames": 4}
        unreel.pretrain(motion_set / "train.txt", out=tmp_path / str(cache_mb), **options)
        assert says in capsys.readouterr().err


def test_a_batch_that_can_not_be_filled_is_said(
    motion_set: Path, tmp_path: Path, small: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for batch, said in ((64, True), (4, False)):
        options = small | {"steps": 1, "batch_size": batch, "num_frames": 4, "held_out": 0.0}
        unreel.pretrain(motion_set / "train.txt", out=tmp_path / str(batch), **options)
        assert ("not 64: there are" in " ".join(capsys.readouterr().err.split())) == said
