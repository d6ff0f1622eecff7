"""Heads between the pooled features of a backbone and a loss; dropped after training, unless an index uses them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn


class MLP(nn.Module):
    """`num_layers` linear layers with ReLU (optionally after batch norm) between them; the output is not normalised.

    Source: Chen et al. 2020 (SimCLR; MoCo v2), without batch norm; Grill et al. 2020 (BYOL), with it. IICv2 uses
    512 -> 512 -> 128, IICv2's release. Initialisation: PyTorch's.

    >>> import torch
    >>> MLP(128, num_hidden=64, num_out=32)(torch.zeros(4, 128)).shape
    torch.Size([4, 32])
    """

    def __init__(
        self, num_in: int, num_hidden: int = 512, num_out: int = 128, num_layers: int = 2, batch_norm: bool = False
    ) -> None:
        super().__init__()
        assert num_layers >= 1, num_layers
        layers: list[nn.Module] = []
        for _ in range(num_layers - 1):
            layers.append(nn.Linear(num_in, num_hidden))
            layers += [nn.BatchNorm1d(num_hidden)] if batch_norm else []
            layers.append(nn.ReLU(inplace=True))
            num_in = num_hidden
        self.layers = nn.Sequential(*layers, nn.Linear(num_in, num_out))

    def forward(self, features_BD: Tensor) -> Tensor:
        """(B, num_in) to (B, num_out)."""
        return self.layers(features_BD)


@dataclass(frozen=True)
class HeadSpec:
    """A head of two layers: its name, its widths, and the number of segments that its output consists of."""

    name: str
    num_in: int
    num_hidden: int
    num_out: int
    segments: int = 1


class HeadDict(nn.ModuleDict):
    """Heads by name. Each gives a vector per clip, and the cosine of two of them is what the method compared.

    A head of S segments gives their mean: the inner product of two means is the mean of all S x S cosines of segments,
    and their cosine, by which an index scores, is the same up to the lengths of the means.
    """

    def __init__(self, specs: Sequence[HeadSpec]) -> None:
        super().__init__({spec.name: MLP(spec.num_in, spec.num_hidden, spec.num_out) for spec in specs})
        self.segments = {spec.name: spec.segments for spec in specs}
        self.width = max(spec.num_out // spec.segments for spec in specs)

    def forward(self, features_BD: Tensor) -> dict[str, Tensor]:
        """(B, num_in) to (B, width) for each head, padded to the widest with zeros, which change no inner product."""
        outputs = {}
        for name, head in self.items():
            rows_BSD = F.normalize(head(features_BD).view(len(features_BD), self.segments[name], -1), dim=2)
            mean_BD = rows_BSD.mean(dim=1)
            outputs[name] = F.pad(mean_BD, (0, self.width - mean_BD.shape[1]))
        return outputs
