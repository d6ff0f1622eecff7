"""Settings of the network that is trained."""

from dataclasses import dataclass

from unreel.settings.ranges import check_ranges

NO_WEIGHTS, BASE_WEIGHTS, AUTO_WEIGHTS = INIT_WORDS = ("none", "base", "auto")
"""Values of `init` that are no paths; a folder of such a name is ./base."""


@dataclass(frozen=True)
class NetworkSettings:
    """Which network is trained, and with which weights it begins."""

    backbone: str = "auto"
    """Network by name (`unreel methods` lists them), X-2d for the 2D twin of X, package.module.Class for a module of
    yours, transformers:videomae and the like; auto means tiny on a CPU, r3d elsewhere."""
    width: int = 1
    """Width factor of r3d50, r3d101, r3d152 and of these as TensorFlow builds them (r3d50tf and so on)."""
    init: str = NO_WEIGHTS
    """Begin with these weights: none, random ones; base, the encoder that comes with unreel, or a run or checkpoint of
    the same network (a warm start); auto, base where it fits the network; or 2D weights, inflated along time: a file
    (.safetensors, .pth; those of ImageNet need --standardize and --no-rescale), or a run of an X-2d network."""

    def __post_init__(self) -> None:
        check_ranges(self, width=(1, 64))
        if not self.init:  # as runs of earlier versions have it
            object.__setattr__(self, "init", NO_WEIGHTS)

    @property
    def network_options(self) -> dict[str, int]:
        """What a network of ours is built with beside its name."""
        return {"width": self.width} if self.width != 1 else {}
