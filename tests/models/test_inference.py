"""The folded network against the network itself, and when it is made anew."""

import pytest
import torch
from torch import Tensor, nn

from unreel.models.encoder import inference
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.spec import EncoderSpec
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.views.inference_views import make_inference_views
from unreel.views.residual_frames import ResidualSpec
from unreel.views.view_spec import ViewSpec


def make_encoder(backbone: str, views: ViewSpec) -> Encoder:
    """Random weights, and statistics of batch norm that are not those of a new network."""
    torch.manual_seed(0)
    encoder = Encoder(EncoderSpec(backbone, clip=ClipSpec(8), views=views)).eval()
    for norm in [m for m in encoder.modules() if isinstance(m, nn.BatchNorm3d)]:
        for tensor, low, high in ((norm.running_mean, -0.2, 0.2), (norm.running_var, 0.5, 2), (norm.weight, 0.5, 2)):
            nn.init.uniform_(tensor, low, high)  # type: ignore[arg-type]
        nn.init.normal_(norm.bias, std=0.2)
    return encoder


def random_frames(views: ViewSpec) -> Tensor:
    shape = (2, views.lead_in + 8, *views.resize_hw, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


RAW, STILL_FIRST = ResidualSpec("backward", "lead-in", False), ResidualSpec("backward", "zero", True)


@pytest.mark.parametrize(
    ("backbone", "views", "shared", "num_crops"),
    [
        ("tiny", ViewSpec(("rgb", "residual"), 32), True, 1),
        ("tiny", ViewSpec(("residual", "rgb"), 32, RAW), True, 3),
        ("tiny", ViewSpec(("rgb", "residual"), 32, STILL_FIRST), False, 3),
        ("tiny", ViewSpec(("rgb", "residual"), 32, RAW, standardize=True), False, 1),
        ("tiny", ViewSpec(("residual",), 32), False, 1),
        ("tiny-2d", ViewSpec(("rgb", "residual"), 32), False, 1),
        ("r21d", ViewSpec(("rgb", "residual"), 16), False, 1),
        ("r3d", ViewSpec(("rgb", "residual"), 16), True, 1),
    ],
)
def test_the_folded_network_is_the_network(backbone: str, views: ViewSpec, shared: bool, num_crops: int) -> None:
    encoder, frames = make_encoder(backbone, views), random_frames(views)
    found = encoder.extract_layers(frames, ("map",), num_crops)["map"]
    assert list(found) == list(views.names)
    assert inference.can_share_stem(encoder.backbone, views) == shared  # type: ignore[arg-type]
    with torch.inference_mode():
        for name, view in make_inference_views(frames, views, num_crops).items():
            wanted = encoder.backbone(view).flatten(1)
            assert wanted.std() > 0.01 and torch.allclose(found[name], wanted, atol=1e-5)


def test_what_is_written_does_not_change() -> None:
    views = ViewSpec(("rgb", "residual"), 32)
    encoder = make_encoder("tiny", views)
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    encoder.extract_features(random_frames(views))
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())
    assert list(encoder.state_dict()) == list(before)


def test_folded_once_for_the_same_weights_and_anew_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    views, folds = ViewSpec(("rgb", "residual"), 32), []
    monkeypatch.setattr("unreel.models.encoder.encoder.fold_batch_norms", lambda n: folds.append(1) or fold(n))
    fold, encoder, frames = inference.fold_batch_norms, make_encoder("tiny", views), random_frames(views)
    first = encoder.extract_features(frames)["rgb"]
    assert torch.equal(encoder.extract_features(frames)["rgb"], first) and len(folds) == 1
    with torch.no_grad():
        next(encoder.backbone.parameters()).mul_(2)  # as an optimiser does
    assert not torch.allclose(encoder.extract_features(frames)["rgb"], first) and len(folds) == 2
    encoder.load_state_dict(make_encoder("tiny", views).state_dict())
    assert torch.equal(encoder.extract_features(frames)["rgb"], first) and len(folds) == 3
    encoder.train()  # batch norm writes its statistics without a trace
    assert torch.equal(encoder.extract_features(frames)["rgb"], first) and len(folds) == 4
