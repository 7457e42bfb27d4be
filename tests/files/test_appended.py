"""Lines that are kept for the next process, whenever this one is killed."""

from pathlib import Path

import pytest

from pocketkube.files.appended import AppendedLines, WrittenByAnother


def test_lines_are_there_for_the_next_process(tmp_path: Path) -> None:
    with AppendedLines(tmp_path / "new" / "file") as lines:
        assert lines.lines == ()
        lines.append("one")
        lines.append("zwölf")
    assert AppendedLines(tmp_path / "new" / "file").lines == ("one", "zwölf")


def test_a_line_that_was_cut_short_is_none_and_the_next_one_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one\ntw")
    with AppendedLines(file) as lines:
        assert lines.lines == ("one",)
        assert file.read_text() == "one\ntw"
        lines.append("three")
    assert file.read_text() == "one\nthree\n"


def test_one_writes_at_a_time_and_all_may_read(tmp_path: Path) -> None:
    first, second = AppendedLines(tmp_path / "file"), AppendedLines(tmp_path / "file")
    first.append("one")
    assert AppendedLines(tmp_path / "file").lines == ("one",)
    with pytest.raises(WrittenByAnother):
        second.hold()
    first.close()
    # What it has read is no longer all that there is.
    with pytest.raises(WrittenByAnother):
        second.append("two")
    AppendedLines(tmp_path / "file").append("two")
    assert (tmp_path / "file").read_text() == "one\ntwo\n"
