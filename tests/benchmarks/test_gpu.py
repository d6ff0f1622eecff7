"""The GPU's script on a CPU: rows that fail in every way, the time in all, the pages, each row with tiny shapes."""

import doctest
import faulthandler
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from unreel.errors import InputError

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import gpu
import gpu_rows
import gpu_tables
from gpu import Args
from gpu_rows import ROWS, Figures, Row, Setup
from gpu_tables import NOT_MEASURED, TABLES

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs/performance.md", ROOT / "docs/results.md")
FEW = ("networks/r3d-bf16", "whole step/iic-r3d", "augmentation/second-view-solarised", "methods/moco")


def fail(setup: Setup) -> Figures:
    raise ValueError("no such network\nand more")


def hang(setup: Setup) -> Figures:
    """With a process of its own that would outlive it."""
    child = subprocess.Popen(["sleep", "600"])
    (setup.videos / "child").write_text(str(child.pid))
    time.sleep(600)
    return {}


def fill_memory(setup: Setup) -> Figures:
    return {"step_ms": float(torch.ones(2**50).sum())}


def abort(setup: Setup) -> Figures:
    faulthandler.disable()  # that of pytest would write to its own terminal
    print("CUDA error: an illegal memory access was encountered", flush=True)
    os.abort()


def end_quietly(setup: Setup) -> Figures:
    os._exit(0)


def measure(setup: Setup) -> Figures:
    return {"step_ms": [1.0, 3.0, 2.0], "mfu": 0.5, "forward_ms": None}


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def run(rows: list[Row], folder: Path, **values: Any) -> dict[str, Any]:
    """What the file has after these rows."""
    args = Args(folder, folder / "gpu.json", device="cpu", **values)
    gpu.measure_rows(rows, Setup(folder, folder, "cpu", args.tiny), args, gpu.read_found(args.json))
    outcomes: dict[str, Any] = json.loads(args.json.read_text())["rows"]
    return outcomes


def test_a_row_that_fails_says_why_and_the_others_go_on(tmp_path: Path) -> None:
    ways: list[Callable[[Setup], Figures]] = [fail, hang, fill_memory, abort, end_quietly, measure]
    rows = [Row("networks", way.__name__, way, 1.5 if way is hang else 60) for way in ways]
    outcomes = run(rows, tmp_path)
    assert outcomes["networks/fail"]["failed"] == "ValueError: no such network"
    assert outcomes["networks/hang"]["failed"].startswith("took longer than 1.5 s")
    assert not is_running(int((tmp_path / "child").read_text()))
    assert outcomes["networks/fill-memory"]["failed"].startswith("out of memory: ")
    assert outcomes["networks/abort"]["failed"].startswith("ended by SIGABRT; it said: ")
    assert outcomes["networks/end-quietly"]["failed"] == "ended with code 0"
    assert outcomes["networks/measure"]["figures"] == {"step_ms": [1.0, 3.0, 2.0], "mfu": 0.5, "forward_ms": None}
    table = gpu_tables.format_table("networks", [(row.key, row.name) for row in rows], outcomes).splitlines()
    assert table[2] == f"| fail | {NOT_MEASURED}: ValueError: no such network |  |  |  |  |  |"
    assert table[7] == "| measure | unknown | 2.0 (1.0 to 3.0) | unknown | 50% | unknown | unknown |"


def test_the_same_command_measures_what_failed_and_keeps_what_did_not(tmp_path: Path) -> None:
    run([Row("networks", "one", measure), Row("networks", "two", fail)], tmp_path)
    outcomes = run([Row("networks", "one", fail), Row("networks", "two", measure)], tmp_path)
    assert all("figures" in outcomes[f"networks/{name}"] for name in ("one", "two"))


def test_after_the_time_in_all_no_row_is_begun(tmp_path: Path) -> None:
    late = Row("networks", "late", hang, 60)
    assert "took longer than" in run([late], tmp_path, minutes=0.01, tiny=True)["networks/late"]["failed"]
    (tmp_path / "gpu.json").unlink()
    assert run([late], tmp_path, minutes=0.01)["networks/late"] == {
        "failed": "no time was left; `--only 'networks/late'` measures it"
    }


def try_rows(videos: Path, folder: Path, only: tuple[str, ...]) -> dict[str, Any]:
    """These rows with tiny shapes, as a person would; what the file has."""
    args = Args(videos, folder / "gpu.json", only=only, tiny=True, device="cpu")
    code = gpu.main(args)
    outcomes: dict[str, Any] = json.loads(args.json.read_text())["rows"]
    assert code == 0, {key: row for key, row in outcomes.items() if "failed" in row}
    for row in (row for row in ROWS if row.key in outcomes):
        assert outcomes[row.key]["figures"].keys() == TABLES[row.table].columns.keys(), row.key
    return outcomes


def test_rows_are_measured_end_to_end(motion_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = try_rows(motion_set, tmp_path, FEW)
    assert outcomes.keys() == set(FEW)
    assert all(ms > 0 for ms in outcomes[FEW[0]]["figures"]["step_ms"])
    said = capsys.readouterr().out
    assert said.count("| networks: ") == 12 and "kornia, clips/s" in said
    with pytest.raises(InputError, match="tiny shapes"):
        gpu.main(Args(json=tmp_path / "gpu.json", show=True, docs=PAGES))


@pytest.mark.slow
def test_every_row_is_measured_with_tiny_shapes(motion_set: Path, tmp_path: Path) -> None:
    assert try_rows(motion_set, tmp_path, ()).keys() == {row.key for row in ROWS}


@pytest.mark.slow
def test_a_row_can_be_spawned(motion_set: Path, tmp_path: Path) -> None:
    """The way of a machine whose driver does not bear a fork."""
    row = next(row for row in ROWS if row.key == "augmentation/first-view-always-blurred")
    outcome = gpu.run_row(row, Setup(motion_set, tmp_path, "cpu", True, "spawn"), 120)
    assert len(outcome["figures"]["unreel"]) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_rows_stay_as_they_are(
    motion_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="there is no GPU here"):
        gpu.main(Args(motion_set, tmp_path / "gpu.json"))
    assert not (tmp_path / "gpu.json").exists()
    assert capsys.readouterr().out.count(NOT_MEASURED) == len(ROWS)


def test_figures_of_two_machines_are_not_mixed(tmp_path: Path) -> None:
    machine = {"name": "H200", "gpus": 1, "torch": "2.13.0", "videos": "jhmdb", "tiny": False, "date": "2026-01-01"}
    found: dict[str, Any] = {"machine": {}, "rows": {}}
    join = functools.partial(gpu.join_machine, found, path=tmp_path / "gpu.json")
    join(machine=machine)
    join(machine=machine | {"date": "2026-01-02"})
    assert found["machine"]["date"] == "2026-01-01"
    with pytest.raises(InputError, match="of another machine"):
        join(machine=machine | {"name": "H100"})
    (tmp_path / "other.json").write_text('{"rows": 3}')
    with pytest.raises(InputError, match="not a file of figures"):
        gpu.read_found(tmp_path / "other.json")


def test_the_pages_have_what_the_file_has(tmp_path: Path) -> None:
    """docs/performance.md and docs/results.md are as `--show --docs` writes them, with a place for every table."""
    copies = [tmp_path / page.name for page in PAGES]
    for page, copy in zip(PAGES, copies, strict=True):
        copy.write_text(page.read_text())
    gpu.write_docs(copies, gpu.read_found(ROOT / "docs/gpu.json"))
    assert [copy.read_text() for copy in copies] == [page.read_text() for page in PAGES]
    text = "".join(copy.read_text() for copy in copies)
    assert all(text.count(f"<!-- gpu: {name} -->") == 1 for name in TABLES)
    assert {row.table for row in ROWS} == TABLES.keys()


def test_a_page_gets_the_figures_between_its_marks(tmp_path: Path) -> None:
    page, row = tmp_path / "page.md", next(row for row in ROWS if row.table == "processes")
    page.write_text("before\n<!-- gpu: processes -->\nold\n<!-- end of gpu: processes -->\nafter\n")
    gpu.write_docs([page], {"machine": {}, "rows": {row.key: {"figures": {"clips_per_s": 1234.5}}}})
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "| 1 GPU | 1,234 |" in text and f"| 2 GPUs | {NOT_MEASURED} |" in text and gpu.COMMAND in text
    page.write_text("<!-- gpu: processes -->\n")
    with pytest.raises(InputError, match="without <!-- end of gpu"):
        gpu.write_docs([page], {"machine": {}, "rows": {}})


def test_examples_of_the_docstrings() -> None:
    assert all(doctest.testmod(module).failed == 0 for module in (gpu, gpu_rows, gpu_tables))


def test_an_unknown_row_is_refused() -> None:
    with pytest.raises(InputError, match="networks"):
        gpu.select_rows(ROWS, ("network",))
