"""The tutorial as a person follows it: its commands and its Python, one after the other, on fewer videos and steps."""

import re
import shlex
from pathlib import Path

import pytest
from commands import succeeds
from documented import ROOT, read_commands

PAGE = ROOT / "docs" / "tutorial.md"
SMALLER = {"--videos 12": "--videos 4"}
FEW_STEPS = "-- --steps 2 --size 32 --batch-size 4 --workers 0 --threads 1"


def make_small(command: str) -> list[str]:
    """The words of a command after `unreel`, with a training of two steps in place of minutes."""
    for shown, smaller in SMALLER.items():
        command = command.replace(shown, smaller)
    if command.startswith("unreel explore"):
        command = f"{re.sub(r'--minutes [0-9]+ ', '', command)} {FEW_STEPS}"
    return shlex.split(command)[1:]


@pytest.mark.slow
def test_the_commands_of_the_tutorial_lead_to_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = {}
    for command in read_commands(PAGE):
        words = make_small(command)
        if words[0] != "serve":  # it does not end; the page has tests of its own
            said[words[0]] = succeeds(*words).out
    assert "16 videos can be used" in said["explore"]
    assert said["apply"].startswith("video,start_s,end_s,probability")
    assert "frame difference" in said["evaluate"]
    for made in ("videos.manifest/quarantine.csv", "videos.unreel/run/config.json", "embeddings.parquet"):
        assert (tmp_path / made).exists(), made


def test_the_tutorial_shows_every_command_of_the_way() -> None:
    names = [shlex.split(command)[1] for command in read_commands(PAGE)]
    assert names == ["synth", "inspect", "explore", "serve", "search", "concept", "synth", "apply", "evaluate", "embed"]


def test_small_commands_differ_in_size_alone() -> None:
    assert make_small("unreel explore videos --minutes 5 --no-open") == shlex.split(
        f"explore videos --no-open {FEW_STEPS}"
    )
    assert make_small("unreel synth videos --classes 4 --videos 12") == [
        "synth",
        "videos",
        *"--classes 4 --videos 4".split(),
    ]
