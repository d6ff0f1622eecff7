"""A dataset of decoded clips: a file is opened and read once for all clips of an instance."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from unreel.errors import VideoError
from unreel.rows.instance_rows import InstanceRows
from unreel.seeding import make_generator
from unreel.types import Clips, FileFailure, Instance
from unreel.video.decoding.decoder import read_frames
from unreel.video.decoding.packet_index import index_frames
from unreel.video.loading.frame_cache import FrameCache
from unreel.video.loading.worker_watchdog import WorkerWatchdog
from unreel.video.sampling.clip_sampling import sample_clip_pair, sample_random_clip, sample_uniform_clips
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.sampling.pair_sampling import IntervalDistribution
from unreel.video.sampling.timeline import compute_frame_duration, compute_spans, list_candidate_frames


@dataclass
class ClipSample:
    """Decoded clips of one instance, uint8 (V, T, H, W, C), and the seconds of each, float64 (V, 2); or the failure.

    With several draws, V is draws x clips, the clips of a draw side by side.
    """

    index: int
    epoch: int
    frames: np.ndarray | torch.Tensor | None
    spans_s: np.ndarray | torch.Tensor | None = None
    failure: FileFailure | None = None


class CandidateFrames(NamedTuple):
    """The frames that clips of an instance may show: their numbers at the clip's rate, ascending, and the unique ones.

    `times_s` are the times of all frames of the file, `frame_s` is the duration of one, 0 for a single frame.
    """

    times_s: np.ndarray
    frame_s: float
    frame_numbers: np.ndarray
    unique_numbers: np.ndarray


def decode_clips(decode: Callable[[np.ndarray], np.ndarray], clips: Sequence[np.ndarray]) -> np.ndarray:
    """All clips (arrays of frame numbers) of a file by one call of `decode`; uint8 (V, T, H, W, C)."""
    unique_numbers, rows = np.unique(np.concatenate(clips), return_inverse=True)
    frames = decode(unique_numbers)
    return frames[rows].reshape(len(clips), len(clips[0]), *frames.shape[1:])


class ClipDataset(Dataset[ClipSample]):
    """Clips of instances. Items are (epoch, index).

    With a `seed`, the starts of `num_clips` clips are drawn from (seed, epoch, index), two of them as a pair if
    `interval` is not independent; without a seed they are evenly spread. Up to `cache_mb` of frames, of all loader
    processes together, are decoded once and cached; this only saves time. With `num_draws` above 1, an opened video
    gives so many rows of a batch, each drawn like an instance of its own (repeated augmentation: Hoffer et al. 2020).

    >>> clips = ClipDataset([Instance(str(video), 0, 0.0, 0.8)], ClipSpec(8), size=(16, 24), num_clips=2, seed=0)
    >>> clips[(0, 0)].frames.shape
    (2, 8, 16, 24, 3)
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        spec: ClipSpec,
        size: tuple[int, int],
        num_clips: int,
        seed: int | None = None,
        interval: IntervalDistribution = IntervalDistribution(),  # noqa: B008  # frozen
        cache_mb: int = 0,
        num_draws: int = 1,
    ) -> None:
        self.instances, self.spec, self.size, self.num_clips, self.seed = instances, spec, size, num_clips, seed
        self.interval, self.num_draws = interval, num_draws
        self.cache = FrameCache(cache_mb, size, len(instances))
        self.candidates: dict[int, CandidateFrames] = {}
        self.watchdog: WorkerWatchdog | None = None
        self.excluded_failures: dict[int, FileFailure] = {}

    def __len__(self) -> int:
        return len(self.instances)

    @property
    def items(self) -> list[Any]:
        """What it has clips of; `replace_items` takes others, or some of them."""
        return list(self.instances)

    def replace_items(self, items: Sequence[Any]) -> "ClipDataset":
        """The same evenly spread clips of other instances."""
        return ClipDataset(items, self.spec, self.size, self.num_clips)

    def exclude_files(self, failures: Iterable[FileFailure]) -> None:
        """Do not open these files again, in this process and in those forked later."""
        by_path, rows = {failure.path: failure for failure in failures}, self.instances
        if not isinstance(rows, InstanceRows):  # their paths may be no text that Arrow takes
            self.excluded_failures |= {n: by_path[row.path] for n, row in enumerate(rows) if row.path in by_path}
        elif by_path:
            self.excluded_failures |= {int(n): by_path[rows[n].path] for n in rows.find_paths(by_path)}

    def __getitem__(self, item: tuple[int, int]) -> ClipSample:
        epoch, index = item
        if index in self.excluded_failures:
            return ClipSample(index, epoch, None, failure=self.excluded_failures[index])
        try:
            with self.watchdog.track(index) if self.watchdog else nullcontext():
                return self.load_sample(epoch, index)
        except MemoryError:
            limits = self.watchdog.limits if self.watchdog else None
            detail = limits.build_memory_failure().detail if limits else "reading it takes more memory than there is"
            failure = FileFailure(self.instances[index].path, "damaged", detail, exceeded_limits=True)
            return ClipSample(index, epoch, None, failure=failure)

    def load_sample(self, epoch: int, index: int) -> ClipSample:
        """Decode the clips of an instance; the sample has a failure instead when the file can't be read."""
        instance = self.instances[index]
        try:
            times_s = index_frames(instance.path).times_s
            candidates = self.get_candidates(index, times_s)
            clips = [c for draw in range(self.num_draws) for c in self.sample_clips(candidates, epoch, index, draw)]
            frames = decode_clips(lambda numbers: self.decode_frames(candidates, index, numbers), clips)
        except VideoError as error:
            return ClipSample(index, epoch, None, failure=FileFailure.from_error(error))
        return ClipSample(index, epoch, frames, compute_spans(times_s, clips, self.spec.lead_in))

    def get_candidates(self, index: int, times_s: np.ndarray) -> CandidateFrames:
        """The frames that clips of an instance may show; kept for instances in the cache."""
        candidates = self.candidates.get(index)
        if candidates is None or candidates.times_s is not times_s:  # new, or the file has changed
            instance = self.instances[index]
            numbers = list_candidate_frames(times_s, self.spec, instance.start_s, instance.end_s)
            frame_s = compute_frame_duration(times_s, default_s=0.0)
            candidates = CandidateFrames(times_s, frame_s, numbers, np.unique(numbers))
            if self.cache.is_cached(index):
                self.candidates[index] = candidates
        return candidates

    def decode_frames(self, candidates: CandidateFrames, index: int, frame_numbers: np.ndarray) -> np.ndarray:
        """Frames of an instance by ascending number, uint8 (len(frame_numbers), H, W, C), cached or decoded."""
        path = self.instances[index].path
        if not self.cache.budget_mb:
            return read_frames(path, frame_numbers, self.size)
        return self.cache.get_frames(
            index, frame_numbers, candidates.unique_numbers, lambda numbers: read_frames(path, numbers, self.size)
        )

    def sample_clips(self, candidates: CandidateFrames, epoch: int, index: int, draw: int = 0) -> list[np.ndarray]:
        """The frame numbers of each clip of an instance, for one of its draws."""
        numbers = candidates.frame_numbers
        if self.seed is None:
            return sample_uniform_clips(numbers, self.spec, self.num_clips)
        if self.num_clips == 2 and self.interval.kind != "independent":
            u = make_generator(self.seed, epoch, self.get_rng_index(index, draw), "interval").random(3)
            return sample_clip_pair(numbers, self.spec, self.interval, u)
        starts = make_generator(self.seed, epoch, self.get_rng_index(index, draw), "start").random(self.num_clips)
        return [sample_random_clip(numbers, self.spec, float(u)) for u in starts]

    def get_rng_index(self, index: int, draw: int) -> int:
        """The index of a draw for random numbers: the instance's for draw 0, then numbers that no instance has."""
        return index + draw * len(self.instances)

    def collate(self, samples: list[ClipSample]) -> Clips:
        """One batch, the draws of a video side by side; samples that failed are left out and listed."""
        decoded = [s for s in samples if s.frames is not None]
        rows = [(s.index, draw) for s in decoded for draw in range(self.num_draws)]
        instances = [self.instances[index] for index, _ in rows]
        frames = [part for s in decoded for part in torch.from_numpy(s.frames).split(self.num_clips)]
        return Clips(
            frames=torch.stack(frames) if frames else torch.zeros(0, self.num_clips, 0, 0, 0, 3, dtype=torch.uint8),
            index_B=torch.tensor([index for index, _ in rows], dtype=torch.int64),
            video_B=torch.tensor([i.video for i in instances], dtype=torch.int64),
            start_s_B=torch.tensor([i.start_s for i in instances], dtype=torch.float64),
            epoch=samples[0].epoch,
            failures=[s.failure for s in samples if s.failure is not None],
            draw_B=torch.tensor([self.get_rng_index(*row) for row in rows], dtype=torch.int64),
        )
