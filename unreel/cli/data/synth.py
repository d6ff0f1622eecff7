"""`unreel synth`: make a set of videos to try things with."""

import dataclasses

from unreel.cli.arguments import OutArgument, parse_args
from unreel.cli.progress_bar import ProgressBar
from unreel.io.text import format_count


@dataclasses.dataclass
class SynthArgs:
    """Make videos whose classes differ by motion alone, with train.txt and test.txt."""

    out: OutArgument
    """Folder to write."""
    classes: int = 8
    """Number of motion classes, at most 14."""
    videos: int = 40
    """Videos per class."""
    seed: int = 0
    """Seed of the videos; the same seed gives the same videos."""


def synth_command(args: list[str]) -> int:
    synth_args: SynthArgs = parse_args(SynthArgs, args, "synth")
    from unreel.corpus.motion_set.make_set import make_set

    with ProgressBar("making videos") as advance:
        make_set(synth_args.out, synth_args.classes, synth_args.videos, synth_args.seed, on_progress=advance)
    print(
        f"{synth_args.out}: {format_count(synth_args.classes, 'class')} of {format_count(synth_args.videos, 'video')}"
    )
    return 0
