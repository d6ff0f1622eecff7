"""Concepts of an earlier index, learned again with the vectors of a new encoder."""

from pathlib import Path

from unreel.errors import UnreelError
from unreel.indexing.concepts.annotations import load_annotations
from unreel.indexing.concepts.concept_update import learn_concept, list_concepts
from unreel.indexing.index.clip_index import open_index
from unreel.indexing.store.file_names import CONCEPTS_FOLDER
from unreel.verbs.exploration.narration import Narration


def keep_concepts(old_index: Path, new_index: Path, narration: Narration) -> None:
    """Learn from their marks the concepts that only the old index has; says which ones, and which ones could not be."""
    names = {path.stem for path in (old_index / CONCEPTS_FOLDER).glob("*.csv")}
    index = open_index(new_index) if names else None
    if index is None:
        return
    for name in sorted(names - set(list_concepts(index))):
        try:
            marks, num_lost = load_annotations(old_index / CONCEPTS_FOLDER / f"{name}.csv", index.rows)
            learn_concept(index, name, marks)
        except UnreelError as error:
            narration.detail(f"the concept '{name}' stays in {old_index} alone: {error}")
            continue
        lost = f", without {num_lost} of its marks, whose moments are gone" if num_lost else ""
        narration.detail(f"the concept '{name}' was learned again from its marks{lost}")
