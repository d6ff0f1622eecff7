"""Settings of the network that is trained."""

from dataclasses import dataclass

from unreel.settings.ranges import check_ranges


@dataclass(frozen=True)
class NetworkSettings:
    """Which network is trained, and with which weights it begins."""

    backbone: str = "auto"
    """Network by name (`unreel methods` lists them), X-2d for the 2D twin of X, package.module.Class for a module of
    yours, transformers:videomae and the like; auto means tiny on a CPU, r3d elsewhere."""
    width: int = 1
    """Width factor of r3d50, r3d101 and r3d152."""
    init: str = ""
    """Begin with these weights: a run or checkpoint of the same network (a warm start); or 2D weights, inflated along
    time: a file (.safetensors, .pth; those of ImageNet need --standardize and --no-rescale), or a run of an X-2d
    network."""

    def __post_init__(self) -> None:
        check_ranges(self, width=(1, 64))
