"""The encoder as a model of MTEB's benchmarks (MVEB and other video tasks), by the protocol of its encoders.

The package mteb is needed for `mteb_model_meta` alone, which its runner asks for; what it hands over is told by shape.
Source: https://embeddings-benchmark.github.io/mteb, `EncoderProtocol`.
"""

import functools
import importlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from unreel.errors import InputError
from unreel.io.checksums import new_digest
from unreel.model_export.vectorizer import VideoVectorizer
from unreel.settings.network import BASE_NAMES, BASE_WEIGHTS
from unreel.settings.runtime import DeviceName
from unreel.training.runtime.auto_settings import choose_device

VIDEO = "video"  # MTEB's name of the modality and of its column


class MtebModel:
    """An encoder for `mteb.evaluate(model, tasks)`: videos to vectors, compared by cosines.

    Rows are those of `Encoder.embed`. unreel reads the files itself, so videos look as in training and torchcodec is
    not needed, also where a task's data set would decode with it. Only videos are encoded: of tasks with text or sound
    MTEB says that they are none for this model.

    Args:
        run: a run, a checkpoint or an imported encoder, or "base".
        revision: MTEB's name for the version; by default a checksum of the weights.
        num_clips: evenly spread clips per video.
        device: where the network runs.
        allow_import: import, and so run, the code of your own that the checkpoint names as its network.

    Raises:
        CheckpointError: there is no encoder.

    >>> paths = [str(path) for path in sorted(videos.rglob("*.mp4"))[:2]]
    >>> model = unreel.MtebModel(run, num_clips=1, device="cpu")
    >>> rows = model.encode([{"video": paths}])
    >>> model.similarity(rows, rows).shape
    torch.Size([2, 2])
    """

    def __init__(
        self,
        run: str | Path = BASE_WEIGHTS,
        revision: str | None = None,
        num_clips: int = 10,
        device: DeviceName = "auto",
        allow_import: bool = False,
    ) -> None:
        self.vectorizer = VideoVectorizer(run, num_clips, allow_import).fit()
        self.vectorizer.encoder_.to(choose_device(device))
        self.run, self.revision = run, revision or hash_weights(self.vectorizer.encoder_)

    def encode(self, inputs: Iterable[Mapping[str, Any]], **_task: Any) -> np.ndarray:
        """Vectors float32 (N, D) of batches {"video": [...]}; the task, split and prompt change nothing.

        A video is a path, a mapping with "path" or "bytes" (as of `datasets.Video`), or what torchcodec's decoder is
        where `datasets` made it. Raises InputError for a batch without videos, VideoError for one that can't be used.
        """
        rows = []
        for batch in leave_encoded(inputs):
            if VIDEO not in batch:
                raise InputError(f"unreel encodes videos alone; this batch has {', '.join(batch) or 'nothing'}")
            with tempfile.TemporaryDirectory(prefix="unreel-mteb-") as folder:
                paths = [find_file(video, Path(folder) / str(n)) for n, video in enumerate(batch[VIDEO])]
                rows.append(self.vectorizer.transform(paths))
        return np.concatenate(rows)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Cosines (N, M) of rows (N, D) and (M, D)."""
        return to_unit_rows(embeddings1) @ to_unit_rows(embeddings2).T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Cosines (N,) of rows (N, D) and (N, D), each with its own."""
        return (to_unit_rows(embeddings1) * to_unit_rows(embeddings2)).sum(dim=1)

    @functools.cached_property
    def mteb_model_meta(self) -> Any:
        """What MTEB wants to know of a model. Raises InputError where mteb is not installed."""
        try:
            ModelMeta = importlib.import_module("mteb.models").ModelMeta  # mypy reads no types that may be missing
        except ImportError as error:
            raise InputError(f"mteb can't be imported ({error}); pip install 'unreel[mteb]'") from None
        weights = list(self.vectorizer.encoder_.parameters())
        names = ("release_date", "languages", "max_tokens", "license", "open_weights", "public_training_code")
        unknown: dict[str, Any] = dict.fromkeys(names)
        return ModelMeta(
            loader=type(self),
            name=f"unreel/{Path(self.run).resolve().name or BASE_WEIGHTS}",
            revision=self.revision,
            n_parameters=sum(weight.numel() for weight in weights),
            memory_usage_mb=sum(weight.nbytes for weight in weights) / 2**20,
            embed_dim=len(self.vectorizer.get_feature_names_out()),
            framework=["PyTorch"],
            similarity_fn_name="cosine",
            use_instructions=False,
            training_datasets=set() if self.run in BASE_NAMES else None,  # they have seen drawn clips alone
            public_training_data=None,
            modalities=[VIDEO],
            **unknown,
        )


def to_unit_rows(rows: Any) -> torch.Tensor:
    """Rows of unit length, float32 (N, D); a single row (D,) is one of N = 1."""
    return F.normalize(torch.atleast_2d(torch.as_tensor(rows, dtype=torch.float32)), dim=1)


def leave_encoded(inputs: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The batches, of a loader over a Hugging Face data set with its videos as they are stored, not decoded."""
    column: Any = getattr(getattr(inputs, "dataset", None), "features", {}).get(VIDEO)
    if not isinstance(inputs, torch.utils.data.DataLoader) or not getattr(column, "decode", False):
        yield from inputs
        return
    stored = inputs.dataset.cast_column(VIDEO, type(column)(decode=False))  # type: ignore[attr-defined]
    yield from torch.utils.data.DataLoader(stored, inputs.batch_size, collate_fn=inputs.collate_fn)


def find_file(video: Any, place: Path) -> str:
    """The path of a video as MTEB hands it over; one that is bytes is written to `place`. Raises InputError."""
    if isinstance(video, str | Path):
        return str(video)
    stored = video if isinstance(video, Mapping) else getattr(video, "_hf_encoded", {})
    if data := stored.get("bytes"):
        place.write_bytes(data)
        return str(place)
    if stored.get("path"):
        return str(stored["path"])
    raise InputError(f"a video is a path, or a mapping with 'path' or 'bytes', got {type(video).__name__}")


def hash_weights(network: torch.nn.Module) -> str:
    """A checksum of all weights and buffers."""
    digest = new_digest()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
