"""The prompt stage: what is asked of a model becomes a version in the catalog."""

from __future__ import annotations

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, option
from workbench.prompts.version import PromptVersion


class PromptSpec(PromptVersion):
    """A version of a prompt, and the name under which it is kept."""

    name: ArtifactName = option(
        "prompt", title="Name", group="Prompt",
        help="The prompt that this is a version of; its aliases say which version counts.",
    )  # fmt: skip


class PromptOutputs(Outputs):
    """The prompt version."""

    prompt: Draft


@stage(title="Write a prompt", version=1)
def prompt(spec: PromptSpec, run: RunContext) -> PromptOutputs:
    """Keep what is asked of a model as a version of a prompt.

    A version never changes: other words are another version of the same name. Examples are pinned
    to the version that their data set has now.
    """
    version = PromptVersion(**{name: getattr(spec, name) for name in PromptVersion.model_fields})
    if version.examples is not None:
        run.open(version.examples.dataset)  # it is there, and of the right kind
    draft = run.save("prompt", spec.name)
    version.save(draft)
    return PromptOutputs(prompt=draft)
