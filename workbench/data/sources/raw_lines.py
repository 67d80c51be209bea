"""Lines of bytes with their offsets, however long a line is; and what they say as text."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

_CHUNK_BYTES = 1 << 20
# As ASCII is no part of them, their lines cannot be told from bytes.
_WIDE = ("utf-16", "utf-32", "utf_16", "utf_32", "utf-7")


class RawLine(NamedTuple):
    """One line: where its bytes begin, how many they are, and the bytes, None if too many."""

    offset: int
    length: int
    raw: bytes | None


def raw_lines(
    stream: IO[bytes],
    most_bytes: int,
    start: int = 0,
    end: int | None = None,
    ending: bytes = b"\n",
) -> Iterator[RawLine]:
    """Yield the lines of a stream without their ``ending``, holding no more than ``most_bytes``.

    ``start`` is the offset at which the stream stands; no line that begins at ``end`` is read.
    """
    held: list[bytes] = []
    num_held, offset = 0, start
    while chunk := stream.read(_CHUNK_BYTES):
        *lines, last = chunk.split(ending)
        for line in lines:
            length = num_held + len(line)
            raw = (b"".join([*held, line]) if num_held else line) if length <= most_bytes else None
            held, num_held = [], 0
            yield RawLine(offset, length, raw)
            offset += length + len(ending)
            if end is not None and offset >= end:
                return
        if last:
            num_held += len(last)
            held = [*held, last] if num_held <= most_bytes else []
    if num_held:
        yield RawLine(offset, num_held, b"".join(held) if num_held <= most_bytes else None)


def line_spans(stream: IO[bytes], size: int, most_bytes: int) -> Iterator[tuple[int, int, int]]:
    """Yield stretches of about ``most_bytes`` that end after a line end: start, end, first row."""
    start, row = 0, 1
    while start < size:
        stream.seek(start)
        full = start + most_bytes
        num_lines, at, is_at_line_end = 0, start, False
        while not (at >= full and is_at_line_end) and at < size:
            is_full = at >= full
            chunk = stream.read(_CHUNK_BYTES if is_full else min(_CHUNK_BYTES, full - at))
            if is_full and b"\n" in chunk:
                chunk = chunk[: chunk.index(b"\n") + 1]
            at += len(chunk)
            num_lines += chunk.count(b"\n")
            is_at_line_end = chunk.endswith(b"\n")
        yield start, at, row
        start, row = at, row + num_lines


def is_wide(encoding: str) -> bool:
    """Whether text in this encoding must become UTF-8 before it can be cut into lines."""
    return encoding.lower().startswith(_WIDE)


def as_utf8(stream: IO[bytes], encoding: str) -> IO[bytes]:
    """Return a stream in a wide encoding as one in UTF-8; offsets then count those bytes."""
    return io.BufferedReader(_Recoded(stream, encoding), _CHUNK_BYTES)


class _Recoded(io.RawIOBase):
    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._rest = b""
        self._is_at_end = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest and not self._is_at_end:
            chunk = self._stream.read(_CHUNK_BYTES)
            self._is_at_end = not chunk
            # Half characters, which UTF-7 can hold, are told where the line is decoded.
            text = self._decoder.decode(chunk, final=not chunk)
            self._rest = text.encode("utf-8", "surrogatepass")
        piece, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def skip_to(stream: IO[bytes], offset: int) -> None:
    """Move a stream that stands at its beginning to an offset, reading where it cannot jump."""
    if stream.seekable():
        stream.seek(offset)
        return
    while offset > 0 and (chunk := stream.read(min(offset, _CHUNK_BYTES))):
        offset -= len(chunk)
