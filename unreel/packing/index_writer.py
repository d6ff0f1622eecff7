"""Writing what lies beside the shards of a packed corpus: index, manifest, lists of the originals, pack.json."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from unreel.corpus.lists import LIST_SUFFIXES
from unreel.corpus.manifest import Manifest
from unreel.errors import InputError
from unreel.io.atomic_write import atomic_path, atomic_write_bytes
from unreel.packing.jobs import Row, has_failed, has_piece
from unreel.packing.pack_plan import PackPlan
from unreel.packing.shard_files import count_finished, read_shard_rows
from unreel.rows.video_rows import Video
from unreel.types import FileFailure
from unreel.video.sources.packed_corpus import LAYOUT_VERSION
from unreel.video.sources.paths import INDEX_FILE, LISTS_FOLDER, PACK_FILE, PIECE_SUFFIX, relative_to_root

MAX_LIST_BYTES = 64 * 2**20
COPIED_SUFFIXES = LIST_SUFFIXES | {".json", ".pbtxt"}
INDEX_COLUMNS = {
    "key": pa.string(),
    "shard": pa.string(),
    "offset": pa.int64(),
    "size_bytes": pa.int64(),
    "checksum": pa.string(),
    "label": pa.string(),
    "group": pa.string(),
    "source": pa.string(),
    "start_s": pa.float64(),
    "end_s": pa.float64(),
    "width": pa.int32(),
    "height": pa.int32(),
    "fps": pa.float64(),
    "num_frames": pa.int64(),
    "duration_s": pa.float64(),
    "psnr_db": pa.float64(),
    "coding_psnr_db": pa.float64(),
    "crf": pa.int32(),
    "source_hash": pa.string(),
    "source_bytes": pa.int64(),
    "whole": pa.bool_(),
}


def write_index(manifest: Manifest, plan: PackPlan, out: Path) -> None:
    """Write the manifest, the index, the lists, and at last pack.json, which makes OUT a packed corpus."""
    _, num_shards = count_finished(out)
    all_rows = [row for number in range(num_shards) for row in read_shard_rows(out, number) or []]
    rows = [row for row in all_rows if has_piece(row)]
    if not rows:
        raise InputError(f"{plan.source}: none of the videos could be packed; the first: {all_rows[0]['reason']}")
    failures = [FileFailure(row["path"], row["reason"], row["detail"]) for row in all_rows if has_failed(row)]
    build_piece_manifest(manifest, rows, failures).save(out)
    schema = pa.schema(list(INDEX_COLUMNS.items()))
    index_rows = [{name: row[name] for name in INDEX_COLUMNS} for row in rows]
    with atomic_path(out / INDEX_FILE) as temporary:
        pq.write_table(pa.Table.from_pylist(index_rows, schema), temporary)
    quarantined = [relative_to_root(entry.path, manifest.root) for entry in (*manifest.quarantine, *failures)]
    description = {
        "layout": LAYOUT_VERSION,
        "pieces": len(rows),
        "shards": sorted({row["shard"] for row in rows}),
        "settings": asdict(plan.settings),
        "source": os.path.abspath(plan.source),
        "root": manifest.root,
        "files": plan.fingerprint,
        "lists": copy_lists(plan.source, Path(manifest.root), out),
        "unpacked": sorted(set(quarantined) - {row["source"] for row in rows}),
        "versions": {"unreel": get_unreel_version(), "av": version("av")},
    }
    atomic_write_bytes(out / PACK_FILE, json.dumps(description, indent=2, ensure_ascii=False).encode())


def get_unreel_version() -> str:
    from unreel import __version__

    return __version__


def build_piece_manifest(manifest: Manifest, rows: Sequence[Row], quarantine: Sequence[FileFailure]) -> Manifest:
    """The manifest of the pieces; their paths are relative to the packed corpus, so that it can be moved."""
    paths = {(row["source"], row["start_s"]): _piece_path(row) for row in rows}
    originals = {
        relative_to_root(video.path, manifest.root): relative_to_root(video.duplicate_of, manifest.root)
        for video in manifest.videos
        if video.duplicate_of
    }
    videos = [
        Video(
            path=_piece_path(row),
            codec="h264",
            rotation=0,
            content_hash=row["checksum"],
            duplicate_of=paths.get((originals.get(row["source"], ""), row["start_s"]), ""),
            shot_changes_s=tuple(row["shots"]),
            recording=row["source"],
            offset_s=row["start_s"],
            **{name: row[name] for name in ("width", "height", "fps", "num_frames", "duration_s", "variable_fps")},
            **{name: row[name] for name in ("size_bytes", "label", "group")},
        )
        for row in rows
    ]
    return Manifest(".", tuple(videos), (*manifest.quarantine, *quarantine), manifest.left_aside)


def _piece_path(row: Row) -> str:
    return f"{row['shard']}#{row['key']}{PIECE_SUFFIX}"


def copy_lists(source: Path, root: Path, out: Path) -> list[str]:
    """Copy the lists and annotations that lie among the videos to OUT/lists; returns their paths in the corpus."""
    paths = [source] if source.is_file() else []
    if source.is_dir():
        paths += sorted(path for pattern in ("*", "*/*") for path in root.glob(pattern))
    names = []
    for path in paths:
        if path.suffix.lower() not in COPIED_SUFFIXES or not path.is_file():
            continue
        if path.stat().st_size <= MAX_LIST_BYTES:
            name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
            (out / LISTS_FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, out / LISTS_FOLDER / name)
            names.append(name)
    return names
