"""verdict.json of a run and of an index: the verdict, and which checkpoint it is about."""

import json
from pathlib import Path

from unreel.evaluation.contamination import find_run_folder
from unreel.evaluation.verdict.decision import Verdict
from unreel.io.atomic_write import atomic_write_text
from unreel.io.text import parse_json
from unreel.models.encoder.checkpoint_files import find_checkpoint

VERDICT_FILE = "verdict.json"


def write_verdict(folder: Path, verdict: Verdict, checkpoint: str) -> None:
    """Write the verdict about the checkpoint of this name into a folder. Raises DiskError."""
    text = json.dumps({"checkpoint": checkpoint, **verdict.to_json()}, indent=2)
    atomic_write_text(folder / VERDICT_FILE, text + "\n")


def read_verdict(folder: Path, checkpoint: str = "") -> Verdict | None:
    """The verdict in a folder; None where there is none, for a damaged file, and for one about another checkpoint.

    Without a name, the verdict about any checkpoint.
    """
    try:
        data = parse_json((folder / VERDICT_FILE).read_text(encoding="utf-8"))
        return Verdict.from_json(data) if checkpoint in ("", data["checkpoint"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def copy_verdict(checkpoint: Path, out: Path) -> None:
    """Put the verdict about an encoder beside an index of its embeddings; an older one there is removed.

    `checkpoint` is a run or one of its checkpoints. Raises CheckpointError and DiskError.
    """
    folder = find_checkpoint(checkpoint)
    verdict = read_verdict(find_run_folder(folder), folder.name)
    if verdict:
        write_verdict(out, verdict, folder.name)
    else:
        (out / VERDICT_FILE).unlink(missing_ok=True)
