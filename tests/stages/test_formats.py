"""What a user is told to do about a file that strays from its model."""

import pytest

from pocketkube.spec import parse_spec
from pocketkube.stages.formats import remedy

WEIGHTS_ALONE = {"quantize_weights": {"activation_bits": "float"}}


@pytest.mark.parametrize(
    ("stages", "wanted"),
    [
        (["quantize_int8"], "use quantize_float16 or quantize_dynamic"),
        (["quantize_float16"], "leave quantize_float16 out"),
        (["quantize_weights", "quantize_int8"], "lower min_agreement of quantize_int8"),
        (["quantize_weights"], "end the stages with quantize_int8"),
        ([WEIGHTS_ALONE], "set activation_bits to 8"),
        (["fine_tune"], "report it"),
    ],
)
def test_the_remedy_can_be_taken(stages: list, wanted: str) -> None:
    spec = parse_spec({"model": "lenet", "dataset": "digits", "stages": stages})
    settings = None if stages == ["fine_tune"] else spec.stages[-1]
    on_levels = "quantize_weights" in str(stages)
    assert wanted in remedy(settings, on_levels=on_levels)
    # What leaves the levels of quantize_weights is refused after it.
    if on_levels:
        assert "float16" not in remedy(settings, on_levels=True)
