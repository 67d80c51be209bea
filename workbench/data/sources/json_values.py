"""JSON read with bounds: no key twice, no depth without end, arrays element by element."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO, NamedTuple

_CHUNK_CHARACTERS = 1 << 18
_SPACE = " \t\r\n"


class BadJson(ValueError):
    """A text that is not JSON, or has one key twice: why, and at which line of it."""

    def __init__(self, reason: str, line: int, rule: str = "not_json") -> None:
        super().__init__(reason)
        self.reason, self.line, self.rule = reason, line, rule


class Element(NamedTuple):
    """One element of an array: its number from 1, value, and text."""

    number: int
    value: object
    text: str


class _Twice(ValueError):
    pass


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def parse(text: str) -> object:
    """Return what a JSON text says.

    Raises:
        BadJson: it is none, is nested too deeply, or an object in it has one key twice.
    """
    try:
        return _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise _as_bad(error, 1) from error


def _as_bad(error: Exception, first_line: int) -> BadJson:
    if isinstance(error, json.JSONDecodeError):
        reason = f"{error.msg} at column {error.colno}"
        return BadJson(f"not JSON: {reason}", first_line + error.lineno - 1)
    if isinstance(error, _Twice):
        return BadJson(f"an object with two values called {str(error)!r}", first_line,
                       "duplicated_column")  # fmt: skip
    if isinstance(error, RecursionError):
        return BadJson("not JSON: nested too deeply", first_line)
    return BadJson(f"not JSON: {error}", first_line)  # a number of more digits than Python reads


def array_elements(stream: IO[str], most_characters: int) -> Iterator[Element]:
    """Yield the elements of an array, holding about one at a time.

    Raises:
        BadJson: the text is no array, or an element is no JSON or longer than it may be.
    """
    window = _Window(stream)
    if window.next_sign() != "[":
        raise BadJson("not JSON: no array", window.line)
    window.skip(1)
    number, is_first = 0, True
    while (sign := window.next_sign()) != "]":
        if not is_first:
            if sign != ",":
                found = repr(sign) if sign else "the end"
                raise BadJson(f"not JSON: {found} where a comma is expected", window.line)
            window.skip(1)
        number, is_first = number + 1, False
        value, text = window.next_value(most_characters)
        yield Element(number, value, text)
    window.skip(1)
    if window.next_sign():
        raise BadJson("not JSON: more after its end", window.line)


class _Window:
    """The stretch of a text that is looked at."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._text = ""
        self._at = 0
        self._is_whole = False
        self.line = 1

    def next_sign(self) -> str:
        """Go to the next sign that is no space and return it; empty at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self.skip(1)
            if not self._read_more():
                return ""

    def skip(self, count: int) -> None:
        self.line += self._text.count("\n", self._at, self._at + count)
        self._at += count

    def next_value(self, most_characters: int) -> tuple[object, str]:
        """Return the value that begins here and its text."""
        self.next_sign()
        wanted = 0
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise _as_bad(error, self.line) from error
            except ValueError as error:
                # It may only be cut off here. Twice as much is read each time, so that a long
                # value costs no more than a few times its length.
                if len(self._text) - self._at > most_characters:
                    raise BadJson("longer than a record may be", self.line, "too_long") from error
                wanted = max(2 * wanted, _CHUNK_CHARACTERS)
                told = self._told(error)
                if isinstance(error, _Twice) or not self._read_more(wanted):
                    raise told from error
                continue
            if end < len(self._text) or not self._read_more():  # a number may go on
                text = self._text[self._at : end]
                self.skip(len(text))
                return value, text

    def _told(self, error: ValueError) -> BadJson:
        if isinstance(error, json.JSONDecodeError):
            line = self.line + self._text.count("\n", self._at, error.pos)
            return BadJson(f"not JSON: {error.msg}", line)
        return _as_bad(error, self.line)

    def _read_more(self, count: int = _CHUNK_CHARACTERS) -> bool:
        if self._is_whole:
            return False
        chunk = self._stream.read(count)
        self._is_whole = not chunk
        self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)


def at_path(value: object, path: str) -> object:
    """Return what stands at a path of names (``data.items``) in nested objects.

    Raises:
        KeyError: a name is not there; the KeyError's arguments are it and the names that are.
    """
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            raise KeyError(name, list(value) if isinstance(value, dict) else [])
        value = value[name]
    return value
