"""Linear probe: how well one linear layer on frozen features separates the classes.

Every training clip is a sample; a test video gets the mean softmax over its clips (and crops). Values such as the
learning rate are chosen on held-out groups of training videos, then the layer is trained again on all of them.

kind      classifier
sgd       SGD with momentum 0.9, cosine with 5 % warm-up, all points of the grid at once
logistic  scikit-learn's logistic regression (lbfgs), C chosen; for small data, where it takes seconds
cvrl      linear evaluation of Qian et al. 2021 (CVRL): L2-normalised pooled feature, SGD 0.9, rate 32 at batch 1024
          (scaled with the batch), 5 of 100 epochs warm-up, no decay, mean softmax over 10 x 3 views.
          Where we deviate: no random crops, since features are cached, and the layer begins at zero; the protocol
          itself is `--recipe cvrl` (finetuning/recipe_presets.py)
own.py:f  a function of your own, given features as they are (probes/own_probe.py); its table is called `probe`
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from unreel.errors import InputError, unknown_name_error
from unreel.evaluation.feature_protocol import Evaluation, ExtractionOptions, FeatureProtocol
from unreel.evaluation.probes.grid_search import GridSearch, Hyperparameters, Scorer, build_grid, run_grid_search
from unreel.evaluation.probes.own_probe import build_own_scorer, name_own_probe
from unreel.evaluation.probes.parallel_linear import (
    FeatureScaler,
    ParallelLinear,
    average_linear_softmax,
    fit_logistic_layers,
    fit_scaler,
    train_parallel_linear,
)
from unreel.evaluation.probes.sample_batches import SampleBatches
from unreel.evaluation.protocol_description import protocol_to_json
from unreel.evaluation.protocols.options import PROBES, LinearOptions, ProbeKind
from unreel.evaluation.result import Result
from unreel.evaluation.video_features import FeatureKey, VideoFeatures, find_layer_rows, get_clip_vectors
from unreel.models.encoder.encoder import FEATURE_LAYERS, Encoder
from unreel.own_code.installed import expand_name, list_installed
from unreel.own_code.names import is_own_code

CVRL_LR, CVRL_BATCH = 32.0, 1024
MAX_LOGISTIC_CLIPS = 2000  # up to so many clips lbfgs takes seconds; not by width, so that all encoders get one kind
KIND_DESCRIPTIONS = {
    "sgd": "one linear layer (SGD)",
    "logistic": "logistic regression (lbfgs)",
    "cvrl": "one linear layer as CVRL trains it (rate 32 at batch 1024, tested there on 10 x 3 views), but without "
    "random crops, since the features are cached,",
}


@dataclass(frozen=True)
class LinearProtocol:
    """Kind of probe, layer, training, and the grid to choose from (`cs` for logistic, rates and decays for sgd).

    Rates and C mean the same for any width D, since standardised features are divided by sqrt(D).
    """

    kind: ProbeKind = "auto"
    layer: str = "pooled"
    epochs: int = 100
    batch_size: int = 1024
    lrs: tuple[float, ...] = (0.3, 2.0, 15.0, 100.0)
    weight_decays: tuple[float, ...] = (0.0, 3e-4, 3e-3)
    cs: tuple[float, ...] = (0.1, 1.0, 10.0, 100.0, 1000.0)
    normalize: bool = True
    validation_share: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in PROBES and not is_own_code(self.kind):
            raise unknown_name_error("kind of linear probe", self.kind, [*PROBES, *list_installed("probe")])
        if self.layer not in FEATURE_LAYERS:
            raise unknown_name_error("layer", self.layer, FEATURE_LAYERS)
        if self.seed < 0:
            raise InputError(f"a seed is 0 or more, got {self.seed}")
        if self.epochs < 1 or self.batch_size < 1 or not (self.lrs and self.weight_decays and self.cs):
            raise InputError("a linear probe needs 1 epoch, a batch of 1 and one value of each kind, or more")

    def list_grid(self, kind: str) -> list[Hyperparameters]:
        """The points to choose from; CVRL's protocol has one."""
        if kind == "logistic":
            return [{"C": c} for c in self.cs]
        if kind == "cvrl":
            return [{"lr": CVRL_LR, "weight_decay": 0.0}]
        return build_grid(self.lrs, self.weight_decays)


def fit_linear_layers(
    protocol: LinearProtocol,
    kind: str,
    num_classes: int,
    train_NVD: np.ndarray,
    class_N: np.ndarray,
    grid: Sequence[Hyperparameters],
) -> tuple[ParallelLinear, FeatureScaler]:
    """Layers for all points of the grid, trained on every clip (N, V, D), and what is done to features before them."""
    train_BD = train_NVD.reshape(-1, train_NVD.shape[2])
    class_B = torch.from_numpy(class_N.repeat(train_NVD.shape[1]))
    scaler = fit_scaler(train_BD, kind == "cvrl" or protocol.normalize, standardize=kind != "cvrl")
    if kind == "logistic":
        return fit_logistic_layers(scaler(train_BD), class_B, num_classes, grid), scaler
    batches = SampleBatches(CVRL_BATCH if kind == "cvrl" else protocol.batch_size, protocol.seed)
    if kind == "cvrl":
        size = len(train_BD) / batches.count_batches(len(train_BD))
        grid = [{**point, "lr": point["lr"] * size / CVRL_BATCH} for point in grid]
    return train_parallel_linear(scaler(train_BD), class_B, num_classes, grid, protocol.epochs, batches), scaler


def build_linear_scorer(protocol: LinearProtocol, kind: str, num_classes: int) -> Scorer:
    """Trains on the training clips and classifies the others; nothing of the others reaches the layer."""

    def score(
        train_NVD: np.ndarray, class_N: np.ndarray, test_QVD: np.ndarray, grid: Sequence[Hyperparameters]
    ) -> np.ndarray:
        layers, scaler = fit_linear_layers(protocol, kind, num_classes, train_NVD, class_N, grid)
        return average_linear_softmax(layers, scaler, test_QVD)

    return score


def evaluate_linear(train: VideoFeatures, test: VideoFeatures, protocol: LinearProtocol | None = None) -> Result:
    """Top-1, top-5 and mean accuracy per class of a linear probe on each view, on all views joined, and on baselines.

    Raises InputError for fewer than two classes, and for missing features of the layer.
    """
    protocol = protocol or LinearProtocol()
    rows, num_classes = find_layer_rows(train, test, protocol.layer), len(set(train.labels))
    shapes = {name: get_clip_vectors(train, key, columns).shape for name, (key, columns) in rows.items()}
    kind = protocol.kind if protocol.kind != "auto" else choose_kind(list(shapes.values()))
    if is_own_code(kind):
        return evaluate_own_probe(train, test, protocol, rows)
    if kind == "cvrl":
        protocol = replace(protocol, batch_size=CVRL_BATCH, normalize=True, lrs=(CVRL_LR,), weight_decays=(0.0,))
    scaling = ["L2-normalised"] * protocol.normalize + ["standardised by the training clips"] * (kind != "cvrl")
    search = GridSearch(
        kind="linear",
        title="Linear probe, accuracy in percent",
        description=f"{KIND_DESCRIPTIONS[kind]} on frozen features of layer {protocol.layer}, {' and '.join(scaling)}",
        score_grid=build_linear_scorer(protocol, kind, num_classes),
        grid=protocol.list_grid(kind),
        validation_share=protocol.validation_share,
        seed=protocol.seed,
    )
    result = run_grid_search(train, test, rows, search)
    result.protocol |= {
        **protocol_to_json(protocol),
        "kind": kind,
        "numbers": {name: shape[2] for name, shape in shapes.items()},
    }
    return result


def evaluate_own_probe(
    train: VideoFeatures, test: VideoFeatures, protocol: LinearProtocol, rows: dict[str, tuple[FeatureKey, slice]]
) -> Result:
    """The same table with a probe of one's own, which chooses nothing on held-out videos. Raises OwnCodeError."""
    name, source_hash = name_own_probe(protocol.kind)
    search = GridSearch(
        kind="probe",
        title=f"Probe {name}, accuracy in percent",
        description=f"{name} on frozen features of layer {protocol.layer}",
        score_grid=build_own_scorer(name, len(set(train.labels))),
        grid=[{}],
        validation_share=protocol.validation_share,
        seed=protocol.seed,
    )
    result = run_grid_search(train, test, rows, search)
    result.protocol |= {"layer": protocol.layer, "code": name, "code_hash": source_hash}
    return result


def choose_kind(shapes: Sequence[tuple[int, ...]]) -> str:
    """One kind for all rows of a table, and for all encoders on the same clips, so that they can be compared."""
    clips = max(videos * views for videos, views, _ in shapes)
    return "logistic" if clips <= MAX_LOGISTIC_CLIPS else "sgd"


def _build(options: LinearOptions, extraction: ExtractionOptions) -> dict[str, Evaluation]:
    names = ("epochs", "lr", "batch_size", "drops", "warmup_epochs")
    changed = [name for name in names if getattr(options, name) is not None]
    if changed := changed + ["batch_norm"] * options.batch_norm:
        flag = f"--{changed[0].replace('_', '-')}"
        raise InputError(f"{flag} changes a recipe; add --recipe cvrl or dualvar, or leave it out: others are chosen")
    kind = expand_name(options.kind, "probe", PROBES) if isinstance(options.kind, str) else options.kind
    if not isinstance(kind, str) or is_own_code(kind):
        kind = name_own_probe(kind)[0]
    protocol = LinearProtocol(kind=kind, seed=options.seed)

    def run(train: VideoFeatures, test: VideoFeatures, encoder: Encoder) -> Result:
        return evaluate_linear(train, test, protocol)

    return {"probe" if is_own_code(kind) else "linear": Evaluation(run, (protocol.layer,), "networks")}


PROTOCOL = FeatureProtocol(
    name="linear",
    order=3,
    summary="a linear classifier on frozen features",
    options=LinearOptions,
    build=_build,
    in_suite=(LinearOptions(),),
)
