"""Loader processes that die or hang on a file: it is named and left out, and everything else arrives."""

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


def breaking(monkeypatch: pytest.MonkeyPatch, how: str, by: int = signal.SIGSEGV) -> None:
    """Reading one file ends the process as a decoder's crash does, or never ends."""
    real = clip_dataset.read_frames

    def read(path: str, *rest: Any) -> np.ndarray:
        if Path(path).stem == str(BAD) and get_worker_info() is not None:  # not this process: monitors read as well
            os.kill(os.getpid(), by) if how == "dies" else time.sleep(600)
        return real(path, *rest)

    monkeypatch.setattr(clip_dataset, "read_frames", read)


def all_batches(videos: Path, limit_s: float, workers: int) -> list[Clips]:
    found = [Instance(str(videos / f"{n}.mp4"), n, 0.0, float("inf")) for n in range(8)]
    clips = ClipDataset(found, ClipSpec(4), (16, 24), num_clips=1, seed=0)
    return list(build_resilient_loader(clips, ResumableBatchSampler(8, 4, 0, 0, 6), workers, False, 2, Limits(limit_s)))


@pytest.mark.parametrize(("how", "says"), [("dies", "ended the process"), ("hangs", "did not end within 1 s")])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_process_that_dies_or_hangs_costs_its_file_and_nothing_else(
    how: str, says: str, workers: int, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = all_batches(videos, 60, 0)
    breaking(monkeypatch, how)
    found = all_batches(videos, 1, workers)
    assert len(found) == len(whole) == 6
    for mine, wanted in zip(found, whole, strict=True):
        kept = wanted.index_B != BAD
        assert mine.index_B.tolist() == wanted.index_B[kept].tolist()
        assert np.array_equal(mine.frames.numpy(), wanted.frames[kept].numpy())
        if not kept.all():
            (failure,) = mine.failures
            assert Path(failure.path).stem == str(BAD) and failure.reason == "damaged" and says in failure.detail


def test_a_death_while_a_step_is_under_way_waits_until_it_is_over(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch would raise it in the middle of the step."""
    breaking(monkeypatch, "dies")
    found = [Instance(str(videos / f"{n}.mp4"), n, 0.0, float("inf")) for n in range(8)]
    clips, seen = ClipDataset(found, ClipSpec(4), (16, 24), num_clips=1, seed=0), 0
    for batch in build_resilient_loader(clips, ResumableBatchSampler(8, 1, 0, 0, 16), 1, False, 4, Limits(60)):
        time.sleep(0.1)  # the step, while the process goes ahead to the bad file
        seen += len(batch.index_B)
    assert seen == 14 and list(clips.excluded_failures) == [BAD]


def test_a_process_that_was_ended_from_outside_blames_no_file(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    breaking(monkeypatch, "dies", signal.SIGTERM)
    with pytest.raises(RunError, match="ended from outside"):
        all_batches(videos, 60, 1)


def test_what_is_no_files_fault_is_raised(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(ClipDataset, "sample_clips", broken)
    with pytest.raises(RuntimeError, match="a bug of ours"):
        all_batches(videos, 60, 1)


def test_a_run_goes_on_without_the_file(
    videos: Path, tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking(monkeypatch, "dies")
    options = small | {"steps": 4, "workers": 1, "held_out": 0.0, "cache_mb": 0, "batch_size": 8}
    assert unreel.pretrain(videos, out=tmp_path / "run", quiet=True, **options)["step"] == 4
    lines = (tmp_path / "run" / "quarantine.csv").read_text().splitlines()
    assert len(lines) == 2 and f"{BAD}.mp4,damaged," in lines[1] and "ended the process" in lines[1]
