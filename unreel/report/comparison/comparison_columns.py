"""The main figures of an evaluation, one for each column of a comparison."""

from collections.abc import Callable
from dataclasses import dataclass

from unreel.evaluation.result import Result
from unreel.evaluation.video_features import ENCODER
from unreel.report.main_figures import Figure, find_main_row, get_figure, get_main_figure, get_reliance
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
        for result in summary.results.values():
            if result.kind == self.kind and self.protocol in ("", result.protocol.get("protocol")):
                name = find_main_row(result, summary.encoder_rows) if row is None else row
                if row is None and self.kind == "motion":
                    return _get_reliance_figure(result)
                return self.get_row_figure(result, name) if name else None
        return None


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
COLUMNS_NOTE = (
    "kNN: top-1 with the k chosen on training videos; linear: top-1 of a linear probe; labels: top-1 with so many "
    "labels of each class; motion: share of R@1 above chance that is lost in frozen clips, none where R@1 is not "
    "above chance. All in percent."
)
