"""Functions of a notebook travel as source text, with what they use."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from workbench.core.errors import SpecError, StageError
from workbench.core.user_code import UserCode, capture

SHOUT = re.compile(r"[A-Z]{3,}", re.ASCII)
MOST = 2
OPEN_FILE = sys.stderr


def num_shouts(text: str) -> int:
    return len(SHOUT.findall(text))


def is_calm(text: str, most: int = MOST) -> bool:
    """Whether a text shouts little."""
    return num_shouts(text) <= most  # a comment stays


def commonest(text: str) -> str:
    return Counter(text.split()).most_common(1)[0][0]


def factorial(number: int) -> int:
    return 1 if number < 2 else number * factorial(number - 1)


def writes(text: str) -> None:
    OPEN_FILE.write(text)


def fails(text: str) -> int:
    return 1 // len(text)


def test_a_function_brings_what_it_uses() -> None:
    code = capture(is_calm)
    assert "# a comment stays" in code.source
    loaded = code.load()
    assert loaded is not is_calm
    assert [loaded("A CALM ONE"), loaded("NOT AAA BBB CCC"), loaded("AAA", most=0)] == [
        True, False, False
    ]  # fmt: skip


def test_the_text_alone_runs_in_another_process() -> None:
    code = capture(is_calm)
    done = subprocess.run(
        [sys.executable, "-c", code.source + "\nprint(is_calm('AAA BBB CCC'))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "False\n"


def test_imports_and_recursion_travel() -> None:
    assert capture(commonest).load()("b a b") == "b"
    assert capture(factorial).load()(5) == 120


def test_what_a_closure_holds_travels() -> None:
    def longer_than(least: int) -> Callable[[str], bool]:
        def is_long(text: str) -> bool:
            return len(text) > least

        return is_long

    assert capture(longer_than(3)).load()("four") is True
    assert capture(longer_than(4)).load()("four") is False


def test_capturing_twice_gives_the_same_text() -> None:
    assert capture(is_calm) == capture(is_calm)


def test_capturing_what_was_loaded_gives_the_same_text() -> None:
    code = capture(is_calm)
    assert capture(code.load()) == code


def test_a_decorator_is_left_out() -> None:
    def mark(function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    @mark
    def plain(text: str) -> str:
        return text

    assert "@mark" not in capture(plain).source


def test_what_cannot_travel_is_named() -> None:
    with pytest.raises(SpecError, match="writes uses 'OPEN_FILE', a") as caught:
        capture(writes)
    assert "parameters with defaults" in caught.value.next_step


@pytest.mark.parametrize("thing", [len, lambda text: text, "text", int])
def test_only_a_function_with_a_source_is_code(thing: Any) -> None:
    with pytest.raises(SpecError, match="is no function with a name"):
        capture(thing)


@pytest.mark.parametrize(
    ("source", "reason"),
    [("def f(:", "is no Python"), ("x = 1", "defines no function f"), ("#" * 100_001, "is longer")],
)
def test_code_that_cannot_be_right_is_refused_before_it_runs(source: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        UserCode(name="f", source=source)


def test_an_import_that_is_not_there_is_told() -> None:
    code = UserCode(name="f", source="import no_such_package\ndef f(text): return text\n")
    with pytest.raises(StageError, match="No module named 'no_such_package'"):
        code.load()


def test_a_traceback_shows_the_line() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        capture(fails).load()("")
    assert "return 1 // len(text)" in str(caught.getrepr())
