"""What every result is completed with, and where it is saved in the run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unreel.errors import UnreelError
from unreel.evaluation.contamination import find_contamination, find_run_folder
from unreel.evaluation.labelled_videos import LabelledVideos, LabelSources, load_labelled_videos
from unreel.evaluation.result import Result
from unreel.io.atomic_write import atomic_write_text
from unreel.io.text import format_count, format_json, parse_json
from unreel.models.encoder.checkpoint_files import find_checkpoint
from unreel.models.encoder.encoder import Encoder
from unreel.provenance.record import collect_provenance, read_provenance
from unreel.report.pages.run_page import write_report
from unreel.training.run_folder.config import CONFIG_FILE, collect_versions


@dataclass(frozen=True)
class EvaluationTarget:
    """What is evaluated on what: a run or a checkpoint, labelled videos, and where their lists come from."""

    run: Path
    data: Path
    sources: LabelSources = field(default_factory=LabelSources)

    def load_videos(self) -> LabelledVideos:
        """The training and the test list. Raises InputError."""
        return load_labelled_videos(self.data, self.sources)

    def save(self, results: Mapping[str, Result], encoder: Encoder, videos: LabelledVideos) -> None:
        """Complete results and write them into the run."""
        for name, result in results.items():
            annotate_result(result, encoder, self.run, videos)
            save_result(result, name, self.run, self.data)


def annotate_result(result: Result, encoder: Encoder, run: Path, videos: LabelledVideos) -> None:
    """Add data set, checkpoint and versions, and warnings about unreadable files and contamination."""
    result.protocol |= {"data": videos.name, "checkpoint": find_checkpoint(run).name, "versions": collect_versions()}
    left_out = result.protocol.get("left_out") or []
    if left_out:
        first = f"{left_out[0]['path']}: {left_out[0]['reason']}"
        result.warnings.append(
            f"left out of every figure, as they can't be read: {format_count(len(left_out), 'video')}, the "
            f"first is {first}"
        )
    result.warnings = [*result.warnings, *videos.notes, *(c.text for c in find_contamination(run, videos))]


def save_result(result: Result, name: str, run: Path, data: Path) -> None:
    """Write a result into RUN/evaluations and update RUN/report.html; does nothing for a bare checkpoint.

    A result of another protocol on data of that name is not overwritten: the new file gets a number.
    """
    if not (run / CONFIG_FILE).exists():
        return
    (run / "evaluations").mkdir(exist_ok=True)
    record = describe_evaluation(run, data.resolve().name)
    text = format_json(result.to_json() | {"provenance": record}) + "\n"
    number, path = 1, run / "evaluations" / f"{name}-{data.resolve().name}.json"
    while path.exists() and read_protocol(path) != json.loads(text)["protocol"]:
        number += 1
        path = path.with_name(f"{name}-{data.resolve().name}-{number}.json")
    atomic_write_text(path, text)
    write_report(run)


def describe_evaluation(run: Path, data: str, data_hash: str = "") -> dict[str, Any]:
    """What made an evaluation, and as "training" what made the run that it is of."""
    about_data = {"name": data} | ({"hash": data_hash} if data_hash else {})
    return collect_provenance(data=about_data, training=read_training_provenance(run))


def read_training_provenance(run: Path) -> dict[str, Any]:
    """What made a run; {} for a bare checkpoint, and for a run of an earlier version."""
    try:
        return read_provenance(find_run_folder(run))
    except UnreelError:
        return {}


def read_protocol(path: Path) -> Any:
    """The protocol of a saved result; None when it can't be read."""
    try:
        return parse_json(path.read_text())["protocol"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
