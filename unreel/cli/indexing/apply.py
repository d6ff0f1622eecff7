"""`unreel apply`: the moments of a concept in new footage."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from unreel.cli.arguments import LimitOptions, name_argument, parse_args
from unreel.cli.indexing.concept import print_moments
from unreel.cli.indexing.moments import hit_to_json, print_hits_csv, warn_of_encoder
from unreel.cli.progress_bar import ProgressBar
from unreel.cli.records import refuse_json_and_csv
from unreel.cli.terminal import escape_markup, stderr_console
from unreel.io.limits import Limits, use_limits
from unreel.io.text import format_count, format_path


@dataclasses.dataclass
class ApplyArgs:
    """Find the moments of a concept in new footage, with their seconds."""

    concept: Annotated[Positional[str], name_argument("CONCEPT")]
    """INDEX/concepts/NAME.json, INDEX a folder or an address; the encoder of that index is used."""
    source: Annotated[Positional[str], name_argument("FOLDER")]
    """A video, a folder, a list, or an index by the same encoder, which needs no decoding."""
    above: float = 0.5
    """Probability from which a clip belongs to a moment."""
    gap_s: float = 0.5
    """Clips of a video at most this far apart are one moment; below 0 each clip is one."""
    json: bool = False
    """Print JSON."""
    csv: bool = False
    """Print CSV: video, start_s, end_s, probability."""
    allow_import: bool = False
    """Import, and so run, the network outside unreel that the index names."""
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


def apply_command(args: list[str]) -> int:
    options = parse_args(ApplyArgs, args, "apply")
    refuse_json_and_csv(options.json, options.csv)
    from unreel.verbs.indexing.apply import apply

    with use_limits(options.limits), ProgressBar("searching") as advance:
        matches = apply(options.concept, options.source, options.above, options.gap_s, advance, options.allow_import)
    for failure in matches.left_out:
        stderr_console.print(escape_markup(format_path(f"left out {failure.path}: {failure}")))
    if options.json:
        print(json.dumps([hit_to_json(hit, "probability", 4) for hit in matches.moments], indent=2))
    elif options.csv:
        print_hits_csv(matches.moments, "probability")
    else:
        print_moments(matches.moments)
        print(
            f"{format_count(len(matches.moments), 'moment')} in {format_count(matches.num_clips, 'clip')} of "
            f"{format_count(matches.num_videos, 'video')}"
        )
        warn_of_encoder(Path(options.concept).parent.parent)
    return 0
