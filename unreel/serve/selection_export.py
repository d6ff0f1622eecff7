"""A selection as CSV, or as a zip of cut clips with that CSV in it."""

import csv
import io
import math
import re
import tempfile
import zipfile
from typing import BinaryIO

from unreel.errors import InputError, UnreelError
from unreel.indexing.results import Hit
from unreel.serve.handlers import SelectionRequest, select_moments
from unreel.serve.media import transcoding
from unreel.serve.state import IndexSnapshot, ServerState

MAX_CLIPS, MAX_ZIP_BYTES, CLIP_TIMEOUT_S = 100, 500 * 2**20, 120.0
UNSAFE_CHARACTERS = re.compile(r"[^\w.-]+")


def hits_to_csv(snapshot: IndexSnapshot, hits: list[Hit], clip_names: list[str] | None = None) -> str:
    """video, start_s, end_s, label, score where one is known, and the file of the clip, or why there is none, where
    clips were cut."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["video", "start_s", "end_s", "label", "score"] + (["clip"] if clip_names is not None else []))
    rows = snapshot.index.rows
    for n, hit in enumerate(hits):
        label = rows.labels[rows.label_N[hit.rows[0]]]
        score = f"{hit.score:.4f}" if math.isfinite(hit.score) else ""
        row = [hit.path, f"{hit.start_s:.3f}", f"{hit.end_s:.3f}", escape_formula(label), score]
        writer.writerow(row + ([clip_names[n]] if clip_names is not None else []))
    return text.getvalue()


def escape_formula(label: str) -> str:
    """A label that a spreadsheet would run as a formula gets an apostrophe; paths begin with "/", so they stay."""
    return f"'{label}" if label.startswith(("=", "+", "-", "@", "\t", "\r")) else label


def export_csv(state: ServerState, request: SelectionRequest) -> str:
    opened = state.get_snapshot(request.of)
    return hits_to_csv(opened, select_moments(opened, request.rows, request.scores))


def export_zip(state: ServerState, request: SelectionRequest) -> BinaryIO:
    """A zip, in a file without a name. A clip that can't be cut is named in its selection.csv. Raises InputError."""
    opened = state.get_snapshot(request.of)
    hits = select_moments(opened, request.rows, request.scores)
    if len(hits) > MAX_CLIPS:
        raise InputError(f"{len(hits)} moments are selected, a zip takes {MAX_CLIPS}; select fewer, or export CSV")
    out: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  # closed once it was sent
    try:
        with zipfile.ZipFile(out, "w") as zipped:
            clips = [_add_clip(state, opened, hit, n, zipped) for n, hit in enumerate(hits, start=1)]
            zipped.writestr("selection.csv", hits_to_csv(opened, hits, clips))
    except BaseException:
        out.close()
        raise
    return out


def _add_clip(state: ServerState, snapshot: IndexSnapshot, hit: Hit, number: int, archive: zipfile.ZipFile) -> str:
    """The name of the clip in the zip, or in words why there is none."""
    if sum(info.file_size for info in archive.infolist()) > MAX_ZIP_BYTES:
        return f"left out: the zip has {MAX_ZIP_BYTES >> 20} MB already"
    video = int(snapshot.index.rows.path_N[hit.rows[0]])
    try:
        path = snapshot.files.resolve_path(video)
        data = state.previews.worker_pool.call(CLIP_TIMEOUT_S, transcoding.cut_clip, path, hit.start_s, hit.end_s)
    except UnreelError as error:
        return f"left out: {error}"
    stem = UNSAFE_CHARACTERS.sub("_", snapshot.video_names[video].rpartition(".")[0])[-80:]
    name = f"{number:03d}-{stem}-{hit.start_s:.2f}-{hit.end_s:.2f}.mp4"
    archive.writestr(name, data)
    return name
