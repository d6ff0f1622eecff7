"""Networks whose batch norm does something, and weights as image networks are published."""

import torch
from torch import Tensor, nn

from unreel.models.registry import build_backbone

PROBED = {
    "tiny": 48,
    "r21d": 64,
    "r3d50": 48,
    "s3d": 112,
}  # frames, enough that the middle of the map sees no end of the clip


def with_statistics(name: str) -> nn.Module:
    """A network whose batch norm does something, in double precision."""
    torch.manual_seed(3)
    network = build_backbone(name).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 2.0)
    return network.eval()


def resnet_state(depths: tuple[int, ...] = (3, 4, 6, 3), basic: bool = False) -> dict[str, Tensor]:
    """Names, shapes and order of torchvision's resnet50 and its kin, each tensor with a value of its own."""
    state: dict[str, Tensor] = {}

    def conv(name: str, out: int, num_in: int, k: int) -> None:
        state[f"{name}.weight"] = torch.full((out, num_in, k, k), float(len(state)))

    def norm(name: str, width: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.{part}"] = torch.full((width,), float(len(state)))
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    conv("conv1", 64, 3, 7)
    norm("bn1", 64)
    num_in = 64
    for stage, depth in enumerate(depths, 1):
        mid = 32 * 2**stage
        end = mid if basic else 4 * mid
        for b in range(depth):
            block = f"layer{stage}.{b}"
            bottleneck = ((mid, num_in, 1), (mid, mid, 3), (end, mid, 1))
            for place, (out, into, k) in enumerate(((mid, num_in, 3), (mid, mid, 3)) if basic else bottleneck, 1):
                conv(f"{block}.conv{place}", out, into, k)
                norm(f"{block}.bn{place}", out)
            if num_in != end:
                conv(f"{block}.downsample.0", end, num_in, 1)
                norm(f"{block}.downsample.1", end)
            num_in = end
    state |= {"fc.weight": torch.zeros(1000, num_in), "fc.bias": torch.zeros(1000)}
    return state
