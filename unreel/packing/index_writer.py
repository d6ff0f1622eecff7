"""What stands beside the shards of a packed corpus: index, manifest, the lists of the originals, and pack.json."""

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
from unreel.corpus.manifest import Manifest, QuarantineEntry, Video
from unreel.errors import InputError
from unreel.io.atomic_write import atomic_path, atomic_write_bytes
from unreel.packing.jobs import Row, count_finished, read_shard_rows, relative_to_root
from unreel.packing.piece_encoder import PackSettings
from unreel.video.sources import packed_corpus
from unreel.video.sources.paths import INDEX_FILE, LISTS_FOLDER, PACK_FILE, PIECE_SUFFIX

MAX_LIST_BYTES = 64 * 2**20
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


def write_index(manifest: Manifest, source: Path, out: Path, settings: PackSettings, source_fingerprint: str) -> None:
    """Index, manifest, lists, and last of all pack.json, which makes it a packed corpus."""
    _, shards = count_finished(out)
    every = [row for number in range(shards) for row in read_shard_rows(out, number) or []]
    rows = [row for row in every if row.get("checksum")]
    if not rows:
        raise InputError(f"{source}: none of the videos could be packed; the first: {every[0]['reason']}")
    bad = [QuarantineEntry(row["path"], row["reason"], row["detail"]) for row in every if row.get("reason")]
    build_piece_manifest(manifest, rows, bad).save(out)
    schema = pa.schema(list(INDEX_COLUMNS.items()))
    columns = [{name: row[name] for name in INDEX_COLUMNS} for row in rows]
    with atomic_path(out / INDEX_FILE) as temporary:
        pq.write_table(pa.Table.from_pylist(columns, schema), temporary)
    quarantined = [relative_to_root(q.path, manifest.root) for q in (*manifest.quarantine, *bad)]
    told = {
        "layout": packed_corpus.LAYOUT_VERSION,
        "pieces": len(rows),
        "shards": sorted({row["shard"] for row in rows}),
        "settings": asdict(settings),
        "source": os.path.abspath(source),
        "root": manifest.root,
        "files": source_fingerprint,
        "lists": copy_lists(source, Path(manifest.root), out),
        "unpacked": sorted(set(quarantined) - {row["source"] for row in rows}),
        "versions": {"unreel": get_unreel_version(), "av": version("av")},
    }
    atomic_write_bytes(out / PACK_FILE, json.dumps(told, indent=2, ensure_ascii=False).encode())


def get_unreel_version() -> str:
    from unreel import __version__

    return __version__


def build_piece_manifest(manifest: Manifest, rows: Sequence[Row], quarantine: Sequence[QuarantineEntry]) -> Manifest:
    """The manifest of the pieces; their paths are relative to the packed corpus, so that it may be moved."""
    paths = {(row["source"], row["start_s"]): f"{row['shard']}#{row['key']}{PIECE_SUFFIX}" for row in rows}
    first = {
        relative_to_root(v.path, manifest.root): relative_to_root(v.duplicate_of, manifest.root)
        for v in manifest.videos
        if v.duplicate_of
    }
    videos = [
        Video(
            path=f"{row['shard']}#{row['key']}{PIECE_SUFFIX}",
            codec="h264",
            rotation=0,
            content_hash=row["checksum"],
            duplicate_of=paths.get((first.get(row["source"], ""), row["start_s"]), ""),
            shot_changes_s=tuple(row["shots"]),
            recording=row["source"],
            offset_s=row["start_s"],
            **{name: row[name] for name in ("width", "height", "fps", "num_frames", "duration_s", "variable_fps")},
            **{name: row[name] for name in ("size_bytes", "label", "group")},
        )
        for row in rows
    ]
    return Manifest(".", tuple(videos), (*manifest.quarantine, *quarantine))


def copy_lists(source: Path, root: Path, out: Path) -> list[str]:
    """Lists and annotations that lie among the videos, copied to OUT/lists; their places in the corpus."""
    names = []
    places = [source] if source.is_file() else []
    places += sorted(p for depth in ("*", "*/*") for p in root.glob(depth)) if source.is_dir() else []
    for place in places:
        if place.suffix.lower() not in LIST_SUFFIXES | {".json", ".pbtxt"} or not place.is_file():
            continue
        if place.stat().st_size <= MAX_LIST_BYTES:
            name = place.relative_to(root).as_posix() if place.is_relative_to(root) else place.name
            (out / LISTS_FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(place, out / LISTS_FOLDER / name)
            names.append(name)
    return names
