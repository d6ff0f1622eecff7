"""Train and evaluate several settings over several seeds, and compare them in one table."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from unreel.corpus.held_out import split_held_out
from unreel.corpus.inspection import inspect, require_usable
from unreel.corpus.manifest import Manifest
from unreel.corpus.segments import build_instances
from unreel.errors import InputError, RunError, UnreelError
from unreel.evaluation.labelled_videos import load_labelled_videos
from unreel.io.atomic_write import atomic_write_text, disk_errors
from unreel.io.file_lock import lock_folder
from unreel.io.text import format_json, parse_json
from unreel.training.runtime.auto_settings import resolve_config
from unreel.verbs.evaluation.compare import write_table_files
from unreel.verbs.sweep.launching import Launch, launch_processes
from unreel.verbs.sweep.member import VIDEOS, is_finished, require_same_sources
from unreel.verbs.sweep.outcome import SweepOutcome, collect_outcome, write_outcome
from unreel.verbs.sweep.plan import PLAN_FILE, SweepPlan, build_plan, check_plan, list_first_members, read_sweep_file
from unreel.video.sources.paths import real_path


def sweep(
    plan: str | Path | Mapping[str, Any],
    out: str | Path | None = None,
    jobs: int = 1,
    csv: str | Path | None = None,
    latex: str | Path | None = None,
    on_end: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> SweepOutcome:
    """Train and evaluate several settings over several seeds; call it again to go on after a stop, or to add settings.

    Args:
        plan: a file (.toml, .json, .yaml) or its content as a dict: source, data, seeds, settings, grid, common,
            against, evaluate; or the folder of a sweep, to go on with it.
        out: folder of the sweep, with its runs, evaluations, table.csv, table.tex and curves.svg.
        jobs: members at a time, each in a process of its own.
        csv: file to write every figure and test to as well.
        latex: file to write the tables to as well.
        on_end: called with the name of each member that has ended, how many have, and how many there are.

    Returns:
        The table of all finished members, and why others failed.

    Raises:
        InputError: an option, a value or a pair of values can't work; nothing has run then.
        RunError: `out` holds another sweep.

    >>> settings = {"steps": 2, "batch_size": 4, "size": 32, "num_frames": 4, "workers": 0, "threads": 1}
    >>> plan = {"source": str(videos), "data": str(videos), "seeds": [0], "common": settings, "num_clips": 1}
    >>> unreel.sweep(plan, out).failures
    {}
    """
    folder, made = prepare_sweep(plan, out, jobs)
    return run_sweep(folder, made, jobs, csv, latex, on_end)


def run_sweep(
    out: Path,
    plan: SweepPlan,
    jobs: int = 1,
    csv: str | Path | None = None,
    latex: str | Path | None = None,
    on_end: Callable[[str, int, int], None] = lambda name, done, total: None,
    launch: Launch = launch_processes,
) -> SweepOutcome:
    """Run the members that are not finished, and collect the table. Raises UnreelError."""
    require_same_sources(out, plan)
    numbers = [n for n, member in enumerate(plan.members) if not is_finished(out, member)]
    ended = len(plan.members) - len(numbers)

    def count_ended(number: int) -> None:
        nonlocal ended
        ended += 1
        on_end(plan.members[number].name, ended, len(plan.members))

    with lock_folder(out, "runs a sweep"):
        try:
            launch(out, plan, numbers, jobs, count_ended)
        except KeyboardInterrupt as stop:
            raise KeyboardInterrupt(f"stopped; what is finished is kept, go on with: unreel sweep {out}") from stop
        outcome = collect_outcome(out, plan)
        with disk_errors(out, "the table can't be written"):
            write_outcome(out, plan, outcome)
    if outcome.comparison is not None:
        write_table_files(outcome.comparison, csv, latex)
    return outcome


def prepare_sweep(given: str | Path | Mapping[str, Any], out: str | Path | None, jobs: int) -> tuple[Path, SweepPlan]:
    """The folder of a sweep and its plan, checked: nothing has run where something can't work. Raises UnreelError."""
    if jobs < 1:
        raise InputError(f"--jobs is 1 or more, got {jobs}")
    if isinstance(given, str | Path) and (Path(given) / PLAN_FILE).is_file():
        return Path(given), read_plan(Path(given))
    if isinstance(given, str | Path) and Path(given).is_dir():
        raise RunError(f"{given} holds no sweep (no {PLAN_FILE}); give the file of a sweep, or --data to train on it")
    if out is None:
        raise InputError("a sweep needs a folder for its runs and tables: --out OUT")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    tables = given if isinstance(given, Mapping) else read_sweep_file(Path(given))
    folder, plan = Path(out), replace(build_plan(tables), threads=max(1, cores // jobs))
    check_plan(plan)
    load_labelled_videos(Path(plan.data), plan.label_sources)
    plan = join_plans(folder, plan)
    manifest = load_manifest(folder, plan)
    check_with_videos(plan, manifest)
    manifest.save(folder / VIDEOS)
    with disk_errors(folder, "the sweep can't be written"):
        atomic_write_text(folder / PLAN_FILE, format_json(plan.to_json()) + "\n")
    return folder, plan


def read_plan(out: Path) -> SweepPlan:
    """The plan of a sweep's folder. Raises RunError for one that this version can't read."""
    path = out / PLAN_FILE
    try:
        return SweepPlan.from_json(parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is not the plan of a sweep that this version reads ({error})") from error


def join_plans(out: Path, plan: SweepPlan) -> SweepPlan:
    """The plan with the threads of the sweep that is in the folder already, if there is one.

    Raises RunError where that has other videos or evaluations, or a member of the same name has other options.
    """
    if not (out / PLAN_FILE).exists():
        if out.exists() and (not out.is_dir() or any(path.name != VIDEOS for path in out.iterdir())):
            raise RunError(f"{out} exists already and holds no sweep; nothing was changed: choose another --out")
        return plan
    before = read_plan(out)
    for name in ("source", "root", "data", "labels", "evaluate", "num_clips", "floors"):
        old, new = getattr(before, name), getattr(plan, name)
        if old != new:
            raise RunError(f"{out}: the sweep there has {name} {old!r}, this one {new!r}; choose another --out")
    known = {member.name: member for member in before.members}
    for member in plan.members:
        old_member = known.get(member.name, member)
        if old_member != member:
            raise RunError(
                f"{out}: '{member.name}' was made with {old_member.method} {old_member.options}, now it is "
                f"{member.method} {member.options}; choose another --out"
            )
    return replace(plan, threads=before.threads)


def load_manifest(out: Path, plan: SweepPlan) -> Manifest:
    """The videos to train on: those of the sweep in the folder, else inspected now. Raises InputError."""
    if (out / PLAN_FILE).is_file():
        return Manifest.load(out / VIDEOS)
    return inspect(Path(real_path(Path(plan.source))), Path(plan.root) if plan.root else None)


def check_with_videos(plan: SweepPlan, manifest: Manifest) -> None:
    """Raise InputError where a row's options do not fit the number of its videos."""
    for member in list_first_members(plan.members):
        try:
            config = resolve_config(member.build_config())
            require_usable(manifest, config.settings.max_bad_share)
            instances = build_instances(manifest, config.settings.segment_s)
            training, _ = split_held_out(instances, config.settings.held_out, config.settings.seed)
            config.options.check(config.settings, len(training))
        except UnreelError as error:
            text = str(error)
            raise InputError(text if text.startswith("setting '") else f"setting '{member.row}': {text}") from error
