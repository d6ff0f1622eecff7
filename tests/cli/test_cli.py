"""The command line by running it: what it prints, what it writes, and one clear line for every mistake."""

import dataclasses
import inspect
import io
import json
import os
import runpy
import shlex
import shutil
import subprocess
import sys
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from commands import call, in_process, refused, succeeds
from rich.console import Console

import unreel
from unreel.cli import progress_bar
from unreel.cli.arguments import parse_args
from unreel.cli.training.pretrain import build_pretrain_args
from unreel.methods.registry import DEFAULT_METHOD, find_methods, load_method_module, load_preset
from unreel.models.registry import BACKBONES

EXAMPLE = Path(__file__).parents[2] / "examples" / "story.py"
SMALL = "--backbone tiny --size 32 --num-frames 8 --batch-size 4 --workers 0 --threads 1 --device cpu".split()


def run(*args: object) -> subprocess.CompletedProcess[str]:
    """A true process, as a shell starts it; `call` serves all else."""
    command = [sys.executable, "-m", "unreel", *map(str, args)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment)


def test_overview_names_every_command() -> None:
    from unreel.cli.commands import COMMANDS

    done = run()
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"unreel {name}" in done.stdout
    assert run("--version").stdout.strip() == unreel.__version__


def test_help_shows_the_defaults_of_the_chosen_method() -> None:
    shown = succeeds("pretrain", "--method", "iic-paper", "--help").out
    assert "--intra-negatives" in shown and "632" in shown


@pytest.mark.parametrize("preset", list(find_methods()))
def test_help_of_every_preset_tells_its_own_options(preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    said = succeeds("pretrain", "--help", "--method", preset).out
    assert f"method '{preset}'; `unreel methods`" in said
    for part in load_preset(preset):
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            assert dataclasses.is_dataclass(value) or f"--{field.name.replace('_', '-')}" in said, field.name
    other = {"num-negatives", "queue-size", "rank-weight", "head-layers", "covariance"}
    own = {field.name.replace("_", "-") for field in dataclasses.fields(load_preset(preset)[0])}
    assert not [name for name in other - own if f"--{name}" in said]


def test_methods_lists_every_preset_and_network_the_default_first() -> None:
    said = succeeds("methods").out
    table = said.partition("The first is the default")[0]
    names = [line.split()[0] for line in table.splitlines() if line and not line.startswith(" ")]
    assert names[0] == DEFAULT_METHOD and sorted(names) == sorted(find_methods())
    for preset, module in find_methods().items():
        assert " ".join((module.PRESETS[preset].__doc__ or "").split())[:40] in " ".join(said.split())
    assert all(name in said for name in BACKBONES)


@pytest.mark.parametrize("preset", list(find_methods()))
def test_the_options_of_a_preset_are_told_as_one_types_them(preset: str) -> None:
    said = succeeds("methods", preset).out
    doc = inspect.getdoc(load_method_module(preset).PRESETS[preset]) or ""
    assert f"{preset}: {doc}" in said
    options = shlex.split(said[said.index(doc) + len(doc) :])
    another = list(load_method_module(preset).PRESETS)[-1]  # so that the options do not stand there anyway
    given = parse_args(build_pretrain_args(another), ["x", "--out", "y", *options], "pretrain")
    assert (given.options, given.settings) == load_preset(preset)


def test_inspect_prints_and_saves_and_is_zero_with_some_bad_files(motion_set: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    shutil.copytree(motion_set / "drift_left", videos)
    (videos / "notes.mp4").write_text("not a video at all")
    (videos / "empty.avi").touch()
    shown = succeeds("inspect", videos, "--out", tmp_path / "manifest").out
    assert "notes.mp4" in shown and "not a video" in shown and "empty file" in shown
    assert (tmp_path / "manifest" / "manifest.parquet").exists()
    assert "notes.mp4" in (tmp_path / "manifest" / "quarantine.csv").read_text()


@pytest.mark.report
def test_the_main_job_from_folder_to_report(motion_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = in_process("pretrain", motion_set / "train.txt", "--out", out, "--steps", 8, "--log-steps", 2, *SMALL)
    assert done.code == 0, done.err
    assert "clips/s" in done.err and "waiting for data" in done.err and "effective rank" in done.err
    assert "same-video R@1" not in done.err, "colours alone pass that test"
    assert "at step 0" in done.out and done.out.strip().endswith("report.html")
    assert (out / "report.html").stat().st_size > 10_000
    assert list((out / "tensorboard").iterdir())

    result = json.loads(succeeds("evaluate", "retrieval", out, motion_set, "--num-clips", 2, "--json").out)
    floors = {"chance", "mean frame (pixels)", "frame difference", "untrained encoder"}
    assert floors | {"residual"} <= result["rows"].keys()
    assert result["protocol"]["queries"] == 8 and result["protocol"]["gallery"] == 16
    shown = succeeds("evaluate", "retrieval", out, motion_set, "--num-clips", 2).out
    assert "R@1" in shown and "residual" in shown and "chance" in shown
    assert "R@1" in (out / "report.html").read_text()

    for per, rows in (("video", 24), ("clip", 48)):
        file = tmp_path / f"{per}.parquet"
        assert f"{rows} rows" in succeeds("embed", out, motion_set, "--out", file, "--per", per, "--num-clips", 2).out
        table = pq.read_table(file)
        assert table.num_rows == rows
        times = zip(table["start_s"].to_pylist(), table["end_s"].to_pylist(), strict=True)
        assert all(start < end for start, end in times)


def test_python_mirrors_the_commands(small_run: Path, motion_set: Path) -> None:
    encoder = unreel.load_encoder(small_run)
    folder = encoder.embed(motion_set, num_clips=2)
    one = encoder.embed(folder.paths[3], num_clips=2)
    assert len(folder) == 24 and (folder.vectors[3] == one.vectors[0]).all()


def test_the_example_tells_the_whole_story(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), str(tmp_path / "v")])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    shown = capsys.readouterr().out
    assert "step 4/4" in shown and "is nearest to" in shown
    assert len(EXAMPLE.read_text().splitlines()) <= 110


# Mistakes.


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    refused("inspect", tmp_path / "nowhere", says=("nowhere",))
    refused("inspect", tmp_path, says=(str(tmp_path),))
    refused("pretrain", tmp_path / "nowhere", "--out", tmp_path / "run", says=("nowhere",))
    assert not (tmp_path / "run").exists()


def test_no_readable_video(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for k in range(3):
        (videos / f"{k}.mp4").write_bytes(os.urandom(2000))
    done = call("inspect", videos, "--out", tmp_path / "m")
    assert done.code == 2 and "0.mp4" in done.out and "Traceback" not in done.err
    refused("pretrain", videos, "--out", tmp_path / "run", says=("3", "not a video"))
    assert not (tmp_path / "run").exists()


@pytest.mark.report
def test_too_many_bad_files(motion_set: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    shutil.copytree(motion_set / "drift_left", videos)
    for k in range(4):
        (videos / f"bad{k}.mp4").write_bytes(b"x" * 100)
    refused("pretrain", videos, "--out", tmp_path / "run", *SMALL, says=("4", "10", "--max-bad-share"))
    allowed = succeeds("pretrain", videos, "--out", tmp_path / "run", *SMALL, "--steps", 1, "--max-bad-share", 0.5)
    assert "4 of 10 files can't be used" in allowed.err
    assert "bad0.mp4" in (tmp_path / "run" / "report.html").read_text()


def test_unknown_names_list_the_known_and_suggest(motion_set: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run")
    refused("pretrain", motion_set, *out, "--method", "icc", says=("unknown method 'icc'", "'iic'", "iic-paper"))
    refused("pretrain", motion_set, *out, "--backbone", "r3dd", says=("unknown backbone 'r3dd'", "'r3d'", "c3d"))
    refused("pretran", motion_set, says=("'pretrain'",))
    refused("evaluate", "retreival", says=("'retrieval'",))
    refused("methods", "icc", says=("unknown method 'icc'", "'iic'", "iic-paper"))
    assert not (tmp_path / "run").exists()


def test_values_out_of_range(motion_set: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "run", "--device", "cpu")
    wrong = (("--batch-size", 0), ("--epochs", 0), ("--lr", -1), ("--num-frames", -1), ("--temperature", 0))
    for option, value in wrong:
        refused("pretrain", motion_set, *out, option, value, says=(option.strip("-").replace("-", "_"), str(value)))
    assert not (tmp_path / "run").exists()


def test_runs_that_exist_or_do_not(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    refused("pretrain", motion_set, "--out", small_run, says=("exists", "--resume"))
    refused("pretrain", "--resume", tmp_path / "nowhere", says=("not a run",))
    refused("evaluate", "retrieval", tmp_path, motion_set, says=("neither a run nor a checkpoint",))
    refused("embed", tmp_path, motion_set, "--out", tmp_path / "e.parquet", says=("neither a run nor a checkpoint",))
    refused("report", tmp_path, says=("not a run",))


def test_damaged_checkpoints(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(small_run, broken)
    for file in broken.rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:100])
    refused("evaluate", "retrieval", broken, motion_set, says=("encoder.safetensors is damaged",))
    refused("pretrain", "--resume", broken, says=("encoder.safetensors is damaged",))
    for sums in broken.rglob("sums.json"):  # as of a version that wrote none
        sums.unlink()
    refused("evaluate", "retrieval", broken, motion_set, says=("can't be read",))
    refused("pretrain", "--resume", broken, says=("can't go on",))


def test_a_full_disk_is_one_line_and_nothing_half_written(motion_set: Path, tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        done = call("pretrain", motion_set, "--out", small / "run", "--steps", 2, *SMALL)
        assert done.code == 2 and "Traceback" not in done.err, done.err
        assert "could not be written" in done.err and "Free some space" in done.err
        assert not list(small.rglob(".writing*"))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_evaluation_lists(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    shutil.copytree(motion_set, videos)
    (videos / "test.txt").unlink()
    refused("evaluate", "retrieval", small_run, videos, says=("test.txt", "--test"))
    (videos / "test.txt").write_text("drift_left/gone.mp4\n")
    refused("evaluate", "retrieval", small_run, videos, says=("gone.mp4",))
    shutil.copy(videos / "train.txt", videos / "test.txt")
    refused("evaluate", "retrieval", small_run, videos, says=("both",))


def tick_every_10_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the progress bar's clock comes 10 s after the one before."""
    monkeypatch.setattr(progress_bar, "time", SimpleNamespace(monotonic=partial(next, count(0.0, 10.0))))


def test_what_takes_long_says_how_far_it_is_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "looking: 1 of 4, time left: unknown\nlooking: 2 of 4, 20 s left\n"
    for say_s, said in ((-1.0, lines), (30.0, "")):
        monkeypatch.setattr(progress_bar, "PROGRESS_LINE_INTERVAL_S", say_s)
        tick_every_10_s(monkeypatch)
        with progress_bar.ProgressBar("looking") as advance:
            advance(1, 4)
            advance(2, 4)
        assert capsys.readouterr().err == said


@pytest.mark.parametrize("width", [9, 20, 60])
def test_the_time_left_is_seen_at_any_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    console = Console(file=io.StringIO(), width=width, force_terminal=True)
    monkeypatch.setattr(progress_bar, "stderr_console", console)
    tick_every_10_s(monkeypatch)
    with progress_bar.ProgressBar("looking") as advance:
        advance(1, 4)
        advance(2, 4)
        (task,) = advance.__self__.bar.tasks  # type: ignore[attr-defined]
    assert task.description == ("20 s left  looking 2 of 4" if width == 60 else "20 s left")
