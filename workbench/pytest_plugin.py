"""A pytest plugin: prompts are checked where code is.

    def test_the_mood_prompt_is_not_worse(check_prompt):
        verdict = check_prompt(
            "mood@latest", "mood@production", "golden@latest",
            {"kind": "embedding", "model": "minilm"},
        )
        assert verdict.passes, verdict.told()

The workspace is that of ``WORKBENCH_WORKSPACE``, or of ``--workbench-workspace``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from workbench.prompts.gate import Verdict


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the workspace's option."""
    group = parser.getgroup("workbench")
    group.addoption("--workbench-workspace", metavar="FOLDER",
                    help="the workspace in which prompts are checked")  # fmt: skip


@pytest.fixture(scope="session")
def check_prompt(request: pytest.FixtureRequest) -> Callable[..., Verdict]:
    """Offer ``check_prompt(new, before, dataset, scorer, ...)``, which returns a verdict."""

    def check(
        new: str, before: str, dataset: str, scorer: Mapping[str, Any], **how: Any
    ) -> Verdict:
        from workbench.prompts import gate
        from workbench.prompts.label import LabelSpec
        from workbench.workspace import Workspace

        workspace = Workspace(request.config.getoption("--workbench-workspace"))
        spec = LabelSpec.parse({"dataset": dataset, "scorer": dict(scorer)}).scorer
        return gate.check_prompt(workspace, new, before, dataset, spec, **how)

    return check
