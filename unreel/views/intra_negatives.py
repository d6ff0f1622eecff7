"""Intra-negatives: copies of a clip whose time is destroyed and whose appearance stays the same to the pixel.

Each is a pure function of clips (B, C, T, H, W) and uniforms u (B, n) in [0, 1), one row per clip, so the result for a
clip depends on its own row alone. A new one is a function and a line of INTRA_NEGATIVES; then it is a choice of
--intra-negatives.
"""

from collections.abc import Callable
from itertools import combinations
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from unreel.errors import InputError
from unreel.views.random_apply import to_device_of, uniform_to_index

NUM_CHUNKS = 4


def reorder_frames(clips: Tensor, order_BT: Tensor) -> Tensor:
    """Frame t of the result is frame order_BT[b, t] of clip b; (B, C, T, H, W)."""
    rows_B1 = torch.arange(len(clips), device=clips.device)[:, None]
    return clips.transpose(1, 2)[rows_B1, to_device_of(order_BT, clips)].transpose(1, 2)


def reorder_chunks(clips: Tensor, order_BK: Tensor) -> Tensor:
    """Chunk k of the result is chunk order_BK[b, k] of clip b, of K equal chunks; (B, C, T, H, W)."""
    length = clips.shape[2] // order_BK.shape[1]
    order_BKL = order_BK[:, :, None] * length + torch.arange(length, device=order_BK.device)
    return reorder_frames(clips, order_BKL.flatten(1))


def repeat_frame(clips: Tensor, u_B1: Tensor) -> Tensor:
    """One frame, uniform over the clip, T times: all appearance and no motion.

    Source: Tao, Wang, Yamasaki 2020 (IIC), "repeat".

    >>> clips = torch.arange(8.0).view(1, 1, 8, 1, 1)
    >>> repeat_frame(clips, torch.tensor([[0.5]])).flatten().tolist()
    [4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0]
    """
    num_frames = clips.shape[2]
    return reorder_frames(clips, uniform_to_index(u_B1[:, 0], num_frames)[:, None].expand(-1, num_frames))


def shuffle_chunks(clips: Tensor, u_B1: Tensor, num_chunks: int = NUM_CHUNKS) -> Tensor:
    """Cut time into equal chunks and swap two of them, a pair drawn uniformly; never the identity.

    Clips (B, C, T, H, W) keep their shape; `u_B1` are uniforms (B, 1). Frames keep their order inside a
    chunk. Raises InputError when T is not a multiple of `num_chunks`.
    Source: BestJuly/IIC, released "shuffle".

    >>> clips = torch.arange(8.0).view(1, 1, 8, 1, 1)
    >>> shuffle_chunks(clips, torch.tensor([[0.0]])).flatten().tolist()
    [2.0, 3.0, 0.0, 1.0, 4.0, 5.0, 6.0, 7.0]
    """
    num_frames = clips.shape[2]
    if num_frames % num_chunks or num_frames == 0:
        raise InputError(f"shuffling {num_chunks} chunks needs a multiple of {num_chunks} frames, got {num_frames}")
    pairs_P2 = torch.tensor(list(combinations(range(num_chunks), 2)), device=u_B1.device)
    pair_B2 = pairs_P2[uniform_to_index(u_B1[:, 0], len(pairs_P2))]
    order_BK = torch.arange(num_chunks, device=u_B1.device).repeat(len(clips), 1)
    order_BK = order_BK.scatter(1, pair_B2, pair_B2.flip(1))
    return reorder_chunks(clips, order_BK)


def shuffle_frames(clips: Tensor, u_BT: Tensor) -> Tensor:
    """A random permutation of the frames, never the identity.

    The order is the argsort of T uniforms. The identity is replaced by the reversal, so the reversal is twice as likely
    as each other order: 2 / 24 for four frames, negligible for sixteen.
    Source: Tao, Wang, Yamasaki 2020 (IIC), figure 2.

    >>> clips = torch.arange(8.0).view(1, 1, 8, 1, 1)
    >>> shuffle_frames(clips, torch.linspace(0.9, 0.1, 8)[None]).flatten().tolist()
    [7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0]
    """
    num_frames = clips.shape[2]
    if num_frames < 2:
        raise InputError(f"shuffling frames needs at least 2 frames, got {num_frames}")
    order_BT = u_BT[:, :num_frames].argsort(dim=1, stable=True)
    identity_T = torch.arange(num_frames, device=order_BT.device)
    unchanged_B1 = (order_BT == identity_T).all(dim=1, keepdim=True)
    return reorder_frames(clips, torch.where(unchanged_B1, identity_T.flip(0), order_BT))


def shuffle_segments(clips: Tensor, u_BS: Tensor, segments: int) -> tuple[Tensor, Tensor]:
    """Cut time into `segments` equal parts and put them in random order; the identity is possible.

    Returns the clips (B, C, T, H, W) and order (B, S), int64: position s shows segment order[b, s], so
    `order.argsort(dim=1)` puts embeddings of the positions back into temporal order. Raises InputError when T is not a
    multiple of `segments`.
    Source: DualVar release (lzhangbj/DualVar).

    >>> clips = torch.arange(8.0).view(1, 1, 8, 1, 1)
    >>> shuffled, order_BS = shuffle_segments(clips, torch.tensor([[0.9, 0.1]]), segments=2)
    >>> shuffled.flatten().tolist(), order_BS.tolist()
    ([4.0, 5.0, 6.0, 7.0, 0.0, 1.0, 2.0, 3.0], [[1, 0]])
    """
    num_frames = clips.shape[2]
    if segments < 1 or num_frames < segments or num_frames % segments:
        raise InputError(
            f"{num_frames} frames can't be cut into {segments} equal segments; make num_frames a multiple of it"
        )
    order_BS = u_BS[:, :segments].argsort(dim=1, stable=True)
    return reorder_chunks(clips, order_BS), to_device_of(order_BS, clips)


def rotate_frames(clips: Tensor, u_B1: Tensor) -> Tensor:
    """All frames rotated by 90, 180 or 270 degrees counter-clockwise, each with the same probability; H must equal W.

    Source: Tao, Wang, Yamasaki 2022 (IICv2), "rot". It breaks appearance rather than time.

    >>> clips = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 1, 2, 2)
    >>> rotate_frames(clips, torch.tensor([[0.0]]))[0, 0, 0]
    tensor([[2., 4.],
            [1., 3.]])
    """
    height, width = clips.shape[3:]
    if height != width:
        raise InputError(f"rotation needs square frames, got {height} x {width}")
    quarter_turns_B = uniform_to_index(u_B1[:, 0], 3) + 1
    rotated = torch.empty_like(clips)
    for quarter_turns in (1, 2, 3):
        rows = to_device_of((quarter_turns_B == quarter_turns).nonzero()[:, 0], clips)
        rotated[rows] = torch.rot90(clips[rows], quarter_turns, dims=(3, 4))
    return rotated


def rotate_by_quarter(clips: Tensor, u_B1: Tensor) -> Tensor:
    """All frames rotated by 90 degrees counter-clockwise, whatever the uniforms; H must equal W.

    Source: Tao, Wang, Yamasaki 2022 (IICv2), "rot90".

    >>> rotate_by_quarter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 1, 2, 2), torch.zeros(1, 1))[0, 0, 0]
    tensor([[2., 4.],
            [1., 3.]])
    """
    return rotate_frames(clips, torch.zeros_like(u_B1))


def count_one_uniform(num_frames: int) -> int:
    """One uniform per clip, whatever its length."""
    return 1


def count_frame_uniforms(num_frames: int) -> int:
    """One uniform per frame of a clip."""
    return num_frames


class IntraNegative(NamedTuple):
    """A function of clips and uniforms, and the number of uniforms per clip that it needs for T frames."""

    apply: Callable[[Tensor, Tensor], Tensor]
    num_uniforms: Callable[[int], int]


INTRA_NEGATIVES = {
    "repeat": IntraNegative(repeat_frame, count_one_uniform),
    "shuffle": IntraNegative(shuffle_chunks, count_one_uniform),
    "shuffle-frames": IntraNegative(shuffle_frames, count_frame_uniforms),
    "rotate": IntraNegative(rotate_frames, count_one_uniform),
    "rotate-90": IntraNegative(rotate_by_quarter, count_one_uniform),
}
if TYPE_CHECKING:
    IntraNegativeName = str
else:
    IntraNegativeName = Literal[(*INTRA_NEGATIVES, "none")]  # the choices of --intra-negatives
