"""A part of the installation that is missing is one sentence before any work is done."""

import sys
from pathlib import Path

import pytest
from commands import refused


@pytest.mark.parametrize("command", ["serve", "explore"])
def test_a_page_without_its_server(command: str, motion_index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "unreel.serve.server", raising=False)  # this one alone: others keep their classes
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    refused(command, motion_index, says=("the page needs uvicorn", "pip install --upgrade unreel"))
