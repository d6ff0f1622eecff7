"""A worker that was given up as lost may write on, on another machine: it spoils no piece."""

from pathlib import Path
from typing import Any

import pytest
from videos import encode

from unreel.corpus.inspection import inspect
from unreel.packing import jobs
from unreel.packing.jobs import iter_jobs, run_job
from unreel.packing.pack_settings import PackSettings


def test_a_piece_appears_whole_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials of other qualities too are written elsewhere first."""
    encode(tmp_path / "a.mp4", 30)
    work = tmp_path / "work"
    work.mkdir()
    job = next(iter_jobs(inspect(tmp_path), 5.0))
    true_encode, seen = jobs.encode_piece, []

    def encode_and_look(path: str, out: Path, *arguments: Any) -> Any:
        piece = true_encode(path, out, *arguments)
        seen.append((work / f"{job.key}.mp4").exists())
        return piece

    monkeypatch.setattr(jobs, "encode_piece", encode_and_look)
    row = run_job(job, work, PackSettings(short_side=48))
    assert seen == [False] and row["checksum"]
    assert {path.name for path in work.iterdir()} == {f"{job.key}.mp4", f"{job.key}.json"}
