"""The length of a run by minutes or by its corpus: planned, written once, and equal to a run with --steps."""

import io
import json
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commands import refused
from rich.console import Console
from runs import Stop, assert_equal_runs, stop_after, table

import unreel
from unreel.errors import InputError
from unreel.methods.registry import load_preset
from unreel.settings import OptimisationSettings, make_single_machine_settings
from unreel.settings.optimisation import require_one_length
from unreel.training import progress_bar
from unreel.training.run_folder.config import build_run_config
from unreel.training.run_length import length_choice, rehearsal, time_plan
from unreel.training.run_length.default_length import DEFAULT_STEPS, MIN_PASSES, choose_default_steps
from unreel.training.run_length.length_choice import describe_length
from unreel.training.run_length.rehearsal import RepeatedBatches
from unreel.training.run_length.time_plan import Pace, RehearsalPlan, RunCosts, estimate_report_s


def costs(**changes: Any) -> RunCosts:
    """A run of 40 steps a pass, ten monitors of 3 s, and a report of 20 s."""
    made: dict[str, Any] = {
        "pace": Pace(0.5, 0.1),
        "steps_per_epoch": 40,
        "monitor_s": 3.0,
        "checkpoint_s": 0.2,
        "report_s": 20.0,
        "checkpoint_interval_s": 300.0,
        "compute_monitor_interval": lambda steps: 40 * max(1, round(steps / 400)),
    }
    return RunCosts(**made | changes)


# The plan, without a clock.


def test_the_time_of_a_run_is_the_sum_of_its_parts() -> None:
    assert costs().predict_loop_s(30) == pytest.approx(30 * 0.5)
    assert costs().predict_loop_s(100) == pytest.approx(40 * 0.5 + 60 * 0.1)
    assert costs().predict_s(100) == pytest.approx(26 + 3 * 3.0 + 20)  # monitors after 40, 80 and 100 steps
    assert costs().predict_s(10_000) == pytest.approx(40 * 0.5 + 9960 * 0.1 + 10 * 3.0 + 3 * 0.2 + 20)


@pytest.mark.parametrize("available_s", [-5.0, 0.0, 20.0, 23.4, 23.5, 43.0, 49.0, 90.0, 333.3, 1234.5])
@pytest.mark.parametrize("changes", [{}, {"pace": Pace(0.1, 0.1), "monitor_s": 0.0}, {"steps_per_epoch": 7}])
def test_as_many_steps_as_just_fit(available_s: float, changes: dict[str, Any]) -> None:
    made = costs(**changes)
    steps = made.fit_steps(available_s)
    assert made.predict_s(steps + 1) > available_s
    assert steps == 0 or made.predict_s(steps) <= available_s


def test_half_an_hour_of_a_known_pace() -> None:
    made = costs(pace=Pace(0.1, 0.1), monitor_s=0.0, report_s=0.0, checkpoint_s=0.0)
    assert made.fit_steps(1800.0) in (17_999, 18_000)  # 0.1 is no binary number
    assert costs().fit_steps(23.4) == 0 and costs().fit_steps(23.5) == 1


def test_a_report_costs_its_clips_and_has_an_end() -> None:
    fixed = time_plan.REPORT_START_S
    assert estimate_report_s(4.0, monitor_clips=100, report_clips=900) == pytest.approx(fixed + 36)
    assert estimate_report_s(100.0, 100, 900) == time_plan.MAX_REPORT_S and estimate_report_s(0.0, 0, 9) == fixed


def test_a_corpus_gets_some_thousand_steps_or_some_passes() -> None:
    assert choose_default_steps(1) == choose_default_steps(40) == DEFAULT_STEPS
    assert choose_default_steps(DEFAULT_STEPS) == MIN_PASSES * DEFAULT_STEPS


# The rehearsal, with made-up seconds.


def seconds(plan: RehearsalPlan, first: float = 5.0, repeat: float = 2.0, untimed: float = 1000.0) -> list[float]:
    """The seconds of each step; what must not be timed takes very long."""
    timed_first = range(plan.first_timed, plan.num_distinct)
    return [
        first if step in timed_first else repeat if step >= plan.repeat_timed else untimed
        for step in range(plan.num_steps)
    ]


@pytest.mark.parametrize("num_ahead", [0, 2, 16])
@pytest.mark.parametrize(("kept", "later"), [(1.0, 2.0), (0.25, 0.25 * 2 + 0.75 * 5)])
def test_the_pace_leaves_out_what_is_no_step_of_a_run(num_ahead: int, kept: float, later: float) -> None:
    plan = RehearsalPlan(1000, num_ahead, kept)
    assert plan.compute_pace(seconds(plan)) == Pace(5.0, pytest.approx(later))
    assert plan.num_steps == 3 + 24 + 24 + 2 * num_ahead


def test_a_short_pass_counts_only_what_is_repeated() -> None:
    plan = RehearsalPlan(2, num_ahead=4, kept_share=1.0)
    assert plan.compute_pace(seconds(plan)) == Pace(2.0, 2.0) and plan.num_distinct == 2


@pytest.mark.parametrize("steps_per_epoch", [2, 1000])
def test_without_kept_frames_every_pass_is_the_first(steps_per_epoch: int) -> None:
    plan = RehearsalPlan(steps_per_epoch, num_ahead=2, kept_share=0.0)
    times = [1000.0] * plan.first_timed + [4.0, 6.0] * 12
    assert len(times) == plan.num_steps and plan.compute_pace(times) == Pace(5.0, 5.0)


def test_a_rehearsal_that_is_too_slow_ends_with_a_pace() -> None:
    plan = RehearsalPlan(1000, num_ahead=16, kept_share=1.0)
    assert plan.compute_pace([1000.0] * 3 + [7.0] * 5) == Pace(7.0, 7.0)


def test_a_rehearsal_repeats_its_batches_and_can_go_on_after_a_crash() -> None:
    order = RepeatedBatches([[(0, 1)], [(0, 2)], [(0, 3)]], num_steps=8)
    again = order.skip_steps(4).skip_steps(1)
    assert [batch[0][1] for batch in order] == [1, 2, 3, 1, 2, 3, 1, 2] and len(order) == 8
    assert list(again) == list(order)[5:] and len(again) == 3


# Whole runs.


@pytest.fixture
def brief(small: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Settings of a small run with a log line at each step; rehearsals are brief, and 6 steps fit into any minutes."""
    monkeypatch.setattr(time_plan, "TIMED_STEPS", 2)
    monkeypatch.setattr(RunCosts, "fit_steps", lambda *_: 6)
    return small | {"log_steps": 1, "quiet": True}


def steps_of(run: Path) -> int:
    return int(json.loads((run / "config.json").read_text())["settings"]["steps"])


@pytest.mark.parametrize("method", ["trio", "iic-paper", "moco"])
def test_a_run_of_minutes_is_the_run_of_its_steps_to_the_bit(
    method: str, motion_set: Path, tmp_path: Path, brief: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory bank, constant of the first batch, queue, teacher and optimiser: nothing of the rehearsal is left."""
    calls, real = count(), rehearsal.update_weights
    monkeypatch.setattr(rehearsal, "update_weights", lambda *args: (next(calls), real(*args))[1])
    timed, counted, options = tmp_path / "timed", tmp_path / "counted", brief | {"method": method}
    assert unreel.pretrain(motion_set / "train.txt", out=timed, minutes=3.5, **options)["step"] == 6
    assert next(calls) > 4, "the rehearsal trained"
    unreel.pretrain(motion_set / "train.txt", out=counted, steps=6, **options)
    assert_equal_runs(timed, counted)
    assert steps_of(timed) == 6 and json.loads((timed / "config.json").read_text())["settings"]["minutes"] == 3.5
    monitors = [int(row["step"]) for row in table(timed / "monitors.csv")]
    assert monitors == [0, 4, 6], "a pass has 4 steps; the run ends within the second, with monitors and a checkpoint"
    assert (timed / "checkpoints" / "step-00000006").is_dir()


def test_what_is_stopped_while_it_measures_measures_again(
    motion_set: Path, tmp_path: Path, brief: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    with monkeypatch.context() as broken, pytest.raises(Stop):
        broken.setattr(rehearsal, "load_checkpoint", lambda *_: (_ for _ in ()).throw(Stop))
        unreel.pretrain(motion_set, out=run, minutes=5, **brief)
    assert steps_of(run) == 0
    assert unreel.resume(run, quiet=True)["step"] == 6 and steps_of(run) == 6
    unreel.pretrain(motion_set, out=whole, steps=6, **brief)
    assert_equal_runs(run, whole)


def test_a_resumed_run_ends_where_it_would_have(
    motion_set: Path, tmp_path: Path, brief: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    stop_after(monkeypatch, 2, save=True)
    assert unreel.pretrain(motion_set, out=run, minutes=5, **brief)["interrupted"]
    monkeypatch.undo()
    monkeypatch.setattr(RunCosts, "fit_steps", lambda *_: 60)  # the machine is ten times as fast today
    assert unreel.resume(run, quiet=True)["step"] == 6
    unreel.pretrain(motion_set, out=whole, steps=6, **brief)
    assert_equal_runs(run, whole)


def test_where_nothing_is_named_the_corpus_decides_and_the_run_says_how_long(
    motion_set: Path, tmp_path: Path, brief: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(length_choice, "choose_default_steps", lambda steps_per_epoch: steps_per_epoch + 2)
    assert unreel.pretrain(motion_set / "train.txt", out=tmp_path / "run", **brief | {"quiet": False})["step"] == 6
    said = capsys.readouterr().err
    assert "no length was named, so the run gets what a corpus of this size needs: 6 steps (1.5 passes" in said
    assert "on this machine with monitors and report; --minutes, --steps or --epochs name another length" in said
    assert said.index("step 6/6") < said.index("the encoder is now judged"), "no silence while the report is written"
    assert said.index("no length was named") < said.index("step 1/6") and said.count(" left\n") == 6
    assert steps_of(tmp_path / "run") == 6


def test_a_budget_without_room_for_a_pass_trains_for_a_step_and_says_what_it_needs(
    motion_set: Path, tmp_path: Path, brief: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(RunCosts, "fit_steps", lambda *_: 0)
    options = brief | {"quiet": False, "minutes": 1e-6}
    assert unreel.pretrain(motion_set / "train.txt", out=tmp_path / "run", **options)["step"] == 1
    said = capsys.readouterr().err
    assert "warning: 1e-06 minutes are too short for a step with monitors and report: the run has one step" in said
    assert "One pass takes" in said and steps_of(tmp_path / "run") == 1


def test_what_is_told_before_a_run_of_minutes() -> None:
    made = costs()
    assert describe_length(4000, 8.0, made, 12.0) == (
        "8 minutes: 4,000 steps (100 passes over the videos) at 0.1 s a step, 0.5 s in the first pass; 12 s have "
        "passed, 50.2 s are for monitors and report"
    )
    short = describe_length(20, 1.0, made, 12.0).splitlines()[1]
    assert short.startswith("warning: 1 minute is too short") and "20 of its 40 steps." in short
    assert short.endswith("One pass takes 55 s in all; without --minutes, a run on these videos takes 11.3 min")
    assert "40 steps (1 pass over the videos)" in describe_length(40, 8.0, made, 12.0)
    late = describe_length(1, 0.1, made, 12.0).splitlines()[1]
    assert (
        "0.1 minutes are too short for a step with monitors and report: the run has one step and takes 35.5 s" in late
    )
    assert describe_length(1, 0.6, costs(steps_per_epoch=1), 12.0).count("warning") == 0, "one step is a whole pass"
    assert describe_length(1, 0.5, costs(steps_per_epoch=1), 12.0).count("warning") == 1


# What a person may say.


MORE_THAN_0, TOO_MANY = "minutes must be above 0 and finite, got", "minutes must lie between 0 and"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [*((value, MORE_THAN_0) for value in ("0", "-3", "nan", "inf")), ("1e23", TOO_MANY)],
)
def test_minutes_that_are_none(value: str, sentence: str, motion_set: Path, tmp_path: Path) -> None:
    says = (sentence,)
    refused("pretrain", motion_set, "--out", tmp_path / "run", "--minutes", value, says=says)
    with pytest.raises(InputError, match=says[0]):
        unreel.pretrain(motion_set, out=tmp_path / "run", minutes=float(value))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("other", ["steps", "epochs"])
def test_two_lengths_are_refused(other: str, motion_set: Path, tmp_path: Path) -> None:
    says = f"--minutes and --{other} both say how long to train; give one of them"
    refused("pretrain", motion_set, "--out", tmp_path / "run", "--minutes", 5, f"--{other}", 240, says=(says,))
    with pytest.raises(InputError, match=says):
        unreel.pretrain(motion_set, out=tmp_path / "run", method="iic-paper", minutes=5, **{other: 240})
    assert not (tmp_path / "run").exists()


def test_which_of_the_lengths_decides() -> None:
    require_one_length(["steps", "epochs"])  # steps win, as ever
    require_one_length(["minutes"])
    assert make_single_machine_settings().is_length_open and not make_single_machine_settings(steps=3).is_length_open
    assert not make_single_machine_settings(epochs=3).is_length_open
    papers = [load_preset(name)[1] for name in ("iic-paper", "cvrl-paper", "dual-paper")]
    assert [settings.epochs for settings in papers] == [240, 800, 200] and not any(s.is_length_open for s in papers)
    assert build_run_config("iic-paper", {"minutes": 5.0}).settings.is_length_open
    assert not OptimisationSettings(minutes=5.0, steps=7).is_length_open, "fixed"


# The time left.


def make_progress(monkeypatch: pytest.MonkeyPatch, width: int, terminal: bool) -> tuple[Any, io.StringIO]:
    """A progress line into a buffer, with a clock that goes on by 2 s at each look."""
    out, ticks = io.StringIO(), count(0.0, 2.0)
    made = partial(Console, width=width, force_terminal=terminal, color_system=None)
    monkeypatch.setattr(progress_bar, "Console", lambda file, **rest: made(file=out, **rest))
    monkeypatch.setattr(progress_bar, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    monkeypatch.setenv("TERM", "xterm")
    return progress_bar.TrainingProgress(total_steps=1000, steps_done=0, quiet=False), out


ROW = {"loss": 2.345, "clips_per_s": 120.0, "epoch": 3.0, "data_wait": 0.04}


@pytest.mark.parametrize("width", [12, 20, 40, 79, 80, 100, 200])
def test_the_time_left_is_seen_at_any_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    progress, out = make_progress(monkeypatch, width, terminal=True)
    progress.bar.auto_refresh = False
    for step in range(1, 201):
        progress._update_line(step)
        progress.print_step(step, ROW)
    progress.bar.console.print(progress.bar)
    lines = [line for line in out.getvalue().splitlines() if line.strip()]
    assert len(lines) == 1 and len(lines[0]) <= width
    assert "26.7 min left"[:width] in lines[0], lines  # 800 steps of 2 s
    assert ("step 200/1000" in lines[0]) == (width >= 40) and ("waiting for data 4%" in lines[0]) == (width >= 200)


def test_the_time_left_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    progress, out = make_progress(monkeypatch, 80, terminal=False)
    progress.print_step(1, ROW)
    progress.set_length(500, planned_step_s=6.0)
    progress.print_step(5, ROW)
    for step in range(1, 20):
        progress._update_line(step)
    progress.print_step(20, ROW)
    progress.report_s = 120.0
    progress.print_step(20, ROW)
    figures = "loss 2.345  120 clips/s  epoch 3.0  waiting for data 4%"
    assert out.getvalue().splitlines() == [
        f"step 1/1000  {figures}  time left: unknown",
        f"step 5/500  {figures}  49.5 min left",
        f"step 20/500  {figures}  16 min left",
        f"step 20/500  {figures}  18 min left",
    ]
