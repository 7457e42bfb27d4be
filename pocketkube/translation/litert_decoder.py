"""Decodes with a LiteRT file of two signatures; needs neither TensorFlow nor Keras."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from pocketkube.errors import UserError
from pocketkube.litert.running import refuse_other_files
from pocketkube.translation.names import DECODE, ENCODE, LOGITS, POSITION, SOURCE, TOKEN

_State = Mapping[str, np.ndarray]


class LiteRTDecoder:
    """A `Decoder` that computes one translation after the other.

    Args:
        source: The file, or its content.

    Raises:
        UserError: If it is no LiteRT file, or has other signatures or no cache.
    """

    def __init__(self, source: Path | bytes) -> None:
        name = source.name if isinstance(source, Path) else "the converted model"
        refuse_other_files(source, name)
        content = source.read_bytes() if isinstance(source, Path) else source
        self._interpreter = Interpreter(model_content=content)
        signatures = self._interpreter.get_signature_list()
        if not {ENCODE, DECODE} <= set(signatures):
            raise UserError(
                f"{name}: has no signatures {ENCODE} and {DECODE}, but "
                f"{', '.join(signatures) or 'none'}."
            )
        self._encode = self._interpreter.get_signature_runner(ENCODE)
        self._decode = self._interpreter.get_signature_runner(DECODE)
        given, encoded = self._decode.get_input_details(), self._encode.get_output_details()
        kept = self._decode.get_output_details().keys() - {LOGITS}
        self._known = sorted(encoded.keys() & given.keys())
        self._empty = {name: np.zeros(given[name]["shape"], given[name]["dtype"]) for name in kept}
        if not self._empty:
            # Nothing else in the file says how many tokens there is room for.
            raise UserError(
                f"{name}: has no cache of what has been written: its decoder does not look back."
            )
        self._length = int(next(iter(self._empty.values())).shape[1])
        self._states: list[tuple[_State, _State]] = []

    @property
    def length(self) -> int:
        """See `Decoder`."""
        return self._length

    def begin(self, sources: np.ndarray) -> None:
        """See `Decoder`."""
        self._states = []
        for source in sources.astype(np.int32):
            encoded = self._encode(**{SOURCE: source[None]})
            self._states.append(({name: encoded[name] for name in self._known}, self._empty))

    def next(self, tokens: np.ndarray, position: int) -> np.ndarray:
        """See `Decoder`."""
        logits, at = [], np.full((1, 1), position, np.int32)
        for row, (token, (known, cache)) in enumerate(zip(tokens, self._states, strict=True)):
            now = {TOKEN: np.full((1, 1), token, np.int32), POSITION: at}
            given = dict(self._decode(**now, **known, **cache))
            logits.append(given.pop(LOGITS)[0])
            self._states[row] = known, given
        return np.stack(logits)

    def reorder(self, rows: np.ndarray) -> None:
        """See `Decoder`."""
        self._states = [self._states[row] for row in rows]
