"""Backbones, found by file name: a module of this folder that defines `build(**options) -> nn.Module` is one.

A backbone has `num_features` and maps clips (B, C, T, H, W) to its last feature map (B, num_features, T', H', W').
"""

import importlib
import inspect
from pathlib import Path
from typing import Any

from torch import nn

from unreel.errors import InputError, unknown


def backbone_names() -> tuple[str, ...]:
    """The backbones of this folder; reads the files and imports none, so it stays cheap and can't fail."""
    files = Path(__file__).parent.glob("*.py")
    return tuple(sorted(f.stem for f in files if "\ndef build(" in f.read_text(encoding="utf-8")))


BACKBONES = backbone_names()


def build_backbone(name: str, **options: Any) -> nn.Module:
    """An untrained backbone by its file name, e.g. "r3d".

    Raises InputError for an unknown name or option.
    """
    if name not in BACKBONES:
        raise unknown("backbone", name, BACKBONES)
    build = importlib.import_module(f"{__name__}.{name}").build
    try:
        inspect.signature(build).bind(**options)
    except TypeError as error:
        raise InputError(f"backbone '{name}' takes {inspect.signature(build)}: {error}") from error
    return build(**options)
