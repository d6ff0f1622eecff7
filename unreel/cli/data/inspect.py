"""`unreel inspect`: check every video of a folder."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unreel.cli.arguments import EngineOption, FolderArgument, LimitOptions, parse_args
from unreel.cli.progress_bar import ProgressBar
from unreel.cli.records import print_records, refuse_json_and_csv
from unreel.engines.engine_choice import use_engine
from unreel.io.limits import Limits

if TYPE_CHECKING:
    from unreel.corpus.manifest import Manifest


@dataclasses.dataclass
class InspectArgs:
    """Check every video: what the usable ones are like, and why the others can't be used. With --out also as files."""

    source: FolderArgument
    """A folder, a text file of paths, or a CSV with path, label, group."""
    out: Path | None = None
    """Also write manifest.parquet and quarantine.csv into this folder; without it nothing is written."""
    root: Path | None = None
    """Folder that the paths of a list are relative to; by default the folder of the list."""
    json: bool = False
    """Print a record for each file as JSON: path, codec, size, length ... or why it can't be used."""
    csv: bool = False
    """Print the same as CSV."""
    engine: EngineOption = "local"
    limits: LimitOptions = dataclasses.field(default_factory=Limits)


def inspect_command(args: list[str]) -> int:
    inspect_args: InspectArgs = parse_args(InspectArgs, args, "inspect")
    refuse_json_and_csv(inspect_args.json, inspect_args.csv)
    from unreel.corpus.inspection import inspect
    from unreel.corpus.manifest import MANIFEST_FILE, QUARANTINE_FILE
    from unreel.corpus.manifest_summary import summarize_manifest

    with use_engine(inspect_args.engine), ProgressBar("inspecting") as advance:
        manifest = inspect(inspect_args.source, inspect_args.root, on_progress=advance, limits=inspect_args.limits)
    if out := inspect_args.out:
        manifest.save(out)
    if not print_records(list_files(manifest), inspect_args.json, inspect_args.csv):
        print(summarize_manifest(manifest))
        if out:
            print(f"\n  saved       {out / MANIFEST_FILE}, {out / QUARANTINE_FILE}")
    return 0 if manifest.videos else 2


def list_files(manifest: "Manifest") -> list[dict[str, Any]]:
    """A record for each file: the properties of a usable one; reason and detail of the others."""
    usable = [dataclasses.asdict(video) | {"reason": "", "detail": ""} for video in manifest.videos]
    return usable + [{"path": bad.path, "reason": bad.reason, "detail": bad.detail} for bad in manifest.quarantine]
