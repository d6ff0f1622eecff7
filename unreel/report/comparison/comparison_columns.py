"""The main figures of an evaluation, one for each column of a comparison."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from unreel.evaluation.result import Result
from unreel.evaluation.video_features import ENCODER
from unreel.report.main_figures import (
    Figure,
    find_main_column,
    find_main_row,
    get_figure,
    get_main_figure,
    get_reliance,
)
from unreel.report.results_file import EvaluationSummary

FigureGetter = Callable[[Result, str], Figure | None]


@dataclass(frozen=True)
class ComparisonColumn:
    """A main figure: its title, the result it comes from, and how it is read."""

    title: str
    kind: str
    get_row_figure: FigureGetter = get_main_figure
    protocol: str = ""

    def get_figure(self, summary: EvaluationSummary, row: str | None) -> Figure | None:
        """The figure of a row, by default of the encoder, all its views joined."""
        result, name = self.find_row(summary, row)
        if result is not None and row is None and self.kind == "motion":
            return _get_reliance_figure(result)
        return self.get_row_figure(result, name) if result is not None and name else None

    def find_row(self, summary: EvaluationSummary, row: str | None) -> tuple[Result | None, str | None]:
        """The result that has this figure, and the name of its row, by default that of the encoder."""
        for result in summary.results.values():
            if result.kind == self.kind and self.protocol in ("", result.protocol.get("protocol")):
                return result, find_main_row(result, summary.encoder_rows) if row is None else row
        return None, None

    def get_outcomes(self, summary: EvaluationSummary, row: str | None) -> tuple[Result, np.ndarray] | None:
        """The result, and the values (Q,) of single test videos whose mean is the figure; None where none are kept."""
        result, name = self.find_row(summary, row)
        if result is None or not name:
            return None
        column = self.title.partition(",")[0] if self.kind == "retrieval" else find_main_column(result, name)
        outcomes_Q = result.get_outcomes(name, column or "")
        return None if outcomes_Q is None else (result, outcomes_Q)


def _build_getter(column: str) -> FigureGetter:
    return lambda result, row: get_figure(result, row, column)


def _get_reliance_figure(result: Result, source: str = ENCODER) -> Figure | None:
    share = get_reliance(result, source)
    return None if share is None or share["share"] is None else Figure(share["share"], share["low"], share["high"])


COMPARISON_COLUMNS = (
    ComparisonColumn("R@1", "retrieval", protocol="unreel"),
    ComparisonColumn("mAP", "retrieval", _build_getter("mAP"), "unreel"),
    ComparisonColumn("R@1, IIC", "retrieval", protocol="iic"),
    ComparisonColumn("R@1, DualVar", "retrieval", protocol="dualvar"),
    ComparisonColumn("mAP, IIC", "retrieval", _build_getter("mAP"), "iic"),
    ComparisonColumn("kNN", "knn"),
    ComparisonColumn("linear", "linear"),
    ComparisonColumn("1 label", "few-labels", _build_getter("1 per class")),
    ComparisonColumn("5 labels", "few-labels", _build_getter("5 per class")),
    ComparisonColumn("10 labels", "few-labels", _build_getter("10 per class")),
    ComparisonColumn("attentive", "attentive"),
    ComparisonColumn("fine-tuned", "finetune"),
    ComparisonColumn("boxes, mAP", "detection"),
    ComparisonColumn("motion", "motion", _get_reliance_figure),
)


def list_columns(summaries: Iterable[EvaluationSummary]) -> list[ComparisonColumn]:
    """The columns that evaluations may have: those of unreel, and one for each kind of protocol of one's own."""
    known = {column.kind for column in COMPARISON_COLUMNS}
    kinds = dict.fromkeys(result.kind for summary in summaries for result in summary.results.values())
    return [*COMPARISON_COLUMNS, *(ComparisonColumn(kind, kind) for kind in kinds if kind not in known)]


COLUMNS_NOTE = (
    "kNN: top-1 with the k chosen on training videos; linear: top-1 of a linear probe; labels: top-1 with so many "
    "labels of each class; motion: share of R@1 above chance that is lost in frozen clips, none where R@1 is not "
    "above chance. All in percent."
)
