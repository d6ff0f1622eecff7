"""Checks that several methods share. Each raises InputError with a sentence that says what to change."""

from unreel.errors import InputError
from unreel.models.registry import TWIN_2D_SUFFIX
from unreel.settings import Settings
from unreel.settings.data import require_two_instances as require_two_instances  # which methods find here
from unreel.views.two_views import TwoViewOptions


def require_temporal_clips(options: TwoViewOptions, settings: Settings, ranks_segments: bool = False) -> None:
    """Shuffled frames need a network that sees several frames, and clips that have them."""
    temporal = options.intra_negatives if options.intra_negatives not in ("none", "rotate", "rotate-90") else ""
    if settings.num_frames > 1 and not settings.backbone.endswith(TWIN_2D_SUFFIX):
        return
    if temporal or ranks_segments:
        subject = "clips of 1 frame have" if settings.num_frames == 1 else f"the network {settings.backbone} has"
        option = f"--intra-negatives {temporal}" if temporal else "the ranking of segments"
        raise InputError(f"{subject} no time, so {option} can't be learned; leave it out")


def reject_intra_negatives(options: TwoViewOptions, name: str) -> None:
    """A method without negatives can't use intra-negatives."""
    if options.intra_negatives != "none":
        raise InputError(
            f"{name} has no negatives, so --intra-negatives {options.intra_negatives} would have no effect; "
            "leave it at none, or choose a method that compares with others (`unreel methods`)"
        )


def check_queue_size(queue_size: int, batch_size: int) -> None:
    """The queue is a whole number of batches."""
    if queue_size < 1 or queue_size % batch_size:
        raise InputError(
            f"--queue-size {queue_size} is not a whole number of batches of {batch_size}; "
            f"{max(1, queue_size // batch_size) * batch_size} would be"
        )


def require_equal_views(options: TwoViewOptions) -> None:
    """With a queue only view 1 trains the network; view 2 goes through the teacher alone."""
    if options.first_view != options.second_view:
        raise InputError(
            f"with a queue only view 1 trains the network, so --second-view {options.second_view} would never be "
            f"learned; use the same for both views (--second-view {options.first_view}), or contrast within the batch"
        )


def check_segments(segments: int, settings: Settings, alternative: str = "") -> None:
    """The segments that are ranked divide the clip."""
    if settings.num_frames % segments:
        raise InputError(
            f"--segments {segments} does not divide a clip of {settings.num_frames} frames; "
            f"change --segments or --num-frames{alternative}"
        )
