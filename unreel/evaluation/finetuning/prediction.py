"""Classes of videos by a fine-tuned network, averaged over evenly spread clips."""

import numpy as np
import torch

from unreel.errors import InputError, NonFiniteError
from unreel.evaluation.finetuning.job import FinetuneJob
from unreel.types import FileFailure
from unreel.video.loading.clip_dataset import ClipDataset, ClipSample
from unreel.video.loading.loaders import build_sequential_loader
from unreel.views.geometric import uniform_crops
from unreel.views.inference_views import make_view, to_float_clips


@torch.no_grad()
def predict_logits(
    job: FinetuneJob, clips: ClipDataset, split: str, workers: int = 0, num_crops: int = 1
) -> tuple[list[int], np.ndarray]:
    """Positions of the videos that can be read, and their logits, float32 (N, clips x crops, C).

    Clips are cropped as `embed` does. Raises InputError when no video can be read, NonFiniteError.
    """
    rows: list[int] = []
    logits: list[np.ndarray] = []
    job.network.eval()
    sample: ClipSample
    for sample in build_sequential_loader(clips, workers):
        path = clips.instances[sample.index].path
        if sample.frames is None:
            job.record_failures(split, [sample.failure or FileFailure(path, "unreadable")])
            continue
        frames = to_float_clips(torch.as_tensor(sample.frames).to(job.device))
        view = make_view(job.view, uniform_crops(frames, job.test_crop, num_crops), job.spec.views)
        with job.autocast():
            logits.append(job.network(view).cpu().numpy())
        if not np.isfinite(logits[-1]).all():
            raise NonFiniteError(f"{path}: the network's output is not finite")
        rows.append(sample.index)
    if not rows:
        raise InputError(f"no video of the {split} list can be read, the first: {job.describe_first_failure(split)}")
    return rows, np.stack(logits)


def average_clips(logits_NVC: np.ndarray, averaging: str) -> np.ndarray:
    """Probabilities of each video, float64 (N, C): mean of the clips' softmax, or softmax of their mean logits."""
    values = torch.from_numpy(logits_NVC).double()
    if averaging == "logits":
        return values.mean(dim=1).softmax(dim=1).numpy()
    return values.softmax(dim=2).mean(dim=1).numpy()
