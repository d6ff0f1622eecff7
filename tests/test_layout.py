"""The walls: imports point one way, one file imports av, and nothing is called utils."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "unreel"
ORDER = ["errors", "settings", "types", "video", "views", "models", "losses", "methods", "training"]
ORDER += ["evaluation", "report", "bench", "search", "api", "serve", "cli"]
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "core", "manager", "engine"}
FILES = sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Full names of everything a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", [f for f in FILES if place(f) in ORDER], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_left(path: Path) -> None:
    mine = ORDER.index(place(path))
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "unreel" and len(parts) > 1 and parts[1] in ORDER:
            assert ORDER.index(parts[1]) <= mine, f"{path.name} imports {name}, which stands to its right"


def test_every_file_has_its_place_in_the_order() -> None:
    assert {place(f) for f in FILES} - set(ORDER) == {"__init__", "__main__"}


def test_one_file_decodes() -> None:
    assert [f.name for f in FILES if any(n.split(".")[0] == "av" for n in imported(f))] == ["file.py"]


def test_nothing_needs_torchvision_or_pickle() -> None:
    for path in FILES:
        assert not {"torchvision", "pickle", "timm"} & {n.split(".")[0] for n in imported(path)}, path


def test_losses_and_views_do_not_know_each_other() -> None:
    for path in (PACKAGE / "losses").glob("*.py"):
        assert not any(n.startswith("unreel.views") for n in imported(path)), path


def test_names_say_what_is_inside() -> None:
    assert not {f.stem for f in FILES} & FORBIDDEN_NAMES
