"""Train an encoder on unlabelled videos, from a folder of videos to a run folder with a report."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from unreel.corpus.held_out import format_paths
from unreel.corpus.inspection import inspect
from unreel.corpus.manifest import Manifest
from unreel.errors import InputError
from unreel.evaluation.run_neighbours import count_embedded_clips
from unreel.evaluation.verdict.label_free import count_judged_clips
from unreel.io.atomic_write import atomic_write_text
from unreel.io.limits import use_limits
from unreel.methods.registry import DEFAULT_METHOD
from unreel.own_code.copies import save_copies
from unreel.training.batches import build_training_limits
from unreel.training.dry_run import dry_run, validate_config
from unreel.training.job import TrainingJob, build_training_job
from unreel.training.loop import train
from unreel.training.method_contract import explain_own_errors
from unreel.training.progress_bar import TrainingProgress
from unreel.training.run_folder.config import RunConfig, build_run_config, read_config
from unreel.training.run_folder.creation import create_run, require_new_folder
from unreel.training.run_folder.earlier_config import free_length, load_earlier_config
from unreel.training.run_folder.run_provenance import write_run_provenance
from unreel.training.run_length.length_choice import CommandClock
from unreel.training.runtime.auto_settings import resolve_config
from unreel.training.runtime.distributed import ProcessGroup, leave_process_group
from unreel.training.runtime.launch import require_enough_instances
from unreel.training.runtime.processes import lock_run, run_processes
from unreel.verbs.training.report import report
from unreel.video.sources.paths import real_path

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class RunOutcome(TypedDict):
    """How a run ended: steps done, the best checkpoint, whether it was stopped early, and this process's rank."""

    step: int
    best_step: int | None
    best_mrr: float
    interrupted: bool
    rank: int


def pretrain(
    source: str | Path,
    out: str | Path,
    method: Any = DEFAULT_METHOD,
    root: str | Path | None = None,
    quiet: bool = False,
    config: str | Path | None = None,
    **options: Any,
) -> RunOutcome:
    """Train an encoder on unlabelled videos; the run folder `out` then holds the encoder, the curves and a report.

    Args:
        source: a folder of videos, a text file of paths, a CSV or a packed corpus; or synthetic://all, clips that are
            drawn while the run trains, and e.g. synthetic://no-camera,no-light without these.
        out: folder of the run; must not exist yet, or be empty.
        method: name of a method or preset (`unreel methods` lists them); or your own: path/to/file.py:preset,
            module:preset, or the module, class or preset itself.
        root: folder that the paths of a list are relative to.
        quiet: print nothing while training.
        config: a run, or a file (.toml, .json, .yaml) with method and options, whose values hold where `options` has
            none.
        options: fields of the method's Config or of Settings, e.g. minutes=30, batch_size=32. A network, view or
            augmentation of your own is given by its name or as the class or function itself.

    Returns:
        The last state: step, best_step, best_mrr, interrupted, rank.

    Raises:
        InputError: videos or options can't be used.
        RunError: `out` is not empty.
        NonFiniteError: the loss diverges.
        DiskError: the disk is full.

    >>> outcome = unreel.pretrain(videos, out, steps=2, batch_size=4, size=32, workers=0, quiet=True)
    >>> outcome["step"]
    2
    """
    root = Path(root) if root else None
    run_config = change_earlier_config(Path(config), method, options) if config else build_run_config(method, options)
    return start_run(Path(source), Path(out), run_config, lambda path: inspect(path, root), quiet)


def change_earlier_config(source: Path, method: str, options: dict[str, Any]) -> RunConfig:
    """The configuration of a run or a file with some options changed. Raises InputError for another method."""
    earlier = load_earlier_config(source)
    if method not in (DEFAULT_METHOD, earlier.method):
        raise InputError(f"{source} is of the method {earlier.method}, not of {method}; leave the method out")
    build_run_config(earlier.method, options)  # refuses unknown names, and two lengths
    lengths = [name for name in ("minutes", "steps", "epochs") if options.get(name)]
    return free_length(earlier, lengths).replace(**options)


def start_run(
    source: Path,
    out: Path,
    run_config: RunConfig,
    inspect_source: Callable[[Path], Manifest] = inspect,
    quiet: bool = False,
    with_report: bool = True,
) -> RunOutcome:
    """A new run: inspect, write the folder, train, report. Of several processes rank 0 does all but training.

    `inspect_source` gives the manifest of the source, by its path without links; it is called on rank 0 only.
    """
    began_s = time.monotonic()
    run_config = resolve_config(run_config)
    with explain_own_errors(run_config):
        validate_config(run_config)
    limits = build_training_limits(run_config.settings)
    with explain_own_errors(run_config), use_limits(limits), run_processes(run_config.settings, out) as (fabric, group):
        jobs: list[TrainingJob] = []  # of rank 0; a job can't be sent to other processes
        group.on_rank_zero(lambda: jobs.append(prepare_run(source, out, run_config, inspect_source, group.world_size)))
        with lock_run(out, group):
            job = jobs[0] if jobs else load_training_job(out)
            return train_and_report(job, False, quiet, fabric, group, began_s, with_report)


def prepare_run(
    source: Path,
    out: Path,
    run_config: RunConfig,
    inspect_source: Callable[[Path], Manifest],
    world_size: int,
) -> TrainingJob:
    """Inspect the videos, build the job, try it on one clip, then make the run folder. Raises before it is made."""
    require_new_folder(out)
    source = Path(real_path(source))
    manifest = inspect_source(source)
    job = build_training_job(out, manifest, run_config)
    require_enough_instances(len(job.instances), world_size)
    dry_run(job)
    create_run(out, job.run_config.to_json(source), lambda folder: write_data_files(folder, manifest, job, source))
    return job


def load_training_job(run: Path) -> TrainingJob:
    """The job of a new run that rank 0 has prepared."""
    return build_training_job(run, Manifest.load(run), RunConfig.from_json(read_config(run)))


def write_data_files(folder: Path, manifest: Manifest, job: TrainingJob, source: Path) -> None:
    """The manifest, the paths of the held-out videos, copies of code of one's own, and what made the run."""
    manifest.save(folder)
    save_copies(folder, job.run_config.code_names)
    write_run_provenance(folder, job.run_config, manifest, source)
    paths = sorted({instance.path for instance in job.held_out})
    atomic_write_text(folder / "held_out.txt", format_paths(paths))


def train_and_report(
    job: TrainingJob,
    resume: bool,
    quiet: bool,
    fabric: "Fabric",
    group: ProcessGroup,
    began_s: float,
    with_report: bool = True,
) -> RunOutcome:
    """Train, then write the report, unless training was stopped early. `began_s`: when the command began."""
    num_training, num_held_out = len(job.instances), len(job.held_out)
    report_clips = count_embedded_clips(num_training + num_held_out) + count_judged_clips(num_held_out, num_training)
    clock = CommandClock(began_s, report_clips if with_report else 0)
    train(job, resume, quiet, fabric, group, clock)
    interrupted = not job.is_finished
    if with_report and not interrupted:
        progress = TrainingProgress(job.total_steps, job.state.step, quiet or not group.is_rank_zero)
        progress.print_message("the encoder is now judged and the report written; this can take some minutes")
        group.on_rank_zero(lambda: report(job.run_folder))
    leave_process_group(group)
    state = job.state
    return RunOutcome(
        step=state.step,
        best_step=state.best_step,
        best_mrr=state.best_mrr,
        interrupted=interrupted,
        rank=group.rank,
    )
