"""The augmentations by name, and their operations in order."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unreel.errors import OwnCodeError
from unreel.own_code.extendable import Extendable
from unreel.views import geometric, photometric, tensorflow_operations

OwnAugmentation = Callable[[Tensor, Callable[[str, int], Tensor], int], Tensor]
"""Clips (B, C, T, H, W), uniforms by stream, and the size, to clips (B, C, T, size, size)."""


@dataclass(frozen=True)
class Augmentation:
    """Probabilities of the operations on a clip, in their order; 0 leaves one out. `plain` is that of the crop alone.

    Jitter is brightness, contrast, saturation and hue (see photometric.color_jitter); `still` blends in a still frame;
    `moving` lets the box of a resized crop move, as a camera does. With `tensorflow`, crop, colours and blur have the
    arithmetic of TensorFlow (tensorflow_operations.py).
    """

    plain: float = 0.0
    resized_crop: bool = False
    moving: float = 0.0
    flip: float = 0.0
    jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    jitter_p: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    solarize: float = 0.0
    still: float = 0.0
    tensorflow: bool = False
    function: OwnAugmentation | None = None
    """An augmentation of one's own, in place of the crop."""


def adapt_augmentation(name: str, made: Any) -> Augmentation:
    """An augmentation of one's own: an `Augmentation`, or a function of clips, draw_uniforms and size."""
    if isinstance(made, Augmentation):
        return made
    if not callable(made):
        expected = "it must be an Augmentation, or a function of clips, draw_uniforms and size"
        raise OwnCodeError(f"augmentation '{name}' is a {type(made).__name__}; {expected}")
    return Augmentation(function=made)


_AUGMENTATIONS = {
    # Source: BestJuly/IIC.
    "crop": Augmentation(),
    # Source: BestJuly/IICv2, without the flip, which would merge left and right.
    "color": Augmentation(jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, grey=0.2, blur=0.5),
    # Source: tensorflow/models video_ssl; its blur and solarisation are the option `asymmetric`.
    "cvrl": Augmentation(resized_crop=True, jitter=(0.8, 0.8, 0.8, 0.2), jitter_p=0.8, grey=0.2),
    # Source: the same, with the arithmetic of TensorFlow; geometric.py and photometric.py differ.
    "cvrl-paper": Augmentation(resized_crop=True, jitter=(0.8, 0.8, 0.8, 0.2), jitter_p=0.8, grey=0.2, tensorflow=True),
    # Ours: CVRL's crop, IICv2's jitter, and a still frame of the clip blended in (Wang et al. 2021).
    "blend": Augmentation(resized_crop=True, jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, still=0.7),
    # Ours: the same before a moving camera.
    "camera": Augmentation(resized_crop=True, moving=0.5, jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, still=0.7),
    # Source: lzhangbj/DualVar: jitter with probability 0.8 inside another choice with probability 0.8.
    "dual": Augmentation(plain=0.2, jitter=(0.8, 0.8, 0.8, 0.2), jitter_p=0.64, blur=0.5),
}
AUGMENTATIONS = Extendable("augment", _AUGMENTATIONS, adapt_augmentation)


def scale_to_unit(clips: Tensor) -> Tensor:
    """uint8 clips as float in [0, 1]; float ones as they are.

    >>> import torch
    >>> scale_to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])
    """
    return clips if clips.is_floating_point() else clips.float().div_(255)


DrawUniforms = Callable[[str, int], Tensor]


def augment_clips(clips: Tensor, augmentation: Augmentation, draw_uniforms: DrawUniforms, size: int) -> Tensor:
    """Clips (B, C, T, size, size) in [0, 1] after all operations; `draw_uniforms(stream, n)` gives uniforms (B, n).

    Clips come as float in [0, 1] or as uint8; the latter are cut out before they become float, which is cheaper.
    """
    colours = tensorflow_operations if augmentation.tensorflow else photometric
    clips = cut_clips(clips, augmentation, draw_uniforms, size)
    if augmentation.flip:
        clips = geometric.horizontal_flip(clips, draw_uniforms("flip", 1), augmentation.flip)
    if augmentation.jitter_p:
        u = draw_uniforms("jitter", photometric.NUM_UNIFORMS["color_jitter"])
        clips = colours.color_jitter(clips, u, *augmentation.jitter, p=augmentation.jitter_p)
    if augmentation.grey:
        clips = colours.grayscale(clips, draw_uniforms("grey", 1), augmentation.grey)
    if augmentation.blur:
        clips = colours.gaussian_blur(clips, draw_uniforms("blur", 2), p=augmentation.blur)
    if augmentation.solarize:
        clips = photometric.solarize(clips, draw_uniforms("solarize", 1), augmentation.solarize)
    if augmentation.still:
        u = draw_uniforms("still", photometric.NUM_UNIFORMS["blend_still_frame"])
        clips = photometric.blend_still_frame(clips, u, augmentation.still)
    return clips


def cut_clips(clips: Tensor, augmentation: Augmentation, draw_uniforms: DrawUniforms, size: int) -> Tensor:
    """The crop of an augmentation, or one's own function in its place: float clips (B, C, T, size, size) in [0, 1]."""
    if augmentation.function is not None:
        return augmentation.function(scale_to_unit(clips), draw_uniforms, size)
    if augmentation.tensorflow:
        u = draw_uniforms("crop", tensorflow_operations.NUM_UNIFORMS["random_resized_crop"])
        return tensorflow_operations.random_resized_crop(scale_to_unit(clips.contiguous()), u, size)
    if not augmentation.resized_crop:
        u = draw_uniforms("crop", geometric.NUM_UNIFORMS["random_crop"])
        return scale_to_unit(geometric.random_crop(clips, u, size))
    u = draw_uniforms("crop", geometric.NUM_UNIFORMS["random_resized_crop"])
    clips = scale_to_unit(clips.contiguous())
    if augmentation.moving:
        u_move = draw_uniforms("move", geometric.NUM_MOVE_UNIFORMS)
        return geometric.random_moving_crop(clips, u, u_move, size, augmentation.moving)
    return geometric.random_resized_crop(clips, u, size)
