import pytest

from pocketkube.kube.quantity import value_of


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
