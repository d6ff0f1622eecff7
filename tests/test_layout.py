"""The walls: imports point one way between and inside rooms, one room imports av, and nothing is called utils."""

import ast
import graphlib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "unreel"
ORDER = ["errors", "seeding", "settings", "types", "io", "engines", "own_code", "provenance", "rows", "video", "corpus"]
ORDER += ["packing", "views", "models", "embedding", "losses", "methods", "training", "evaluation", "report"]
ORDER += ["profiling", "model_export", "indexing", "classification", "verbs", "serve", "cli"]
FORBIDDEN_NAMES = {"utils", "helpers", "common", "misc", "core", "manager", "engine"}
FILES = sorted(PACKAGE.rglob("*.py"))
MODULES = {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in FILES}
MOST_FILES = 12


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imported(path: Path) -> set[str]:
    """Full names of everything a file imports, also inside functions and under TYPE_CHECKING."""
    names: set[str] = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@cache
def imported_modules(path: Path) -> set[str]:
    """The modules of the package that a file imports; a folder only where it takes a name of its __init__."""
    found: set[str] = set()
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in names}
    return found & set(MODULES) - {"unreel"}


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", [f for f in FILES if room(f) in ORDER], ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_left(path: Path) -> None:
    mine = ORDER.index(room(path))
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "unreel" and len(parts) > 1 and parts[1] in ORDER:
            assert ORDER.index(parts[1]) <= mine, f"{path.name} imports {name}, which stands to its right"


def test_every_file_has_its_place_in_the_order() -> None:
    assert {room(f) for f in FILES} - set(ORDER) == {"__init__", "__main__"}


def test_no_circle_of_files() -> None:
    graph = {name: imported_modules(path) - {name} for name, path in MODULES.items() if name != "unreel"}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("depth", [2, 3])
def test_no_circle_of_folders(depth: int) -> None:
    """Folders, and the files beside them, have an order too: no two of them import from each other."""
    graph: dict[str, set[str]] = {}
    for name, path in MODULES.items():
        if name != "unreel":
            mine = ".".join(name.split(".")[:depth])
            others = {".".join(other.split(".")[:depth]) for other in imported_modules(path)}
            graph[mine] = graph.get(mine, set()) | others - {mine}
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("folder", sorted({f.parent for f in FILES}), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_folder_is_small_enough_to_be_read_at_a_glance(folder: Path) -> None:
    files = [f for f in folder.iterdir() if f.is_file() and f.name not in ("__init__.py", "py.typed")]
    assert len(files) <= MOST_FILES, sorted(f.name for f in files)


def test_two_folders_decode() -> None:
    importers = {f.parent for f in FILES if any(n.split(".")[0] == "av" for n in imported(f))}
    assert importers == {PACKAGE / "video" / "reading", PACKAGE / "video" / "decoding"}


def test_nothing_needs_torchvision_or_pickle() -> None:
    for path in FILES:
        assert not {"torchvision", "pickle", "timm"} & {n.split(".")[0] for n in imported(path)}, path


def test_losses_and_views_do_not_know_each_other() -> None:
    for path in (PACKAGE / "losses").glob("*.py"):
        assert not any(n.startswith("unreel.views") for n in imported(path)), path


def test_io_knows_nothing_of_video() -> None:
    for path in (PACKAGE / "io").glob("*.py"):
        assert not {n.split(".")[1] for n in imported(path) if n.startswith("unreel.")} & set(ORDER[5:]), path


def test_names_say_what_is_inside() -> None:
    assert not {f.stem for f in FILES} & FORBIDDEN_NAMES
