"""Where arithmetic needs more than half precision."""

import torch
from torch import Tensor


def promote_to_float32(x: Tensor) -> Tensor:
    """A tensor of any shape; float16 and bfloat16 as float32, other types stay."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
