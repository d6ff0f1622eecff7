"""A frozen image model beside an encoder, so that rows hold both how things move and what they look like."""

import dataclasses
from pathlib import Path

from unreel.errors import InputError
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import AppearanceSpec, EncoderSpec
from unreel.models.frozen.catalogue import NAMED_MODELS, load_frozen_model
from unreel.models.frozen.frozen_model import FrozenModel

PUT_BACK = "put it back, or index again into another folder"
IMAGES_PER_CLIP = 1  # the middle frame; the clips beside it have others


def attach_appearance(encoder: Encoder, model: str) -> None:
    """Put a frozen image model, by its name or folder, beside an encoder. Raises InputError."""
    frozen = load_appearance(encoder.spec, model)
    about = AppearanceSpec(resolve_model(model), frozen.num_features, frozen.hash())
    encoder.spec, encoder.appearance = dataclasses.replace(encoder.spec, appearance=about), frozen


def restore_appearance(encoder: Encoder, about: AppearanceSpec, folder: Path) -> None:
    """Put the image model beside an encoder that it was beside when the encoder was saved in `folder`.

    Raises InputError when it is not on this machine, or its weights are others.
    """
    try:
        frozen = load_appearance(encoder.spec, about.model)
    except InputError as error:
        raise InputError(f"{folder}: its rows need an image model that can't be loaded: {error}", PUT_BACK) from error
    if (found := frozen.hash()) != about.weights_hash:
        raise InputError(
            f"{folder}: its rows were made with other weights or features of {about.model} "
            f"({about.weights_hash[:12]}, these are {found[:12]})",
            PUT_BACK,
        )
    encoder.appearance = frozen


def load_appearance(spec: EncoderSpec, model: str) -> FrozenModel:
    """A frozen image model for the clips of an encoder. Raises InputError, also for a video model."""
    frozen = load_frozen_model(model, spec.clip, spec.views.resize_hw, IMAGES_PER_CLIP)
    if len(frozen.frame_indices) > IMAGES_PER_CLIP:
        raise InputError(f"{model}: a video model, which sees motion too; looks need an image model")
    return frozen


def resolve_model(model: str) -> str:
    """A name as it is, the folder of a model as an absolute path."""
    return model if model in NAMED_MODELS and not Path(model).is_dir() else str(Path(model).resolve())
