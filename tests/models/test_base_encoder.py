"""The encoder that comes with the package: whole, small, described, and taken wherever a run is."""

import hashlib
from pathlib import Path

import pytest
import torch
from commands import refused, succeeds

import unreel
from unreel.errors import CheckpointError
from unreel.models.encoder.base_encoders import BASE_ENCODERS, is_base_encoder, list_base_encoders
from unreel.models.encoder.checkpoint_files import find_checkpoint
from unreel.settings.network import BASE_NAMES
from unreel.training.run_folder.config import read_config

MAX_BYTES = 6_000_000


@pytest.mark.parametrize("name", BASE_NAMES)
def test_its_files_are_whole_small_and_described(name: str) -> None:
    folder = BASE_ENCODERS / name
    card, weights = (folder / "README.md").read_text(encoding="utf-8"), (folder / "encoder.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() in card
    assert "unreel pretrain synthetic://" in card and "frame difference" in card
    assert sum(file.stat().st_size for file in BASE_ENCODERS.rglob("*")) < MAX_BYTES
    assert (folder / "sums.json").is_file()


def test_it_is_loaded_by_its_name_unless_there_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = unreel.load_encoder("base")
    assert encoder.spec.views.names[0] == "residual" and not encoder.backbone.training
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").mkdir()
    assert not is_base_encoder(Path("base"))
    with pytest.raises(CheckpointError, match="neither a run nor a checkpoint"):
        find_checkpoint(Path("base"))


@pytest.mark.parametrize("name", BASE_NAMES)
def test_motion_matters_and_looks_do_not(name: str) -> None:
    """A drawn video is nearer to itself with other colours than to another motion in its own."""
    encoder = unreel.load_encoder(name)
    count = encoder.spec.clip.total_frames
    frames = torch.randint(0, 255, (1, 1, 73, 98, 3), dtype=torch.uint8).repeat(1, count, 1, 1, 1)
    stripe = torch.arange(98) // 8 % 2 == 0
    right, down = frames.clone() // 4, frames.clone() // 4
    for t in range(count):
        place = 24 * t // (count - 1) + 10
        right[0, t, 20:50, place : place + 20] = 200
        down[0, t, place : place + 20, 30:60] = 200
    other_colours = 255 - right
    other_colours[:, :, :, stripe] //= 2
    rows = torch.cat([right, other_colours, down])
    z = torch.nn.functional.normalize(encoder.extract_parts(rows)["residual"], dim=1)
    assert z[0] @ z[1] > z[0] @ z[2]


def test_it_is_taken_where_a_run_is(motion_set: Path, tmp_path: Path) -> None:
    succeeds("index", "base", motion_set, "--out", tmp_path / "index")
    done = succeeds("evaluate", "retrieval", "base", motion_set, "--num-clips", 1)
    assert "in pre-training" not in done.out
    refused(
        "embed",
        "bases",
        motion_set,
        "--out",
        tmp_path / "x.parquet",
        says=("bases: neither", "comes with it (base, base-16)"),
    )


def test_features_in_the_middle_of_a_training_are_those_of_the_end() -> None:
    encoder = unreel.load_encoder("base")
    frames = torch.randint(0, 255, (2, encoder.spec.clip.total_frames, *encoder.spec.views.resize_hw, 3)).byte()
    wanted = encoder.extract_parts(frames)
    encoder.train()
    found = encoder.extract_parts(frames)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted) and not encoder.backbone.training


def test_the_network_chooses_its_encoder(tmp_path: Path) -> None:
    assert sorted(BASE_NAMES) == list_base_encoders()
    unreel.pretrain("synthetic://all", out=tmp_path / "run", backbone="small", steps=1, batch_size=2, quiet=True)
    settings = read_config(tmp_path / "run")["settings"]
    assert (settings["init"], settings["num_frames"], settings["size"]) == ("base-16", 16, 64)
