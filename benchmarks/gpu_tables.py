"""The figures of `gpu.py` as Markdown: the columns of each table, and the parts of a page that they replace.

A part of a page stands between `<!-- gpu: TABLE -->` and `<!-- end of gpu: TABLE -->`.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from unreel.errors import InputError

NOT_MEASURED = "not measured yet"
Outcome = Mapping[str, Any]
"""What the JSON file has of a row: "figures", or "failed" and why; and "seconds"."""


class Table(NamedTuple):
    """What a table shows: a sentence, the head of its first column, and figure -> (head, format of a number)."""

    sentence: str
    first: str
    columns: Mapping[str, tuple[str, str]]


RATIO, WHOLE, TENTH, SHARE = ".2f", ",.0f", ",.1f", ".0%"
TABLES = {
    "networks": Table(
        "A network alone on random clips, in bfloat16; each line of a network adds a switch to the line above. `r3d` "
        "and `r21d`: 64 clips of 16 x 112 x 112; `r3d50`: 32 of 16 x 224 x 224. The step is forward, backward and "
        "AdamW; forward is without gradients.",
        "network",
        {
            "forward_ms": ("forward, ms", TENTH),
            "step_ms": ("step, ms", TENTH),
            "clips_per_s": ("clips/s of the step", WHOLE),
            "mfu": ("MFU of the step", SHARE),
            "mb_per_clip": ("MB a clip", WHOLE),
            "clips_that_fit": ("clips that fit", WHOLE),
        },
    ),
    "whole step": Table(
        "The whole step, from files to the optimiser, beside the bare network on as many clips (`whole_step.py`).",
        "method, network",
        {
            "network_ms": ("bare network, ms", WHOLE),
            "step_ms": ("whole step, ms", WHOLE),
            "waiting": ("waiting for data", SHARE),
            "ratio": ("network / step", RATIO),
            "network_mfu": ("MFU of the network", SHARE),
            "step_mfu": ("MFU of the step", SHARE),
            "mb_per_instance": ("MB an instance", WHOLE),
            "instances_that_fit": ("instances that fit", WHOLE),
        },
    ),
    "runs": Table(
        "Training on the videos of train.txt without their labels, from random weights, `r3d`, 64 clips of 16 x 112 x "
        "112 at 12.5 fps a step, seed 0; then retrieval as in IIC (max-pooled map, nothing centred, both views), 3 "
        "clips of a video, percent.",
        "method",
        {
            "steps": ("steps", WHOLE),
            "minutes": ("minutes", TENTH),
            **{f"R@{k}": (f"R@{k}", TENTH) for k in (1, 5, 10, 20, 50)},
            "untrained": ("R@1, untrained", TENTH),
            "difference": ("R@1, frame difference", TENTH),
        },
    ),
    "augmentation": Table(
        "The augmentation of CVRL on a batch of 64 clips of 16 frames to 112 x 112 (`augment.py`).",
        "view",
        {
            "unreel": ("unreel, clips/s", WHOLE),
            "kornia": ("kornia, clips/s", WHOLE),
            "ratio": ("unreel / kornia", RATIO),
        },
    ),
    "released style": Table(
        "A step against one in the style of IIC's release, `r3d`, 16 clips of 16 x 112 x 112 (`released_style.py`).",
        "method",
        {
            "step_released_ms": ("released style, the step alone, ms", WHOLE),
            "step_ms": ("unreel, ms", WHOLE),
            "step_ratio": ("ratio", RATIO),
            "loop_released_ms": ("released style, end to end, ms", WHOLE),
            "loop_ms": ("unreel, ms", WHOLE),
            "loop_ratio": ("ratio", RATIO),
        },
    ),
    "processes": Table(
        "`unreel pretrain --devices N`, `r3d`, 64 clips of 16 x 112 x 112 for each GPU (`processes.py`).",
        "processes",
        {"clips_per_s": ("clips/s, all together", WHOLE)},
    ),
    "use": Table(
        "An encoder in use, `r3d`, 16 x 112 x 112, views rgb and residual (`extract.py`, `index.py`).",
        "what",
        {
            "decoding": ("decoding alone", WHOLE),
            "encoder": ("encoder alone", WHOLE),
            "whole": ("the whole", WHOLE),
            "ratio": ("whole / slower half", RATIO),
        },
    ),
    "switches": Table(
        "The loop of `iic`, `r3d`, as it is and with some settings changed, in alternation (`unreel bench --against`).",
        "changed",
        {"given": ("as it is, clips/s", WHOLE), "changed": ("changed, clips/s", WHOLE), "ratio": ("ratio", RATIO)},
    ),
    "methods": Table(
        "A step without decoding beside the bare network, `r3d`, 64 clips of 16 x 112 x 112 (`step.py`).",
        "method",
        {
            "clips": ("clips of an instance, trained on + seen", ""),
            "calls": ("network calls", WHOLE),
            "step_ms": ("step, ms", WHOLE),
            "ratio": ("bare network / step", RATIO),
        },
    ),
}


def format_figure(value: Any, form: str) -> str:
    """A number, or the median (lowest to highest) of several.

    >>> format_figure(0.514, ".0%"), format_figure([2.0, 1.0, 4.0], ".1f"), format_figure(None, ".1f")
    ('51%', '2.0 (1.0 to 4.0)', 'unknown')
    """
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "unknown"
    if not isinstance(value, list):
        return format(value, form)
    if len(value) == 1:
        return format(value[0], form)
    return f"{statistics.median(value):{form}} ({min(value):{form}} to {max(value):{form}})"


def format_table(name: str, rows: Sequence[tuple[str, str]], outcomes: Mapping[str, Outcome]) -> str:
    """A table in Markdown; `rows` are (key, name). What failed says why, what is not there is not measured yet."""
    table = TABLES[name]
    heads = [table.first, *(head for head, _ in table.columns.values())]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for key, title in rows:
        lines.append(f"| {' | '.join([title, *format_cells(table, outcomes.get(key))])} |")
    return "\n".join(lines)


def format_cells(table: Table, outcome: Outcome | None) -> list[str]:
    if outcome is not None and "figures" in outcome:
        return [format_figure(outcome["figures"].get(name), form) for name, (_, form) in table.columns.items()]
    said = NOT_MEASURED if outcome is None else f"{NOT_MEASURED}: {outcome['failed']}"
    return [said.replace("|", "/").replace("\n", " "), *[""] * (len(table.columns) - 1)]


def describe_machine(machine: Mapping[str, Any]) -> str:
    """What the figures were measured on, in a sentence; "" before."""
    if not machine:
        return ""
    gpu = f"{machine['gpus']} x {machine['name']} ({machine['memory_gb']} GB)" if machine["gpus"] else machine["name"]
    versions = f"torch {machine['torch']}, Python {machine['python']}"
    cuda = f", CUDA {machine['cuda']}, cuDNN {machine['cudnn']}" if machine["gpus"] else ""
    return f"{gpu}, {machine['cores']} cores, {versions}{cuda}, {machine['date']}; videos: {machine['videos']}."


def replace_part(page: str, name: str, text: str) -> str:
    """The page with the part of this table replaced. Raises InputError where its end is missing."""
    before, begin, rest = page.partition(f"<!-- gpu: {name} -->")
    _, end, after = rest.partition(f"<!-- end of gpu: {name} -->")
    if not begin:
        return page
    if not end:
        raise InputError(
            f"the page has <!-- gpu: {name} --> without <!-- end of gpu: {name} -->; put it after the table"
        )
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"
