"""What is decided stands in the report with the figures that it rests on."""

import html
import re

import pytest

from pocketkube.retraining.lineage import (
    DriftFacts,
    GateCriterion,
    GateFacts,
    Outcome,
    ScoreDrift,
    SignalDrift,
)
from pocketkube.retraining.report import html_of, markdown_of
from tests.retraining.facts import decision, version_facts

DRIFT = DriftFacts(
    score=ScoreDrift(
        before=0.95,
        before_examples=120,
        now=0.61,
        examples=431,
        probability=3e-9,
        bound=0.02,
        drifted=True,
    ),
    signals=(SignalDrift(name="mean of inputs", distance=0.912, probability=1e-30),),
    beyond_chance=True,
    bound=None,
    drifted=False,
)
GATE = GateFacts(
    opponent="v1",
    examples=120,
    criteria=(
        GateCriterion(name="chance", passed=True),
        GateCriterion(
            name="score",
            deployed=0.61,
            candidate=0.93,
            worse_by=-0.32,
            interval=(-0.38, -0.25),
            limit=0.02,
            passed=True,
        ),
        GateCriterion(
            name="size", deployed=19000, candidate=23000, worse_by=0.2105, limit=0.1, passed=False
        ),
    ),
    warnings=("The machine was busy.",),
)
DECISION = decision(
    "v2",
    deployed="v1",
    drift=DRIFT,
    score_name="accuracy",
    age_days=12.25,
    max_age_days=30.0,
    incomplete=("2026-11-09",),
)
OUTCOME = Outcome(result="refused", decision=DECISION, made=version_facts("v2", gate=GATE, parent="v1"))


def words(page: str) -> str:
    return html.unescape(re.sub("<[^>]+>", " ", page)).replace("\u00a0", " ")


@pytest.mark.parametrize("write", [lambda outcome: words(html_of(outcome)), markdown_of])
def test_figures_stand_there(write) -> None:
    text = write(OUTCOME)
    for figure in (
        *("61.00 %", "95.00 %", "3e-09", "0.912", "12.2 days old, of 30"),
        *("-0.3800 to -0.2500", "+21.1 %", "+10.0 %", "not passed", "The machine was busy."),
        *("2026-11-09 is newer, but not complete", "s3://data/digits/2026-11-01", "v1", "19 kB"),
    ):
        assert figure in text, figure


def test_text_from_elsewhere_is_escaped() -> None:
    name = "<script>alert(1)</script>"
    page = html_of(Outcome(result="kept", decision=decision(model=name, reasons=(name,))))
    assert "<script" not in page


def test_a_table_keeps_its_columns_in_markdown() -> None:
    for line in markdown_of(OUTCOME).splitlines():
        if line.startswith("| file"):
            assert line.count("|") == 8 or line.count("|") == 3
