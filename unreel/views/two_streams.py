"""Two clips of an instance, each as RGB frames and as frames of motion, whose colours were changed apart.

Both streams of a clip share their crop. The colours of the RGB stream stay, since they are what looks are; those of the
motion stream are changed in each clip, so that they tell nothing.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from unreel.types import Clips, Views
from unreel.views.augmentation import Augmentation
from unreel.views.inference_views import make_view, to_float_clips
from unreel.views.two_views import ClipStream, TwoViewRecipe, select_augmentation


@dataclass(frozen=True)
class TwoStreamRecipe(TwoViewRecipe):
    """Makes "looks1", "looks2" (the first view of clips 1 and 2), "motion1", "motion2" (the second view) and "intra".

    "intra" is the intra-negative of "motion1", made after its augmentation.

    >>> from unreel.views.two_views import TwoViewOptions
    >>> options = TwoViewOptions(second_view="residual", augment="blend", intra_negatives="shuffle-frames")
    >>> recipe = TwoStreamRecipe(options.view_spec(size=32), 0, options)
    >>> frames, rows = torch.zeros(4, 2, 9, *recipe.spec.resize_hw, 3, dtype=torch.uint8), torch.arange(4)
    >>> list(recipe(Clips(frames, rows, rows, torch.zeros(4), epoch=0)).tensors)
    ['looks1', 'motion1', 'looks2', 'motion2', 'intra']
    """

    @torch.no_grad()
    def __call__(self, clips: Clips) -> Views:
        """Named views, each float (B, 3, T, size, size)."""
        frames, (looks, motion) = self._reverse_time(clips), self.spec.names
        tensors: dict[str, Tensor] = {}
        streams: tuple[tuple[str, int, ClipStream], ...] = (("1", 0, "clip0"), ("2", -1, "clip1"))
        for name, clip, stream in streams:
            cropped, recoloured = self._augment_both(frames[:, clip], clips, stream)
            tensors[f"looks{name}"] = make_view(looks, cropped, self.spec)
            tensors[f"motion{name}"] = make_view(motion, recoloured, self.spec)
        if self.options.intra_negatives != "none":
            tensors["intra"] = self._make_intra_negative(tensors["motion1"], clips)
        return Views(tensors, clips.index_B, clips.video_B, clips.start_s_B, clips.epoch, draw_B=clips.draw_B)

    def _augment_both(self, frames: Tensor, clips: Clips, stream: ClipStream) -> tuple[Tensor, Tensor]:
        """Clips (B, T, H, W, C) uint8 cropped, and with changed colours too; each float (B, C, T, size, size)."""
        augmentation = select_augmentation(self.options, stream)
        crop = Augmentation(resized_crop=augmentation.resized_crop, flip=augmentation.flip)
        cropped = self._apply_augmentation(to_float_clips(frames), crop, clips, stream)
        colours = replace(augmentation, resized_crop=False, flip=0.0)  # a crop of the crop's own size changes nothing
        return cropped, self._apply_augmentation(cropped, colours, clips, stream)
