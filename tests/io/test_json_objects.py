"""Objects that were saved as JSON: the same when read, and a sentence where a value is of another type or missing."""

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import unreel
from unreel.corpus.manifest import QUARANTINE_FILE, Manifest
from unreel.errors import InputError
from unreel.evaluation.verdict.decision import FloorComparison, Verdict
from unreel.evaluation.verdict.verdict_file import VERDICT_FILE, read_verdict, write_verdict
from unreel.indexing.index.score_scale import ScoreScale
from unreel.io.text import build_from_json
from unreel.models.encoder.spec import AppearanceSpec, EncoderSpec
from unreel.models.heads import HeadSpec
from unreel.training.run_folder.run_state import RunState

SPEC = EncoderSpec(
    "tiny", "trio", options={"width": 2}, heads=(HeadSpec("a", 1, 2, 3),), appearance=AppearanceSpec("m", 3, "h")
)
VERDICT = Verdict((FloorComparison("R@1", "colour histogram", 60, 50.5, 1.5, 9.0),), "9 videos", {"encoder": 40.0})
SCALE = ScoreScale("f", {"0.5": [0.1, 0.2]})
KINDS: dict[str, tuple[Any, Any, Callable[[Any], Any]]] = {
    "encoder": (SPEC, SPEC.to_json(), EncoderSpec.from_json),
    "verdict": (VERDICT, VERDICT.to_json(), Verdict.from_json),
    "scale": (SCALE, asdict(SCALE), lambda data: build_from_json(ScoreScale, data)),
    "state": (RunState(4, 2, 0.5, 0.25), RunState(4, 2, 0.5, 0.25).to_json(), RunState.from_json),
}
SPOILED = ([[], {}], 10**400, True, float("nan"))
OF_ANY_TYPE = {"options", "level", "headline", "explanation"}  # of the backbone, and words that are made anew


def list_places(data: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value, and to each value inside it."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in inner:
        yield (*at, key)
        yield from list_places(value, (*at, key))


def spoil(data: Any, place: tuple[Any, ...], value: Any) -> Any:
    data = copy.deepcopy(data)
    holder = data
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return data


@pytest.mark.parametrize("name", KINDS)
def test_what_was_saved_comes_back_and_what_was_spoiled_is_a_sentence(name: str) -> None:
    instance, saved, read = KINDS[name]
    saved = json.loads(json.dumps(saved))
    assert read(saved) == instance
    places = [place for place in list_places(saved) if place[0] not in OF_ANY_TYPE]
    assert len(places) >= 4
    for place in places:
        for value in SPOILED:
            if value is True and isinstance(instance, EncoderSpec) and place[-1] in ("rescale", "standardize"):
                continue
            with pytest.raises((ValueError, InputError)):
                read(spoil(saved, place, value))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"backbone": "tiny", "clip": {}}, "method is missing in EncoderSpec"),
        ({"backbone": 3, "method": "a", "clip": {}, "views": {}}, "backbone is 3, not a str"),
        ({"backbone": "a", "method": "a", "clip": {"a": 1}, "views": {}}, "a is no part of ClipSpec"),
        ({"method": "a", "clip": {}, "views": {}}, "backbone is missing in EncoderSpec"),
        ({"backbone": "a", "method": "a", "clip": {}, "views": {"size": 1e400}}, "size is inf, not a int"),
    ],
)
def test_the_sentence_names_the_field_and_its_value(data: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        EncoderSpec.from_json(data)


def test_a_spoiled_verdict_is_none(tmp_path: Path) -> None:
    write_verdict(tmp_path, VERDICT, "step-1")
    assert read_verdict(tmp_path, "step-1") == VERDICT
    data = json.loads((tmp_path / VERDICT_FILE).read_text())
    data["comparisons"][0]["low"] = None
    (tmp_path / VERDICT_FILE).write_text(json.dumps(data))
    assert read_verdict(tmp_path, "step-1") is None


def test_an_index_with_a_spoiled_encoder_is_named(motion_index: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(motion_index, tmp_path / "index")
    data = json.loads((folder / "store.json").read_text())
    data["encoder"]["clip"] = [1]
    (folder / "store.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"store\.json: its encoder can't be read \(ClipSpec is \[1\]"):
        unreel.open_index(folder)


def test_a_quarantine_list_of_rubbish_is_a_damaged_manifest(tmp_path: Path) -> None:
    Manifest("", ()).save(tmp_path)
    (tmp_path / QUARANTINE_FILE).write_text("path,reason,detail\n" + "x" * 200_000)
    with pytest.raises(InputError, match="the manifest is damaged"):
        Manifest.load(tmp_path)
