"""From a folder of videos to a trained run, and on with one that was stopped."""

import contextlib
import dataclasses
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import nn

from unreel.corpus.inspection import inspect, require_usable
from unreel.corpus.manifest import Manifest
from unreel.corpus.segments import build_instances
from unreel.errors import InputError, RunError, unknown_name_error
from unreel.io.atomic_write import atomic_write_text
from unreel.io.file_lock import lock_folder
from unreel.methods.registry import DEFAULT_METHOD, load_method_module, load_preset
from unreel.models.encoder.checkpoint_files import read_spec
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.models.inflate import inflate, read_2d_weights
from unreel.models.registry import (
    TRANSFORMERS_PREFIX,
    build_backbone,
    find_builder,
    is_builtin_backbone,
    is_import_path,
)
from unreel.report.pages.run_page import write_report
from unreel.settings import Settings
from unreel.training.loop import TrainingJob, build_clip_spec, train
from unreel.training.monitors import split_held_out
from unreel.training.run_folder.checkpoint import (
    find_last_checkpoint,
    has_checkpoint,
    rewind_to_step,
)
from unreel.training.run_folder.creation import (
    CONFIG_FILE,
    build_config,
    create_run,
    read_config,
    require_new_folder,
)
from unreel.training.runtime.auto_settings import build_fabric, count_processes, resolve_auto
from unreel.training.runtime.distributed import (
    ProcessGroup,
    join_process_group,
    leave_process_group,
    require_divisible_batch,
    require_enough_instances,
)
from unreel.training.runtime.heartbeat import report_failure_once
from unreel.types import Clips
from unreel.video.sources.paths import real_path
from unreel.views.residual_frames import ResidualSpec

if TYPE_CHECKING:
    from lightning.fabric import Fabric

UNKNOWN_NUM_INSTANCES = 10**9  # instances, where their number is not known yet


def pretrain(
    source: str | Path,
    out: str | Path,
    method: str = DEFAULT_METHOD,
    root: str | Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Train an encoder on unlabelled videos; the run folder `out` then holds the encoder, the curves and a report.

    `source` is a folder, a text file of paths, a CSV or a packed corpus; `options` are fields of the method's Config or
    of Settings. Returns the last state: step, best_step, best_mrr, interrupted. Raises UnreelError.
    """
    config, settings = apply_options(method, options)
    return start_run(Path(source), Path(out), method, config, settings, Path(root) if root else None, quiet)


def apply_options(method: str, options: dict[str, Any]) -> tuple[Any, Settings]:
    """A preset's Config and Settings with some fields replaced. Raises InputError for one that neither has."""
    config, settings = load_preset(method)
    own = {f.name for f in dataclasses.fields(config)}
    common = {f.name for f in dataclasses.fields(settings)}
    for name in options:
        if name not in own | common:
            raise unknown_name_error("option", name, own | common)
    config = dataclasses.replace(config, **{n: v for n, v in options.items() if n in own})
    settings = dataclasses.replace(settings, **{n: v for n, v in options.items() if n in common})
    for part in (config, settings):
        check_choices(part)
    return config, settings


def check_choices(config: Any) -> None:
    """Raise InputError when a field that names one of several things names none of them."""
    for name, hint in get_type_hints(type(config)).items():
        if get_origin(hint) is Literal and getattr(config, name) not in get_args(hint):
            raise unknown_name_error(name, str(getattr(config, name)), map(str, get_args(hint)))


def start_run(
    source: Path,
    out: Path,
    method: str,
    config: Any,
    settings: Settings,
    root: Path | None = None,
    quiet: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """A new run: inspect, write the folder, train, report. Of several processes the first one does all but training."""
    settings = resolve_auto(settings)
    validate_config(config, settings)
    source = Path(real_path(source))
    made: list[TrainingJob] = []

    def prepare() -> None:
        require_new_folder(out)
        manifest = inspect(source, root, on_progress=on_progress)
        require_usable(manifest, settings.max_bad_share)
        job = build_training_job(out, manifest, method, config, settings)
        require_enough_instances(len(job.instances), team.world_size)
        dry_run(job)
        held_out = "".join(f"{path}\n" for path in sorted({i.path for i in job.held_out}))

        def fill(folder: Path) -> None:
            manifest.save(folder)
            atomic_write_text(folder / "held_out.txt", held_out)

        create_run(out, build_config(method, source, config, settings), fill)
        made.append(job)

    with run_processes(settings, out) as (fabric, team):
        team.on_rank_zero(prepare)
        with lock_run(out, team):
            job = made[0] if made else build_training_job(out, Manifest.load(out), method, config, settings)
            return train_and_report(job, False, quiet, fabric, team)


@contextlib.contextmanager
def lock_run(run_folder: Path, group: ProcessGroup) -> Iterator[None]:
    """One run at a time in a folder; of several processes the first one holds it."""
    with contextlib.ExitStack() as lock:
        group.on_rank_zero(lambda: lock.enter_context(lock_folder(run_folder)))
        yield


@contextlib.contextmanager
def run_processes(settings: Settings, run_folder: Path) -> Iterator[tuple["Fabric", ProcessGroup]]:
    """The engine and the processes; what ends one of them ends all, with one reason, Ctrl-C and SIGTERM too."""
    with explain_interruption(run_folder):
        fabric, team = join_processes(settings, run_folder)
        with report_failure_once(team.heartbeat):
            yield fabric, team


@contextlib.contextmanager
def explain_interruption(run_folder: Path) -> Iterator[None]:
    """SIGTERM ends like Ctrl-C, and both say how to go on; while it trains the loop has its own way with them."""
    with contextlib.ExitStack() as handled:
        with contextlib.suppress(ValueError):  # not the main thread: leave signals alone
            before = signal.signal(signal.SIGTERM, signal.default_int_handler)
            handled.callback(signal.signal, signal.SIGTERM, before)
        try:
            yield
        except KeyboardInterrupt as stop:
            begun = (run_folder / CONFIG_FILE).exists()
            how = f"go on with: unreel pretrain --resume {run_folder}" if begun else "run the same command again"
            raise KeyboardInterrupt(f"stopped; what is saved is whole, {how}") from stop


def join_processes(settings: Settings, run_folder: Path) -> tuple["Fabric", ProcessGroup]:
    """The engine, and this process among those that were started with it."""
    here, nodes = count_processes(settings)
    require_divisible_batch(settings, here * nodes)
    fabric = build_fabric(settings)
    return fabric, join_process_group(
        fabric, settings.silence_limit_s, f"go on with: unreel pretrain --resume {run_folder}"
    )


def validate_config(config: Any, settings: Settings) -> None:
    """What can't work whatever the videos are, before hours are spent on reading them."""
    config.check(settings, num_instances=UNKNOWN_NUM_INSTANCES)
    config.view_spec(settings.size)
    find_builder(settings.backbone)
    if settings.init and not Path(settings.init).exists():
        raise InputError(f"--init {settings.init}: no such file or run")


def dry_run(job: TrainingJob) -> None:
    """Send one black clip through views and network, so that what can't work is refused before a run is made."""
    spec, backbone = job.encoder.spec, job.encoder.backbone
    shape = (1, job.recipe.num_clips, spec.clip.total_frames, *spec.views.resize_hw, 3)
    first = torch.zeros(1, dtype=torch.int64)
    clips = Clips(torch.zeros(shape, dtype=torch.uint8), first, first, first.float(), epoch=0)
    backbone.eval()
    what = f"{spec.clip.num_frames} frames of {spec.views.size} x {spec.views.size}"
    try:
        with torch.inference_mode():
            view = job.recipe(clips).tensors["view1"]
            eaten = backbone(view).shape[2] == 1 and exceeds_temporal_stride(backbone, view, spec.backbone)
    except RuntimeError as error:
        if is_builtin_backbone(spec.backbone):
            small = f"{what} are too few or too small for {spec.backbone}; raise --num-frames or --size"
            raise InputError(small) from error
        raise InputError(f"{what} make an error in {spec.backbone} ({str(error).splitlines()[0]})") from error
    if eaten:
        raise InputError(f"{what} are too few for {spec.backbone}, whose stride in time is longer; raise --num-frames")


def exceeds_temporal_stride(backbone: nn.Module, view: torch.Tensor, name: str) -> bool:
    """Whether even a clip of twice the length (B, C, 2T, H, W) leaves a single moment: the stride is above T.

    A clip of one frame is not meant to have time, and a foreign network takes no other length.
    """
    if view.shape[2] == 1 or not is_builtin_backbone(name):
        return False
    return backbone(torch.cat([view, view], dim=2)).shape[2] == 1


def resume(
    run: str | Path,
    quiet: bool = False,
    allow_import: bool = False,
    devices: int = 0,
    shard: Literal["as-before", "on", "off"] = "as-before",
    step: int | None = None,
) -> dict[str, Any]:
    """Go on with a run that was stopped, to the bit on a CPU; needs nothing but its folder.

    `devices` processes (0: as many as before) go on in the same order, from the checkpoint of `step` or the last one,
    with weights in each or spread over them (`shard`).
    A run with a network or method of your own is imported again, and so run as code, only with `allow_import`.
    """
    run = Path(run)
    saved = read_config(run)
    require_trusted_imports(run, saved, allow_import)
    config, settings = parse_run_config(saved)
    settings = adapt_settings(settings, devices or settings.devices, settings.shard if shard == "as-before" else shard)
    with run_processes(settings, run) as (fabric, team), lock_run(run, team):
        if step is not None:
            team.on_rank_zero(lambda: rewind_to_step(run, step))
        begun = has_checkpoint(run)  # stopped before the first one, it begins again: same seed, same run
        options = read_spec(find_last_checkpoint(run)).options if begun else None
        job = build_training_job(run, Manifest.load(run), saved["method"], config, settings, options)
        require_enough_instances(len(job.instances), team.world_size)
        return train_and_report(job, begun, quiet, fabric, team)


def adapt_settings(settings: Settings, devices: int, shard: Literal["on", "off"]) -> Settings:
    """Settings of a run that goes on in another number of processes, which share the cores anew, or sharded or not."""
    threads = max(1, settings.threads * settings.devices // devices)
    quick: Any = {"compile": "off", "channels_last": "off", "fused": "off", "read_back": "each-step"}
    changed = quick if shard == "on" and settings.shard == "off" else {}
    return dataclasses.replace(settings, devices=devices, threads=threads, shard=shard, **changed)


def require_trusted_imports(run_folder: Path, run_config: dict[str, Any], allow_import: bool) -> None:
    """A folder must not be able to name code that is then run, unless its owner says so."""
    try:
        method, backbone = str(run_config["method"]), str(run_config["settings"]["backbone"])
    except (KeyError, TypeError) as error:
        raise RunError(
            f"{run_folder / CONFIG_FILE}: no method or no backbone there; the file is not what unreel wrote"
        ) from error
    foreign = {"method": "." in method or ":" in method, "backbone": is_import_path(backbone)}
    for what, name in (("method", method), ("backbone", backbone)):
        if foreign[what] and not allow_import:
            raise RunError(
                f"{run_folder}: its {what} '{name}' is code outside unreel; if you trust it, add --allow-import (in Python "
                "allow_import=True)"
            )


def parse_run_config(run_config: dict[str, Any]) -> tuple[Any, Settings]:
    """Config and Settings of a run from its config.json. Raises RunError when they do not fit this version."""
    try:
        module = load_method_module(run_config["method"])
        options = dict(run_config["options"])
        if isinstance(options.get("residual"), dict):
            options["residual"] = ResidualSpec(**options["residual"])
        settings = dict(run_config["settings"])
        if "drops" in settings:
            settings["drops"] = tuple(settings["drops"])
        return module.Config(**options), Settings(**settings)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise RunError(
            f"the run was made by another version of unreel ({error}); its encoder can be used, but to train start a "
            "new run"
        ) from error


def build_training_job(
    run_folder: Path,
    manifest: Manifest,
    method: str,
    config: Any,
    settings: Settings,
    backbone_options: dict[str, Any] | None = None,
) -> TrainingJob:
    """Network, method, recipe and the instances of a run; the same again when it goes on.

    Then `saved_options` are those that the checkpoint's network was built with, and what it began with is not needed.
    """
    training, held_out = split_held_out(build_instances(manifest, settings.segment_s), settings.held_out, settings.seed)
    config.check(settings, len(training))
    spec = config.view_spec(settings.size)
    torch.manual_seed(settings.seed)  # the weights' initialisation, the one place where torch's own state is used
    options = select_backbone_options(settings) if backbone_options is None else backbone_options
    backbone = build_backbone(settings.backbone, **options)
    if settings.init and backbone_options is None:
        inflate(read_2d_weights(settings.init), backbone)
    clip = build_clip_spec(settings, spec.lead_in)
    encoder = Encoder(EncoderSpec(settings.backbone, method, clip, spec, options), backbone)
    return TrainingJob(
        run_folder=run_folder,
        settings=settings,
        encoder=encoder,
        method=load_method_module(method).Method(backbone, training, config, settings.seed),
        recipe=config.recipe(spec, settings.seed),
        instances=training,
        held_out=held_out,
        num_files=len({v.path for v in manifest.videos} | {bad.path for bad in manifest.quarantine}),
    )


def select_backbone_options(settings: Settings) -> dict[str, Any]:
    """What a network is built with beside its name; kept in the checkpoint."""
    options: dict[str, Any] = {"width": settings.width} if settings.width != 1 else {}
    if settings.backbone.startswith(TRANSFORMERS_PREFIX) or is_import_path(settings.backbone):
        options |= {"size": settings.size, "num_frames": settings.num_frames}
    return options


def train_and_report(
    job: TrainingJob, resume: bool, quiet: bool, fabric: "Fabric", group: ProcessGroup
) -> dict[str, Any]:
    """Train, then write the report."""
    state = train(job, resume, quiet, fabric, group)
    if not state["interrupted"]:
        group.on_rank_zero(lambda: write_report(job.run_folder))
    leave_process_group(group)
    return state | {"rank": group.rank}
