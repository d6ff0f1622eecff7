"""A frozen model: clips of decoded frames in, one vector for each clip out.

It gets the same decoded frames as the encoder, resized to its own size. Image models get a few frames of each clip, one
at a time, and their features are averaged, so they know no order and no motion. Nothing is downloaded.
"""

import hashlib
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from unreel.models.frozen.image_preprocessing import ImagePreprocessor
from unreel.models.memory_layout import keep_freed_memory

IMAGES_PER_BATCH = 64
IMAGES_PER_BATCH_ON_CPU = 4  # maps of more pictures are larger than the C library keeps


class FrozenModel(nn.Module):
    """A network, the frames of each clip that it gets, how these are prepared, and how features come out of it.

    `compute_features` takes the network and prepared pictures (V, T, 3, h, w) and returns features (V, D);
    `features` names them where a network can have several.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        preprocessor: ImagePreprocessor,
        frame_indices: np.ndarray,
        compute_features: Callable[[nn.Module, Tensor], Tensor],
        features: str = "",
    ) -> None:
        super().__init__()
        self.name, self.network, self.preprocessor = name, network, preprocessor
        self.frame_indices, self.compute_features, self.features = frame_indices, compute_features, features
        self.num_features = 0  # known once it was tried (catalogue.py)
        self.eval()
        keep_freed_memory()

    def hash(self) -> str:
        """SHA-256 of the weights and of what features are called, in hex: vectors of another hash can't be compared."""
        return hash_tensors(self.network.state_dict(), self.features.encode())

    @torch.inference_mode()
    def extract_features(self, clips: Tensor) -> Tensor:
        """float32 (V, D) of uint8 clips (V, lead_in + T, H, W, C); `frame_indices` count from the lead-in."""
        device = next(self.network.parameters()).device
        chosen = clips[:, torch.from_numpy(self.frame_indices)]
        num_images = IMAGES_PER_BATCH_ON_CPU if device.type == "cpu" else IMAGES_PER_BATCH
        at_once = max(1, num_images // len(self.frame_indices))
        parts = [self.preprocessor(part.to(device)) for part in chosen.split(at_once)]
        return torch.cat([self.compute_features(self.network, part) for part in parts]).float()


def hash_tensors(tensors: Mapping[str, Tensor], start: bytes = b"") -> str:
    """SHA-256 of `start` and of named tensors, in hex; the same on any device and in any order."""
    digest = hashlib.sha256(start)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def sample_frame_indices(num_frames: int, num_samples: int) -> np.ndarray:
    """`num_samples` of `num_frames` frames, each the middle of one of equal parts; int64, repeated where too few."""
    return ((np.arange(num_samples) + 0.5) * num_frames / num_samples).astype(np.int64)
