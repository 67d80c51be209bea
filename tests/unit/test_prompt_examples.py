"""Examples of a prompt: which rows stand before a text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import DataError
from workbench.prompts.examples import (
    DiverseExamples,
    FixedExamples,
    NearestExamples,
    Pool,
    RandomExamples,
)

TEXTS = ["a", "aa", "ab", "b", "bb", "c"]
POOL = Pool([f"r{n}" for n in range(6)], TEXTS, ["x", "x", "x", "y", "y", "z"])


def embed(texts: Sequence[str]) -> Any:
    """Point where the letters of a text do."""
    counts = np.asarray([[1e-3 + text.lower().count(c) for c in "abc"] for text in texts])
    return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


def shown(examples: Any, text: str) -> list[str]:
    (chosen,) = examples.chooser(POOL, embed).choose([text], examples.size)
    return [example["text"] for example in chosen]


def test_the_nearest_stands_next_to_the_text() -> None:
    assert shown(NearestExamples(dataset="d@1", count=3), "bbb") == ["ab", "b", "bb"]


def test_diverse_rows_are_near_and_unlike_each_other() -> None:
    assert shown(DiverseExamples(dataset="d@1", count=2, diversity=0.0), "aab") == ["a", "ab"]
    assert shown(DiverseExamples(dataset="d@1", count=2, diversity=0.9), "aab") != ["a", "ab"]


def test_drawn_rows_take_each_label_in_turn_and_stay_the_same() -> None:
    examples = RandomExamples(dataset="d@1", count=3, seed=4)
    (chosen,) = examples.chooser(POOL, embed).choose(["q"], 3)
    assert sorted(example["label"] for example in chosen) == ["x", "y", "z"]
    assert shown(examples, "q") == shown(examples, "other")
    assert any(
        shown(RandomExamples(dataset="d@1", count=3, seed=seed), "q") != shown(examples, "q")
        for seed in range(5)
    )


def test_chosen_rows_stand_in_their_order_and_must_be_there() -> None:
    assert shown(FixedExamples(dataset="d@1", ids=["r5", "r0"]), "q") == ["c", "a"]
    with pytest.raises(DataError, match="no labelled row 'r9'"):
        shown(FixedExamples(dataset="d@1", ids=["r9"]), "q")


@given(
    st.sampled_from([
        NearestExamples(dataset="d@1", count=3), DiverseExamples(dataset="d@1", count=3),
        RandomExamples(dataset="d@1", count=3), FixedExamples(dataset="d@1", ids=["r0", "r3"]),
    ]),
    st.sampled_from([*TEXTS, " A ", "zz"]),
)  # fmt: skip
def test_no_text_is_its_own_example(examples: Any, text: str) -> None:
    found = shown(examples, text)
    assert text.strip().lower() not in found
    assert len(found) <= examples.size
    assert len(set(found)) == len(found)
