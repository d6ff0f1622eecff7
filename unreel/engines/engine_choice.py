"""The engine of the surroundings: where the files of a command are read."""

import contextlib
import contextvars
import importlib
from collections.abc import Iterator

from unreel.engines.worker_batches import Engine
from unreel.errors import require_known

ENGINES = {  # the function of each that opens it; "local" is this machine without any
    "local": "",
    "ray": "unreel.engines.ray_tasks:open_ray",
}

_current_engine: contextvars.ContextVar[Engine | None] = contextvars.ContextVar("engine", default=None)


@contextlib.contextmanager
def use_engine(name: str) -> Iterator[None]:
    """Inside the block files are read by the workers of an engine, "ray", or by processes of this machine, "local".

        with use_engine("ray"):
            unreel.index("runs/iic", "videos", "index")

    It holds for `inspect`, `pack`, `embed` and `index`. Files are read deep inside everything, so this is a setting of
    the surroundings, as `use_limits` is. Raises InputError where the engine is not installed or does not answer.
    """
    require_known("engine", [name], ENGINES)
    if not ENGINES[name]:
        yield
        return
    module, _, function = ENGINES[name].partition(":")
    with getattr(importlib.import_module(module), function)() as engine:
        token = _current_engine.set(engine)
        try:
            yield
        finally:
            _current_engine.reset(token)


def get_engine() -> Engine | None:
    """The engine of the surrounding `use_engine`; None for processes of this machine."""
    return _current_engine.get()
