"""What made embeddings: for one file in its header, for a store in STORE/provenance.json."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unreel.evaluation.labelled_videos import hash_video_content
from unreel.io.atomic_write import disk_errors
from unreel.models.encoder.checkpoint_files import find_checkpoint
from unreel.provenance.command_line import mask_address
from unreel.provenance.record import (
    PROVENANCE_FILE,
    add_to_provenance,
    collect_provenance,
    hash_contents,
    read_provenance,
)


def describe_embedding(
    checkpoint: str | Path, source: str | Path, paths: Iterable[str], settings: dict[str, Any]
) -> dict[str, Any]:
    """The record of one file of embeddings; its data are the videos that it has rows of."""
    hashes = [hash_video_content(path).decode() for path in dict.fromkeys(paths)]
    return collect_provenance(
        encoder=describe_checkpoint(checkpoint), data=describe_data(source, hashes), settings=settings
    )


def note_update(
    folder: Path, checkpoint: str | Path, source: str | Path, hashes: list[str], settings: dict[str, Any]
) -> None:
    """Add the update of a store, which now holds these contents, to its provenance.json. Raises DiskError."""
    record = collect_provenance(
        encoder=describe_checkpoint(checkpoint), data=describe_data(source, hashes), settings=settings
    )
    with disk_errors(folder / PROVENANCE_FILE):
        add_to_provenance(folder, "updates", record)


def describe_data(source: str | Path, hashes: list[str]) -> dict[str, Any]:
    """The source as it was named, and the fingerprint of the contents."""
    return {"source": mask_address(str(source)), "videos": len(hashes), "hash": hash_contents(hashes)}


def describe_checkpoint(checkpoint: str | Path) -> dict[str, Any]:
    """Where an encoder is from, and what made it where its run says so."""
    folder = find_checkpoint(Path(checkpoint))
    training = read_provenance(folder.parent.parent)
    return {"path": str(checkpoint), "checkpoint": folder.name, "training": training}
