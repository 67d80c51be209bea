"""Label records with a prompt: a scorer answers it for each, and says how sure it is."""

from __future__ import annotations

from typing import Annotated, Literal

import pyarrow.compute as pc
from pydantic import AfterValidator, Field, model_validator

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError
from workbench.core.registry import stage
from workbench.core.spec import (
    ArtifactName,
    DatasetRef,
    ReadsArtifact,
    Spec,
    option,
    parse_reference,
)
from workbench.data.records import read_records, write_records
from workbench.prompts.ask import Questioner
from workbench.prompts.scorers.embedding import EmbeddingScorerSpec
from workbench.prompts.scorers.kinds import AnyScorer
from workbench.prompts.verbaliser import WEIGHED, Choice, LabelWords
from workbench.prompts.version import MessageTemplate, PromptVersion, load_prompt
from workbench.tasks.predictions import PREDICTED_LABEL, label_scheme

PromptRef = Annotated[
    str, AfterValidator(lambda text: str(parse_reference(text))), ReadsArtifact("prompt")
]

# Chosen on the 2,000 validation tweets of TweetEval sentiment, greedily from 20 phrasings a label.
SENTIMENT_SENTENCES: dict[str, list[str]] = {
    "negative": [
        "I am angry and upset about this, it is terrible.",
        "People were hurt and killed.",
        "This is sad news.",
        "This is terrible.",
    ],
    "neutral": [
        "Here is some information about an event.",
        "According to the report.",
    ],
    "positive": [
        "I am so happy about this, I love it!",
        "I can't wait for this, it will be amazing!",
        "This was a complete success.",
        "This is the best, I enjoy it a lot.",
        "This is fun and exciting.",
    ],
}
_OF_THE_PROMPT = ("sentences", "template", "temperature", "calibration", "abstain_below")


class LabelSpec(Spec):
    """Which records to label, by which prompt, and what answers it."""

    name: ArtifactName = option(
        "labelled", title="Name", group="Result",
        help="Name of the labelled data set and, with -prompt, of the prompt.",
    )  # fmt: skip
    dataset: DatasetRef = option(
        title="Data set", help="The records to label; their own labels are not read.", group="Data"
    )
    scorer: AnyScorer = option(
        EmbeddingScorerSpec(), title="Scorer", group="Model",
        help="What answers the prompt: a sentence model, a language model, a function of yours.",
    )  # fmt: skip
    prompt: PromptRef | None = option(
        None, title="Prompt", group="Prompt",
        help="A prompt made before; without one, the fields below make one.",
    )  # fmt: skip
    sentences: LabelWords = option(
        SENTIMENT_SENTENCES, title="Label sentences", group="Prompt",
        help="For each label, sentences that a text with this label comes near to, or words that "
        "a language model would go on with. Several phrasings of one label are taken together.",
    )  # fmt: skip
    template: Annotated[str, Field(max_length=50_000)] = option(
        "{{ text }}", title="Template", group="Prompt",
        help="How a record is put before the scorer; {{ text }} stands for its text, other "
        "columns by their names.",
    )  # fmt: skip
    temperature: float = option(
        1.0, title="Temperature", group="Rules", gt=0, le=100,
        help="How soft the probabilities are: softmax of the scorer's weights over temperature.",
    )  # fmt: skip
    calibration: Literal["none", "contextual", "batch"] = option(
        "none", title="Calibration", group="Rules",
        help="Takes out what the scorer prefers whatever the text: contextual asks it about texts "
        "without content, batch takes the mean over all texts.",
    )  # fmt: skip
    abstain_below: float = option(
        0.0, title="Abstain below", group="Rules", ge=0, le=1,
        help="Least probability for an answer; less sure rows get no predicted label.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _words_come_from_one_place(self) -> LabelSpec:
        if self.prompt is None:
            self.written_here()  # refuses what makes no prompt
            return self
        fields = type(self).model_fields
        given = [
            name for name in _OF_THE_PROMPT
            if getattr(self, name) != fields[name].get_default(call_default_factory=True)
        ]  # fmt: skip
        if given:
            raise ValueError(f"the prompt already holds {', '.join(given)}: give one or other")
        return self

    def written_here(self) -> PromptVersion:
        """Return the prompt that the fields of this Spec make."""
        return PromptVersion(
            messages=[MessageTemplate(content=self.template)],
            verbaliser=Choice(
                words=self.sentences, temperature=self.temperature, calibration=self.calibration,
                abstain_below=self.abstain_below,
            ),
        )  # fmt: skip


class LabelOutputs(Outputs):
    """The labelled records, and the prompt that labelled them."""

    dataset: Draft
    prompt: Draft


@stage(title="Label with a prompt", version=2, fingerprint=lambda spec: spec.scorer.fingerprint())
def label(spec: LabelSpec, run: RunContext) -> LabelOutputs:
    """Give each record a prompt's answer, and the probability of each answer.

    No training: a scorer answers the prompt. Answers that are choices become predicted labels with
    probabilities, others a column of their own. The prompt is kept as a version, which can label
    other records later, with this scorer or another.

    Raises:
        SpecError: the scorer cannot give the answers that the prompt asks for.
        DataError: a column that the prompt shows is not there, or there is no record.
    """
    version = load_prompt(run.open(spec.prompt)) if spec.prompt else spec.written_here()
    records = read_records(run.open(spec.dataset))
    if records.num_rows == 0:
        raise DataError(f"{spec.dataset} holds no text", where=spec.dataset,
                        next_step="Name a data set with texts.")  # fmt: skip
    answered = Questioner(version, spec.scorer, run).answer(records, spec.dataset)
    run.count_rows(read=records.num_rows, written=answered.table.num_rows)
    if answered.num_unreadable:
        run.log(f"{answered.num_unreadable} answers cannot be read as any of the prompt's",
                unreadable=answered.num_unreadable)  # fmt: skip
    dataset = run.save("dataset", spec.name)
    write_records(dataset, answered.table)
    facts: dict[str, object] = {
        "scorer": spec.scorer.kind, "scorer_hash": (spec.scorer.fingerprint() or "")[:12],
        "prompt": version.content_hash[:12],
    }  # fmt: skip
    if isinstance(version.verbaliser, WEIGHED):
        counts = pc.value_counts(answered.table[PREDICTED_LABEL]).to_pylist()
        told = {each["values"]: each["counts"] for each in counts}
        facts |= {
            "labels": version.labels, "label_scheme": label_scheme(version.labels),
            "abstained": told.get(None, 0),
            "predicted": {name: told.get(name, 0) for name in version.labels},
        }  # fmt: skip
    dataset.describe(**facts, unreadable=answered.num_unreadable)
    kept = run.save("prompt", f"{spec.name}-prompt")
    version.save(kept)
    return LabelOutputs(dataset=dataset, prompt=kept)
