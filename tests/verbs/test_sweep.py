"""Sweeps: a stopped one ends in the same table, a failed member stops no other, and what can't work is named before."""

import csv
import json
import math
import os
import random
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from commands import call, refused
from own import METHOD

import unreel
from unreel.corpus.motion_set.make_set import make_set
from unreel.errors import InputError, NonFiniteError, RunError
from unreel.io.text import parse_tables
from unreel.training import loop
from unreel.training.monitors import compute_monitors
from unreel.training.run_folder.option_values import convert_options
from unreel.verbs.sweep import member as member_module
from unreel.verbs.sweep.launching import choose_gpu, launch_processes
from unreel.verbs.sweep.member import require_same_sources, run_member
from unreel.verbs.sweep.outcome import SweepOutcome, collect_outcome
from unreel.verbs.sweep.plan import SweepPlan, build_plan, check_plan
from unreel.verbs.sweep.sweep import prepare_sweep, run_sweep
from unreel.verbs.sweep.typed_options import parse_grid, parse_setting

COMMON = {"backbone": "tiny", "size": 32, "num_frames": 4, "batch_size": 4, "workers": 0, "device": "cpu", "threads": 1}
COMMON |= {"steps": 2, "log_steps": 1, "monitor_epochs": 100, "checkpoint_minutes": 1e-6, "cache_mb": 64}
COMMON |= {"held_out": 0.25}
METHODS = ["simclr", "vicreg", "byol"]


@pytest.fixture(scope="module")
def motion_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A smaller one than that of other tests, as it is trained on and evaluated many times: 8 and 4 videos."""
    out = tmp_path_factory.mktemp("motion") / "videos"
    make_set(out, classes=2, videos=6, seed=1, frames=12, size=(40, 48), test_share=1 / 3)
    return out


@pytest.fixture(scope="module", autouse=True)
def cheap_monitors() -> Iterator[None]:
    """The monitors take two thirds of a member of two steps, and nothing here looks at them."""
    found = compute_monitors(np.random.default_rng(0).normal(size=(6, 2, 4)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "evaluate_monitors", lambda encoder, monitored: found)
        yield


def tables(motion_set: Path, **changes: Any) -> dict[str, Any]:
    made = {"source": str(motion_set / "train.txt"), "root": str(motion_set), "data": str(motion_set)}
    made |= {"seeds": [0, 1, 2], "common": COMMON, "grid": {"method": METHODS}, "num_clips": 1, "floors": False}
    return made | {"against": "simclr"} | changes


def in_this_process(
    out: Path, plan: SweepPlan, numbers: Sequence[int], jobs: int, on_end: Callable[[int], None]
) -> None:
    for number in numbers:
        run_member(out, plan, plan.members[number])
        on_end(number)


def run(motion_set: Path, out: Path, **changes: Any) -> SweepOutcome:
    return run_sweep(*prepare_sweep(tables(motion_set, **changes), out, 1), launch=in_this_process)


def read_table(out: Path) -> list[dict[str, str]]:
    """table.csv without minutes, which are those of the clock."""
    lines = csv.DictReader((out / "table.csv").read_text().splitlines())
    return [line for line in lines if line["figure"] != "minutes"]


def stop_at_step(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Break off before the n-th step of this process, as a kill does: without a word, and nothing is saved."""
    steps, real = iter(range(10**6)), loop.train_step

    def counted(*args: Any) -> None:
        if next(steps) == number:
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(loop, "train_step", counted)


@pytest.fixture(scope="module")
def whole(motion_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sweeps") / "whole"
    assert run(motion_set, out).failures == {}
    return out


def test_stopped_in_the_middle_and_begun_again_it_ends_in_the_same_table(
    whole: Path, motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three methods x three seeds, two steps each: stopped in the second step of the fifth member."""
    out = tmp_path / "stopped"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_at_step(patch, 9)
        run(motion_set, out)
    names = [m.name for m in prepare_sweep(out, None, 1)[1].members]
    assert sorted(p.name for p in (out / "evaluations").iterdir()) == sorted(names[:4])
    assert (out / "runs" / names[4]).exists() and not (out / "runs" / names[5]).exists()
    begun = (out / "runs" / names[0] / "metrics.csv").stat().st_mtime_ns
    trained = []
    real = member_module.train_member
    monkeypatch.setattr(member_module, "train_member", lambda *args: (trained.append(args[2].name), real(*args)))
    run(motion_set, out)
    assert trained == names[4:] and (out / "runs" / names[0] / "metrics.csv").stat().st_mtime_ns == begun
    assert read_table(out) == read_table(whole)
    lines = read_table(whole)
    assert {line["row"] for line in lines if line["n"] == "3"} == set(METHODS)
    assert [line["p_corrected"] != "" for line in lines if line["figure"] == "R@1"] == [False, True, True, False]


def test_the_table_has_costs_and_the_picture_has_every_row(whole: Path) -> None:
    plan = prepare_sweep(whole, None, 1)[1]
    outcome = collect_outcome(whole, plan)
    assert outcome.comparison is not None and outcome.failures == {} and outcome.unfinished == []
    rows = outcome.comparison.sections[0].rows
    assert [row.name for row in rows if not row.is_baseline] == METHODS
    assert [row.costs["clips"] for row in rows[:3]] == [8, 16, 16]  # two steps of 4 instances; one clip, two, two
    assert all(row.costs["minutes"] > 0 for row in rows[:3])
    picture = (whole / "curves.svg").read_text()
    assert picture.count("n=3") == 3 and "Far clip" in picture
    assert r"\begin{tabular}" in (whole / "table.tex").read_text()


def test_a_member_that_fails_stops_no_other_and_is_tried_again(
    whole: Path, motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, changes = tmp_path / "out", {"seeds": [0], "grid": {"method": ["simclr", "vicreg", "byol"]}}
    real = member_module.train_member

    def fail(out: Path, plan: SweepPlan, member: Any) -> None:
        if member.row == "vicreg":
            raise NonFiniteError("the loss is not finite at step 1")
        if member.row == "byol":
            raise AttributeError("'Own' has no 'check'")
        real(out, plan, member)

    with monkeypatch.context() as patch:
        patch.setattr(member_module, "train_member", fail)
        outcome = run(motion_set, out, **changes)
    assert outcome.failures["vicreg-seed0"] == "the loss is not finite at step 1"
    assert outcome.failures["byol-seed0"] == "AttributeError: 'Own' has no 'check'"
    assert "Traceback" in (out / "failures" / "byol-seed0.txt").read_text()
    assert outcome.comparison is not None
    names = [row.name for row in outcome.comparison.sections[0].rows]
    assert names[:3] == METHODS and "Failed: vicreg-seed0" in " ".join(outcome.comparison.remarks)
    assert [line["mean"] for line in read_table(out) if line["figure"] == "failed"] == ["1.0", "1.0"]
    assert run(motion_set, out, **changes).failures == {}
    figures = [line["mean"] for line in read_table(out) if line["figure"] == "R@1"]
    assert len(figures) == 4 and not (out / "failures" / "byol-seed0.txt").exists()


def test_members_train_on_clips_that_are_drawn(motion_set: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"source": "synthetic://all", "root": "", "seeds": [0], "against": ""}
    outcome = run(motion_set, tmp_path / "out", grid={"method": ["simclr"]}, **changes)
    assert outcome.failures == {} and len(read_table(tmp_path / "out")) > 0
    config = json.loads((tmp_path / "out" / "runs" / "simclr-seed0" / "config.json").read_text())
    assert config["source"].startswith("synthetic:")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"common": COMMON | {"batchsize": 4}}, r"setting 'simclr': unknown option 'batchsize'. Did you mean 'batch_"),
        (
            {"grid": {"method": ["simclr"], "lr": ["fast"]}, "against": ""},
            "setting 'simclr lr=fast': lr is a number, got 'fast'",
        ),
        (
            {"grid": {"method": ["simclr"], "fps": [5, 0]}, "against": ""},
            "setting 'simclr fps=0': set either fps or stride_frames",
        ),
        (
            {"grid": {"method": ["iic"], "num_negatives": [10**8]}, "against": ""},
            "num_negatives must lie between",
        ),
        ({"grid": {"method": ["simclr", "simclr"]}}, "two settings are called 'simclr'"),
        ({"grid": {"method": ["nothing"]}, "against": ""}, "unknown method 'nothing'"),
        ({"grid": {"lr": 0.1}}, "a list of values for 'lr'"),
        ({"grid": {"redundency": [1]}}, "unknown option 'redundency'"),
        ({"seeds": [0, 0]}, "seeds are different whole numbers"),
        ({"seed": [0]}, "unknown part of a sweep 'seed'. Did you mean 'seeds'"),
        ({"common": COMMON | {"seed": 3}}, "seeds stand in 'seeds'"),
        ({"against": "trio"}, "unknown row to compare with 'trio'"),
        ({"against": "frame diference", "floors": True}, "Did you mean 'frame difference'"),
        ({"floors": "off"}, "'floors' of a sweep is true or false, got 'off'"),
        ({"num_clips": "5"}, "'num_clips' of a sweep is a whole number, got '5'"),
        ({"evaluate": ["knnn"]}, "unknown evaluation 'knnn'"),
        ({"data": ""}, "a sweep needs 'data'"),
        ({"common": COMMON | {"optimizer": "adam"}}, "unknown optimizer 'adam'"),
    ],
)
def test_what_can_not_work_is_named_before_anything_runs(
    motion_set: Path, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(InputError, match=re.escape(says) if "(" in says else says):
        prepare_sweep(tables(motion_set, **changes), tmp_path / "out", 1)
    assert not (tmp_path / "out" / "runs").exists() and not (tmp_path / "out" / "sweep.json").exists()


def test_what_the_network_has_by_default_is_known_to_the_checks(motion_set: Path, tmp_path: Path) -> None:
    """Frames and network of 0 and "auto" were taken for a network without time, which shuffles no frames."""
    common = {name: value for name, value in COMMON.items() if name not in ("num_frames", "backbone", "size")}
    prepare_sweep(tables(motion_set, grid={"method": ["iic"]}, common=common, against=""), tmp_path / "out", 1)
    assert (tmp_path / "out" / "sweep.json").exists()


def test_another_sweep_is_not_mixed_into_a_folder(whole: Path, motion_set: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="'simclr-seed0' was made with"):
        prepare_sweep(tables(motion_set, common=COMMON | {"lr": 0.5}), whole, 1)
    with pytest.raises(RunError, match="num_clips 1, this one 2"):
        prepare_sweep(tables(motion_set, num_clips=2), whole, 1)
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="holds no sweep"):
        prepare_sweep(tables(motion_set), tmp_path, 1)


OWN_METHOD = "from unreel.methods.simclr import Config, Method, simclr\n\nPRESETS = {'mine': simclr}\n"


def test_an_edited_method_makes_no_other_seed_of_a_row(motion_set: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "mine.py", tmp_path / "out"
    file.write_text(OWN_METHOD)
    changes: dict[str, Any] = {"settings": [{"method": f"{file}:mine", "name": "own"}], "grid": {}, "against": ""}
    assert run(motion_set, out, seeds=[0], **changes).failures == {}
    file.write_text(f"{OWN_METHOD}# the loss is another\n")
    with pytest.raises(InputError, match=r"mine\.py has changed since own-seed0 was trained"):
        run(motion_set, out, seeds=[0, 1], **changes)
    file.write_text(OWN_METHOD)
    require_same_sources(out, prepare_sweep(tables(motion_set, seeds=[0, 1], **changes), out, 1)[1])


def test_settings_grid_and_seeds_are_combined_and_own_methods_keep_their_colon() -> None:
    settings = [parse_setting("own/file.py:fast lr=0.1"), {"name": "mine", "method": "iic", "drops": [0.5]}]
    grid = parse_grid(["batch_size=4,8", 'backbone=["a.py:Net"]'])
    plan = build_plan({"source": "s", "data": "d", "settings": settings, "grid": grid, "seeds": [3, 4]})
    assert [m.method for m in plan.members[:2]] == ["own/file.py:fast"] * 2
    assert plan.rows == [
        "own/file.py:fast lr=0.1 batch_size=4 backbone=a.py:Net",
        "own/file.py:fast lr=0.1 batch_size=8 backbone=a.py:Net",
        "mine batch_size=4 backbone=a.py:Net",
        "mine batch_size=8 backbone=a.py:Net",
    ]
    assert len(plan.members) == 8 and [m.seed for m in plan.members] == [3] * 4 + [4] * 4
    assert plan.members[2].options == {"drops": [0.5], "batch_size": 4, "backbone": "a.py:Net"}
    assert plan.members[0].name == "own-file.py-fast-lr=0.1-batch_size=4-backbone=a.py-Net-seed3"
    assert SweepPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan


def test_an_option_of_one_method_beside_another_is_told_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "pull.py").write_text(METHOD.replace("from strength import force_of", "force_of = lambda c: c.force"))
    own = f"{tmp_path / 'pull.py'}:near"
    places = {"source": "videos", "data": "videos"}
    says = r"setting 'iic force=2': iic has no option 'force', .*near has\. .* {method: .*near, force: 2} in a file"
    with pytest.raises(InputError, match=says):
        check_plan(build_plan(places | {"grid": {"method": [own, "iic"], "force": [2, 3]}}))
    with pytest.raises(InputError, match="iic has no option 'force'"):
        check_plan(build_plan(places | {"grid": {"method": [own, "iic"]}, "common": {"force": 2}}))
    with pytest.raises(InputError, match="unknown option 'fors'"):  # nobody's
        check_plan(build_plan(places | {"grid": {"method": [own, "iic"], "fors": [2, 3]}}))
    check_plan(build_plan(places | {"settings": [{"method": own, "force": 2}, {"method": "iic"}]}))


def test_values_are_of_the_kind_of_their_field() -> None:
    made = convert_options("trio", {"lr": 1, "minutes": None, "residual": {"sign": "forward"}, "drops": [0.5, 0.75]})
    assert made["lr"] == 1.0 and made["drops"] == (0.5, 0.75) and made["residual"].sign == "forward"
    for name, value in (("steps", 1.5), ("steps", True), ("decay_all", "yes"), ("backbone", 3), ("minutes", "ten")):
        with pytest.raises(InputError, match=rf"^{name} is .*, got {value!r}"):
            convert_options("trio", {name: value})


@pytest.mark.parametrize("suffix", [".toml", ".json", ".yaml"])
def test_a_file_says_what_options_say(suffix: str, motion_set: Path, tmp_path: Path) -> None:
    made = tables(
        motion_set, settings=[{"method": "simclr"}], grid={"lr": [0.1, 0.2]}, evaluate=["retrieval-iic"], against=""
    )
    path = tmp_path / f"sweep{suffix}"
    flat = {n: v for n, v in made.items() if not isinstance(v, dict) and n != "settings"}
    text = "".join(f"{n} = {json.dumps(v)}\n" for n, v in flat.items())
    for n in ("common", "grid"):
        text += f"[{n}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in made[n].items())
    texts = {".json": json.dumps(made), ".yaml": yaml.safe_dump(made), ".toml": text}
    path.write_text(texts[suffix] + ('[[settings]]\nmethod = "simclr"\n' if suffix == ".toml" else ""))
    _, plan = prepare_sweep(path, tmp_path / "out", 1)
    assert plan.rows == ["simclr lr=0.1", "simclr lr=0.2"] and list(plan.build_evaluations()) == ["retrieval-iic"]
    check_plan(plan)


def test_the_sweep_of_the_documentation_is_one() -> None:
    """But for the method of one's own, which is not there."""
    page = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text()
    text = page.split("```yaml")[1].split("```")[0].replace("path/to/own.py:fast", "simclr")
    plan = build_plan(parse_tables(text, ".yaml"))
    check_plan(plan)
    assert plan.rows == ["iic lr=0.001", "iic lr=0.002", "mine lr=0.001", "mine lr=0.002"]


def test_yaml_is_read_by_version_1_2() -> None:
    text = "a: 010\nb: True\nc: Null\nd: -.inf\ne: off\nf: 1e3\ng: '1'\nh:\ni: 0x10"
    expected = {"a": 10, "b": True, "c": None, "d": -math.inf, "e": "off", "f": 1e3, "g": "1", "h": None, "i": "0x10"}
    assert parse_tables(text, ".yaml") == expected
    assert parse_tables('{"a": 1}', ".txt") == {"a": 1} == parse_tables("a = 1", ".txt")


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("seeds = [0,,1]")
    places = "source: videos\ndata: videos\n"
    refused("sweep", tmp_path / "a.toml", "--out", tmp_path / "out", says=("a.toml", "can't be read"))
    for text, says in (
        ("seeds: [0]\nseeds: [1]", "seeds stands twice"),
        ("seeds: [0", "can't be read"),
        ("- 0", "names"),
        ("floors: !!bool x", "tags as tag:yaml.org,2002:bool"),
        ("1: 2", "put it in quotes"),
        (f"{places}settings: [iic]", "list of tables of options, got 'iic'"),
        (f"{places}seeds: 3", "'seeds' of a sweep is a list of whole numbers, got 3"),
        (f"{places}seeds:", "got None"),
        (f"{places}against: 3", "'against' of a sweep is the name of a row, got 3"),
        (f"{places}floors: 1", "'floors' of a sweep is true or false, got 1"),
    ):
        (tmp_path / "a.yaml").write_text(text)
        refused("sweep", tmp_path / "a.yaml", "--out", tmp_path / "out", says=(says,))
    refused("sweep", tmp_path, "--out", tmp_path / "out", says=("holds no sweep",))


def test_the_script_for_slurm_runs_a_member(motion_set: Path, tmp_path: Path) -> None:
    """Its command, with the variable filled in as SLURM does, is run here."""
    out, script = tmp_path / "out", tmp_path / "array.sh"
    words = [motion_set / "train.txt", "--root", motion_set, "--data", motion_set, "--num-clips", 1, "--no-floors"]
    words += ["--seeds", 0, "--settings", "simclr", "vicreg", "--common"]
    words += [f"{name}={value}" for name, value in COMMON.items()]
    done = call("sweep", *words, "--out", out, "--slurm", script, "--jobs", 2)
    assert done.code == 0 and "sbatch" in done.out and not (out / "runs").exists()
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/bash" and "#SBATCH --array=0-1%2" in lines
    command = next(line for line in lines if "--member" in line).replace('"$SLURM_ARRAY_TASK_ID"', "1").rstrip(" &")
    assert shlex.split(command)[1:4] == ["-m", "unreel", "sweep"]
    assert call(*shlex.split(command)[3:]).code == 0
    assert [p.name for p in (out / "evaluations").iterdir()] == ["vicreg-seed0"]
    refused("sweep", out, "--member", 2, says=("members 0 to 1", "got 2"))
    shown = call("sweep", out, "--show")
    assert shown.code == 1 and "not finished: simclr-seed0" in shown.err and "vicreg" in shown.out


def test_members_run_in_processes_of_their_own_and_a_dead_one_is_told(
    motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the process of a member is a shell: one finishes, one is killed by the system."""
    out, plan = prepare_sweep(tables(motion_set, seeds=[0]), tmp_path / "out", 2)
    monkeypatch.setattr(
        "unreel.verbs.sweep.launching.build_member_command",
        lambda out, number: ["sh", "-c", "echo said; " + ("kill -9 $$" if number == 1 else f"touch {out}/{number}")],
    )
    ended: list[int] = []
    launch_processes(out, plan, [0, 1, 2], 2, ended.append)
    assert sorted(ended) == [0, 1, 2] and (out / "0").exists() and (out / "2").exists()
    reason = (out / "failures" / f"{plan.members[1].name}.txt").read_text()
    assert "signal 9" in reason and (out / "logs" / f"{plan.members[1].name}.log").read_text() == "said\n"
    assert choose_gpu(1, 8)["CUDA_VISIBLE_DEVICES"] == "1"


def test_the_command_says_of_each_member_when_it_begins_and_how_it_ends(
    motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal. Here a member is a shell, the second of which fails."""
    out, plan = prepare_sweep(tables(motion_set, seeds=[0]), tmp_path / "out", 1)
    monkeypatch.setattr(
        "unreel.verbs.sweep.launching.build_member_command",
        lambda out, number: ["sh", "-c", f"exit {number == 1:d}"],
    )
    said = [line for line in call("sweep", out).err.splitlines() if line.startswith(("begins", "1 ", "2 ", "3 "))]
    names, ends = [member.name for member in plan.members], ("done", "failed", "done")
    expected = [
        line
        for n, (name, end) in enumerate(zip(names, ends, strict=True))
        for line in (f"begins: {name}, see {out}/logs/{name}.log", f"{n + 1} of 3 {end}: {name}")
    ]
    assert said == expected


def test_python_has_it_too() -> None:
    assert unreel.sweep.__module__ == "unreel.verbs.sweep.sweep"


PARENT = """
import os, subprocess, sys
from unreel.verbs.sweep.ending import SWEEP_PROCESS
child = "from unreel.verbs.sweep.ending import end_with_sweep; end_with_sweep(); print('ready', flush=True); "
child += "import time; time.sleep(600)"
subprocess.run([sys.executable, "-c", child], env=os.environ | {SWEEP_PROCESS: str(os.getpid())})
"""


def test_a_member_ends_with_a_sweep_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as sweeping:
        assert sweeping.stdout is not None and sweeping.stdout.readline() == "ready\n"
        sweeping.kill()
        assert sweeping.stdout.read() == ""  # which the member holds open as long as it lives


def test_a_member_that_still_runs_is_not_run_twice(
    motion_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, plan = prepare_sweep(tables(motion_set, seeds=[0]), tmp_path / "out", 1)
    monkeypatch.setattr(member_module, "ENDING_LIMIT_S", 0.1)
    with member_module.hold_member(out, plan.members[0]):
        assert not run_member(out, plan, plan.members[0])
    assert not (out / "runs").exists()
    assert "another process still runs simclr-seed0" in (out / "failures" / "simclr-seed0.txt").read_text()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_random_moments_a_sweep_ends_in_the_same_table(motion_set: Path, tmp_path: Path) -> None:
    """The command itself, three methods x three seeds, two at a time, killed twice by SIGKILL."""
    chance, changes = random.Random(0), {"common": COMMON | {"best_checkpoint": "last"}}
    (tmp_path / "sweep.json").write_text(json.dumps(tables(motion_set, **changes)))
    out, kills = tmp_path / "killed", 0

    def start() -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "unreel", "sweep", tmp_path / "sweep.json", "--out", out, "--jobs", "2"]
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    for number in (2, 5):
        sweeping = start()
        while sweeping.poll() is None and len(list(out.glob("evaluations/*"))) < number:
            time.sleep(0.1)
        time.sleep(2 * chance.random())
        kills += sweeping.poll() is None
        sweeping.kill()
        sweeping.wait()
    assert kills == 2 and start().wait() == 0
    run(motion_set, tmp_path / "whole", **changes)
    assert read_table(out) == read_table(tmp_path / "whole")
