"""How much faster pieces decode than originals: the same windows read from both in turns, at the same size."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.errors import VideoError
from unreel.io.limits import WorkerFailure
from unreel.io.worker_pool import run_isolated
from unreel.video.decoding.decoder import read_frames
from unreel.video.decoding.packet_index import clear_caches, index_frames
from unreel.video.sources.packed_corpus import PackedCorpus, open_packed_corpus

NUM_WINDOWS, WINDOW_FRAMES, MAX_PIECES = 3, 16, 6


@dataclass(frozen=True)
class Speedup:
    """Decoding time of an original over that of its piece: median, least and most over windows, and their numbers."""

    factor: float
    least: float
    most: float
    windows: int
    pieces: int


def measure_speedup(out: Path, root: Path, max_pieces: int = MAX_PIECES) -> Speedup | None:
    """Time reads of 16-frame windows as a loader does them, without caches: index the file, decode the window.

    Takes up to `max_pieces` pieces evenly spread and three windows of each, read from the original and the piece in
    turns; the first pair of each piece is a warm-up. Returns None when no original can be read any more.
    """
    corpus = open_packed_corpus(out)
    rows = np.unique(np.linspace(0, len(corpus) - 1, min(max_pieces, len(corpus))).round().astype(int)).tolist()
    ratios: list[float] = []
    num_pieces = 0
    for row in rows:
        try:
            piece_ratios = run_isolated(_measure_ratios, corpus, row, root)
        except VideoError:
            continue
        if not isinstance(piece_ratios, WorkerFailure):
            ratios += piece_ratios
            num_pieces += 1
    return Speedup(statistics.median(ratios), min(ratios), max(ratios), len(ratios), num_pieces) if ratios else None


def _measure_ratios(corpus: PackedCorpus, row: int, root: Path) -> list[float]:
    original, piece = str(root / corpus.get_value(row, "source")), corpus.piece_path(row)
    size = (corpus.get_value(row, "height"), corpus.get_value(row, "width"))
    num_frames = corpus.get_value(row, "num_frames")
    offset = int(np.searchsorted(index_frames(original).times_s, corpus.get_value(row, "start_s") - 1e-6))
    window = np.arange(min(WINDOW_FRAMES, num_frames))
    starts = np.linspace(0, num_frames - len(window), NUM_WINDOWS + 1).round().astype(int).tolist()
    ratios = []
    for start in starts:
        original_s = _time_read(original, offset + start + window, size)
        ratios.append(original_s / _time_read(piece, start + window, size))
    return ratios[1:]


def _time_read(path: str, frames: np.ndarray, size: tuple[int, int]) -> float:
    clear_caches()
    start_s = time.perf_counter()
    read_frames(path, frames, size)
    return time.perf_counter() - start_s
