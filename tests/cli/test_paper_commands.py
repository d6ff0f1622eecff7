"""The commands of docs/papers.md: each is understood to its last option, and stops because its data are not there."""

import shlex
from pathlib import Path

import pytest
from commands import call

DOCS = Path(__file__).parents[2] / "docs" / "papers.md"
COMMANDS = [line.strip() for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("    unreel ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_lacks_nothing_but_its_data(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)[1:]
    source = words[1] if words[0] == "pretrain" else words[2]
    done = call(*words)
    assert done.code == 2 and done.err.startswith("unreel:"), done.err
    assert source in done.err.splitlines()[0], "what it stops at is its data, or the run that it would have made"


def test_a_misspelt_option_is_not_mistaken_for_missing_data() -> None:
    done = call("pretrain", "K400/train.txt", "--method", "cvrl-paper", "--no-consistant", "--out", "run")
    assert not done.err.startswith("unreel:") or "consistant" in done.err
