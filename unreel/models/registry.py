"""Backbones, found by file name: every file of backbones/ that defines `build(**options) -> nn.Module` is one. It may
stand in a folder there.

A backbone has `num_features` and maps clips (B, C, T, H, W) to its last feature map (B, num_features, T', H', W').

    "r3d"                         a file of backbones/
    "r3d-2d"                      its 2D twin, which sees each frame alone (twin_2d.py)
    "path/to/net.py:Small"        your own torch.nn.Module, called with --backbone-options; also "module:function"
    "mine"                        the name that an installed package offers in its entry points "unreel.backbones"
    "transformers:videomae"       a video model of Hugging Face, untrained; or "transformers:FOLDER" with its weights
"""

import importlib
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from unreel.errors import InputError
from unreel.models.twin_2d import make_2d_twin
from unreel.own_code.installed import expand_name, unknown_choice_error
from unreel.own_code.names import TRANSFORMERS_PREFIX, is_own_code

TWIN_2D_SUFFIX = "-2d"


def find_backbone_modules() -> dict[str, str]:
    """The module of each backbone by its name; reads the files but imports none, so it is cheap and can't fail."""
    folder = Path(__file__).parent
    files = sorted((folder / "backbones").rglob("*.py"), key=lambda file: file.stem)
    builders = [f for f in files if "\ndef build(" in f.read_text(encoding="utf-8")]
    return {f.stem: ".".join(["unreel.models", *f.relative_to(folder).with_suffix("").parts]) for f in builders}


BACKBONE_MODULES = find_backbone_modules()
BACKBONES = tuple(BACKBONE_MODULES)


def is_builtin_backbone(name: str) -> bool:
    """Whether a network is one of ours. They take clips of any length that is not shorter than their stride."""
    return not name.startswith(TRANSFORMERS_PREFIX) and not is_own_code(name)


def build_backbone(name: str, **options: Any) -> nn.Module:
    """An untrained backbone by its name, e.g. "r3d"; `options` are the backbone's own, e.g. width=2.

    External ones take size=112 and num_frames=16, the clips that they will get.
    Raises InputError for an unknown name or option.

    >>> import torch
    >>> build_backbone("tiny")(torch.zeros(1, 3, 8, 64, 64)).shape
    torch.Size([1, 128, 2, 4, 4])
    """
    name = expand_name(name, "backbone", BACKBONES)
    build = find_builder(name)
    known = inspect.signature(build).parameters
    if unknown := sorted(set(options) - set(known)):
        names = ", ".join(option for option in known if option != "in_channels") or "none"
        raise InputError(f"backbone '{name}' has no option {', '.join(unknown)}; its options: {names}")
    network = build(**options)
    if name.removesuffix(TWIN_2D_SUFFIX) in BACKBONES and name.endswith(TWIN_2D_SUFFIX):
        return make_2d_twin(network)
    return network


def find_builder(name: str) -> Callable[..., nn.Module]:
    """The function that builds a backbone (for a 2D twin, its 3D original)."""
    name = expand_name(name, "backbone", BACKBONES)
    if not is_builtin_backbone(name):  # imported only here, so that other names stay cheap
        from unreel.models.backbones import external, huggingface

        if is_own_code(name):
            return partial(external.build_external, name)
        return partial(huggingface.build_transformer, name.removeprefix(TRANSFORMERS_PREFIX))
    module = BACKBONE_MODULES.get(name.removesuffix(TWIN_2D_SUFFIX))
    if module is None:
        raise unknown_choice_error("backbone", name, BACKBONES)
    build: Callable[..., nn.Module] = importlib.import_module(module).build
    return build
