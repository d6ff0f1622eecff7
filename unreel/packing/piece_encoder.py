"""Encoding one piece of a packed corpus at the highest CRF that reaches the wanted PSNR.

The PSNR compares up to 16 frames spread over the piece, decoded to RGB, with the same frames of the original scaled to
the piece's size. H.264 in yuv420p stores colour at half the resolution. In saturated patterns of a few pixels this
alone can cost more than half of the allowed error; then only the error that encoding adds must stay within the bound.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from unreel.errors import VideoError
from unreel.packing.pack_settings import PackSettings
from unreel.packing.piece_spans import FrameSpan
from unreel.packing.psnr import PsnrBreakdown, compute_psnr
from unreel.video.decoding.decoder import iter_frames, read_frames
from unreel.video.decoding.packet_index import index_frames
from unreel.video.decoding.probe import probe, read_timestamps
from unreel.video.decoding.writer import EncodingOptions, write_timed_video
from unreel.video.reading.rgb_conversion import subsample_chroma

NUM_PSNR_FRAMES, TRIAL_FRAMES = 16, 24
MIN_CRF, DB_PER_CRF = 1, 0.8
CODEC = "libx264"
# Short closed GOPs, without B frames, CABAC and the loop filter, which make decoding slow.
CODEC_OPTIONS = {"preset": "fast", "tune": "fastdecode", "bf": "0", "sc_threshold": "0", "flags": "+cgop"}


@dataclass(frozen=True)
class EncodedPiece:
    """An encoded piece; times are seconds in the original, 0 at its first frame."""

    start_s: float
    end_s: float
    width: int
    height: int
    num_frames: int
    crf: int
    psnr_db: float
    coding_psnr_db: float


def encode_piece(path: str, out: Path, span: FrameSpan, size: tuple[int, int], settings: PackSettings) -> EncodedPiece:
    """Encode a span of a video into the file `out`, `size` (height, width). Raises VideoError, DiskError."""
    crf = estimate_crf(path, out, span, size, settings)
    crf, psnr = search_crf(path, out, span, size, settings, crf)
    times_s = index_frames(path).times_s
    check_times(path, out, times_s[span.start_frame : span.stop_frame])
    end_s = float(times_s[span.stop_frame]) if span.stop_frame < len(times_s) else probe(path).duration_s
    num_frames = span.stop_frame - span.start_frame
    start_s = float(times_s[span.start_frame])
    return EncodedPiece(start_s, end_s, size[1], size[0], num_frames, crf, psnr.total_db, psnr.coding_db)


def estimate_crf(path: str, out: Path, span: FrameSpan, size: tuple[int, int], settings: PackSettings) -> int:
    """The CRF that 24 frames from the middle need, so that a long piece is seldom encoded twice as a whole."""
    start = max(span.start_frame, (span.start_frame + span.stop_frame - TRIAL_FRAMES) // 2)
    middle = FrameSpan(0, 1, start, min(span.stop_frame, start + TRIAL_FRAMES))
    if (middle.start_frame, middle.stop_frame) == (span.start_frame, span.stop_frame):
        return settings.crf
    return search_crf(path, out, middle, size, settings, settings.crf)[0]


def search_crf(
    path: str, out: Path, span: FrameSpan, size: tuple[int, int], settings: PackSettings, start_crf: int
) -> tuple[int, PsnrBreakdown]:
    """Encode a span into `out` at ever lower CRF until it reaches the PSNR or the lowest CRF."""
    crf = start_crf
    while True:
        psnr = encode_span(path, out, span, size, {**CODEC_OPTIONS, "g": str(settings.gop), "crf": str(crf)})
        missing_db = settings.psnr_db - psnr.effective_db(settings.psnr_db)
        if missing_db <= 0 or crf == MIN_CRF:
            return crf, psnr
        crf = max(MIN_CRF, crf - max(1, math.ceil(missing_db / DB_PER_CRF)))


def encode_span(path: str, out: Path, span: FrameSpan, size: tuple[int, int], options: dict[str, str]) -> PsnrBreakdown:
    """Encode some frames of a video at their own times, and measure the PSNR."""
    all_ticks, tick_s = read_timestamps(path)
    ticks = all_ticks[span.start_frame : span.stop_frame] - all_ticks[span.start_frame]
    sampled = np.unique(np.linspace(0, len(ticks) - 1, NUM_PSNR_FRAMES).round().astype(int))
    originals: list[np.ndarray] = []

    def iter_timed_frames() -> Iterator[tuple[int, np.ndarray]]:
        sampled_set = set(sampled.tolist())
        for n, frame in enumerate(iter_frames(path, span.start_frame, span.stop_frame, size)):
            if n in sampled_set:
                originals.append(frame)
            yield int(ticks[n]), frame

    duration_s = Fraction(int(ticks[-1])) * tick_s
    rate = Fraction((len(ticks) - 1) / duration_s if duration_s else 25).limit_denominator(1001)
    write_timed_video(out, iter_timed_frames(), EncodingOptions(tick_s, rate, CODEC, options))
    encoded, scaled = read_frames(out, sampled), np.stack(originals)
    subsampled = np.stack([subsample_chroma(frame) for frame in originals])
    return PsnrBreakdown(
        compute_psnr(encoded, scaled), compute_psnr(encoded, subsampled), compute_psnr(subsampled, scaled)
    )


def check_times(path: str, out: Path, times_s: np.ndarray) -> None:
    """Raise VideoError where the encoded piece does not show its frames at the times of the original."""
    piece_times_s = index_frames(out).times_s
    if len(piece_times_s) != len(times_s) or not np.allclose(piece_times_s, times_s - times_s[0], rtol=0, atol=1e-6):
        raise VideoError(path, "damaged", "its frames have times that an mp4 can't hold")
