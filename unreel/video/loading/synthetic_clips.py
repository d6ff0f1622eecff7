"""Pairs of synthetic clips in place of clips of files: drawn anew in every epoch, by the loader processes too."""

from typing import Any

import cv2
import numpy as np

from unreel.errors import InputError
from unreel.video.loading.clip_dataset import ClipDataset, ClipSample
from unreel.video.synthetic.drawn_video import FPS, parse_address
from unreel.video.synthetic.pairs import MAX_CLIPS, draw_pair


class SyntheticClipDataset(ClipDataset):
    """Clips of drawn motions. Items are (epoch, index); motions 2k and 2k + 1 share their looks (synthetic/pairs.py).

    All instances have the properties of the first. Two clips of an instance are one motion in two looks, both around
    the middle of the motion, so `interval`, the ends of instances and `short` mean nothing. Raises InputError for more
    than two clips.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        cv2.setNumThreads(1)  # its threads wait for each other at every small picture, beside loaders and training
        if self.num_clips > MAX_CLIPS:
            raise InputError(f"synthetic clips come in pairs; this method asks for {self.num_clips} clips at once")

    def load_sample(self, epoch: int, index: int) -> ClipSample:
        """Draw the clips of a motion."""
        assert self.seed is not None
        properties, _ = parse_address(self.instances[0].path)
        step_s = self.spec.stride_frames / FPS if self.spec.stride_frames else 1 / self.spec.fps
        times_s = (np.arange(self.spec.total_frames) - self.spec.total_frames / 2) * step_s
        numbers = [self.get_rng_index(index, draw) for draw in range(self.num_draws)]
        pairs = [draw_pair(self.seed, epoch, n, times_s, self.size, properties, self.num_clips) for n in numbers]
        clips = np.concatenate(pairs)
        return ClipSample(index, epoch, clips, np.tile([0.0, float(np.ptp(times_s))], (len(clips), 1)))

    def get_rng_index(self, index: int, draw: int) -> int:
        """The number of a motion: even and odd ones stay so in later draws."""
        return index + draw * (len(self.instances) + len(self.instances) % 2)
