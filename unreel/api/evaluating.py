"""Figures of an encoder on labelled videos."""

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unreel.api.using import to_device
from unreel.errors import DiskError, InputError, UnreelError
from unreel.evaluation.detection import DetectionProtocol, evaluate_detection
from unreel.evaluation.few_labels import finetune_few
from unreel.evaluation.finetune import evaluate_finetune, load_weights
from unreel.evaluation.lists import shared
from unreel.evaluation.recipes import recipe as recipe_named
from unreel.evaluation.result import Result
from unreel.evaluation.retrieval import RetrievalProtocol
from unreel.evaluation.suite import Evaluated, Evaluation, Looking, of_retrieval, standard
from unreel.evaluation.suite import evaluate as evaluate_features
from unreel.models.encoder import Encoder, checkpoint_folder, load_encoder
from unreel.report.run_page import write_report
from unreel.training.checkpoint import replace_text
from unreel.training.run import CONFIG, read_config, versions
from unreel.types import Instance
from unreel.video.addresses import spelled
from unreel.video.box_sets import DetectionSet
from unreel.video.dataset import default_workers
from unreel.video.labelled import LabelledSet, load_set
from unreel.video.lists import Listed
from unreel.video.manifest import MANIFEST, Manifest
from unreel.video.packed import content_hash

Advance = Callable[[int, int], None]
RESULTS = "results.json"


@dataclass(frozen=True)
class Lists:
    """Where the labels and the two sides come from; see `video/labelled.py`."""

    layout: str = "auto"
    split: int = 1
    train: Path | None = None
    test: Path | None = None
    splits: Path | None = None


@dataclass
class Sides:
    """Labelled videos as instances, numbered through both sides, and what the data's own layout says of them."""

    name: str
    train: list[Instance]
    test: list[Instance]
    notes: list[str] = field(default_factory=list)


def sides(data: Path, lists: Lists | None = None) -> Sides:
    """The training and the test side of a labelled data set. Raises InputError."""
    lists = lists or Lists()
    found: LabelledSet = load_set(data, **vars(lists))
    train = labelled(found.train, 0)
    test = labelled(found.test, len(train))
    return Sides(f"{data.resolve().name} ({found.name})", train, test, list(found.notes))


def labelled(listed: Sequence[Listed], first: int) -> list[Instance]:
    """Whole videos of a list as instances, numbered from `first`."""
    return [Instance(spelled(v.path), first + i, 0.0, float("inf"), v.label, v.group) for i, v in enumerate(listed)]


def encoder_for(
    run: Path, fps: float | None = None, stride_frames: int | None = None, allow_import: bool = False
) -> Encoder:
    """The encoder of a run on the best device here, with clips at another rate than it was trained with if asked."""
    encoder = to_device(load_encoder(run, allow_import))
    if fps is None and stride_frames is None:
        return encoder
    clip = dataclasses.replace(encoder.spec.clip, fps=fps or 0.0, stride_frames=stride_frames or 0)
    encoder.spec = dataclasses.replace(encoder.spec, clip=clip)
    return encoder


def evaluate_retrieval(
    run: str | Path,
    data: str | Path,
    train: str | Path | None = None,
    test: str | Path | None = None,
    splits: tuple[str | Path, int] | None = None,
    num_clips: int = 10,
    on_progress: Advance | None = None,
    allow_import: bool = False,
) -> Result:
    """Retrieval of labelled test videos among training videos, floors beside it.

    `train` and `test` are lists, by default DATA/train.txt and DATA/test.txt; `splits` is a folder of UCF101's or
    HMDB51's official files and a number. The result is kept in RUN/evaluations and RUN/report.html if `run` is a run.
    """
    lists = Lists(
        split=splits[1] if splits else 1,
        train=Path(train) if train else None,
        test=Path(test) if test else None,
        splits=Path(splits[0]) if splits else None,
    )
    asked = {"retrieval": of_retrieval(RetrievalProtocol(num_clips=num_clips))}
    encoder = encoder_for(Path(run), allow_import=allow_import)
    looking = Looking(num_clips, workers=default_workers())
    return evaluate(encoder, Path(run), Path(data), asked, lists, looking, on_progress)["retrieval"]


def evaluate(
    encoder: Encoder,
    run: Path,
    data: Path,
    asked: Mapping[str, Evaluation],
    lists: Lists | None = None,
    looking: Looking | None = None,
    on_progress: Advance | None = None,
) -> dict[str, Result]:
    """Evaluations on frozen features; kept in RUN/evaluations and shown in RUN/report.html if `run` is a run."""
    both = sides(data, lists)
    done = evaluate_features(encoder, both.train, both.test, asked, looking, on_progress)
    for name, result in done.results.items():
        complete(result, encoder, run, both)
        keep(result, name, run, data)
    return done.results


def complete(result: Result, encoder: Encoder, run: Path, both: Sides) -> None:
    """Add what every result has to say: data set, encoder, versions, and whether training saw what is asked."""
    result.protocol |= {"data": both.name, "checkpoint": checkpoint_folder(run).name, "versions": versions()}
    result.warnings = [*result.warnings, *both.notes, *contamination(run, both)]


def keep(result: Result, name: str, run: Path, data: Path) -> None:
    """Write a result into the run it is about, and its report again; nothing for a bare checkpoint."""
    if not (run / CONFIG).exists():
        return
    (run / "evaluations").mkdir(exist_ok=True)
    path = run / "evaluations" / f"{name}-{data.resolve().name}.json"
    replace_text(path, json.dumps(result.to_json(), indent=2) + "\n")
    write_report(run)


def contamination(run: Path, both: Sides) -> list[str]:
    """A sentence for each side whose videos were in pre-training, by place or by content."""
    if not (run / MANIFEST).is_file():
        return []
    try:
        manifest = Manifest.load(run)
    except UnreelError as error:
        return [f"whether training saw these videos is not known: {error}"]
    seen = [Instance(v.path, n, 0.0, float("inf")) for n, v in enumerate(manifest.videos)]
    said = []
    for name, part, meaning in (
        ("test", both.test, "seen without labels; figures on videos it has not seen may be lower"),
        ("training", both.train, "as the papers do: pre-training on the training list, without its labels"),
    ):
        if met := shared(seen, part):
            said.append(f"{len(met)} of {len(part)} {name} videos were in pre-training ({meaning})")
    return said


def data_hash(both: Sides) -> str:
    """One short text for names, sides, labels, groups and contents of a data set: same text, same videos."""
    digest = hashlib.blake2b(digest_size=16)
    for side, part in (("train", both.train), ("test", both.test)):
        for who in part:
            line = "\t".join((side, Path(who.path).name, who.label, who.group, ""))
            digest.update(line.encode("utf-8", "surrogateescape"))
            digest.update(content(who.path))
    return digest.hexdigest()


def content(path: str) -> bytes:
    try:
        return content_hash(path).encode()
    except OSError as error:
        return str(error.strerror or error).encode()


def evaluate_finetuned(
    encoder: Encoder,
    run: Path,
    data: Path,
    lists: Lists,
    recipe: str = "small",
    changes: Mapping[str, Any] | None = None,
    scratch: bool = True,
    weights: Path | None = None,
    on_progress: Advance | None = None,
) -> dict[str, Result]:
    """Fine-tune an encoder on labelled videos, beside the same network from scratch."""
    both = sides(data, lists)
    notes = load_weights(encoder.backbone, weights) if weights else []
    chosen = recipe_named(recipe, **(changes or {}))
    result = evaluate_finetune(encoder, both.train, both.test, chosen, scratch, on_progress)
    complete(result, encoder, run, both)
    result.warnings += notes
    result.protocol["weights"] = str(weights or "the checkpoint's")
    keep(result, "finetune", run, data)
    return {"finetune": result}


def evaluate_few_finetuned(
    encoder: Encoder,
    run: Path,
    data: Path,
    lists: Lists,
    ks: Sequence[int],
    draws: int,
    num_clips: int,
    on_progress: Advance | None = None,
) -> dict[str, Result]:
    """Fine-tune on a few labelled videos of each class, beside the same network from scratch."""
    both = sides(data, lists)
    recipe = recipe_named(num_clips=num_clips)
    result = finetune_few(encoder, both.train, both.test, recipe, ks, draws, on_progress)
    complete(result, encoder, run, both)
    keep(result, "few-labels-finetuned", run, data)
    return {"few-labels-finetuned": result}


def evaluate_detected(
    run: Path,
    data: Path,
    options: Mapping[str, Any] | None = None,
    clock_s: float = 0.0,
    allow_import: bool = False,
    on_progress: Advance | None = None,
) -> dict[str, Result]:
    """Detection on videos with boxes in AVA's format; `options` are fields of DetectionProtocol."""
    encoder = encoder_for(run, allow_import=allow_import)
    protocol = DetectionProtocol(**(options or {}))
    boxes = DetectionSet.load(data, clock_s)
    result = evaluate_detection(encoder, boxes, protocol, default_workers(), on_progress)
    result.protocol |= {"data": str(data), "checkpoint": checkpoint_folder(run).name, "versions": versions()}
    keep(result, "detection", run, data)
    return {"detection": result}


def evaluate_all(
    encoder: Encoder,
    run: Path,
    data: Path,
    out: Path,
    lists: Lists | None = None,
    looking: Looking | None = None,
    finetune: bool = False,
    on_progress: Advance | None = None,
    command: str = "",
) -> dict[str, Result]:
    """Every evaluation on frozen features from one pass; OUT/results.json and OUT/report.html.

    `command` is what the page says to repeat it with.
    """
    if out.exists():
        raise InputError(f"{out} exists already; nothing was changed. Choose another --out")
    both, looking = sides(data, lists), looking or Looking()
    done = evaluate_features(encoder, both.train, both.test, standard(looking), looking, on_progress)
    if finetune:
        began_s = time.monotonic()
        done.results["finetune"] = evaluate_finetune(encoder, both.train, both.test, recipe_named(), True, on_progress)
        done.seconds["finetune"] = time.monotonic() - began_s
    for result in done.results.values():
        complete(result, encoder, run, both)
    write_evaluation(out, summary_of(done, encoder, run, both) | {"command": command})
    return done.results


def summary_of(done: Evaluated, encoder: Encoder, run: Path, both: Sides) -> dict[str, Any]:
    """What OUT/results.json holds: results by name, and everything that they share."""
    return {
        "unreel": versions()["unreel"],
        "run": run.resolve().name,
        "seed": seed_of(run),
        "checkpoint": checkpoint_folder(run).name,
        "encoder": encoder.spec.to_json(),
        "data": {"name": both.name, "hash": data_hash(both), "notes": both.notes},
        "videos": {"training": len(done.train.instances), "test": len(done.test.instances)},
        "contamination": contamination(run, both),
        "versions": versions(),
        "seconds": {name: round(seconds, 3) for name, seconds in done.seconds.items()},
        "results": {name: result.to_json() for name, result in done.results.items()},
    }


def seed_of(run: Path) -> int | None:
    """The seed that a run was trained with; None for a bare checkpoint."""
    try:
        return int(read_config(run)["settings"]["seed"])
    except (UnreelError, KeyError, TypeError, ValueError):
        return None


def write_evaluation(out: Path, summary: dict[str, Any]) -> None:
    """OUT, whole or not at all."""
    from unreel.report.evaluation_page import write_page

    aside = out.with_name(f".writing-{out.name}")
    try:
        aside.mkdir(parents=True, exist_ok=True)
        replace_text(aside / RESULTS, json.dumps(summary, indent=2, allow_nan=False) + "\n")
        write_page(aside)
        aside.rename(out)
    except OSError as error:
        raise DiskError(f"{out}: the evaluation could not be written ({error.strerror})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
