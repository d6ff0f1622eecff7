"""Vectors of queries: worker processes read the files, another one holds the encoder; results are cached."""

import functools
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unreel.serve.media.warm_workers import MAX_MEMORY_MB, WarmWorkerPool
from unreel.types import Moment

if TYPE_CHECKING:
    from unreel.indexing.search.query_encoder import ExampleClips, ExampleVectors
    from unreel.models.encoder.encoder import Encoder
    from unreel.models.encoder.spec import EncoderSpec

CALL_TIMEOUT_S = 60.0
CACHE_SIZE = 256
NUM_READERS = 2
_encoder: "Encoder | None" = None  # of a worker process


class QueryEmbedder:
    """One process with the encoder of an index, and two that decode: a slow file does not delay other queries."""

    def __init__(self, folder: Path, metadata: dict[str, Any], allow_import: bool) -> None:
        self.encoder_pool = WarmWorkerPool(1, functools.partial(configure_worker, folder, metadata, allow_import))
        self.reader_pool = WarmWorkerPool(NUM_READERS, max_memory_mb=MAX_MEMORY_MB)
        self.lock = threading.Lock()
        self.cache: OrderedDict[tuple[str, float, float], ExampleVectors] = OrderedDict()
        self.spec: EncoderSpec | None = None

    def embed(self, moment: Moment) -> "ExampleVectors":
        """The vectors of a moment. Raises InputError when its file can't be used."""
        key = (moment.path, round(moment.start_s, 3), round(moment.end_s, 3))
        with self.lock:
            if key in self.cache:
                self.cache.move_to_end(key)
                return self.cache[key]
        self.load_encoder()
        clips = self.reader_pool.call(CALL_TIMEOUT_S, read_clips, moment, self.spec)
        vectors = self.encoder_pool.call(CALL_TIMEOUT_S, embed_in_worker, clips)
        with self.lock:
            self.cache[key] = vectors
            while len(self.cache) > CACHE_SIZE:
                self.cache.popitem(last=False)
        return vectors

    def clear_cache(self) -> None:
        """Forget all vectors: files may have changed."""
        with self.lock:
            self.cache.clear()

    def load_encoder(self) -> None:
        """Load the encoder now instead of with the first query. Raises CheckpointError, InputError."""
        if self.spec is None:
            self.spec = self.encoder_pool.call(CALL_TIMEOUT_S, load_worker_encoder)

    def close(self) -> None:
        self.encoder_pool.close()
        self.reader_pool.close()


def read_clips(moment: Moment, spec: "EncoderSpec") -> "ExampleClips":
    from unreel.indexing.search.query_encoder import read_example_clips

    return read_example_clips(moment, spec)


def configure_worker(folder: Path, metadata: dict[str, Any], allow_import: bool) -> None:
    """Set what to load. The first call loads it, so that its errors reach the caller."""
    global _encoder_source
    _encoder_source = (folder, metadata, allow_import)


_encoder_source: tuple[Path, dict[str, Any], bool] | None = None


def load_worker_encoder() -> "EncoderSpec":
    """Load the encoder of the index in this worker process, once."""
    global _encoder
    if _encoder is None:
        from unreel.indexing.index.clip_index import load_query_encoder

        assert _encoder_source is not None
        _encoder = load_query_encoder(*_encoder_source)
    return _encoder.spec


def embed_in_worker(clips: "ExampleClips") -> "ExampleVectors":
    from unreel.indexing.search.query_encoder import embed_clips

    load_worker_encoder()
    assert _encoder is not None
    return embed_clips(_encoder, clips)
