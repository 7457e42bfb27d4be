"""How people read a score: what it is called and how it is written."""

import math
from dataclasses import dataclass, replace

from pocketkube.figures import SAME, hundredths, ratio


@dataclass(frozen=True)
class Wording:
    """A score is the higher the better; where it is minus an error, people read the error.

    Attributes:
        score_name: What machines call the score.
        name: What people call what they read.
        short: The same in a few letters.
        is_error: Whether what is read is an error: the score with its sign turned.
        is_share: Whether it is a part of a whole or of a length, which is read in percent.
        is_joint: Whether the score of many examples is of all together, not the mean of theirs.
        is_agreement: Whether it is held against what the original model answers, for want of labels.
    """

    score_name: str
    name: str
    short: str
    is_error: bool
    is_share: bool
    is_joint: bool = False
    is_agreement: bool = False

    @property
    def name_of_mean(self) -> str:
        """What people call the mean over examples, each by itself."""
        return f"{self.name} of single examples" if self.is_joint else self.name

    def read(self, score: float) -> float:
        """What people read for a score: itself, or the error."""
        return -score if self.is_error else score

    def shown(self, score: float) -> str:
        """The same, written: 99.44 %, or 0.25."""
        read = self.read(score)
        return percent(read) if self.is_share else f"{read:.4g}"


def agreement_wording(wording: Wording) -> Wording:
    """How a score is read where labels are what the original model answers: never as being right."""
    score_name = f"{wording.score_name}_with_original"
    if wording.score_name == "accuracy":
        score_name, name, short = "agreement_with_original", "agreement with the original", "agreement"
    elif wording.is_error:
        name, short = f"{wording.name} to the original", f"{wording.short} to the original"
    else:
        name, short = f"agreement with the original, {wording.name}", f"agreement ({wording.short})"
    return replace(wording, score_name=score_name, name=name, short=short, is_agreement=True)


def share_wording(name: str) -> Wording:
    """How a share is read that is no score itself."""
    return Wording(name.replace(" ", "_"), name, name, False, True)


def percent(value: float) -> str:
    """A share: 99.44 %."""
    return f"{hundredths(value * 100)} %"


def score_change(wording: Wording, before: float, after: float) -> str:
    """How scores compare as they are read: in percentage points, -0.40 points, or as a ratio."""
    before, after = wording.read(before), wording.read(after)
    if wording.is_share:
        points = hundredths((after - before) * 100, sign="+")
        return SAME if float(points) == 0 else f"{points} points"
    if before == after:
        return SAME
    # What diverged may be no number, which nothing compares with.
    comparable = before > 0 and after > 0 and math.isfinite(before) and math.isfinite(after)
    return ratio(before, after) if comparable else ""
