"""Embed videos: one vector for each video or clip."""

from contextlib import nullcontext
from pathlib import Path
from typing import Literal

from unreel.embedding import embed_instances, list_whole_videos
from unreel.errors import InputError
from unreel.indexing.embedding_provenance import describe_embedding
from unreel.indexing.store.clip_sampling import EvenSampling
from unreel.indexing.store.embeddings_file import write_embeddings
from unreel.indexing.store.encoder_hash import SameEncoder, describe_encoder, hash_encoder
from unreel.indexing.store.processes import choose_workers
from unreel.indexing.store.update import StoreUpdateOptions, update_store
from unreel.io.output_path import require_writable_path
from unreel.training.runtime.auto_settings import choose_device
from unreel.types import FileFailure, ProgressCallback
from unreel.video.loading.loaders import default_num_workers


def embed(
    run: str | Path,
    source: str | Path,
    out: str | Path,
    per: Literal["video", "clip"] = "video",
    num_clips: int = 10,
    on_progress: ProgressCallback | None = None,
    allow_import: bool = False,
    appearance: str = "",
) -> tuple[int, list[FileFailure]]:
    """Embed videos into a file: one unit-length vector for each video or clip.

    Args:
        run: a run folder, one of its checkpoints, or "base", the encoder that comes with unreel.
        source: a video, a folder, a list of videos or a packed corpus.
        out: a Parquet file, written at the end; or the folder of a store, which is brought up to date and continues
            where it stopped.
        per: one row for each "video" or for each "clip".
        num_clips: evenly spread clips per video.
        on_progress: called with the videos done and their total.
        allow_import: import, and so run, the code of your own that the checkpoint names as its network.
        appearance: an image model whose features stand beside the encoder's: "efficientnet-lite2", or the folder of a
            model of transformers.

    Returns:
        The number of rows, and the files left out with their reasons.

    Raises:
        InputError: an option can't be used, or no video could be embedded.
        CheckpointError: the encoder can't be loaded.
        DiskError: `out` can't be written.

    >>> unreel.embed(run, videos / "test.txt", out / "vectors.parquet", num_clips=2)
    (8, [])
    """
    sampling = EvenSampling(per, num_clips, appearance)
    if Path(out).suffix != ".parquet":
        advance = on_progress or (lambda _done, _total: None)
        options = StoreUpdateOptions(allow_import=allow_import, progress_bar=lambda _label: nullcontext(advance))
        summary = update_store(run, source, out, sampling, options)
        return summary.num_rows, summary.left_out
    encoder = sampling.load_encoder(run, allow_import).to(choose_device("auto"))
    require_writable_path(Path(out))
    videos, failures = list_whole_videos(Path(source))
    recipe = SameEncoder(sampling, str(run), allow_import, hash_encoder(encoder))
    workers = choose_workers(recipe, default_num_workers())
    embeddings = embed_instances(encoder, videos, num_clips, per, workers, failures.append, on_progress)
    if not len(embeddings):
        raise InputError(f"{source}: no video there could be embedded; the first: {failures[0].path}: {failures[0]}")
    settings = {"per": per, "num_clips": num_clips, "appearance": appearance}
    made = {"provenance": describe_embedding(run, source, embeddings.paths, settings)}
    write_embeddings(embeddings, Path(out), describe_encoder(encoder) | made)
    return len(embeddings), failures
