"""A file or folder that is missing is said by every command before it imports anything heavy, and nothing is made."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import call, refused

from unreel.cli.commands import COMMANDS
from unreel.cli.existing_paths import require_path
from unreel.errors import UnreelError

NO_VIDEOS, NO_DATA, NO_INDEX = "no such folder or list", "no such folder. Give the folder of", "no index there"
NO_RUN, NO_CONCEPT, NO_WEIGHTS = "neither a run nor a checkpoint", "no concept there", "name a file of weights"
NO_QUERY = "no such file to search with"
MISSING = {
    "explore GONE": NO_VIDEOS,
    "inspect GONE": NO_VIDEOS,
    "pack GONE out": NO_VIDEOS,
    "pretrain GONE --out out": NO_VIDEOS,
    "pretrain --resume GONE": "is not a run",
    "sweep GONE": "the file or the folder",
    "sweep HERE --data GONE --out out": NO_DATA,
    "evaluate knn base GONE": NO_DATA,
    "evaluate knn GONE HERE": NO_RUN,
    "evaluate all base GONE --out out": NO_DATA,
    "evaluate finetune base GONE": NO_DATA,
    "evaluate detection base GONE": NO_DATA,
    "compare GONE": "no evaluation here",
    "data check GONE": NO_DATA,
    "embed base GONE --out out": NO_VIDEOS,
    "embed GONE HERE --out out": NO_RUN,
    "index base GONE --out out": NO_VIDEOS,
    "index GONE HERE --out out": NO_RUN,
    "search GONE HERE": NO_INDEX,
    "search HERE GONE": NO_QUERY,
    "search HERE GONE@1-2": NO_QUERY,
    "search HERE HERE --unlike GONE": NO_QUERY,
    "serve GONE": NO_INDEX,
    "cluster GONE": NO_INDEX,
    "concept GONE name --yes 1": NO_INDEX,
    "apply GONE HERE": NO_CONCEPT,
    "classify train base GONE --out out": NO_DATA,
    "classify train GONE HERE --out out": NO_RUN,
    "classify apply GONE HERE --out out": "no classifier there",
    "classify apply HERE GONE --out out": NO_VIDEOS,
    "apply HERE GONE": NO_VIDEOS,
    "export GONE --to parquet:out": NO_INDEX,
    "export-model GONE --to onnx:out": NO_RUN,
    "bench GONE": NO_VIDEOS,
    "report GONE": "is not a run",
    "import GONE --out out": NO_WEIGHTS,
    "inflate GONE --out out": NO_WEIGHTS,
}
READ_NOTHING = {"methods", "new-method", "doctor", "synth"}
HEAVY = {"torch", "numpy", "pyarrow", "av", "cv2"}
CALLS = """
import contextlib, io, json, sys
from unreel.cli import main

said = {}
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as err, contextlib.suppress(SystemExit):
        main(words)
    said[" ".join(words)] = err.getvalue()
    heavy = sorted(set(sys.modules) & set(json.loads(sys.argv[2])))
    assert not heavy, (words, heavy)
print(json.dumps(said))
"""


def test_a_missing_path_is_said_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    words = [line.replace("GONE", "gone").replace("HERE", "here").split() for line in MISSING]
    command = [sys.executable, "-c", CALLS, json.dumps(words), json.dumps(sorted(HEAVY))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for said, wanted in zip(json.loads(done.stdout).values(), MISSING.values(), strict=True):
        assert len(said.splitlines()) == 1 and said.startswith("unreel: gone") and wanted in said, (wanted, said)
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_every_command_that_reads_something_is_tried() -> None:
    assert {line.split()[0] for line in MISSING} == COMMANDS.keys() - READ_NOTHING


@pytest.mark.parametrize(
    "place", ["s3://bucket/corpus", "s3:/bucket", "synthetic://all", "lancedb:place", "c/0.tar#k.mp4"]
)
def test_an_address_is_not_looked_for_on_the_disk(place: str) -> None:
    require_path(place, "source", "embed")
    with pytest.raises(UnreelError):
        require_path("place", "source", "embed")


def test_the_encoder_that_comes_with_unreel_has_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    require_path("base", "run", "embed")
    refused("embed", "basis", tmp_path, "--out", "out", says=("comes with it (base, base-16)",))


def test_the_library_says_the_same(tmp_path: Path) -> None:
    """The sentences stand in one place; a folder that is there, but is nothing, still reaches the library."""
    assert "no such folder or list" not in call("inspect", tmp_path).err
    refused("index", tmp_path, tmp_path, "--out", tmp_path / "out", says=(NO_RUN,))


def test_an_address_is_no_name_of_an_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused("index", "base", tmp_path, "--out", "lancedb:place", says=("a database goes to --to",))
    refused("search", "foo:bar", tmp_path, says=("no address of one in a database",))
    refused("methods", "iic", "--json", says=("leave out the name iic",))
    assert not list(tmp_path.iterdir())
