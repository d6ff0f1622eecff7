"""Whole runs on real files: to the bit the same however they are cut up, and nothing lost when something goes wrong."""

import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from commands import Command
from runs import Stop, assert_equal_runs, stop_after, table, tensors

import unreel
from unreel.cli.training.pretrain import report_outcome
from unreel.corpus import inspection
from unreel.errors import CheckpointError, InputError, NonFiniteError, RunError
from unreel.methods import iic
from unreel.report.pages import run_page
from unreel.training import loop
from unreel.training.train_step import TrainingSetup
from unreel.verbs.training import pretrain
from unreel.verbs.training.pretrain import RunOutcome


@pytest.mark.parametrize("method", ["iic", "iic-paper"])
def test_resume_in_the_middle_of_an_epoch_is_exact_to_the_bit(
    method: str, motion_set: Path, tmp_path: Path, small: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = small | {"steps": 9, "monitor_epochs": 1, "log_steps": 1}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    unreel.pretrain(motion_set, out=whole, method=method, quiet=True, **options)
    stop_after(monkeypatch, 4, save=True)
    state = unreel.pretrain(motion_set, out=cut, method=method, quiet=True, **options)
    assert state["interrupted"] and state["step"] == 5  # the step under way is finished first; 5 is within epoch 1
    monkeypatch.undo()
    assert not unreel.resume(cut, quiet=True)["interrupted"]
    assert_equal_runs(whole, cut)


def test_a_killed_run_goes_on_from_its_last_checkpoint_to_the_same_bits(
    motion_set: Path, tmp_path: Path, small: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = small | {"steps": 9, "monitor_epochs": 1, "log_steps": 1}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    unreel.pretrain(motion_set, out=whole, quiet=True, **options)
    stop_after(monkeypatch, 8, save=False)
    with pytest.raises(Stop):
        unreel.pretrain(motion_set, out=cut, quiet=True, **options)
    monkeypatch.undo()
    rows = (cut / "metrics.csv").read_text().count("\n")
    assert rows == 1 + 8  # more than the checkpoint knows of: they are cut back, then written again
    unreel.resume(cut, quiet=True)
    assert_equal_runs(whole, cut)


ELSEWHERE = """
import sys, time
time.time = lambda: 86400.0  # the clock of a machine whose battery is empty
sys.path.insert(0, sys.argv.pop())
from commands import monitor_few_videos
monitor_few_videos()
from unreel.cli import main
from unreel.report.pages import run_page
main(["pretrain", "--resume", sys.argv[1], "--quiet"])
"""


@pytest.mark.parametrize(
    ("folder", "run", "python"),
    [
        ("İzmir ılık ß", "ışık", {}),  # Python takes UTF-8 by itself where there is no locale
        ("Izmir", "isik", {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),  # and where it may not, ASCII
    ],
)
def test_neither_the_clock_nor_the_language_of_the_machine_matters(
    folder: str,
    run: str,
    python: dict[str, str],
    motion_set: Path,
    tmp_path: Path,
    small: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that goes on where the clock has been set back by decades and no language is known."""
    options = small | {"steps": 3, "log_steps": 1, "held_out": 0.3}
    videos = tmp_path / folder
    shutil.copytree(motion_set, videos, ignore=lambda _, names: sorted(n for n in names if n.endswith(".mp4"))[3:])
    whole, cut = tmp_path / "whole", tmp_path / run
    unreel.pretrain(videos, out=whole, quiet=True, **options)
    stop_after(monkeypatch, 1, save=True)
    unreel.pretrain(videos, out=cut, quiet=True, **options)
    monkeypatch.undo()
    env = {n: v for n, v in os.environ.items() if n not in ("LANG", "PYTHONUTF8")} | {"LC_ALL": "C"} | python
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(cut), str(Path(__file__).parents[1])],
        env=env,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_equal_runs(whole, cut)


def hold_at(name: str) -> None:
    """Let a command say "here" and wait where it would call this function."""

    def wait(*_: object, **__: object) -> None:
        print("here", flush=True)
        time.sleep(600)

    rooms = {"inspect": inspection, "evaluate_monitors": loop, "write_report": run_page}
    setattr(rooms.get(name, pretrain), name, wait)


@pytest.mark.parametrize(
    ("where", "devices"),
    [("inspect", 1), ("inspect", 2), ("build_training_job", 1), ("evaluate_monitors", 1), ("write_report", 1)],
)
def test_sigterm_before_and_after_training_ends_with_one_line(
    where: str, devices: int, motion_set: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    options = f"--backbone tiny --size 32 --num-frames 8 --batch-size 4 --workers 0 --threads 1 --devices {devices}"
    args = ("pretrain", motion_set / "train.txt", "--out", run, "--steps", 1, *options.split())
    with Command(*args, before=partial(hold_at, where)) as process:
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
    how = f"--resume {run}" if run.exists() else "run the same command again"
    assert process.returncode == 130 and said.count("unreel:") == 1 and "Traceback" not in said, said
    assert "unreel: stopped; what is saved is whole, " in said and how in said.replace("\n", " "), said
    assert run.exists() == (where in ("evaluate_monitors", "write_report")), "whole or not there"


def test_every_process_ends_with_the_code_of_a_stop(tmp_path: Path) -> None:
    assert report_outcome(tmp_path, RunOutcome(step=3, best_step=None, best_mrr=-1.0, interrupted=True, rank=1)) == 130
    assert report_outcome(tmp_path, RunOutcome(step=3, best_step=None, best_mrr=-1.0, interrupted=False, rank=1)) == 0


def test_the_number_of_workers_changes_nothing(motion_set: Path, tmp_path: Path, small: dict[str, object]) -> None:
    for workers in (0, 2):
        unreel.pretrain(motion_set, out=tmp_path / str(workers), quiet=True, **small | {"steps": 6, "workers": workers})
    assert_equal_runs(tmp_path / "0", tmp_path / "2")


def test_another_seed_is_another_run(motion_set: Path, tmp_path: Path, small: dict[str, object]) -> None:
    for seed in (0, 1):
        unreel.pretrain(motion_set, out=tmp_path / str(seed), quiet=True, **small | {"steps": 2, "seed": seed})
    a, b = tensors(tmp_path / "0"), tensors(tmp_path / "1")
    assert any(not torch.equal(a[n], b[n]) for n in a)


def test_ctrl_c_on_the_command_line_saves_and_says_how_to_go_on(motion_set: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = "--backbone tiny --size 32 --num-frames 8 --batch-size 4 --workers 1 --threads 1 --log-steps 1"
    options += " --epochs 100000"
    with Command("pretrain", motion_set, "--out", run, *options.split()) as process:
        deadline = time.monotonic() + 120
        metrics = run / "metrics.csv"
        while time.monotonic() < deadline and not (metrics.exists() and metrics.stat().st_size):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert f"unreel pretrain --resume {run}" in said.replace("\n", " ") and "Traceback" not in said
    state = json.loads((unreel_checkpoint(run) / "training.json").read_text())
    assert state["step"] >= 1


def unreel_checkpoint(run: Path) -> Path:
    return run / "checkpoints" / json.loads((run / "checkpoints" / "index.json").read_text())["last"]


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_non_finite_step_stops_before_it_changes_anything(
    what: str, motion_set: Path, tmp_path: Path, small: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = iic.infonce_loss
    calls = {"n": 0}

    def poisoned(scores: torch.Tensor, temperature: float) -> torch.Tensor:
        calls["n"] += 1
        if calls["n"] <= 12:  # four calls a step: steps 1 to 3 are sound
            return real(scores, temperature)
        bad = torch.tensor(float("nan"))
        return real(scores, temperature) + (bad if what == "loss" else (scores.sum() * 0).sqrt())

    monkeypatch.setattr(iic, "infonce_loss", poisoned)
    kept: dict[str, torch.Tensor] = {}
    real_step = loop.train_step

    def watched(setup: TrainingSetup, *args: object) -> None:
        job = setup.job
        kept.clear()
        state = job.method.state_dict().items()
        kept.update({n: t.clone() for n, t in state if "running" not in n and "batches" not in n})
        kept["job"] = job  # type: ignore[assignment]
        real_step(setup, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "train_step", watched)
    with pytest.raises(NonFiniteError, match=rf"the {what} at step 4 is (nan|inf).*--lr"):
        unreel.pretrain(motion_set, out=tmp_path / "run", method="iic", quiet=True, **small | {"steps": 6})
    job = kept.pop("job")
    after = job.method.state_dict()  # type: ignore[union-attr,attr-defined]
    assert [n for n in kept if not torch.equal(kept[n], after[n])] == []


def test_a_run_is_never_overwritten(motion_set: Path, small_run: Path, small: dict[str, object]) -> None:
    before = {p: p.stat().st_mtime_ns for p in small_run.rglob("*") if p.is_file()}
    with pytest.raises(RunError, match="--resume"):
        unreel.pretrain(motion_set, out=small_run, quiet=True, **small)
    assert before == {p: p.stat().st_mtime_ns for p in small_run.rglob("*") if p.is_file()}


def test_a_file_that_breaks_while_training_is_quarantined_and_named(
    motion_set: Path, tmp_path: Path, small: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from unreel.verbs.training import pretrain as api

    videos, run = tmp_path / "videos", tmp_path / "run"
    shutil.copytree(motion_set, videos)
    real = api.create_run

    def break_one(out: Path, *rest: object) -> Path:
        # The inspection is over, training has not begun: whichever files are trained on, two are broken now.
        for path in sorted(videos.glob("*/*.mp4"))[:2]:
            path.write_bytes(b"no longer a video")
        return real(out, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(api, "create_run", break_one)
    state = unreel.pretrain(videos, out=run, quiet=True, **small | {"steps": 10, "held_out": 0.0})
    assert state["step"] == 10
    rows = table(run / "quarantine.csv")
    assert sorted(Path(r["path"]).name for r in rows) == [p.name for p in sorted(videos.glob("*/*.mp4"))[:2]]
    assert all(r["reason"] for r in rows)
    monkeypatch.setattr(api, "create_run", break_one)
    with pytest.raises(InputError, match="--max-bad-share"):
        shutil.rmtree(videos)
        shutil.copytree(motion_set, videos)
        unreel.pretrain(
            videos, out=tmp_path / "strict", quiet=True, **small | {"steps": 10, "held_out": 0.0, "max_bad_share": 0.05}
        )


def test_nothing_in_a_run_needs_pickle(small_run: Path) -> None:
    names = {p.suffix for p in (small_run / "checkpoints").rglob("*") if p.is_file()}
    assert names == {".json", ".safetensors"}


def test_a_checkpoint_of_another_network_is_refused(small_run: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(unreel_checkpoint(small_run), tmp_path / "other")
    description = json.loads((tmp_path / "other" / "encoder.json").read_text())
    description["backbone"] = "r3d"
    (tmp_path / "other" / "encoder.json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match="encoder.json is damaged, its checksum differs"):
        unreel.load_encoder(tmp_path / "other")
    (tmp_path / "other" / "sums.json").unlink()  # as of a version that wrote none
    with pytest.raises(CheckpointError, match="do not fit a r3d"):
        unreel.load_encoder(tmp_path / "other")
    with pytest.raises(CheckpointError, match="neither a run nor a checkpoint"):
        unreel.load_encoder(tmp_path)


def test_best_checkpoint_is_named_and_loadable(small_run: Path) -> None:
    index = json.loads((small_run / "checkpoints" / "index.json").read_text())
    monitors = table(small_run / "monitors.csv")
    trained = [row for row in monitors if int(row["step"]) >= 6]  # of 8: the last quarter
    assert len(monitors) > len(trained)
    means = [statistics.mean(float(row[name]) for name in ("moment", "order", "far_clip")) for row in trained]
    rated = [(mean, int(row["step"])) for mean, row in zip(means, trained, strict=True) if row["collapsed"] == "False"]
    _, wanted = max(rated)
    assert index["best_step"] == wanted and (small_run / "checkpoints" / index["best"]).is_dir()
    assert unreel.load_encoder(small_run).spec.method == "trio"


def test_a_wrong_choice_is_refused_in_python_too(motion_set: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown loss 'sofmax'. Did you mean 'softmax'"):
        unreel.pretrain(motion_set, out=tmp_path / "run", method="iic", loss="sofmax")
    with pytest.raises(InputError, match="unknown option 'bach_size'. Did you mean 'batch_size'"):
        unreel.pretrain(motion_set, out=tmp_path / "run", bach_size=4)
    assert not (tmp_path / "run").exists()


def test_what_the_network_can_not_take_is_refused_before_a_run_is_made(
    motion_set: Path, tmp_path: Path, small: dict[str, object]
) -> None:
    for wrong in ({"intra_negatives": "shuffle", "num_frames": 10}, {"backbone": "c3d", "num_frames": 4, "size": 16}):
        with pytest.raises(InputError, match="10|too few or too small for c3d"):
            unreel.pretrain(motion_set, out=tmp_path / "run", quiet=True, **small | wrong)
        assert not (tmp_path / "run").exists()


def test_a_diverged_run_says_so(motion_set: Path, tmp_path: Path, small: dict[str, object]) -> None:
    options = small | {"lr": 1e4, "steps": 12, "monitor_epochs": 1, "optimizer": "sgd", "schedule": "cosine"}
    with pytest.raises(NonFiniteError, match="--lr"):
        unreel.pretrain(motion_set, out=tmp_path / "run", quiet=True, **options)


def test_a_run_stopped_before_its_first_checkpoint_begins_again(
    motion_set: Path, tmp_path: Path, small: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while the videos are looked at for the first monitors: nothing is lost but the beginning."""
    from unreel.training import loop

    options = small | {"steps": 2}
    unreel.pretrain(motion_set, out=tmp_path / "whole", quiet=True, **options)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "evaluate_monitors", interrupted)
        with pytest.raises(KeyboardInterrupt):
            unreel.pretrain(motion_set, out=tmp_path / "cut", quiet=True, **options)
    assert not (tmp_path / "cut" / "checkpoints").exists()
    assert unreel.resume(tmp_path / "cut", quiet=True)["step"] == 2
    assert_equal_runs(tmp_path / "cut", tmp_path / "whole")


def test_two_runs_in_one_folder_are_refused_and_a_crash_leaves_no_lock(small_run: Path) -> None:
    hold = (
        "import pathlib, sys, time; from unreel.io.file_lock import lock_folder\n"
        "with lock_folder(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", hold, small_run], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=f"another unreel trains in it .process {other.pid} on "):
            unreel.resume(small_run, quiet=True)
        other.kill()
        other.wait()
    assert unreel.resume(small_run, quiet=True)["interrupted"] is False


@pytest.mark.parametrize("name", ["encoder.safetensors", "training.safetensors", "training.json"])
def test_a_damaged_checkpoint_is_found_and_the_one_before_is_offered(
    name: str, small_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    steps = sorted(int(p.name.removeprefix("step-")) for p in (run / "checkpoints").glob("step-*"))
    assert len(steps) >= 2
    damaged = run / f"checkpoints/step-{steps[-1]:08d}" / name
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(CheckpointError, match=f"{name} is damaged.*--resume {run} --step {steps[-2]}$"):
        unreel.resume(run, quiet=True)
    if name == "encoder.safetensors":
        with pytest.raises(CheckpointError, match="is damaged"):
            unreel.load_encoder(damaged.parent)
    with pytest.raises(CheckpointError, match="no checkpoint of step 1234; there are"):
        unreel.resume(run, quiet=True, step=1234)
    assert unreel.resume(run, quiet=True, step=steps[-2])["step"] == steps[-1]
    assert_equal_runs(small_run, run)
