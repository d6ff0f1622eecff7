"""Where a training step's time goes on this machine and these videos."""

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unreel.corpus.discovery import find_videos
from unreel.corpus.inspection import inspect, require_usable
from unreel.corpus.manifest import Manifest
from unreel.corpus.synthetic_motion import make_set
from unreel.errors import InputError
from unreel.methods.registry import DEFAULT_METHOD
from unreel.packing.pack import pack
from unreel.packing.pack_settings import PackSettings
from unreel.packing.speedup import Speedup, measure_speedup
from unreel.profiling.ab_compare import Comparison, compare_in_turns, parse_changes
from unreel.profiling.bottleneck import Advice, find_bottleneck
from unreel.profiling.measure import BenchOptions, measure_job, time_loop
from unreel.profiling.step_timer import TrainingSetup
from unreel.profiling.step_timings import StepTimings
from unreel.settings import RuntimeSettings, Settings
from unreel.training.loop import TrainingJob, setup_training
from unreel.training.runtime.auto_settings import count_processes, resolve_auto
from unreel.verbs.pretrain import apply_options, build_training_job, check_choices, validate_config
from unreel.video.sources.paths import is_packed_corpus, real_path

UNREACHED_STEPS = 10**6  # steps of a run that is never finished, so that the learning rate stays where it begins
MAX_PACKED_VIDEO_S, NUM_PACKED_VIDEOS = 60.0, 3  # a few videos that are not longer are packed, to see what that gains
NUM_SYNTHETIC_VIDEOS = 48  # made videos, when no data are given
ReportStage = Callable[[str], None]


@dataclasses.dataclass
class BenchResult:
    """What `bench` found: figures and advice, or two settings side by side."""

    timings: StepTimings | None = None
    advice: Advice | None = None
    comparison: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; `bottleneck` names the part and says what to change."""
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
    """Time the training of a method on a folder or list of videos, or on made ones without; nothing is kept.

    `options` are fields of the method's Config or of Settings. `against` is a list of fields with other values
    ("batch_size=32,workers=2"): then the loop runs with both in turn. Raises UnreelError.
    """
    config, settings = apply_options(method, options)
    return bench_config(Path(source) if source else None, method, config, settings, against, bench_options)


def bench_config(
    source: Path | None,
    method: str,
    config: Any,
    settings: Settings,
    against: str = "",
    bench_options: BenchOptions = BenchOptions(),  # noqa: B008  # frozen
    report_stage: ReportStage = lambda _: None,
) -> BenchResult:
    """`bench` with the method's options in their dataclasses."""
    changes = parse_changes(against, (config, settings)) if against else {}
    pairs = [(config, settings)] + ([apply_changes(config, settings, changes)] if changes else [])
    filled = [(c, resolve_auto(dataclasses.replace(s, steps=UNREACHED_STEPS))) for c, s in pairs]
    for each in filled:
        validate_config(*each)
    with tempfile.TemporaryDirectory(prefix="unreel-bench-") as aside:
        report_stage("videos")
        manifest, data = select_videos(source, Path(aside), bench_options.max_videos)
        require_usable(manifest, settings.max_bad_share)
        jobs = [build_bench_job(Path(aside) / str(n), manifest, method, *each) for n, each in enumerate(filled)]
        if changes:
            return BenchResult(comparison=compare_jobs(jobs, changes, bench_options, report_stage))
        found = measure_job(jobs[0], bench_options, data, report_stage)
        report_stage("packing a few videos")
        if not data.get("packed"):
            found.packing_speedup, found.pack_s_per_video = measure_packing(manifest, filled[0][1].size, Path(aside))
        return BenchResult(found, find_bottleneck(found))


def measure_packing(manifest: Manifest, size: int, temporary_folder: Path) -> tuple[Speedup | None, float]:
    """What packing gains on a few short videos, and the seconds it takes for one; None where all are long."""
    short = [video.path for video in manifest.drop_duplicates() if video.duration_s <= MAX_PACKED_VIDEO_S]
    few = (
        [short[len(short) * k // NUM_PACKED_VIDEOS] for k in range(NUM_PACKED_VIDEOS)]
        if len(short) >= NUM_PACKED_VIDEOS
        else short
    )
    if not few:
        return None, 0.0
    listed, out = temporary_folder / "few.txt", temporary_folder / "packed"
    listed.write_text("".join(f"{path}\n" for path in few))
    began_s = time.perf_counter()
    pack(listed, out, PackSettings(short_side=128 if size <= 112 else 256), Path("/"))
    took_s = time.perf_counter() - began_s
    return measure_speedup(out, Path("/")), took_s / len(few)


def apply_changes(config: Any, settings: Settings, changes: dict[str, Any]) -> tuple[Any, Settings]:
    """The dataclasses with the fields that they know replaced. Raises InputError for a value they refuse."""
    parts = []
    for part in (config, settings):
        own = {f.name for f in dataclasses.fields(part)}
        parts.append(dataclasses.replace(part, **{n: v for n, v in changes.items() if n in own}))
        check_choices(parts[-1])
    return parts[0], parts[1]


def select_videos(source: Path | None, temporary_folder: Path, max_videos: int) -> tuple[Manifest, dict[str, Any]]:
    """At most so many videos, evenly spread over the source, or made ones; and what the figures say of them."""
    if source is None:
        make_set(temporary_folder / "videos", classes=4, videos=NUM_SYNTHETIC_VIDEOS // 4)
        return inspect(temporary_folder / "videos", check="fast", shots=False), {
            "source": "synthetic",
            "videos": NUM_SYNTHETIC_VIDEOS,
        }
    source = Path(real_path(source))
    packed = is_packed_corpus(source)
    manifest = inspect(
        *((source, None) if packed else sample_videos(source, temporary_folder, max_videos)), check="fast", shots=False
    )
    return manifest, {"source": str(source), "videos": len(manifest.videos), "packed": packed}


def sample_videos(source: Path, temporary_folder: Path, max_videos: int) -> tuple[Path, Path | None]:
    """The source itself when it is small, else a list of some of its videos: looking into each takes a while."""
    try:
        found = [str(item.path.absolute()) for item in find_videos(source)]
    except InputError:
        return source, None  # what `inspect` makes of it
    if len(found) <= max_videos:
        return source, None
    few = [found[len(found) * k // max_videos] for k in range(max_videos)]
    listed = temporary_folder / "some.txt"
    listed.write_text("".join(f"{path}\n" for path in few))
    return listed, Path("/")


def build_bench_job(run_folder: Path, manifest: Manifest, method: str, config: Any, settings: Settings) -> TrainingJob:
    """A job with a folder of its own for the loop's log."""
    if count_processes(settings) != (1, 1):
        raise InputError("the bench looks at one process; leave --devices at 1, and start it without torchrun or srun")
    run_folder.mkdir()
    job = build_training_job(run_folder, manifest, method, config, settings)
    if len(job.instances) < job.videos_per_step:
        raise InputError(
            f"{len(job.instances)} instances make no batch of {settings.batch_size}; give more videos or lower "
            "--batch-size"
        )
    return job


def compare_jobs(
    jobs: list[TrainingJob], changes: dict[str, Any], bench_options: BenchOptions, report_stage: ReportStage
) -> Comparison:
    """The loop of both jobs in turn."""
    trainers = [TrainingSetup(job, *setup_training(job)) for job in jobs]

    def runner(trainer: TrainingSetup) -> Callable[[], tuple[int, Any]]:
        def run() -> tuple[int, Any]:
            with use_torch_threads(trainer.job.settings):
                report_stage("the loop of both settings in turn")
                return trainer.job.settings.batch_size, time_loop(trainer, bench_options.loop_steps)

        return run

    return compare_in_turns(runner(trainers[0]), runner(trainers[1]), bench_options.num_rounds, changes)


@contextmanager
def use_torch_threads(settings: RuntimeSettings) -> Iterator[None]:
    """Torch's threads as a run of these settings has them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
