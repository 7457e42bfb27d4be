"""How many examples a fuzzing test tries."""

from hypothesis import settings

BUDGET = 25


def fuzzed(examples: int = BUDGET) -> settings:
    """Settings, to be put above `@given`, of a test that feeds its subject anything.

    Args:
        examples: How many examples the suite tries, the same ones in every run; with `--fuzz N` it is
            N others each time.
    """
    profile = settings.get_profile("fuzzing")
    return settings(profile, max_examples=examples) if profile.derandomize else profile
