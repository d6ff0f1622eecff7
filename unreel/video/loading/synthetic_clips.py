"""Pairs of synthetic clips in place of clips of files: drawn anew in every epoch, by the loader processes too."""

import numpy as np

from unreel.video.loading.clip_dataset import ClipDataset, ClipSample
from unreel.video.synthetic.drawn_video import parse_address
from unreel.video.synthetic.pairs import draw_pair


class SyntheticClipDataset(ClipDataset):
    """Clips of drawn motions. Items are (epoch, index); motions 2k and 2k + 1 share their looks (synthetic/pairs.py).

    All instances have the properties of the first. Two clips of an instance are one motion in two looks; how the method
    would draw their distance in time does not matter.
    """

    def load_sample(self, epoch: int, index: int) -> ClipSample:
        """Draw the clips of a motion, around the middle of its two seconds."""
        assert self.seed is not None
        properties, _ = parse_address(self.instances[0].path)
        times_s = (np.arange(self.spec.total_frames) - self.spec.total_frames / 2) / self.spec.fps
        frames = [
            draw_pair(self.seed, epoch, self.get_rng_index(index, draw), times_s, self.size, properties)
            for draw in range(self.num_draws)
        ]
        clips = np.concatenate([pair[: self.num_clips] for pair in frames])
        return ClipSample(index, epoch, clips, np.tile([0.0, float(np.ptp(times_s))], (len(clips), 1)))
