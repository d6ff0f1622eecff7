"""One file, one method. A method is found by its file name, a preset by the functions that its file lists in PRESETS.

A method's file offers
    Config                 a frozen dataclass of its own options
    PRESETS                name -> function returning (Config, Settings); the docstring says what to expect of it
    Method                 torch module: Method(backbone, instances, config, seed)
        .view_spec(config, settings)   which views, for training and for the encoder in use
        .recipe(spec, config, seed)    clips -> views
        .forward(views)                -> StepOutput
        .after_step()                  what changes only once the optimiser has stepped (memory, teachers)
"""

import importlib
import pkgutil
from types import ModuleType

from unreel.errors import unknown


def find_methods() -> dict[str, ModuleType]:
    """Preset name -> the module that defines it, for every method file in this folder."""
    files = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    return {preset: module for module in files for preset in module.PRESETS}


def method_module(preset: str) -> ModuleType:
    """The file of a preset. Raises InputError that lists the known ones."""
    known = find_methods()
    if preset not in known:
        raise unknown("method", preset, known)
    return known[preset]
