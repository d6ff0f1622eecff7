"""Index videos: vectors of clips that slide over every video, and what a search needs."""

from dataclasses import dataclass
from pathlib import Path

from unreel.evaluation.verdict.verdict_file import copy_verdict
from unreel.indexing.export.destination import Destination
from unreel.indexing.index.build_index import refresh_index
from unreel.indexing.store.clip_sampling import SlidingWindow
from unreel.indexing.store.update import StoreSummary, StoreUpdateOptions, lock_store, update_store
from unreel.types import FileFailure
from unreel.verbs.indexing.export import export


@dataclass(frozen=True)
class IndexUpdate:
    """The store after an update, a description of its index, and the number of rows exported.

    Only rank 0 builds the index and exports; for other processes these are "" and 0.
    """

    store: StoreSummary
    description: str = ""
    num_exported: int = 0


def index(
    run: str | Path,
    source: str | Path,
    out: str | Path,
    length_s: float = 0.0,
    hop_s: float = 0.0,
    allow_import: bool = False,
    appearance: str = "",
) -> tuple[int, list[FileFailure]]:
    """Make an index of every moment of the videos, or bring it up to date.

    Args:
        run: a run folder, one of its checkpoints, or "base", the encoder that comes with unreel.
        source: a video, a folder, a list of videos or a packed corpus.
        out: folder of the index.
        length_s: seconds of a clip; 0 means the length that the encoder was trained on.
        hop_s: seconds from the start of one clip to the next; 0 means half a clip.
        allow_import: import, and so run, the code of your own that the checkpoint names as its network.
        appearance: an image model whose features stand beside the encoder's, so that hits are alike in looks too:
            "efficientnet-lite2", or the folder of a model of transformers.

    Returns:
        The number of rows, and the files left out with their reasons.

    Raises:
        InputError: videos or options can't be used, or `out` holds something else.
        CheckpointError: the encoder can't be loaded.
        DiskError: `out` can't be written.

    >>> num_rows, left_out = unreel.index(run, videos / "test.txt", out, hop_s=0.5)
    >>> num_rows >= 8, left_out
    (True, [])
    """
    options = StoreUpdateOptions(allow_import=allow_import)
    sampling = SlidingWindow(length_s, hop_s, appearance=appearance)
    store = update_index(run, source, out, sampling, options).store
    return store.num_rows, store.left_out


def update_index(
    checkpoint: str | Path,
    source: str | Path,
    out: str | Path,
    clip_sampling: SlidingWindow,
    options: StoreUpdateOptions,
    export_to: Destination | None = None,
    table: str = "unreel",
) -> IndexUpdate:
    """`index` with all options: in several processes, and followed by an export to the table of a database."""
    store = update_store(checkpoint, source, out, clip_sampling, options)
    if store.rank:
        return IndexUpdate(store)
    with lock_store(Path(out)):
        description = refresh_index(Path(out), clip_sampling.load_encoder(checkpoint, options.allow_import))
        copy_verdict(Path(checkpoint), Path(out))
    num_exported = export(out, export_to, table, replace=True) if export_to else 0
    return IndexUpdate(store, description, num_exported)
