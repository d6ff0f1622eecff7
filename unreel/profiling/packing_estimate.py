"""How much faster a corpus decodes once it is packed, measured on a few of its videos."""

import time
from pathlib import Path

from unreel.corpus.manifest import Manifest
from unreel.packing.pack import pack
from unreel.packing.pack_settings import PackSettings
from unreel.packing.speedup import Speedup, measure_speedup
from unreel.profiling.videos import spread_evenly, write_list

MAX_PACKED_VIDEO_S, NUM_PACKED_VIDEOS = 60.0, 3


def measure_packing(manifest: Manifest, size: int, temporary_folder: Path) -> tuple[Speedup | None, float]:
    """The speedup from packing a few short videos, and the seconds to pack one; None where all videos are long."""
    short = [video.path for video in manifest.drop_duplicates() if video.duration_s <= MAX_PACKED_VIDEO_S]
    paths = spread_evenly(short, NUM_PACKED_VIDEOS)
    if not paths:
        return None, 0.0
    out = temporary_folder / "packed"
    began_s = time.perf_counter()
    pack(
        write_list(paths, temporary_folder / "few.txt"),
        out,
        PackSettings(short_side=128 if size <= 112 else 256),
        Path("/"),
    )
    elapsed_s = time.perf_counter() - began_s
    return measure_speedup(out, Path("/")), elapsed_s / len(paths)
