"""The flags of `unreel evaluate NAME`, a dataclass for each protocol on frozen features: its docstrings are the help.

They stand apart from the protocols because the help needs them and must not wait for torch; nothing else is imported
here. A protocol of your own may have its options in its own file.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

Centring = Literal["none", "gallery", "own"]
RankingUnit = Literal["video", "clip"]
PROBES = ("auto", "logistic", "sgd", "cvrl")
if TYPE_CHECKING:
    ProbeKind = str
else:
    ProbeKind = Literal[PROBES] | str  # the choices of --kind, and file.py:NAME


@dataclass
class RetrievalOptions:
    """Nearest-neighbour retrieval: test videos are the queries, training videos the gallery."""

    protocol: Literal["unreel", "iic", "dualvar"] = "unreel"
    """unreel: averaged map, each view of unit length, not centred, as in `embed` and `index`; iic: max-pooled map, not
    centred; dualvar: averaged map, centred."""
    layer: Literal["conv5", "pooled", "map"] | None = None
    """Layer of the features, instead of the protocol's."""
    centring: Literal["none", "gallery", "own"] | None = None
    """Subtract nothing, the gallery's mean, or each side's own mean (as DualVar's release; it uses the test set)."""
    unit: Literal["video", "clip"] = "video"
    """Rank whole videos, or single clips."""


@dataclass
class KnnOptions:
    """Classification by the votes of the k nearest training videos."""

    ks: tuple[int, ...] = (1, 5, 10, 20)
    """Numbers of neighbours that vote, one column each."""
    temperature: float = 0.07
    """A vote has the weight exp(cosine / temperature)."""
    layer: Literal["pooled", "conv5"] = "pooled"
    """Layer of the features."""


@dataclass
class LinearOptions:
    """A linear classifier on frozen features; its values are chosen on held-out groups of the training videos."""

    kind: ProbeKind = "auto"
    """Logistic regression (for small data), SGD with a grid of rates and decays, CVRL's fixed rate, or a probe of your
    own: path/to/file.py:NAME, a function of training clips (N, D), their classes (N,) and test clips (Q, D)."""
    recipe: Literal["none", "cvrl", "dualvar"] = "none"
    """Train the layer as a paper does, on other clips and crops each epoch instead of on cached features: cvrl (100
    epochs, rate 32 at batch 1024, 10 clips x 3 crops) or dualvar. Every epoch decodes and computes all anew."""
    epochs: int | None = None
    """Epochs, instead of the recipe's."""
    lr: float | None = None
    """Learning rate, instead of the recipe's."""
    batch_size: int | None = None
    """Videos per step, instead of the recipe's; cvrl's rate stays in proportion."""
    drops: tuple[float, ...] | None = None
    """Shares of the run at which the rate drops, instead of the recipe's (dualvar)."""
    warmup_epochs: float | None = None
    """Epochs over which the rate rises, instead of the recipe's (cosine)."""
    batch_norm: bool = False
    """Batch norm of the features before the linear layer, as DualVar's classifier has it with --use_bn."""
    seed: int = 0
    """Seed of the held-out groups and of the order of batches."""


@dataclass
class AttentiveOptions:
    """A classifier that learns where and when to attend in the last feature map."""

    seed: int = 0
    """Seed of the held-out groups, of the weights and of the order of batches."""


@dataclass
class FewLabelsOptions:
    """A linear classifier with few labelled videos of each class, mean over draws."""

    ks: tuple[int, ...] = (1, 5, 10)
    """Numbers of labelled videos of each class, one column each."""
    shares: tuple[float, ...] = ()
    """Shares of the training videos of each class, as further columns; 0.01 is 1 percent."""
    draws: int = 5
    """Random draws of the labelled videos."""
    finetune: bool = False
    """Train the whole network on each draw, beside the same network from scratch: ten minutes or more on a CPU."""
    recipe: Literal["small", "iic", "iic-v2", "dualvar", "dualvar-ucf", "cvrl"] | None = None
    """With --finetune: how it is trained, as in `evaluate finetune`, but on all that is drawn, up to the last epoch;
    small if none is named. CVRL's figures are --recipe cvrl --ks --shares 0.01 0.1."""
    epochs: int | None = None
    """Epochs, instead of the recipe's."""
    lr: float | None = None
    """Learning rate, instead of the recipe's."""
    batch_size: int | None = None
    """Videos per step, instead of the recipe's."""
    drops: tuple[float, ...] | None = None
    """Shares of the run at which the rate drops, instead of the recipe's (dualvar)."""
    warmup_epochs: float | None = None
    """Epochs over which the rate rises, instead of the recipe's (cosine): 5 for cvrl."""


@dataclass
class MotionOptions:
    """What an encoder still finds when motion, or the order of frames, is removed from the clips."""

    layer: Literal["pooled", "conv5"] = "pooled"
    """Layer of the features."""
