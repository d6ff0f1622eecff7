"""Figures of an encoder on labelled videos."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unreel.corpus.labels.detection_set import DetectionSet
from unreel.corpus.labels.labelled_set import LabelledSet, load_labelled_set
from unreel.corpus.lists import VideoEntry
from unreel.corpus.manifest import MANIFEST_FILE, Manifest
from unreel.embedding import load_encoder
from unreel.errors import UnreelError
from unreel.evaluation.finetuning.pretrained_weights import load_weights
from unreel.evaluation.finetuning.recipes import build_recipe as recipe_named
from unreel.evaluation.leakage import find_duplicates
from unreel.evaluation.protocols.detection import evaluate_detection
from unreel.evaluation.protocols.detection_head import DetectionProtocol
from unreel.evaluation.protocols.few_labels import finetune_few_labels
from unreel.evaluation.protocols.finetune import evaluate_finetune
from unreel.evaluation.protocols.label_sampling import DrawPlan
from unreel.evaluation.protocols.retrieval import RetrievalProtocol
from unreel.evaluation.result import Result
from unreel.evaluation.standard_suite import Evaluation, ExtractionOptions, build_retrieval
from unreel.evaluation.suite import run_evaluations as evaluate_features
from unreel.io.atomic_write import atomic_write_text
from unreel.models.encoder.checkpoint_files import CHECKPOINTS_FOLDER, find_checkpoint
from unreel.models.encoder.encoder import Encoder
from unreel.report.pages.run_page import write_report
from unreel.training.run_folder.config import CONFIG_FILE, collect_versions
from unreel.training.runtime.auto_settings import choose_device
from unreel.types import Instance
from unreel.video.loading.loaders import default_num_workers
from unreel.video.sources.paths import normalize_path

ProgressCallback = Callable[[int, int], None]


@dataclass(frozen=True)
class LabelSources:
    """Where the labels and the two sides come from; see `corpus/labels/labelled_set.py`."""

    layout: str = "auto"
    split: int = 1
    train: Path | None = None
    test: Path | None = None
    splits: Path | None = None


@dataclass
class LabelledVideos:
    """Labelled videos as instances, numbered through both sides, and what the data's own layout says of them."""

    name: str
    train: list[Instance]
    test: list[Instance]
    notes: list[str] = field(default_factory=list)


def load_labelled_videos(data: Path, sources: LabelSources | None = None) -> LabelledVideos:
    """The training and the test side of a labelled data set. Raises InputError."""
    sources = sources or LabelSources()
    found: LabelledSet = load_labelled_set(data, **vars(sources))
    train = build_instances(found.train, 0)
    test = build_instances(found.test, len(train))
    notes = list(found.notes)
    if found.validation:
        count = len(found.validation)
        notes.append(f"{count} videos of the validation list are not used: values are chosen on training groups")
    return LabelledVideos(f"{data.resolve().name} ({found.name})", train, test, notes)


def build_instances(videos: Sequence[VideoEntry], first_number: int) -> list[Instance]:
    """Whole videos of a list as instances, numbered from `first`."""
    return [
        Instance(normalize_path(v.path), first_number + i, 0.0, float("inf"), v.label, v.group)
        for i, v in enumerate(videos)
    ]


def load_encoder_at_rate(
    checkpoint: Path, fps: float | None = None, stride_frames: int | None = None, allow_import: bool = False
) -> Encoder:
    """The encoder of a run on the best device here, with clips at another rate than it was trained with if asked."""
    encoder = load_encoder(checkpoint, allow_import).to(choose_device("auto"))
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
    on_progress: ProgressCallback | None = None,
    allow_import: bool = False,
) -> Result:
    """Retrieval of labelled test videos among training videos, floors beside it.

    `train` and `test` are lists, by default DATA/train.txt and DATA/test.txt; `splits` is a folder of UCF101's or
    HMDB51's official files and a number. The result is kept in RUN/evaluations and RUN/report.html if `run` is a run.
    Raises InputError for labels that can't be used, CheckpointError for an encoder that can't be loaded.

    >>> evaluate_retrieval(run, videos, num_clips=2).kind
    'retrieval'
    """
    lists = LabelSources(
        split=splits[1] if splits else 1,
        train=Path(train) if train else None,
        test=Path(test) if test else None,
        splits=Path(splits[0]) if splits else None,
    )
    asked = {"retrieval": build_retrieval(RetrievalProtocol(num_clips=num_clips))}
    encoder = load_encoder_at_rate(Path(run), allow_import=allow_import)
    looking = ExtractionOptions(num_clips, workers=default_num_workers())
    return evaluate(encoder, Path(run), Path(data), asked, lists, looking, on_progress)["retrieval"]


def evaluate(
    encoder: Encoder,
    run: Path,
    data: Path,
    evaluations: Mapping[str, Evaluation],
    sources: LabelSources | None = None,
    feature_options: ExtractionOptions | None = None,
    on_progress: ProgressCallback | None = None,
) -> dict[str, Result]:
    """Evaluations on frozen features; kept in RUN/evaluations and shown in RUN/report.html if `run` is a run.

    Raises InputError for labels that can't be used.

    >>> protocols = {"retrieval": build_retrieval(RetrievalProtocol(num_clips=2))}
    >>> list(evaluate(unreel.load_encoder(run), run, videos, protocols, feature_options=ExtractionOptions(2)))
    ['retrieval']
    """
    both = load_labelled_videos(data, sources)
    done = evaluate_features(encoder, both.train, both.test, evaluations, feature_options, on_progress)
    for name, result in done.results.items():
        annotate_result(result, encoder, run, both)
        save_result(result, name, run, data)
    return done.results


def annotate_result(result: Result, encoder: Encoder, run: Path, videos: LabelledVideos) -> None:
    """Add what every result has to say: data set, encoder, versions, and whether training saw what is asked."""
    result.protocol |= {"data": videos.name, "checkpoint": find_checkpoint(run).name, "versions": collect_versions()}
    lost = result.protocol.get("left_out") or []
    if lost:
        first = f"{lost[0]['path']}: {lost[0]['reason']}"
        result.warnings.append(f"{len(lost)} videos can't be read and are in no figure, the first is {first}")
    result.warnings = [*result.warnings, *videos.notes, *describe_contamination(run, videos)]


def save_result(result: Result, name: str, run: Path, data: Path) -> None:
    """Write a result into the run it is about, and its report again; nothing for a bare checkpoint.

    A result of another protocol on data of that name is not overwritten: its file has another number.
    """
    if not (run / CONFIG_FILE).exists():
        return
    (run / "evaluations").mkdir(exist_ok=True)
    text = json.dumps(result.to_json(), indent=2) + "\n"
    number, path = 1, run / "evaluations" / f"{name}-{data.resolve().name}.json"
    while path.exists() and read_protocol(path) != json.loads(text)["protocol"]:
        number += 1
        path = path.with_name(f"{name}-{data.resolve().name}-{number}.json")
    atomic_write_text(path, text)
    write_report(run)


def read_protocol(path: Path) -> Any:
    try:
        return json.loads(path.read_text())["protocol"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find_run_folder(path: Path) -> Path:
    """The run that a checkpoint lies in; the path itself where there is none."""
    above = path.resolve().parent
    return above.parent if above.name == CHECKPOINTS_FOLDER and (above.parent / CONFIG_FILE).is_file() else path


def describe_contamination(run_folder: Path, videos: LabelledVideos) -> list[str]:
    """A sentence for each side whose videos were in pre-training, by place or by content."""
    run_folder = find_run_folder(run_folder)
    if not (run_folder / MANIFEST_FILE).is_file():
        return [f"whether pre-training saw these videos is not known: {run_folder} has no manifest"]
    try:
        manifest = Manifest.load(run_folder)
    except UnreelError as error:
        return [f"whether training saw these videos is not known: {error}"]
    seen = [Instance(v.path, n, 0.0, float("inf")) for n, v in enumerate(manifest.videos)]
    said = []
    for name, part, meaning in (
        ("test", videos.test, "seen without labels; figures on videos it has not seen may be lower"),
        ("training", videos.train, "as the papers do: pre-training on the training list, without its labels"),
    ):
        if met := find_duplicates(seen, part):
            said.append(f"{len(met)} of {len(part)} {name} videos were in pre-training ({meaning})")
    return said


def evaluate_finetuning(
    encoder: Encoder,
    run: Path,
    data: Path,
    sources: LabelSources,
    recipe: str = "small",
    overrides: Mapping[str, Any] | None = None,
    scratch: bool = True,
    weights: Path | None = None,
    on_progress: ProgressCallback | None = None,
) -> dict[str, Result]:
    """Fine-tune an encoder on labelled videos, beside the same network from scratch."""
    both = load_labelled_videos(data, sources)
    notes = load_weights(encoder.backbone, weights) if weights else []
    chosen = recipe_named(recipe, **(overrides or {}))
    result = evaluate_finetune(encoder, both.train, both.test, chosen, scratch, on_progress)
    annotate_result(result, encoder, run, both)
    result.warnings += notes
    result.protocol["weights"] = str(weights or "the checkpoint's")
    save_result(result, "finetune", run, data)
    return {"finetune": result}


def evaluate_few_label_finetuning(
    encoder: Encoder,
    run: Path,
    data: Path,
    sources: LabelSources,
    label_plan: DrawPlan,
    num_clips: int,
    on_progress: ProgressCallback | None = None,
) -> dict[str, Result]:
    """Fine-tune on few labels (of each class, shares, draws of both), beside the same network from scratch."""
    both = load_labelled_videos(data, sources)
    recipe = recipe_named(num_clips=num_clips)
    result = finetune_few_labels(encoder, both.train, both.test, recipe, label_plan, on_progress)
    annotate_result(result, encoder, run, both)
    save_result(result, "few-labels-finetuned", run, data)
    return {"few-labels-finetuned": result}


def evaluate_detection_set(
    run: Path,
    data: Path,
    options: Mapping[str, Any] | None = None,
    clock_s: float = 0.0,
    allow_import: bool = False,
    on_progress: ProgressCallback | None = None,
) -> dict[str, Result]:
    """Detection on videos with boxes in AVA's format; `options` are fields of DetectionProtocol."""
    encoder = load_encoder_at_rate(run, allow_import=allow_import)
    protocol = DetectionProtocol(**(options or {}))
    boxes = DetectionSet.load(data, clock_s)
    result = evaluate_detection(encoder, boxes, protocol, default_num_workers(), on_progress)
    train, test = ([boxes.make_instance(k, n) for n, k in enumerate(part)] for part in (boxes.train, boxes.test))
    annotate_result(
        result,
        encoder,
        run,
        LabelledVideos(f"{data.resolve().name} (boxes)", drop_repeated_paths(train), drop_repeated_paths(test)),
    )
    save_result(result, "detection", run, data)
    return {"detection": result}


def drop_repeated_paths(instances: list[Instance]) -> list[Instance]:
    """One instance for each file."""
    return list({who.path: who for who in instances}.values())
