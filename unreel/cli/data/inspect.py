"""`unreel inspect`: check every video of a folder and write a manifest."""

import dataclasses
from pathlib import Path

from unreel.cli.arguments import FolderArgument, LimitOptions, parse_args
from unreel.cli.progress_bar import ProgressBar
from unreel.io.limits import Limits


@dataclasses.dataclass
class InspectArgs:
    """Check every video and write a manifest (Parquet), and a quarantine list with a reason for each unusable file."""

    source: FolderArgument
    """A folder, a text file of paths, or a CSV with path, label, group."""
    out: Path | None = None
    """Folder for manifest.parquet and quarantine.csv; by default NAME.manifest in the working directory."""
    root: Path | None = None
    """Folder that the paths of a list are relative to; by default the folder of the list."""
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


def inspect_command(args: list[str]) -> int:
    inspect_args: InspectArgs = parse_args(InspectArgs, args, "inspect")
    from unreel.corpus.inspection import inspect
    from unreel.corpus.manifest import MANIFEST_FILE, QUARANTINE_FILE
    from unreel.corpus.manifest_summary import summarize_manifest

    with ProgressBar("inspecting") as advance:
        manifest = inspect(inspect_args.source, inspect_args.root, on_progress=advance, limits=inspect_args.limits)
    out = inspect_args.out or Path(f"{inspect_args.source.resolve().name}.manifest")
    manifest.save(out)
    print(summarize_manifest(manifest))
    print(f"\n  saved       {out / MANIFEST_FILE}, {out / QUARANTINE_FILE}")
    return 0 if manifest.videos else 2
