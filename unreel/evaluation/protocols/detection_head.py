"""What action detection trains: a linear layer on features of boxes, and optionally the network with it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unreel.corpus.labels.boxes import Keyframe
from unreel.corpus.labels.detection_set import DetectionSet
from unreel.errors import InputError, NonFiniteError
from unreel.evaluation.protocols.box_features import build_keyframe_clips, extract_roi_features
from unreel.models.encoder.encoder import Encoder
from unreel.models.roi_align import RoiHead
from unreel.video.loading.loaders import build_resilient_loader
from unreel.video.sampling.batch_sampler import ResumableBatchSampler, permute_epoch, steps_per_epoch


@dataclass(frozen=True)
class DetectionProtocol:
    """How the linear layer is trained, and the network with it if `finetune`: AdamW with a cosine schedule.

    `proposals` is a file of test boxes in AVA's format ("" for the true boxes); those below `least_score` are ignored.
    `save_detections` is the file for the encoder's detections.
    """

    finetune: bool = False
    epochs: int = 100
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.01
    finetune_epochs: int = 10
    finetune_batch_size: int = 8
    finetune_lr: float = 1e-4
    least_iou: float = 0.5
    proposals: str = ""
    least_score: float = 0.0
    save_detections: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "finetune_epochs", "finetune_batch_size", "lr", "finetune_lr"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0 < self.least_iou <= 1:
            raise InputError(f"least_iou must lie between 0 and 1, got {self.least_iou}")


def build_targets(keyframes: Sequence[Keyframe], action_ids: Sequence[int]) -> Tensor:
    """Which actions each box shows, float32 (boxes, K)."""
    rows = [[float(a in labels) for a in action_ids] for k in keyframes for labels in k.actions]
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, len(action_ids))


def fit_head(vectors_ND: Tensor, truth_NK: Tensor, protocol: DetectionProtocol) -> RoiHead:
    """The linear layer trained on features that do not change: binary cross-entropy over all boxes and actions."""
    head, size = RoiHead(vectors_ND, truth_NK), protocol.batch_size
    optimizer = torch.optim.AdamW(head.parameters(), lr=protocol.lr, weight_decay=protocol.weight_decay)
    per_epoch = -(-len(vectors_ND) // size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, protocol.epochs * per_epoch)
    for epoch in range(protocol.epochs):
        order = torch.from_numpy(permute_epoch(protocol.seed, epoch, len(vectors_ND)))
        for rows in order.split(size):
            _update_weights(optimizer, F.binary_cross_entropy_with_logits(head(vectors_ND[rows]), truth_NK[rows]))
            schedule.step()
    return head


def _update_weights(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    if not torch.isfinite(loss):
        raise NonFiniteError("the loss of the detection head is not finite; use a lower learning rate")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def finetune_detector(
    encoder: Encoder,
    head: RoiHead,
    data: DetectionSet,
    keyframes: Sequence[Keyframe],
    protocol: DetectionProtocol,
    workers: int = 0,
) -> tuple[Encoder, RoiHead]:
    """Copies of encoder and head, trained together on the keyframes, starting from the fitted head.

    Batch norm uses its running averages and dropout is off, as in inference: with few clips a step they add noise.
    """
    encoder, actions = copy.deepcopy(encoder).eval(), sorted(data.action_names)
    encoder.requires_grad_(True)
    head = copy.deepcopy(head).to(next(encoder.parameters()).device)
    weights = nn.ModuleList([encoder, head]).parameters()
    optimizer = torch.optim.AdamW(weights, lr=protocol.finetune_lr, weight_decay=protocol.weight_decay)
    steps = protocol.finetune_epochs * steps_per_epoch(len(keyframes), protocol.finetune_batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    batches = ResumableBatchSampler(len(keyframes), protocol.finetune_batch_size, protocol.seed, 0, steps)
    for batch in build_resilient_loader(
        build_keyframe_clips(data, keyframes, encoder), batches, workers, pin_memory=False
    ):
        readable = [keyframes[i] for i in batch.index_B.tolist()]
        if readable:
            logits_NK = head(extract_roi_features(encoder, batch.frames[:, 0], [k.boxes for k in readable]))
            truth_NK = build_targets(readable, actions).to(logits_NK)
            _update_weights(optimizer, F.binary_cross_entropy_with_logits(logits_NK, truth_NK))
        schedule.step()
    return encoder, head.cpu()
