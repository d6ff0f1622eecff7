"""Vectors of queries: their files are read in one process apart, the encoder is in another; answers are remembered."""

import functools
import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unreel.errors import InputError
from unreel.indexing.index.row_table import Moment
from unreel.serve.media.worker_pool import MAX_MEMORY_MB, WorkerPool

if TYPE_CHECKING:
    from unreel.models.encoder.encoder import Encoder
    from unreel.models.encoder.spec import EncoderSpec

CALL_TIMEOUT_S = 60.0
CACHE_SIZE = 256
NUM_READERS = 2
_encoder: "Encoder | None" = None  # of this process, which is one apart


class QueryEmbedder:
    """One process with the encoder of an index, and two that decode: a slow file holds up no other query."""

    def __init__(self, folder: Path, metadata: dict[str, Any], allow_import: bool) -> None:
        made_by = str(metadata["encoder_hash"])
        self.encoder_pool = WorkerPool(
            1, functools.partial(configure_worker, folder, metadata["clips"], made_by, allow_import)
        )
        self.reader_pool = WorkerPool(NUM_READERS, max_memory_mb=MAX_MEMORY_MB)
        self.lock = threading.Lock()
        self.cache: OrderedDict[tuple[str, float, float], np.ndarray] = OrderedDict()
        self.spec: EncoderSpec | None = None

    def embed(self, moment: Moment) -> np.ndarray:
        """Unit vector float32 (1, D) of some seconds of a file. Raises InputError for what can't be used."""
        key = (moment.path, round(moment.start_s, 3), round(moment.end_s, 3))
        with self.lock:
            if key in self.cache:
                self.cache.move_to_end(key)
                return self.cache[key]
        self.load_encoder()
        clips = self.reader_pool.call(CALL_TIMEOUT_S, read_clips, moment, self.spec)
        vector_1D = self.encoder_pool.call(CALL_TIMEOUT_S, embed_in_worker, clips)
        with self.lock:
            self.cache[key] = vector_1D
            while len(self.cache) > CACHE_SIZE:
                self.cache.popitem(last=False)
        return vector_1D

    def clear_cache(self) -> None:
        """A file may be another one since."""
        with self.lock:
            self.cache.clear()

    def load_encoder(self) -> None:
        """Load the encoder now rather than with the first query. Raises CheckpointError, InputError."""
        if self.spec is None:
            self.spec = self.encoder_pool.call(CALL_TIMEOUT_S, load_worker_encoder)

    def close(self) -> None:
        self.encoder_pool.close()
        self.reader_pool.close()


def read_clips(moment: Moment, spec: "EncoderSpec") -> np.ndarray:
    from unreel.indexing.query_encoder import read_example_clips

    return read_example_clips(moment, spec)


def configure_worker(folder: Path, clips: dict[str, Any], encoder_hash: str, allow_import: bool) -> None:
    """Remember what to load; loading itself is part of the first call, which can say what is wrong."""
    global _encoder_source
    _encoder_source = (folder, clips, encoder_hash, allow_import)


_encoder_source: tuple[Path, dict[str, Any], str, bool] | None = None


def load_worker_encoder() -> "EncoderSpec":
    """Load the encoder of the index, its clips as long as those of the rows, as `index.query_encoder` does."""
    global _encoder
    if _encoder is None:
        from unreel.embedding import load_encoder
        from unreel.indexing.index.clip_index import ENCODER_FOLDER, REINDEX_HINT
        from unreel.indexing.store.clip_sampling import SlidingWindow
        from unreel.indexing.store.embeddings_file import hash_encoder

        assert _encoder_source is not None
        folder, clips, made_by, allow_import = _encoder_source
        encoder = load_encoder(folder / ENCODER_FOLDER, allow_import)
        if hash_encoder(encoder) != made_by:
            raise InputError(f"{folder / ENCODER_FOLDER}: not the encoder that made these rows; {REINDEX_HINT}")
        encoder.spec = replace(encoder.spec, clip=SlidingWindow(**clips).make_clip_spec(encoder))
        _encoder = encoder
    return _encoder.spec


def embed_in_worker(clips: np.ndarray) -> np.ndarray:
    from unreel.indexing.query_encoder import embed_clips

    load_worker_encoder()
    assert _encoder is not None
    return embed_clips(_encoder, clips)
