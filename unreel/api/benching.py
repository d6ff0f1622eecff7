"""Where a training step's time goes on this machine and these videos."""

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unreel.api.training import build_job, check_choices, refuse_early, with_options
from unreel.bench.advice import Advice, advice
from unreel.bench.against import Comparison, alternate, read_changes
from unreel.bench.figures import Figures
from unreel.bench.loop import Effort, measure, real_loop
from unreel.bench.step import Trainer
from unreel.errors import InputError
from unreel.methods import DEFAULT
from unreel.settings import Settings
from unreel.training.device import fill_in, processes
from unreel.training.loop import Job, set_up
from unreel.video.addresses import is_packed, is_remote
from unreel.video.gain import Gain, measure_gain
from unreel.video.layouts import find_videos
from unreel.video.manifest import Manifest, inspect, require_usable
from unreel.video.packing import pack
from unreel.video.piece import PackSettings
from unreel.video.synth import make_set

ENDLESS = 10**6  # steps of a run that is never finished, so that the learning rate stays where it begins
SHORT_S, FEW = 60.0, 3  # a few videos that are not longer are packed, to see what that gains
SYNTHETIC = 48  # made videos, when no data are given
Said = Callable[[str], None]


@dataclasses.dataclass
class Bench:
    """What `bench` found: figures and advice, or two settings side by side."""

    figures: Figures | None = None
    advice: Advice | None = None
    comparison: Comparison | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain numbers; `bottleneck` names the part and says what to change."""
        if self.comparison is not None:
            return {"against": self.comparison.to_json()}
        assert self.figures is not None and self.advice is not None
        return self.figures.to_json() | {"bottleneck": self.advice._asdict()}


def bench(
    source: str | Path | None = None,
    method: str = DEFAULT,
    against: str = "",
    effort: Effort = Effort(),  # noqa: B008  # frozen
    **options: Any,
) -> Bench:
    """Time the training of a method on a folder or list of videos, or on made ones without; nothing is kept.

    `options` are fields of the method's Config or of Settings. `against` is a list of fields with other values
    ("batch_size=32,workers=2"): then the loop runs with both in turn. Raises UnreelError.
    """
    config, settings = with_options(method, options)
    return run_bench(Path(source) if source else None, method, config, settings, against, effort)


def run_bench(
    source: Path | None,
    method: str,
    config: Any,
    settings: Settings,
    against: str = "",
    effort: Effort = Effort(),  # noqa: B008  # frozen
    say: Said = lambda _: None,
) -> Bench:
    """`bench` with the method's options in their dataclasses."""
    changes = read_changes(against, (config, settings)) if against else {}
    pairs = [(config, settings)] + ([changed(config, settings, changes)] if changes else [])
    filled = [(c, fill_in(dataclasses.replace(s, steps=ENDLESS))) for c, s in pairs]
    for each in filled:
        refuse_early(*each)
    with tempfile.TemporaryDirectory(prefix="unreel-bench-") as aside:
        say("videos")
        manifest, data = videos(source, Path(aside), effort.max_videos)
        require_usable(manifest, settings.max_bad_share)
        jobs = [job_of(Path(aside) / str(n), manifest, method, *each) for n, each in enumerate(filled)]
        if changes:
            return Bench(comparison=compare(jobs, changes, effort, say))
        found = measure(jobs[0], effort, data, say)
        say("packing a few videos")
        if not data.get("packed"):
            found.packed, found.pack_s = packing(manifest, filled[0][1].size, Path(aside))
        return Bench(found, advice(found))


def packing(manifest: Manifest, size: int, aside: Path) -> tuple[Gain | None, float]:
    """What packing gains on a few short videos, and the seconds it takes for one; None where all are long."""
    short = [video.path for video in manifest.unique() if video.duration_s <= SHORT_S]
    few = [short[len(short) * k // FEW] for k in range(FEW)] if len(short) >= FEW else short
    if not few:
        return None, 0.0
    listed, out = aside / "few.txt", aside / "packed"
    listed.write_text("".join(f"{path}\n" for path in few))
    began_s = time.perf_counter()
    pack(listed, out, PackSettings(short_side=128 if size <= 112 else 256), Path("/"))
    took_s = time.perf_counter() - began_s
    return measure_gain(out, Path("/")), took_s / len(few)


def changed(config: Any, settings: Settings, changes: dict[str, Any]) -> tuple[Any, Settings]:
    """The dataclasses with the fields that they know replaced. Raises InputError for a value they refuse."""
    parts = []
    for part in (config, settings):
        own = {f.name for f in dataclasses.fields(part)}
        parts.append(dataclasses.replace(part, **{n: v for n, v in changes.items() if n in own}))
        check_choices(parts[-1])
    return parts[0], parts[1]


def videos(source: Path | None, aside: Path, most: int) -> tuple[Manifest, dict[str, Any]]:
    """At most so many videos, evenly spread over the source, or made ones; and what the figures say of them."""
    if source is None:
        make_set(aside / "videos", classes=4, videos=SYNTHETIC // 4)
        return inspect(aside / "videos", check="fast", shots=False), {"source": "synthetic", "videos": SYNTHETIC}
    source = source if is_remote(source) else source.resolve()
    packed = is_packed(source)
    manifest = inspect(*((source, None) if packed else sampled(source, aside, most)), check="fast", shots=False)
    return manifest, {"source": str(source), "videos": len(manifest.videos), "packed": packed}


def sampled(source: Path, aside: Path, most: int) -> tuple[Path, Path | None]:
    """The source itself when it is small, else a list of some of its videos: looking into each takes a while."""
    try:
        found = [str(item.path.absolute()) for item in find_videos(source)]
    except InputError:
        return source, None  # what `inspect` makes of it
    if len(found) <= most:
        return source, None
    few = [found[len(found) * k // most] for k in range(most)]
    listed = aside / "some.txt"
    listed.write_text("".join(f"{path}\n" for path in few))
    return listed, Path("/")


def job_of(run: Path, manifest: Manifest, method: str, config: Any, settings: Settings) -> Job:
    """A job with a folder of its own for the loop's log."""
    if processes(settings) != (1, 1):
        raise InputError("the bench looks at one process; leave --devices at 1, and start it without torchrun or srun")
    run.mkdir()
    job = build_job(run, manifest, method, config, settings)
    if len(job.instances) < job.videos_a_step:
        raise InputError(
            f"{len(job.instances)} instances make no batch of {settings.batch_size}; give more videos or lower "
            "--batch-size"
        )
    return job


def compare(jobs: list[Job], changes: dict[str, Any], effort: Effort, say: Said) -> Comparison:
    """The loop of both jobs in turn."""
    trainers = [Trainer(job, *set_up(job)) for job in jobs]

    def runner(trainer: Trainer) -> Callable[[], tuple[int, Any]]:
        def run() -> tuple[int, Any]:
            with threads_of(trainer.job.settings):
                say("the loop of both settings in turn")
                return trainer.job.settings.batch_size, real_loop(trainer, effort.loop_steps)

        return run

    return alternate(runner(trainers[0]), runner(trainers[1]), effort.rounds, changes)


@contextmanager
def threads_of(settings: Settings) -> Iterator[None]:
    """Torch's threads as a run of these settings has them."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(settings.threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
