"""What packing gains: the same windows decoded from originals and from pieces, in alternation, to the same size."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.errors import VideoError
from unreel.io.worker_pool import WorkerFailure, run_isolated
from unreel.video.decoding import decoder
from unreel.video.sources import packed_corpus

NUM_WINDOWS, WINDOW_FRAMES, MAX_PIECES = 3, 16, 6


@dataclass(frozen=True)
class Speedup:
    """Seconds of an original over seconds of its piece: median over windows, least and most; how many there were."""

    factor: float
    least: float
    most: float
    windows: int
    pieces: int


def measure_speedup(out: Path, root: Path, max_pieces: int = MAX_PIECES) -> Speedup | None:
    """Time draws of a window of 16 frames as a loader makes them: frames found, window decoded, nothing remembered.

    From up to `num_pieces` pieces evenly spread, three windows each, taken from the original and from the piece in
    turns; the first turn of each is not counted. None when no original can be read any more.
    """
    corpus = packed_corpus.open_packed_corpus(out)
    rows = np.unique(np.linspace(0, len(corpus) - 1, min(max_pieces, len(corpus))).round().astype(int)).tolist()
    ratios: list[float] = []
    pieces = 0
    for row in rows:
        try:
            found = run_isolated(_measure_ratios, corpus, row, root)
        except VideoError:
            continue
        if not isinstance(found, WorkerFailure):
            ratios += found
            pieces += 1
    return Speedup(statistics.median(ratios), min(ratios), max(ratios), len(ratios), pieces) if ratios else None


def _measure_ratios(corpus: packed_corpus.PackedCorpus, row: int, root: Path) -> list[float]:
    original, piece = str(root / corpus.get_value(row, "source")), corpus.piece_path(row)
    size = (corpus.get_value(row, "height"), corpus.get_value(row, "width"))
    count = corpus.get_value(row, "num_frames")
    before = int(np.searchsorted(decoder.index_frames(original).times_s, corpus.get_value(row, "start_s") - 1e-6))
    window = np.arange(min(WINDOW_FRAMES, count))
    starts = np.linspace(0, count - len(window), NUM_WINDOWS + 1).round().astype(int).tolist()
    found = []
    for start in [starts[0], *starts[1:]]:
        original_s = _time_read(original, before + start + window, size)
        found.append(original_s / _time_read(piece, start + window, size))
    return found[1:]


def _time_read(path: str, frames: np.ndarray, size: tuple[int, int]) -> float:
    decoder.clear_caches()
    began_s = time.perf_counter()
    decoder.read_frames(path, frames, size)
    return time.perf_counter() - began_s
