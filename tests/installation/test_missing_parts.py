"""A part of the installation that is missing is one sentence before any work is done."""

import sys

import pytest
from commands import refused


@pytest.mark.parametrize("package", ["fastapi", "uvicorn"])
@pytest.mark.parametrize("command", ["serve", "explore"])
def test_a_page_without_its_server(command: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("unreel.serve.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    refused(command, "folder", says=(f"the page needs {package}", "pip install --upgrade unreel"))
