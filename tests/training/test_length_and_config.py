"""A run that is lengthened, and a run whose settings are those of another."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import refused, succeeds
from runs import table, tensors

import unreel
from unreel.errors import InputError
from unreel.settings import make_single_machine_settings
from unreel.training.lr_schedule import compute_lr, describe_new_length
from unreel.training.run_folder.config import read_config
from unreel.training.run_folder.earlier_config import load_earlier_config

OPTIONS: dict[str, Any] = {"backbone": "tiny", "size": 32, "num_frames": 4, "batch_size": 8, "workers": 0}
OPTIONS |= {"device": "cpu", "threads": 1, "log_steps": 1, "held_out": 0.2}


@pytest.fixture(scope="module")
def short(motion_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three steps at a constant rate."""
    run = tmp_path_factory.mktemp("runs") / "short"
    changes = {"schedule": "constant", "warmup": 0.0, "steps": 3, "lr": 0.01}
    unreel.pretrain(motion_set / "train.txt", run, "simclr", root=motion_set, quiet=True, **OPTIONS | changes)
    return run


def test_at_a_constant_rate_a_lengthened_run_is_the_long_run(short: Path, motion_set: Path, tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    shutil.copytree(short, run)
    said = succeeds("pretrain", "--resume", run, "--steps", 5).err
    assert "learning rate of the 3 steps done was that of a run of this length" in " ".join(said.split())
    # The long run is given by the settings of the short one, changed in one value.
    unreel.pretrain(motion_set / "train.txt", whole, root=motion_set, quiet=True, config=short, steps=5)
    one, other = tensors(run), tensors(whole)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    losses = [[row["loss"] for row in table(r / "metrics.csv")] for r in (run, whole)]
    assert len(losses[0]) == 5 and losses[0] == losses[1]
    assert read_config(run)["settings"] == read_config(whole)["settings"]


def test_a_best_checkpoint_of_the_short_run_is_not_the_best_of_the_long_one(short: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(short, run)
    assert json.loads((run / "checkpoints" / "index.json").read_text())["best_step"] == 3
    assert unreel.resume(run, quiet=True, steps=5)["best_step"] in (4, 5)  # the last quarter of five
    with pytest.raises(InputError, match="has done 5 steps already; --steps is 5 or more, got 4"):
        unreel.resume(run, quiet=True, steps=4)
    assert read_config(run)["settings"]["steps"] == 5


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"schedule": "constant", "warmup": 0.0}, True),
        ({"schedule": "steps", "warmup": 0.0, "drops": ()}, True),
        ({"schedule": "steps", "warmup": 0.0, "drops": (0.9,)}, True),
        ({"schedule": "steps", "warmup": 0.0, "drops": (0.1,)}, False),
        ({"schedule": "constant", "warmup": 0.1}, False),
        ({"schedule": "cosine", "warmup": 0.0}, False),
    ],
)
def test_what_another_length_does_to_the_rate_is_said(changes: dict[str, Any], same: bool) -> None:
    settings = make_single_machine_settings(lr=0.5, **changes)
    said = describe_new_length(60, 100, 200, settings)
    assert ("was that of a run of this length" in said) == same
    if not same:
        before, after = compute_lr(59, 100, settings), compute_lr(60, 200, settings)
        assert f"goes from {before:.3g} to {after:.3g} at step 60" in said and changes["schedule"] in said


def test_a_config_gives_every_setting_and_options_change_it(short: Path, motion_set: Path, tmp_path: Path) -> None:
    made = load_earlier_config(short)
    assert made.method == "simclr" and made.settings.schedule == "constant" and made.settings.size == 32
    own = tmp_path / "own.toml"
    own.write_text('method = "trio"\nlr = 1\ndrops = [0.5]\nintra_negatives = "none"\n')
    made = load_earlier_config(own)
    assert made.settings.lr == 1.0 and made.settings.drops == (0.5,) and made.options.intra_negatives == "none"
    words = [motion_set / "train.txt", "--root", motion_set, "--config", short, "--lr", 0.02, "--epochs", 1]
    succeeds("pretrain", *words, "--out", tmp_path / "run", "--quiet")
    settings, before = (read_config(run)["settings"] for run in (tmp_path / "run", short))
    assert settings == before | {"lr": 0.02, "epochs": 1, "steps": 0}


def test_a_method_that_has_changed_since_the_run_is_said(short: Path, tmp_path: Path) -> None:
    """Of the run, only what is read here: its settings, and a record with the hash of another source."""
    config, record = read_config(short), json.loads((short / "provenance.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_earlier_config(tmp_path).method == "simclr"
    record["code"][0]["hash"] = "0" * 32
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    with pytest.warns(RuntimeWarning, match="method 'simclr' has changed since .* was trained; the new run uses it as"):
        load_earlier_config(tmp_path)


def test_configs_that_can_not_be_used(short: Path, motion_set: Path, tmp_path: Path) -> None:
    config = read_config(short)
    config["settings"]["nonsense"] = 3
    config["versions"]["unreel"] = "0.0.9"
    (tmp_path / "config.json").write_text(json.dumps(config))
    base = ["pretrain", motion_set / "train.txt", "--out", tmp_path / "run", "--config"]
    refused(*base, tmp_path, says=("config.json (written by unreel 0.0.9", "unknown option 'nonsense'"))
    refused(
        *base, tmp_path / "none.toml", says=("none.toml", "give a run, or a file of settings (.toml, .json, .yaml)")
    )
    refused(*base, short, "--method", "trio", says=("is of the method simclr", "leave --method trio out"))
    (tmp_path / "bad.json").write_text('{"lr": "fast"}')
    refused(*base, tmp_path / "bad.json", says=("bad.json", "lr is a number, got 'fast'"))
    assert not (tmp_path / "run").exists()
