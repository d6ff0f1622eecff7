"""`unreel embed` and `unreel inflate`: an encoder at work."""

import dataclasses
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from unreel.cli.terminal import escape, parse, progress, stderr


@dataclasses.dataclass
class EmbedArgs:
    """One unit-length vector per video or per clip, with its seconds, as Parquet."""

    run: Positional[Path]
    """A run, or one of its checkpoints."""
    source: Positional[Path]
    """A video, a folder, a text file of paths, or a CSV."""
    out: Path
    """The Parquet file to write."""
    per: Literal["video", "clip"] = "video"
    """A row per video, or per clip."""
    num_clips: int = 10
    """Clips per video, evenly spread."""
    allow_import: bool = False
    """Import, and so run, the network of your own that the checkpoint names."""


def embed_command(args: list[str]) -> int:
    given = parse(EmbedArgs, args, "embed")
    from unreel.api import embed

    with progress("embedding") as advance:
        what = (given.run, given.source, given.out, given.per, given.num_clips)
        count, failed = embed(*what, advance, given.allow_import)
    for path, reason in failed:
        stderr.print(escape(f"left out {path}: {reason}"))
    print(f"{given.out}: {count} rows" + (f", {len(failed)} files left out" if failed else ""))
    return 0


@dataclasses.dataclass
class InflateArgs:
    """Make a video encoder of 2D weights, each kernel repeated along time and divided by its length."""

    source: Positional[Path]
    """A file of weights (.safetensors, .pth), or a run with a network X-2d (--method simclr-frames)."""
    out: Path
    """Folder of the encoder; must not exist yet."""
    backbone: str = ""
    """The 3D network; by default the run's own X, r3d50 for a file."""
    num_frames: int = 0
    """Frames of a clip; 0 means 8 for tiny, 16 for the others."""


def inflate_command(args: list[str]) -> int:
    given = parse(InflateArgs, args, "inflate")
    from unreel.api import inflate_encoder

    encoder = inflate_encoder(given.source, given.out, given.backbone, given.num_frames)
    print(f"{given.out}: {encoder.spec.backbone}, clips of {encoder.spec.clip.num_frames} frames")
    return 0
