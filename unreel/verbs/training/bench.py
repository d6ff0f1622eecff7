"""Where a training step's time goes on this machine and these videos."""

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unreel.corpus.manifest import Manifest
from unreel.errors import InputError
from unreel.io.limits import use_limits
from unreel.methods.registry import DEFAULT_METHOD
from unreel.profiling.ab_compare import Comparison, compare_in_turns, parse_changes
from unreel.profiling.bottleneck import Advice, find_bottleneck
from unreel.profiling.measure import BenchOptions, ReportStage, measure_job, time_loop
from unreel.profiling.packing_estimate import measure_packing
from unreel.profiling.step_timings import LoopTiming, StepTimings
from unreel.profiling.videos import select_videos
from unreel.training.batches import build_training_limits
from unreel.training.dry_run import validate_config
from unreel.training.job import TrainingJob, build_training_job
from unreel.training.method_contract import explain_own_errors
from unreel.training.run_folder.config import RunConfig, build_run_config
from unreel.training.runtime.auto_settings import resolve_config
from unreel.training.runtime.fabric import use_torch_threads
from unreel.training.runtime.launch import Launch, count_processes
from unreel.training.train_step import TrainingSetup, setup_training

UNREACHED_STEPS = 10**6  # steps of a run that never ends, so that the learning rate stays at its start


@dataclasses.dataclass
class BenchResult:
    """Timings and advice, or a comparison of two configurations."""

    timings: StepTimings | None = None
    advice: Advice | None = None
    comparison: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; `bottleneck` names the slowest part and says what to change."""
        if self.comparison is not None:
            return {"against": self.comparison.to_json()}
        assert self.timings is not None and self.advice is not None
        return self.timings.to_json() | {"bottleneck": self.advice._asdict()}


def bench(
    source: str | Path | None = None,
    method: str = DEFAULT_METHOD,
    against: str = "",
    bench_options: BenchOptions = BenchOptions(),  # noqa: B008  # frozen
    **options: Any,
) -> BenchResult:
    """Measure where the time of training goes on this machine and these videos; nothing is kept.

    Args:
        source: videos as in `pretrain`; synthetic ones if not given.
        method: name of a method or preset.
        against: fields with other values, e.g. "batch_size=32,workers=2"; the loop then runs with both in alternation.
        bench_options: how many steps and videos to measure.
        options: fields of the method's Config or of Settings.

    Returns:
        Timings in seconds with advice, or the comparison if `against` is given.

    Raises:
        InputError: options or videos can't be used, or there is more than one process.

    >>> few = unreel.BenchOptions(num_rounds=1, loop_steps=1, max_videos=4)
    >>> result = unreel.bench(videos, bench_options=few, batch_size=2, size=32, workers=0)
    >>> result.timings.step_s > 0
    True
    """
    run_config = build_run_config(method, options)
    return bench_config(Path(source) if source else None, run_config, against, bench_options)


def bench_config(
    source: Path | None,
    run_config: RunConfig,
    against: str = "",
    bench_options: BenchOptions = BenchOptions(),  # noqa: B008  # frozen
    report_stage: ReportStage = lambda _: None,
) -> BenchResult:
    """`bench` with the method's options in their dataclasses."""
    changes = parse_changes(against, (run_config.options, run_config.settings)) if against else {}
    run_configs = [resolve_bench_config(run_config)]
    if changes:
        run_configs.append(resolve_bench_config(run_config.replace(**changes)))
    limits = build_training_limits(run_config.settings)
    with (
        explain_own_errors(run_config),
        use_limits(limits),
        tempfile.TemporaryDirectory(prefix="unreel-bench-") as name,
    ):
        temporary = Path(name)
        report_stage("videos")
        manifest, data = select_videos(source, temporary, bench_options.max_videos)
        jobs = [build_bench_job(temporary / str(n), manifest, config) for n, config in enumerate(run_configs)]
        if changes:
            return BenchResult(comparison=compare_jobs(jobs, changes, bench_options, report_stage))
        timings = measure_job(jobs[0], bench_options, data, report_stage)
        report_stage("packing a few videos")
        if not data.get("packed"):
            size = run_configs[0].settings.size
            timings.packing_speedup, timings.pack_s_per_video = measure_packing(manifest, size, temporary)
        return BenchResult(timings, find_bottleneck(timings))


def resolve_bench_config(run_config: RunConfig) -> RunConfig:
    """The configuration with "auto" resolved, for a run that never ends. Raises InputError where it can't work."""
    resolved = resolve_config(run_config.replace(steps=UNREACHED_STEPS))
    validate_config(resolved)
    return resolved


def build_bench_job(run_folder: Path, manifest: Manifest, run_config: RunConfig) -> TrainingJob:
    """A job with a folder of its own for the loop's log."""
    settings = run_config.settings
    if count_processes(settings) != Launch(1, 1):
        raise InputError("bench measures one process; leave --devices at 1, and start it without torchrun or srun")
    run_folder.mkdir()
    job = build_training_job(run_folder, manifest, run_config)
    if len(job.instances) < job.videos_per_step:
        raise InputError(
            f"{len(job.instances)} instances make no batch of {settings.batch_size}; give more videos or lower "
            "--batch-size"
        )
    return job


def compare_jobs(
    jobs: list[TrainingJob], changes: dict[str, Any], bench_options: BenchOptions, report_stage: ReportStage
) -> Comparison:
    """Run the loop of both jobs in alternation."""

    def build_runner(setup: TrainingSetup) -> Callable[[], tuple[int, LoopTiming]]:
        def run() -> tuple[int, LoopTiming]:
            with use_torch_threads(setup.job.settings.threads):
                report_stage("the loop with both settings in alternation")
                return setup.job.settings.batch_size, time_loop(setup, bench_options.loop_steps)

        return run

    baseline, variant = (build_runner(setup_training(job)) for job in jobs)
    return compare_in_turns(baseline, variant, bench_options.num_rounds, changes)
