"""What splits are called, and which examples are held out for those that a source does not have.

Always the same ones are, in proportion from every class.
"""

import re
from typing import Literal

import numpy as np

Split = Literal["train", "validation", "test"]
# What people call them, for all sources whose splits have names.
_CALLED: dict[str, Split] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}

# What such a word has beside it in names of folders, as training_set.
_OF_A_SPLIT = {"set", "data", "dataset", "images", "split"}
_ENDS_OF_WORDS = re.compile(f"({'|'.join(sorted(_OF_A_SPLIT, key=len, reverse=True))})$")
# Fixed, and not the spec's seed: two runs that differ in their seed are compared on one test set.
_SPLIT_SEED = 20181104


def split_called(word: str) -> Split | None:
    """The split that a word stands for, in any case of letters; None where it is no such word."""
    return _CALLED.get(word.lower())


def split_of_folder(name: str) -> Split | None:
    """The split that a folder is by its name, as test or test_set; None where it is none."""
    words = re.split("[ _-]", name.lower())
    splits = [word for word in words if word in _CALLED]
    is_one = len(splits) == 1 and {*words} - {*splits} <= _OF_A_SPLIT
    return _CALLED[splits[0]] if is_one else None


def looks_like_a_split(name: str) -> bool:
    """Whether a folder's name begins or ends with such a word, as train2017, my-test and testset do."""
    words = re.findall("[a-z]+", name.lower())
    return any(_ENDS_OF_WORDS.sub("", word) in _CALLED for word in words[:1] + words[-1:])


def hold_out_by_keys(
    keys: np.ndarray, labels: np.ndarray | int, fraction: float
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses the examples to hold out, each by its own key, but for the last ones of a class.

    Args:
        keys: `[N]` numbers from 0 to 1 that follow from the examples alone.
        labels: As of `hold_out`.
        fraction: Part to hold out, about; one example at least is, and one is not. In place of the last
            example of a class another one is.

    Returns:
        As `hold_out`.
    """
    held = keys < fraction
    if len(keys) > 1:
        held[keys.argmin()], held[keys.argmax()] = True, False
    _leave_one_of_each(held, _strata(labels), np.argsort(keys, kind="stable"))
    return np.flatnonzero(~held), np.flatnonzero(held)


def hold_out(labels: np.ndarray | int, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Chooses the examples to hold out.

    Args:
        labels: `[N]` class labels, to take the same part of each class, and never all of one, as long
            as others have more; or just N.
        fraction: Part to hold out; at least one example is.

    Returns:
        Ascending indices of those kept and of those held out; together each index once.
    """
    strata = _strata(labels)
    count = len(strata)
    shuffled = np.random.default_rng(_SPLIT_SEED).permutation(count)
    by_class = shuffled[np.argsort(strata[shuffled], kind="stable")]
    wanted = min(count, max(1, round(fraction * count)))
    # Evenly spaced places in an order sorted by class hit each class in proportion.
    places = ((np.arange(wanted) + 0.5) * count / wanted).astype(np.int64)
    held = np.zeros(count, bool)
    held[by_class[places]] = True
    _leave_one_of_each(held, strata, shuffled)
    return np.flatnonzero(~held), np.flatnonzero(held)


def _strata(labels: np.ndarray | int) -> np.ndarray:
    return np.zeros(labels, np.int32) if isinstance(labels, int) else labels


def _leave_one_of_each(held: np.ndarray, strata: np.ndarray, order: np.ndarray) -> None:
    """Holds out others in place of examples that are the last of their class, while there are such.

    Args:
        held: `[N]`, whether each is held out; is changed.
        strata: `[N]`, their classes.
        order: All examples, those first that are rather held out.
    """
    left = order[~held[order]]
    spare = left[~np.isin(left, _last_of_each(left, strata))]
    lost = _last_of_each(order[~np.isin(strata[order], strata[left])], strata)
    # As many are held out as before. Where labels are numbers that hardly come twice, some are lost.
    count = min(len(lost), len(spare))
    held[lost[:count]], held[spare[:count]] = False, True


def _last_of_each(rows: np.ndarray, strata: np.ndarray) -> np.ndarray:
    """The last row of each class."""
    backwards = rows[::-1]
    return backwards[np.unique(strata[backwards], return_index=True)[1]]
