"""The run folder: made once, its config, and the tables that grow in it."""

from pathlib import Path

import pytest
from runs import table

from unreel.errors import DiskError, InputError, RunError
from unreel.training.run_folder.config import read_config
from unreel.training.run_folder.creation import create_run
from unreel.training.run_folder.csv_log import CsvLog


def test_a_table_grows_and_is_cut_back_to_the_step_of_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    log = CsvLog(path, 0)
    for step in (10, 20, 21, 40):
        log.append_row({"step": step, "loss": step / 8, "collapsed": step > 20})
    assert path.read_text().splitlines()[:2] == ["step,loss,collapsed", "10,1.25,False"]
    again = CsvLog(path, 20)
    assert [row["step"] for row in table(path)] == ["10", "20"]
    again.append_row({"step": 30, "loss": 0.5, "collapsed": False})
    assert path.read_text() == "step,loss,collapsed\n10,1.25,False\n20,2.5,False\n30,0.5,False\n"
    assert CsvLog(path, 99).columns == ["step", "loss", "collapsed"]
    assert len(table(path)) == 3


def test_a_table_cut_back_to_nothing_keeps_one_header(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    CsvLog(path, 0).append_row({"step": 5, "loss": 1.0})
    for _ in range(2):  # the second time only the header is there
        CsvLog(path, 0)
    CsvLog(path, 0).append_row({"step": 5, "loss": 2.0})
    assert path.read_text() == "step,loss\n5,2.0\n"
    assert not (tmp_path / "none.csv").exists() and CsvLog(tmp_path / "none.csv", 5).columns == []


@pytest.mark.parametrize("torn", ["3", "30", "30,0", "30,0.5,", "\0\0\0\0\0\0", ",,"])
def test_a_last_row_torn_by_a_full_disk_is_dropped(torn: str, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,loss,rate\n10,1.0,0.1\n20,0.5,0.1\n" + torn)
    CsvLog(path, 40).append_row({"step": 50, "loss": 0.25, "rate": 0.1})
    assert path.read_text() == "step,loss,rate\n10,1.0,0.1\n20,0.5,0.1\n50,0.25,0.1\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff\xfe garbage\n", "metrics.csv: not the table .*utf-8"),
        (b"step,loss\n1\n2,3\n", "metrics.csv, line 2: not the table .*'1,None' is no row"),
        (b"step,loss\n1,0.5\n2,0.5,9\n", "metrics.csv, line 3: not the table"),
        (b"step,loss\none,0.5\n", "metrics.csv, line 2: not the table .*'one,0.5' is no row"),
        (b"a,b\n1,2\n", "metrics.csv, line 2: not the table .*no column step"),
        (b"step\n" + b"9" * 140_000 + b"x\n", "metrics.csv: not the table .*field larger than"),
    ],
)
def test_rubbish_in_a_table_is_one_sentence(content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(InputError, match=says + ".*remove it, or put back a copy"):
        CsvLog(tmp_path / "metrics.csv", 5)
    assert (tmp_path / "metrics.csv").read_bytes() == content


def test_a_table_that_can_not_be_written(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "gone" / "metrics.csv", 0)
    with pytest.raises(DiskError, match=r"metrics\.csv"):
        log.append_row({"step": 1, "loss": 0.5})


def test_a_run_folder_is_made_once(tmp_path: Path) -> None:
    run = create_run(tmp_path / "a" / "run", {"method": "iic", "seed": 3})
    assert read_config(run) == {"method": "iic", "seed": 3} and [p.name for p in run.iterdir()] == ["config.json"]
    with pytest.raises(RunError, match="--resume"):
        create_run(run, {"method": "other"})
    assert read_config(run)["method"] == "iic"
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError):
        create_run(tmp_path / "file", {})
    (tmp_path / "empty").mkdir()
    create_run(tmp_path / "empty", {})
    assert read_config(tmp_path / "empty") == {}
    two = tmp_path / "two"
    two.mkdir()
    with pytest.raises(RunError, match="another run begins there just now"):
        create_run(two, {"seed": 0}, lambda folder: create_run(folder, {"seed": 1}) and None)
    assert not (two / "config.json").exists() and read_config(create_run(two, {"seed": 2})) == {"seed": 2}
    with pytest.raises(DiskError):
        create_run(tmp_path / "file" / "run", {})


@pytest.mark.parametrize("content", [None, "", '{"method": "ii'])
def test_a_config_that_can_not_be_read(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(RunError, match=r"config\.json"):
        read_config(tmp_path)
