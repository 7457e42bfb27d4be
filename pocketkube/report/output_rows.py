"""What is said of two models' outputs, output by output, as rows of a table."""

from collections.abc import Sequence

from pocketkube.deploy.two_models import OutputDifference
from pocketkube.measures import HeadScore, wording_of
from pocketkube.measures.wording import percent, score_change
from pocketkube.report.summary import capitalized


def score_rows(
    names: Sequence[str], before: Sequence[HeadScore], after: Sequence[HeadScore]
) -> list[tuple[str, str, str, str]]:
    """The score of each output, of both models, and how they compare.

    Args:
        names: What each output that is scored is called.
        before: Their scores of the first model.
        after: Those of the second, in the same order.
    """
    rows = []
    for name, was, now in zip(names, before, after, strict=True):
        wording = wording_of(was.score_name)
        rows.append(
            (
                capitalized(wording.name) + _of(name, names),
                wording.shown(was.score),
                wording.shown(now.score),
                score_change(wording, was.score, now.score),
            )
        )
    return rows


def difference_rows(outputs: Sequence[OutputDifference]) -> list[list[tuple[str, str]]]:
    """How far each output of two models differs: first what tells most, classes or values."""
    names = [output.name for output in outputs]
    found = []
    for output in outputs:
        of = _of(output.name, names)
        rows = [
            (f"Relative error (RMS){of}", percent(output.relative_error)),
            (f"Largest difference{of}", f"{output.largest_difference:.3g}"),
        ]
        if output.same_class is not None:
            rows.insert(0, (f"Same class{of}", percent(output.same_class)))
        found.append(rows)
    return found


def _of(name: str, names: Sequence[str]) -> str:
    return f", {name}" if len(names) > 1 else ""
