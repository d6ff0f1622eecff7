"""How much memory the cache of decoded frames gets."""

import itertools
from pathlib import Path

import pytest

from unreel.types import Instance
from unreel.video.loading import cache_budget
from unreel.video.loading.cache_budget import estimate_decoded_mb, plan_cache_budget
from unreel.video.loading.free_memory import read_free_mb
from unreel.video.sampling.clip_spec import ClipSpec

SIZE = (16, 24)
ONE_MB_SIZE = (182, 96)  # 20 frames of this size are 1.0 MB


@pytest.mark.parametrize(
    ("requested_mb", "free_mb", "budget_mb", "text"),
    [
        (0, 1e6, 0, ""),
        (-1, 1e6, 28, "take about 8 MB: all of them are kept, and decoded once"),
        (-1, 20.0, 5, "take about 8 MB: the first 5 MB are kept"),
        (-1, 1.0, 0, "no decoded frames are kept"),
        (3, 1e6, 3, "the first 3 MB are kept"),
        (100, 1.0, 28, "all of them are kept"),
    ],
)
def test_the_budget_follows_the_need_and_the_free_memory(
    requested_mb: int, free_mb: float, budget_mb: int, text: str, short_videos: list[Instance]
) -> None:
    plan = plan_cache_budget(requested_mb, short_videos, ClipSpec(4), ONE_MB_SIZE, free_mb)
    assert abs(plan.budget_mb - budget_mb) <= 1 and text in plan.explanation


def test_only_a_sample_of_the_files_is_indexed(short_videos: list[Instance], monkeypatch: pytest.MonkeyPatch) -> None:
    indexed: list[str] = []
    index_frames = cache_budget.index_frames
    monkeypatch.setattr(cache_budget, "index_frames", lambda path: indexed.append(path) or index_frames(path))
    monkeypatch.setattr(cache_budget, "run_isolated", lambda work, *arguments: work(*arguments))
    many = list(itertools.islice(itertools.cycle(short_videos), 1000))
    megabytes, share = estimate_decoded_mb(many, ClipSpec(4), ONE_MB_SIZE)
    assert megabytes == pytest.approx(1000, rel=0.01) and share == 1 and len(indexed) == cache_budget.SAMPLE_SIZE
    halved = estimate_decoded_mb(many, ClipSpec(4, fps=12.5, stride_frames=0), ONE_MB_SIZE)[0]
    assert halved == pytest.approx(500, rel=0.01)


def test_long_and_missing_videos_are_not_cached(
    short_videos: list[Instance], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cache_budget, "MAX_FRAMES", 19)
    assert "longer than 19 frames" in plan_cache_budget(-1, short_videos, ClipSpec(4), SIZE, 1e6).explanation
    missing = [Instance(str(tmp_path / "missing.mp4"), 0, 0.0, 1.0)]
    assert plan_cache_budget(-1, missing, ClipSpec(4), SIZE, 1e6).budget_mb == 0


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
def test_free_memory_is_that_of_the_container(files: dict[str, str], megabytes: float, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert read_free_mb(tmp_path) == megabytes
