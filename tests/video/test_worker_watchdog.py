"""Loader processes that die or hang on a file: the file is reported and left out, all others arrive."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import get_worker_info

import unreel
from unreel.errors import RunError
from unreel.io.limits import Limits
from unreel.types import Clips, Instance
from unreel.video.decoding.writer import write_video
from unreel.video.loading import clip_dataset
from unreel.video.loading.clip_dataset import ClipDataset
from unreel.video.loading.loaders import build_resilient_loader
from unreel.video.sampling.batch_sampler import ResumableBatchSampler
from unreel.video.sampling.clip_spec import ClipSpec

BAD = 3
pytestmark = pytest.mark.usefixtures("quick_deaths")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("videos")
    for video in range(8):
        write_video(out / f"{video}.mp4", (np.full((32, 48, 3), 20 * video + k, np.uint8) for k in range(20)), 25.0)
    return out


def break_decoder(monkeypatch: pytest.MonkeyPatch, failure: str, by: int = signal.SIGSEGV) -> None:
    """Reading file BAD kills the loader process, as a crash of the decoder does, or never ends."""
    read_frames = clip_dataset.read_frames

    def read(path: str, *rest: Any) -> np.ndarray:
        if Path(path).stem == str(BAD) and get_worker_info() is not None:  # monitors read it in the main process
            os.kill(os.getpid(), by) if failure == "dies" else time.sleep(600)
        return read_frames(path, *rest)

    monkeypatch.setattr(clip_dataset, "read_frames", read)


def load_batches(videos: Path, limit_s: float, workers: int) -> list[Clips]:
    instances = [Instance(str(videos / f"{n}.mp4"), n, 0.0, float("inf")) for n in range(8)]
    clips = ClipDataset(instances, ClipSpec(4), (16, 24), num_clips=1, seed=0)
    return list(build_resilient_loader(clips, ResumableBatchSampler(8, 4, 0, 0, 6), workers, False, 2, Limits(limit_s)))


@pytest.mark.parametrize(("failure", "text"), [("dies", "ended the process"), ("hangs", "did not end within 1 s")])
@pytest.mark.parametrize("workers", [1, 2])
def test_only_the_file_that_kills_or_hangs_a_process_is_lost(
    failure: str, text: str, workers: int, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = load_batches(videos, 60, 0)
    break_decoder(monkeypatch, failure)
    batches = load_batches(videos, 1, workers)
    assert len(batches) == len(expected) == 6
    for batch, complete in zip(batches, expected, strict=True):
        good = complete.index_B != BAD
        assert batch.index_B.tolist() == complete.index_B[good].tolist()
        assert np.array_equal(batch.frames.numpy(), complete.frames[good].numpy())
        if not good.all():
            (bad,) = batch.failures
            assert Path(bad.path).stem == str(BAD) and bad.reason == "damaged" and text in bad.detail


def test_a_process_that_dies_during_a_step_does_not_interrupt_it(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default torch raises its death in the middle of the step."""
    break_decoder(monkeypatch, "dies")
    instances = [Instance(str(videos / f"{n}.mp4"), n, 0.0, float("inf")) for n in range(8)]
    clips, num_rows = ClipDataset(instances, ClipSpec(4), (16, 24), num_clips=1, seed=0), 0
    for batch in build_resilient_loader(clips, ResumableBatchSampler(8, 1, 0, 0, 16), 1, False, 4, Limits(60)):
        time.sleep(0.1)  # the step, while the loader process reads ahead to the bad file
        num_rows += len(batch.index_B)
    assert num_rows == 14 and list(clips.excluded_failures) == [BAD]


def test_a_process_that_is_killed_from_outside_blames_no_file(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    break_decoder(monkeypatch, "dies", signal.SIGTERM)
    with pytest.raises(RunError, match="ended from outside"):
        load_batches(videos, 60, 1)


def test_other_errors_are_raised(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(ClipDataset, "sample_clips", broken)
    with pytest.raises(RuntimeError, match="a bug of ours"):
        load_batches(videos, 60, 1)


def test_a_run_continues_without_the_file(
    videos: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    break_decoder(monkeypatch, "dies")
    options = small | {"steps": 4, "workers": 1, "held_out": 0.0, "cache_mb": 0, "batch_size": 8}
    assert unreel.pretrain(videos, out=tmp_path / "run", quiet=True, **options)["step"] == 4
    lines = (tmp_path / "run" / "quarantine.csv").read_text().splitlines()
    assert len(lines) == 2 and f"{BAD}.mp4,damaged," in lines[1] and "ended the process" in lines[1]
