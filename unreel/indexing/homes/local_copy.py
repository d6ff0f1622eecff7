"""A copy of the vectors of an index in a database, for what looks at every row many times: clusters and outliers."""

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unreel.indexing.index.ann_index import AnnIndex
from unreel.indexing.index.clip_index import Index
from unreel.indexing.index.ivf import BuildOptions
from unreel.indexing.index.vectors import iterate_blocks, write_npy
from unreel.io.atomic_write import disk_errors


@contextlib.contextmanager
def local_vectors(index: Index) -> Iterator[Index]:
    """The index itself where its vectors are here; else with a copy of them in a temporary folder, and a
    nearest-neighbour index of it, as an index in a folder has. Raises DiskError.
    """
    if isinstance(index.vectors_ND, np.ndarray):
        yield index
        return
    with tempfile.TemporaryDirectory(prefix="unreel-rows-") as folder:
        path = Path(folder) / "vectors.npy"
        with disk_errors(path, "the rows of the database can't be copied", "free some space, or set TMPDIR"):
            write_npy(path, len(index.rows), (block for _, block in iterate_blocks(index.vectors_ND)))
        vectors_ND = np.load(path, mmap_mode="r", allow_pickle=False)
        fingerprint = index.ann_index.description.vectors_fingerprint
        ann_index = AnnIndex.build(vectors_ND, BuildOptions(parts=index.parts), fingerprint)
        yield dataclasses.replace(index, vectors_ND=vectors_ND, ann_index=ann_index)
