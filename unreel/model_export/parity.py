"""How far an exported model is from the encoder, measured on clips."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unreel.corpus.manifest import Manifest
from unreel.embedding import VideoEncoder, join_views, list_whole_videos
from unreel.errors import InputError, UnreelError
from unreel.types import Instance
from unreel.video.loading.clip_dataset import ClipDataset

MAX_DIFFERENCE = 1e-4  # of an embedding in float32, and of features as a share of the largest
NUM_VIDEOS, CLIPS_PER_VIDEO = 4, 2
DRAWN_VIDEOS = tuple(f"synthetic://all#{n}" for n in range(NUM_VIDEOS))

RunModel = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""uint8 frames (B, lead_in + T, H, W, 3) to features and embedding (B, D), by the exported file."""


def read_clips(encoder: VideoEncoder, videos: Path | None, run: Path) -> tuple[Tensor, str]:
    """Decoded clips of up to four videos, uint8 (N, lead_in + T, H, W, 3), and in words of which.

    `videos` are a file, a folder or a list; by default videos that the run was trained on, where they are still there,
    else drawn ones. Raises InputError where none can be decoded.
    """
    if videos is not None:
        instances, _ = list_whole_videos(videos)
        clips = decode_clips(encoder, instances[:NUM_VIDEOS])
        if not len(clips):
            raise InputError(f"{videos}: no clip can be decoded there; name other videos")
        return clips, str(videos)
    seen = decode_clips(encoder, list_training_videos(run))
    if len(seen):
        return seen, "videos of its training"
    drawn = [Instance(address, n, 0.0, float("inf")) for n, address in enumerate(DRAWN_VIDEOS)]
    return decode_clips(encoder, drawn), "drawn videos"


def list_training_videos(run: Path) -> list[Instance]:
    """Some videos of the manifest of a run; none where it has no manifest."""
    try:
        videos = Manifest.load(run).videos[:NUM_VIDEOS]
    except UnreelError:
        return []
    return [Instance(video.path, n, 0.0, float("inf")) for n, video in enumerate(videos)]


def decode_clips(encoder: VideoEncoder, instances: Sequence[Instance]) -> Tensor:
    """The clips of those instances that can be decoded."""
    dataset = ClipDataset(instances, encoder.spec.clip, encoder.spec.views.resize_hw, CLIPS_PER_VIDEO)
    samples = [dataset[0, n] for n in range(len(instances))]
    clips = [torch.as_tensor(sample.frames) for sample in samples if sample.frames is not None]
    return torch.cat(clips) if clips else torch.empty(0)


def measure_difference(encoder: VideoEncoder, run_model: RunModel, clips: Tensor) -> float:
    """The largest difference of an embedding, or of features as a share of the largest feature.

    The first clip goes alone and the others together, so that batches of two sizes are tried.
    """
    parts = {name: part.float().cpu().numpy() for name, part in encoder.extract_parts(clips).items()}
    expected = np.concatenate(list(parts.values()), axis=1), join_views(parts)
    batches = [run_model(batch.numpy()) for batch in (clips[:1], clips[1:]) if len(batch)]
    features, embedding = (np.concatenate(pair) for pair in zip(*batches, strict=True))
    scale = max(1.0, float(np.abs(expected[0]).max()))
    differences = np.abs(features - expected[0]).max() / scale, np.abs(embedding - expected[1]).max()
    return float(np.max(differences))  # which is no number where one of them is not; max() would pass it over


def require_parity(difference: float, kind: str) -> None:
    """Raises InputError where an exported model does not compute what the encoder does."""
    if not difference <= MAX_DIFFERENCE:  # also where it is no number
        raise InputError(
            f"the {kind} model differs from the encoder by {difference:.3g}, more than {MAX_DIFFERENCE:g}; nothing was "
            "written"
        )
