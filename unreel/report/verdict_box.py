"""The verdict at the top of a page: does the encoder beat what needs no training?"""

from typing import Any

from unreel.evaluation.verdict.decision import FloorComparison, Verdict

CSS_CLASSES = {"better": "above", "not shown": "open", "not better": "below"}


def build_verdict_box(verdict: Verdict) -> dict[str, Any]:
    """What macros.html shows of a verdict: its words, and every comparison in a table."""
    return {
        "level": CSS_CLASSES[verdict.level],
        "headline": verdict.headline,
        "explanation": verdict.explanation,
        "rows": [build_row(comparison) for comparison in verdict.comparisons],
        "note": verdict.same_video_sentence,
    }


def build_row(comparison: FloorComparison) -> dict[str, str]:
    """One comparison as the cells of a row."""
    return {
        "level": CSS_CLASSES[comparison.level],
        "test": comparison.test,
        "floor": comparison.floor,
        "own": f"{comparison.encoder_figure:.1f}",
        "other": f"{comparison.floor_figure:.1f}",
        "margin": f"{comparison.margin:+.1f}",
        "interval": f"{comparison.low:+.1f} to {comparison.high:+.1f}",
        "outcome": comparison.level,
    }
