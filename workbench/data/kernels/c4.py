"""Lines as C4 looks at them: which are dropped from a text, and how many sentences are left.

After C4 (Raffel et al. 2020, JMLR 21(140), section 2.2), in the order in which datatrove decides.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from workbench.data.kernels.characters import (
    ALONE,
    ALPHABETIC,
    CONTENT,
    DIGIT,
    LINE_BREAK,
    SPACE,
    TERMINAL,
    Bytes,
    Classes,
    class_at,
    skip_plain,
    skip_spaces,
    step_back,
    trim_spaces,
)
from workbench.data.kernels.compiled import entry, kernel
from workbench.data.kernels.words import Tables, split_composite

SCORES = ("num_sentences", "num_lorem_ipsum_lines", "num_curly_bracket_lines")
KEPT, LONG_WORD, NO_TERMINAL, FEW_WORDS, JAVASCRIPT, POLICY, CITATION = range(7)

# Marks of a line: bits.
_HAS_LOREM_IPSUM, _HAS_CURLY_BRACKET, _HAS_JAVASCRIPT, _HAS_POLICY, _HAS_BRACKET = 1, 2, 4, 8, 16
# Each phrase is looked for where its rarest letter stands; those of one letter stand together.
_PHRASES = (
    ("lorem ipsum", "p", _HAS_LOREM_IPSUM),
    ("javascript", "j", _HAS_JAVASCRIPT),
    ("terms of use", "f", _HAS_POLICY),
    ("privacy policy", "v", _HAS_POLICY),
    ("cookie policy", "k", _HAS_POLICY),
    ("uses cookies", "k", _HAS_POLICY),
    ("use of cookies", "k", _HAS_POLICY),
    ("use cookies", "k", _HAS_POLICY),
)
_PHRASE_BYTES = np.frombuffer("".join(phrase for phrase, _, _ in _PHRASES).encode(), np.uint8)
_PHRASE_STARTS = np.cumsum([0, *(len(phrase) for phrase, _, _ in _PHRASES)])
_PHRASE_ANCHORS = np.array([phrase.index(letter) for phrase, letter, _ in _PHRASES])
_PHRASE_MARKS = np.array([mark for _, _, mark in _PHRASES])
_LETTERS = [letter for _, letter, _ in _PHRASES]
_FIRST_PHRASE, _AFTER_PHRASES = np.zeros(256, np.int64), np.zeros(256, np.int64)
for _letter in set(_LETTERS):
    for _code in (ord(_letter), ord(_letter.upper())):
        _FIRST_PHRASE[_code] = _LETTERS.index(_letter)
        _AFTER_PHRASES[_code] = _LETTERS.index(_letter) + _LETTERS.count(_letter)
_OPEN, _CLOSE, _CURLY, _NEWLINE, _DOT = 0x5B, 0x5D, 0x7B, 0x0A, 0x2E
_IS_REMARKABLE = np.zeros(256, np.bool_)
_IS_REMARKABLE[[_OPEN, _CURLY, *b"pPjJfFvVkK"]] = True
_IS_PLAIN = np.array([  # of a word, and nothing else
    code < 0x80 and not chr(code).isspace() and not _IS_REMARKABLE[code] for code in range(256)
])  # fmt: skip
_IS_TERMINAL = np.zeros(128, np.bool_)
_IS_TERMINAL[list(b".?!\"'")] = True
_EDIT = np.frombuffer(b"edit]", np.uint8)
_CITATION_NEEDED = np.frombuffer(b"citation needed]", np.uint8)


class LineRules(NamedTuple):
    """What drops a line; -1 and False turn a rule off."""

    max_word_characters: int
    min_words: int
    needs_terminal: bool
    drops_javascript: bool
    drops_policy: bool
    removes_citations: bool


class Cleaned(NamedTuple):
    """Room for what becomes of the texts of a column."""

    data: Any  # uint8: the bytes that are kept
    kept: Any  # the same bytes, read-only as those of a column: kernels are compiled for one type
    offsets: Any  # int64 [rows + 1]
    spans: Any  # int64 [spans, 3]: row, first byte, byte after the last, in the text of the row
    reasons: Any  # uint8 [spans]
    scores: Any  # int32 [rows, SCORES]


class Facts(NamedTuple):
    """What a line has."""

    words: int
    longest_word: int  # characters
    marks: int


class Line(NamedTuple):
    """A line, without the spaces around it."""

    row: int
    start: int  # bytes, in the text of the row
    end: int


def room_for_cleaned(num_bytes: int, num_rows: int, num_spans: int) -> Cleaned:
    """Return room for what becomes of so many bytes and rows."""
    data = np.empty(num_bytes, np.uint8)
    kept = data.view()
    kept.flags.writeable = False
    return Cleaned(
        data,
        kept,
        np.zeros(num_rows + 1, np.int64),
        np.empty((num_spans, 3), np.int64),
        np.empty(num_spans, np.uint8),
        np.zeros((num_rows, len(SCORES)), np.int32),
    )


@entry
def most_spans(data: Bytes, num_rows: int) -> int:
    """Return a bound on the number of lines and citations in all texts."""
    count = num_rows
    for at in range(len(data)):
        byte = data[at]  # C0 controls, [, and the last bytes of U+0085, U+2028 and U+2029
        count += byte < 0x20 or byte == _OPEN or byte == 0x85 or byte == 0xA8 or byte == 0xA9
    return count


@entry
def clean_rows(
    data: Bytes, offsets: Any, rules: LineRules, tables: Tables, cleaned: Cleaned
) -> int:
    """Write the lines that are kept of each text; return the number of spans that are not."""
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    room = np.empty((2, longest), np.int64)
    num_spans = 0
    cleaned.offsets[0] = 0
    for row in range(len(offsets) - 1):
        text = data[offsets[row] : offsets[row + 1]]
        num_spans = _clean_text(text, row, rules, tables, cleaned, num_spans, room)
    return num_spans


@kernel
def _clean_text(
    text: Bytes, row: int, rules: LineRules, tables: Tables, cleaned: Cleaned, num_spans: int,
    room: Any,
) -> int:  # fmt: skip
    """Write the kept lines of one text, and what is dropped behind ``num_spans`` spans."""
    classes, scores = tables.classes, cleaned.scores[row]
    start = end = cleaned.offsets[row]
    at = 0
    while at < len(text):
        stop, after = _find_break(text, at, classes)
        first = skip_spaces(text, at, stop, classes)
        line = Line(row, first, trim_spaces(text, first, stop, classes))
        at = after
        copy = end + (end > start)  # a newline stands between lines
        copy_end, seen_spans, reason, marks = _clean_line(
            text, line, copy, rules, classes, cleaned, num_spans
        )
        scores[1] += (marks & _HAS_LOREM_IPSUM) != 0
        scores[2] += (marks & _HAS_CURLY_BRACKET) != 0
        if reason == KEPT:
            scores[0] += count_sentences(cleaned.kept[copy:copy_end], tables, room[0], room[1])
            if copy > end:
                cleaned.data[end] = _NEWLINE
            end, num_spans = copy_end, seen_spans
        elif line.start < line.end:
            num_spans = _note(cleaned, num_spans, line, reason)
    cleaned.offsets[row + 1] = _strip(cleaned, start, end, classes)
    return num_spans


@kernel
def _find_break(text: Bytes, at: int, classes: Classes) -> tuple[int, int]:
    """Return where a line ends, and where the next one starts."""
    while at < len(text):
        at = skip_plain(text, at)
        if at == len(text):
            break
        kind, width = class_at(text, at, classes)
        if kind & LINE_BREAK:
            is_pair = text[at] == 0x0D and at + 1 < len(text) and text[at + 1] == _NEWLINE
            return at, at + width + is_pair
        at += width
    return len(text), len(text)


@kernel
def _clean_line(
    text: Bytes, line: Line, copy: int, rules: LineRules, classes: Classes, cleaned: Cleaned,
    num_spans: int,
) -> tuple[int, int, int, int]:  # fmt: skip
    """Copy a line without its citations; return end, number of spans, reason and marks.

    A line that goes as it is needs no copy.
    """
    whole = text[line.start : line.end]
    facts = _examine(whole, classes)
    marks, end = facts.marks, copy
    if marks & _HAS_BRACKET and rules.removes_citations:
        before = _copy(whole, cleaned, copy)
        end, num_spans = _remove_citations(cleaned, copy, before, line, classes, num_spans)
        if end < before:
            marks = _examine(cleaned.kept[copy:end], classes).marks
        reason = _judge(cleaned.kept[copy:end], facts, marks, rules, classes)
    else:
        reason = _judge(whole, facts, marks, rules, classes)
        if reason == KEPT:
            end = _copy(whole, cleaned, copy)
    # A line that goes for its form is looked at no further, nor one for JavaScript for brackets.
    if reason in (LONG_WORD, NO_TERMINAL, FEW_WORDS):
        marks = 0
    elif reason == JAVASCRIPT:
        marks &= _HAS_LOREM_IPSUM
    return end, num_spans, reason, marks


@kernel
def _copy(line: Bytes, cleaned: Cleaned, to: int) -> int:
    """Copy a line behind what is kept; return its end."""
    for at in range(len(line)):
        cleaned.data[to + at] = line[at]
    return to + len(line)


@kernel
def _examine(line: Bytes, classes: Classes) -> Facts:
    """Find the words and marks of a line.

    A word is what stands between spaces; characters of scripts without spaces are one each.
    """
    num_words, longest, marks, length, at = 0, 0, 0, 0, 0
    while at < len(line):
        if _IS_PLAIN[line[at]]:
            length += 1
            at += 1
            continue
        kind, width = class_at(line, at, classes)
        if kind & SPACE:
            num_words += length > 0
            longest = max(longest, length)
            length = 0
        else:
            num_words += length > 0 and (kind & ALONE and kind & ALPHABETIC) != 0
            length += 1
            if width == 1 and _IS_REMARKABLE[line[at]]:
                marks |= _marks_at(line, at)
        at += width
    return Facts(num_words + (length > 0), max(longest, length), marks)


@kernel
def _marks_at(line: Bytes, at: int) -> int:
    """Return the marks of what has its rarest character at a byte."""
    if line[at] == _OPEN:
        return _HAS_BRACKET
    if line[at] == _CURLY:
        return _HAS_CURLY_BRACKET
    marks = 0
    for phrase in range(_FIRST_PHRASE[line[at]], _AFTER_PHRASES[line[at]]):
        start = at - _PHRASE_ANCHORS[phrase]
        letters = _PHRASE_BYTES[_PHRASE_STARTS[phrase] : _PHRASE_STARTS[phrase + 1]]
        if start >= 0 and _stands_at(line, start, letters):
            marks |= _PHRASE_MARKS[phrase]
    return marks


@kernel
def _stands_at(line: Bytes, at: int, letters: Bytes) -> bool:
    """Whether letters a-z and spaces stand at a byte, in any case."""
    if at + len(letters) > len(line):
        return False
    for place in range(len(letters)):
        byte = line[at + place]
        if 0x41 <= byte <= 0x5A:
            byte |= 0x20
        if byte != letters[place]:
            return False
    return True


@kernel
def _remove_citations(
    cleaned: Cleaned, start: int, end: int, line: Line, classes: Classes, num_spans: int
) -> tuple[int, int]:
    """Close the gaps of [12], [edit] and [citation needed]; return end and number of spans."""
    at, to = start, start
    while at < end:
        stop = _citation_end(cleaned.kept[:end], at, classes)
        if stop > at:
            span = Line(line.row, line.start + at - start, line.start + stop - start)
            num_spans = _note(cleaned, num_spans, span, CITATION)
            at = stop
        else:
            cleaned.data[to] = cleaned.data[at]
            at += 1
            to += 1
    return to, num_spans


@kernel
def _citation_end(line: Bytes, at: int, classes: Classes) -> int:
    """Return where the citation at a byte ends; ``at`` if none is there."""
    if line[at] != _OPEN:
        return at
    if _stands_exactly(line, at + 1, _EDIT):
        return at + 1 + len(_EDIT)
    if _stands_exactly(line, at + 1, _CITATION_NEEDED):
        return at + 1 + len(_CITATION_NEEDED)
    stop = at + 1
    while stop < len(line):
        if line[stop] == _CLOSE:
            return stop + 1
        kind, width = class_at(line, stop, classes)
        if not kind & DIGIT:
            break
        stop += width
    return at


@kernel
def _stands_exactly(line: Bytes, at: int, letters: Bytes) -> bool:
    if at + len(letters) > len(line):
        return False
    is_same = True
    for place in range(len(letters)):
        is_same &= line[at + place] == letters[place]
    return is_same


@kernel
def _judge(line: Bytes, facts: Facts, marks: int, rules: LineRules, classes: Classes) -> int:
    """Return why a line goes, or KEPT."""
    if 0 <= rules.max_word_characters < facts.longest_word:
        return LONG_WORD
    if rules.needs_terminal and not _is_ended(line, classes):
        return NO_TERMINAL
    if facts.words < rules.min_words:
        return FEW_WORDS
    if rules.drops_javascript and marks & _HAS_JAVASCRIPT:
        return JAVASCRIPT
    if rules.drops_policy and marks & _HAS_POLICY:
        return POLICY
    return KEPT


@kernel
def _is_ended(line: Bytes, classes: Classes) -> bool:
    """Whether a line ends with . ? ! " ' or a like of another script, and not with an ellipsis."""
    end = len(line)
    if end == 0:
        return False
    last = line[end - 1]
    if last >= 0x80:
        kind, _ = class_at(line, step_back(line, end, 0), classes)
        return kind & TERMINAL != 0
    is_ellipsis = end > 2 and last == line[end - 2] == line[end - 3] == _DOT
    return _IS_TERMINAL[last] and not is_ellipsis


@kernel
def _note(cleaned: Cleaned, num_spans: int, line: Line, reason: int) -> int:
    """Write down what is dropped; return the number of spans."""
    cleaned.spans[num_spans, 0] = line.row
    cleaned.spans[num_spans, 1] = line.start
    cleaned.spans[num_spans, 2] = line.end
    cleaned.reasons[num_spans] = reason
    return num_spans + 1


@kernel
def _strip(cleaned: Cleaned, start: int, end: int, classes: Classes) -> int:
    """Strip what is kept of a text, as a citation may have stood at its start; return its end."""
    kept = cleaned.kept[start:end]
    first = skip_spaces(kept, 0, len(kept), classes)
    last = trim_spaces(kept, first, len(kept), classes)
    if first:
        for at in range(first, last):
            cleaned.data[start + at - first] = cleaned.data[start + at]
    return start + last - first


@kernel
def count_sentences(line: Bytes, tables: Tables, pieces: Any, tails: Any) -> int:
    """Return the number of sentences: a word after . ? ! (or the like) starts another.

    As spaCy's sentencizer counts: only a mark that is a word of its own ends a sentence, and only
    a word that is more than punctuation starts one.
    """
    num_sentences, is_ended, at = 1, False, 0
    while at < len(line):
        if not is_ended:
            at = _find_mark(line, at, tables.classes)
            if at == len(line):
                break
        kind, width = class_at(line, at, tables.classes)
        if kind & SPACE:
            at += width
            continue
        end, kinds = _find_space(line, at, tables.classes)
        if kinds & TERMINAL == 0:  # most words: the first of its pieces to have content counts
            if kinds & CONTENT and is_ended:
                num_sentences += 1
                is_ended = False
            at = end
            continue
        for piece in range(split_composite(line, at, end, tables, pieces, tails)):
            kind, width = class_at(line, at, tables.classes)
            if kind & TERMINAL and at + width == pieces[piece]:
                is_ended = True
            elif is_ended and _has_content(line, at, pieces[piece], tables.classes):
                num_sentences += 1
                is_ended = False
            at = pieces[piece]
    return num_sentences


@kernel
def _find_mark(line: Bytes, at: int, classes: Classes) -> int:
    """Return where the next word starts that holds a mark which may end a sentence."""
    word = at
    while at < len(line):
        kind, width = class_at(line, at, classes)
        at += width
        if kind & (SPACE | TERMINAL):
            if kind & TERMINAL:
                return word
            word = at
    return len(line)


@kernel
def _find_space(line: Bytes, at: int, classes: Classes) -> tuple[int, int]:
    """Return where the next space is, and the classes of the characters before it."""
    kinds = 0
    while at < len(line):
        kind, width = class_at(line, at, classes)
        if kind & SPACE:
            break
        kinds |= kind
        at += width
    return at, kinds


@kernel
def _has_content(line: Bytes, start: int, end: int, classes: Classes) -> bool:
    while start < end:
        kind, width = class_at(line, start, classes)
        if kind & CONTENT:
            return True
        start += width
    return False
