"""Verbalisers: which answers a prompt can have, in which words, and how words become an answer."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from workbench.core.spec import Spec, option

Words = Annotated[str, Field(min_length=1, max_length=1000)]
LabelWords = dict[
    Annotated[str, Field(pattern=r"^[^|]+$", max_length=200)],
    Annotated[list[Words], Field(min_length=1, max_length=100)],
]
EntityLabel = Annotated[str, Field(pattern=r"^[A-Za-z][\w-]*$", max_length=60)]

_MOST_LEVELS = 101
_FENCE = re.compile(r"^\s*```[a-z]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)


class Option(NamedTuple):
    """One answer that a prompt can have, in the words that may say it."""

    label: str
    words: tuple[str, ...]


class _Weighed(Spec):
    """Answers of which each has a probability."""

    calibration: Literal["none", "contextual", "batch"] = option(
        "none", title="Calibration", group="Answer",
        help="Takes out what a scorer prefers whatever the text: contextual asks it about texts "
        "without content, batch takes the mean over all texts.",
    )  # fmt: skip
    temperature: float = option(
        1.0, title="Temperature", group="Answer", gt=0, le=100,
        help="How soft the probabilities are: softmax of the weights over temperature.",
    )  # fmt: skip
    abstain_below: float = option(
        0.0, title="Abstain below", group="Answer", ge=0, le=1,
        help="Least probability for an answer; less sure rows get no predicted label.",
    )  # fmt: skip

    def options(self) -> list[Option]:
        """Return the answers that there are, sorted by label."""
        raise NotImplementedError

    def read(self, text: str) -> str | None:
        """Return the label that a written answer says; None if it says none, or several."""
        return read_option(text, self.options())


class Choice(_Weighed):
    """One label of several."""

    kind: Literal["choice"] = option("choice", title="Kind", help="One label of several.")
    words: LabelWords = option(
        title="Label words", group="Answer",
        help="For each label, words or sentences that say it. Several phrasings of one label are "
        "taken together.",
    )  # fmt: skip

    @field_validator("words")
    @classmethod
    def _has_two_labels(cls, words: LabelWords) -> LabelWords:
        if len(words) < 2:
            raise ValueError("give words for at least two labels")
        return words

    def options(self) -> list[Option]:
        """Return the answers that there are, sorted by label."""
        return [Option(label, tuple(self.words[label])) for label in sorted(self.words)]


class Score(_Weighed):
    """A whole number between two bounds, such as how well a document answers a query."""

    kind: Literal["score"] = option("score", title="Kind", help="A whole number between bounds.")
    low: int = option(1, title="Lowest", group="Answer", help="The least number.", ge=0, le=1000)
    high: int = option(5, title="Highest", group="Answer", help="The greatest number.",
                       ge=1, le=1000)  # fmt: skip

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not 1 <= self.high - self.low < _MOST_LEVELS:
            raise ValueError(f"high must be above low, by {_MOST_LEVELS - 1} at most")
        return self

    def options(self) -> list[Option]:
        """Return the numbers in their order, as labels."""
        return [Option(str(n), (str(n),)) for n in range(self.low, self.high + 1)]


class YesNo(_Weighed):
    """Yes or no."""

    kind: Literal["yes_no"] = option("yes_no", title="Kind", help="Yes or no.")
    yes: list[Words] = option(["yes"], title="Yes", group="Answer", min_length=1, max_length=100,
                              help="Words that say yes.")  # fmt: skip
    no: list[Words] = option(["no"], title="No", group="Answer", min_length=1, max_length=100,
                             help="Words that say no.")  # fmt: skip

    def options(self) -> list[Option]:
        """Return no and yes."""
        return [Option("no", tuple(self.no)), Option("yes", tuple(self.yes))]


class Spans(Spec):
    """Pieces of the text, each with a label: ``[{"text": "Ann", "label": "person"}]``."""

    kind: Literal["spans"] = option("spans", title="Kind", help="Pieces of the text with labels.")
    labels: list[EntityLabel] = option(
        title="Labels", group="Answer", min_length=1, max_length=200,
        help="What a piece of the text can be.",
    )  # fmt: skip

    def read(self, answer: str, text: str) -> list[dict[str, Any]] | None:
        """Return the pieces that a written answer names, with their places in the text.

        A piece that does not stand in the text, or has another label, is left out: a model may make
        things up. None if the answer is no list of pieces.

        Returns:
            ``{"start", "end", "text", "label"}`` in characters, in the order of the text; equal
            pieces take one occurrence each.
        """
        found = _json_of(answer)
        if not isinstance(found, list):
            return None
        spans: list[dict[str, Any]] = []
        taken: set[int] = set()
        for piece in found:
            words = piece.get("text") if isinstance(piece, dict) else None
            if not isinstance(words, str) or not words or piece.get("label") not in self.labels:
                continue
            starts = (match.start() for match in re.finditer(re.escape(words), text))
            start = next((place for place in starts if place not in taken), None)
            if start is not None:
                taken.add(start)
                spans.append({"start": start, "end": start + len(words), "text": words,
                              "label": piece["label"]})  # fmt: skip
        return sorted(spans, key=lambda span: (span["start"], span["end"]))


class JsonAnswer(Spec):
    """An object of named values."""

    kind: Literal["json"] = option("json", title="Kind", help="An object of named values.")
    fields: dict[EntityLabel, Literal["text", "number", "yes_no", "list"]] = option(
        title="Fields", group="Answer", min_length=1, max_length=100,
        help="The names that the object must have, and of which sort each value is.",
    )  # fmt: skip

    def read(self, answer: str) -> dict[str, Any] | None:
        """Return the object of a written answer; None if it is none, or a value does not fit.

        Names that were not asked for are left out.
        """
        found = _json_of(answer)
        if not isinstance(found, dict):
            return None
        fits = all(_fits(found.get(name), sort) for name, sort in self.fields.items())
        return {name: found[name] for name in self.fields} if fits else None


class FreeText(Spec):
    """Whatever is written, as it is: a query in other words, a summary."""

    kind: Literal["text"] = option("text", title="Kind", help="Whatever is written, as it is.")

    def read(self, answer: str) -> str | None:
        """Return a written answer; None if it is empty."""
        return answer.strip() or None


WEIGHED = (Choice, Score, YesNo)

Verbaliser = Annotated[
    Choice | Score | YesNo | Spans | JsonAnswer | FreeText, Field(discriminator="kind")
]


def read_option(text: str, options: Sequence[Option]) -> str | None:
    """Return the label whose words a written answer begins with, or else names; None if unclear.

    The longest words win where one option's begin with another's (``no`` and ``no idea``). An
    answer that names words of two labels says neither.
    """
    said = _bare(text)
    begun = [(len(_bare(w)), o.label) for o in options for w in o.words if _begins(said, _bare(w))]
    if begun:
        longest = max(begun)[0]
        labels = {label for length, label in begun if length == longest}
        return labels.pop() if len(labels) == 1 else None
    named = {o.label for o in options if any(_holds(said, _bare(w)) for w in o.words)}
    return named.pop() if len(named) == 1 else None


def _bare(text: str) -> str:
    return " ".join(text.casefold().split()).strip("\"'`*.,:;!()[]{} ")


def _begins(text: str, words: str) -> bool:
    return text.startswith(words) and not text[len(words) : len(words) + 1].isalnum()


def _holds(text: str, words: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text) is not None


def _json_of(answer: str) -> Any:
    """Return what an answer holds as JSON, also between fences or after some words; else None."""
    fenced = _FENCE.match(answer)
    text = fenced.group(1) if fenced else answer
    for start in sorted(place for place in map(text.find, "[{") if place >= 0):
        with suppress(ValueError, RecursionError):
            return json.JSONDecoder(parse_constant=_refuse).raw_decode(text[start:])[0]
    return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _fits(value: Any, sort: str) -> bool:
    if sort == "yes_no":
        return isinstance(value, bool)
    if sort == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str if sort == "text" else list)
