"""provenance.json of a run: what made it, and what went on with it."""

from pathlib import Path
from typing import Any

from unreel.corpus.manifest import Manifest
from unreel.io.atomic_write import disk_errors
from unreel.methods.registry import find_methods
from unreel.models.registry import BACKBONE_MODULES, TWIN_2D_SUFFIX
from unreel.own_code.copies import describe_code, list_own
from unreel.own_code.loading import get_loaded
from unreel.own_code.names import METHOD
from unreel.own_code.source_files import SourceFiles, collect_package_sources, collect_parts_of_unreel
from unreel.provenance.command_line import mask_address
from unreel.provenance.record import (
    PROVENANCE_FILE,
    add_to_provenance,
    collect_provenance,
    hash_sorted_contents,
    write_provenance,
)
from unreel.rows.columns import iterate_sorted
from unreel.training.run_folder.config import RunConfig


def write_run_provenance(folder: Path, run_config: RunConfig, manifest: Manifest, source: Path) -> None:
    """Write provenance.json of a new run. Raises OSError."""
    fingerprint = hash_sorted_contents(iterate_sorted(manifest.rows.get_column("content_hash")))
    data = {"source": mask_address(str(source)), "videos": len(manifest.videos), "hash": fingerprint}
    write_provenance(folder, collect_provenance(code=describe_run_code(run_config), data=data))


def describe_run_code(run_config: RunConfig) -> list[dict[str, Any]]:
    """The source of method and network, each with a hash: one's own with all files, that of unreel in a line."""
    own = [get_loaded(name, kind).sources for kind, name in list_own(run_config.code_names)]
    parts = {name: content for sources in own for name, content in collect_parts_of_unreel(sources).files.items()}
    used = [{"kind": "unreel", "name": "as it is imported", "hash": SourceFiles("", parts).hash}] if parts else []
    return describe_unreel_code(run_config) + describe_code(run_config.code_names) + used


def describe_unreel_code(run_config: RunConfig) -> list[dict[str, Any]]:
    """The files of unreel that its method and network are made of, as one hash each."""
    modules, backbone = find_methods(), run_config.settings.backbone.removesuffix(TWIN_2D_SUFFIX)
    found = {METHOD: modules[run_config.method].__name__} if run_config.method in modules else {}
    if backbone in BACKBONE_MODULES:
        found["backbone"] = BACKBONE_MODULES[backbone]
    names = run_config.code_names
    return [{"kind": k, "name": names[k], "hash": collect_package_sources(m).hash} for k, m in found.items()]


def note_resumption(run: Path) -> None:
    """Add to provenance.json that a run goes on. Raises DiskError."""
    with disk_errors(run / PROVENANCE_FILE):
        add_to_provenance(run, "resumed", collect_provenance())
