"""Label texts with a prompt: each text gets the label whose sentences it is nearest to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import AfterValidator, model_validator

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError
from workbench.core.registry import stage
from workbench.core.spec import (
    ArtifactName,
    DatasetRef,
    ModelSource,
    ReadsArtifact,
    Spec,
    option,
    parse_reference,
)
from workbench.data.records import read_records, write_records
from workbench.prompts.prompt import PLACE, LabelSentences, Prompt, Template, load_prompt
from workbench.tasks.predictions import PREDICTED_LABEL, Scores, label_scheme, with_predictions

_CHUNK = 256  # texts per durable part

PromptRef = Annotated[
    str, AfterValidator(lambda text: str(parse_reference(text))), ReadsArtifact("prompt")
]
Vectors = npt.NDArray[np.float32]

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
_OF_THE_PROMPT = ("sentences", "template", "temperature")


class LabelSpec(Spec):
    """Which texts to label, and by which words."""

    name: ArtifactName = option(
        "labelled", title="Name", group="Result",
        help="Name of the labelled data set and of the prompt.",
    )  # fmt: skip
    dataset: DatasetRef = option(
        title="Data set", help="The texts to label; their own labels are not read.", group="Data"
    )
    model: ModelSource = option(
        "minilm", title="Sentence model", group="Model",
        help="Model that turns sentences into vectors: a name, a folder or an artifact.",
    )  # fmt: skip
    prompt: PromptRef | None = option(
        None, title="Prompt", group="Model",
        help="A prompt made before; its sentences, template and temperature are used.",
    )  # fmt: skip
    sentences: LabelSentences = option(
        SENTIMENT_SENTENCES, title="Label sentences", group="Model",
        help="For each label, sentences that a text with this label comes near to. Several "
        "phrasings of one label are averaged.",
    )  # fmt: skip
    template: Template = option(
        PLACE, title="Template", group="Model",
        help="How a text is put before the model; {text} stands for the text.",
    )  # fmt: skip
    temperature: float = option(
        0.1, title="Temperature", group="Rules", gt=0, le=10,
        help="How soft the probabilities are: softmax of cosine similarity over temperature.",
    )  # fmt: skip
    abstain_below: float = option(
        0.0, title="Abstain below", group="Rules", ge=0, le=1,
        help="Least probability for an answer; less sure rows get no predicted label.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _words_come_from_one_place(self) -> LabelSpec:
        if len(self.sentences) < 2:
            raise ValueError("sentences: give at least two labels")
        if self.prompt is not None:
            fields = type(self).model_fields
            given = [
                name
                for name in _OF_THE_PROMPT
                if getattr(self, name) != fields[name].get_default(call_default_factory=True)
            ]
            if given:
                raise ValueError(f"the prompt already holds {', '.join(given)}: give one or other")
        return self


class LabelOutputs(Outputs):
    """The labelled records, and the prompt that labelled them."""

    dataset: Draft
    prompt: Draft


def _fingerprint(spec: LabelSpec) -> str:
    """Hash a model that comes from outside the catalog; a reference is in the key already."""
    from workbench.models.resolve import fingerprint_model

    return fingerprint_model(spec.model) or spec.model


@stage(title="Label with a prompt", version=1, fingerprint=_fingerprint)
def label(spec: LabelSpec, run: RunContext) -> LabelOutputs:
    """Give each text the label whose sentences it is nearest to, and its probabilities.

    No training: a sentence model embeds texts and label sentences, cosine similarity decides. The
    words become a versioned prompt, which can label other texts later.
    """
    records = read_records(run.open(spec.dataset))
    if records.num_rows == 0:
        raise DataError(f"{spec.dataset} holds no text", where=spec.dataset,
                        next_step="Name a data set with texts.")  # fmt: skip
    folder, version = _open_model(spec.model, run)
    prompt = _prompt(spec, version, run)
    similarities = _similarities(prompt, folder, records["text"].to_pylist(), run)
    scores = probabilities(similarities, prompt.temperature)
    labelled = with_predictions(records, prompt.labels, scores, spec.abstain_below)
    abstained = labelled[PREDICTED_LABEL].null_count
    run.count_rows(read=records.num_rows, written=labelled.num_rows)
    dataset = run.save("dataset", spec.name)
    write_records(dataset, labelled)
    dataset.describe(
        labels=prompt.labels, label_scheme=label_scheme(prompt.labels), abstained=abstained,
        predicted=_counts(labelled, prompt.labels),
    )  # fmt: skip
    kept = run.save("prompt", spec.name + "-prompt")
    prompt.save(kept)
    return LabelOutputs(dataset=dataset, prompt=kept)


def _open_model(source: str, run: RunContext) -> tuple[Path, str]:
    """Return a sentence model's folder and what identifies its content."""
    from workbench.models.resolve import fingerprint_model, resolve_model

    if "@" in source:
        artifact = run.open(source)
        return artifact.path, artifact.version
    return resolve_model(source), fingerprint_model(source) or ""


def _prompt(spec: LabelSpec, model_version: str, run: RunContext) -> Prompt:
    """Return the prompt that is named, or the one that the Spec's words make."""
    if spec.prompt is None:
        return Prompt(
            template=spec.template, sentences=spec.sentences, temperature=spec.temperature,
            model=spec.model, model_version=model_version,
        )  # fmt: skip
    prompt = load_prompt(run.open(spec.prompt))
    if prompt.model_version != model_version:
        run.log(f"{spec.prompt} was made with {prompt.model} and is now used with {spec.model}")
    return prompt.model_copy(update={"model": spec.model, "model_version": model_version})


def _similarities(
    prompt: Prompt, folder: Path, texts: Sequence[str], run: RunContext
) -> npt.NDArray[np.float32]:
    """Cosine of each text with each label, [num_texts, num_labels], from durable parts."""
    from workbench.models.embed import Embedder

    embedder = Embedder(folder, num_threads=run.threads_per_worker)
    directions = label_directions(prompt, embedder.embed)
    parts = []
    for number, start in enumerate(range(0, len(texts), _CHUNK)):
        filled = [prompt.filled_in(text) for text in texts[start : start + _CHUNK]]

        def write(target: Path, filled: Sequence[str] = filled) -> None:
            cosine = embedder.embed(filled) @ directions.T
            np.save(target / "cosine.npy", cosine, allow_pickle=False)

        part = run.checkpoint(f"cosine-{number:05d}", write)
        parts.append(np.load(part / "cosine.npy", allow_pickle=False))
        run.progress(min(start + _CHUNK, len(texts)), len(texts), "texts")
        run.stop_if_asked()
    return np.concatenate(parts)


def label_directions(prompt: Prompt, embed: Any) -> Vectors:
    """Return one unit vector per label [num_labels, d]: the mean of its sentences' vectors.

    Averaging phrasings makes a prompt less a matter of luck with one wording; the prompt ensemble
    of Radford et al. 2021, section 3.1.4.

    Args:
        prompt: the label sentences.
        embed: turns texts into unit vectors [n, d].
    """
    means = [embed(prompt.sentences[name]).mean(axis=0) for name in prompt.labels]
    stacked = np.stack(means)
    unit: Vectors = stacked / np.linalg.norm(stacked, axis=1, keepdims=True)
    return unit.astype(np.float32)


def probabilities(similarities: npt.NDArray[np.float32], temperature: float) -> Scores:
    """Softmax of similarity over temperature, float32 [n, num_labels]."""
    scaled = similarities.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    shares: Scores = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares


def _counts(labelled: pa.Table, labels: Sequence[str]) -> dict[str, int]:
    predicted = labelled[PREDICTED_LABEL].to_pylist()
    return {name: predicted.count(name) for name in labels}
