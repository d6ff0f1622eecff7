"""The configuration of an earlier run, or of a file, for a new run."""

import contextlib
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

from unreel import __version__
from unreel.errors import InputError, OwnCodeError, UnreelError
from unreel.io.text import parse_tables
from unreel.methods.registry import DEFAULT_METHOD
from unreel.provenance.record import read_provenance
from unreel.training.run_folder.config import CONFIG_FILE, RunConfig, build_run_config
from unreel.training.run_folder.option_values import convert_options
from unreel.training.run_folder.run_provenance import describe_run_code


def load_earlier_config(source: Path) -> RunConfig:
    """The method, options and settings of a run's config.json, or of a file (.toml, .json, .yaml).

    A file of one's own has the method and any options, side by side; others keep the preset's values. A method of one's
    own is looked for where its name leads from here, as if it were typed: the copy in a run is not used. Raises
    InputError for a file that can't be read, and for options and values that this version does not have.
    """
    path = source / CONFIG_FILE if source.is_dir() else source
    data = read_tables(path)
    written = data.get("versions", {}).get("unreel") if isinstance(data.get("versions"), dict) else None
    method = data.get("method", DEFAULT_METHOD)
    if {"options", "settings"} <= data.keys():
        options = {**data["options"], **data["settings"]}
    else:
        options = {name: value for name, value in data.items() if name != "method"}
    try:
        made = build_run_config(method, {}).replace(**convert_options(method, options))
        note_changed_sources(source, made)
        return made
    except (UnreelError, TypeError, AttributeError) as error:
        version = f" (written by unreel {written}, this is {__version__})" if written else ""
        raise InputError(f"{path}{version}: {error}") from error


def note_changed_sources(run: Path, run_config: RunConfig) -> None:
    """Warn of each source, by the hashes of a run's provenance.json, that is another now: the new run uses it so."""
    listed = read_provenance(run).get("code") if run.is_dir() else None
    before = {entry["kind"]: entry["hash"] for entry in listed or [] if isinstance(entry, dict) and entry.get("hash")}
    with contextlib.suppress(OwnCodeError):  # what is not found is said where it is used, unless an option replaces it
        for entry in describe_run_code(run_config) if before else []:
            if before.get(entry["kind"], entry["hash"]) != entry["hash"]:
                what = (
                    "what it imports of unreel" if entry["kind"] == "unreel" else f"{entry['kind']} '{entry['name']}'"
                )
                text = f"the source of {what} has changed since {run} was trained; the new run uses it as it is now"
                warnings.warn(text, RuntimeWarning, stacklevel=3)


def read_tables(path: Path) -> dict[str, Any]:
    """The tables of a file, TOML, JSON or YAML. Raises InputError."""
    try:
        return parse_tables(path.read_text(encoding="utf-8"), path.suffix)
    except (OSError, ValueError) as error:
        raise InputError(
            f"--config {path}: can't be read ({error}); give a run, or a file of settings (.toml, .json, .yaml)"
        ) from error


def free_length(run_config: RunConfig, named: Collection[str]) -> RunConfig:
    """The configuration without an earlier length, where another kind of length is named: minutes, steps or epochs."""
    if "minutes" in named:
        return run_config.replace(steps=0, epochs=None)
    if "steps" in named:
        return run_config.replace(minutes=None)
    return run_config.replace(steps=0, minutes=None) if "epochs" in named else run_config
