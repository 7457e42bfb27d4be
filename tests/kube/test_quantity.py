import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketkube.kube.quantity import canonical, value_of


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4", 4),
        ("500m", 0.5),
        ("0.5", 0.5),
        ("8Gi", 8 * 2**30),
        ("2k", 2000),
        ("1M", 10**6),
        (3, 3),
        ("100n", 1e-7),
    ],
)
def test_a_quantity_is_a_number(text: str | int, number: float) -> None:
    assert float(value_of(text)) == number


@pytest.mark.parametrize("text", ["", "Gi", "five", "4Qi"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        value_of(text)


@given(st.integers(0, 10**12), st.sampled_from(["", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"]))
def test_as_kubernetes_writes_it_it_is_the_same_number(number: int, unit: str) -> None:
    written = canonical(f"{number}{unit}")
    assert value_of(written) == value_of(f"{number}{unit}")
    assert canonical(written) == written


@pytest.mark.parametrize(
    # As `kubectl create --dry-run=server` gives them back.
    ("given", "written"),
    [("2048Mi", "2Gi"), ("1536Mi", "1536Mi"), ("1000M", "1G"), ("1024", "1024"), ("1000", "1k")],
)
def test_it_has_the_largest_unit_that_leaves_it_whole(given: str, written: str) -> None:
    assert canonical(given) == written
