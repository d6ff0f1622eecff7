"""Rows tested against a chosen one, and comparisons as CSV and LaTeX."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import refused, succeeds
from evaluations import save, summary

from unreel.errors import InputError
from unreel.evaluation.metrics.paired_test import compare_paired, correct_holm
from unreel.report.comparison.compare import Comparison, compare_evaluations
from unreel.report.comparison.table_files import format_csv, format_latex

VIDEOS = {"path": [f"/a/{n}.mp4" for n in range(40)], "label": ["x", "y"] * 20, "group": ["", ""] * 20}


def ranks(skill: float, seed: int) -> list[int]:
    """1 for a hit, 2 for a miss."""
    difficulty = np.linspace(-1, 1, 40)
    return [int(hit) for hit in np.where(np.random.default_rng(seed).normal(difficulty, 0.5) < skill, 1, 2)]


def evaluation(folder: Path, skill: float, seed: int, **changes: Any) -> Path:
    """An evaluation with outcomes of 40 videos for our protocol's R@1, and of the floor `frame difference`."""
    data = summary(test_videos=VIDEOS, seed=seed, run=f"{folder.name.rstrip('0123456789')}{seed}") | changes
    result = data["results"]["retrieval-dualvar"]
    for row, kept in (("joint", ranks(skill, seed + 7)), ("frame difference", ranks(0.1, 99))):
        result["outcomes"][row] = {"first hit": kept}
        result["rows"][row]["R@1"] = 100.0 * float(np.mean(np.array(kept) == 1))
    return save(folder, data)


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    skills = {"weak-": -0.2, "good-": 0.7, "fair-": 0.2}
    return [evaluation(tmp_path / f"{name}{n}", skill, n) for name, skill in skills.items() for n in range(3)]


def hits(skill: float) -> np.ndarray:
    return np.array([100.0 * (np.array(ranks(skill, n + 7)) == 1) for n in range(3)])


def test_rows_are_tested_against_another_and_corrected_for_their_number(folders: list[Path]) -> None:
    made = compare_evaluations(folders, against="weak-*")
    cells = {row.name: row.cells["R@1, DualVar"] for row in made.sections[0].rows}
    expected = [compare_paired(hits(skill), hits(-0.2)) for skill in (0.7, 0.2)]
    found = [cells[name].difference for name in ("good-*", "fair-*")]
    assert [f.paired for f in found if f] == expected
    assert [f.corrected_p for f in found if f] == correct_holm([e.p for e in expected])
    assert cells["weak-*"].difference is None and cells["frame difference"].difference is None
    assert made.sections[0].rows[1].cells["kNN"].difference is None  # no outcomes are kept there
    assert any("Compared with weak-*" in note for note in made.list_notes(made.sections[0]))


def test_a_floor_is_one_run_beside_all_seeds(folders: list[Path]) -> None:
    made = compare_evaluations(folders, against="frame difference")
    difference = made.sections[0].rows[1].cells["R@1, DualVar"].difference
    floor_Q = 100.0 * (np.array(ranks(0.1, 99)) == 1)
    assert difference is not None and difference.paired == compare_paired(hits(0.7), floor_Q)
    assert difference.text.endswith("*") and "[" in difference.text


def test_a_floor_that_is_not_the_same_beside_all_is_that_beside_each(tmp_path: Path) -> None:
    """As where encoders sample clips differently: the floor has a row for each."""
    folders = [evaluation(tmp_path / "good-", 0.7, 0), evaluation(tmp_path / "fair-", 0.2, 0)]
    data = json.loads((folders[1] / "results.json").read_text())
    result, other_floor = data["results"]["retrieval-dualvar"], ranks(-0.4, 98)
    result["outcomes"]["frame difference"] = {"first hit": other_floor}
    result["rows"]["frame difference"]["R@1"] = 100.0 * float(np.mean(np.array(other_floor) == 1))
    (folders[1] / "results.json").write_text(json.dumps(data))
    rows = compare_evaluations(folders, against="frame difference").sections[0].rows
    assert sum(row.name.startswith("frame difference (beside ") for row in rows) == 2
    for row, skill, floor in zip(rows[:2], (0.7, 0.2), (ranks(0.1, 99), other_floor), strict=True):
        difference = row.cells["R@1, DualVar"].difference
        expected = compare_paired(hits(skill)[:1], 100.0 * (np.array(floor) == 1))
        assert difference is not None and difference.paired == expected


@pytest.mark.parametrize(("num_groups", "says"), [(3, "from 3 groups"), (6, "from 6 groups"), (7, "")])
def test_a_note_says_where_so_few_groups_can_give_no_small_p(tmp_path: Path, num_groups: int, says: str) -> None:
    """Two rows are tested, so the least p is 2^(1 - groups), twice."""
    videos = VIDEOS | {"group": [f"person{n % num_groups}" for n in range(40)]}
    skills = {"weak-": -0.9, "fair-": 0.2, "good-": 0.99}
    folders = [evaluation(tmp_path / name, skill, 0, test_videos=videos) for name, skill in skills.items()]
    made = compare_evaluations(folders, against="weak-")
    found = made.sections[0].rows[2].cells["R@1, DualVar"].difference
    assert found is not None and found.corrected_p >= 2 * 2.0 ** (1 - num_groups)
    (note,) = [n for n in made.list_notes(made.sections[0]) if "come from" in n] or [""]
    assert says in note and bool(says) == bool(note)
    if note:
        assert f"2 rows to test, no p can be below {2 ** (2 - num_groups):.2g}," in note and "takes 7 groups" in note


def test_other_videos_and_old_files_get_no_test(tmp_path: Path) -> None:
    other = {"path": [f"/b/{n + 1}.mp4" for n in range(40)], "label": VIDEOS["label"], "group": VIDEOS["group"]}
    a, b = evaluation(tmp_path / "a", 0.5, 0), evaluation(tmp_path / "b", 0.1, 1, test_videos=other)
    old = save(tmp_path / "old", summary(run="old"))
    for row in compare_evaluations([a, b, old], against="a").sections[0].rows:
        assert all(cell.difference is None for cell in row.cells.values())
    moved = {**VIDEOS, "path": [f"/moved/{n}.mp4" for n in range(40)]}
    c = evaluation(tmp_path / "c", 0.1, 1, test_videos=moved)
    cells = compare_evaluations([a, c], against="a").sections[0].rows[1].cells
    assert cells["R@1, DualVar"].difference is not None


def test_an_unknown_row_is_named(folders: list[Path]) -> None:
    with pytest.raises(InputError, match=r"unknown row to compare with 'good'.*good-\*"):
        compare_evaluations(folders, against="good")


def read_csv(made: Comparison) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(format_csv(made))))


def test_csv_has_every_figure_in_full(folders: list[Path]) -> None:
    made = compare_evaluations(folders, against="weak-*")
    lines = {(line["row"], line["figure"]): line for line in read_csv(made)}
    good, cell = lines["good-*", "R@1, DualVar"], made.sections[0].rows[1].cells["R@1, DualVar"]
    assert cell.difference is not None
    assert float(good["mean"]) == cell.figure.value and float(good["deviation"]) == cell.std and good["n"] == "3"
    assert float(good["p"]) == cell.difference.paired.p and good["against"] == "weak-*"
    assert float(good["difference_low"]) == cell.difference.paired.low
    assert lines["weak-*", "R@1, DualVar"]["p"] == "" and lines["chance", "kNN"]["n"] == "1"


def test_latex_is_a_table_whose_cells_are_escaped(tmp_path: Path) -> None:
    folders = [evaluation(tmp_path / "a_b&c", 0.7, 0), evaluation(tmp_path / "weak", -0.5, 1)]
    text = format_latex(compare_evaluations(folders, against="weak"))
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert rows[1].startswith(r"a\_b\&c & ") and text.count(r"\toprule") == 1
    assert len({line.count(" & ") for line in rows}) == 1 and r"p $" not in text
    assert text.count(r"\begin{tabular}{l" + "r" * rows[0].count(" & ") + "}") == 1


def test_the_command_writes_both_files(folders: list[Path], tmp_path: Path) -> None:
    files = ["--latex", tmp_path / "t.tex", "--out", tmp_path / "t.html"]
    done = succeeds("compare", *folders, "--against", "weak-*", *files)
    assert "p=" in done.out or "p<" in done.out
    assert "p" in (tmp_path / "t.tex").read_text()
    assert succeeds("compare", *folders, "--csv").out.startswith("table,row,figure,mean")
    assert "difference" in (tmp_path / "t.html").read_text()
    refused("compare", *folders, "--latex", tmp_path / "none" / "t.tex", says=("t.tex", "can't be written"))
