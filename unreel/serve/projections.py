"""Where each row stands on a map of the corpus and in which cluster: computed once, kept in the index."""

import logging
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.errors import InputError, unknown_name_error
from unreel.indexing.clustering import cluster_vectors, project_2d
from unreel.indexing.index.clip_index import Index
from unreel.io.atomic_write import atomic_path

log = logging.getLogger(__name__)
LAYOUTS = ("pca", "tsne")
MAX_POINTS = 100_000  # that a page gets; of more rows, these are spread evenly over all


@dataclass(frozen=True)
class Projection:
    """Place float32 (N, 2) within -1..1 and cluster int64 (N,), -1 for none, of each row; how they were made."""

    xy_N2: np.ndarray
    cluster_N: np.ndarray
    description: str


class ProjectionCache:
    """The maps of an index. Each is made in a thread when it is first asked for."""

    def __init__(self, index: Index) -> None:
        self.index, self.lock = index, threading.Lock()
        self.projections: dict[str, Projection] = {}
        self.errors: dict[str, str] = {}
        self.pending: set[str] = set()

    def get(self, layout: str) -> Projection | None:
        """The map, None while it is being made. Raises InputError when it can't be made."""
        if layout not in LAYOUTS:
            raise unknown_name_error("map", layout, LAYOUTS)
        with self.lock:
            if layout in self.errors:
                raise InputError(self.errors[layout])
            if layout not in self.projections and layout not in self.pending:
                self.pending.add(layout)
                threading.Thread(target=self._build, args=(layout,), daemon=True).start()
            return self.projections.get(layout)

    def _build(self, layout: str) -> None:
        try:
            made, failed = self._load(layout) or self._compute(layout), ""
        except InputError as error:
            made, failed = None, str(error)
        except Exception:
            log.exception("the map can't be made")
            made, failed = None, "the map can't be made; the terminal says why"
        with self.lock:
            self.pending.discard(layout)
            if made is not None:
                self.projections[layout] = made
            else:
                self.errors[layout] = failed

    def _path(self, layout: str) -> Path:
        return self.index.folder / f".map-{layout}.npz"

    def _cache_key(self) -> str:
        return f"1 {self.index.encoder_hash} {self.index.ann_index.description.built_of}"

    def _load(self, layout: str) -> Projection | None:
        """What is in the folder; a file that is damaged or of other rows is none."""
        try:
            with np.load(self._path(layout), allow_pickle=False) as kept:
                fits = str(kept["known_by"]) == self._cache_key()
                return Projection(kept["place_N2"], kept["cluster_N"], str(kept["said"])) if fits else None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def _compute(self, layout: str) -> Projection:
        place_N2 = project_2d(self.index.vectors_ND, layout)
        if layout != "pca" and (first := self._load("pca") or self.projections.get("pca")):
            made = Projection(place_N2, first.cluster_N, first.description)
        else:
            clusters = cluster_vectors(self.index.vectors_ND)
            made = Projection(place_N2, clusters.cluster_N, clusters.description)
        self._save(layout, made)
        return made

    def _save(self, layout: str, projection: Projection) -> None:
        path = self._path(layout)
        try:
            with atomic_path(path, sync=False) as temporary, temporary.open("wb") as file:
                np.savez(
                    file,
                    place_N2=projection.xy_N2,
                    cluster_N=projection.cluster_N,
                    said=projection.description,
                    known_by=self._cache_key(),
                )
        except OSError as error:
            log.warning("%s: the map can't be kept (%s); it is made again at the next start", path, error.strerror)


def pack_points(index: Index, projection: Projection) -> bytes:
    """For a page, little-endian, one after the other: N uint32; then of N points row and video uint32 (N,), place
    float32 (N, 2), start seconds float32 (N,), cluster and label int32 (N,)."""
    rows = index.rows
    count = min(len(rows), MAX_POINTS)
    row_N = np.linspace(0, len(rows) - 1, count).astype(np.int64)
    columns = [
        np.array([count], "<u4"),
        row_N.astype("<u4"),
        rows.path_N[row_N].astype("<u4"),
        projection.xy_N2[row_N].astype("<f4"),
        rows.start_s[row_N].astype("<f4"),
        projection.cluster_N[row_N].astype("<i4"),
        rows.label_N[row_N].astype("<i4"),
    ]
    return b"".join(np.ascontiguousarray(column).tobytes() for column in columns)
