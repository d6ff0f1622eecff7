"""The examples in docstrings run and show what is true."""

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import unreel.losses


def modules_with_examples(room: str) -> list[ModuleType]:
    package = importlib.import_module(f"unreel.{room}")
    names = [package.__name__, *(info.name for info in pkgutil.walk_packages(package.__path__, f"unreel.{room}."))]
    modules = [importlib.import_module(name) for name in names]
    return [module for module in modules if any(test.examples for test in doctest.DocTestFinder().find(module))]


@pytest.mark.parametrize(
    "module",
    [module for room in ("io", "settings", "views", "models", "losses") for module in modules_with_examples(room)],
    ids=lambda module: module.__name__,
)
def test_examples(module: ModuleType) -> None:
    assert not doctest.testmod(module).failed


def test_every_loss_has_an_example() -> None:
    for info in pkgutil.iter_modules(unreel.losses.__path__, "unreel.losses."):
        module = importlib.import_module(info.name)
        losses = [f for name, f in vars(module).items() if name.endswith("_loss") and f.__module__ == info.name]
        assert all(">>>" in (loss.__doc__ or "") for loss in losses)
