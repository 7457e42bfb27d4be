"""Shows samplers beside each other: how good the best of each grew, and how far seeds are apart."""

import numpy as np

from pocketkube.measures import Wording, wording_of
from pocketkube.report.best_so_far import Curve, curves_figure, curves_svg
from pocketkube.report.markdown import markdown_table
from pocketkube.report.markup import listed, page, section, table
from pocketkube.report.search import budget_words
from pocketkube.search.comparison import ComparisonFacts

# The table tells how good the best was after so many trials.
AFTER = (1, 3, 10, 30, 100, 300, 1000)


def comparison_page(found: ComparisonFacts) -> str:
    """The page.

    Args:
        found: What samplers reached.
    """
    wording = wording_of(found.score_name)
    title = "Samplers at equal trials and budget"
    curves = curves_figure("The mean of all seeds, and their range", _curves(found), wording)
    body = "".join(
        (
            f"<header><h1>{title}</h1></header>",
            listed(_sentences(found, wording)),
            section("The best so far", curves),
            section("In numbers", table(_head(found, wording), _rows(found, wording), stacks=True)),
        )
    )
    return page(title, body)


def comparison_svg(found: ComparisonFacts) -> str:
    """The curves as a file of their own."""
    return curves_svg(_curves(found), wording_of(found.score_name))


def comparison_markdown(found: ComparisonFacts) -> str:
    """The table as Markdown."""
    wording = wording_of(found.score_name)
    sentences = "\n".join(f"- {sentence}" for sentence in _sentences(found, wording))
    return f"{markdown_table(_head(found, wording), _rows(found, wording))}\n\n{sentences}\n"


def comparison_lines(found: ComparisonFacts) -> list[str]:
    """The table as lines of text."""
    wording = wording_of(found.score_name)
    rows = [_head(found, wording), *_rows(found, wording)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = ([cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows)
    return ["  ".join(cells).rstrip() for cells in padded]


def _sentences(found: ComparisonFacts, wording: Wording) -> list[str]:
    seeds = len({run.seed for run in found.runs})
    before = ""
    if found.whole_score is not None:
        before = f" Before, it is {wording.shown(found.whole_score)}."
    return [
        f"Each sampler had {found.trials} trials for {budget_words(found.cost, found.most)}, with "
        f"{seeds} seed{'' if seeds == 1 else 's'}; the score is on validation examples.{before}",
        f"{found.evaluated} different assignments were evaluated, "
        f"{found.seconds / max(found.evaluated, 1):.2f} s each.",
    ]


def _curves(found: ComparisonFacts) -> list[Curve]:
    wording = wording_of(found.score_name)
    curves = []
    for sampler in found.samplers:
        scores = found.scores(sampler)
        # From where on all seeds have one.
        first = int(np.isnan(scores).any(axis=0).sum())
        read = np.vectorize(wording.read)(scores[:, first:])
        curves.append(
            Curve(
                sampler,
                tuple(read.mean(axis=0).tolist()),
                tuple(read.min(axis=0).tolist()) if len(read) > 1 else (),
                tuple(read.max(axis=0).tolist()) if len(read) > 1 else (),
                first + 1,
            )
        )
    return curves


def _after(found: ComparisonFacts) -> list[int]:
    return sorted({count for count in AFTER if count < found.trials} | {found.trials})


def _head(found: ComparisonFacts, wording: Wording) -> tuple[str, ...]:
    counts = _after(found)
    return ("sampler", *(f"{count} trial{'' if count == 1 else 's'}" for count in counts))


def _rows(found: ComparisonFacts, wording: Wording) -> list[tuple[str, ...]]:
    """Of each sampler the mean over seeds after so many trials, and the lowest and highest."""
    rows = []
    for sampler in found.samplers:
        scores = found.scores(sampler)
        rows.append((sampler, *(_cell(scores[:, count - 1], wording) for count in _after(found))))
    return rows


def _cell(scores: np.ndarray, wording: Wording) -> str:
    if np.isnan(scores).any():
        return "–"
    cell = wording.shown(float(scores.mean()))
    if len(scores) > 1:
        cell += f" ({wording.shown(scores.min())} to {wording.shown(scores.max())})"
    return cell
