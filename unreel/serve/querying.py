"""Vectors of queries: their files are read in one process apart, the encoder is in another; answers are remembered."""

import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unreel.errors import InputError
from unreel.search.rows import Stretch
from unreel.serve.apart import Apart, limit_memory

if TYPE_CHECKING:
    from unreel.models.encoder import Encoder, EncoderSpec

LIMIT_S = 60.0
REMEMBERED = 256
READERS = 2
_encoder: "Encoder | None" = None  # of this process, which is one apart


class QueryVectors:
    """One process with the encoder of an index, and two that decode: a slow file holds up no other query."""

    def __init__(self, folder: Path, about: dict[str, Any], allow_import: bool) -> None:
        self.apart = Apart(1, prepare, folder, about["clips"], str(about["encoder_hash"]), allow_import)
        self.readers = Apart(READERS, limit_memory)
        self.lock = threading.Lock()
        self.known: OrderedDict[tuple[str, float, float], np.ndarray] = OrderedDict()
        self.spec: EncoderSpec | None = None

    def of(self, stretch: Stretch) -> np.ndarray:
        """Unit vector float32 (1, D) of some seconds of a file. Raises InputError for what can't be used."""
        key = (stretch.path, round(stretch.start_s, 3), round(stretch.end_s, 3))
        with self.lock:
            if key in self.known:
                self.known.move_to_end(key)
                return self.known[key]
        self.warm()
        clips = self.readers.call(LIMIT_S, read, stretch, self.spec)
        vector_1D = self.apart.call(LIMIT_S, embed, clips)
        with self.lock:
            self.known[key] = vector_1D
            while len(self.known) > REMEMBERED:
                self.known.popitem(last=False)
        return vector_1D

    def forget(self) -> None:
        """A file may be another one since."""
        with self.lock:
            self.known.clear()

    def warm(self) -> None:
        """Load the encoder now rather than with the first query. Raises CheckpointError, InputError."""
        if self.spec is None:
            self.spec = self.apart.call(LIMIT_S, loaded)

    def close(self) -> None:
        self.apart.close()
        self.readers.close()


def read(stretch: Stretch, spec: "EncoderSpec") -> np.ndarray:
    from unreel.search.example import clips_of

    return clips_of(stretch, spec)


def prepare(folder: Path, clips: dict[str, Any], encoder_hash: str, allow_import: bool) -> None:
    """Remember what to load; loading itself is part of the first call, which can say what is wrong."""
    global _load
    _load = (folder, clips, encoder_hash, allow_import)


_load: tuple[Path, dict[str, Any], str, bool] | None = None


def loaded() -> "EncoderSpec":
    """Load the encoder of the index, its clips as long as those of the rows, as `index.query_encoder` does."""
    global _encoder
    if _encoder is None:
        from unreel.models.encoder import load_encoder
        from unreel.search.clip_choice import EveryMoment
        from unreel.search.embeddings import encoder_hash
        from unreel.search.index import AGAIN, ENCODER

        assert _load is not None
        folder, clips, made_by, allow_import = _load
        encoder = load_encoder(folder / ENCODER, allow_import)
        if encoder_hash(encoder) != made_by:
            raise InputError(f"{folder / ENCODER}: not the encoder that made these rows; {AGAIN}")
        encoder.spec = replace(encoder.spec, clip=EveryMoment(**clips).spec(encoder))
        _encoder = encoder
    return _encoder.spec


def embed(clips: np.ndarray) -> np.ndarray:
    from unreel.search.example import vector_of

    loaded()
    assert _encoder is not None
    return vector_of(_encoder, clips)
