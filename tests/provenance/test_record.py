"""The record of what made a result: what is in it, and what never is."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import succeeds

import unreel
from unreel.models.registry import BACKBONES
from unreel.provenance.command_line import describe_command, mask_secrets, record_command
from unreel.provenance.record import (
    add_to_provenance,
    collect_provenance,
    describe_package,
    hash_contents,
    read_provenance,
    write_provenance,
)
from unreel.training.run_folder.config import build_run_config
from unreel.training.run_folder.run_provenance import describe_unreel_code


def test_a_record_says_what_computes_and_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "a-thing-that-nobody-reads")
    with record_command(["embed", "run", "https://me:pass@host/v.mp4?signature=s3cret", "--out", "my file.parquet"]):
        record = collect_provenance(data={"hash": "abc"})
    assert record["command"] == "unreel embed run 'https://***@host/v.mp4?***' --out 'my file.parquet'"
    assert record["versions"]["torch"] == torch.__version__ and record["versions"]["numpy"] == np.__version__
    assert record["versions"]["python"] == platform.python_version() and "av" in record["versions"]
    assert record["host"]["cores"] == os.cpu_count() and record["data"] == {"hash": "abc"}
    text = json.dumps(record)
    hidden = ("a-thing-that-nobody-reads", "pass@", "s3cret", platform.node(), os.path.expanduser("~") + "/")
    assert not [word for word in hidden if word and word in text]


def test_secrets_of_a_command_are_masked() -> None:
    words = [
        "serve",
        "--access-token",
        "abc",
        "--port",
        "80",
        "--token=abc",
        "--to",
        "postgresql://u:p@h/d",
        "--key",
        "--x",
    ]
    masked = [
        "serve",
        "--access-token",
        "***",
        "--port",
        "80",
        "--token=***",
        "--to",
        "postgresql://***@h/d",
        "--key",
        "--x",
    ]
    assert mask_secrets(words) == masked


def test_a_script_is_named_and_a_notebook_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--lr", "1"])
    assert describe_command() == "python train.py --lr 1"
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    assert describe_command() == ""


def test_the_commit_is_that_of_the_files_that_run() -> None:
    about, root = describe_package(), Path(unreel.__file__).parents[1]
    assert about["version"] == unreel.__version__
    if (root / ".git").exists():
        head = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        assert about["commit"] == head.stdout.strip()


def test_the_fingerprint_of_videos_is_that_of_their_contents() -> None:
    assert hash_contents(["b", "a"]) == hash_contents(["a", "b"]) != hash_contents(["a", "b", "b"])


def test_a_record_grows_and_one_that_is_missing_or_damaged_stops_nothing(tmp_path: Path) -> None:
    assert read_provenance(tmp_path) == {}
    write_provenance(tmp_path, {"format": 1, "command": "first"})
    for number in range(5):
        add_to_provenance(tmp_path, "updates", {"number": number}, most=3)
    assert read_provenance(tmp_path) == {"format": 1, "command": "first", "updates": [{"number": n} for n in (2, 3, 4)]}
    (tmp_path / "provenance.json").write_text("{")
    assert read_provenance(tmp_path) == {}


def test_embeddings_stores_and_results_say_what_made_them(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    from unreel.indexing.store.embeddings_file import read_metadata

    run = json.loads((small_run / "provenance.json").read_text())
    assert run["data"]["videos"] == 16 and {c["kind"] for c in run["code"]} == {"method", "backbone"}
    assert all(len(c["hash"]) == 32 for c in run["code"])
    videos = motion_set / "test.txt"
    succeeds("embed", small_run, videos, "--out", tmp_path / "e.parquet", "--num-clips", 1)
    made = read_metadata(tmp_path / "e.parquet")["provenance"]
    assert made["command"].startswith("unreel embed") and made["settings"]["num_clips"] == 1
    assert made["encoder"]["training"] == run and made["data"]["videos"] == 8
    for _ in range(2):  # an update that changes nothing adds nothing
        succeeds("embed", small_run, videos, "--out", tmp_path / "store", "--num-clips", 1)
    store = read_provenance(tmp_path / "store")
    assert len(store["updates"]) == 1 and store["updates"][0]["data"]["hash"] == made["data"]["hash"]
    assert store["updates"][0]["settings"]["num_clips"] == 1


@pytest.mark.parametrize("name", BACKBONES)
def test_the_source_of_every_network_is_hashed(name: str) -> None:
    """Those in a folder of backbones/, as cvrl-paper has, were looked for beside it, and their runs could not begin."""
    config = build_run_config("simclr", {"backbone": f"{name}-2d"})
    found = {part["kind"]: part for part in describe_unreel_code(config)}
    assert found["backbone"]["name"] == f"{name}-2d" and len(found["backbone"]["hash"]) == len(found["method"]["hash"])
