"""Training on drawn clips, by the command: the same for any number of workers, resumable, read by what reads files."""

import json
from pathlib import Path

import pytest
from commands import call, refused, succeeds
from runs import assert_equal_runs, stop_after

from unreel.embedding import load_encoder

DRAWN = "synthetic://no-camera"
RUN = [
    *"--size 32 --batch-size 4 --num-frames 8 --threads 1 --device cpu --quiet --backbone tiny".split(),
    *"--steps 3 --log-steps 1 --held-out 0.002".split(),
]


def test_a_run_on_drawn_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a loader process or without one, in one go or stopped and resumed from another folder."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    succeeds("pretrain", DRAWN, "--out", whole, *RUN, "--workers", 0)
    stop_after(monkeypatch, 1, save=True)
    assert call("pretrain", DRAWN, "--out", cut, *RUN, "--workers", 1).code == 130
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    succeeds("pretrain", "--resume", cut)
    assert_equal_runs(whole, cut)
    assert json.loads((whole / "config.json").read_text())["source"] == DRAWN
    embeddings = load_encoder(whole).embed("synthetic://all#3", num_clips=2)
    assert embeddings.vectors.shape == (1, 128)


def test_what_drawn_clips_are_not_for(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run")
    refused("pretrain", DRAWN, *out, *RUN, "--method", "iic-paper", says=("remembers each video", "--method motion"))
    refused("pack", DRAWN, tmp_path / "packed", says=("nothing to pack",))
    assert not (tmp_path / "run").exists()


def test_unknown_properties_are_refused(tmp_path: Path) -> None:
    refused("pretrain", "synthetic://no-sound", "--out", tmp_path / "run", *RUN, says=("no-sound", "no-camera"))
    assert not (tmp_path / "run").exists()
