"""Figures of an encoder on labelled videos."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unreel.api.using import to_device
from unreel.errors import UnreelError
from unreel.evaluation.detection import DetectionProtocol, evaluate_detection
from unreel.evaluation.few_labels import finetune_few
from unreel.evaluation.finetune import evaluate_finetune, load_weights
from unreel.evaluation.lists import shared
from unreel.evaluation.recipes import recipe as recipe_named
from unreel.evaluation.result import Result
from unreel.evaluation.retrieval import RetrievalProtocol
from unreel.evaluation.suite import Evaluation, Looking, of_retrieval
from unreel.evaluation.suite import evaluate as evaluate_features
from unreel.models.encoder import Encoder, checkpoint_folder, load_encoder
from unreel.report.run_page import write_report
from unreel.training.checkpoint import replace_text
from unreel.training.run import CONFIG, versions
from unreel.types import Instance
from unreel.video.addresses import spelled
from unreel.video.box_sets import DetectionSet
from unreel.video.dataset import default_workers
from unreel.video.labelled import LabelledSet, load_set
from unreel.video.lists import Listed
from unreel.video.manifest import MANIFEST, Manifest

Advance = Callable[[int, int], None]


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
    notes = list(found.notes)
    if found.validation:
        count = len(found.validation)
        notes.append(f"{count} videos of the validation list are not used: values are chosen on training groups")
    return Sides(f"{data.resolve().name} ({found.name})", train, test, notes)


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
    lost = result.protocol.get("left_out") or []
    if lost:
        first = f"{lost[0]['path']}: {lost[0]['reason']}"
        result.warnings.append(f"{len(lost)} videos can't be read and are in no figure, the first is {first}")
    result.warnings = [*result.warnings, *both.notes, *contamination(run, both)]


def keep(result: Result, name: str, run: Path, data: Path) -> None:
    """Write a result into the run it is about, and its report again; nothing for a bare checkpoint.

    A result of another protocol on data of that name is not overwritten: its file has another number.
    """
    if not (run / CONFIG).exists():
        return
    (run / "evaluations").mkdir(exist_ok=True)
    text = json.dumps(result.to_json(), indent=2) + "\n"
    number, path = 1, run / "evaluations" / f"{name}-{data.resolve().name}.json"
    while path.exists() and protocol_in(path) != json.loads(text)["protocol"]:
        number += 1
        path = path.with_name(f"{name}-{data.resolve().name}-{number}.json")
    replace_text(path, text)
    write_report(run)


def protocol_in(path: Path) -> Any:
    try:
        return json.loads(path.read_text())["protocol"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def run_of(path: Path) -> Path:
    """The run that a checkpoint lies in; the path itself where there is none."""
    above = path.resolve().parent
    return above.parent if above.name == "checkpoints" and (above.parent / CONFIG).is_file() else path


def contamination(run: Path, both: Sides) -> list[str]:
    """A sentence for each side whose videos were in pre-training, by place or by content."""
    run = run_of(run)
    if not (run / MANIFEST).is_file():
        return [f"whether pre-training saw these videos is not known: {run} has no manifest"]
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
    plan: tuple[Sequence[int], Sequence[float], int],
    num_clips: int,
    on_progress: Advance | None = None,
) -> dict[str, Result]:
    """Fine-tune on few labels (of each class, shares, draws of both), beside the same network from scratch."""
    both = sides(data, lists)
    recipe = recipe_named(num_clips=num_clips)
    result = finetune_few(encoder, both.train, both.test, recipe, plan, on_progress)
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
    train, test = ([boxes.instance(k, n) for n, k in enumerate(part)] for part in (boxes.train, boxes.test))
    complete(result, encoder, run, Sides(f"{data.resolve().name} (boxes)", distinct(train), distinct(test)))
    keep(result, "detection", run, data)
    return {"detection": result}


def distinct(moments: list[Instance]) -> list[Instance]:
    """One instance for each file."""
    return list({who.path: who for who in moments}.values())
