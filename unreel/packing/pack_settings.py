"""The settings of packing, and the values they may have."""

from dataclasses import dataclass

from unreel.errors import InputError
from unreel.io.limits import Limits

PIECE_LIMITS = Limits(file_limit_s=1800.0)  # for one piece, which may be encoded several times to reach the PSNR
MAX_WORKERS = 1024  # as in training
_BOUNDS = {"gop": (1, 600), "crf": (1, 51), "psnr_db": (0, 60), "segment_s": (1, 1e6), "shard_mb": (0.01, 1e6)}


@dataclass(frozen=True)
class PackSettings:
    """Size, quality and length of the pieces.

    Raises:
        InputError: `pack` refuses a value outside its bounds.

    Example:
        >>> unreel.PackSettings(short_side=64).psnr_db
        38.0
    """

    short_side: int = 128
    """Pixels of the shorter side; smaller videos keep their size."""
    gop: int = 12
    """Frames from one key frame to the next."""
    crf: int = 23
    """H.264 CRF to start with; lowered for a piece that does not reach the PSNR."""
    psnr_db: float = 38.0
    """PSNR in dB that each piece must reach against the scaled original."""
    segment_s: float = 60.0
    """Seconds of a piece; only videos longer than 1.5 times this are cut into several."""
    shard_mb: float = 256.0
    """Megabytes of a tar shard."""


def check_settings(settings: PackSettings, workers: int) -> None:
    """Raise InputError for a value outside its bounds."""
    if settings.short_side < 16 or settings.short_side % 2:
        raise InputError(f"--short-side must be even and at least 16, got {settings.short_side}")
    for name, (least, most) in _BOUNDS.items():
        if not least <= getattr(settings, name) <= most:
            option = name.replace("_", "-")
            raise InputError(f"--{option} must lie between {least:g} and {most:g}, got {getattr(settings, name):g}")
    if not 1 <= workers <= MAX_WORKERS:
        raise InputError(f"--workers must lie between 1 and {MAX_WORKERS}, got {workers}")
