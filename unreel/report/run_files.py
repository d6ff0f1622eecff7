"""The files of a run folder as a report reads them: missing ones are empty, damaged ones become notes."""

import csv
import math
from pathlib import Path
from typing import Any

import safetensors

from unreel.corpus.manifest import Manifest
from unreel.errors import CheckpointError, UnreelError
from unreel.io.text import parse_json
from unreel.models.encoder.checkpoint_files import (
    CHECKPOINTS_FOLDER,
    POINTER_FILE,
    WEIGHTS_FILE,
    find_checkpoint,
    read_spec,
)

MetricRow = dict[str, float]


def load_json(path: Path, notes: list[str]) -> dict[str, Any]:
    """A JSON object; {} when there is none, and a note when it is damaged."""
    if not path.is_file():
        return {}
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        notes.append(f"{path.name} can't be read ({error})")
        return {}
    return data if isinstance(data, dict) else {}


def check_encoder(run: Path, notes: list[str]) -> None:
    """A note when the checkpoint that the run points to is no encoder any more."""
    if not (run / CHECKPOINTS_FOLDER / POINTER_FILE).is_file():
        return
    try:
        folder = find_checkpoint(run)
        read_spec(folder)
        with safetensors.safe_open(folder / WEIGHTS_FILE, "pt"):
            pass
    except CheckpointError as error:
        notes.append(str(error))
    except (OSError, safetensors.SafetensorError) as error:
        notes.append(f"{folder / WEIGHTS_FILE}: the encoder's weights can't be read ({error}); take another checkpoint")


def is_result(data: dict[str, Any]) -> bool:
    """Whether a file in evaluations/ is one that this version wrote."""
    return {"kind", "title", "rows", "caption", "protocol"} <= data.keys() and bool(data["rows"])


def load_csv(path: Path) -> list[MetricRow]:
    """Rows of numbers; cells that are none are left out, and so are rows without a step."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = [{k: parse_number(v) for k, v in row.items() if k} for row in csv.DictReader(file)]
    clean = [{k: v for k, v in row.items() if v is not None} for row in rows]
    return [row for row in clean if "step" in row]


def parse_number(text: Any) -> float | None:
    if text in ("True", "False"):
        return float(text == "True")
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def load_manifest(run: Path, notes: list[str]) -> Manifest | None:
    if not (run / "manifest.parquet").is_file():
        return None
    try:
        return Manifest.load(run)
    except UnreelError as error:
        notes.append(str(error))
        return None
