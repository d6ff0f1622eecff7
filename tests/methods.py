"""Small methods for tests: a list of instances, a batch, networks of a few numbers, and the parts of slow twins.

A twin embeds one clip at a time and compares one score at a time, in float64, by the formula in the method's docstring.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from unreel.methods.registry import load_method_module, load_preset
from unreel.types import Clips, Instance, Views
from unreel.views import two_views

N, B = 9, 4
INDEX_B = torch.tensor([7, 0, 3, 8])  # 7 and 8 begin 10 s apart in one recording, 0 and 3 in two others
EARLIER_B = torch.tensor([8, 1, 3, 5])  # shares 8 and 3 with INDEX_B; 1 is a neighbour of 0, 5 of none within 15 s
NEAR_S = 15.0


# Of each method the presets that differ in what they keep or compute: memory, heads, queues, teachers, predictors.
DIFFERENT_PRESETS = ["byol", "cvrl", "dual", "dual-moco", "dual-moco-paper", "iic-paper", "iic-v2", "moco-v3", "motion"]
DIFFERENT_PRESETS += ["simclr", "trio", "vicreg"]


def instances(count: int = N) -> list[Instance]:
    """Three segments of 10 s of each recording."""
    return [Instance(f"v{i // 3}.mp4", i // 3, 10.0 * (i % 3), 10.0 * (i % 3) + 10) for i in range(count)]


class Colour(nn.Module):
    """A backbone that gives each clip's mean colour, stretched to D numbers by a fixed matrix."""

    def __init__(self, num_features: int = 6) -> None:
        super().__init__()
        self.num_features = num_features
        matrix = torch.randn(num_features, 3, generator=torch.Generator().manual_seed(7))
        self.matrix = nn.Parameter(matrix.double())

    def forward(self, clips: Tensor) -> Tensor:
        return torch.einsum("fc,bcthw->bfthw", self.matrix, clips)


class Conv(nn.Module):
    """A backbone of one convolution and batch norm, for the tests that need it small."""

    def __init__(self, num_features: int = 8) -> None:
        super().__init__()
        self.num_features = num_features
        self.conv, self.norm = nn.Conv3d(3, num_features, 3, stride=2, padding=1), nn.BatchNorm3d(num_features)

    def forward(self, clips: Tensor) -> Tensor:
        return self.norm(self.conv(clips)).relu()


def views(*names: str, seed: int = 0, index_B: Tensor = INDEX_B, segments: int = 0) -> Views:
    """Named float64 views, each clip of a colour of its own; with `segments`, a random order of them for each clip."""
    g = torch.Generator().manual_seed(seed)
    tensors = {n: torch.randn(B, 3, 4, 5, 5, generator=g).double() / 2 for n in names}
    tensors = {n: t + torch.randn(B, 3, 1, 1, 1, generator=g).double() for n, t in tensors.items()}
    order_BS = torch.stack([torch.randperm(segments, generator=g) for _ in range(B)]) if segments else None
    return Views(tensors, index_B, index_B // 3, 10.0 * (index_B % 3).double(), epoch=2, segment_order_BS=order_BS)


def build(preset: str, config: Any) -> Any:
    """A method in float64 on `Colour`, in evaluation mode, so that a head sees each clip alone."""
    torch.manual_seed(0)
    return load_method_module(preset).Method(Colour(), instances(), config, 5).double().eval()


def shake(method: nn.Module, seed: int = 1) -> None:
    """Other weights than before, the same in every process: what an optimiser's step would do."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in method.parameters():
            if weight.requires_grad:
                weight += 0.1 * torch.randn(weight.shape, generator=g).to(weight)


def job(preset: str, backbone: Callable[[], nn.Module], num_frames: int = 8, **changes: Any) -> tuple[Any, Any, Clips]:
    """A preset's method, its recipe, and a batch of noise of 32 x 32; queues hold two batches."""
    config, _ = load_preset(preset)
    if getattr(config, "queue_size", 0):
        changes = {"queue_size": 2 * B} | changes
    config = dataclasses.replace(config, **changes)
    spec = config.view_spec(32)
    recipe = config.recipe(spec, 0)
    torch.manual_seed(0)
    method = load_method_module(preset).Method(backbone(), instances(), config, 0)
    shape = (B, recipe.num_clips, num_frames + spec.lead_in, *spec.resize_hw, 3)
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8))
    index = torch.tensor([0, 2, 4, 6])
    return method, recipe, Clips(frames, index, index // 3, torch.zeros(B).double(), epoch=0)


def views_in_float64(recipe: Callable[[Clips], Views], clips: Clips) -> Views:
    """The views of a recipe, computed in float64.

    In float32 the last bit of a clip's view may depend on the size of its batch: vectorised loops treat the ends of a
    tensor in another way, on some processors. Batch norm enlarges that beyond any tolerance that still finds a missing
    gradient.
    """

    def to_float64_clips(frames: Tensor) -> Tensor:
        return frames.permute(0, 4, 1, 2, 3).double().div_(255)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two_views, "frames_to_clips", to_float64_clips)
        views = recipe(clips)
    assert all(tensor.dtype == torch.float64 for tensor in views.tensors.values())
    return views


# --- parts of the twins


def alone(network: Callable[[Tensor], Tensor], clips: Tensor) -> list[Tensor]:
    """Network and pooling, one clip at a time."""
    return [network(clip[None]).mean((0, 2, 3, 4)).detach() for clip in clips]


def unit(v: Tensor) -> Tensor:
    return v / v.pow(2).sum().sqrt()


def through(network: Callable[[Tensor], Tensor], vectors: Sequence[Tensor]) -> list[Tensor]:
    """A head on each vector alone, then unit length."""
    return [unit(network(v[None])[0].detach()) for v in vectors]


def dot(v: Tensor, w: Tensor) -> float:
    return sum(float(a) * float(b) for a, b in zip(v, w, strict=True))


def cross_entropy(scores: Sequence[float], temperature: float) -> float:
    """-log of the softmax of the first score."""
    logits = [float(s) / temperature for s in scores]
    top = max(logits)
    return top + math.log(sum(math.exp(s - top) for s in logits)) - logits[0]


def may(i: int, j: int, near_s: float) -> bool:
    """Whether instance j may be a negative of i."""
    a, b = instances()[i], instances()[j]
    return i != j and not (near_s > 0 and a.video == b.video and abs(a.start_s - b.start_s) < near_s)


def inter(a: Sequence[Tensor], b: Sequence[Tensor], tau: float, near_s: float = 0, within: bool = True) -> float:
    """Mean over the batch: pick b[i] for a[i] among the other clips of b and (`within`) of a."""
    total = 0.0
    for i, me in enumerate(INDEX_B.tolist()):
        others = [j for j, other in enumerate(INDEX_B.tolist()) if may(me, other, near_s)]
        scores = [dot(a[i], b[i])] + [dot(a[i], b[j]) for j in others]
        total += cross_entropy(scores + [dot(a[i], a[j]) for j in others if within], tau) / B
    return total


def intra(a: Sequence[Tensor], b: Sequence[Tensor], broken: Sequence[Tensor], tau: float, near_s: float = 0) -> float:
    """Mean over the batch: pick b[i] for a[i] among the broken clips, its own included."""
    total = 0.0
    for i, me in enumerate(INDEX_B.tolist()):
        shown = [j for j, other in enumerate(INDEX_B.tolist()) if j == i or may(me, other, near_s)]
        total += cross_entropy([dot(a[i], b[i])] + [dot(a[i], broken[j]) for j in shown], tau) / B
    return total


def with_queue(
    q: Sequence[Tensor], k: Sequence[Tensor], queue: Sequence[tuple[int, Tensor]], tau: float, near_s: float
) -> float:
    """Mean over the batch: pick k[i] for q[i] among the keys (owner, vector) of a queue; -1 is nobody's."""
    total = 0.0
    for i, me in enumerate(INDEX_B.tolist()):
        shown = [v for owner, v in queue if owner < 0 or may(me, owner, near_s)]
        total += cross_entropy([dot(q[i], k[i])] + [dot(q[i], v) for v in shown], tau) / B
    return total


def rank(q: Sequence[Tensor], p: Sequence[Tensor], theta: float, limit: float = math.inf) -> float:
    """Shuffle-rank of series q against series p in order, each a list of (S, D); mean over the batch."""
    terms = []
    for q_SD, p_SD in zip(q, p, strict=True):
        for mine, theirs in ((q_SD, p_SD), (p_SD, q_SD)):
            for s, v in enumerate(mine):
                for other in (x for x in range(len(mine)) if x != s):
                    for negative in (mine[other], theirs[other]):
                        exponent = min((dot(v, negative) - dot(v, theirs[s])) / theta, limit)
                        terms.append(math.log1p(math.exp(exponent)))
    return sum(terms) / len(terms)


def in_order(shuffled: Sequence[Tensor], order_BS: Tensor) -> list[Tensor]:
    """Series (S, D) of shuffled clips, put back: what stands at position s is segment order[s]."""
    back = []
    for series_SD, order in zip(shuffled, order_BS.tolist(), strict=True):
        back.append(torch.stack([series_SD[order.index(s)] for s in range(len(order))]))
    return back
