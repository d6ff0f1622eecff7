"""What `--method` can be, read from the methods themselves."""

import dataclasses
import re
from typing import Any

from unreel.methods import DEFAULT, find_methods
from unreel.settings import one_machine
from unreel.views.pair import PairOptions


@dataclasses.dataclass(frozen=True)
class MethodCard:
    """A preset in a few lines: what it does, after whom, its own options, and the common ones that it changes."""

    name: str
    idea: str
    source: str
    options: dict[str, Any]


def methods() -> list[MethodCard]:
    """Every preset of `unreel pretrain --method`, the default first."""
    cards = []
    for name, module in find_methods().items():
        config, settings = module.PRESETS[name]()
        idea = (module.PRESETS[name].__doc__ or "").strip().splitlines()[0]
        shared = {f.name for f in dataclasses.fields(PairOptions)}
        own = {name: value for name, value in vars(config).items() if name not in shared}
        options = changed(config, module.Config()) | own | changed(settings, one_machine())
        source = source_of(module.PRESETS[name].__doc__ or "") or source_of(module.__doc__ or "")
        cards.append(MethodCard(name, idea, source, options))
    return sorted(cards, key=lambda card: card.name != DEFAULT)


def source_of(doc: str) -> str:
    """The first sentence after "Source:"."""
    return re.split(r"\.(?: (?=[A-Z`])|$)", " ".join(doc.partition("Source:")[2].split()))[0]


def common_options() -> dict[str, Any]:
    """Settings that the presets share unless they say otherwise, the ones that a comparison depends on."""
    names = ("fps", "batch_size", "epochs", "optimizer", "lr", "weight_decay", "schedule", "warmup")
    return {name: getattr(one_machine(), name) for name in names}


def changed(part: Any, default: Any) -> dict[str, Any]:
    """Fields whose value differs."""
    pairs = {f.name: (getattr(part, f.name), getattr(default, f.name)) for f in dataclasses.fields(part)}
    return {name: value for name, (value, usual) in pairs.items() if value != usual}
