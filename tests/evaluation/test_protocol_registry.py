"""Protocols are found by their files: the toy below is a command, with its options and help, and stands in reports."""

import dataclasses
import importlib
import json
import pkgutil
import shutil
import sys
from pathlib import Path

import pytest
from commands import refused, succeeds

from unreel.errors import InputError
from unreel.evaluation import protocols
from unreel.evaluation.feature_protocol import ExtractionOptions, FeatureProtocol
from unreel.evaluation.protocol_registry import build_evaluations, build_standard_suite, list_protocols, load_protocol

TOY = '''
from dataclasses import dataclass

from unreel.evaluation.feature_protocol import Evaluation, FeatureProtocol
from unreel.evaluation.result import Result


@dataclass
class ToyOptions:
    """Count the test videos."""

    times: int = 1
    """How often each of them counts."""


def build(options, extraction):
    def run(train, test, encoder):
        rows = {"joint": {"videos": float(options.times * len(test.instances))}}
        return Result("toy", "Number of test videos", rows, "counted", {"times": options.times}, main_column="videos")

    return {"toy": Evaluation(run)}


PROTOCOL = FeatureProtocol(
    name="toy", order=7, summary="counts the test videos", options=ToyOptions, build=build, in_suite=(ToyOptions(),)
)
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A protocol in a file of a second folder of `unreel.evaluation.protocols`."""
    (tmp_path / "counting.py").write_text(TOY)
    monkeypatch.setattr(protocols, "__path__", [*protocols.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, f"{protocols.__name__}.counting", raising=False)
    return "toy"


@pytest.mark.report
def test_one_file_is_a_whole_protocol(toy: str, small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    run = shutil.copytree(small_run, tmp_path / "run")
    overview = succeeds("evaluate", "--help").out
    assert overview.index("  toy          counts the test videos") > overview.index("  motion ")
    help_text = succeeds("evaluate", toy, "--help").out
    assert "--times INT" in help_text and "How often each of them counts." in help_text and "--num-clips" in help_text
    options = ("--num-clips", 1, "--no-floors", "--times", 3, "--json")
    result = json.loads(succeeds("evaluate", toy, run, motion_set, *options).out)
    assert result["rows"]["joint"]["videos"] == 3.0 * len((motion_set / "test.txt").read_text().splitlines())
    assert "Number of test videos" in (run / "report.html").read_text()
    assert list(build_standard_suite(ExtractionOptions()))[-1] == toy
    refused("evaluate", "toi", small_run, motion_set, says=("toi", "toy"))


def test_every_file_with_a_protocol_is_listed_once() -> None:
    names = [info.name for info in pkgutil.iter_modules(protocols.__path__)]
    modules = [importlib.import_module(f"{protocols.__name__}.{name}") for name in names]
    offered = {m.__name__: m.PROTOCOL for m in modules if hasattr(m, "PROTOCOL")}
    entries = list_protocols()
    assert {entry.module: name for name, entry in entries.items()} == {m: p.name for m, p in offered.items()}
    assert [entry.order for entry in entries.values()] == sorted({entry.order for entry in entries.values()})


@pytest.mark.parametrize("name", list_protocols())
def test_every_protocol_is_a_command_with_its_own_options(name: str) -> None:
    protocol: FeatureProtocol[object] = load_protocol(name)
    assert protocol.name == name and protocol.summary == list_protocols()[name].summary
    help_text = " ".join(succeeds("evaluate", name, "--help").out.split())
    assert (protocol.options.__doc__ or "") in help_text
    for field in dataclasses.fields(protocol.options):  # type: ignore[arg-type]
        assert f"--{field.name.replace('_', '-')}" in help_text
    assert protocol.build(protocol.options(), ExtractionOptions())


def test_the_suite_keeps_its_order() -> None:
    names = ["retrieval", "retrieval-iic", "retrieval-dualvar", "knn", "linear", "few-labels", "motion"]
    assert list(build_standard_suite(ExtractionOptions())) == names


@pytest.mark.parametrize(("name", "options"), [("retrieval", {"layr": "map"}), ("retrival", {})])
def test_a_wrong_name_is_answered_with_the_nearest(name: str, options: dict[str, str]) -> None:
    with pytest.raises(InputError, match="Did you mean '(layer|retrieval)'"):
        build_evaluations(name, ExtractionOptions(), **options)
