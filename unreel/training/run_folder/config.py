"""config.json of a run: method, options and settings, enough to start the run again or to resume it."""

import dataclasses
import json
import platform
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch

from unreel.errors import RunError, no_run_error, require_known, unknown_name_error
from unreel.io.atomic_write import atomic_write_text, disk_errors
from unreel.io.retry import retry_on_stall
from unreel.io.text import parse_json
from unreel.methods.registry import load_method_module, load_preset, name_method
from unreel.models.registry import BACKBONES
from unreel.own_code.installed import expand_name
from unreel.own_code.names import METHOD, is_own_code
from unreel.own_code.python_objects import name_own_code
from unreel.settings import Settings
from unreel.settings.optimisation import require_one_length
from unreel.video.sources.paths import normalize_path
from unreel.views.augmentation import AUGMENTATIONS
from unreel.views.residual_frames import ResidualSpec
from unreel.views.view_spec import VIEWS

CONFIG_FILE = "config.json"
CODE_FIELDS: dict[str, tuple[str, Collection[str]]] = {
    "backbone": ("backbone", BACKBONES),
    "first_view": ("view", VIEWS.keys()),
    "second_view": ("view", VIEWS.keys()),
    "augment": ("augment", AUGMENTATIONS.keys()),
}
"""Fields of options and settings that may name code of one's own: its kind, and what unreel has of it."""


@dataclass(frozen=True)
class RunConfig:
    """What a run trains: a method by name, the method's own options (its Config), and the common settings."""

    method: str
    options: Any
    settings: Settings

    def to_json(self, source: Path) -> dict[str, Any]:
        """The content of config.json for a run on `source`."""
        return {
            "method": self.method,
            "source": normalize_path(source),
            "options": dataclasses.asdict(self.options),
            "settings": dataclasses.asdict(self.settings),
            "versions": collect_versions(),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "RunConfig":
        """Read what `to_json` wrote. Raises RunError when it does not fit this version."""
        try:
            module = load_method_module(data["method"])
            options = dict(data["options"])
            if isinstance(options.get("residual"), dict):
                options["residual"] = ResidualSpec(**options["residual"])
            settings = dict(data["settings"])
            if "drops" in settings:
                settings["drops"] = tuple(settings["drops"])
            return cls(data["method"], module.Config(**options), Settings(**settings))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise RunError(
                f"the run was made by another version of unreel ({error}); its encoder can be used, but to train start "
                "a new run"
            ) from error

    @property
    def code_names(self) -> dict[str, str]:
        """What of a run may be code of one's own: the method, and the fields of CODE_FIELDS."""
        return {METHOD: self.method} | select_code_fields(self.options, self.settings)

    def name_own_code(self, already: Collection[str] = ()) -> "RunConfig":
        """Load what the fields name as code of one's own; the names are then without folders, as a run keeps them.

        Fields in `already` are named. Raises OwnCodeError.
        """
        typed = {n: v for n, v in select_code_fields(self.options, self.settings).items() if n not in already}
        return self.replace(**name_own_code(expand_names(typed), self.method))

    def replace(self, **changes: Any) -> "RunConfig":
        """The config with some fields of options or settings changed; a name that neither has is ignored.

        Raises InputError for a value that is not allowed.
        """
        options, settings = (
            dataclasses.replace(
                part, **{f.name: changes[f.name] for f in dataclasses.fields(part) if f.name in changes}
            )
            for part in (self.options, self.settings)
        )
        for part in (options, settings):
            check_choices(part)
        return RunConfig(self.method, options, settings)


def select_code_fields(*parts: Any) -> dict[str, str]:
    """The fields of options and settings that may name code of one's own."""
    return {name: getattr(part, name) for part in parts for name in CODE_FIELDS if hasattr(part, name)}


def expand_names(named: dict[str, Any]) -> dict[str, Any]:
    """The values of CODE_FIELDS with `module:NAME` for what installed packages offer. Raises OwnCodeError."""
    return {n: expand_name(value, *CODE_FIELDS[n]) if isinstance(value, str) else value for n, value in named.items()}


def build_run_config(method: Any, changes: dict[str, Any]) -> RunConfig:
    """A preset with some fields replaced; code of one's own is given by its name, or as an object.

    Raises InputError for a field that neither options nor settings have.
    """
    method = name_method(method)
    options, settings = load_preset(method)
    known = {f.name for part in (options, settings) for f in dataclasses.fields(part)}
    require_known("option", changes, known)
    require_one_length([name for name, value in changes.items() if value])
    named = name_own_code(expand_names({name: changes[name] for name in CODE_FIELDS if name in changes}), method)
    return RunConfig(method, options, settings).replace(**changes | named).name_own_code(named)


def check_choices(config: Any) -> None:
    """Raise InputError when a Literal field of a dataclass has a value that is not one of its choices."""
    for name, hint in get_type_hints(type(config)).items():
        if get_origin(hint) is Literal and getattr(config, name) not in get_args(hint):
            raise unknown_name_error(name, str(getattr(config, name)), map(str, get_args(hint)))


def read_config(run_folder: Path) -> dict[str, Any]:
    """The config.json of a run. Raises RunError when the folder is not a run."""
    try:
        config: dict[str, Any] = parse_json(retry_on_stall((run_folder / CONFIG_FILE).read_text))
    except OSError as error:
        raise no_run_error(run_folder) from error
    except ValueError as error:
        raise RunError(f"{run_folder / CONFIG_FILE} can't be read ({error})") from error
    return config


def save_steps(run_folder: Path, num_steps: int) -> None:
    """Write the number of steps of a run into its config.json, whole or not at all. Raises DiskError."""
    config, path = read_config(run_folder), run_folder / CONFIG_FILE
    config["settings"]["steps"] = num_steps
    with disk_errors(path, advice=f"free some space, then: unreel pretrain --resume {run_folder}"):
        atomic_write_text(path, json.dumps(config, indent=2) + "\n")


def require_trusted_imports(run_folder: Path, config: dict[str, Any], allow_import: bool) -> None:
    """Raise RunError when the run names code outside unreel, which would be run, and `allow_import` is off."""
    try:
        options, settings = config["options"], config["settings"]
        names = {METHOD: str(config["method"]), "backbone": str(settings["backbone"])}
        names |= {name: str(options[name]) for name in CODE_FIELDS if name in options}
    except (KeyError, TypeError) as error:
        raise RunError(
            f"{run_folder / CONFIG_FILE}: no method or no backbone there; the file is not what unreel wrote"
        ) from error
    for kind, name in names.items():
        if is_own_code(name) and not allow_import:
            raise RunError(
                f"{run_folder}: its {kind} '{name}' is code outside unreel; if you trust it, add --allow-import (in "
                "Python allow_import=True)"
            )


def adapt_settings(settings: Settings, devices: int, shard: Literal["on", "off"]) -> Settings:
    """Settings of a run that resumes in `devices` processes, which share the cores anew, sharded or not."""
    threads = max(1, settings.threads * settings.devices // devices)
    slower: Any = {"compile": "off", "channels_last": "off", "fused": "off", "read_back": "each-step"}
    changes = slower if shard == "on" and settings.shard == "off" else {}
    return dataclasses.replace(settings, devices=devices, threads=threads, shard=shard, **changes)


def collect_versions() -> dict[str, str]:
    """The versions that a number depends on."""
    from unreel import __version__

    return {
        "unreel": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
