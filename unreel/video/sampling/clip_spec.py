"""What a clip is: its number of frames and their rate."""

from dataclasses import dataclass
from typing import get_args

from unreel.errors import InputError
from unreel.settings.data import ShortVideoPolicy

MAX_FPS = 1000.0


@dataclass(frozen=True)
class ClipSpec:
    """`num_frames` frames at `fps` frames per second, or every `stride_frames`-th frame of the file.

    `lead_in` frames are read before the first, for views that need earlier frames (see views/residual_frames.py).
    `short` says what happens to a video that is shorter than a clip: `loop` it, or `hold` its last frame; with `border`
    random clips may reach beyond both ends of any video, and others hold the last frame.

    >>> ClipSpec(16, fps=12.5, stride_frames=0).duration_s(native_fps=30)
    1.28
    """

    num_frames: int = 16
    fps: float = 0.0
    stride_frames: int = 1
    lead_in: int = 0
    short: ShortVideoPolicy = "loop"

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            raise InputError(f"a clip needs at least 1 frame, got num_frames={self.num_frames}")
        if self.short not in get_args(ShortVideoPolicy):
            raise InputError(f"short must be one of {', '.join(get_args(ShortVideoPolicy))}, got '{self.short}'")
        if not 0 <= self.fps <= MAX_FPS:
            raise InputError(f"frames per second must lie between 0 and {MAX_FPS}, got fps={self.fps}")
        if (self.fps > 0) == (self.stride_frames > 0):
            raise InputError(
                f"give either fps or stride_frames (0 turns one off): got {self.fps} and {self.stride_frames}"
            )

    @property
    def total_frames(self) -> int:
        """Timeline entries that one clip covers."""
        return self.num_frames + self.lead_in

    def duration_s(self, native_fps: float) -> float:
        """Seconds that one clip covers in a file of `native_fps`."""
        return self.num_frames / self.fps if self.fps > 0 else self.num_frames * self.stride_frames / native_fps
