"""What errors of the system and of libraries mean in a user's words: files, disks, memory."""

import errno
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

from pocketkube.errors import MachineError, OutOfMemory, UserError, first_line


def in_words(error: BaseException, target: Path | None = None) -> UserError | None:
    """What an error means for who called; None where it means a fault of this program or of a library.

    Args:
        error: What was raised.
        target: The file or folder that was being written meanwhile, if any.

    Returns:
        A `UserError`, which keeps its text; a `MachineError` where memory ran out, be it behind an
        error that says less, or where the disk is full or fails.
    """
    starved = next((each for each in _with_causes(error) if is_out_of_memory(each)), None)
    if isinstance(error, UserError):
        if starved is None or isinstance(error, MachineError):
            return error
        said = str(error)
        return OutOfMemory(said if OutOfMemory.WORDS in said else f"{OutOfMemory.WORDS}: {said}")
    if starved is not None:
        return starved if isinstance(starved, OutOfMemory) else out_of_memory(first_line(starved))
    if isinstance(error, RecursionError) and "decoding a JSON" in str(error):
        return UserError("JSON that was given is nested deeper than any that this program writes.")
    if isinstance(error, ValueError) and str(error).startswith("embedded null"):
        return UserError("A path holds the character \\0, which no file's name can have.")
    number = _number(error)
    return None if number is None else _of_number(number, target, error)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's, NumPy's, TensorFlow's, or one of C++."""
    if isinstance(error, MemoryError | OutOfMemory):
        return True
    if _number(error) is not None:
        return _number(error) == errno.ENOMEM
    if type(error).__name__ == "ResourceExhaustedError":
        return _is_of_tensorflow(error)
    if isinstance(error, RuntimeError | ImportError | OSError) or _is_of_tensorflow(error):
        return says_out_of_memory(str(error))
    return False


def says_out_of_memory(printed: str) -> bool:
    """Whether what a process printed says that memory ran out."""
    if _OUT_OF_MEMORY.search(printed):
        return True
    # Neither says why: a library may lie where nothing may be run, and threads may be counted.
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return limit != resource.RLIM_INFINITY and bool(_NO_ADDRESS_SPACE.search(printed))


def out_of_memory(detail: str = "") -> OutOfMemory:
    """That memory ran out, and what to do about it.

    Args:
        detail: What the library that asked for it says, if anything.
    """
    said = "" if detail in ("", "MemoryError", "std::bad_alloc") else f" ({detail.rstrip('.')})"
    return OutOfMemory(
        f"{OutOfMemory.WORDS}{said}: use a smaller network, batch or image size, or a machine with "
        "more memory."
    )


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was raised from; a loop among them ends it.

    Libraries raise another error while they handle one, and leave out that it is the cause. A lookup
    that fails there is a mistake of its own.
    """
    seen: set[int] = set()
    here: BaseException | None = error
    while here is not None and id(here) not in seen:
        seen.add(id(here))
        yield here
        stands_alone = here.__suppress_context__ or isinstance(here, (UserError, *_OWN_MISTAKES))
        here = here.__cause__ or (None if stands_alone else here.__context__)


def _is_of_tensorflow(error: BaseException) -> bool:
    return type(error).__module__.startswith("tensorflow")


def _number(error: BaseException) -> int | None:
    """The system's error number, from the text too: HDF5 and TensorFlow hand on no more."""
    if isinstance(error, UserError):
        return None
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if not isinstance(error, OSError) and not _is_of_tensorflow(error):
        return None
    text = str(error)
    found = re.search(r"\berrno = (\d+)", text)
    if found:
        return int(found[1])
    return next((number for number in (*_WORDS, *_LIMITS) if os.strerror(number) in text), None)


def _of_number(number: int, target: Path | None, error: BaseException) -> UserError | None:
    place = getattr(error, "filename", None)
    if target is not None and (place is None or _is_part(place, target)):
        if number == errno.EEXIST and place != target:
            # A folder above it was to be made where a file stands.
            number = errno.ENOTDIR
        place = target
    writing = "while writing" if place is None else f"while writing {_text(place)}"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return MachineError(
            f"No space left on the disk {writing}: free some, or give another place for the output."
        )
    if number == errno.EFBIG:
        return MachineError(
            f"A file became larger than it may be {writing}: raise the limit (ulimit -f), or give a "
            "place whose file system takes larger ones."
        )
    if number in (errno.EMFILE, errno.ENFILE):
        return MachineError("Too many files are open: raise the limit (ulimit -n).")
    if number == errno.EIO:
        return MachineError(f"{_text(place or 'A file')}: the disk, or what stands for one, fails.")
    if place is None or number not in _WORDS:
        return None
    if target is not None and place is not target:
        # Another path was touched meanwhile: nothing is wrong with what was asked to be written.
        return None
    what = f"Cannot write {place}" if place is target else _text(place)
    return UserError(f"{what}: {_WORDS[number]}.")


def _is_part(place: object, target: Path) -> bool:
    """Whether a path is touched where `target` is written, and not where something else is read."""
    where, parent = Path(_text(place)).absolute(), target.absolute().parent
    if where == target.absolute() or where == parent or where in parent.parents:
        return True
    # What is written aside is hidden until it is complete.
    return where.is_relative_to(parent) and where.relative_to(parent).parts[0].startswith(".")


def _text(place: object) -> str:
    return os.fsdecode(place) if isinstance(place, str | bytes | os.PathLike) else str(place)


# What a user has asked for wrongly.
_WORDS = {
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EROFS: "the file system is read-only",
    errno.ENOENT: "there is no such file or folder",
    errno.EEXIST: "there is a file or folder of that name already",
    errno.ENOTDIR: "a part of the path is a file and no folder",
    errno.EISDIR: "it is a folder and no file",
    errno.ENOTEMPTY: "it is a folder that is not empty",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its symbolic links go round in circles",
    errno.EINVAL: "the system takes no such name or value",
}
# What a machine has too little of.
_LIMITS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO)
_OUT_OF_MEMORY = re.compile(
    r"\bMemoryError\b|\bResourceExhaustedError\b|\bstd::bad_alloc\b|\bOOM when allocating\b"
    r"|failed to map segment from shared object: Cannot allocate memory"
)
_NO_ADDRESS_SPACE = re.compile(
    r"failed to map segment from shared object|\bpthread_create\(\) failed\b"
)
_OWN_MISTAKES = (LookupError, AttributeError, NameError, AssertionError)
