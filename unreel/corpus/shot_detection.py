"""Detecting shot changes by colour histograms of thumbnails, first between key frames."""

import itertools

import numpy as np

from unreel.video.decoding.decoder import iter_keyframes, read_frames
from unreel.video.decoding.packet_index import index_frames

THUMBNAIL_HW = (24, 32)  # height and width at which frames are compared
GRID_CELLS, HISTOGRAM_LEVELS = 4, 16  # histograms on a 4 x 4 grid, 16 levels per channel
CUT_DISTANCE = 0.08  # least distance between two shots; detected 98.7 % of 399 joins of real clips (0.05: 99.2 %)
OUTLIER_RATIO = 4.0  # a cut changes more than this times the median change of the frames around it
CONTEXT_FRAMES = 8  # frames on each side that count as "around"


def detect_shot_changes(path: str) -> list[float]:
    """Seconds at which a new shot begins, ascending, exact to the frame. Raises VideoError.

    Key frames are compared first; the frames between two of them are decoded only where these differ.
    """
    times_s = index_frames(path).times_s
    keys = [(time_s, compute_histograms(frame)) for time_s, frame in iter_keyframes(path, THUMBNAIL_HW)]
    last_frame = read_frames(path, np.array([len(times_s) - 1]), THUMBNAIL_HW)[0]
    keys.append((float(times_s[-1]), compute_histograms(last_frame)))
    cuts: set[int] = set()
    for (start_s, before), (end_s, after) in itertools.pairwise(keys):
        if measure_distance(before, after) > CUT_DISTANCE:
            first, last = np.searchsorted(times_s, (start_s - 1e-6, end_s - 1e-6))
            frames = read_frames(path, np.arange(first, min(last + CONTEXT_FRAMES + 1, len(times_s))), THUMBNAIL_HW)
            offsets = find_cuts(np.stack([compute_histograms(frame) for frame in frames]))
            cuts |= {int(first) + offset for offset in offsets if offset <= last - first}
    return [float(times_s[frame]) for frame in sorted(cuts)]


def compute_histograms(frame: np.ndarray) -> np.ndarray:
    """Cumulative histograms of each colour on a 4 x 4 grid, float32 (4, 4, 3, 15), of a uint8 (H, W, 3) thumbnail."""
    height, width, _ = frame.shape
    cells = frame.reshape(GRID_CELLS, height // GRID_CELLS, GRID_CELLS, width // GRID_CELLS, 3, 1)
    return (cells < np.arange(1, HISTOGRAM_LEVELS) * (256 // HISTOGRAM_LEVELS)).mean(axis=(1, 3), dtype=np.float32)


def measure_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Earth mover's distance between two histograms, as a share of the range of levels."""
    return float(np.abs(first - second).mean())


def find_cuts(histograms: np.ndarray) -> list[int]:
    """Frames that begin a shot, from histograms (N, 4, 4, 3, 15): the change is an outlier and lasts."""
    changes = np.abs(np.diff(histograms, axis=0)).reshape(len(histograms) - 1, -1).mean(axis=1)
    cuts = []
    for frame in (np.flatnonzero(changes > CUT_DISTANCE) + 1).tolist():
        nearby = changes[max(0, frame - 1 - CONTEXT_FRAMES) : frame + CONTEXT_FRAMES]
        around = np.delete(nearby, min(CONTEXT_FRAMES, frame - 1))
        before = np.median(histograms[max(0, frame - CONTEXT_FRAMES // 2) : frame], axis=0)
        after = np.median(histograms[frame : frame + CONTEXT_FRAMES // 2], axis=0)
        is_outlier = len(around) == 0 or changes[frame - 1] > OUTLIER_RATIO * np.median(around)
        if is_outlier and measure_distance(before, after) > CUT_DISTANCE:
            cuts.append(frame)
    return cuts
