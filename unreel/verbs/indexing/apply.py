"""Find the moments of a concept in new footage."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unreel.embedding import list_whole_videos, load_encoder
from unreel.errors import CheckpointError, InputError, no_concept_error
from unreel.indexing.concepts.concept import Concept
from unreel.indexing.concepts.concept_update import load_concept, require_concept, require_probability
from unreel.indexing.homes.address import parse_address
from unreel.indexing.homes.open_home import open_home, open_index
from unreel.indexing.index.clip_index import Index, read_index_metadata, read_parts_of_index
from unreel.indexing.index.row_table import RowTable
from unreel.indexing.index.vectors import iterate_blocks
from unreel.indexing.search.results import Hit, find_moments
from unreel.indexing.store.clip_sampling import SlidingWindow
from unreel.indexing.store.encoder_hash import hash_encoder
from unreel.indexing.store.file_names import CONCEPTS_FOLDER, ENCODER_FOLDER, STORE_JSON
from unreel.models.encoder.encoder import Encoder
from unreel.models.encoder.row_parts import RowParts
from unreel.training.runtime.auto_settings import choose_device
from unreel.types import FileFailure, Instance, ProgressCallback
from unreel.video.loading.loaders import default_num_workers


@dataclass(frozen=True)
class ConceptMatches:
    """Moments found, best first, the number of clips and videos searched, and the files left out."""

    moments: list[Hit]
    num_clips: int
    num_videos: int
    left_out: list[FileFailure]


def apply(
    concept: str | Path,
    source: str | Path,
    min_probability: float = 0.5,
    gap_s: float = 0.5,
    on_progress: ProgressCallback = lambda _done, _total: None,
    allow_import: bool = False,
) -> ConceptMatches:
    """Find moments of a concept in a video, a folder, a list, or another index by the same encoder.

    An index is searched without decoding.

    Args:
        concept: INDEX/concepts/NAME.json, INDEX a folder or an address; the encoder of that index is used.
        source: a video, a folder, a list of videos or an index.
        min_probability: least probability (0 to 1) of a clip in a moment.
        gap_s: clips of a video at most this many seconds apart form one moment.
        on_progress: called with the videos done and their total.
        allow_import: import, and so run, the code of your own that the index names as its network.

    Returns:
        The moments, best first, the number of clips and videos searched, and the files left out.

    Raises:
        InputError: the concept or `source` can't be used, or no video could be read.

    >>> update = unreel.concept(index, "jump", yes=unreel.MarkedMoments(rows=(0, 1)))
    >>> matches = unreel.apply(index / "concepts/jump.json", videos / "test.txt")
    >>> matches.num_videos, matches.left_out
    (8, [])
    """
    require_probability(min_probability)
    place = find_concept(concept)
    if (index := find_index(source)) is not None:
        return apply_to_index(place, index, min_probability, gap_s)
    encoder, sampling = load_concept_encoder(place, allow_import)
    probe, source = place.load(hash_encoder(encoder)), Path(source)
    parts: RowParts | None = None
    videos, failures = list_whole_videos(source)
    moments, num_clips, num_videos = [], 0, 0
    for number, vectors_KD, spans_K2 in sampling.embed_videos(encoder, videos, default_num_workers(), failures.append):
        parts = parts or place.load_parts(vectors_KD.shape[1])
        score_K = probe.score_rows(parts.set_lengths(vectors_KD))
        moments += find_moments(build_rows(videos[number], spans_K2), score_K, min_probability, gap_s)
        num_clips, num_videos = num_clips + len(score_K), num_videos + 1
        on_progress(num_videos, len(videos))
    if not num_videos:
        raise InputError(f"{source}: no video there could be read; the first: {failures[0].path}: {failures[0]}")
    moments.sort(key=lambda hit: (-hit.score, hit.path, hit.start_s))
    return ConceptMatches(moments, num_clips, num_videos, failures)


@dataclass(frozen=True)
class ConceptPlace:
    """A concept: where it lies, its JSON, and the folder that has the encoder of its index; for an index in a database
    that is a copy, and the description of the index is known."""

    place: str
    text: str
    folder: Path
    metadata: dict[str, Any] | None = None

    def load(self, encoder_hash: str) -> Concept:
        """Raises InputError when it is damaged or of another encoder."""
        return Concept.from_json(self.text, self.place, encoder_hash)

    def read_metadata(self) -> dict[str, Any]:
        """The description of its index. Raises InputError."""
        return self.metadata or read_index_metadata(self.folder)

    def load_parts(self, num_columns: int) -> RowParts:
        """How the rows of its index are made up. Raises InputError."""
        try:
            return read_parts_of_index(self.folder, self.read_metadata(), num_columns)
        except InputError as error:
            raise InputError(
                f"{self.place}: a concept is used inside its index, which weighs its parts: {error}"
            ) from error


def find_concept(concept: str | Path) -> ConceptPlace:
    """The concept at INDEX/concepts/NAME.json, where INDEX is a folder or an address. Raises InputError."""
    match = re.fullmatch(rf"(.+)/{CONCEPTS_FOLDER}/([^/]+)\.json", str(concept), re.DOTALL)
    if match and (address := parse_address(match[1])):
        index = open_home(address)
        require_concept(index, match[2])
        text = load_concept(index, match[2]).to_json()
        return ConceptPlace(f"{address}/{CONCEPTS_FOLDER}/{match[2]}.json", text, index.folder, index.metadata)
    path = Path(concept)
    if not path.is_file():
        raise no_concept_error(path)
    return ConceptPlace(str(path), path.read_text(errors="replace"), path.resolve().parent.parent)


def find_index(source: str | Path) -> Index | None:
    """The index that is named as what to search; None for videos. Raises InputError for an index that can't be read."""
    is_home = isinstance(source, str) and parse_address(source) is not None
    return open_index(source) if is_home or (Path(source) / STORE_JSON).is_file() else None


def apply_to_index(place: ConceptPlace, index: Index, min_probability: float, gap_s: float) -> ConceptMatches:
    """The moments of a concept in an index by the same encoder. Raises InputError."""
    saved, vectors_ND = place.load(index.encoder_hash), index.vectors_ND
    if index.parts.has_appearance:  # its parts may weigh otherwise than in the index of the concept
        parts = place.load_parts(vectors_ND.shape[1])
        blocks = (parts.set_lengths(index.parts.to_store(block)) for _, block in iterate_blocks(vectors_ND))
        probability_N = np.concatenate([saved.score_rows(block) for block in blocks])
    else:
        probability_N = saved.score_rows(vectors_ND)
    moments = find_moments(index.rows, probability_N, min_probability, gap_s)
    return ConceptMatches(moments, len(index.rows), len(index.rows.paths), [])


def load_concept_encoder(place: ConceptPlace, allow_import: bool) -> tuple[Encoder, SlidingWindow]:
    """The encoder and clip sampling of the index in which a concept lies. Raises InputError."""
    try:
        metadata, encoder = place.read_metadata(), load_encoder(place.folder / ENCODER_FOLDER, allow_import)
    except (InputError, CheckpointError) as error:
        raise InputError(
            f"{place.place}: a concept is used inside its index, which has its encoder: {error}"
        ) from error
    return encoder.to(choose_device("auto")), SlidingWindow(**metadata["clips"])


def build_rows(video: Instance, spans_K2: np.ndarray) -> RowTable:
    """The rows of one video's clips."""
    paths = [video.path] * len(spans_K2)
    return RowTable.from_columns(paths, [video.label] * len(paths), paths, spans_K2[:, 0], spans_K2[:, 1])
