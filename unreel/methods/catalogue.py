"""The presets for `--method`, read from the methods themselves."""

import dataclasses
import re
from typing import Any

from unreel.methods.registry import DEFAULT_METHOD, find_methods
from unreel.settings import make_single_machine_settings
from unreel.views.two_views import TwoViewOptions


@dataclasses.dataclass(frozen=True)
class MethodSummary:
    """A preset in a few lines: idea, source, its own options, and the common options that it changes."""

    name: str
    idea: str
    source: str
    options: dict[str, Any]


def list_methods() -> list[MethodSummary]:
    """Every preset of `unreel pretrain --method`, the default first."""
    summaries = []
    for name, module in find_methods().items():
        config, settings = module.PRESETS[name]()
        idea = (module.PRESETS[name].__doc__ or "").strip().splitlines()[0]
        shared = {f.name for f in dataclasses.fields(TwoViewOptions)}
        own = {name: value for name, value in vars(config).items() if name not in shared}
        options = (
            find_changed_fields(config, module.Config())
            | own
            | find_changed_fields(settings, make_single_machine_settings())
        )
        source = parse_source(module.PRESETS[name].__doc__ or "") or parse_source(module.__doc__ or "")
        summaries.append(MethodSummary(name, idea, source, options))
    return sorted(summaries, key=lambda summary: summary.name != DEFAULT_METHOD)


def parse_source(docstring: str) -> str:
    """The first sentence after "Source:"."""
    return re.split(r"\.(?: (?=[A-Z`])|$)", " ".join(docstring.partition("Source:")[2].split()))[0]


def list_common_options() -> dict[str, Any]:
    """Settings that the presets share unless they change them, and that matter for a comparison."""
    names = ("fps", "batch_size", "optimizer", "lr", "weight_decay", "schedule", "warmup")
    return {name: getattr(make_single_machine_settings(), name) for name in names}


def find_changed_fields(config: Any, defaults: Any) -> dict[str, Any]:
    """Fields of `config` whose value differs from `defaults`."""
    pairs = {f.name: (getattr(config, f.name), getattr(defaults, f.name)) for f in dataclasses.fields(config)}
    return {name: value for name, (value, default) in pairs.items() if value != default}
