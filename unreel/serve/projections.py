"""The map of an index: the position and cluster of each row, computed once and cached in the index folder."""

import logging
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.errors import InputError, unknown_name_error
from unreel.indexing.clustering.clusters import cluster_vectors
from unreel.indexing.clustering.projection import LAYOUTS, project_2d
from unreel.indexing.index.clip_index import Index
from unreel.io.atomic_write import atomic_path

log = logging.getLogger(__name__)
MAX_POINTS = 100_000  # sent to a page, evenly spread over all rows


@dataclass(frozen=True)
class Projection:
    """Position float32 (N, 2) within -1..1 and cluster int64 (N,), -1 for none, of each row; the clustering method."""

    xy_N2: np.ndarray
    cluster_N: np.ndarray
    description: str


class ProjectionCache:
    """The maps of an index. A thread computes each at its first request."""

    def __init__(self, index: Index) -> None:
        self.index, self.lock = index, threading.Lock()
        self.projections: dict[str, Projection] = {}
        self.errors: dict[str, str] = {}
        self.pending: set[str] = set()

    def get(self, layout: str) -> Projection | None:
        """The map, or None while it is being computed. Raises InputError when that fails."""
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
            projection, problem = self._load(layout) or self._compute(layout), ""
        except InputError as error:
            projection, problem = None, str(error)
        except Exception:
            log.exception("the map can't be made")
            projection, problem = None, "the map can't be made; the terminal says why"
        with self.lock:
            self.pending.discard(layout)
            if projection is not None:
                self.projections[layout] = projection
            else:
                self.errors[layout] = problem

    def _path(self, layout: str) -> Path:
        return self.index.folder / f".map-{layout}.npz"

    def _cache_key(self) -> str:
        return f"1 {self.index.encoder_hash} {self.index.ann_index.description.vectors_fingerprint}"

    def _load(self, layout: str) -> Projection | None:
        """The cached map; None for a file that is missing, damaged or of other rows."""
        try:
            with np.load(self._path(layout), allow_pickle=False) as file:
                if str(file["known_by"]) != self._cache_key():
                    return None
                return Projection(file["place_N2"], file["cluster_N"], str(file["said"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def _compute(self, layout: str) -> Projection:
        xy_N2 = project_2d(self.index.vectors_ND, layout)
        if layout != "pca" and (pca := self._load("pca") or self.projections.get("pca")):
            projection = Projection(xy_N2, pca.cluster_N, pca.description)
        else:
            clusters = cluster_vectors(self.index.vectors_ND)
            projection = Projection(xy_N2, clusters.cluster_N, clusters.description)
        self._save(layout, projection)
        return projection

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
    """The points of a map for the page (map_canvas.js), little-endian, column after column.

    N uint32; then row uint32 (N,), video uint32 (N,), position float32 (N, 2), start seconds float32 (N,),
    cluster int32 (N,), label int32 (N,).
    """
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
