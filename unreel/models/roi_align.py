"""From boxes to features: RoI align on the last map of a clip, and a linear head that scores the actions of a box."""

import torch
from torch import Tensor, nn

from unreel.models.precision import promote_to_float32

GRID_SIZE, POINTS_PER_CELL = 7, 2  # cells per side of a box, points per side of a cell


def build_bilinear_weights(first_N: Tensor, last_N: Tensor, size: int, grid: int = GRID_SIZE) -> Tensor:
    """Weight of each of `size` map cells in each of `grid` cells of the spans [first, last] (N,): (N, grid, size).

    Spans are shares of the axis; cell k of the map has its centre at (k + 0.5) / size. A grid cell is the mean of
    POINTS_PER_CELL evenly spread points; a point is interpolated between the two nearest centres, or clamped to the
    outermost.
    """
    points = (torch.arange(grid * POINTS_PER_CELL, device=first_N.device, dtype=first_N.dtype) + 0.5) / (
        grid * POINTS_PER_CELL
    )
    at_NP = first_N[:, None] + (last_N - first_N)[:, None] * points
    at_NP = (at_NP * size - 0.5).clamp(0, size - 1)
    cells = torch.arange(size, device=first_N.device, dtype=first_N.dtype)
    weights = (1 - (at_NP[..., None] - cells).abs()).clamp(min=0)
    return weights.unflatten(1, (grid, POINTS_PER_CELL)).mean(dim=2)


def roi_align(map_BDHW: Tensor, boxes_N4: Tensor, clip_index_N: Tensor, grid: int = GRID_SIZE) -> Tensor:
    """Boxes x1, y1, x2, y2 (shares of the picture) cut out of the maps of their clips: (N, D, grid, grid).

    A mean of bilinear samples separates into rows and columns, so it is two products with weights: nothing is gathered,
    and the gradient is deterministic. Source: He et al. 2017 (Mask R-CNN), half-pixel aligned.

    >>> whole = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    >>> roi_align(torch.ones(1, 2, 4, 4), whole, torch.tensor([0]), grid=1).flatten()
    tensor([1., 1.])
    """
    boxes_N4 = boxes_N4.to(map_BDHW)
    x1, y1, x2, y2 = boxes_N4.unbind(1)
    rows = build_bilinear_weights(y1, y2, map_BDHW.shape[2], grid)
    columns = build_bilinear_weights(x1, x2, map_BDHW.shape[3], grid)
    return torch.einsum("niy,ndyx,njx->ndij", rows, map_BDHW[clip_index_N], columns)


def pool_roi_vectors(map_BDTHW: Tensor, boxes_N4: Tensor, clip_index_N: Tensor, grid: int = GRID_SIZE) -> Tensor:
    """One vector (N, D) per box: the map averaged over time, aligned, then the maximum over cells of each feature."""
    map_BDHW = promote_to_float32(map_BDTHW).mean(dim=2)
    return roi_align(map_BDHW, boxes_N4, clip_index_N, grid).amax(dim=(2, 3))


class RoiHead(nn.Module):
    """Box vectors (N, D) to a logit for each action (N, K): standardised, then linear.

    Initialised without randomness: zero weights, and as bias the logit of the share of training boxes with each action.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, vectors_ND: Tensor, labels_NK: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", vectors_ND.mean(dim=0))
        deviation = vectors_ND.std(dim=0, correction=0)
        self.register_buffer("deviation", torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation)))
        with torch.random.fork_rng(devices=[]):  # the random weights of nn.Linear are overwritten at once
            self.linear = nn.Linear(vectors_ND.shape[1], labels_NK.shape[1]).to(vectors_ND)
        share_K = (labels_NK.sum(dim=0) + 0.5) / (len(labels_NK) + 1)
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.bias.copy_(torch.logit(share_K))

    def forward(self, vectors_ND: Tensor) -> Tensor:
        return self.linear((vectors_ND - self.mean) / self.deviation)
