"""Methods and their presets, found by name: those of this folder, of installed packages, and code of one's own."""

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

import unreel.methods
from unreel.errors import InputError, unknown_name_error
from unreel.own_code.installed import expand_name, unknown_choice_error
from unreel.own_code.loading import get_loaded, load_named
from unreel.own_code.method_contract import OwnMethod, call_preset, read_method
from unreel.own_code.names import METHOD, is_own_code, split_name
from unreel.own_code.python_objects import register_object
from unreel.settings import Settings

DEFAULT_METHOD = "motion"
NOT_METHODS = {"registry", "checks", "catalogue"}


def find_methods() -> dict[str, ModuleType]:
    """Preset name -> the module that defines it, for every method file in this folder."""
    names = [info.name for info in pkgutil.iter_modules(unreel.methods.__path__)]
    files = [importlib.import_module(f"unreel.methods.{name}") for name in names if name not in NOT_METHODS]
    return {preset: module for module in files for preset in module.PRESETS}


def name_method(method: Any) -> str:
    """Load what a person gives as a method: a name, or a module, class or preset; returns its name in a run.

    Code of one's own is read from the disk as it is now. Raises InputError.
    """
    if isinstance(method, str):
        name = expand_name(method, METHOD, find_methods())
        return load_named(name, METHOD) if is_own_code(name) else name
    name = register_object(method, METHOD)
    if inspect.isclass(method):
        return name
    reference, function = split_name(name)
    own = read_method(get_loaded(name, METHOD), "")
    if not function:  # a module
        return f"{reference}:{choose_own_preset(reference, own)}"
    return f"{reference}:{next((preset for preset, made in own.PRESETS.items() if made is method), function)}"


def load_method_module(preset: str) -> ModuleType | OwnMethod:
    """The module of a preset: its Config, Method and PRESETS. Raises InputError that lists the known presets."""
    known = find_methods()
    if preset in known:
        return known[preset]
    preset = expand_name(preset, METHOD, known)
    if is_own_code(preset):
        return read_method(get_loaded(preset, METHOD), split_name(preset)[1])
    if Path(f"{preset}.py").is_file():
        raise InputError(f"there is no method '{preset}', but a file {preset}.py here; name it --method {preset}.py")
    raise unknown_choice_error(METHOD, preset, known)


def load_preset(name: str) -> tuple[Any, Settings]:
    """Config and Settings of a preset, by name. Raises InputError, also where there are several and none is named."""
    module = load_method_module(name)
    if not isinstance(module, OwnMethod):
        made: tuple[Any, Settings] = module.PRESETS[name]()
        return made
    name = expand_name(name, METHOD, find_methods())
    return call_preset(get_loaded(name, METHOD), module, choose_own_preset(name, module))


def choose_own_preset(name: str, method: OwnMethod) -> str:
    """The preset that a name means: the one it names, or the only one."""
    reference, chosen = split_name(name)
    if not chosen and len(method.PRESETS) != 1:
        names = " or ".join(f"{reference}:{preset}" for preset in method.PRESETS) or "none"
        raise InputError(f"{reference} has {len(method.PRESETS)} presets; name one: --method {names}")
    if chosen and chosen not in method.PRESETS:
        raise unknown_name_error("preset", chosen, method.PRESETS)
    return chosen or next(iter(method.PRESETS))
