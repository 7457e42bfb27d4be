"""A latency table that is measured again: from the beginning, or from where it was interrupted."""

from pathlib import Path

import keras
import pytest
from keras import layers

from pocketkube.deploy.convert import convert_litert
from pocketkube.errors import UserError
from pocketkube.latency_table import measuring
from pocketkube.latency_table.measuring import TimedNetwork, begin_anew, measure_table
from pocketkube.latency_table.table import read_table, write_table


@pytest.fixture(scope="module")
def network() -> TimedNetwork:
    given = keras.Input((4,))
    content = convert_litert(keras.Model(given, layers.Dense(2)(given)), "float32")
    return TimedNetwork("net", "float32", content)


def interrupted(file: Path) -> None:
    """Leaves what a measurement leaves that did not come to its end."""
    write_table(read_table(file).model_copy(update={"calls": {}}), file)


def test_warnings_of_what_was_measured_before_stay(
    network: TimedNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "table.json"
    for doubt in ("as of the first call", "as of the second", "as of the second"):
        monkeypatch.setattr(measuring, "doubts", lambda here, doubt=doubt: (doubt,))
        table = measure_table([network], file, rounds=2)
        interrupted(file)
    told = [warning for warning in table.warnings if warning.startswith("as of")]
    assert told == ["as of the first call", "as of the second"]


def test_a_complete_table_is_begun_anew_and_an_interrupted_one_gone_on_with(
    network: TimedNetwork, tmp_path: Path
) -> None:
    file = tmp_path / "table.json"
    begin_anew(file)
    measure_table([network], file, rounds=1)
    interrupted(file)
    begin_anew(file)
    assert read_table(file).kinds
    measure_table([network], file, rounds=1)
    begin_anew(file)
    assert not file.exists()
    file.write_text("a letter")
    with pytest.raises(UserError, match=r"table.json is no latency table"):
        begin_anew(file)
    assert file.read_text() == "a letter"
