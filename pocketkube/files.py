"""Files and folders that are complete or absent: written aside, then renamed."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pocketkube.plain_errors import in_words


def place_of(text: str, base: Path) -> Path:
    """The place that a person's path names.

    Args:
        text: The path; ~ is the home folder, ~name another user's. Where there is no such user it is a
            name like any other.
        base: The folder that relative paths start from.
    """
    try:
        return base / Path(text).expanduser()
    except RuntimeError:
        return base / text


@contextmanager
def replaced_folder(target: Path) -> Iterator[Path]:
    """Yields an empty folder that takes `target`'s place when the block ends without an error.

    Args:
        target: The folder to create or replace.

    Raises:
        UserError: If the disk is full or the place cannot be written.
    """
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            yield aside
            # mkdtemp makes it private; what we write is for whoever runs the next stage.
            aside.chmod(0o755)
            _swap(aside, target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def replaced_file(target: Path) -> Iterator[Path]:
    """Yields a path to write to that takes `target`'s place when the block ends without an error.

    Args:
        target: The file to create or replace.

    Raises:
        UserError: If the disk is full or the place cannot be written.
    """
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # The suffix is kept: Keras and others choose the format by it.
        handle, name = tempfile.mkstemp(
            prefix=f".{target.stem}.", suffix=target.suffix, dir=target.parent
        )
        os.close(handle)
        aside = Path(name)
        try:
            yield aside
            aside.chmod(0o644)
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Writes `text` to `target` so that a reader sees the old file or the new, never a part."""
    with replaced_file(target) as aside:
        aside.write_text(text, encoding="utf-8")


def _swap(aside: Path, target: Path) -> None:
    """Puts `aside` in `target`'s place; the old folder is gone only once the new one stands."""
    if not target.exists():
        aside.replace(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.replace(old / "was")
    aside.replace(target)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if (meaning := in_words(error, target)) is not None:
            raise meaning from error
        raise
