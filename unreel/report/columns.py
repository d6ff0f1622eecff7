"""The main figures of an evaluation, one for each column of a comparison."""

from collections.abc import Callable
from dataclasses import dataclass

from unreel.evaluation.features import TRAINED
from unreel.evaluation.result import Result
from unreel.report.headline import Figure, figure, main_figure, main_row, reliance_of
from unreel.report.summary import Summary

Getter = Callable[[Result, str], Figure | None]


@dataclass(frozen=True)
class Column:
    """A main figure: its title, the result it comes from, and how it is read."""

    title: str
    kind: str
    read: Getter = main_figure
    paper: str = ""

    def of(self, summary: Summary, row: str | None) -> Figure | None:
        """The figure of a row, by default of the encoder, all its views joined."""
        for result in summary.results.values():
            if result.kind == self.kind and self.paper in ("", result.protocol.get("protocol")):
                name = main_row(result, summary.views) if row is None else row
                if row is None and self.kind == "motion":
                    return _reliance(result)
                return self.read(result, name) if name else None
        return None


def _at(column: str) -> Getter:
    return lambda result, row: figure(result, row, column)


def _reliance(result: Result, who: str = TRAINED) -> Figure | None:
    share = reliance_of(result, who)
    return None if share is None or share["share"] is None else Figure(share["share"], share["low"], share["high"])


COLUMNS = (
    Column("R@1, IIC", "retrieval", paper="iic"),
    Column("R@1, DualVar", "retrieval", paper="dualvar"),
    Column("mAP, IIC", "retrieval", _at("mAP"), "iic"),
    Column("kNN", "knn"),
    Column("linear", "linear"),
    Column("1 label", "few-labels", _at("1 per class")),
    Column("5 labels", "few-labels", _at("5 per class")),
    Column("10 labels", "few-labels", _at("10 per class")),
    Column("attentive", "attentive"),
    Column("fine-tuned", "finetune"),
    Column("boxes, mAP", "detection"),
    Column("motion", "motion", _reliance),
)
MEANINGS = (
    "kNN: top-1 with the k chosen on training videos; linear: top-1 of a linear probe; labels: top-1 with so many "
    "labels of each class; motion: share of R@1 above chance that is lost in frozen clips, none where R@1 is not "
    "above chance. All in percent."
)
