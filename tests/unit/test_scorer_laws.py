"""Every shipped scorer that needs no server keeps the laws of scorers."""

from __future__ import annotations

from pathlib import Path

from tiny_language import write_language_model
from tiny_training import write_encoder

from workbench.prompts.scorers.causal import CausalScorerSpec
from workbench.prompts.scorers.cloze import ClozeScorerSpec
from workbench.prompts.scorers.embedding import EmbeddingScorerSpec
from workbench.prompts.scorers.laws import ScorerLaws
from workbench.prompts.scorers.scorer import FindModel, ScorerSpec
from workbench.prompts.scorers.user_scorer import scorer


@scorer
def counts(prompt: str) -> dict:
    """Count words."""
    return {label: float(prompt.count(label)) for label in ("good", "bad")}


@scorer
def repeats(prompt: str) -> str:
    """Say the last word."""
    return (prompt.split() or [""])[-1]


class TestCausal(ScorerLaws):
    def example(self, folder: Path) -> tuple[ScorerSpec, FindModel]:
        model = write_language_model(folder / "model", "causal")
        return CausalScorerSpec(model="m@1"), lambda name: model


class TestCloze(ScorerLaws):
    def example(self, folder: Path) -> tuple[ScorerSpec, FindModel]:
        model = write_language_model(folder / "model", "masked")
        return ClozeScorerSpec(model="m@1"), lambda name: model


class TestEmbedding(ScorerLaws):
    def example(self, folder: Path) -> tuple[ScorerSpec, FindModel]:
        model = write_encoder(folder / "model", num_layers=1)
        return EmbeddingScorerSpec(model="m@1"), lambda name: model


class TestCounts(ScorerLaws):
    def example(self, folder: Path) -> tuple[ScorerSpec, FindModel]:
        return counts, Path


class TestRepeats(ScorerLaws):
    def example(self, folder: Path) -> tuple[ScorerSpec, FindModel]:
        return repeats, Path
