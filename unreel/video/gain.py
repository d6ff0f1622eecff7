"""What packing gains: the same windows decoded from originals and from pieces, in alternation, to the same size."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.errors import VideoError
from unreel.video import file, packed
from unreel.video.processes import Ended, alone

WINDOWS, WINDOW_FRAMES, MAX_PIECES = 3, 16, 6


@dataclass(frozen=True)
class Gain:
    """Seconds of an original over seconds of its piece: median over windows, least and most; how many there were."""

    factor: float
    least: float
    most: float
    windows: int
    pieces: int


def measure_gain(out: Path, root: Path, num_pieces: int = MAX_PIECES) -> Gain | None:
    """Time draws of a window of 16 frames as a loader makes them: frames found, window decoded, nothing remembered.

    From up to `num_pieces` pieces evenly spread, three windows each, taken from the original and from the piece in
    turns; the first turn of each is not counted. None when no original can be read any more.
    """
    corpus = packed.open_corpus(out)
    rows = np.unique(np.linspace(0, len(corpus) - 1, min(num_pieces, len(corpus))).round().astype(int)).tolist()
    ratios: list[float] = []
    pieces = 0
    for row in rows:
        try:
            found = alone(_ratios, corpus, row, root)
        except VideoError:
            continue
        if not isinstance(found, Ended):
            ratios += found
            pieces += 1
    return Gain(statistics.median(ratios), min(ratios), max(ratios), len(ratios), pieces) if ratios else None


def _ratios(corpus: packed.Corpus, row: int, root: Path) -> list[float]:
    original, piece = str(root / corpus.value(row, "source")), corpus.address(row)
    size = (corpus.value(row, "height"), corpus.value(row, "width"))
    count = corpus.value(row, "num_frames")
    before = int(np.searchsorted(file.index_frames(original).times_s, corpus.value(row, "start_s") - 1e-6))
    window = np.arange(min(WINDOW_FRAMES, count))
    starts = np.linspace(0, count - len(window), WINDOWS + 1).round().astype(int).tolist()
    found = []
    for start in [starts[0], *starts[1:]]:
        original_s = _seconds(original, before + start + window, size)
        found.append(original_s / _seconds(piece, start + window, size))
    return found[1:]


def _seconds(path: str, frames: np.ndarray, size: tuple[int, int]) -> float:
    file.forget()
    began_s = time.perf_counter()
    file.read(path, frames, size)
    return time.perf_counter() - began_s
