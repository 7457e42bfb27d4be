"""What `pocketkube deployed` prints of a registry."""

import json
from pathlib import Path

import pytest

from pocketkube.cli.main import main
from pocketkube.files.records import text_of
from pocketkube.retraining.pointer import RETRAINED
from pocketkube.retraining.registry import Registry
from pocketkube.storage import parse_location
from tests.retraining.data import write_settings
from tests.retraining.facts import version_facts


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Of a registry with two versions, the second deployed."""
    registry = Registry(parse_location(str(tmp_path / "registry")))
    for version, parent in (("a", None), ("b", "a")):
        made = tmp_path / "made" / version
        made.mkdir(parents=True)
        (made / "version.json").write_text(text_of(version_facts(version)))
        assert registry.add(version, made)
        assert registry.pointer.replace(version, RETRAINED, parent)
    return write_settings(tmp_path)


def test_programs_are_told_all_versions_and_which_is_deployed(
    settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["deployed", str(settings), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["deployed"] == "b"
    assert [each["version"] for each in found["versions"]] == ["a", "b"]
    assert found["versions"][0]["score"] == version_facts("a").score
    main(["deployed", str(settings), "--roll-back", "--json"])
    assert json.loads(capsys.readouterr().out)["deployed"] == "a"


def test_people_read_a_table_and_what_was_changed(
    settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["deployed", str(settings)])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert any("deployed" in row and "b" in row for row in rows)
    main(["deployed", str(settings), "--to", "a"])
    assert capsys.readouterr().out == "a is deployed\n"


def test_versions_are_listed_in_order_and_other_folders_are_none(
    tmp_path: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = Registry(parse_location(str(tmp_path / "registry")))
    for version in ("week-9", "week-10"):
        made = tmp_path / "made" / version
        made.mkdir()
        (made / "version.json").write_text(text_of(version_facts(version)))
        registry.add(version, made)
    (tmp_path / "registry" / "versions" / "lost+found").mkdir()
    main(["deployed", str(settings), "--json"])
    listed = [each["version"] for each in json.loads(capsys.readouterr().out)["versions"]]
    assert listed == ["a", "b", "week-9", "week-10"]


def test_where_a_model_registry_is_away_it_says_what_is_deployed(
    tmp_path: Path, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_settings(tmp_path, model_registry="http://127.0.0.1:1/away")
    with pytest.raises(SystemExit):
        main(["deployed", str(settings), "--roll-back"])
    said = capsys.readouterr().err
    assert "a is deployed, but the Model Registry does not know: model_registry: " in said
    assert "Tell it by --to a." in said


def test_a_version_is_read_whole_in_a_narrow_terminal(
    tmp_path: Path, settings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    registry = Registry(parse_location(str(tmp_path / "registry")))
    version = "20261102T031000-ab12cd34"
    made = tmp_path / "made" / version
    made.mkdir()
    (made / "version.json").write_text(text_of(version_facts(version)))
    assert registry.add(version, made)
    main(["deployed", str(settings), "--to", version])
    assert capsys.readouterr().out == f"{version} is deployed\n"
    main(["deployed", str(settings)])
    shown = capsys.readouterr().out
    assert f"deployed {version} " in " ".join(shown.split())
    assert "…" not in shown


def test_a_version_whose_name_is_empty_is_refused_like_any_that_is_not_there(
    settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of a shell's variable that is not set."""
    for name, told in (("", "of an empty name"), ("../..", "../..")):
        with pytest.raises(SystemExit):
            main(["deployed", str(settings), "--to", name])
        assert f"has no version {told}; there are a, b." in capsys.readouterr().err
