"""Unit vectors for the tests of search: groups with noise, and rows of videos over them."""

import numpy as np

from unreel.indexing.index.row_table import RowTable
from unreel.types import Embeddings


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def grouped(count: int, dim: int = 32, groups: int = 8, noise: float = 0.5, seed: int = 0) -> np.ndarray:
    """Rows around `groups` centres, row n around centre n % groups; float32 (N, D)."""
    rng = np.random.default_rng(seed)
    centre_GD = unit(rng.standard_normal((groups, dim)))
    noise_ND = unit(rng.standard_normal((count, dim))) * noise
    return unit(centre_GD[np.arange(count) % groups] + noise_ND)


def clips(
    videos: int, per_video: int, length_s: float = 1.0, hop_s: float = 1.0, hashes: list[str] | None = None
) -> RowTable:
    """Rows of `per_video` clips one after the other in each of `videos`: /v/0.mp4, /v/1.mp4, ...; label a or b."""
    video_N = np.repeat(np.arange(videos), per_video)
    start_s = np.tile(np.arange(per_video) * hop_s, videos)
    paths = [f"/v/{v}.mp4" for v in video_N]
    labels = ["ab"[v % 2] for v in video_N]
    per_row = None if hashes is None else [hashes[v] for v in video_N]
    return RowTable.from_embeddings(
        Embeddings(np.zeros((len(paths), 1)), paths, start_s, start_s + length_s, labels), per_row
    )
