"""How the clips are chosen whose vectors are a store's rows; kept with the store, so that all its rows are alike."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from unreel.models.encoder import Encoder, embedded, encode, refuse_choice
from unreel.types import Instance


class Rows(NamedTuple):
    """Of the video with this number: unit vectors (K, D) and seconds (K, 2)."""

    video: int
    vectors_KD: np.ndarray
    spans_K2: np.ndarray


class ClipChoice(Protocol):
    """What a store asks: what to write down of the choice, and the rows of videos, in order, one video at a time."""

    def to_json(self) -> dict[str, Any]: ...

    def rows(
        self,
        encoder: Encoder,
        videos: Sequence[Instance],
        workers: int,
        on_failure: Callable[[str, str], None],
    ) -> Iterator[Rows]: ...


@dataclass(frozen=True)
class EvenClips:
    """So many clips evenly spread over a video; a row for their mean or for each."""

    per: Literal["video", "clip"] = "video"
    num_clips: int = 10

    def __post_init__(self) -> None:
        refuse_choice(self.per, self.num_clips)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def rows(
        self,
        encoder: Encoder,
        videos: Sequence[Instance],
        workers: int,
        on_failure: Callable[[str, str], None],
    ) -> Iterator[Rows]:
        for item in encode(encoder, videos, self.num_clips, workers=workers, on_failure=on_failure):
            yield Rows(item.index, *embedded(item, self.per))
