"""`unreel methods`."""

import dataclasses

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from unreel.cli.arguments import format_option, parse_args
from unreel.cli.terminal import escape_markup


@dataclasses.dataclass
class MethodsArgs:
    """What --method can be; with a name, the whole idea of that method and every default."""

    name: Positional[str] = ""
    """A method, to read about it."""


def methods_command(args: list[str]) -> int:
    given = parse_args(MethodsArgs, args, "methods")
    if given.name:
        print(describe_method(given.name))
        return 0
    from unreel.methods.catalogue import list_common_options, list_methods
    from unreel.models.registry import BACKBONES

    table = Table.grid(padding=(0, 2, 1, 0))
    for card in list_methods():
        options = " ".join(format_option(name, value) for name, value in card.options.items())
        lines = (
            f"{escape_markup(card.idea)}",
            f"[dim]{escape_markup(card.source)}[/]",
            f"[dim]{escape_markup(options)}[/]",
        )
        table.add_row(f"[bold]{card.name}[/]", "\n".join(line for line in lines if line != "[dim][/]"))
    Console(highlight=False).print(table)
    common = " ".join(format_option(name, value) for name, value in list_common_options().items())
    print(f"The first is the default; unreel methods NAME tells more. Where nothing else is said: {common}.")
    print(f"Networks for --backbone: {', '.join(BACKBONES)}; X-2d for the twin of one without time.")
    return 0


def describe_method(name: str) -> str:
    """The docstrings of a method and its preset, and the preset's values."""
    import inspect as introspection

    from unreel.methods.registry import load_method_module, load_preset

    values = [f"  {format_option(n, v)}" for part in load_preset(name) for n, v in vars(part).items()]
    module = load_method_module(name)
    key = name if name in module.PRESETS else name.partition(":")[2] or next(iter(module.PRESETS))
    about = introspection.getdoc(module.PRESETS[key])
    return "\n".join([(module.__doc__ or "").strip(), "", f"{name}: {about}", "", *values])
