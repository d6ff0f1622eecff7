"""An index in LightlyStudio: `unreel export INDEX --to lightly:FOLDER`, then `python lightlystudio.py FOLDER VIDEOS`.

LightlyStudio (pip install lightly-studio) reads the videos and asks an object for the embedding of each path. Tried
with 1.2.0.
"""

import csv
import sys
from pathlib import Path

import lightly_studio as ls
import numpy as np
from lightly_studio_serve.embedder import VideoPathEmbedder


class IndexEmbedder(VideoPathEmbedder):
    """Embeddings by path, from embeddings.csv."""

    def __init__(self, folder: Path) -> None:
        with (folder / "embeddings.csv").open(newline="", encoding="utf-8") as file:
            self.vector_of = {row[0]: np.array(row[1:-1], np.float32) for row in list(csv.reader(file))[1:]}

    def embedding_space_spec(self) -> ls.EmbeddingSpaceSpec:
        return ls.EmbeddingSpaceSpec(space_key="unreel/index@1", dimension=len(next(iter(self.vector_of.values()))))

    def embed_videos(self, paths: list[str]) -> ls.EmbeddingResult:
        known = [n for n, path in enumerate(paths) if path in self.vector_of]
        rows = [self.vector_of[paths[n]] for n in known]
        vectors_PD = np.stack(rows) if rows else np.zeros((0, self.embedding_space_spec().dimension), np.float32)
        return ls.EmbeddingResult(embeddings=vectors_PD, kept_indices=known)


def load_dataset(folder: Path, videos: Path) -> ls.VideoDataset:
    """A dataset of the videos with their embeddings; each clip is an event."""
    ls.register_default_embedder(embedder=IndexEmbedder(folder))
    dataset = ls.VideoDataset.create()
    dataset.add_videos_from_path(path=str(videos.absolute()), embed_frames=False)
    dataset.add_annotations_from_activitynet(folder / "events.json")
    return dataset


if __name__ == "__main__":
    load_dataset(Path(sys.argv[1]), Path(sys.argv[2]))
    ls.start_gui()
