"""The encoder in scikit-learn's pipelines: rows of `embed`, a row for each path, and it can be cloned and pickled."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

import unreel


@pytest.fixture(scope="module")
def paths(motion_set: Path) -> list[Path]:
    return sorted(motion_set.rglob("*.mp4"))[:4]


def test_rows_are_those_of_embed(small_run: Path, paths: list[Path]) -> None:
    vectorizer = unreel.VideoVectorizer(small_run, num_clips=2).fit()
    expected = unreel.load_encoder(small_run).embed(paths, num_clips=2).vectors
    for given in (paths, np.array([str(path) for path in paths]), np.array(paths, dtype=object)[:, None]):
        assert np.allclose(vectorizer.transform(given), expected, atol=1e-6)
    assert len(vectorizer.get_feature_names_out()) == expected.shape[1]
    again = pickle.loads(pickle.dumps(vectorizer))
    assert np.allclose(again.transform(paths[:1]), expected[:1], atol=1e-6)


def test_a_pipeline_is_fitted_and_cloned(small_run: Path, paths: list[Path]) -> None:
    pipeline = make_pipeline(unreel.VideoVectorizer(small_run, num_clips=1), LogisticRegression(C=1e4))
    labels = ["a", "b", "a", "b"]
    assert clone(pipeline).fit(paths, labels).predict(paths).tolist() == labels
    changed = clone(pipeline).set_params(videovectorizer__num_clips=2)
    assert changed.get_params()["videovectorizer__num_clips"] == 2 and changed[0].run == small_run
    assert pipeline[0].get_params()["num_clips"] == 1, "a clone is another object"


def test_mistakes_are_told(small_run: Path, paths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        unreel.VideoVectorizer(small_run).transform(paths)
    with pytest.raises(unreel.UnreelError, match="neither a run nor a checkpoint"):
        unreel.VideoVectorizer(tmp_path).fit()
    vectorizer = unreel.VideoVectorizer(small_run, num_clips=1).fit()
    with pytest.raises(unreel.UnreelError, match="a list of paths is wanted, got the single path"):
        vectorizer.transform(str(paths[0]))
    with pytest.raises(unreel.UnreelError, match="it has 3"):
        vectorizer.transform([3])
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(unreel.UnreelError, match=r"broken\.mp4"):
        vectorizer.transform([paths[0], tmp_path / "broken.mp4"])


def test_a_pipeline_is_cross_validated_and_searched(small_run: Path, motion_set: Path) -> None:
    """As scikit-learn does it: clones for each fold, and a grid over an argument of the encoder."""
    folders = sorted(path for path in motion_set.iterdir() if path.is_dir())[:2]
    paths = [str(path) for folder in folders for path in sorted(folder.glob("*.mp4"))[:2]]
    labels = [folder.name for folder in folders for _ in range(2)]
    pipeline = make_pipeline(unreel.VideoVectorizer(small_run, num_clips=1), KNeighborsClassifier(1))
    scores = cross_val_score(pipeline, paths, labels, cv=StratifiedKFold(2), error_score="raise")
    rows = unreel.load_encoder(small_run).embed(paths, num_clips=1).vectors
    expected = cross_val_score(KNeighborsClassifier(1), rows, labels, cv=StratifiedKFold(2))
    assert np.allclose(scores, expected)
    grid = {"videovectorizer__num_clips": [1, 2]}
    search = GridSearchCV(pipeline, grid, cv=StratifiedKFold(2), error_score="raise").fit(paths, labels)
    assert search.best_estimator_.predict(paths).shape == (4,)
