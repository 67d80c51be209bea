"""The gate of prompts: alarms that are false are as rare as was asked, and drops are seen."""

from __future__ import annotations

import numpy as np

from workbench.prompts.gate import Verdict, judge

LABELS = ["bad", "good", "plain"]


def answers(random: np.random.Generator, truth: list[str], right: float) -> list[str | None]:
    """Answer right so often; wrong answers are drawn."""
    return [
        label if random.random() < right else str(random.choice(LABELS)) for label in truth
    ]  # fmt: skip


def verdict(seed: int, right: float, rows: int = 300, **how: float) -> Verdict:
    random = np.random.default_rng(seed)
    truth = [str(label) for label in random.choice(LABELS, rows, p=[0.5, 0.3, 0.2])]
    before = answers(random, truth, 0.6)
    new = answers(random, truth, right)
    return judge(truth, new, before, LABELS, resamples=400, seed=seed, **how)


def test_versions_that_are_alike_are_told_apart_as_rarely_as_was_asked() -> None:
    alarms = sum(not verdict(seed, 0.6).passes for seed in range(300))
    assert 3 <= alarms <= 28  # 5 % of 300 are 15; outside of this once in a thousand times


def test_a_drop_that_is_said_to_be_seen_is_seen() -> None:
    told = verdict(0, 0.6)
    # Of the wrong answers a third is right by chance: so much less of the right ones.
    worse = 0.6 - told.seen_drop / (1 - 1 / 3)
    seen = sum(not verdict(seed, worse).passes for seed in range(100))
    assert 65 <= seen <= 95


def test_a_drop_within_the_margin_does_not_matter() -> None:
    strict = verdict(1, 0.3)
    assert not strict.passes
    assert strict.p < 0.01
    assert strict.told().startswith("worse: macro_recall")
    assert verdict(1, 0.3, margin=0.9).passes


def test_a_better_version_passes_and_equal_answers_do_too() -> None:
    assert verdict(2, 0.9).passes
    truth = ["bad", "good", "plain"] * 10
    same = judge(truth, truth, truth, LABELS, resamples=100)
    assert (same.passes, same.difference, same.new) == (True, 0.0, 1.0)
    assert same.told().startswith("not worse: ")
