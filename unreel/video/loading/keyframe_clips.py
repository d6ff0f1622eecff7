"""Clips around keyframes, for action detection."""

from collections.abc import Sequence

import numpy as np

from unreel.errors import VideoError
from unreel.types import Instance
from unreel.video.loading.clip_dataset import CandidateFrames, ClipDataset
from unreel.video.sampling.clip_sampling import sample_centred_clip
from unreel.video.sampling.clip_spec import ClipSpec


class KeyframeClipDataset(ClipDataset):
    """One clip around the start of each instance; whole frames resized to (size, size), so that boxes stay valid."""

    def __init__(self, instances: Sequence[Instance], spec: ClipSpec, size: int) -> None:
        super().__init__(instances, spec, (size, size), num_clips=1)

    def sample_clips(self, candidates: CandidateFrames, epoch: int, index: int, draw: int = 0) -> list[np.ndarray]:
        instance, times_s = self.instances[index], candidates.times_s
        end_s = float(times_s[-1]) + candidates.frame_s
        if not 0 <= instance.start_s <= end_s:
            detail = f"the keyframe at {instance.start_s:g} s is not in the video, which ends at {end_s:g} s"
            raise VideoError(instance.path, "too short", detail)
        return [sample_centred_clip(times_s, self.spec, instance.start_s)]
