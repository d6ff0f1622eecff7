"""Methods and their presets, found by name."""

import importlib
import pkgutil
from types import ModuleType
from typing import Any

import unreel.methods
from unreel.errors import InputError, unknown_name_error
from unreel.settings import Settings

DEFAULT_METHOD = "motion"
NOT_METHODS = {"registry", "checks", "catalogue"}


def find_methods() -> dict[str, ModuleType]:
    """Preset name -> the module that defines it, for every method file in this folder."""
    names = [info.name for info in pkgutil.iter_modules(unreel.methods.__path__)]
    files = [importlib.import_module(f"unreel.methods.{name}") for name in names if name not in NOT_METHODS]
    return {preset: module for module in files for preset in module.PRESETS}


def load_method_module(preset: str) -> ModuleType:
    """The module of a preset. Raises InputError that lists the known presets."""
    known = find_methods()
    if preset in known:
        return known[preset]
    if "." not in preset:
        raise unknown_name_error("method", preset, known)
    try:
        module = importlib.import_module(preset.partition(":")[0])
    except ImportError as error:
        raise InputError(f"method '{preset}' can't be imported ({error}); name it package.module:preset") from error
    if not hasattr(module, "PRESETS"):
        raise InputError(
            f"'{preset}' is not a method: the file of a method must define PRESETS, as unreel/methods/simclr.py does"
        )
    return module


def load_preset(name: str) -> tuple[Any, Settings]:
    """Config and Settings of a preset; the first preset of a module if the name gives none."""
    presets = load_method_module(name).PRESETS
    chosen = name.partition(":")[2] if "." in name else name
    if chosen and chosen not in presets:
        raise unknown_name_error("preset", chosen, presets)
    return presets[chosen or next(iter(presets))]()
