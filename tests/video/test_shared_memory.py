"""Clips of loader processes lie in memory without a name; a loader that can give nothing ends with the reason."""

import contextlib
import errno
import multiprocessing
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import unreel
from unreel.errors import RunError
from unreel.io.limits import Limits
from unreel.types import Clips, Instance
from unreel.video.decoding.writer import write_video
from unreel.video.loading import clip_dataset, frame_cache, loaders, shared_memory, worker_watchdog
from unreel.video.loading.clip_dataset import ClipDataset
from unreel.video.sampling.batch_sampler import ResumableBatchSampler
from unreel.video.sampling.clip_spec import ClipSpec

pytestmark = pytest.mark.usefixtures("quick_deaths")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("videos")
    for video in range(4):
        write_video(out / f"{video}.mp4", (np.full((32, 48, 3), 40 * video + k, np.uint8) for k in range(12)), 25.0)
    return out


def make_dataset(videos: Path) -> ClipDataset:
    instances = [Instance(str(videos / f"{n}.mp4"), n, 0.0, float("inf")) for n in range(4)]
    return ClipDataset(instances, ClipSpec(4), (16, 24), num_clips=1, seed=0)


def load_batches(videos: Path, workers: int = 1, limits: Limits | None = None) -> list[Clips]:
    order = ResumableBatchSampler(4, 2, 0, 0, 4)
    return list(loaders.build_resilient_loader(make_dataset(videos), order, workers, False, 2, limits))


def find_mapping(tensor: torch.Tensor) -> str:
    """What is mapped where a tensor lies, as the system names it."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end = (int(number, 16) for number in line.split()[0].split("-"))
        if begin <= tensor.data_ptr() < end:
            return " ".join(line.split()[5:])
    raise AssertionError("not mapped")


@pytest.mark.parametrize("workers", [1, 2])
def test_nothing_of_a_batch_lies_in_dev_shm(workers: int, videos: Path) -> None:
    for batch in load_batches(videos, workers):
        for tensor in (batch.frames, batch.index_B, batch.start_s_B):
            assert find_mapping(tensor).startswith("/memfd:unreel")
    for sample in loaders.build_sequential_loader(make_dataset(videos), workers):
        assert isinstance(sample.frames, torch.Tensor)
        assert find_mapping(sample.frames).startswith("/memfd:unreel")


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float64])
def test_a_shared_tensor_is_the_same(dtype: torch.dtype) -> None:
    for tensor in (torch.arange(24).reshape(2, 3, 4).to(dtype).transpose(0, 2), torch.tensor(3).to(dtype)):
        shared = shared_memory.share_tensor(tensor)
        assert shared.dtype == dtype and torch.equal(shared, tensor) and shared.is_shared()
    assert not shared_memory.share_tensor(torch.zeros(0, 2)).numel()


def test_a_system_without_such_memory_has_that_of_torch(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_name: str) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    expected = load_batches(videos, 0)
    monkeypatch.setattr(shared_memory.os, "memfd_create", refused)
    for batch, same in zip(load_batches(videos), expected, strict=True):
        assert torch.equal(batch.frames, same.frames) and not find_mapping(batch.frames).startswith("/memfd:unreel")


@pytest.mark.parametrize(("number", "advice"), [(errno.EMFILE, "ulimit -n"), (errno.EFBIG, "ulimit -f")])
def test_what_cant_be_shared_ends_the_loader_with_the_reason(
    number: int, advice: str, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch raises it in a thread of the loader process, where nobody hears it."""
    real = shared_memory.share_tensor

    def share(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim() > 2:
            raise OSError(number, "no room")
        return real(tensor)

    monkeypatch.setattr(shared_memory, "share_tensor", share)
    with pytest.raises(RunError, match=rf"can't be shared between processes \(no room\); raise `{advice}`"):
        load_batches(videos)
    with pytest.raises(RunError, match="can't be shared"):
        list(loaders.build_sequential_loader(make_dataset(videos), 1))


def test_locks_that_cant_be_made_name_dev_shm(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shared_memory.multiprocessing, "Lock", full)
    with pytest.raises(RunError, match=r"/dev/shm \(No space left on device\).*--shm-size"):
        frame_cache.FrameCache(0, (16, 24), 4)
    dataset_without_lock(monkeypatch)
    with pytest.raises(RunError, match="/dev/shm"):
        load_batches(videos)


def dataset_without_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_cache, "make_locks", lambda _count: [threading.Lock()])


def test_a_loader_that_gives_nothing_ends_the_run(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_watchdog, "SILENCE_S", 0.6)
    monkeypatch.setattr(ClipDataset, "collate", lambda *_: time.sleep(600))
    with pytest.raises(RunError, match="given nothing for .* though none reads a file"):
        load_batches(videos, 2)
    assert not multiprocessing.active_children()


def test_a_file_that_nothing_can_end_is_named(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network mount that does not answer: the system's timer has no effect."""
    monkeypatch.setattr(worker_watchdog, "SILENCE_S", 0.3)
    monkeypatch.setattr(worker_watchdog, "enforce_limits", lambda _limits: contextlib.nullcontext())
    monkeypatch.setattr(clip_dataset, "read_frames", lambda *_: time.sleep(600))
    with pytest.raises(RunError, match=r"\.mp4: reading it has not ended after .* nothing could end it"):
        load_batches(videos, 1, Limits(0.3))


def test_a_slow_loader_is_waited_for(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it reads counts as progress, though a whole batch takes longer than the silence that is allowed."""
    read = clip_dataset.read_frames

    def slow(*arguments: Any) -> np.ndarray:
        time.sleep(0.4)
        return read(*arguments)

    monkeypatch.setattr(worker_watchdog, "SILENCE_S", 0.5)
    monkeypatch.setattr(clip_dataset, "read_frames", slow)
    assert len(load_batches(videos, 1, Limits(0.1 + 60))) == 4


def call_in_pool(work: Callable[[str], Any], argument: str) -> Any:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply_async(work, (argument,)).get(120)


def count_videos(folder: str) -> int:
    return len(unreel.inspect(folder).videos)


def count_batches(folder: str) -> int:
    return len(load_batches(Path(folder)))


@pytest.mark.parametrize(("work", "count"), [(count_videos, 4), (count_batches, 4)])
def test_files_are_read_inside_a_worker_of_a_pool_and_inside_a_thread(
    work: Callable[[str], int], count: int, videos: Path
) -> None:
    assert call_in_pool(work, str(videos)) == count
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(work(str(videos))))
    thread.start()
    thread.join(120)
    assert found == [count]
