"""One member of a sweep: trained from where it stopped, evaluated, and what became of it."""

import contextlib
import dataclasses
import os
import traceback
from collections.abc import Iterator
from pathlib import Path

from unreel.corpus.manifest import Manifest
from unreel.embedding import VideoEncoder, load_encoder
from unreel.errors import InputError, RunError, UnreelError
from unreel.evaluation.labelled_videos import load_labelled_videos
from unreel.evaluation.suite import run_evaluations
from unreel.io.atomic_write import atomic_folder, atomic_write_text, disk_errors
from unreel.io.file_lock import wait_for_lock
from unreel.io.text import format_json, format_path
from unreel.models.registry import TWIN_2D_SUFFIX
from unreel.own_code.copies import list_changed_originals
from unreel.report.results_file import RESULTS_FILE
from unreel.training.run_folder.config import CONFIG_FILE, RunConfig
from unreel.training.run_folder.creation import is_unbegun
from unreel.training.runtime.auto_settings import choose_device
from unreel.training.runtime.fabric import use_torch_threads
from unreel.verbs.evaluation.evaluate_all import build_summary
from unreel.verbs.sweep.plan import Member, SweepPlan
from unreel.verbs.training.inflate import inflate
from unreel.verbs.training.pretrain import start_run
from unreel.verbs.training.resume import resume_run

ENDING_LIMIT_S = 30.0  # of a member whose sweep was killed
RUNS, EVALUATIONS, FAILURES, LOGS, VIDEOS = "runs", "evaluations", "failures", "logs", "videos"


def is_finished(out: Path, member: Member) -> bool:
    """Whether a member is trained and evaluated."""
    return (out / EVALUATIONS / member.name / RESULTS_FILE).exists()


def require_same_sources(out: Path, plan: SweepPlan) -> None:
    """Raise InputError where code of one's own is another than the runs of this sweep were trained with: seeds of one
    row have one source. Runs that have saved no step are started over, so they don't count."""
    for member in plan.members:
        run = out / RUNS / member.name
        if is_unbegun(run) or not (changed := list_changed_originals(run)):
            continue
        raise InputError(
            f"{format_path(str(changed[0]))} has changed since {member.name} was trained, and seeds of one row have "
            f"one source: put it back as it was, take another --out, or remove {run} and "
            f"{out / EVALUATIONS / member.name}, and those of its other seeds"
        )


def run_member(out: Path, plan: SweepPlan, member: Member) -> bool:
    """Train and evaluate a member, as far as that is not done; False where it failed, which FAILURES then explains.

    Whatever an own method raises ends this member alone. Ctrl-C and SIGTERM are no failures: they are raised.
    """
    failure = out / FAILURES / f"{member.name}.txt"
    failure.unlink(missing_ok=True)
    try:
        with hold_member(out, member):
            if not is_finished(out, member):
                train_member(out, plan, member)
                evaluate_member(out, plan, member)
        return True
    except Exception as error:  # kept with its traceback, and said in the table
        write_failure(failure, error)
        return False


@contextlib.contextmanager
def hold_member(out: Path, member: Member) -> Iterator[None]:
    """Let one process alone run a member; that of a killed sweep, and its loaders, have some seconds to end.

    Raises RunError where they do not.
    """
    (out / LOGS).mkdir(parents=True, exist_ok=True)
    lock = out / LOGS / f"{member.name}.lock"
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(wait_for_lock(lock, timeout_s=ENDING_LIMIT_S))
        except RunError as error:
            problem = f"another process still runs {member.name}, of an earlier start or on another machine"
            raise RunError(f"{problem}; wait for it or end it, then start the sweep again") from error
        yield


def write_failure(path: Path, error: Exception) -> None:
    """The reason in the first line, and for what is no error of a user the traceback."""
    reason = str(error) if isinstance(error, UnreelError) else f"{type(error).__name__}: {error}"
    trace = "" if isinstance(error, UnreelError) else "\n" + "".join(traceback.format_exception(error))
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(path, " ".join(reason.split()) + "\n" + trace)


def build_member_config(plan: SweepPlan, member: Member) -> RunConfig:
    """The configuration that a member is trained with; threads and workers share the cores with other members."""
    config = member.build_config()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shared = {} if "threads" in member.options else {"threads": plan.threads}
    if "workers" not in member.options and plan.threads < cores:
        shared["workers"] = max(1, plan.threads - 1)
    return config.replace(**shared)


def train_member(out: Path, plan: SweepPlan, member: Member) -> None:
    """Train a member to its last step, without a report. Raises KeyboardInterrupt when it was stopped before."""
    run = out / RUNS / member.name
    if (run / CONFIG_FILE).exists() and not is_unbegun(run):
        outcome = resume_run(run, quiet=True, allow_import=True, with_report=False)
    else:
        run.parent.mkdir(parents=True, exist_ok=True)
        config, manifest = build_member_config(plan, member), Manifest.load(out / VIDEOS)
        outcome = start_run(Path(plan.source), run, config, lambda _: manifest, quiet=True, with_report=False)
    if outcome["interrupted"]:
        raise KeyboardInterrupt


def evaluate_member(out: Path, plan: SweepPlan, member: Member) -> None:
    """Evaluate the best checkpoint of a member; writes results.json, which `unreel compare` reads too."""
    run, folder = out / RUNS / member.name, out / EVALUATIONS / member.name
    encoder = load_member_encoder(run).to(choose_device("auto"))
    videos = load_labelled_videos(Path(plan.data), plan.label_sources)
    threads = build_member_config(plan, member).settings.threads
    extraction = dataclasses.replace(plan.extraction, workers=max(0, threads - 1))
    with use_torch_threads(threads):
        suite = run_evaluations(encoder, videos.train, videos.test, plan.build_evaluations(), extraction)
        summary = build_summary(suite, encoder, run, videos) | {"row": member.row}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(folder, "the evaluation can't be written"), atomic_folder(folder) as temporary:
        atomic_write_text(temporary / RESULTS_FILE, format_json(summary) + "\n")


def load_member_encoder(run: Path) -> VideoEncoder:
    """The encoder of a run; a network of single frames is inflated first."""
    encoder = load_encoder(run, allow_import=True)
    if not encoder.spec.backbone.endswith(TWIN_2D_SUFFIX):
        return encoder
    inflated = run / "inflated"
    return load_encoder(inflated) if inflated.exists() else inflate(run, inflated)
