"""The jobs of packing: each encodes one piece, in any process, and leaves it with its row in OUT/.packing.

The result does not depend on the number of processes, and a killed packing continues from the finished pieces.
"""

import contextlib
import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unreel.corpus.manifest import Manifest
from unreel.errors import VideoError
from unreel.io.atomic_write import atomic_write_bytes
from unreel.io.checksums import hash_bytes
from unreel.io.text import parse_json
from unreel.packing.pack_settings import PackSettings
from unreel.packing.piece_encoder import encode_piece
from unreel.packing.piece_spans import build_key, compute_piece_size, count_pieces, split_into_spans
from unreel.rows.video_rows import Video
from unreel.video.decoding.packet_index import index_frames
from unreel.video.decoding.probe import probe
from unreel.video.sources.paths import PIECE_SUFFIX, relative_to_root

Row = dict[str, Any]
"""The result of a job: an encoded piece, a failure, or {} where the video has no such piece. JSON in OUT/.packing."""


@dataclass(frozen=True)
class PieceJob:
    """Piece `piece_number` of at most `max_pieces` of a video; `source` is the video's path in the corpus."""

    key: str
    video: Video
    source: str
    piece_number: int
    max_pieces: int


def has_piece(row: Row) -> bool:
    return bool(row.get("checksum"))


def has_failed(row: Row) -> bool:
    return bool(row.get("reason"))


def iter_jobs(manifest: Manifest, segment_s: float) -> Iterator[PieceJob]:
    """The jobs of all pieces, in the order of the corpus."""
    for n, video in enumerate(manifest.videos):
        max_pieces = count_pieces(video.duration_s, segment_s)
        source = relative_to_root(video.path, manifest.root)
        for number in range(max_pieces):
            yield PieceJob(build_key(n, number, video.path), video, source, number, max_pieces)


def run_job(job: PieceJob, work_folder: Path, settings: PackSettings) -> Row:
    """Encode a piece and write it and its row into `work_folder`; returns the row."""
    row_file, data_file = work_folder / f"{job.key}.json", work_folder / f"{job.key}{PIECE_SUFFIX}"
    if (row := load_finished_row(row_file, data_file)) is not None:
        return row
    with contextlib.suppress(OSError):
        data_file.unlink()
    try:
        row = _encode_piece_row(job, data_file, settings)
    except VideoError as error:
        row = build_failure_row(job, error.reason, error.detail)
    atomic_write_bytes(row_file, json.dumps(row).encode())
    return row


def _encode_piece_row(job: PieceJob, data_file: Path, settings: PackSettings) -> Row:
    video, spans = job.video, split_into_spans(index_frames(job.video.path).times_s, job.max_pieces)
    if job.piece_number >= len(spans):
        return {}
    span = spans[job.piece_number]
    size = compute_piece_size(video.width, video.height, settings.short_side)
    with private_path(data_file) as private:
        piece = encode_piece(video.path, private, span, size, settings)
        info, data = probe(private), private.read_bytes()
    return asdict(piece) | {
        "key": job.key,
        "size_bytes": len(data),
        "checksum": hash_bytes(data),
        "label": video.label,
        "group": video.group or (job.source if span.num_pieces > 1 else ""),
        "source": job.source,
        "fps": info.fps,
        "duration_s": info.duration_s,
        "variable_fps": info.variable_fps,
        "source_hash": video.content_hash,
        "source_bytes": video.size_bytes,
        "whole": span.num_pieces == 1,
        "shots": [s - piece.start_s for s in video.shot_changes_s if piece.start_s < s < piece.end_s],
    }


@contextlib.contextmanager
def private_path(path: Path) -> Iterator[Path]:
    """A name of this worker's own for a file that gets `path` at the end: one that was given up as lost may still write
    the same piece, on another machine.
    """
    private = path.with_name(f"{path.stem}-{uuid.uuid4().hex[:12]}{path.suffix}")
    try:
        yield private
        private.replace(path)
    finally:
        private.unlink(missing_ok=True)


def build_failure_row(job: PieceJob, reason: str, detail: str) -> Row:
    prefix = f"piece {job.piece_number + 1} of {job.max_pieces}: " if job.max_pieces > 1 else ""
    return {"key": job.key, "path": job.video.path, "reason": reason, "detail": prefix + detail}


def load_finished_row(row_file: Path, data_file: Path) -> Row | None:
    """The row of a finished piece; None when the piece is missing or damaged and must be encoded."""
    try:
        row: Row = parse_json(row_file.read_text())
        is_intact = not has_piece(row) or hash_bytes(data_file.read_bytes()) == row["checksum"]
        return row if is_intact else None
    except (OSError, ValueError):
        return None
