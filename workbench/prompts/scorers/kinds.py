"""All kinds of scorer: the shipped ones, and those of installed packages."""

from __future__ import annotations

from functools import reduce
from importlib.metadata import entry_points
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from workbench.prompts.scorers.causal import CausalScorerSpec
from workbench.prompts.scorers.cloze import ClozeScorerSpec
from workbench.prompts.scorers.embedding import EmbeddingScorerSpec
from workbench.prompts.scorers.endpoint import EndpointScorerSpec
from workbench.prompts.scorers.scorer import SCORER_GROUP, ScorerSpec
from workbench.prompts.scorers.user_scorer import UserScorerSpec

_SHIPPED = (
    EmbeddingScorerSpec, CausalScorerSpec, ClozeScorerSpec, EndpointScorerSpec, UserScorerSpec,
)  # fmt: skip


def scorer_kinds() -> list[type[Any]]:
    """Return the shipped kinds of scorer, then the installed ones (group ``workbench.scorers``)."""
    return [*_SHIPPED, *(entry.load() for entry in entry_points(group=SCORER_GROUP))]


if TYPE_CHECKING:
    AnyScorer = ScorerSpec
else:
    AnyScorer = Annotated[reduce(or_, scorer_kinds()), Field(discriminator="kind")]
