"""The cache of decoded frames: shared by processes, complete instances only, and it changes nothing but time."""

import os
import pickle
from typing import Any

import numpy as np
import pytest
import torch

from unreel.errors import VideoError
from unreel.types import Instance
from unreel.video.loading import clip_dataset, frame_cache
from unreel.video.loading.clip_dataset import ClipDataset
from unreel.video.loading.frame_cache import PENDING, FrameCache
from unreel.video.loading.loaders import build_training_loader
from unreel.video.sampling.batch_sampler import ResumableBatchSampler
from unreel.video.sampling.clip_spec import ClipSpec

SIZE, NUM_FRAMES = (16, 24), 20


def test_processes_share_one_cache_that_outlives_them(
    short_videos: list[Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = ClipDataset(short_videos, ClipSpec(4), SIZE, 1, 7, cache_mb=1)
    plain = ClipDataset(short_videos, ClipSpec(4), SIZE, 1, 7)
    first = list(build_training_loader(clips, ResumableBatchSampler(8, 2, 5, 0, 4), 2, False))
    assert clips.cache.cached_instances == set(range(8))
    assert clips.cache.used_bytes == 8 * NUM_FRAMES * SIZE[0] * SIZE[1] * 3

    def decode_again(path: str, *_: Any) -> np.ndarray:
        raise VideoError(path, "damaged", "decoded again")

    expected = list(build_training_loader(plain, ResumableBatchSampler(8, 2, 5, 0, 8), 0, False))
    monkeypatch.setattr(clip_dataset, "read_frames", decode_again)
    later = list(build_training_loader(clips, ResumableBatchSampler(8, 2, 5, 4, 8), 2, False))
    for one, other in zip(expected, first + later, strict=True):
        assert torch.equal(one.frames, other.frames) and not other.failures


def test_a_killed_process_leaves_nothing_behind_and_only_its_instance_is_not_cached(
    short_videos: list[Instance],
) -> None:
    names_before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    clips = ClipDataset(short_videos, ClipSpec(4), SIZE, 1, 7, cache_mb=1)
    child = os.fork()
    if not child:  # killed while it decodes video 3
        clips.cache.offset_N[3] = PENDING
        os._exit(9)
    os.waitpid(child, 0)
    plain = ClipDataset(short_videos, ClipSpec(4), SIZE, 1, 7)
    for epoch, index in np.ndindex(2, 8):
        one, other = clips[(epoch, index)].frames, plain[(epoch, index)].frames
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    assert clips.cache.cached_instances == set(range(8)) - {3}
    if names_before:
        assert set(os.listdir("/dev/shm")) <= names_before


def test_a_lock_that_is_never_released_disables_the_cache(
    short_videos: list[Instance], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_cache, "LOCK_TIMEOUT_S", 0.01)
    clips = ClipDataset(short_videos, ClipSpec(4), SIZE, 1, 7, cache_mb=1)
    clips.cache.lock.acquire()
    for index in range(8):
        assert clips[(0, index)].frames is not None
    assert clips.cache.disabled and not clips.cache.cached_instances


def test_a_file_that_changed_is_decoded(short_videos: list[Instance]) -> None:
    cache = FrameCache(1, (2, 2), 1)

    def decode_from(value: int) -> Any:
        return lambda numbers: np.full((len(numbers), 2, 2, 3), value, np.uint8)

    assert cache.get_frames(0, np.array([1, 2]), np.arange(4), decode_from(1)).max() == 1
    assert cache.get_frames(0, np.array([1, 2]), np.arange(4), decode_from(2)).max() == 1
    assert cache.get_frames(0, np.array([4]), np.arange(5), decode_from(3)).tolist() == [[[[3] * 3] * 2] * 2]


def test_an_instance_that_can_not_be_decoded_is_not_cached() -> None:
    cache = FrameCache(1, (2, 2), 2)

    def broken(numbers: np.ndarray) -> np.ndarray:
        if len(numbers) > 1:
            raise VideoError("a.mp4", "damaged")
        return np.zeros((1, 2, 2, 3), np.uint8)

    for _ in range(2):
        assert len(cache.get_frames(0, np.array([1]), np.arange(4), broken)) == 1
    assert not cache.cached_instances


def test_without_enough_memory_nothing_is_cached() -> None:
    cache = FrameCache(2**43, (2, 2), 1)
    assert len(cache.get_frames(0, np.array([0]), np.arange(2), lambda n: np.zeros((len(n), 2, 2, 3), np.uint8))) == 1
    assert not cache.cached_instances


def test_a_pickled_cache_begins_empty(short_videos: list[Instance]) -> None:
    clips = ClipDataset(short_videos, ClipSpec(4), SIZE, 1, 7, cache_mb=1)
    clips[(0, 0)]
    copy = pickle.loads(pickle.dumps(clips))
    assert not copy.cache.cached_instances and copy.cache.per_process and not len(copy.cache.buffer)
    np.testing.assert_array_equal(copy[(0, 0)].frames, clips[(0, 0)].frames)
    assert copy.cache.cached_instances == {0}
