"""Clips of a folder as an ordinary dataset, for a training loop of one's own."""

from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from unreel.embedding import list_whole_videos
from unreel.errors import InputError
from unreel.types import Instance
from unreel.video.loading.clip_dataset import ClipDataset
from unreel.video.sampling.clip_spec import ClipSpec


class VideoClips(Dataset[dict[str, Any]]):
    """Clips of videos by number, for `torch.utils.data.DataLoader` with any sampler and number of workers.

    An item is a dict: `frames` uint8 (V, T, H, W, C), `spans_s` float64 (V, 2), `index`, `path`, `label`. With a seed
    the times of the clips are drawn from (seed, epoch, index), whatever the order and the workers; without one they
    are evenly spread.
    """

    def __init__(self, instances: list[Instance], clips: ClipDataset) -> None:
        self.instances, self.clips, self.epoch = instances, clips, 0

    def __len__(self) -> int:
        """The number of videos."""
        return len(self.instances)

    def set_epoch(self, epoch: int) -> None:
        """Draw other clips; call it before the loader is iterated."""
        self.epoch = epoch

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The clips of a video. Raises VideoError for a file that can't be read, IndexError past the end."""
        number = range(len(self))[index]
        instance, sample = self.instances[number], self.clips[(self.epoch, number)]
        if sample.failure is not None:
            raise sample.failure.to_error()
        about = {"index": number, "path": instance.path, "label": instance.label}
        return {"frames": torch.as_tensor(sample.frames), "spans_s": torch.as_tensor(sample.spans_s), **about}


def clips(
    source: str | Path,
    num_frames: int = 16,
    fps: float = 12.5,
    size: tuple[int, int] = (128, 171),
    num_clips: int = 1,
    seed: int | None = None,
) -> VideoClips:
    """Clips of the usable videos of a folder or list, as a map-style dataset.

    Args:
        source: a folder of videos, a list, or a single video.
        num_frames: frames of a clip.
        fps: frames per second of a clip, whatever the file has.
        size: height and width of the frames.
        num_clips: clips of each video.
        seed: draw the times of the clips, anew after `set_epoch`; None spreads them evenly.

    Returns:
        The dataset; its items are dicts that torch's default `collate_fn` joins to batches.

    Raises:
        InputError: there is no usable video, or an option can't be used.

    >>> found = unreel.clips(videos, num_frames=4, size=(32, 40))
    >>> found[0]["frames"].shape
    torch.Size([1, 4, 32, 40, 3])
    """
    if num_clips < 1 or num_frames < 1 or min(size) < 1 or fps <= 0:
        given = f"{num_clips=}, {num_frames=}, {size=}, {fps=}"
        raise InputError(f"clips need at least 1 clip, 1 frame, 1 pixel and a rate above 0, got {given}")
    instances, _ = list_whole_videos(Path(source))
    if not instances:
        raise InputError(f"{source}: there is no video that can be used; `unreel inspect` says why")
    return VideoClips(instances, ClipDataset(instances, ClipSpec(num_frames, fps, 0), size, num_clips, seed))
