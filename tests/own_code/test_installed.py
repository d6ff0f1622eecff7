"""Names that installed packages offer by entry points: a package as pip leaves it, with one of each kind."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import call, refused, succeeds
from own import EDGES, METHOD, NETWORK, STRENGTH

import unreel
from unreel.errors import InputError, OwnCodeError
from unreel.evaluation.feature_protocol import ExtractionOptions
from unreel.evaluation.probes.own_probe import read_scores
from unreel.evaluation.protocol_registry import load_protocol
from unreel.evaluation.video_features import VideoFeatures
from unreel.models.encoder.encoder import Encoder
from unreel.models.registry import build_backbone
from unreel.own_code.installed import expand_name, list_installed
from unreel.views.view_spec import ViewSpec

TINY = "--size 16 --num-frames 4 --batch-size 4 --workers 0 --threads 1 --device cpu --quiet --log-steps 1".split()
ENTRY_POINTS = """
[unreel.methods]
pulled = pull_package.pull:near
simclr = pull_package.pull:near
[unreel.backbones]
little = pull_package.net:Small
whole-module = pull_package.net
[unreel.views]
edged = pull_package.edges:edges
[unreel.augmentations]
cornered = pull_package.crop:corner
[unreel.probes]
nearest-mean = pull_package.measures:classify_by_means
[unreel.protocols]
ranks = pull_package.measures:PROTOCOL
"""
CROP = """
def corner(clips, draw_uniforms, size):
    return clips[..., :size, :size]
"""
MEASURES = '''
from dataclasses import dataclass

import numpy as np

from unreel.evaluation.feature_protocol import Evaluation, FeatureProtocol
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import find_layer_rows


def classify_by_means(train, classes, test):
    means = np.stack([train[classes == c].mean(axis=0) for c in np.unique(classes)])
    return -((test[:, None] - means) ** 2).sum(axis=2)


@dataclass
class Options:
    """The share of test videos whose k nearest training videos are of their class."""

    k: int = 1
    """Neighbours that must all agree."""


def build(options, extraction):
    def run(train, test, encoder):
        rows, outcomes = {}, {}
        for name, (key, columns) in find_layer_rows(train, test, "pooled").items():
            distance = ((test.vectors[key][:, None, columns] - train.vectors[key][None, :, columns]) ** 2).sum(axis=2)
            nearest = np.argsort(distance, axis=1, kind="stable")[:, : options.k]
            right = (np.array(train.labels)[nearest] == np.array(test.labels)[:, None]).all(axis=1) * 100.0
            rows[name], outcomes[name] = {"all agree": right.mean()}, {"all agree": right.tolist()}
        return Result("agreement", "Agreement", rows, "", {"k": options.k}, main_column="all agree", outcomes=outcomes)

    return {"agreement": Evaluation(run)}


PROTOCOL = FeatureProtocol("agreement", 99, "neighbours that agree", Options, build)
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package in a folder of its own that Python looks in, as `pip install --target` leaves it."""
    site = tmp_path / "site"
    (site / "pull_package").mkdir(parents=True)
    method = METHOD.replace("from strength import", "from pull_package.strength import")
    files = {"pull": method, "strength": STRENGTH, "net": NETWORK, "edges": EDGES, "crop": CROP, "measures": MEASURES}
    for name, text in files.items() | {("__init__", "")}:
        (site / "pull_package" / f"{name}.py").write_text(text)
    about = site / "pull_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: pull-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    monkeypatch.setattr("unreel.own_code.loading._LOADED", {})
    yield site
    for name in [name for name in sys.modules if name.startswith("pull_package")]:
        del sys.modules[name]


def test_a_run_with_names_of_a_package_keeps_what_they_stand_for(
    package: Path, motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    options = ["--backbone", "little", "--backbone-options", '{"width": 5}', "--first-view", "edged"]
    options += ["--augment", "cornered", "--force", 2.0, "--steps", 1, *TINY]
    succeeds("pretrain", motion_set / "test.txt", "--out", run, "--method", "pulled", *options)
    config = json.loads((run / "config.json").read_text())
    options = config["options"]
    names = config["method"], config["settings"]["backbone"], options["first_view"], options["augment"]
    assert names == tuple(f"pull_package.{name}" for name in ("pull:near", "net:Small", "edges:edges", "crop:corner"))
    assert config["options"]["force"] == 2.0
    made = json.loads((run / "provenance.json").read_text())["code"]
    assert {c["name"]: len(c["hash"]) for c in made if c["kind"] != "unreel"} == dict.fromkeys(names, 32)
    monkeypatch.setattr("unreel.own_code.loading._LOADED", {})
    checkpoint = next((run / "checkpoints").glob("step-*1"))  # without a report
    few = ["--num-clips", 1, "--no-floors", "--allow-import"]
    refused("evaluate", "knn", checkpoint, motion_set, says=("pull_package", "--allow-import"))
    table = call("evaluate", "ranks", checkpoint, motion_set, "--k", 2, *few).out
    assert "all agree" in table
    told = succeeds("evaluate", "linear", checkpoint, motion_set, "--kind", "nearest-mean", "--json", *few)
    result = json.loads(told.out)
    assert result["protocol"]["code"] == "pull_package.measures:classify_by_means" and result["kind"] == "probe"
    assert len(result["protocol"]["code_hash"]) == 32 and "joint" in result["rows"]


def test_unreels_own_names_stay_and_others_are_listed(package: Path) -> None:
    assert expand_name("r3d", "backbone", ["r3d"]) == "r3d"
    assert expand_name("little", "backbone", ["little"]) == "little"
    assert list_installed("view") == {"edged": "pull_package.edges:edges"}
    assert type(build_backbone("little", size=16, num_frames=4).network).__name__ == "Small"
    assert ViewSpec(("edged",)).lead_in in (0, 1)
    listed = unreel.choices("views")
    assert [listed[name].origin for name in ("rgb", "edged")] == ["unreel", "pull_package.edges:edges"]
    assert unreel.choices("methods")["simclr"].origin == "unreel" and "pulled" in unreel.choices("methods")
    assert "Of installed packages (unreel.methods): pulled (pull_package.pull:near)" in call("methods").out
    assert "Views of one moment." in call("methods", "pulled").out
    for call_, known in (
        (lambda: build_backbone("littl"), "Did you mean 'little'"),
        (lambda: ViewSpec(("edge",)), "Did you mean 'edged'"),
        (lambda: unreel.pretrain("x", "y", method="puled"), "Did you mean 'pulled'"),
        (lambda: unreel.pretrain("x", "y", first_view="edge"), "Did you mean 'edged'"),
        (lambda: unreel.evaluate(None, "base", "x", "rank"), "Did you mean 'ranks'"),
    ):
        with pytest.raises(InputError, match=known):
            call_()


def test_what_a_package_offers_wrongly_is_said(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OwnCodeError, match="offered by a package as 'pull_package.net'; an entry point is module:NAME"):
        build_backbone("whole-module")
    (package / "other-1.0.dist-info").mkdir()
    (package / "other-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (package / "other-1.0.dist-info" / "entry_points.txt").write_text("[unreel.views]\nedged = other:edges\n")
    with pytest.raises(OwnCodeError, match="two installed packages offer the view 'edged', as .* and "):
        list_installed("view")


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ([0, 3], "returns classes beyond 0 to 2"),
        ([[0.1, 0.2], [0.3, 0.4]], r"returns float64 \(2, 2\), Q=2, C=3; a probe returns scores"),
        ([[0.1, float("nan"), 0], [0, 0, 0]], "scores that are not finite"),
    ],
)
def test_what_a_probe_returns_wrongly_is_said(made: object, says: str) -> None:
    with pytest.raises(OwnCodeError, match=says):
        read_scores(made, 2, 3, "own.py:5: probe 'own.py:f'")


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            'FeatureProtocol("agreement", 99, "neighbours that agree", Options, build)',
            "{}",
            r"measures.py:\d+: PROTOCOL is a dict; a protocol is a",
        ),
        ("@dataclass\n", "@dataclass(frozen=True)\n", "options must be a dataclass, and not a frozen one"),
        ("k: int = 1", "k: int", "the option k has no default"),
        ("rows, outcomes = {}, {}", "absent", r"failed: NameError: name 'absent' is not defined \(.*measures.py:\d+"),
        ("rows, outcomes = {}, {}", "return {}", "returns a dict; an evaluation returns a Result"),
    ],
)
def test_what_is_wrong_with_a_protocol_is_said_with_its_line(
    before: str, after: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "measures.py").write_text(MEASURES.replace(before, after))
    features = VideoFeatures([])
    with pytest.raises(OwnCodeError, match=says):
        protocol = load_protocol(f"{tmp_path / 'measures.py'}")
        made = protocol.build(protocol.options(), ExtractionOptions())
        made["agreement"].run(features, features, Encoder.__new__(Encoder))
