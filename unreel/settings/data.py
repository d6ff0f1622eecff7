"""Settings of the data: clips, segments, batches and loader processes."""

from dataclasses import dataclass
from typing import Literal

from unreel.errors import InputError
from unreel.settings.ranges import check_positive, check_ranges

ShortVideoPolicy = Literal["loop", "hold", "border"]


@dataclass(frozen=True)
class DataSettings:
    """How clips are cut from the videos and loaded in batches."""

    size: int = 0
    """Height and width of a clip in pixels; 0 means 64 for tiny, 112 for the others."""
    num_frames: int = 16
    """Frames of a clip; 0 means 8 for tiny, 16 for the others."""
    fps: float = 0.0
    """Frames per second of a clip, whatever the frame rate of the file; 0 means use --stride-frames."""
    stride_frames: int = 1
    """Take every n-th frame of the file; 0 means use --fps."""
    short: ShortVideoPolicy = "loop"
    """A video shorter than a clip is looped, or its last frame is held. border: the middle frame of a training clip is
    any frame of the video, and what lies beyond its ends is its first or last frame (DualVar); elsewhere as hold."""
    segment_s: float = 10.0
    """Recordings longer than 1.5 times this are cut into segments of about this many seconds, at shot changes; 0 leaves
    every video whole."""
    batch_size: int = 16
    """Instances per step."""
    draws_per_video: int = 1
    """Rows of a batch that come from each opened video, sampled and augmented independently: less decoding, but fewer
    videos per step. Must divide the batch; an epoch then takes this many times the steps. A memory of instances gets
    the mean of the rows of a video, once."""
    held_out: float = 0.1
    """Share of the videos (at most 200) kept out of training for the label-free monitors; with 0 these look at videos
    that were trained on."""
    max_bad_share: float = 0.2
    """Refuse to start when more than this share of the files can't be used."""
    workers: int = -1
    """Loader processes; -1 chooses: one per core minus one, at most 8. 0 decodes in the main process, which then ends
    if the decoder crashes: for debugging."""
    batches_ahead: int = 2
    """Batches that each loader process prepares ahead; memory holds no more than these and the batch in use."""
    file_limit_s: float = 300.0
    """Seconds that a process may spend on reading one video, plus 2 for each megabyte of the file; after that the
    process is stopped and the video is left out, in inspection, training, monitors and the report. The same happens to
    a video that needs more memory than `unreel.io.limits.use_limits` allows: 4096 MB unless a script sets it."""
    cache_mb: int = -1
    """Memory for decoded frames of short videos, shared by all loader processes; -1 chooses: what the videos need, at
    most a quarter of the free memory; 0 decodes every time."""

    def __post_init__(self) -> None:
        unlimited = float("inf")
        check_ranges(self, size=(0, 4096), num_frames=(0, 1024), stride_frames=(0, unlimited), fps=(0, unlimited))
        check_ranges(self, batch_size=(1, 65_536), draws_per_video=(1, unlimited), held_out=(0, 1))
        check_ranges(self, max_bad_share=(0, 1), workers=(-1, 1024), batches_ahead=(1, 64), cache_mb=(-1, unlimited))
        check_ranges(self, segment_s=(0, unlimited))
        check_positive(self, "file_limit_s")
        if (self.fps > 0) == (self.stride_frames > 0):
            raise InputError(
                f"set either fps or stride_frames and the other to 0: got fps={self.fps:g}, "
                f"stride_frames={self.stride_frames}"
            )
        if self.held_out == 1:
            raise InputError("held_out must be below 1, or nothing is left to train on; got 1")
        videos, rest = divmod(self.batch_size, self.draws_per_video)
        if rest or (self.draws_per_video > 1 and videos < 2):
            raise InputError(
                f"draws_per_video must divide the batch and leave at least 2 videos in it: got {self.draws_per_video} "
                f"for batch_size {self.batch_size}"
            )


def require_two_instances(
    settings: DataSettings, num_instances: int, reason: str = "holds no other video to contrast with"
) -> None:
    """A contrast needs other instances, in the data and in the batch; so do a variance and batch norm.

    Raises InputError.
    """
    if num_instances < 2:
        raise InputError(
            f"training needs at least 2 instances, got {num_instances}; add videos, or cut long ones with "
            "--segment-s 10 or less"
        )
    if settings.batch_size < 2:
        raise InputError(f"a batch of 1 {reason}; --batch-size must be at least 2")
