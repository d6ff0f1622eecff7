"""One file, one method. A method is found by its file name, a preset by the functions that its file lists in PRESETS.

A method's file offers
    Config                 a frozen dataclass of its own options; it inherits views.pair.PairOptions, which say how the
                           two views of an instance are made
        .check(settings, num_instances)   refuses, with a sentence, what can't work
    PRESETS                name -> function returning (Config, Settings); the docstring says what to expect of it
    Method                 torch module: Method(backbone, instances, config, seed)
        .forward(views)                   -> StepOutput
        .after_step()                     what changes only once the optimiser has stepped (memory, queues, teachers)

`package.module` or `package.module:preset` names a method outside this folder.
"""

import importlib
import pkgutil
from types import ModuleType
from typing import Any

from unreel.errors import InputError, unknown_name_error
from unreel.models import TWIN_2D_SUFFIX
from unreel.settings import Settings
from unreel.views.pair import TwoViewOptions

DEFAULT_METHOD = "trio"


def find_methods() -> dict[str, ModuleType]:
    """Preset name -> the module that defines it, for every method file in this folder."""
    files = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    return {preset: module for module in files for preset in module.PRESETS}


def load_method_module(preset: str) -> ModuleType:
    """The file of a preset. Raises InputError that lists the known ones."""
    known = find_methods()
    if preset in known:
        return known[preset]
    if "." not in preset:
        raise unknown_name_error("method", preset, known)
    try:
        module = importlib.import_module(preset.partition(":")[0])
    except ImportError as error:
        raise InputError(f"method '{preset}' can't be imported ({error}); name it package.module:preset") from error
    if not hasattr(module, "PRESETS"):
        raise InputError(
            f"'{preset}' is no method: a method's file lists its PRESETS, as unreel/methods/simclr.py does"
        )
    return module


def load_preset(name: str) -> tuple[Any, Settings]:
    """Config and Settings of a preset; a module's first one when its name says none."""
    presets = load_method_module(name).PRESETS
    chosen = name.partition(":")[2] if "." in name else name
    if chosen and chosen not in presets:
        raise unknown_name_error("preset", chosen, presets)
    return presets[chosen or next(iter(presets))]()


# What several methods refuse, each with a sentence.


def require_two_instances(
    settings: Settings, num_instances: int, reason: str = "holds no other video to contrast with"
) -> None:
    """A contrast needs somebody else, in the data and in the batch; so do a variance and batch norm."""
    if num_instances < 2:
        raise InputError(f"training needs at least 2 instances, got {num_instances}; add videos or lower --segment-s")
    if settings.batch_size < 2:
        raise InputError(f"a batch of 1 {reason}; --batch-size must be at least 2")


def require_temporal_clips(options: TwoViewOptions, settings: Settings, ranks_segments: bool = False) -> None:
    """What breaks the order of frames is no task for a network, or a clip, that has no time."""
    asked = options.intra_negatives if options.intra_negatives not in ("none", "rotate") else ""
    if settings.num_frames > 1 and not settings.backbone.endswith(TWIN_2D_SUFFIX):
        return
    what = "clips of 1 frame have" if settings.num_frames == 1 else f"the network {settings.backbone} has"
    if asked or ranks_segments:
        name = f"--intra-negatives {asked}" if asked else "the ranking of segments"
        raise InputError(f"{what} no time, so {name} would ask for what can't be seen; leave it out")


def reject_intra_negatives(options: TwoViewOptions, name: str) -> None:
    """A method without negatives has no place for broken clips."""
    if options.intra_negatives != "none":
        raise InputError(
            f"{name} compares no negatives, so --intra-negatives {options.intra_negatives} has nothing to be one of; "
            "leave it at none, or choose a method that compares with others (`unreel methods`)"
        )


def check_ranges(config: Any, **ranges: tuple[float, float]) -> None:
    """Each named field lies between its two bounds."""
    for name, (low, high) in ranges.items():
        if not low <= getattr(config, name) <= high:
            raise InputError(f"{name} must lie between {low:g} and {high:g}, got {getattr(config, name)}")


def check_queue_size(queue_size: int, batch_size: int) -> None:
    """The queue is a whole number of batches."""
    if queue_size < 1 or queue_size % batch_size:
        raise InputError(
            f"--queue-size {queue_size} is not a whole number of batches of {batch_size}; "
            f"{max(1, queue_size // batch_size) * batch_size} would be"
        )


def require_equal_views(options: TwoViewOptions) -> None:
    """On a queue the network is trained on view 1; the teacher alone sees view 2."""
    if options.first_view != options.second_view:
        raise InputError(
            f"on a queue only view 1 trains the network, so --second-view {options.second_view} would never be "
            f"learned; give both views the same (--second-view {options.first_view}), or contrast within the batch"
        )
