"""Runs with code of one's own: over the command line to the end, elsewhere, and started over after a failure."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import call, refused, succeeds
from own import STRENGTH, write_files, write_method
from runs import table

import unreel
from unreel.errors import CheckpointError, NeedsImportError
from unreel.provenance.record import read_provenance

TINY = "--size 16 --num-frames 4 --batch-size 4 --workers 0 --threads 1 --device cpu --quiet --log-steps 1".split()


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with files of one's own, in which the commands run."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = write_files(tmp_path / "elsewhere")
    monkeypatch.chdir(folder)
    forget(monkeypatch)
    yield folder
    forget(monkeypatch)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this process had loaded nothing."""
    monkeypatch.setattr("unreel.own_code.loading._LOADED", {})
    for name in ("pull", "strength", "net", "edges", "crop"):
        sys.modules.pop(name, None)


def test_a_run_of_own_files_is_used_where_they_are_not(
    own: Path, motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos, run = motion_set / "test.txt", tmp_path / "run"
    options = ["--backbone", "net.py:Small", "--backbone-options", '{"width": 5}', "--first-view", "edges.py:edges"]
    options += ["--augment", own / "crop.py:corner", "--steps", 1]
    succeeds("pretrain", videos, "--out", run, "--method", f"{own / 'pull.py'}:near", *options, *TINY)
    config, made = json.loads((run / "config.json").read_text()), read_provenance(run)
    assert (config["method"], config["settings"]["backbone"]) == ("pull.py:near", "net.py:Small")
    assert config["settings"]["backbone_options"] == '{"width": 5}' and config["options"]["augment"] == "crop.py:corner"
    assert made["command"].startswith("unreel pretrain") and made["data"]["videos"] == 8
    assert [c["kind"] for c in made["code"]] == ["method", "first_view", "augment", "backbone", "unreel"]
    assert list(made["code"][0]["files"]) == ["pull.py", "strength.py"]
    moved = shutil.copytree(run, tmp_path / "moved")
    checkpoint = shutil.copytree(run / "checkpoints" / "step-00000001", tmp_path / "checkpoint")
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(own)
    forget(monkeypatch)
    with pytest.raises(NeedsImportError, match="its backbone 'net.py:Small' is code outside unreel"):
        unreel.load_encoder(checkpoint)
    with pytest.warns(RuntimeWarning, match="the copy .* is used"):
        encoder = unreel.load_encoder(Path(checkpoint.name), allow_import=True)  # a relative path
    assert encoder.backbone.num_features == 5 and encoder.spec.views.names == ("edges.py:edges", "rgb")
    assert encoder.embed(videos, num_clips=1).vectors.shape == (8, 10)
    forget(monkeypatch)
    with pytest.raises(NeedsImportError, match="allow_import=True"):
        unreel.evaluate(None, checkpoint, motion_set, "knn")
    with pytest.warns(RuntimeWarning, match="the copy .* is used"):
        found = unreel.evaluate(None, checkpoint, motion_set, "knn", num_clips=1, allow_import=True)
    assert list(found) == ["knn"]
    forget(monkeypatch)
    refused("pretrain", "--resume", moved, says=("its method 'pull.py:near' is code outside unreel", "--allow-import"))
    with pytest.warns(RuntimeWarning, match=r"pull\.py is gone or was changed; the copy"):
        succeeds("pretrain", "--resume", moved, "--allow-import", "--quiet")
    assert len(read_provenance(moved)["resumed"]) == 1
    forget(monkeypatch)
    next((moved / "code").glob("pull-*/strength.py")).write_text(STRENGTH + "\n")
    refused("pretrain", "--resume", moved, "--allow-import", says=("put back pull.py as it was (hash", "pull-"))
    with pytest.raises(CheckpointError, match="put back pull.py"):
        unreel.resume(moved, allow_import=True)


def test_a_run_that_failed_before_its_first_step_was_saved_is_started_over(
    own: Path, motion_set: Path, tmp_path: Path
) -> None:
    """A method that fails in a state that two clips do not reach."""
    videos, run = motion_set / "test.txt", tmp_path / "run"
    fails = "if len(views.index_B) > 2:\n            self.absent.clear()\n        a, b = "
    name = write_method(own, "a, b = ", fails)
    command = ["pretrain", videos, "--out", run, "--method", name, "--backbone", "net:Small", "--steps", 2, *TINY]
    line = (own / "pull.py").read_text().splitlines().index("            self.absent.clear()") + 1
    refused(
        *command, says=("'pull.py:near' and backbone 'net:Small' failed: AttributeError", f"pull.py:{line}: `self.abs")
    )
    assert (run / "config.json").exists() and not table_rows(run)
    (run / "notes.txt").write_text("mine")
    write_method(own)
    refused(*command, says=("exists already; nothing was changed",))  # there is something in it that is not the run's
    (run / "notes.txt").unlink()
    with pytest.warns(RuntimeWarning, match="the run there had saved no step; it is started over"):
        succeeds(*command)
    assert table_rows(run) == 2
    refused(*command, says=("exists already; nothing was changed",))


def table_rows(run: Path) -> int:
    return len(table(run / "metrics.csv")) if (run / "metrics.csv").exists() else 0


def test_a_mistake_leaves_no_folder(
    own: Path, motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write_method(
        own, "return StepOutput(force_of(self.config) * (a - b).square().mean(), {})", "return (a - b).mean()"
    )
    command = ["pretrain", motion_set / "test.txt", "--out", tmp_path / "run", "--method", name, *TINY]
    refused(*command, "--backbone", "net.py:Small", "--steps", 1, says=("forward returns a Tensor",))
    assert not (tmp_path / "run").exists()
    write_method(own, "a, b = ", "self.absent.clear(); a, b = ")
    monkeypatch.setenv("UNREEL_TRACEBACK", "1")
    told = call(*command, "--backbone", "net.py:Small").err
    assert "Traceback" in told and told.count("self.absent.clear()") >= 2
    assert told.splitlines()[-1].startswith("unreel: ")
    monkeypatch.delenv("UNREEL_TRACEBACK")
    refused(
        *command, "--backbone", "net.py:Small", "--backbone-options", "{", says=("backbone_options '{' is no JSON",)
    )
