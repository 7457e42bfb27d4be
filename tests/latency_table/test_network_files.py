"""The networks that a table is measured on travel as a folder."""

from pathlib import Path

import pytest

from pocketkube.errors import UserError
from pocketkube.latency_table.measuring import TimedNetwork, drift_warnings
from pocketkube.latency_table.network_files import read_networks, write_networks

NETWORKS = [
    TimedNetwork("uncompressed", "float32", b"first"),
    TimedNetwork("global, 2x", "int8", b"second", fitted=False),
]


def test_what_is_written_is_read_back_equal(tmp_path: Path) -> None:
    write_networks(NETWORKS, tmp_path)
    assert read_networks(tmp_path) == NETWORKS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "networks.json").unlink(), r"There is no file .*networks\.json"),
        (lambda folder: (folder / "1.tflite").unlink(), r"names 1\.tflite, which is not beside it"),
        (lambda folder: (folder / "networks.json").write_text("{"), "damaged or cut short"),
        (
            lambda folder: (folder / "networks.json").write_text(
                (folder / "networks.json").read_text().replace("1.tflite", "../1.tflite")
            ),
            r"names \.\./1\.tflite, which is not beside it",
        ),
        (
            lambda folder: (folder / "networks.json").write_text(
                '{"schema_version": 1, "networks": []}'
            ),
            "names no network",
        ),
    ],
)
def test_a_damaged_folder_is_refused_in_one_line(tmp_path: Path, change, said: str) -> None:
    folder = tmp_path / "networks"
    folder.mkdir()
    (tmp_path / "1.tflite").write_bytes(b"elsewhere")
    write_networks(NETWORKS, folder)
    change(folder)
    with pytest.raises(UserError, match=said) as refused:
        read_networks(folder)
    assert "\n" not in str(refused.value)


def test_a_machine_that_slows_down_from_round_to_round_is_told() -> None:
    assert drift_warnings([1.0, 1.02, 0.98]) == ()
    (said,) = drift_warnings([1.0, 1.1, 1.4])
    assert "took 1.40x as long as in the first" in said
