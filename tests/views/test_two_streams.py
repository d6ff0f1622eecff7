"""The two streams of a clip: one crop, and looks that only the motion stream loses."""

import pytest
import torch

from unreel.types import Clips
from unreel.views.two_streams import TwoStreamRecipe
from unreel.views.two_views import TwoViewOptions

SIZE, B, T = 32, 6, 8


def make_views(clips: torch.Tensor, **options: object) -> dict[str, torch.Tensor]:
    chosen = TwoViewOptions(**({"second_view": "residual", "augment": "blend"} | options))  # type: ignore[arg-type]
    rows = torch.arange(B)
    recipe = TwoStreamRecipe(chosen.view_spec(SIZE), 3, chosen)
    return recipe(Clips(clips, rows, rows, torch.zeros(B), epoch=1)).tensors


def noise(frames: int = T + 1) -> torch.Tensor:
    height, width = TwoViewOptions(second_view="residual").view_spec(SIZE).resize_hw
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (B, 2, frames, height, width, 3), dtype=torch.uint8, generator=generator)


def test_looks_are_those_of_a_crop_alone() -> None:
    """The same as two views that draw the same crop and change no colour."""
    views, cropped = make_views(noise()), make_views(noise(), second_view="rgb")
    assert views["looks1"].shape == (B, 3, T, SIZE, SIZE) and cropped["looks1"].shape[2] == T + 1
    assert torch.equal(views["looks1"], cropped["looks1"][:, :, 1:]), "the second view changes nothing in the first"
    assert not torch.equal(cropped["looks1"], cropped["motion1"]), "colours of the motion stream change"


def test_both_streams_share_their_crop() -> None:
    """A clip that is black but for one corner: where looks are dark, so is the other stream, whatever its colours."""
    clips = torch.zeros_like(noise())
    clips[..., :12, :12, :] = noise()[..., :12, :12, :] // 2 + 100
    views = make_views(clips, second_view="rgb", pairs="decreasing")
    for number in "12":
        dark = views[f"looks{number}"].amax(dim=(1, 2)) == 0
        assert views[f"motion{number}"].amax(dim=(1, 2))[dark].max() < views[f"motion{number}"].max() / 2


@pytest.mark.parametrize("kind", ["none", "repeat", "shuffle-frames"])
def test_intra_negatives_are_of_the_motion_stream(kind: str) -> None:
    views = make_views(noise(), intra_negatives=kind)
    assert ("intra" in views) == (kind != "none")
    if kind == "shuffle-frames":
        own, other = (views[name].flatten(3).mean(dim=(1, 3)).sort(dim=1)[0] for name in ("motion1", "intra"))
        assert torch.allclose(own, other) and not torch.equal(views["motion1"], views["intra"])
    if kind == "repeat":
        assert torch.equal(views["intra"], views["intra"][:, :, :1].expand_as(views["intra"]))


def test_a_still_clip_has_no_motion() -> None:
    """Whatever its colours become: residual frames are mid-grey, also with a still frame blended in."""
    views = make_views(noise(1).expand(-1, -1, T + 1, -1, -1, -1))
    assert all(torch.allclose(views[f"motion{n}"], torch.tensor(0.5), atol=1e-6) for n in "12")
