"""The folder that `unreel evaluate all` writes: every result in one JSON, and a page."""

import json
import time
from pathlib import Path
from typing import Any

from unreel.errors import UnreelError
from unreel.evaluation.finetuning.recipes import build_recipe as recipe_named
from unreel.evaluation.protocols.finetune import evaluate_finetune
from unreel.evaluation.result import Result
from unreel.evaluation.standard_suite import ExtractionOptions, build_standard_suite
from unreel.evaluation.suite import SuiteResult
from unreel.evaluation.suite import run_evaluations as evaluate_features
from unreel.io.atomic_write import atomic_folder, atomic_write_text, disk_errors
from unreel.io.checksums import new_digest
from unreel.io.output_path import require_new_path, require_writable_path
from unreel.models.encoder.checkpoint_files import find_checkpoint
from unreel.models.encoder.encoder import Encoder
from unreel.training.run_folder.config import collect_versions, read_config
from unreel.verbs.evaluate import (
    LabelledVideos,
    LabelSources,
    ProgressCallback,
    annotate_result,
    describe_contamination,
    find_run_folder,
    load_labelled_videos,
)
from unreel.video.sources.source import open_source

RESULTS_FILE = "results.json"


def evaluate_all(
    encoder: Encoder,
    run: Path,
    data: Path,
    out: Path,
    sources: LabelSources | None = None,
    feature_options: ExtractionOptions | None = None,
    finetune: bool = False,
    on_progress: ProgressCallback | None = None,
    command: str = "",
) -> dict[str, Result]:
    """Every evaluation on frozen features from one pass; OUT/results.json and OUT/report.html.

    `command` is what the page says to repeat it with.
    """
    require_new_path(out)
    both, feature_options = load_labelled_videos(data, sources), feature_options or ExtractionOptions()
    require_writable_path(out)
    done = evaluate_features(
        encoder, both.train, both.test, build_standard_suite(feature_options), feature_options, on_progress
    )
    if finetune:
        began_s = time.monotonic()
        done.results["finetune"] = evaluate_finetune(encoder, both.train, both.test, recipe_named(), True, on_progress)
        done.seconds["finetune"] = time.monotonic() - began_s
    for result in done.results.values():
        annotate_result(result, encoder, run, both)
    write_evaluation(out, build_summary(done, encoder, run, both) | {"command": command})
    return done.results


def build_summary(evaluated: SuiteResult, encoder: Encoder, run: Path, videos: LabelledVideos) -> dict[str, Any]:
    """What OUT/results.json holds: results by name, and everything that they share."""
    return {
        "unreel": collect_versions()["unreel"],
        "run": run.resolve().name,
        "seed": read_training_seed(run),
        "training": read_training_recipe(run),
        "checkpoint": find_checkpoint(run).name,
        "encoder": encoder.spec.to_json(),
        "data": {"name": videos.name, "hash": hash_videos(videos), "notes": videos.notes},
        "videos": {"training": len(evaluated.train_features.instances), "test": len(evaluated.test_features.instances)},
        "contamination": describe_contamination(run, videos),
        "versions": collect_versions(),
        "seconds": {name: round(seconds, 3) for name, seconds in evaluated.seconds.items()},
        "results": {name: result.to_json() for name, result in evaluated.results.items()},
    }


def read_training_seed(run: Path) -> int | None:
    """The seed that a run was trained with; None for a bare checkpoint."""
    try:
        return int(read_config(find_run_folder(run))["settings"]["seed"])
    except (UnreelError, KeyError, TypeError, ValueError):
        return None


def read_training_recipe(run: Path) -> dict[str, Any]:
    """All that a run was trained with but its seed and places: runs that share it are seeds of one recipe."""
    try:
        saved = read_config(find_run_folder(run))
        settings = {n: v for n, v in saved["settings"].items() if n not in ("seed", "workers", "threads")}
        return {"method": saved["method"], "options": saved["options"], "settings": settings}
    except (UnreelError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def hash_videos(videos: LabelledVideos) -> str:
    """One short text for names, sides, labels, groups and contents of a data set: same text, same videos."""
    digest = new_digest()
    for side, part in (("train", videos.train), ("test", videos.test)):
        for who in part:
            line = "\t".join((side, Path(who.path).name, who.label, who.group, ""))
            digest.update(line.encode("utf-8", "surrogateescape"))
            digest.update(hash_video_content(who.path))
    return digest.hexdigest()


def hash_video_content(path: str) -> bytes:
    try:
        return open_source(path).hash_content().encode()
    except OSError as error:
        return str(error.strerror or error).encode()


def write_evaluation(out: Path, summary: dict[str, Any]) -> None:
    """OUT, whole or not at all."""
    from unreel.report.pages.evaluation_page import write_evaluation_page

    with disk_errors(out, "the evaluation can't be written"), atomic_folder(out) as temporary:
        atomic_write_text(temporary / RESULTS_FILE, json.dumps(summary, indent=2, allow_nan=False) + "\n")
        write_evaluation_page(temporary)
