"""The frozen models that can be named: a folder with a model of transformers, or a model that pip brings."""

from collections.abc import Callable
from pathlib import Path

import torch

from unreel.errors import InputError
from unreel.models.frozen import efficientnet
from unreel.models.frozen.frozen_model import FrozenModel
from unreel.models.frozen.transformers_models import load_transformers_model
from unreel.video.sampling.clip_spec import ClipSpec

NAMED_MODELS: dict[str, Callable[[ClipSpec, int], FrozenModel]] = {**efficientnet.NAMED_MODELS}


def load_frozen_model(model: str | Path, clip: ClipSpec, frame_hw: tuple[int, int], num_images: int) -> FrozenModel:
    """A model by its name or folder, tried on one clip of frames of `frame_hw`; image models get `num_images` frames of
    each clip. Raises InputError, also for an unfitting image size."""
    if num_images < 1:
        raise InputError(f"an image model needs at least 1 frame of each clip, got num_frames={num_images}")
    if Path(model).is_dir():
        frozen = load_transformers_model(Path(model).resolve(), clip, num_images)
    elif str(model) in NAMED_MODELS:
        frozen = NAMED_MODELS[str(model)](clip, num_images)
    else:
        raise InputError(
            f"{model}: neither a folder with a model of transformers nor a model that unreel knows by name "
            f"({', '.join(NAMED_MODELS)}); unreel downloads no weights"
        )
    try:
        probe = torch.zeros(1, clip.total_frames, *frame_hw, 3, dtype=torch.uint8)
        frozen.num_features = frozen.extract_features(probe).shape[1]
    except (RuntimeError, ValueError) as error:
        raise InputError(f"{model}: the model fails on a clip prepared as {frozen.preprocessor}: {error}") from error
    return frozen
