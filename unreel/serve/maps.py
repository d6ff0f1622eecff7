"""Where each row stands on a map of the corpus and in which cluster: computed once, kept in the index."""

import logging
import os
import threading
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unreel.errors import InputError, unknown
from unreel.search.clusters import cluster, coordinates
from unreel.search.index import Index

log = logging.getLogger(__name__)
LAYOUTS = ("pca", "tsne")
MOST_POINTS = 100_000  # that a page gets; of more rows, these are spread evenly over all


@dataclass(frozen=True)
class Map:
    """Place float32 (N, 2) within -1..1 and cluster int64 (N,), -1 for none, of each row; how they were made."""

    place_N2: np.ndarray
    cluster_N: np.ndarray
    said: str


class Maps:
    """The maps of an index. Each is made in a thread when it is first asked for."""

    def __init__(self, index: Index) -> None:
        self.index, self.lock = index, threading.Lock()
        self.made: dict[str, Map] = {}
        self.failed: dict[str, str] = {}
        self.under_way: set[str] = set()

    def get(self, layout: str) -> Map | None:
        """The map, None while it is being made. Raises InputError when it can't be made."""
        if layout not in LAYOUTS:
            raise unknown("map", layout, LAYOUTS)
        with self.lock:
            if layout in self.failed:
                raise InputError(self.failed[layout])
            if layout not in self.made and layout not in self.under_way:
                self.under_way.add(layout)
                threading.Thread(target=self._make, args=(layout,), daemon=True).start()
            return self.made.get(layout)

    def _make(self, layout: str) -> None:
        try:
            made, failed = self._kept(layout) or self._computed(layout), ""
        except InputError as error:
            made, failed = None, str(error)
        except Exception:
            log.exception("the map can't be made")
            made, failed = None, "the map can't be made; the terminal says why"
        with self.lock:
            self.under_way.discard(layout)
            if made is not None:
                self.made[layout] = made
            else:
                self.failed[layout] = failed

    def _path(self, layout: str) -> Path:
        return self.index.folder / f".map-{layout}.npz"

    def _known_by(self) -> str:
        return f"1 {self.index.encoder_hash} {self.index.nearest.description.built_of}"

    def _kept(self, layout: str) -> Map | None:
        """What is in the folder; a file that is damaged or of other rows is none."""
        try:
            with np.load(self._path(layout), allow_pickle=False) as kept:
                fits = str(kept["known_by"]) == self._known_by()
                return Map(kept["place_N2"], kept["cluster_N"], str(kept["said"])) if fits else None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def _computed(self, layout: str) -> Map:
        place_N2 = coordinates(self.index.vectors_ND, layout)
        if layout != "pca" and (first := self._kept("pca") or self.made.get("pca")):
            made = Map(place_N2, first.cluster_N, first.said)
        else:
            clusters = cluster(self.index.vectors_ND)
            made = Map(place_N2, clusters.number_N, clusters.said)
        self._keep(layout, made)
        return made

    def _keep(self, layout: str, made: Map) -> None:
        path = self._path(layout)
        aside = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with aside.open("wb") as file:
                np.savez(
                    file, place_N2=made.place_N2, cluster_N=made.cluster_N, said=made.said, known_by=self._known_by()
                )
            aside.replace(path)
        except OSError as error:
            log.warning("%s: the map can't be kept (%s); it is made again at the next start", path, error.strerror)
            aside.unlink(missing_ok=True)


def packed(index: Index, made: Map) -> bytes:
    """For a page, little-endian, one after the other: N uint32; then of N points row and video uint32 (N,), place
    float32 (N, 2), start seconds float32 (N,), cluster and label int32 (N,)."""
    rows = index.rows
    count = min(len(rows), MOST_POINTS)
    row_N = np.linspace(0, len(rows) - 1, count).astype(np.int64)
    columns = [
        np.array([count], "<u4"),
        row_N.astype("<u4"),
        rows.path_N[row_N].astype("<u4"),
        made.place_N2[row_N].astype("<f4"),
        rows.start_s[row_N].astype("<f4"),
        made.cluster_N[row_N].astype("<i4"),
        rows.label_N[row_N].astype("<i4"),
    ]
    return b"".join(np.ascontiguousarray(column).tobytes() for column in columns)
