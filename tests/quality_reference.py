"""The quality rules once more, slowly and plainly, over Python strings: what kernels must agree to.

Nothing here is shared with the kernels but the lists of characters and words that are a choice, and
the pattern of scripts that are written without spaces.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from workbench.data.kernels import characters
from workbench.data.kernels.words import ABBREVIATIONS
from workbench.data.rules.c4 import C4Setting
from workbench.data.rules.stop_words import STOP_WORDS
from workbench.data.tokens import UNSPACED

QUOTES = "'\"`´‘’‚“”„«»「」『』（）〔〕【】《》〈〉⟦⟧"
ENCLOSING = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
POLICIES = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies",
            "use cookies")  # fmt: skip
CONTRACTION = r"(?ai)(?<=.)(n['’]t|['’](?:s|m|d|ll|re|ve))$"
CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
NAN = float("nan")


def is_letter(character: str) -> bool:
    return character.isalpha()


def is_digit(character: str) -> bool:
    return character.isdecimal()


@cache
def is_alone(character: str) -> bool:
    in_script = pc.match_substring_regex(pa.array([character]), f"[{UNSPACED}]")[0].as_py()
    return in_script or unicodedata.category(character) == "So"


def is_terminal(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in characters.TERMINALS)


def is_counted(word: str) -> bool:
    """Whether a word has a character that is more than a sign."""
    return any(
        not (
            (character.isascii() and not character.isalnum() and character != " ")
            or unicodedata.category(character) == "Cc"
            or is_terminal(character)
            or character in characters.UNCOUNTED
        )
        for character in word
    )


def is_peeled_after(character: str) -> bool:
    return character in QUOTES + ENCLOSING + "—–" or is_alone(character)


def is_peeled_before(character: str) -> bool:
    is_currency = unicodedata.category(character) == "Sc"
    return is_peeled_after(character) or character in "§%=" or is_currency


def words(text: str) -> list[str]:
    return [word for part in text.split() for word in split(part)]


def split(part: str) -> list[str]:
    heads: list[str] = []
    tails: list[str] = []
    while part and (head := head_of(part)):
        heads.append(head)
        part = part[len(head) :]
    while part and (tail := tail_of(part)):
        tails.insert(0, tail)
        part = part[: -len(tail)]
    return heads + split_inside(part) + tails


def head_of(part: str) -> str:
    if dots := re.match(r"\.\.+", part):
        return dots[0]
    return part[0] if is_peeled_before(part[0]) else ""


def tail_of(part: str) -> str:
    if is_peeled_after(part[-1]):
        return part[-1]
    if dots := re.search(r"\.\.+$", part):
        return dots[0]
    if len(part) > 1 and part[-1] == ".":
        return "." if is_full_stop(part) else ""
    if contraction := re.search(CONTRACTION, part):
        return contraction[0]
    is_sign = part[-1] in "%+" or unicodedata.category(part[-1]) == "Sc"
    return part[-1] if is_sign and len(part) > 1 and is_digit(part[-2]) else ""


def is_full_stop(part: str) -> bool:
    before = part[-2]
    if unicodedata.category(before) == "Lu" and len(part) > 2:
        return unicodedata.category(part[-3]) == "Lu"
    is_word_end = (
        unicodedata.category(before) == "Ll" or is_digit(before) or is_peeled_after(before)
    )
    return (is_word_end or before in "%+-") and part not in ABBREVIATIONS


def split_inside(core: str) -> list[str]:
    if is_address(core):
        return [core]
    pieces, start, at = [], 0, 0
    while at < len(core):
        joint = joint_at(core, at)
        if joint:
            pieces += [core[start:at], joint]
            start = at = at + len(joint)
        else:
            at += 1
    return [piece for piece in [*pieces, core[start:]] if piece]


def joint_at(core: str, at: int) -> str:
    sign = core[at]
    if sign == "…" or is_alone(sign):
        return sign
    if dots := re.match(r"\.\.+", core[at:]):
        return dots[0]
    if at == 0 or at + 1 == len(core):
        return ""
    before = core[at - 1]
    if sign in "-–—~" and (is_letter(before) or is_digit(before)):
        joint = re.findall(r"-{1,3}|.", core[at:], re.DOTALL)[0]
        after = core[at + len(joint) : at + len(joint) + 1]
        if after and is_letter(after):
            return joint
    return sign if parts(sign, before, core[at + 1]) else ""


def parts(sign: str, before: str, after: str) -> bool:
    if sign == ".":
        return (unicodedata.category(before) == "Ll" or before in QUOTES) and (
            unicodedata.category(after) == "Lu" or after in QUOTES
        )
    if sign == ",":
        return is_letter(before) and is_letter(after)
    if sign in "+*^-":
        return is_digit(before) and is_digit(after)
    return sign in ":<>=/" and (is_letter(before) or is_digit(before)) and is_letter(after)


def is_address(core: str) -> bool:
    colon = core.find(":", 1)
    rest = core[colon + 3 :] if colon > 0 and core[colon + 1 : colon + 3] == "//" else core
    length = 0
    while length < len(rest) and (
        is_letter(rest[length]) or is_digit(rest[length]) or rest[length] in ".-_"
    ):
        length += 1
    *labels, domain = rest[:length].split(".")
    is_host = bool(labels) and all(labels) and len(domain) >= 2 and all(map(is_letter, domain))
    return is_host and (length == len(rest) or rest[length] in "/:?#")


def sentences(line: str) -> int:
    count, is_ended = 1, False
    for word in words(line):
        if len(word) == 1 and is_terminal(word):
            is_ended = True
        elif is_ended and any(unicodedata.category(sign)[0] != "P" for sign in word):
            count, is_ended = count + 1, False
    return count


def share(part: float, whole: float) -> float:
    return part / whole if whole else NAN


def duplicates(parts: list[str]) -> tuple[int, int]:
    """Return how many parts came before, and the characters in them."""
    again = [part for number, part in enumerate(parts) if part in parts[:number]]
    return len(again), sum(map(len, again))


def top(text_words: list[str], size: int) -> int:
    grams = [tuple(text_words[at : at + size]) for at in range(len(text_words) - size + 1)]
    if not grams:
        return 0
    most = max(map(grams.count, grams))
    first = next(gram for gram in grams if grams.count(gram) == most)
    return len(" ".join(first)) * most


def repeated(text_words: list[str], size: int) -> int:
    seen, characters_again, at = set(), 0, 0
    while at + size <= len(text_words):
        gram = tuple(text_words[at : at + size])
        if gram in seen:
            characters_again += sum(map(len, gram))
            at += size
        else:
            seen.add(gram)
            at += 1
    return characters_again


def repetition(text: str) -> dict[str, float]:
    paragraphs = duplicates(re.split(r"\n{2,}", text.strip()))
    lines = duplicates(re.split(r"\n+", text))
    text_words = words(text)
    return named("gopher", {
        "num_characters": len(text),
        "duplicate_paragraph_share": paragraphs[0] / len(re.split(r"\n{2,}", text.strip())),
        "duplicate_paragraph_characters": share(paragraphs[1], len(text)),
        "duplicate_line_share": lines[0] / len(re.split(r"\n+", text)),
        "duplicate_line_characters": share(lines[1], len(text)),
        **{f"top_{n}_gram": share(top(text_words, n), len(text)) for n in range(2, 5)},
        **{f"duplicate_{n}_grams": share(repeated(text_words, n), len(text)) for n in range(5, 11)},
    })  # fmt: skip


def quality(text: str, language: str | None) -> dict[str, float]:
    text_words, lines = words(text), text.splitlines()
    counted = [word for word in text_words if is_counted(word)]
    alone = [word for word in counted if any(map(is_alone, word)) and any(map(is_letter, word))]
    lengths = share(sum(map(len, counted)), len(counted))
    stop_words = STOP_WORDS.get(language or "", ())
    return named("gopher", {
        "num_words": len(counted),
        "mean_word_length": NAN if 2 * len(alone) > len(counted) else lengths,
        "hash_share": share(text.count("#"), len(text_words)),
        "ellipsis_share": share(text.count("...") + text.count("…"), len(text_words)),
        "bullet_line_share": share(
            sum(line.lstrip().startswith(("-", "•")) for line in lines), len(lines)
        ),
        "ellipsis_line_share": share(
            sum(line.rstrip().endswith(("...", "…")) for line in lines), len(lines)
        ),
        "alphabetic_word_share": share(
            sum(any(map(is_letter, word)) for word in text_words), len(text_words)
        ),
        "num_stop_words": len({*stop_words} & {*text_words}) if stop_words else NAN,
    })  # fmt: skip


def fineweb(text: str, short_line_characters: int) -> dict[str, float]:
    lines = [line for line in text.split("\n") if line.strip()]
    return named("fineweb", {
        "num_lines": len(lines),
        "terminal_line_share": share(sum(is_terminal(line[-1]) for line in lines), len(lines)),
        "short_line_share": share(
            sum(len(line) <= short_line_characters for line in lines), len(lines)
        ),
        "copied_line_characters": share(duplicates(lines)[1], len(text.replace("\n", ""))),
        "newlines_per_word": share(text.count("\n"), len(words(text))),
    })  # fmt: skip


def named(family: str, scores: dict[str, float]) -> dict[str, float]:
    return {f"{family}_{name}": value for name, value in scores.items()}


def c4(text: str, setting: C4Setting) -> tuple[str, dict[str, int]]:
    """Return the text of the kept lines, and its scores."""
    scores = {"num_sentences": 0, "num_lorem_ipsum_lines": 0, "num_curly_bracket_lines": 0}
    kept = []
    for line in map(str.strip, text.splitlines()):
        longest = max(map(len, line.split()), default=0)
        if setting.c4_max_word_characters is not None and longest > setting.c4_max_word_characters:
            continue
        num_words = line_words(line)
        if setting.c4_remove_citations:
            line = CITATION.sub("", line)
        if setting.c4_terminal_marks and not is_finished(line):
            continue
        if num_words < (setting.c4_min_words_per_line or 0):
            continue
        small = "".join(sign.lower() if sign.isascii() else sign for sign in line)
        scores["num_lorem_ipsum_lines"] += "lorem ipsum" in small
        if setting.c4_drop_javascript and "javascript" in small:
            continue
        scores["num_curly_bracket_lines"] += "{" in line
        if setting.c4_drop_policies and any(policy in small for policy in POLICIES):
            continue
        scores["num_sentences"] += sentences(line)
        kept.append(line)
    return "\n".join(kept).strip(), {f"c4_{name}": value for name, value in scores.items()}


def line_words(line: str) -> int:
    """Return the number of words between spaces; unspaced letters count one each."""
    count = 0
    for word in line.split():
        count += 1 + sum(is_alone(sign) and is_letter(sign) for sign in word[1:])
    return count


def is_finished(line: str) -> bool:
    if line.endswith("..."):
        return False
    last = line[-1:]
    return bool(last) and (last in ".?!\"'" or (not last.isascii() and is_terminal(last)))
