"""Names of the files and folders of a store and of an index."""

from unreel.io.file_lock import LOCK_FILE
from unreel.provenance.record import PROVENANCE_FILE

STORE_JSON = "store.json"
PARTS_FOLDER = "parts"
CHUNKS_FOLDER = "chunks"
FILES_PARQUET = "files.parquet"
LEFT_OUT_CSV = "left_out.csv"

# An index is a store with these:
ENCODER_FOLDER = "encoder"
PREVIOUS_FOLDER = "previous"
VECTORS_NPY = "vectors.npy"
ANN_INDEX_FILE = "nearest.faiss"
CONCEPTS_FOLDER = "concepts"
VERDICT_JSON = "verdict.json"
SCALE_JSON = "scale.json"
PART_WEIGHTS_JSON = "part_weights.json"

STORE_ENTRIES = {
    STORE_JSON,
    PARTS_FOLDER,
    CHUNKS_FOLDER,
    FILES_PARQUET,
    LEFT_OUT_CSV,
    LOCK_FILE,
    ENCODER_FOLDER,
    PREVIOUS_FOLDER,
    VECTORS_NPY,
    ANN_INDEX_FILE,
    CONCEPTS_FOLDER,
    VERDICT_JSON,
    SCALE_JSON,
    PART_WEIGHTS_JSON,
    PROVENANCE_FILE,
}
