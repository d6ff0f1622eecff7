"""Names that installed packages offer, by entry points: one group of them for each kind of thing.

    [project.entry-points."unreel.methods"]      # in the pyproject.toml of a package
    tubelet = "tubelet_package.method:barlow"    # then: --method tubelet

Such a name stands for code of one's own, `module:NAME`, and is written out as that before anything else happens. So a
run, its copies and its checks know one form. What unreel itself has keeps its name.
"""

import importlib.metadata
from collections.abc import Collection

from unreel.errors import InputError, OwnCodeError, unknown_name_error
from unreel.own_code.names import METHOD, is_own_code

GROUPS = {
    METHOD: "unreel.methods",
    "backbone": "unreel.backbones",
    "view": "unreel.views",
    "augment": "unreel.augmentations",
    "probe": "unreel.probes",
    "protocol": "unreel.protocols",
}
"""The group of entry points of each kind."""


def list_installed(kind: str) -> dict[str, str]:
    """What installed packages offer of a kind, name to `module:NAME`; imports none of it. Raises OwnCodeError."""
    found: dict[str, str] = {}
    for entry in importlib.metadata.entry_points(group=GROUPS[kind]):
        value = entry.value.partition("[")[0].strip()  # without extras
        if found.get(entry.name, value) != value:
            raise OwnCodeError(
                f"two installed packages offer the {kind} '{entry.name}', as {found[entry.name]} and {value}; "
                "name the one that is meant so, or remove a package"
            )
        found[entry.name] = value
    return found


def expand_name(name: str, kind: str, builtin: Collection[str]) -> str:
    """`module:NAME` for the name that an installed package offers; any other name, of unreel or not, as it is.

    Raises OwnCodeError where a package offers something that can't be named so.
    """
    if name in builtin or is_own_code(name):
        return name
    expanded = list_installed(kind).get(name, name)
    if expanded != name and ":" not in expanded:
        raise OwnCodeError(f"{kind} '{name}' is offered by a package as '{expanded}'; an entry point is module:NAME")
    return expanded


def unknown_choice_error(kind: str, name: str, builtin: Collection[str]) -> InputError:
    """The error of a name that neither unreel nor an installed package has; it lists both."""
    return unknown_name_error(kind, name, [*builtin, *list_installed(kind)])
