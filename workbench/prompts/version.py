"""A prompt version: what is asked of a model, in which words, and which answers there are.

It never changes: other words are another version. A prompt is the name that its versions have in
the catalog, with the aliases that point to them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError, field_validator

from workbench.core.artifact import Artifact, Draft
from workbench.core.errors import DataError, SpecError
from workbench.core.spec import Spec, option
from workbench.models.folder import read_json
from workbench.prompts.examples import Example, ExampleSet
from workbench.prompts.template import Template
from workbench.prompts.verbaliser import WEIGHED, FreeText, JsonAnswer, Spans, Verbaliser
from workbench.tasks.predictions import label_scheme

PROMPT_FILE = "prompt.json"
# What templates are given beside the columns of a record.
OPTIONS, EXAMPLES, MASK = "options", "examples", "mask"
_GIVEN = {OPTIONS, EXAMPLES, MASK}
_HIDDEN = {"label", "label_scheme"}  # the answers, which no prompt shall see
_LINEAGE = {"parents", "origin"}

Task = Literal["classify", "search", "recommend", "extract"]


class Message(NamedTuple):
    """One message, filled in: who speaks, and what is said."""

    role: str
    content: str


Messages = tuple[Message, ...]


class MessageTemplate(Spec):
    """One message with places for values."""

    role: Literal["system", "user", "assistant"] = option(
        "user", title="Role", group="Prompt", help="Who says it: system, user or assistant."
    )
    content: str = option(
        title="Text", group="Prompt", max_length=50_000,
        help="Jinja: {{ text }} and the names of other columns stand for a record's values, "
        "{{ options }} for the answers, {{ examples }} for labelled rows, {{ mask }} for the gap "
        "that a masked language model fills.",
    )  # fmt: skip

    @field_validator("content")
    @classmethod
    def _is_a_template(cls, content: str) -> str:
        try:
            Template(content)
        except SpecError as error:
            raise ValueError(f"{error.what} ({error.where})") from error
        return content


class Decoding(Spec):
    """How an answer is written by a model that writes."""

    temperature: float = option(
        0.0, title="Temperature", group="Decoding", ge=0, le=2,
        help="0: always the likeliest word; higher: other words, too.",
    )  # fmt: skip
    top_p: float = option(
        1.0, title="Top p", group="Decoding", gt=0, le=1,
        help="Only the likeliest words that together have this probability are drawn from.",
    )  # fmt: skip
    max_tokens: int = option(
        64, title="Longest answer", group="Decoding", unit="tokens", ge=1, le=8192,
        help="An answer ends here at the latest.",
    )  # fmt: skip
    stop: list[str] = option(
        [], title="Stop at", group="Decoding", max_length=8,
        help="An answer ends before the first of these texts.",
    )  # fmt: skip
    seed: int = option(
        0, title="Seed", group="Decoding", ge=0, le=2**31 - 1,
        help="The same seed draws the same words, where a model can.",
    )  # fmt: skip


class PromptVersion(Spec):
    """What is asked, of which records, and which answers there are."""

    task: Task = option(
        "classify", title="Task", group="Prompt",
        help="What the answers are for: classify, search, recommend or extract.",
    )  # fmt: skip
    messages: list[MessageTemplate] = option(
        [MessageTemplate(content="{{ text }}")], title="Messages", group="Prompt",
        min_length=1, max_length=50, help="What is said to the model, in order.",
    )  # fmt: skip
    verbaliser: Verbaliser = option(
        title="Answer", group="Answer", help="Which answers there are, and in which words."
    )
    examples: ExampleSet | None = option(
        None, title="Examples", group="Examples",
        help="Labelled rows that the messages can show as {{ examples }}.",
    )  # fmt: skip
    decoding: Decoding = option(
        Decoding(), title="Decoding", group="Decoding",
        help="How a model that writes its answer does so.",
    )  # fmt: skip
    parents: list[str] = option(
        [], title="Parents", group="Lineage", max_length=20,
        help="The versions that this one was made from, by their content hashes.",
    )  # fmt: skip
    origin: str = option(
        "written", title="Origin", group="Lineage", max_length=500,
        help="Where it comes from: written, imported from a file, found by a search.",
    )  # fmt: skip

    @property
    def content_hash(self) -> str:
        """SHA-256 of what is asked, wherever it comes from."""
        content = self.model_dump(mode="json", include=set(PromptVersion.model_fields) - _LINEAGE)
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def labels(self) -> list[str]:
        """The answers that there are.

        Of pieces, these are their labels; of objects, their fields; of free text, there are none.
        """
        if isinstance(self.verbaliser, Spans):
            return sorted(self.verbaliser.labels)
        if isinstance(self.verbaliser, JsonAnswer):
            return sorted(self.verbaliser.fields)
        if isinstance(self.verbaliser, FreeText):
            return []
        return [each.label for each in self.verbaliser.options()]

    @property
    def variables(self) -> list[str]:
        """The columns whose values the messages show, sorted."""
        named = {name for m in self.messages for name in Template(m.content).variables}
        return sorted(named - _GIVEN)

    def check_columns(self, columns: Sequence[str], where: str) -> None:
        """See that records have what the messages show.

        Raises:
            DataError: a column is not there, or is the answer itself.
        """
        from workbench.core.errors import nearest_name

        for name in self.variables:
            if name in _HIDDEN:
                raise DataError(f"The prompt shows the column {name!r}, which is the answer",
                                where=where, next_step="Take it out of the messages.")  # fmt: skip
            if name not in columns:
                raise DataError(f"The prompt shows {name!r}, and the records have no such column",
                                where=where, next_step=nearest_name(name, columns))  # fmt: skip

    def fill(
        self, values: Mapping[str, Any], examples: Sequence[Example] = (), mask: str = ""
    ) -> Messages:
        """Return the messages for one record.

        Raises:
            DataError: a value is not there, or a template does what it may not.
        """
        given = {**values, OPTIONS: self.labels, EXAMPLES: list(examples), MASK: mask}
        return tuple(Message(m.role, Template(m.content).fill(given)) for m in self.messages)

    def save(self, draft: Draft) -> None:
        """Write ``prompt.json`` into a draft; the same version gives the same bytes."""
        kept = self.model_dump(mode="json", include=set(PromptVersion.model_fields))
        content = kept | {"content_hash": self.content_hash}
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        (draft.path / PROMPT_FILE).write_text(text, encoding="utf-8", newline="\n")
        is_scheme = self.task == "classify" and isinstance(self.verbaliser, WEIGHED)
        scheme = {"label_scheme": label_scheme(self.labels)} if is_scheme else {}
        draft.describe(
            task=self.task, answers=self.verbaliser.kind, labels=self.labels, **scheme,
            variables=self.variables, origin=self.origin, content_hash=self.content_hash[:12],
        )  # fmt: skip


def load_prompt(artifact: Artifact) -> PromptVersion:
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
        version = PromptVersion.model_validate(content)
    except ValidationError as error:
        raise DataError(f"{artifact.reference} is no valid prompt: {error.errors()[0]['msg']}",
                        where=str(path), next_step="Make the prompt again.") from error  # fmt: skip
    if version.content_hash != recorded:
        raise DataError(f"{artifact.reference} was changed: its content hash does not fit",
                        where=str(path), next_step="Make the prompt again.")  # fmt: skip
    return version
