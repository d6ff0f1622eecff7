"""One piece of a packed corpus: where a video is cut, how large it becomes, and coding it until it is near enough.

Near enough is a PSNR: of up to 16 frames spread over the piece, decoded and as RGB, against the same frames of the
original scaled to the piece's size. H.264 in yuv420p holds colour at half the resolution, which alone can cost more
than half of the error that is allowed (saturated patterns of a few pixels); where it does, it is enough that what
coding adds to that is within the bound.
"""

import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from unreel.errors import VideoError
from unreel.video.decoding import decoder

NUM_PSNR_FRAMES, TRIAL_FRAMES = 16, 24
MIN_CRF, DB_PER_CRF = 1, 0.8
MAX_PSNR_DB = 99.0  # said of equal frames
HALVING_DB = 10 * math.log10(2)
CODEC = "libx264"
# Short closed GOPs without B pictures, and without what costs decoding most (CABAC, the loop filter).
CODEC_OPTIONS = {"preset": "fast", "tune": "fastdecode", "bf": "0", "sc_threshold": "0", "flags": "+cgop"}


@dataclass(frozen=True)
class PackSettings:
    """What a corpus is packed to."""

    short_side: int = 128
    """Pixels of the shorter side; smaller videos stay as they are."""
    gop: int = 12
    """Frames from one key frame to the next."""
    crf: int = 23
    """H.264 quality to begin with; each piece is coded at a lower one where the PSNR asks for it."""
    psnr_db: float = 38.0
    """What each piece must reach against the scaled original."""
    segment_s: float = 60.0
    """Videos longer than 1.5 times this are cut into pieces of about so many seconds."""
    shard_mb: float = 256.0
    """Megabytes of a tar shard."""


@dataclass(frozen=True)
class FrameSpan:
    """Frames `first` to `last` - 1 of a video, which are piece `number` of `count`."""

    piece_number: int
    num_pieces: int
    start_frame: int
    stop_frame: int


@dataclass(frozen=True)
class EncodedPiece:
    """A piece as it was coded; times are seconds in the original, from 0 at its first frame."""

    start_s: float
    end_s: float
    width: int
    height: int
    num_frames: int
    crf: int
    psnr_db: float
    coding_psnr_db: float


def count_pieces(duration_s: float, segment_s: float) -> int:
    """One, or for what is longer than 1.5 segments so many that each is about a segment."""
    return 1 if duration_s <= 1.5 * segment_s else round(duration_s / segment_s)


def split_into_spans(times_s: np.ndarray, max_pieces: int) -> list[FrameSpan]:
    """At most `count` pieces of equal length that together have every frame once, each two frames or more."""
    length_s = float(times_s[-1]) + float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0
    edges = [0]
    for start_s in np.linspace(0, length_s, max_pieces + 1)[1:-1]:
        frame = int(np.searchsorted(times_s, start_s - 1e-6))
        if frame >= edges[-1] + 2 and frame <= len(times_s) - 2:
            edges.append(frame)
    pairs = list(itertools.pairwise([*edges, len(times_s)]))
    return [FrameSpan(number, len(pairs), first, last) for number, (first, last) in enumerate(pairs)]


def compute_piece_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """(height, width): even, the shorter side `short_side`, never larger than the original."""
    share = min(1.0, short_side / min(width, height))
    sides = (2 * max(1, math.floor(side * share / 2 + (0.5 if share < 1 else 0))) for side in (height, width))
    high, wide = sides
    return high, wide


def build_key(video_number: int, piece_number: int, path: str) -> str:
    """Numbers first, so that keys ascend in the order of the corpus, then the name of the file for people."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(path).stem).strip("-")[:40]
    return f"{video_number:08d}-{piece_number:05d}" + (f"-{name}" if name else "")


@dataclass(frozen=True)
class PsnrBreakdown:
    """PSNR in dB of the coded piece against the scaled original, of coding alone, and of halving the colour alone."""

    total_db: float
    coding_db: float
    chroma_db: float

    def effective_db(self, target_db: float) -> float:
        """What is to be compared with the bound."""
        if self.chroma_db >= target_db + HALVING_DB:
            return self.total_db
        return max(self.total_db, self.coding_db)


def encode_piece(path: str, out: Path, span: FrameSpan, size: tuple[int, int], settings: PackSettings) -> EncodedPiece:
    """Code a piece into the file `out`, at the quality that its PSNR needs. Raises VideoError, DiskError."""
    crf = estimate_crf(path, out, span, size, settings)
    while True:
        near = encode_span(path, out, span, size, {**CODEC_OPTIONS, "g": str(settings.gop), "crf": str(crf)})
        if (reached_db := near.effective_db(settings.psnr_db)) >= settings.psnr_db or crf == MIN_CRF:
            break
        crf = lower_crf(crf, settings.psnr_db - reached_db)
    times_s = decoder.index_frames(path).times_s
    check_times(path, out, times_s[span.start_frame : span.stop_frame])
    end_s = float(times_s[span.stop_frame]) if span.stop_frame < len(times_s) else decoder.probe(path).duration_s
    num_frames = span.stop_frame - span.start_frame
    start_s = float(times_s[span.start_frame])
    return EncodedPiece(start_s, end_s, size[1], size[0], num_frames, crf, near.total_db, near.coding_db)


def estimate_crf(path: str, out: Path, span: FrameSpan, size: tuple[int, int], settings: PackSettings) -> int:
    """The quality that a second from the middle needs: spares coding the whole of a long piece twice."""
    first = max(span.start_frame, (span.start_frame + span.stop_frame - TRIAL_FRAMES) // 2)
    middle = FrameSpan(0, 1, first, min(span.stop_frame, first + TRIAL_FRAMES))
    crf = settings.crf
    if (middle.start_frame, middle.stop_frame) == (span.start_frame, span.stop_frame):
        return crf
    while crf > MIN_CRF:
        near = encode_span(path, out, middle, size, {**CODEC_OPTIONS, "g": str(settings.gop), "crf": str(crf)})
        if (reached_db := near.effective_db(settings.psnr_db)) >= settings.psnr_db:
            break
        crf = lower_crf(crf, settings.psnr_db - reached_db)
    return crf


def lower_crf(crf: int, missing_db: float) -> int:
    return max(MIN_CRF, crf - max(1, math.ceil(missing_db / DB_PER_CRF)))


def encode_span(path: str, out: Path, span: FrameSpan, size: tuple[int, int], options: dict[str, str]) -> PsnrBreakdown:
    """Code some frames of a video at their own times, and tell how near they came."""
    ticks, tick = decoder.read_timestamps(path)
    shown = ticks[span.start_frame : span.stop_frame] - ticks[span.start_frame]
    sampled = np.unique(np.linspace(0, len(shown) - 1, NUM_PSNR_FRAMES).round().astype(int))
    kept: list[np.ndarray] = []

    def timed() -> Iterator[tuple[int, np.ndarray]]:
        wanted = set(sampled.tolist())
        for n, picture in enumerate(decoder.iter_frames(path, span.start_frame, span.stop_frame, size)):
            if n in wanted:
                kept.append(picture)
            yield int(shown[n]), picture

    length_s = Fraction(int(shown[-1])) * tick
    rate = Fraction((len(shown) - 1) / length_s if length_s else 25).limit_denominator(1001)
    decoder.write_timed_video(out, timed(), decoder.EncodingOptions(tick, rate, CODEC, options))
    coded, scaled = decoder.read_frames(out, sampled), np.stack(kept)
    halved = np.stack([decoder.subsample_chroma(picture) for picture in kept])
    return PsnrBreakdown(compute_psnr(coded, scaled), compute_psnr(coded, halved), compute_psnr(halved, scaled))


def compute_psnr(frames: np.ndarray, reference_frames: np.ndarray) -> float:
    """Of uint8 pictures, in dB over all of them together."""
    error = float(np.mean((frames.astype(np.float32) - reference_frames) ** 2, dtype=np.float64))
    return MAX_PSNR_DB if error == 0 else min(MAX_PSNR_DB, 10 * math.log10(255**2 / error))


def check_times(path: str, out: Path, times_s: np.ndarray) -> None:
    """Raises VideoError where the coded piece does not show its frames when the original does."""
    found = decoder.index_frames(out).times_s
    if len(found) != len(times_s) or not np.allclose(found, times_s - times_s[0], rtol=0, atol=1e-6):
        raise VideoError(path, "damaged", "its frames have times that an mp4 can't hold")
