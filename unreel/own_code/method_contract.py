"""What the file of a method must offer, checked when it is loaded: members and what they take, each with its line."""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from unreel.errors import OwnCodeError
from unreel.own_code.error_lines import describe_error
from unreel.own_code.loading import MISSING, OwnCode
from unreel.settings import Settings, make_single_machine_settings

GUIDE = "docs/own_method.md; `unreel new-method NAME` writes a file that has everything"
CONFIG_MEMBERS = {
    "check": ("settings", "num_instances"),
    "view_spec": ("size",),
    "recipe": ("spec", "seed"),
}
INIT_ARGUMENTS = ("backbone", "instances", "config", "seed")


@dataclass(frozen=True)
class OwnMethod:
    """What training needs of the file of a method, named as in the modules of unreel/methods."""

    Config: Any
    Method: Any
    PRESETS: dict[str, Callable[[], tuple[Any, Settings]]]
    about: str


def read_method(code: OwnCode, chosen: str) -> OwnMethod:
    """The method of a file or module; `chosen` is one of its presets, or its class, or "".

    Raises OwnCodeError that says which member is wrong, what is expected, and the line.
    """
    method = code.get(chosen) if inspect.isclass(code.get(chosen)) else require(code, "Method", "the class of the loss")
    is_class = inspect.isclass(code.get(chosen)) or bool(code.objects)
    config = getattr(method, "Config", None) or require(code, "Config", "the dataclass of its options")
    check_config(code, config)
    check_method_class(code, method)
    presets = getattr(method, "PRESETS", None) or code.get("PRESETS")
    if presets is MISSING and is_class:
        presets = {}
    presets = check_presets(code, presets)
    if chosen == getattr(method, "__name__", "") and chosen not in presets:
        presets = {chosen: choose_preset(code, chosen, config, presets)}
    return OwnMethod(config, method, presets, inspect.getdoc(code.module) or inspect.getdoc(method) or "")


def require(code: OwnCode, name: str, meaning: str) -> Any:
    """A member of the file. Raises OwnCodeError where there is none."""
    member = code.get(name)
    if member is MISSING:
        place = code.sources.main if code.sources.files else code.reference
        expected = f"the file of a method defines Config, Method and PRESETS ({GUIDE})"
        raise OwnCodeError(f"{place} has no {name}, {meaning}; {expected}")
    return member


def contract_error(code: OwnCode, names: tuple[str, ...], problem: str) -> OwnCodeError:
    """An OwnCodeError about a member, with its line."""
    return OwnCodeError(f"{code.find_line(*names)}: {'.'.join(names)} {problem}")


def check_config(code: OwnCode, config: Any) -> None:
    """Config is a dataclass that checks itself and describes its views."""
    name = getattr(config, "__name__", "Config")
    if not inspect.isclass(config) or not dataclasses.is_dataclass(config):
        raise contract_error(
            code, (name,), "is no dataclass; write @dataclass(frozen=True) over class Config(TwoViewOptions)"
        )
    for member, arguments in CONFIG_MEMBERS.items():
        function, signature = getattr(config, member, None), f"{member}(self, {', '.join(arguments)})"
        if function is None:
            raise contract_error(code, (name,), f"has no {signature}; inherit it: class {name}(TwoViewOptions)")
        check_arguments(code, (name, member), function, len(arguments) + 1, signature)
    check_fields(code, config)


def check_fields(code: OwnCode, config: Any) -> None:
    """What Config sets are fields of it: neither a type nor the decorator is forgotten, which a dataclass keeps quiet.

    Constants are written in capitals, with a leading _, or as ClassVar.
    """
    written = inspect.get_annotations(config)
    if written and "__dataclass_fields__" not in vars(config):
        problem = "is no field, and so no option: the line @dataclass(frozen=True) is missing over the class"
        raise contract_error(code, (config.__name__, next(iter(written))), problem)
    for name, value in vars(config).items():
        if name in written or name.startswith("_") or name.isupper() or callable(value) or hasattr(value, "__get__"):
            continue
        typed = f"{name}: {'str | None' if value is None else type(value).__name__} = {value!r}"
        problem = f"is no field, and so no option, since it has no type; write {typed}, or ClassVar for a constant"
        raise contract_error(code, (config.__name__, name), problem)


def check_method_class(code: OwnCode, method: Any) -> None:
    """Method is a module that takes a network, and knows what to do after a step."""
    name = getattr(method, "__name__", "Method")
    if not inspect.isclass(method) or not issubclass(method, nn.Module):
        raise contract_error(code, (name,), "is no class of torch.nn.Module; write class Method(nn.Module)")
    signature = f"__init__(self, {', '.join(INIT_ARGUMENTS)})"
    check_arguments(code, (name, "__init__"), method.__init__, len(INIT_ARGUMENTS) + 1, signature)
    if method.forward is nn.Module.forward:
        raise contract_error(code, (name,), "has no forward(self, views); it returns StepOutput(loss)")
    check_arguments(code, (name, "forward"), method.forward, 2, "forward(self, views)")
    after_step = getattr(method, "after_step", None)
    if not callable(after_step):
        expected = "it is called after each change of the weights; a method without a memory does `pass`"
        raise contract_error(code, (name,), f"has no after_step(self); {expected}")
    check_arguments(code, (name, "after_step"), after_step, 1, "after_step(self)")


def check_arguments(code: OwnCode, names: tuple[str, ...], function: Any, count: int, signature: str) -> None:
    """The function can be called with so many arguments."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except (TypeError, ValueError) as error:
        raise contract_error(code, names, f"can't be called as {signature} ({error})") from error


def check_presets(code: OwnCode, presets: Any) -> dict[str, Any]:
    """PRESETS is a dict of functions."""
    if presets is MISSING:
        require(code, "PRESETS", "a dict of functions that return (Config(...), settings)")
    if not isinstance(presets, dict) or not all(isinstance(n, str) and callable(f) for n, f in presets.items()):
        kind = type(presets).__name__ if not isinstance(presets, dict) else "dict of something else"
        expected = 'it must be a dict of names and functions: PRESETS = {"near": near}'
        raise contract_error(code, ("PRESETS",), f"is a {kind}; {expected}")
    return presets


def choose_preset(code: OwnCode, name: str, config: Any, presets: dict[str, Any]) -> Any:
    """The preset of a method that is named by its class: the only one there is, else the defaults of Config."""
    if len(presets) > 1:
        raise OwnCodeError(f"{name} has {len(presets)} presets, {' and '.join(presets)}; name one of them")

    def defaults() -> tuple[Any, Settings]:
        return config(), make_single_machine_settings()

    defaults.__doc__ = inspect.getdoc(code.get(name))
    return next(iter(presets.values()), defaults)


def call_preset(code: OwnCode, method: OwnMethod, name: str) -> tuple[Any, Settings]:
    """Config and Settings of a preset. Raises OwnCodeError where it returns something else, or fails."""
    function = method.PRESETS[name]
    place = (getattr(function, "__name__", name),)
    try:
        made = function()
    except (TypeError, AttributeError, NameError, ValueError, KeyError) as error:
        raise contract_error(code, place, f"fails as a preset: {describe_error(error, code.sources)}") from error
    if not isinstance(made, tuple) or len(made) != 2 or not isinstance(made[1], Settings):
        expected = "a preset returns (Config(...), make_single_machine_settings())"
        raise contract_error(code, place, f"returns {describe_value(made)}; {expected}")
    if not isinstance(made[0], method.Config):
        raise contract_error(
            code, place, f"returns a {type(made[0]).__name__} first; a preset returns this file's Config first"
        )
    return made


def describe_value(value: Any) -> str:
    """The kind of a value, in a word or two."""
    if isinstance(value, tuple):
        return f"({', '.join(type(part).__name__ for part in value)})"
    return "nothing" if value is None else f"a {type(value).__name__}"
