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
    position = -1 if stages == ["fine_tune"] else len(stages) - 1
    assert wanted in remedy(spec, position)
    # What leaves the levels of quantize_weights is refused after it.
    if "quantize_weights" in str(stages):
        assert "float16" not in remedy(spec, position)
