"""Words: white space parts them, punctuation is peeled off, some characters part them inside.

The laws are those by which spaCy's English tokenizer mostly goes, without its lists of exceptions:
quality rules count what it yields, and their published thresholds are set for such counts. Each
character of a script that is written without spaces is one word, and so is each emoji.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from workbench.data.kernels.characters import (
    ALONE,
    ALPHABETIC,
    CURRENCY,
    DIGIT,
    HYPHEN,
    JOINT,
    LINE_BREAK,
    LOWER,
    PEELED_AFTER,
    PEELED_BEFORE,
    QUOTE,
    SPACE,
    UPPER,
    Bytes,
    Classes,
    character_classes,
    class_at,
    hash_bytes,
    step_back,
)
from workbench.data.kernels.compiled import allocator, kernel
from workbench.data.kernels.hash_sets import hash_set, is_in

_COMPOSITE = PEELED_BEFORE | PEELED_AFTER | ALONE | JOINT
_DOT, _COMMA, _SLASH, _PLUS, _PERCENT = 0x2E, 0x2C, 0x2F, 0x2B, 0x25
_APOSTROPHE, _HYPHEN, _UNDERSCORE = 0x27, 0x2D, 0x5F
_LONGEST_HYPHEN = 3  # characters: ---
_FEWEST_DOMAIN_LETTERS = 2
# They keep their full stop, which then ends no sentence.
ABBREVIATIONS = (
    "a.m.", "p.m.", "e.g.", "E.g.", "i.e.", "I.e.", "vs.", "v.s.", "co.", "Co.", "Corp.", "Inc.",
    "Ltd.", "Bros.", "Dr.", "Mr.", "Mrs.", "Ms.", "Messrs.", "Prof.", "Gen.", "Gov.", "Adm.",
    "Rep.", "Rev.", "Sen.", "St.", "Jr.", "Mt.", "Ph.D.", "Jan.", "Feb.", "Mar.", "Apr.", "Jun.",
    "Jul.", "Aug.", "Sep.", "Sept.", "Oct.", "Nov.", "Dec.", "Ala.", "Ariz.", "Ark.", "Calif.",
    "Colo.", "Conn.", "Del.", "Fla.", "Ga.", "Ia.", "Id.", "Ill.", "Ind.", "Kan.", "Kans.", "Ky.",
    "La.", "Mass.", "Md.", "Mich.", "Minn.", "Miss.", "Mo.", "Mont.", "Neb.", "Nebr.", "Nev.",
    "Okla.", "Ore.", "Pa.", "Penn.", "Tenn.", "Va.", "Wash.", "Wis.",
)  # fmt: skip


class Tables(NamedTuple):
    """What is looked up while texts are read."""

    classes: Any  # uint16 [NUM_CODE_POINTS]
    abbreviations: Any  # a hash set


class Words(NamedTuple):
    """Room for the words and line breaks of the longest text."""

    hashes: Any  # uint64 [words]
    lengths: Any  # int64 [words + 1]: characters in all words before this one
    kinds: Any  # uint16 [words]: classes of its characters, or-ed
    breaks: Any  # int64 [breaks]: bytes at which characters start that break lines
    pieces: Any  # int64 [words]: where the words of one composite end
    tails: Any  # int64 [words]: the same for what is peeled from its end, last first


class Counts(NamedTuple):
    """What a text has."""

    words: int
    breaks: int
    characters: int


def word_tables() -> Tables:
    """Return the tables that kernels look into."""
    return Tables(character_classes(), hash_set([word.encode() for word in ABBREVIATIONS]))


@allocator
def room_for_words(num_bytes: int) -> Words:
    """Return room for the words of texts of at most so many bytes."""
    return Words(
        np.empty(num_bytes, np.uint64),
        np.empty(num_bytes + 1, np.int64),
        np.empty(num_bytes, np.uint16),
        np.empty(num_bytes, np.int64),
        np.empty(num_bytes, np.int64),
        np.empty(num_bytes, np.int64),
    )


@kernel
def split_words(text: Bytes, tables: Tables, words: Words) -> Counts:
    """Find the words and line breaks of a text, in one pass; return how many there are."""
    classes = tables.classes
    num_words, num_breaks, num_characters, at = 0, 0, 0, 0
    words.lengths[0] = 0
    while at < len(text):
        start, length, kinds, kind, width = at, 0, 0, 0, 0
        while at < len(text):
            kind, width = class_at(text, at, classes)
            if kind & SPACE:
                break
            kinds |= kind
            length += 1
            at += width
        num_characters += length
        if kinds & _COMPOSITE:
            num_words = _add_composite(text, start, at, tables, words, num_words)
        elif length:
            num_words = _add(text, start, at, length, kinds, words, num_words)
        if at < len(text):
            if kind & LINE_BREAK:
                words.breaks[num_breaks] = at
                num_breaks += 1
            num_characters += 1
            at += width
    return Counts(num_words, num_breaks, num_characters)


@kernel
def _add(
    text: Bytes, start: int, end: int, length: int, kinds: int, words: Words, count: int
) -> int:
    words.hashes[count] = hash_bytes(text, start, end)
    words.lengths[count + 1] = words.lengths[count] + length
    words.kinds[count] = kinds
    return count + 1


@kernel
def _add_composite(
    text: Bytes, start: int, end: int, tables: Tables, words: Words, count: int
) -> int:
    num_pieces = split_composite(text, start, end, tables, words.pieces, words.tails)
    for piece in range(num_pieces):
        end = words.pieces[piece]
        at, length, kinds = start, 0, 0
        while at < end:
            kind, width = class_at(text, at, tables.classes)
            kinds |= kind
            length += 1
            at += width
        count = _add(text, start, end, length, kinds, words, count)
        start = end
    return count


@kernel
def split_composite(
    text: Bytes, start: int, end: int, tables: Tables, pieces: Any, tails: Any
) -> int:
    """Split what stands between two spaces; write where each word ends, return their number."""
    count, num_tails = 0, 0
    while start < end:
        stop = _peel_before(text, start, end, tables.classes)
        if stop == start:
            break
        pieces[count] = start = stop
        count += 1
    while end > start:
        stop = _peel_after(text, start, end, tables)
        if stop == end:
            break
        tails[num_tails] = end
        num_tails += 1
        end = stop
    if start < end:
        count = _split_inside(text, start, end, tables.classes, pieces, count)
    while num_tails:
        num_tails -= 1
        pieces[count] = tails[num_tails]
        count += 1
    return count


@kernel
def _peel_before(text: Bytes, start: int, end: int, classes: Classes) -> int:
    """Return where a word that is peeled off the start ends; ``start`` if there is none."""
    if text[start] == _DOT:
        return _skip_dots(text, start, end)
    kind, width = class_at(text, start, classes)
    return start + width if kind & PEELED_BEFORE else start


@kernel
def _skip_dots(text: Bytes, start: int, end: int) -> int:
    """Return the end of a run of two or more full stops, which is one word; else ``start``."""
    at = start
    while at < end and text[at] == _DOT:
        at += 1
    return at if at - start > 1 else start


@kernel
def _peel_after(text: Bytes, start: int, end: int, tables: Tables) -> int:
    """Return where a word that is peeled off the end starts; ``end`` if there is none."""
    classes = tables.classes
    last = step_back(text, end, start)
    kind, _ = class_at(text, last, classes)
    if kind & PEELED_AFTER:
        return last
    if kind & (ALPHABETIC | JOINT) == 0 or last == start:
        return end
    if text[last] == _DOT:
        return _peel_dots(text, start, end, tables)
    if kind & ALPHABETIC:
        return _peel_contraction(text, start, end, classes)
    if kind & CURRENCY or text[last] == _PERCENT or text[last] == _PLUS:
        before, _ = class_at(text, step_back(text, last, start), classes)
        return last if before & DIGIT else end
    return end


@kernel
def _peel_dots(text: Bytes, start: int, end: int, tables: Tables) -> int:
    """Peel two or more full stops, or one that is not part of an abbreviation: U.S., J., Mr."""
    last = end - 1
    while last > start and text[last - 1] == _DOT:
        last -= 1
    if last < end - 1:
        return last
    before_last = step_back(text, last, start)
    before, _ = class_at(text, before_last, tables.classes)
    if before & UPPER and before_last > start:
        kind, _ = class_at(text, step_back(text, before_last, start), tables.classes)
        return last if kind & UPPER else end
    sign = text[before_last]
    if before & (LOWER | DIGIT | PEELED_AFTER) or sign in (_PERCENT, _PLUS, _HYPHEN):
        return end if is_in(tables.abbreviations, hash_bytes(text, start, end)) else last
    return end


@kernel
def _peel_contraction(text: Bytes, start: int, end: int, classes: Classes) -> int:
    """Peel 's, 'm, 'd, 'll, 're, 've and n't off a word."""
    for letters in range(1, 3):
        after = end - letters  # where the apostrophe must end
        if after <= start:
            return end
        mark = step_back(text, after, start)
        kind, _ = class_at(text, mark, classes)
        if kind & QUOTE and mark > start and _is_apostrophe(text, mark, after):
            return _contraction_start(text, start, mark, end, letters)
    return end


@kernel
def _is_apostrophe(text: Bytes, mark: int, after: int) -> bool:
    """Whether the character is ' or ’ (E2 80 99)."""
    if text[mark] == _APOSTROPHE:
        return True
    return after - mark == 3 and text[mark + 1] == 0x80 and text[mark + 2] == 0x99


@kernel
def _contraction_start(text: Bytes, start: int, mark: int, end: int, letters: int) -> int:
    first, last = text[end - letters] | 0x20, text[end - 1] | 0x20
    if letters == 1:
        if last == ord("t") and mark - 1 > start and text[mark - 1] | 0x20 == ord("n"):
            return mark - 1
        return mark if last == ord("s") or last == ord("m") or last == ord("d") else end
    if first == ord("l") and last == ord("l"):
        return mark
    return mark if last == ord("e") and (first == ord("r") or first == ord("v")) else end


@kernel
def _split_inside(
    text: Bytes, start: int, end: int, classes: Classes, pieces: Any, count: int
) -> int:
    """Split the rest where a character parts its neighbours; web addresses stay whole.

    A neighbour counts as it stands in the text, also where it is a word of its own already.
    """
    begin = start
    at = end if _is_address(text, start, end, classes) else start
    while at < end:
        kind, width = class_at(text, at, classes)
        stop = at
        if kind & (JOINT | ALONE | PEELED_AFTER):
            stop = _joint_end(text, begin, at, end, classes)
        if stop > at:
            if at > start:
                pieces[count] = at
                count += 1
            pieces[count] = start = at = stop
            count += 1
        else:
            at += width
    if start < end:
        pieces[count] = end
        count += 1
    return count


@kernel
def _joint_end(text: Bytes, start: int, at: int, end: int, classes: Classes) -> int:
    """Return where the joint at a byte ends; ``at`` if what stands there parts nothing."""
    kind, width = class_at(text, at, classes)
    if kind & ALONE or (width == 3 and text[at] == 0xE2 and text[at + 2] == 0xA6):
        return at + width if kind & ALONE or text[at + 1] == 0x80 else at  # emoji, …
    if text[at] == _DOT and at + 1 < end and text[at + 1] == _DOT:
        return _skip_dots(text, at, end)
    if at == start or at + width == end:
        return at
    before, _ = class_at(text, step_back(text, at, start), classes)
    if kind & HYPHEN and before & (ALPHABETIC | DIGIT):
        stop = _hyphen_end(text, at, end, width, classes)
        if stop > at:
            return stop
    after, _ = class_at(text, at + width, classes)
    return at + width if _parts(text, at, before, after) else at


@kernel
def _hyphen_end(text: Bytes, at: int, end: int, width: int, classes: Classes) -> int:
    """Return the end of one to three equal hyphens between a letter or digit and a letter."""
    stop = at + width
    while stop < end and stop - at < _LONGEST_HYPHEN and text[at] == text[stop] == _HYPHEN:
        stop += 1
    if stop == end:
        return at
    after, _ = class_at(text, stop, classes)
    return stop if after & ALPHABETIC else at


@kernel
def _parts(text: Bytes, at: int, before: int, after: int) -> bool:
    """Whether a sign parts its neighbours, by their classes."""
    sign = text[at]
    if sign == _DOT:
        return before & (LOWER | QUOTE) != 0 and after & (UPPER | QUOTE) != 0
    if sign == _COMMA:
        return before & after & ALPHABETIC != 0
    if sign == ord("+") or sign == ord("*") or sign == ord("^") or sign == ord("-"):
        return before & DIGIT != 0 and after & DIGIT != 0
    if (
        sign == ord(":")
        or sign == ord("<")
        or sign == ord(">")
        or sign == ord("=")
        or sign == _SLASH
    ):
        return before & (ALPHABETIC | DIGIT) != 0 and after & ALPHABETIC != 0
    return False


@kernel
def _is_address(text: Bytes, start: int, end: int, classes: Classes) -> bool:
    """Whether a word looks like a web address or host name: a.bc, https://a.bc/d, a.bc:80."""
    at = _skip_scheme(text, start, end)
    num_dots, label_length, is_letters = 0, 0, True
    while at < end:
        kind, width = class_at(text, at, classes)
        if text[at] == _DOT:
            if label_length == 0:
                return False
            num_dots, label_length, is_letters = num_dots + 1, 0, True
        elif kind & (ALPHABETIC | DIGIT) or text[at] == _HYPHEN or text[at] == _UNDERSCORE:
            label_length += 1
            is_letters = is_letters and (kind & ALPHABETIC) != 0
        else:
            break
        at += width
    is_host = num_dots > 0 and is_letters and label_length >= _FEWEST_DOMAIN_LETTERS
    if at == end or not is_host:
        return is_host
    sign = text[at]
    return bool(sign == _SLASH or sign == ord(":") or sign == ord("?") or sign == ord("#"))


@kernel
def _skip_scheme(text: Bytes, start: int, end: int) -> int:
    """Return where https:// ends, or ``start``."""
    for at in range(start + 1, end - 2):
        if text[at] == ord(":"):
            is_scheme = text[at + 1] == _SLASH and text[at + 2] == _SLASH
            return at + 3 if is_scheme else start
    return start
