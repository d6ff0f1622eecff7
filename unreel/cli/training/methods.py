"""`unreel methods`."""

import dataclasses
import inspect
from typing import Annotated

from rich.console import Console
from rich.table import Table
from tyro.conf import Positional

from unreel.cli.arguments import format_option, name_argument, parse_args
from unreel.cli.records import print_records, refuse_json_and_csv
from unreel.cli.terminal import escape_markup
from unreel.errors import InputError


@dataclasses.dataclass
class MethodsArgs:
    """List the methods; with a name, print the full description and every default of that method."""

    name: Annotated[Positional[str], name_argument("[NAME]")] = ""
    """A method or preset to describe."""
    json: bool = False
    """Print name, idea, source and options of each method as JSON."""
    csv: bool = False
    """Print them as CSV."""


def methods_command(argv: list[str]) -> int:
    args = parse_args(MethodsArgs, argv, "methods")
    refuse_json_and_csv(args.json, args.csv)
    if args.name and (args.json or args.csv):
        raise InputError(f"--json and --csv list all methods; leave out the name {args.name}")
    if args.name:
        print(describe_method(args.name))
        return 0
    from unreel.methods.catalogue import list_common_options, list_methods
    from unreel.models.registry import BACKBONES
    from unreel.own_code.installed import GROUPS, list_installed
    from unreel.views.augmentation import AUGMENTATIONS
    from unreel.views.view_spec import VIEWS

    if print_records([dataclasses.asdict(method) for method in list_methods()], args.json, args.csv):
        return 0
    Console(highlight=False).print(build_methods_table())
    common = " ".join(format_option(name, value) for name, value in list_common_options().items())
    print(f"The first is the default; unreel methods NAME tells more. Defaults that all methods share: {common}.")
    print(f"Networks for --backbone: {', '.join(BACKBONES)}; X-2d for the twin of one without time.")
    print(f"Views for --first-view and --second-view: {', '.join(VIEWS)}. For --augment: {', '.join(AUGMENTATIONS)}.")
    for kind, group in GROUPS.items():
        if installed := list_installed(kind):
            names = ", ".join(f"{name} ({value})" for name, value in installed.items())
            print(f"Of installed packages ({group}): {names}.")
    return 0


def build_methods_table() -> Table:
    """A row for each preset: its name; idea, source and the defaults that differ from the common ones."""
    from unreel.methods.catalogue import list_methods

    table = Table.grid(padding=(0, 2, 1, 0))
    for card in list_methods():
        options = " ".join(format_option(name, value) for name, value in card.options.items())
        lines = [escape_markup(card.idea)]
        lines += [f"[dim]{escape_markup(text)}[/]" for text in (card.source, options) if text]
        table.add_row(f"[bold]{card.name}[/]", "\n".join(lines))
    return table


def describe_method(name: str) -> str:
    """The docstrings of a method and its preset, and the preset's values; the first preset where none is named."""
    from unreel.methods.registry import load_method_module, load_preset, name_method

    name = name_method(name)
    module = load_method_module(name)
    preset = name if name in module.PRESETS else name.rpartition(":")[2]
    if preset not in module.PRESETS:
        preset = next(iter(module.PRESETS))
        name = f"{name}:{preset}"
    values = [f"  {format_option(n, v)}" for part in load_preset(name) for n, v in vars(part).items()]
    about = inspect.getdoc(module.PRESETS[preset])
    text = getattr(module, "about", None) or module.__doc__ or ""
    return "\n".join([text.strip(), "", f"{name}: {about}", "", *values])
