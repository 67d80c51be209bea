"""Characters: what each code point is, looked up in one table, and hashes of runs of bytes."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from workbench.data.kernels.compiled import kernel, load_eight_bytes
from workbench.data.tokens import UNSPACED

Bytes = npt.NDArray[np.uint8]
Classes = npt.NDArray[np.uint16]

SPACE = 1  # str.isspace
LINE_BREAK = 2  # str.splitlines
ALPHABETIC = 4  # str.isalpha
LOWER = 8
UPPER = 16
DIGIT = 32  # str.isdecimal
COUNTED = 64  # makes a word one that is counted; signs and punctuation do not
TERMINAL = 128  # ends a sentence
CONTENT = 256  # is not of general category P: a sentence can start with it
PEELED_BEFORE = 512  # is a word of its own at the start of a word
PEELED_AFTER = 1024  # is a word of its own at the end of a word
ALONE = 2048  # is always a word of its own: scripts written without spaces, emoji
JOINT = 4096  # may part or end a word, depending on its neighbours
QUOTE = 8192
HYPHEN = 16384
CURRENCY = 32768

NUM_CODE_POINTS = 0x40000  # nothing with a class is assigned above

_LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_QUOTES = "'\"`´‘’‚“”„«»「」『』（）〔〕【】《》〈〉⟦⟧"
_HYPHENS = "-–—~"
_ENCLOSING = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
# Not counted, beside ASCII punctuation, control characters and ends of sentences.
UNCOUNTED = "«´»–—’“”„…∶━►、〈〉《》「」【】％（），１：；～"
# Sentence_Terminal of the Unicode Character Database, first and last code points.
TERMINALS = (
    (0x21, 0x21), (0x2E, 0x2E), (0x3F, 0x3F), (0x589, 0x589), (0x61D, 0x61F), (0x6D4, 0x6D4),
    (0x700, 0x702), (0x7F9, 0x7F9), (0x837, 0x837), (0x839, 0x839), (0x83D, 0x83E),
    (0x964, 0x965), (0x104A, 0x104B), (0x1362, 0x1362), (0x1367, 0x1368), (0x166E, 0x166E),
    (0x1735, 0x1736), (0x17D4, 0x17D6), (0x17D9, 0x17DA), (0x1803, 0x1803), (0x1809, 0x1809),
    (0x1944, 0x1945), (0x1AA8, 0x1AAB), (0x1B5A, 0x1B5B), (0x1B5E, 0x1B5F), (0x1B7D, 0x1B7E),
    (0x1C3B, 0x1C3C), (0x1C7E, 0x1C7F), (0x203C, 0x203D), (0x2047, 0x2049), (0x2E2E, 0x2E2E),
    (0x2E3C, 0x2E3C), (0x2E53, 0x2E54), (0x3002, 0x3002), (0xA4FF, 0xA4FF), (0xA60E, 0xA60F),
    (0xA6F3, 0xA6F3), (0xA6F7, 0xA6F7), (0xA876, 0xA877), (0xA8CE, 0xA8CF), (0xA92F, 0xA92F),
    (0xA9C8, 0xA9C9), (0xAA5D, 0xAA5F), (0xAAF0, 0xAAF1), (0xABEB, 0xABEB), (0xFE52, 0xFE52),
    (0xFE56, 0xFE57), (0xFF01, 0xFF01), (0xFF0E, 0xFF0E), (0xFF1F, 0xFF1F), (0xFF61, 0xFF61),
    (0x10A56, 0x10A57), (0x10F55, 0x10F59), (0x10F86, 0x10F89), (0x11047, 0x11048),
    (0x110BE, 0x110C1), (0x11141, 0x11143), (0x111C5, 0x111C6), (0x111CD, 0x111CD),
    (0x111DE, 0x111DF), (0x11238, 0x11239), (0x1123B, 0x1123C), (0x112A9, 0x112A9),
    (0x1144B, 0x1144C), (0x115C2, 0x115C3), (0x115C9, 0x115D7), (0x11641, 0x11642),
    (0x1173C, 0x1173E), (0x11944, 0x11944), (0x11946, 0x11946), (0x11A42, 0x11A43),
    (0x11A9B, 0x11A9C), (0x11C41, 0x11C42), (0x11EF7, 0x11EF8), (0x11F43, 0x11F44),
    (0x16A6E, 0x16A6F), (0x16AF5, 0x16AF5), (0x16B37, 0x16B38), (0x16B44, 0x16B44),
    (0x16E98, 0x16E98), (0x1BC9F, 0x1BC9F), (0x1DA88, 0x1DA88),
)  # fmt: skip


@cache
def character_classes() -> Classes:
    """Return the classes of each code point below ``NUM_CODE_POINTS``; uint16, read-only."""
    codes = range(NUM_CODE_POINTS)
    categories = np.array([unicodedata.category(chr(code)) for code in codes])
    classes = np.full(NUM_CODE_POINTS, COUNTED | CONTENT, np.uint16)
    kinds = categories.astype("U1")
    classes[np.isin(categories, ["Lu", "Ll", "Lt", "Lm", "Lo"])] |= ALPHABETIC
    classes[categories == "Ll"] |= LOWER
    classes[categories == "Lu"] |= UPPER
    classes[categories == "Nd"] |= DIGIT
    classes[categories == "Sc"] |= CURRENCY | PEELED_BEFORE | JOINT
    classes[kinds == "P"] ^= CONTENT
    classes[[code for code in codes if _is_uncounted(chr(code), categories[code])]] ^= COUNTED
    classes[[code for code in codes if chr(code).isspace()]] |= SPACE
    for first, last in TERMINALS:
        classes[first : last + 1] |= TERMINAL
        classes[first : last + 1] &= ~np.uint16(COUNTED)
    _mark(classes, _LINE_BREAKS, LINE_BREAK)
    _mark(classes, _QUOTES, QUOTE | PEELED_BEFORE | PEELED_AFTER)
    _mark(classes, _ENCLOSING, PEELED_BEFORE | PEELED_AFTER)
    _mark(classes, "§%=—–", PEELED_BEFORE)
    _mark(classes, "—–", PEELED_AFTER)
    _mark(classes, _HYPHENS, HYPHEN | JOINT)
    _mark(classes, ".,:<>=/+*^%", JOINT)
    classes[_unspaced() | (categories == "So")] |= ALONE | PEELED_BEFORE | PEELED_AFTER
    classes.flags.writeable = False
    return classes


def _is_uncounted(character: str, category: str) -> bool:
    is_ascii_sign = character.isascii() and not character.isalnum() and character != " "
    return category == "Cc" or is_ascii_sign or character in UNCOUNTED


def _mark(classes: Classes, characters: str, bits: int) -> None:
    for character in characters:
        classes[ord(character)] |= bits


def _unspaced() -> npt.NDArray[np.bool_]:
    """Return which code points belong to a script that is written without spaces."""
    surrogates = range(0xD800, 0xE000)
    texts = pa.array(
        ["" if code in surrogates else chr(code) for code in range(NUM_CODE_POINTS)], pa.string()
    )
    found: npt.NDArray[np.bool_] = pc.match_substring_regex(texts, f"[{UNSPACED}]").to_numpy(
        zero_copy_only=False
    )
    return found


@kernel
def class_at(text: Bytes, at: int, classes: Classes) -> tuple[int, int]:
    """Return the classes of the character that starts at a byte, and its width in bytes.

    A byte that starts no whole character is a character of its own, as are all unassigned ones.
    """
    unassigned = COUNTED | CONTENT
    first = np.int64(text[at])
    if first < 0x80:
        return int(classes[first]), 1
    width = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if first < 0xC0 or at + width > len(text):
        return unassigned, 1
    code = first & (0x7F >> width)
    for step in range(1, width):
        byte = np.int64(text[at + step])
        if byte & 0xC0 != 0x80:
            return unassigned, 1
        code = code << 6 | byte & 0x3F
    # A longer form than needed is no character: others count breaks by their last bytes.
    if code < (0x80 if width == 2 else 0x800 if width == 3 else 0x10000):
        return unassigned, 1
    return int(classes[code]) if code < NUM_CODE_POINTS else unassigned, width


@kernel
def step_back(text: Bytes, at: int, start: int) -> int:
    """Return where the character that ends before byte ``at`` starts, not before ``start``."""
    at -= 1
    while at > start and text[at] & 0xC0 == 0x80:
        at -= 1
    return at


@kernel
def skip_plain(text: Bytes, at: int) -> int:
    """Return the first byte from ``at`` on that is a control character or not ASCII.

    Eight bytes at a time: a byte below 0x20 borrows from its highest bit.
    """
    high = np.uint64(0x8080808080808080)
    while at + 8 <= len(text):
        eight = load_eight_bytes(text, at)
        if (eight | ((eight - np.uint64(0x2020202020202020)) & ~eight)) & high:
            break
        at += 8
    while at < len(text) and 0x20 <= text[at] < 0x80:
        at += 1
    return at


@kernel
def skip_spaces(text: Bytes, at: int, end: int, classes: Classes) -> int:
    """Return the first byte from ``at`` on that starts a visible character, or ``end``."""
    while at < end:
        kind, width = class_at(text, at, classes)
        if not kind & SPACE:
            return at
        at += width
    return end


@kernel
def trim_spaces(text: Bytes, start: int, end: int, classes: Classes) -> int:
    """Return where the visible characters before ``end`` end, not before ``start``."""
    while end > start:
        last = step_back(text, end, start)
        kind, _ = class_at(text, last, classes)
        if not kind & SPACE:
            return end
        end = last
    return start


@kernel
def count_characters(text: Bytes, start: int, end: int) -> int:
    """Return the number of characters in a run of bytes."""
    count = 0
    for at in range(start, end):
        count += (text[at] & 0xC0) != 0x80
    return count


@kernel
def spread(value: Any) -> Any:
    """Return a uint64 whose low bits depend on all bits (the finaliser of MurmurHash3)."""
    value = (value ^ (value >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    return value ^ (value >> np.uint64(33))


@kernel
def hash_bytes(text: Bytes, start: int, end: int) -> Any:
    """Return a hash of a run of bytes, uint64 and never 0; not the same on every machine."""
    value = np.uint64(end - start) * np.uint64(0x9E3779B97F4A7C15)
    while start + 8 <= end:
        value = spread(value ^ load_eight_bytes(text, start)) * np.uint64(0xC4CEB9FE1A85EC53)
        start += 8
    if start < end:
        value = spread(value ^ _load_rest(text, start, end))
    return value | np.uint64(1)


@kernel
def _load_rest(text: Bytes, start: int, end: int) -> Any:
    """Return the last one to seven bytes of a run as one uint64."""
    if start + 8 <= len(text):
        unwanted = np.uint64(8 * (8 - (end - start)))
        return load_eight_bytes(text, start) << unwanted
    value = np.uint64(0)
    for at in range(start, end):
        value = value >> np.uint64(8) | np.uint64(text[at]) << np.uint64(56)
    return value
