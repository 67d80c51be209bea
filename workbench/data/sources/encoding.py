"""The encoding of a text file, told from all of its bytes."""

from __future__ import annotations

import codecs
import re
from typing import IO

CHUNK_BYTES = 1 << 20
# Python has them among its encodings, but no file is written in them.
_NO_TEXT = {"idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "mbcs", "oem"}
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# A text with at least this share of whole UTF-8 characters among those beyond ASCII is UTF-8 with
# some damaged lines: in a text of another encoding hardly any is whole.
_UTF8_SHARE = 0.9
_WRONG_BYTES = re.compile("[\udc80-\udcff]+")  # as surrogateescape writes them


def known_encoding(name: str) -> str:
    """Return Python's name of an encoding.

    Raises:
        ValueError: there is none of that name.
    """
    if not name:
        return ""
    try:
        found = codecs.lookup(name).name
        is_text = found not in _NO_TEXT and isinstance("".encode(found), bytes)
    except LookupError:
        is_text = False
    if not is_text:
        raise ValueError(f"{name!r} is no text encoding; for example utf-8 or cp1252")
    return found


def reason_of(error: UnicodeError) -> str:
    """Return why bytes are not text, and where if that is known; not every codec says it."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1}: {error.reason}"
    return str(error)


def detect_encoding(stream: IO[bytes]) -> str | None:
    """Return the encoding of a stream's text; None where it cannot be told from its bytes."""
    head = stream.read(CHUNK_BYTES)
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    if is_mostly_utf8(head, stream):
        return "utf-8"
    from resiliparse.parse.encoding import detect_encoding as guess_encoding

    guess = guess_encoding(head, max_len=0)
    return None if b"\0" in head or guess in (None, "utf-8") else str(guess)


def is_mostly_utf8(head: bytes, stream: IO[bytes]) -> bool:
    """Whether ``head`` and the rest of the stream are UTF-8 text, but for a few wrong bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    num_wrong = num_following = 0  # following: all bytes of a character but its first
    chunk = head
    while True:
        text = decoder.decode(chunk, final=not chunk)
        num_following += len(chunk) - len(text)
        if not text.isascii():
            num_wrong += sum(map(len, _WRONG_BYTES.findall(text)))
        if not chunk:
            return num_wrong <= (1 - _UTF8_SHARE) * (num_wrong + num_following)
        chunk = stream.read(CHUNK_BYTES)
