"""`unreel evaluate all`: a folder with every result in one JSON file, and a page."""

import time
from pathlib import Path
from typing import Any

from unreel.errors import UnreelError
from unreel.evaluation.contamination import find_contamination, find_run_folder
from unreel.evaluation.feature_extraction import Progress
from unreel.evaluation.feature_protocol import ExtractionOptions
from unreel.evaluation.finetuning.recipe_presets import build_recipe
from unreel.evaluation.labelled_videos import LabelledVideos, LabelSources, hash_videos, load_labelled_videos
from unreel.evaluation.protocol_description import describe_test_videos
from unreel.evaluation.protocol_registry import build_standard_suite
from unreel.evaluation.protocols.finetune import evaluate_finetune
from unreel.evaluation.result import Result
from unreel.evaluation.suite import SuiteResult, run_evaluations
from unreel.io.atomic_write import atomic_folder, atomic_write_text, disk_errors
from unreel.io.output_path import require_new_path, require_writable_path
from unreel.io.text import format_json
from unreel.models.encoder.checkpoint_files import find_checkpoint
from unreel.models.encoder.encoder import Encoder
from unreel.report.results_file import RESULTS_FILE
from unreel.training.run_folder.config import collect_versions, read_config
from unreel.verbs.evaluation.saved_results import annotate_result, describe_evaluation


def evaluate_all(
    encoder: Encoder,
    run: Path,
    data: Path,
    out: Path,
    sources: LabelSources | None = None,
    feature_options: ExtractionOptions | None = None,
    finetune: bool = False,
    on_progress: Progress | None = None,
    command: str = "",
) -> dict[str, Result]:
    """Every evaluation on frozen features from one pass; writes OUT/results.json and OUT/report.html.

    `command` is written on the page, to repeat the evaluation. Raises UnreelError.
    """
    require_new_path(out)
    videos, feature_options = load_labelled_videos(data, sources), feature_options or ExtractionOptions()
    require_writable_path(out)
    evaluations = build_standard_suite(feature_options)
    suite = run_evaluations(encoder, videos.train, videos.test, evaluations, feature_options, on_progress)
    if finetune:
        start_s = time.monotonic()
        suite.results["finetune"] = evaluate_finetune(
            encoder, videos.train, videos.test, build_recipe(), True, on_progress
        )
        suite.seconds["finetune"] = time.monotonic() - start_s
    for result in suite.results.values():
        annotate_result(result, encoder, run, videos)
    write_evaluation(out, build_summary(suite, encoder, run, videos) | {"command": command})
    return suite.results


def build_summary(suite: SuiteResult, encoder: Encoder, run: Path, videos: LabelledVideos) -> dict[str, Any]:
    """What OUT/results.json holds: results by name, and everything that they share."""
    contamination, data_hash = find_contamination(run, videos), hash_videos(videos)
    return {
        "unreel": collect_versions()["unreel"],
        "run": run.resolve().name,
        "seed": read_training_seed(run),
        "training": read_training_recipe(run),
        "checkpoint": find_checkpoint(run).name,
        "encoder": encoder.spec.to_json(),
        "data": {"name": videos.name, "hash": data_hash, "notes": videos.notes},
        "videos": {"training": len(suite.train_features.instances), "test": len(suite.test_features.instances)},
        "contamination": [c.text for c in contamination],
        "expected_contamination": [c.text for c in contamination if c.is_expected],
        "versions": collect_versions(),
        "provenance": describe_evaluation(run, videos.name, data_hash),
        "seconds": {name: round(seconds, 3) for name, seconds in suite.seconds.items()},
        "test_videos": describe_test_videos(suite.test_features.instances),
        "results": {name: describe_result(result, suite) for name, result in suite.results.items()},
    }


def describe_result(result: Result, suite: SuiteResult) -> dict[str, Any]:
    """A result as JSON; its test videos only where they are not those of all results."""
    text = result.to_json()
    if text["test_videos"] == describe_test_videos(suite.test_features.instances):
        del text["test_videos"]
    return text


def read_training_seed(run: Path) -> int | None:
    """The seed that a run was trained with; None for a bare checkpoint."""
    try:
        return int(read_config(find_run_folder(run))["settings"]["seed"])
    except (UnreelError, KeyError, TypeError, ValueError):
        return None


def read_training_recipe(run: Path) -> dict[str, Any]:
    """All options of a run's training except its seed: runs that share them differ in the seed alone."""
    try:
        config = read_config(find_run_folder(run))
        settings = {n: v for n, v in config["settings"].items() if n not in ("seed", "workers", "threads", "wandb")}
        return {"method": config["method"], "options": config["options"], "settings": settings}
    except (UnreelError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def write_evaluation(out: Path, summary: dict[str, Any]) -> None:
    """Write the folder OUT, whole or not at all."""
    from unreel.report.pages.evaluation_page import write_evaluation_page  # its templates and charts take time to load

    with disk_errors(out, "the evaluation can't be written"), atomic_folder(out) as temporary:
        atomic_write_text(temporary / RESULTS_FILE, format_json(summary) + "\n")
        write_evaluation_page(temporary)
