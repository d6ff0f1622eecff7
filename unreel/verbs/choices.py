"""What there is to choose from: methods, networks, views and the like, of unreel and of installed packages."""

import ast
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unreel.errors import unknown_name_error
from unreel.evaluation.protocol_registry import list_protocols
from unreel.evaluation.protocols.linear_probe import KIND_DESCRIPTIONS
from unreel.methods.catalogue import list_methods
from unreel.models.registry import BACKBONE_MODULES
from unreel.own_code.installed import list_installed
from unreel.types import Tabular
from unreel.views.augmentation import AUGMENTATIONS
from unreel.views.view_spec import VIEWS


@dataclass(frozen=True)
class Choice:
    """A name, where it is from ("unreel", or `module:NAME` of a package), and what it is in a line where that is known.

    >>> unreel.choices("views")["rgb"].origin
    'unreel'
    """

    name: str
    origin: str
    about: str = ""


class Choices(dict[str, Choice], Tabular):
    """Choices by name; a table in a notebook."""

    def list_rows(self) -> list[dict[str, Any]]:
        return [{"name": c.name, "origin": c.origin, "about": c.about} for c in self.values()]

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        return "\n".join(f"{c.name:<{width}}  {c.about or c.origin}" for c in self.values())


def choices(kind: str) -> Choices:
    """The names that an option takes, of unreel and of installed packages; code of your own is named by its file.

    Args:
        kind: "methods", "backbones", "views", "augmentations", "probes" or "protocols".

    Returns:
        Choices by name, each with its origin and, where there is one, a line about it.

    Raises:
        InputError: there is no such kind.

    >>> list(unreel.choices("views"))
    ['rgb', 'residual', 'flow-u', 'flow-v']
    """
    if kind not in KINDS:
        raise unknown_name_error("kind of choice", kind, KINDS)
    entry_kind, list_own = KINDS[kind]
    own = {name: Choice(name, "unreel", about) for name, about in list_own().items()}
    installed = {name: Choice(name, value) for name, value in list_installed(entry_kind).items()}
    return Choices(installed | own)


def read_first_line(module: str) -> str:
    """The first line of a module's docstring, without importing it."""
    spec = importlib.util.find_spec(module)
    text = Path(spec.origin or "").read_text(encoding="utf-8") if spec else ""
    return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]


def list_views() -> dict[str, str]:
    """The views, each with the first line on the function that makes it."""
    return {name: (view.make.__doc__ or "").partition("\n")[0].partition(";")[0] for name, view in VIEWS.items()}


KINDS: dict[str, tuple[str, Callable[[], dict[str, str]]]] = {
    "methods": ("method", lambda: {card.name: card.idea for card in list_methods()}),
    "backbones": ("backbone", lambda: {name: read_first_line(m) for name, m in BACKBONE_MODULES.items()}),
    "views": ("view", list_views),
    "augmentations": ("augment", lambda: dict.fromkeys(AUGMENTATIONS, "")),
    "probes": ("probe", lambda: dict(KIND_DESCRIPTIONS)),
    "protocols": ("protocol", lambda: {name: entry.summary for name, entry in list_protocols().items()}),
}
