"""--json and --csv: what a command prints as a table, it prints as records too."""

import csv
import io
import json
from pathlib import Path

import pytest
from commands import call, refused, succeeds
from evaluations import retrieval, save, summary

from unreel.cli.evaluation.evaluate import print_results
from unreel.cli.records import print_records
from unreel.methods.registry import find_methods


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_records_of_different_keys_share_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    records = [{"a": 1, "b": [1, 2]}, {"a": "x, y", "c": {"d": 0.5}}]
    assert print_records(records, False, True) and not print_records(records, False, False)
    out = capsys.readouterr().out
    assert read_csv(out) == [{"a": "1", "b": "1 2", "c": ""}, {"a": "x, y", "b": "", "c": '{"d": 0.5}'}]
    assert print_records(records, True, False)
    assert json.loads(capsys.readouterr().out) == records


def test_methods_leave_as_json_and_csv() -> None:
    listed, table = json.loads(succeeds("methods", "--json").out), read_csv(succeeds("methods", "--csv").out)
    assert [method["name"] for method in listed] == [row["name"] for row in table]
    assert {row["name"] for row in table} == set(find_methods())
    assert all(row["idea"] and json.loads(row["options"]) is not None for row in table)


def test_the_files_of_inspect_leave_as_json_and_csv_and_nothing_stays(
    motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, here = tmp_path / "Größe & mehr", tmp_path / "here"
    for made in (folder, here):
        made.mkdir()
    monkeypatch.chdir(here)
    video = next((motion_set / "drift_left").glob("*.mp4"))
    (folder / "schön 1.mp4").write_bytes(video.read_bytes())
    (folder / "leer.mp4").touch()
    files = json.loads(succeeds("inspect", folder, "--json").out)
    assert [(Path(f["path"]).name, f["reason"]) for f in files] == [("schön 1.mp4", ""), ("leer.mp4", "empty file")]
    rows = read_csv(succeeds("inspect", folder, "--csv").out)
    assert [row["path"] for row in rows] == [f["path"] for f in files] and rows[0]["codec"] == files[0]["codec"]
    assert "1 video can be used" in succeeds("inspect", folder).out
    assert list(here.iterdir()) == [] and len(list(folder.iterdir())) == 2


def test_doctor_leaves_as_csv(tmp_path: Path) -> None:
    rows = read_csv(call("doctor", "--folder", tmp_path, "--csv").out)
    assert rows[0]["name"] == "versions" and {"value", "advice"} <= rows[0].keys()


def test_figures_leave_as_csv(capsys: pytest.CaptureFixture[str]) -> None:
    print_results({"retrieval": retrieval()}, as_json=False, as_csv=True)
    rows = {row["row"]: row for row in read_csv(capsys.readouterr().out)}
    assert rows["joint"]["evaluation"] == "retrieval" and rows["joint"]["R@1"] == "61.5" and "chance" in rows


def test_a_comparison_leaves_as_json_with_the_figures_of_its_csv(tmp_path: Path) -> None:
    save(tmp_path / "eval", summary())
    told = json.loads(succeeds("compare", tmp_path / "eval", "--json").out)
    written = read_csv(succeeds("compare", tmp_path / "eval", "--csv").out)
    assert [
        {key: "" if value is None else str(value) for key, value in figure.items()} for figure in told
    ] == written and len(told) > 3


def test_what_a_labelled_set_lacks_leaves_as_records(motion_set: Path, tmp_path: Path) -> None:
    told = json.loads(succeeds("data", "check", motion_set, "--json").out)
    rows = read_csv(succeeds("data", "check", motion_set, "--csv").out)
    assert told["valid"] and [found["subject"] for found in told["findings"]] == [row["subject"] for row in rows]
    parts = {row["subject"]: row["videos"] for row in rows if row["kind"] == "part"}
    assert int(parts["train"]) == len((motion_set / "train.txt").read_text().splitlines())
    (tmp_path / "walk").mkdir()
    done = call("data", "check", tmp_path, "--json")
    found = json.loads(done.out)
    assert done.code == 2 and not found["valid"] and found["findings"][-1]["fix"]


@pytest.mark.parametrize(
    "words", ["methods", "doctor", "inspect .", "evaluate knn base .", "data check .", "sweep .", "compare ."]
)
def test_one_form_at_a_time(words: str) -> None:
    refused(*words.split(), "--json", "--csv", says=("not both",))
