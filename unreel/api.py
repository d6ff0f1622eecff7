"""The Python API; the command line calls these functions and prints."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from unreel.errors import InputError, RunError, unknown
from unreel.evaluation import retrieval
from unreel.evaluation.report import write_report
from unreel.evaluation.retrieval import RetrievalProtocol, RetrievalResult
from unreel.methods import method_module
from unreel.models import build_backbone
from unreel.models.encoder import Encoder, EncoderSpec, checkpoint_folder, embed_instances, load_encoder, whole_videos
from unreel.search.embeddings import describe as describe_encoder
from unreel.search.embeddings import write
from unreel.settings import Settings
from unreel.training.checkpoint import last_checkpoint, replace_text
from unreel.training.device import choose_device, fill_in
from unreel.training.loop import Job, clip_spec, train
from unreel.training.monitors import hold_out
from unreel.training.run import CONFIG, describe, make_run, read_config, refuse_existing, versions
from unreel.types import Instance
from unreel.video.dataset import default_workers
from unreel.video.lists import Listed
from unreel.video.manifest import Manifest, inspect, require_usable
from unreel.video.segments import instances
from unreel.views.residual import Residual


def pretrain(
    source: str | Path,
    out: str | Path,
    method: str = "iic",
    root: str | Path | None = None,
    quiet: bool = False,
    **options: Any,
) -> dict[str, Any]:
    """Train an encoder on unlabelled videos; the run folder `out` then holds the encoder, the curves and a report.

    `source` is a folder, a text file of paths or a CSV; `options` are fields of the method's Config or of Settings.
    Returns the last state: step, best_step, best_mrr, interrupted. Raises UnreelError.
    """
    config, settings = with_options(method, options)
    return start(Path(source), Path(out), method, config, settings, Path(root) if root else None, quiet)


def with_options(method: str, options: dict[str, Any]) -> tuple[Any, Settings]:
    """A preset's Config and Settings with some fields replaced. Raises InputError for one that neither has."""
    config, settings = method_module(method).PRESETS[method]()
    own = {f.name for f in dataclasses.fields(config)}
    common = {f.name for f in dataclasses.fields(settings)}
    for name in options:
        if name not in own | common:
            raise unknown("option", name, own | common)
    config = dataclasses.replace(config, **{n: v for n, v in options.items() if n in own})
    return config, dataclasses.replace(settings, **{n: v for n, v in options.items() if n in common})


def start(
    source: Path,
    out: Path,
    method: str,
    config: Any,
    settings: Settings,
    root: Path | None = None,
    quiet: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """A new run: inspect, write the folder, train, report."""
    refuse_existing(out)
    settings = fill_in(settings)
    manifest = inspect(source.resolve(), root, on_progress=on_progress)
    require_usable(manifest, settings.max_bad_share)
    job = build_job(out, manifest, method, config, settings)
    make_run(out, describe(method, source.resolve(), config, settings))
    manifest.save(out)
    replace_text(out / "held_out.txt", "".join(f"{path}\n" for path in sorted({i.path for i in job.held_out})))
    return finish(job, resume=False, quiet=quiet)


def resume(run: str | Path, quiet: bool = False) -> dict[str, Any]:
    """Go on with a run that was stopped, to the bit on a CPU; needs nothing but its folder."""
    run = Path(run)
    saved = read_config(run)
    config, settings = config_from_json(saved)
    job = build_job(run, Manifest.load(run), saved["method"], config, settings)
    last_checkpoint(run)
    return finish(job, resume=True, quiet=quiet)


def config_from_json(saved: dict[str, Any]) -> tuple[Any, Settings]:
    """Config and Settings of a run from its config.json. Raises RunError when they do not fit this version."""
    module = method_module(saved["method"])
    try:
        options = dict(saved["options"])
        if isinstance(options.get("residual"), dict):
            options["residual"] = Residual(**options["residual"])
        return module.Config(**options), Settings(**saved["settings"])
    except (TypeError, KeyError) as error:
        raise RunError(f"the run was made by another version of unreel ({error}); start a new one") from error


def build_job(run: Path, manifest: Manifest, method: str, config: Any, settings: Settings) -> Job:
    """Network, method, recipe and the instances of a run; the same again when a run goes on."""
    module = method_module(method)
    spec = module.Method.view_spec(config, settings)
    training, held_out = hold_out(instances(manifest, settings.segment_s), settings.held_out, settings.seed)
    torch.manual_seed(settings.seed)  # the weights' initialisation, the one place where torch's own state is used
    backbone = build_backbone(settings.backbone)
    encoder = Encoder(EncoderSpec(settings.backbone, method, clip_spec(settings, spec.lead_in), spec), backbone)
    return Job(
        run=run,
        settings=settings,
        encoder=encoder,
        method=module.Method(backbone, training, config, settings.seed),
        recipe=module.Method.recipe(spec, config, settings.seed),
        instances=training,
        held_out=held_out,
        files=len(manifest.videos) + len(manifest.quarantine),
    )


def finish(job: Job, resume: bool, quiet: bool) -> dict[str, Any]:
    """Train, then write the report."""
    state = train(job, resume, quiet)
    if not state["interrupted"]:
        write_report(job.run)
    return state


def evaluate_retrieval(
    run: str | Path,
    data: str | Path,
    lists: tuple[Sequence[Listed], Sequence[Listed]],
    num_clips: int = 10,
    on_progress: Callable[[int, int], None] | None = None,
) -> RetrievalResult:
    """Retrieval of test videos (the second list) among training videos (the first), floors beside it.

    The result is kept in RUN/evaluations and shown in RUN/report.html when `run` is a run folder.
    """
    run = Path(run)
    encoder = to_device(load_encoder(run))
    gallery, queries = (labelled(part, start) for part, start in zip(lists, (0, len(lists[0])), strict=True))
    result = retrieval.evaluate_retrieval(
        encoder, gallery, queries, RetrievalProtocol(num_clips), workers=default_workers(), progress=on_progress
    )
    if (run / CONFIG).exists():
        saved = result.to_json() | {
            "data": str(data),
            "checkpoint": checkpoint_folder(run).name,
            "versions": versions(),
        }
        (run / "evaluations").mkdir(exist_ok=True)
        replace_text(
            run / "evaluations" / f"retrieval-{Path(data).resolve().name}.json", json.dumps(saved, indent=2) + "\n"
        )
        write_report(run)
    return result


def labelled(listed: Sequence[Listed], first: int) -> list[Instance]:
    """Whole videos of a list as instances, numbered from `first`."""
    return [Instance(str(v.path), first + i, 0.0, float("inf"), v.label, v.group) for i, v in enumerate(listed)]


def embed(
    run: str | Path,
    source: str | Path,
    out: str | Path,
    per: Literal["video", "clip"] = "video",
    num_clips: int = 10,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[int, list[tuple[str, str]]]:
    """Embed a video, a folder or a list into a Parquet file; returns how many rows, and what was left out and why."""
    encoder = to_device(load_encoder(run))
    found, failed = whole_videos(Path(source))
    embeddings = embed_instances(
        encoder, found, num_clips, per, default_workers(), lambda path, why: failed.append((path, why)), on_progress
    )
    if not len(embeddings):
        raise InputError(f"{source}: no video there could be embedded; the first: {': '.join(failed[0])}")
    write(embeddings, Path(out), describe_encoder(encoder))
    return len(embeddings), failed


def to_device(encoder: Encoder) -> Encoder:
    return encoder.to(choose_device("auto"))
