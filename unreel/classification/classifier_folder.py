"""A classifier on disk: a folder that is also the checkpoint of its encoder, so that nothing else is needed.

    CLASSIFIER/classifier.json         version, classes, head, calibration, how it was trained, its figures
               classifier.safetensors  the tensors of the head
               encoder.json, encoder.safetensors, heads.safetensors
               sums.json               checksums of these
               provenance.json         what made it
               report.html             its figures as a page

No file can run code when it is read.
"""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch

from unreel import __version__
from unreel.classification.calibration import UNITS, Calibration
from unreel.classification.classifier import Classifier
from unreel.classification.heads.attentive import AttentiveHead
from unreel.classification.heads.finetuned import FinetunedHead
from unreel.classification.heads.head import Head
from unreel.classification.heads.knn import KnnHead
from unreel.classification.heads.linear import LinearHead
from unreel.embedding import load_encoder
from unreel.errors import CheckpointError, InputError, NeedsImportError, no_classifier_error
from unreel.io.checksums import CHECKSUMS_FILE, hash_file, verify_checksums, write_checksums
from unreel.io.text import format_json, parse_json
from unreel.models.encoder.checkpoint_files import (
    HEADS_FILE,
    SPEC_FILE,
    WEIGHTS_FILE,
    clone_shared_tensors,
    save_encoder,
)
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.row_parts import RowParts

FORMAT_VERSION = 1
VERSION_KEY = "unreel_classifier"
CLASSIFIER_JSON, TENSORS_FILE = "classifier.json", "classifier.safetensors"
HEADS: dict[str, Any] = {head.kind: head for head in (LinearHead, KnnHead, AttentiveHead, FinetunedHead)}
ADVICE = "put back a copy of it, or train it again with `unreel classify train`"


def save_classifier(classifier: Classifier, folder: Path) -> None:
    """Fill an existing folder; the caller makes it atomic. Raises OSError."""
    save_encoder(classifier.encoder, folder)
    tensors = clone_shared_tensors(classifier.head.to_tensors())
    (folder / TENSORS_FILE).write_bytes(safetensors.torch.save(tensors))
    parts = dataclasses.asdict(classifier.parts) if classifier.parts.has_appearance else None
    calibrations = {unit: dataclasses.asdict(classifier.calibrations[unit]) for unit in UNITS}
    data = {
        VERSION_KEY: FORMAT_VERSION,
        "unreel": __version__,
        "kind": classifier.head.kind,
        "classes": list(classifier.classes),
        "head": classifier.head.to_json(),
        "parts": parts,
        "calibration": calibrations,
        **classifier.about,
    }
    (folder / CLASSIFIER_JSON).write_text(format_json(data) + "\n", encoding="utf-8")
    write_checksums(folder, list_checked_files(folder))


def list_checked_files(folder: Path) -> list[str]:
    """The files of a classifier that have checksums."""
    optional = [name for name in (HEADS_FILE,) if (folder / name).exists()]
    return [CLASSIFIER_JSON, TENSORS_FILE, SPEC_FILE, WEIGHTS_FILE, *optional]


def hash_classifier(folder: Path) -> str:
    """What tells a classifier from any other: the hash of its checksums."""
    return hash_file(folder / CHECKSUMS_FILE)


def load_classifier(folder: str | Path, allow_import: bool = False) -> Classifier:
    """Load a classifier that `train_classifier` wrote; its folder suffices.

    Args:
        folder: the folder.
        allow_import: import, and so run, the code of your own that its encoder names as its network.

    Returns:
        The classifier, on the CPU.

    Raises:
        InputError: there is no classifier, or one of another version of unreel.
        CheckpointError: the folder is damaged.

    >>> made = unreel.train_classifier(run, videos, out, num_clips=2)
    >>> unreel.load_classifier(out).classes == made.classes
    True
    """
    folder = Path(folder)
    data = read_classifier_json(folder)
    if not (folder / CHECKSUMS_FILE).is_file():
        raise CheckpointError(f"{folder}: half a classifier, its {CHECKSUMS_FILE} is missing; {ADVICE}")
    verify_checksums(folder, list_checked_files(folder), advice=ADVICE)
    try:
        tensors = safetensors.torch.load_file(folder / TENSORS_FILE)
        classes = [str(name) for name in data["classes"]]
        head: Head = HEADS[data["kind"]].from_saved(data["head"], tensors, len(classes))
        calibrations = {unit: Calibration(**data["calibration"][unit]) for unit in UNITS}
        encoder = load_encoder(folder, allow_import)
        parts = read_parts(data["parts"], encoder, head)
    except NeedsImportError:
        raise
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}; {ADVICE}") from error
    except (OSError, KeyError, TypeError, ValueError, AttributeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{folder}: not what unreel wrote ({error!r}); {ADVICE}") from error
    about: dict[str, Any] = {name: data[name] for name in ("training", "measured", "warnings") if name in data}
    return Classifier(classes, encoder, head, parts, calibrations, about, folder)


def read_classifier_json(folder: Path) -> dict[str, Any]:
    """classifier.json. Raises InputError where there is none, or one of another version; CheckpointError."""
    path = folder / CLASSIFIER_JSON
    if not path.is_file():
        raise no_classifier_error(folder)
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: can't be read ({error}); {ADVICE}") from error
    if data.get(VERSION_KEY) != FORMAT_VERSION:
        raise InputError(
            f"{folder}: a classifier of format {data.get(VERSION_KEY)!r}, written by unreel {data.get('unreel')!r}; "
            f"this one reads format {FORMAT_VERSION}. Train it again, or use the unreel that wrote it"
        )
    return data


def read_parts(saved: dict[str, Any] | None, encoder: Encoder, head: Head) -> RowParts:
    """How much each part of a row counts: measured beside an image model, else alike."""
    if saved is None:
        return RowParts.make_equal((head.sees,), (0,))
    names, widths, spreads = (tuple(saved[name]) for name in ("names", "widths", "spreads"))
    if names != encoder.spec.part_names or not np.isfinite(spreads).all():
        raise ValueError(f"its parts are {', '.join(names)}, the encoder's {', '.join(encoder.spec.part_names)}")
    mean = tuple(map(float, saved.get("appearance_mean", ())))
    return RowParts(names, widths, spreads, float(saved["motion_weight"]), mean)
