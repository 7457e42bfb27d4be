"""The figures of a run as a page of Markdown, for places that show no more than that."""

from collections.abc import Iterable, Sequence

from pocketkube.measures import wording_of
from pocketkube.report.result import Result
from pocketkube.report.summary import about_scores, measured_on, rows, target_words, uncounted


def markdown_of(result: Result) -> str:
    """What the report begins with: the figures before and after, targets, warnings, the machine.

    Args:
        result: The figures of the job.

    Returns:
        The page.
    """
    figures = [(row.name.strip(), row.before, row.after, row.change) for row in rows(result)]
    asked = _targets(result)
    notes = [*about_scores(result), *uncounted(result), *result.warnings]
    parts = [
        f"# {result.spec['model'].rsplit('/')[-1]}, compressed",
        markdown_table(("", "before", "after", "change"), figures),
        *([markdown_table(("target", "asked for", "reached", ""), asked)] if asked else []),
        *(["\n".join(f"- {markdown_text(note)}" for note in notes)] if notes else []),
        markdown_text(measured_on(result)),
    ]
    return "\n\n".join(parts) + "\n"


def _targets(result: Result) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for target in result.targets:
        words = target_words(target, wording_of(result.task.score_name))
        unsure = "" if words.verdict == "not certain" else ", not sure"
        verdict = f"{words.verdict}{unsure}: {words.doubt}" if words.doubt else words.verdict
        found.append((target.name, words.asked, words.reached, verdict))
    return found


def markdown_table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table whose first column names the rows; its cells are text."""
    kinds = ["---", *(["---:"] * (len(head) - 1))]
    return "\n".join(
        _row(cells) for cells in (head, kinds, *(map(markdown_text, line) for line in lines))
    )


def markdown_text(value: str) -> str:
    """Text in which nothing is taken for Markdown."""
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]<>#|" else sign for sign in value)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
