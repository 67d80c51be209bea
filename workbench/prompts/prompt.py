"""A prompt: the words that turn a sentence model into a classifier, as a versioned object."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from workbench.core.artifact import Artifact, Draft
from workbench.core.errors import DataError
from workbench.models.folder import read_json
from workbench.tasks.predictions import label_scheme

PROMPT_FILE = "prompt.json"
PLACE = "{text}"


def _check_template(template: str) -> str:
    if template.count(PLACE) != 1:
        raise ValueError(f"the template must hold {PLACE} exactly once")
    return template


Template = Annotated[str, AfterValidator(_check_template), Field(max_length=2000)]
Sentence = Annotated[str, Field(min_length=1, max_length=1000)]
LabelSentences = dict[
    Annotated[str, Field(pattern=r"^[^|]+$", max_length=200)],
    Annotated[list[Sentence], Field(min_length=1, max_length=100)],
]


class Prompt(BaseModel):
    """Sentences that say what each label means, and how a text is put beside them.

    A text belongs to the label whose sentences it is nearest to. ``model`` and ``model_version``
    record what the sentences were scored with; they are not part of ``content_hash``, so that the
    same words on two models are known to be the same prompt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    task: Literal["classify"] = "classify"
    template: Template
    sentences: LabelSentences
    temperature: float = Field(gt=0, le=10)
    model: str
    model_version: str

    @model_validator(mode="after")
    def _has_two_labels(self) -> Self:
        if len(self.sentences) < 2:
            raise ValueError("a classifier needs sentences for at least two labels")
        return self

    @property
    def labels(self) -> list[str]:
        """The labels, sorted."""
        return sorted(self.sentences)

    @property
    def content_hash(self) -> str:
        """SHA-256 of the words and how they are used, whatever the model."""
        content = self.model_dump(mode="json", exclude={"model", "model_version"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def filled_in(self, text: str) -> str:
        """Put a text into the template; braces in the text mean nothing."""
        before, _, after = self.template.partition(PLACE)
        return before + text + after

    def save(self, draft: Draft) -> None:
        """Write ``prompt.json`` into a draft; the same prompt gives the same bytes."""
        content = self.model_dump(mode="json") | {"content_hash": self.content_hash}
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        (draft.path / PROMPT_FILE).write_text(text, encoding="utf-8", newline="\n")
        draft.describe(
            task=self.task, labels=self.labels, label_scheme=label_scheme(self.labels),
            sentences=sum(map(len, self.sentences.values())), model=self.model,
            content_hash=self.content_hash[:12],
        )  # fmt: skip


def load_prompt(artifact: Artifact) -> Prompt:
    """Read a prompt artifact.

    Raises:
        DataError: the artifact is no prompt, or its file is broken or was changed.
    """
    path = artifact.path / PROMPT_FILE
    if artifact.kind != "prompt" or not path.exists():
        raise DataError(f"{artifact.reference} is a {artifact.kind}, not a prompt",
                        where=artifact.reference, next_step="Name a prompt.")  # fmt: skip
    content = read_json(path)
    recorded = content.pop("content_hash", None)
    try:
        prompt = Prompt.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{artifact.reference} is no valid prompt: {error.errors()[0]['msg']}",
                        where=str(path), next_step="Make the prompt again.") from error  # fmt: skip
    if prompt.content_hash != recorded:
        raise DataError(f"{artifact.reference} was changed: its content hash does not fit",
                        where=str(path), next_step="Make the prompt again.")  # fmt: skip
    return prompt
