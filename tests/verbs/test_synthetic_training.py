"""Training on drawn clips, by the command: the same for any number of workers, read by what reads files."""

import json
from pathlib import Path

from commands import refused, succeeds
from safetensors.torch import load_file

from unreel.embedding import load_encoder

DRAWN = "synthetic://no-camera"
RUN = "--size 32 --batch-size 4 --num-frames 8 --threads 1 --device cpu --quiet --steps 2 --backbone tiny".split()


def test_a_run_on_drawn_clips(tmp_path: Path) -> None:
    alone, helped = tmp_path / "alone", tmp_path / "helped"
    for run, workers in ((alone, 0), (helped, 1)):
        succeeds("pretrain", DRAWN, "--out", run, *RUN, "--workers", workers)
    last = Path("checkpoints", "step-00000002", "encoder.safetensors")
    ours, theirs = load_file(alone / last), load_file(helped / last)
    assert all(ours[name].equal(theirs[name]) for name in ours)
    assert json.loads((alone / "config.json").read_text())["source"] == DRAWN
    embeddings = load_encoder(alone).embed("synthetic://all#3", num_clips=2)
    assert embeddings.vectors.shape == (1, 128)


def test_what_drawn_clips_are_not_for(tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run")
    refused("pretrain", DRAWN, *out, *RUN, "--method", "iic-paper", says=("remembers each video", "--method motion"))
    refused("pack", DRAWN, tmp_path / "packed", says=("nothing to pack",))
    assert not (tmp_path / "run").exists()


def test_unknown_properties_are_refused(tmp_path: Path) -> None:
    refused("pretrain", "synthetic://no-sound", "--out", tmp_path / "run", *RUN, says=("no-sound", "no-camera"))
    assert not (tmp_path / "run").exists()
