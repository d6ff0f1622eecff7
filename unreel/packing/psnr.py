"""How close an encoded piece is to its original: the PSNR, and the part that chroma subsampling alone costs."""

import math
from dataclasses import dataclass

import numpy as np

MAX_PSNR_DB = 99.0  # reported for equal frames
HALVING_DB = 10 * math.log10(2)


@dataclass(frozen=True)
class PsnrBreakdown:
    """PSNR in dB: encoded piece against scaled original, encoding alone, chroma subsampling alone."""

    total_db: float
    coding_db: float
    chroma_db: float

    def effective_db(self, target_db: float) -> float:
        """The PSNR to compare with `target_db`: that of encoding alone where chroma costs over half of the error."""
        if self.chroma_db >= target_db + HALVING_DB:
            return self.total_db
        return max(self.total_db, self.coding_db)


def compute_psnr(frames: np.ndarray, reference_frames: np.ndarray) -> float:
    """PSNR in dB of uint8 frames (T, H, W, C), over all of them together."""
    error = float(np.mean((frames.astype(np.float32) - reference_frames) ** 2, dtype=np.float64))
    return MAX_PSNR_DB if error == 0 else min(MAX_PSNR_DB, 10 * math.log10(255**2 / error))
