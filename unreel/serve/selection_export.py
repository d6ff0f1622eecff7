"""Export selected moments as CSV, or as a zip of clips with that CSV in it."""

import csv
import io
import math
import re
import tempfile
import zipfile
from typing import BinaryIO

from unreel.errors import InputError, UnreelError
from unreel.indexing.index.row_table import format_moment
from unreel.indexing.search.results import Hit
from unreel.serve.handlers import select_moments
from unreel.serve.media import transcoding
from unreel.serve.requests import SelectionRequest
from unreel.serve.state import IndexSnapshot, ServerState

MAX_CLIPS, MAX_ZIP_BYTES, CLIP_TIMEOUT_S = 100, 500 * 2**20, 120.0
UNSAFE_CHARACTERS = re.compile(r"[^\w.-]+")


def hits_to_csv(snapshot: IndexSnapshot, hits: list[Hit], clip_names: list[str] | None = None) -> str:
    """Columns video, start_s, end_s, label, score (if known), and with `clip_names` also clip."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["video", "start_s", "end_s", "label", "score"] + (["clip"] if clip_names is not None else []))
    for n, hit in enumerate(hits):
        label = snapshot.index.rows.get_label(hit.rows[0])
        score = f"{hit.score:.4f}" if math.isfinite(hit.score) else ""
        row = [*format_moment(hit), escape_formula(label), score]
        writer.writerow(row + ([clip_names[n]] if clip_names is not None else []))
    return text.getvalue()


def escape_formula(label: str) -> str:
    """Put an apostrophe before a label that a spreadsheet would run as a formula. Paths begin with "/"."""
    return f"'{label}" if label.startswith(("=", "+", "-", "@", "\t", "\r")) else label


def export_csv(state: ServerState, request: SelectionRequest) -> str:
    snapshot = state.get_snapshot(request.index_id)
    return hits_to_csv(snapshot, select_moments(snapshot, request.rows, request.scores))


def export_zip(state: ServerState, request: SelectionRequest) -> BinaryIO:
    """A zip in an unnamed temporary file. Its selection.csv says which clips can't be cut. Raises InputError."""
    snapshot = state.get_snapshot(request.index_id)
    hits = select_moments(snapshot, request.rows, request.scores)
    if len(hits) > MAX_CLIPS:
        raise InputError(f"{len(hits)} moments are selected, a zip takes {MAX_CLIPS}; select fewer, or export CSV")
    out: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  # closed after it is sent
    try:
        with zipfile.ZipFile(out, "w") as archive:
            clip_names = [_add_clip(state, snapshot, hit, n, archive) for n, hit in enumerate(hits, start=1)]
            archive.writestr("selection.csv", hits_to_csv(snapshot, hits, clip_names))
    except BaseException:
        out.close()
        raise
    return out


def _add_clip(state: ServerState, snapshot: IndexSnapshot, hit: Hit, number: int, archive: zipfile.ZipFile) -> str:
    """The name of the clip in the zip, or the reason why it is left out."""
    if sum(info.file_size for info in archive.infolist()) > MAX_ZIP_BYTES:
        return f"left out: the zip has {MAX_ZIP_BYTES >> 20} MB already"
    video = int(snapshot.index.rows.path_N[hit.rows[0]])
    try:
        path = snapshot.files.resolve_path(video)
        data = state.previews.worker_pool.call(CLIP_TIMEOUT_S, transcoding.cut_clip, path, hit.start_s, hit.end_s)
    except UnreelError as error:
        return f"left out: {error}"
    stem = UNSAFE_CHARACTERS.sub("_", snapshot.name_video(video).rpartition(".")[0])[-80:]
    name = f"{number:03d}-{stem}-{hit.start_s:.2f}-{hit.end_s:.2f}.mp4"
    archive.writestr(name, data)
    return name
