"""Rules that users write: one function, in a notebook cell or a file, like the shipped ones.

    @rule
    def no_ads(text: str) -> bool:  # True: keep
        return "buy now" not in text.lower()

    @rule(at_most=3)
    def num_links(text: str, scheme: str = "http") -> int:  # a score, held against a bound
        return text.count(scheme + "://")

    @rule
    def no_signature(text: str) -> str:  # a repair
        return text.split("\\n-- \\n")[0]

    CleanSpec(dataset="comments@latest", rules=[no_ads, num_links.set(scheme="https")])

The rule travels to the workers as source text, in the Spec: it is part of the cache key and stands
in the lineage of what it cleaned.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self, get_type_hints, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from workbench.core.errors import SpecError, StageError
from workbench.core.presets import offer
from workbench.core.spec import Spec, option
from workbench.core.user_code import PlainValue, UserCode, capture, refuse_unknown

RuleKind = Literal["keep", "score", "rewrite"]
_KINDS: dict[Any, RuleKind] = {bool: "keep", int: "score", float: "score", str: "rewrite"}
# Columns of a record that a rule may ask for by the name of a parameter, beside its text.
COLUMNS = ("language", "source", "label", "extra")


class UserRule(Spec):
    """A rule as source text, with its setting."""

    name: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,60}$")] = option(
        title="Name", help="The rule's name, which the ledger gives as the reason.", group="Rule"
    )  # fmt: skip
    kind: RuleKind = option(
        title="Kind", group="Rule",
        help="keep: the function says whether a record stays; score: it measures the text; "
        "rewrite: it returns the text to keep.",
    )  # fmt: skip
    source: str = option(
        title="Code", group="Rule", help="Python that defines a function of the rule's name."
    )  # fmt: skip
    parameters: dict[str, PlainValue] = option(
        {}, title="Parameters", group="Rule",
        help="Values of the function's own parameters that differ from their defaults.",
    )  # fmt: skip
    at_least: float | None = option(
        None, title="At least", group="Rule",
        help="For a score: records that measure less are dropped; empty: no bound.",
    )  # fmt: skip
    at_most: float | None = option(
        None, title="At most", group="Rule",
        help="For a score: records that measure more are dropped; empty: no bound.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _bounds_belong_to_scores(self) -> Self:
        UserCode(name=self.name, source=self.source)  # refuses what cannot be its code
        if self.kind != "score" and not (self.at_least is None and self.at_most is None):
            raise ValueError(f"{self.name} is no score: at_least and at_most say nothing of it")
        return self

    @property
    def score(self) -> str:
        """The column of the scores that holds what this rule measured."""
        return f"rule_{self.name}"

    def __call__(self, text: str, *arguments: Any, **named: Any) -> Any:
        """Apply the rule's function to one text, to try it."""
        given = {**self.parameters, **named}
        return UserCode(name=self.name, source=self.source).load()(text, *arguments, **given)

    def set(self, at_least: float | None = None, at_most: float | None = None, **parameters: PlainValue) -> UserRule:  # noqa: E501  # fmt: skip
        """Return the rule with other bounds or parameters.

        Raises:
            SpecError: the function has no such parameter; the nearest is told.
        """
        known = _own_parameters(UserCode(name=self.name, source=self.source).load())
        refuse_unknown(self.name, parameters, known)
        changes: dict[str, Any] = {"parameters": {**self.parameters, **parameters}}
        if at_least is not None:
            changes["at_least"] = at_least
        if at_most is not None:
            changes["at_most"] = at_most
        return type(self).parse({**self.model_dump(), **changes})

    def apply(self, texts: pa.Array, columns: Mapping[str, pa.Array]) -> list[Any]:
        """Call the function on each record; return what it gave, checked by kind; [n].

        Raises:
            StageError: the function raised, or returned something else than it promised; names the
                text.
        """
        function = UserCode(name=self.name, source=self.source).load()
        wanted = [c for c in COLUMNS if c in inspect.signature(function).parameters]
        beside = [columns[name].to_pylist() for name in wanted]
        given = functools.partial(function, **self.parameters)
        answers = []
        for text, *values in zip(texts.to_pylist(), *beside, strict=True):
            try:
                answer = given(text, **dict(zip(wanted, values, strict=True)))
            except Exception as error:
                raise self._failed(text, f"{type(error).__name__}: {error}") from error
            if not self._is_right(answer):
                raise self._failed(text, f"it returned {answer!r:.80}, not {_PROMISES[self.kind]}")
            answers.append(answer)
        return answers

    def _is_right(self, answer: Any) -> bool:
        if self.kind == "rewrite":
            return isinstance(answer, str)
        if self.kind == "keep":
            return isinstance(answer, bool | np.bool_)
        return isinstance(answer, bool | int | float | np.number)

    def _failed(self, text: str, how: str) -> StageError:
        return StageError(
            f"The rule {self.name} failed on a text: {how}",
            where=f"rule {self.name}, text {text!r:.120}",
            next_step="Mend the rule in its cell, try it on this text, and submit again.",
        )


_PROMISES = {"keep": "True or False", "score": "a number", "rewrite": "a text"}


@overload
def rule(function: Callable[..., Any], /) -> UserRule: ...
@overload
def rule(
    *, at_least: float | None = None, at_most: float | None = None
) -> Callable[[Callable[..., Any]], UserRule]: ...
def rule(
    function: Callable[..., Any] | None = None,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> Any:
    """Declare a function ``(text, ...) -> bool | int | float | str`` as a cleaning rule.

    Its annotation says what it is: ``-> bool`` keeps or drops, ``-> int`` and ``-> float`` measure,
    ``-> str`` rewrites. Parameters called language, source, label or extra get that column of the
    record; others are settings and need defaults.

    Raises:
        SpecError: the function does not say what it returns, or uses what cannot travel.
    """
    if function is None:
        return lambda written: _define(written, at_least, at_most)
    return _define(function, None, None)


def _define(
    function: Callable[..., Any], at_least: float | None, at_most: float | None
) -> UserRule:
    code = capture(function)
    _own_parameters(function)
    made = UserRule.parse({
        "name": code.name, "kind": _kind_of(function), "source": code.source,
        "at_least": at_least, "at_most": at_most,
    })  # fmt: skip
    offer(made.name, made)
    return made


def _kind_of(function: Callable[..., Any]) -> RuleKind:
    promised = get_type_hints(function).get("return")
    if promised not in _KINDS:
        raise SpecError(
            f"{function.__name__} does not say what it returns",
            where=function.__name__,
            next_step="Write -> bool (True keeps the record), -> int or -> float (a score), or "
            "-> str (the text to keep).",
        )
    return _KINDS[promised]


def _own_parameters(function: Callable[..., Any]) -> list[str]:
    """Return the names of a rule's settings: all parameters but the text and record columns."""
    names = list(inspect.signature(function).parameters.values())
    if not names or names[0].default is not inspect.Parameter.empty:
        raise SpecError(f"{function.__name__} takes no text", where=function.__name__,
                        next_step="Its first parameter is the text.")  # fmt: skip
    settings = [p for p in names[1:] if p.name not in COLUMNS]
    for parameter in settings:
        if parameter.default is inspect.Parameter.empty:
            raise SpecError(
                f"{function.__name__} needs a default for {parameter.name!r}",
                where=function.__name__,
                next_step=f"Give it one, or ask for a column: {', '.join(COLUMNS)}.",
            )
    return [parameter.name for parameter in settings]


class UserRuleSetting(Spec):
    """The rules that users wrote."""

    rules: list[UserRule] = option(
        [], title="Own rules", group="Rules",
        help="Rules that you wrote with @rule, in this order: first those that rewrite, then "
        "those that drop.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _rules_differ(self) -> Self:
        names = [user_rule.name for user_rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rules are called {twice[0]!r}; each needs its own name")
        return self


def measure_user_rules(
    rules: list[UserRule], texts: pa.Array, columns: Mapping[str, pa.Array]
) -> dict[str, npt.NDArray[Any]]:
    """Return a score for each rule that keeps (uint8, 1 or 0) or measures (float32); [n] each."""
    return {
        found.score: np.array(
            found.apply(texts, columns), dtype=np.uint8 if found.kind == "keep" else np.float32
        )
        for found in rules
        if found.kind != "rewrite"
    }
