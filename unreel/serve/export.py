"""A selection as CSV, or as a zip of cut clips with that CSV in it."""

import csv
import io
import math
import re
import tempfile
import zipfile
from typing import BinaryIO

from unreel.errors import InputError, UnreelError
from unreel.search.hits import Hit
from unreel.serve import media
from unreel.serve.questions import Selected, selected
from unreel.serve.served import Opened, Served

MOST_CLIPS, MOST_BYTES, CLIP_S = 100, 500 * 2**20, 120.0
ODD = re.compile(r"[^\w.-]+")


def as_csv(opened: Opened, hits: list[Hit], clips: list[str] | None = None) -> str:
    """video, start_s, end_s, label, score where one is known, and the file of the clip, or why there is none, where
    clips were cut."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["video", "start_s", "end_s", "label", "score"] + (["clip"] if clips is not None else []))
    rows = opened.index.rows
    for n, hit in enumerate(hits):
        label = rows.labels[rows.label_N[hit.rows[0]]]
        score = f"{hit.score:.4f}" if math.isfinite(hit.score) else ""
        row = [hit.path, f"{hit.start_s:.3f}", f"{hit.end_s:.3f}", plain(label), score]
        writer.writerow(row + ([clips[n]] if clips is not None else []))
    return text.getvalue()


def plain(label: str) -> str:
    """A label that a spreadsheet would run as a formula gets an apostrophe; paths begin with "/", so they stay."""
    return f"'{label}" if label.startswith(("=", "+", "-", "@", "\t", "\r")) else label


def table(served: Served, asked: Selected) -> str:
    opened = served.now(asked.of)
    return as_csv(opened, selected(opened, asked.rows, asked.scores))


def cut_clips(served: Served, asked: Selected) -> BinaryIO:
    """A zip, in a file without a name. A clip that can't be cut is named in its selection.csv. Raises InputError."""
    opened = served.now(asked.of)
    hits = selected(opened, asked.rows, asked.scores)
    if len(hits) > MOST_CLIPS:
        raise InputError(f"{len(hits)} moments are selected, a zip takes {MOST_CLIPS}; select fewer, or export CSV")
    out: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115  # closed once it was sent
    try:
        with zipfile.ZipFile(out, "w") as zipped:
            clips = [_cut(served, opened, hit, n, zipped) for n, hit in enumerate(hits, start=1)]
            zipped.writestr("selection.csv", as_csv(opened, hits, clips))
    except BaseException:
        out.close()
        raise
    return out


def _cut(served: Served, opened: Opened, hit: Hit, number: int, zipped: zipfile.ZipFile) -> str:
    """The name of the clip in the zip, or in words why there is none."""
    if sum(info.file_size for info in zipped.infolist()) > MOST_BYTES:
        return f"left out: the zip has {MOST_BYTES >> 20} MB already"
    video = int(opened.index.rows.path_N[hit.rows[0]])
    try:
        path = opened.files.path(video)
        data = served.previews.apart.call(CLIP_S, media.clip, path, hit.start_s, hit.end_s)
    except UnreelError as error:
        return f"left out: {error}"
    stem = ODD.sub("_", opened.names[video].rpartition(".")[0])[-80:]
    name = f"{number:03d}-{stem}-{hit.start_s:.2f}-{hit.end_s:.2f}.mp4"
    zipped.writestr(name, data)
    return name
