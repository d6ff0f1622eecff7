"""The wheel: what is in it, what it says of itself, and what an index will show."""

import email
import email.message
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import unreel

ROOT = Path(__file__).parents[2]
NEEDED_TO_BUILD = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of this checkout, built in a copy of it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT / "unreel", source / "unreel", ignore=shutil.ignore_patterns("__pycache__"))
    for name in NEEDED_TO_BUILD:
        shutil.copy(ROOT / name, source)
    process = [sys.executable, "-W", "ignore", "-c", BUILD, str(out)]
    done = subprocess.run(process, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(out.iterdir()))


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    return email.message_from_bytes(wheel.read(f"unreel-{unreel.__version__}.dist-info/METADATA"))


def test_every_file_of_the_package_is_in_the_wheel_to_the_byte(wheel: zipfile.ZipFile) -> None:
    files = [f for f in (ROOT / "unreel").rglob("*") if f.is_file() and "__pycache__" not in f.parts]
    ours = {str(f.relative_to(ROOT)): f.read_bytes() for f in files}
    packed = {name: wheel.read(name) for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed.keys() == ours.keys()
    assert packed == ours
    kinds = {Path(name).suffix for name in packed}
    assert {".html", ".js", ".css", ".safetensors", ".json"} <= kinds and "unreel/py.typed" in packed


def test_what_the_wheel_says_of_itself(wheel: zipfile.ZipFile, metadata: email.message.Message) -> None:
    assert (metadata["Name"], metadata["Version"]) == ("unreel", unreel.__version__)
    assert metadata["License-Expression"] == "Apache-2.0" and metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.11" and "video retrieval" in metadata["Keywords"]
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    entry_points = wheel.read(f"unreel-{unreel.__version__}.dist-info/entry_points.txt").decode()
    assert "unreel = unreel.cli:main" in entry_points


def test_pythons_of_the_classifiers_are_those_that_make_takes(metadata: email.message.Message) -> None:
    named = {m[1] for c in metadata.get_all("Classifier", []) if (m := re.search(r":: 3\.(\d+)$", c))}
    suitable = re.search(r"\(3, (\d+)\) <= .* <= \(3, (\d+)\)", (ROOT / "Makefile").read_text())
    assert suitable is not None
    assert named == {str(minor) for minor in range(int(suitable[1]), int(suitable[2]) + 1)}


def test_nothing_that_only_tests_or_extras_need_is_required(metadata: email.message.Message) -> None:
    required = {
        re.split(r"[<>=!\[; ]", line)[0] for line in metadata.get_all("Requires-Dist", []) if "extra" not in line
    }
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert len(required) == len(pyproject["project"]["dependencies"])
    assert not required & {"torchvision", "tensorboard", "transformers", "onnxruntime", "pytest", "pandas"}
    assert {"torch", "fastapi", "uvicorn"} <= required


def test_the_description_has_no_link_that_is_dead_on_an_index(metadata: email.message.Message) -> None:
    text = metadata.get_payload()
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert isinstance(text, str) and text.startswith("# unreel") and "unreel explore FOLDER" in text
    assert [link for link in re.findall(r"\]\(([^)]*)\)", text) if not link.startswith("https://")] == []


@pytest.fixture(scope="module")
def describe() -> Callable[[str, str, str], str]:
    function: Callable[[str, str, str], str] = runpy.run_path(str(ROOT / "setup.py"))["describe_for_index"]
    return function


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", " See the page (docs/a.md#b), docs/c.md and [out](https://x.org).\n"),
        (
            "https://host/unreel/",
            "![The page](https://host/unreel/raw/v1.2/docs/p.png) See [the\npage](https://host/unreel/blob/v1.2/docs/a.md#b),"
            " [docs/c.md](https://host/unreel/blob/v1.2/docs/c.md) and [out](https://x.org).\n",
        ),
    ],
)
def test_links_of_the_readme(address: str, expected: str, describe: Callable[[str, str, str], str]) -> None:
    readme = "![The page](docs/p.png) See [the\npage](docs/a.md#b), [docs/c.md](docs/c.md) and [out](https://x.org).\n"
    assert describe(readme, address, "1.2") == expected.replace("the page (", "the\npage (")
