"""The examples in the docstrings run and show what is true."""

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import unreel.losses


def import_modules(package: ModuleType) -> list[ModuleType]:
    return [
        importlib.import_module(info.name) for info in pkgutil.iter_modules(package.__path__, package.__name__ + ".")
    ]


@pytest.mark.parametrize("module", import_modules(unreel.losses), ids=lambda module: module.__name__)
def test_examples(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("module", import_modules(unreel.losses), ids=lambda module: module.__name__)
def test_every_loss_has_an_example(module: ModuleType) -> None:
    losses = [f for name, f in vars(module).items() if name.endswith("_loss") and f.__module__ == module.__name__]
    assert all(">>>" in (loss.__doc__ or "") for loss in losses)
