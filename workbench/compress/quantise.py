"""The quantise stage: a classifier in 8-bit integers, proved to answer as before."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import StageError
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, DatasetRef, ModelRef, Spec, option, parse_reference
from workbench.data.records import read_records
from workbench.models.folder import (
    CONFIG,
    ONNX_FILES,
    TOKENIZER,
    TOKENIZER_CONFIG,
    labels_of,
    max_tokens_of,
    write_facts,
)
from workbench.models.onnx_export import export_onnx
from workbench.models.predictor import load_predictor

# Used where no data set is given: enough to see a graph that does not work, not to judge it.
_PLAIN_TEXTS = (
    "This is good.", "This is bad.", "I have no opinion on it.", "What a day!",
    "The train was late again, and nobody told us why.", "Thank you so much for your help.",
    "Prices rose by 3 % in the last quarter.", "I would not recommend it to anyone.",
)  # fmt: skip


class QuantiseSpec(Spec):
    """Turn a classifier's weights into 8-bit integers."""

    model: ModelRef = option(
        title="Model", help="The classifier to quantise, a native one.", group="Data"
    )
    dataset: DatasetRef | None = option(
        None, title="Check on", help="Texts (no labels needed) on which the result must answer as "
        "the original does; a few plain sentences when empty.", group="Data",
    )  # fmt: skip
    num_texts: int = option(
        500, title="Texts to check", help="Most texts of that set to answer twice.", unit="texts",
        group="Data", ge=8, le=1_000_000,
    )  # fmt: skip
    max_drop: float = option(
        0.02, title="Most disagreement", help="Share of texts that may get another label than "
        "from the original; above it the run fails.", group="Rules", ge=0, le=1,
    )  # fmt: skip
    per_channel: bool = option(
        True, title="Per channel", help="One scale for each output instead of one for each "
        "matrix: more exact, and no slower.", group="Model",
    )  # fmt: skip
    reduce_range: bool = option(
        False, title="7-bit weights", help="For processors without VNNI instructions (before "
        "2019), on which 8-bit sums overflow.", group="Model",
    )  # fmt: skip
    name: ArtifactName | None = option(
        None, title="Name", help="Name of the result; the model's name with -int8 when empty.",
        group="Result",
    )  # fmt: skip


class QuantiseOutputs(Outputs):
    """The quantised classifier."""

    model: Draft


@stage(title="Quantise", version=1)
def quantise(spec: QuantiseSpec, run: RunContext) -> QuantiseOutputs:
    """Turn a classifier's weights into 8-bit integers: a quarter of the size, about twice as fast.

    Weights of matrices and of word embeddings become integers, activations are scaled as they
    come (dynamic quantisation). The result is one ONNX file that serves without torch.

    Raises:
        DataError: the model is no native classifier, or was refused.
        StageError: the exported graph differs from the model, or the quantised one gives more
            than ``max_drop`` of the texts another label.
    """
    source = run.open(spec.model).path
    draft = run.save("model", spec.name or f"{parse_reference(spec.model).name}-int8")
    run.progress(0, 3, "steps", "exporting")
    exported = run.checkpoint("onnx", lambda folder: _export(source, folder))
    run.stop_if_asked()
    run.progress(1, 3, "steps", "quantising")
    _quantise(exported / ONNX_FILES[1], draft.path / ONNX_FILES[0], spec)
    _copy_facts(source, draft.path)
    run.progress(2, 3, "steps", "checking")
    texts = _texts(spec, run)
    agreement = _agreement(exported, draft.path, texts, run.threads_per_worker)
    _check(agreement, len(texts), spec)
    _describe(draft, source, agreement, len(texts))
    run.progress(3, 3, "steps")
    return QuantiseOutputs(model=draft)


def _export(source: Path, folder: Path) -> None:
    graph = source / ONNX_FILES[1]
    if graph.is_file():  # of a user's own module, or of several models together
        shutil.copyfile(graph, folder / graph.name)
    else:
        export_onnx(source, folder / graph.name)
    _copy_facts(source, folder)


def _quantise(source: Path, target: Path, spec: QuantiseSpec) -> None:
    import logging

    from onnxruntime.quantization import QuantType, quantize_dynamic

    # It advises on the root logger to preprocess the graph, which the exporter has done.
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        quantize_dynamic(
            source, target, weight_type=QuantType.QInt8, per_channel=spec.per_channel,
            reduce_range=spec.reduce_range,
            # All operators would include Attention, whose quantised form is no valid graph.
            op_types_to_quantize=["MatMul", "Gather"],
        )  # fmt: skip
    finally:
        root.setLevel(level)


def _copy_facts(source: Path, target: Path) -> None:
    """Copy what tells labels and tokens of a model to another form of it."""
    for name in (CONFIG, TOKENIZER, TOKENIZER_CONFIG):
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
    write_facts(target, labels_of(source), max_tokens_of(source))


def _texts(spec: QuantiseSpec, run: RunContext) -> list[str]:
    """Return texts spread evenly over the data set."""
    if spec.dataset is None:
        return list(_PLAIN_TEXTS)
    column = read_records(run.open(spec.dataset), ["text"])["text"]
    at = np.unique(np.linspace(0, len(column) - 1, min(len(column), spec.num_texts)).astype(int))
    texts: list[str] = column.take(at).to_pylist()
    return texts


def _agreement(exact: Path, quantised: Path, texts: list[str], num_threads: int) -> float:
    """Return the share of texts to which both give the same label."""
    answers = [
        load_predictor(folder, num_threads).predict(texts).argmax(axis=1)
        for folder in (exact, quantised)
    ]
    return float((answers[0] == answers[1]).mean())


def _check(agreement: float, num_texts: int, spec: QuantiseSpec) -> None:
    if 1 - agreement > spec.max_drop:
        raise StageError(
            f"The quantised model gives {1 - agreement:.1%} of {num_texts} texts another label; "
            f"{spec.max_drop:.1%} are allowed",
            where=spec.model,
            next_step="Try per_channel=True or reduce_range=True, or allow more with max_drop.",
        )


def _describe(draft: Draft, source: Path, agreement: float, num_texts: int) -> None:
    from workbench.models.checkpoint import megabytes, num_parameters

    draft.describe(
        task="classify", labels=labels_of(source), max_tokens=max_tokens_of(source),
        parameters=num_parameters(source), megabytes=megabytes(draft.path / ONNX_FILES[0]),
        agreement=round(agreement, 4), texts_checked=num_texts,
    )  # fmt: skip
