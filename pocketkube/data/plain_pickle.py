"""Decodes the pickles that CIFAR's python files are, without pickle and without NumPy's own state.

Only what such a file needs is understood: plain values, lists, tuples, dicts, and arrays of whole
numbers, which are checked before they are made.
"""

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pocketkube.bounded.limits import Unreadable, plain_reasons

# A batch of 50,000 examples with their file names takes a quarter of a million.
_MOST_STEPS = 1 << 20
_MARK = object()


def decode(content: bytes) -> dict[str, Any]:
    """The dict that a pickle stands for.

    Args:
        content: The pickle, of any protocol; arrays of protocols up to 4.

    Returns:
        Its values, of which text is as it was written, str or bytes.

    Raises:
        Unreadable: If it is damaged or no dict, asks for anything but arrays, or holds arrays of other
            numbers.
    """
    machine = _Machine(left=len(content))
    with plain_reasons():
        for step, (code, argument, _) in enumerate(pickletools.genops(content)):
            if step == _MOST_STEPS:
                raise Unreadable(f"it takes more than {_MOST_STEPS} steps to read")
            if code.name == "STOP":
                break
            if code.name in _VALUES:
                machine.put(argument)
            elif code.name in _STEPS:
                _STEPS[code.name](machine, argument)
            else:
                raise Unreadable(f"it has {code.name}, which plain values and arrays do not need")
        return {
            key.decode("latin-1") if isinstance(key, bytes) else str(key): (
                value.made(machine.encoded) if isinstance(value, _Array) else value
            )
            for key, value in machine.top(dict).items()
        }


@dataclass
class _Array:
    """An array that is being read: nothing of NumPy's is made before all of it is checked."""

    state: Any = None

    def made(self, encoded: Callable[[str], bytes]) -> np.ndarray:
        """The array.

        Args:
            encoded: Makes bytes of text.

        Raises:
            Unreadable: If what the file says of it is not that of whole numbers.
        """
        if not (isinstance(self.state, tuple) and len(self.state) == 5):
            raise Unreadable("an array has no content")
        _, shape, kind, by_columns, content = self.state
        if isinstance(content, str):
            content = encoded(content)
            # Others that hold it, too, have it from here.
            self.state = (*self.state[:4], content)
        if not isinstance(kind, _Kind) or not isinstance(content, bytes):
            raise Unreadable("an array must be of whole numbers")
        if not isinstance(shape, tuple) or not all(type(each) is int and each >= 0 for each in shape):
            raise Unreadable("an array has a shape that is none")
        dtype = kind.made()
        if math.prod(shape) * dtype.itemsize != len(content):
            raise Unreadable(f"an array of shape {shape} has {len(content)} bytes")
        return np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C")


@dataclass
class _Kind:
    """An array's type of numbers that is being read."""

    name: Any
    order: Any = "|"

    def made(self) -> np.dtype:
        """The type.

        Raises:
            Unreadable: If it is not one of whole numbers.
        """
        if self.name not in _WHOLE or self.order not in ("|", "<", ">", "="):
            raise Unreadable(f"an array must be of whole numbers. Received: {str(self.name)[:20]!r}")
        return np.dtype(self.name).newbyteorder(self.order)


@dataclass(frozen=True)
class _Named:
    """What a pickle calls by its name."""

    name: str


@dataclass
class _Machine:
    """The values on top of each other that the steps of a pickle work on, and those by number.

    Attributes:
        left: How many bytes may yet be made of text.
        stack: The values.
        memo: Those by number.
    """

    left: int
    stack: list[Any] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def top(self, kind: type) -> Any:
        """The value on top, which has to be of a kind."""
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise Unreadable(f"a {kind.__name__} is missing")
        return self.stack[-1]

    def since_mark(self) -> list[Any]:
        """Takes all values down to the last mark."""
        place = len(self.stack) - 1
        while place >= 0 and self.stack[place] is not _MARK:
            place -= 1
        if place < 0:
            raise Unreadable("a mark is missing")
        found = self.stack[place + 1 :]
        del self.stack[place:]
        return found

    def taken(self, count: int) -> list[Any]:
        """Takes so many values."""
        if len(self.stack) < count:
            raise Unreadable("values are missing")
        found = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return found

    def encoded(self, text: str) -> bytes:
        """The bytes that are written as text; all of them are no more than what is read."""
        self.left -= len(text)
        if self.left < 0:
            raise Unreadable("its arrays are of more bytes than it has")
        return text.encode("latin-1")

    def put(self, value: Any) -> None:
        """Lays a value on top."""
        self.stack.append(value)

    def append(self, values: list[Any]) -> None:
        """Adds values to the list on top."""
        self.top(list).extend(values)

    def collect(self) -> None:
        """Lays a dict of all keys and values down to the last mark on top."""
        values = self.since_mark()
        self.put({})
        self.set(values)

    def set(self, values: list[Any]) -> None:
        """Adds keys and values by turns to the dict on top."""
        found = self.top(dict)
        if len(values) % 2 or not all(type(key) in (str, bytes, int) for key in values[::2]):
            raise Unreadable("a dict has keys that are no text")
        found.update(zip(values[::2], values[1::2], strict=True))

    def name(self, module: Any, name: Any) -> None:
        """Lays what is called so on top: only what arrays need."""
        if (module, name) not in _NAMES:
            raise Unreadable(f"it asks for {str(module)[:60]}.{str(name)[:60]}; only arrays are loaded")
        self.put(_Named(name))

    def call(self) -> None:
        """Lays what a call gives on top, of which there are three."""
        called, arguments = self.taken(2)
        match called, arguments:
            case _Named("_reconstruct"), (_Named("ndarray"), *_):
                self.put(_Array())
            case _Named("dtype"), (str() | bytes() as name, *_):
                self.put(_Kind(name.decode("latin-1") if isinstance(name, bytes) else name))
            # How protocol 2 writes bytes.
            case _Named("encode"), (str() as text, "latin1" | "latin-1"):
                self.put(self.encoded(text))
            case _:
                raise Unreadable("it calls what makes no array")

    def build(self) -> None:
        """Gives what is on top below it its state."""
        built, state = self.taken(2)
        if isinstance(built, _Array):
            built.state = state
        elif isinstance(built, _Kind) and isinstance(state, tuple) and len(state) > 1:
            built.order = state[1]
        else:
            raise Unreadable("something has a state that is no array")
        self.put(built)

    def remember(self, number: int) -> None:
        """Remembers the value on top."""
        self.memo[number] = self.top(object)

    def recall(self, number: int) -> None:
        """Lays a value on top that was remembered."""
        if number not in self.memo:
            raise Unreadable(f"it remembers no value {number}")
        self.put(self.memo[number])


_WHOLE = {f"{letter}{size}" for letter in "ui" for size in (1, 2, 4, 8)}
_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
# Their argument is the value.
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_Step = Callable[[_Machine, Any], Any]
_STEPS: dict[str, _Step] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "NONE": lambda machine, _: machine.put(None),
    "NEWTRUE": lambda machine, _: machine.put(True),
    "NEWFALSE": lambda machine, _: machine.put(False),
    "MARK": lambda machine, _: machine.put(_MARK),
    "POP": lambda machine, _: machine.taken(1),
    "POP_MARK": lambda machine, _: machine.since_mark(),
    "EMPTY_LIST": lambda machine, _: machine.put([]),
    "EMPTY_DICT": lambda machine, _: machine.put({}),
    "EMPTY_TUPLE": lambda machine, _: machine.put(()),
    "LIST": lambda machine, _: machine.put(machine.since_mark()),
    "TUPLE": lambda machine, _: machine.put(tuple(machine.since_mark())),
    "TUPLE1": lambda machine, _: machine.put(tuple(machine.taken(1))),
    "TUPLE2": lambda machine, _: machine.put(tuple(machine.taken(2))),
    "TUPLE3": lambda machine, _: machine.put(tuple(machine.taken(3))),
    "DICT": lambda machine, _: machine.collect(),
    "APPEND": lambda machine, _: machine.append(machine.taken(1)),
    "APPENDS": lambda machine, _: machine.append(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.set(machine.taken(2)),
    "SETITEMS": lambda machine, _: machine.set(machine.since_mark()),
    "GLOBAL": lambda machine, told: machine.name(*told.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.name(*machine.taken(2)),
    "REDUCE": lambda machine, _: machine.call(),
    "BUILD": lambda machine, _: machine.build(),
    "PUT": lambda machine, number: machine.remember(number),
    "BINPUT": lambda machine, number: machine.remember(number),
    "LONG_BINPUT": lambda machine, number: machine.remember(number),
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    "GET": lambda machine, number: machine.recall(number),
    "BINGET": lambda machine, number: machine.recall(number),
    "LONG_BINGET": lambda machine, number: machine.recall(number),
}
