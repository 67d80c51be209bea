"""The import_model stage: a model from outside as an artifact with a version."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError, StageError
from workbench.core.known_hashes import hash_file_once
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, ModelSource, Spec, option
from workbench.models.folder import (
    CONFIG,
    FACTS,
    ONNX_FILES,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WEIGHTS,
    check_folder,
    is_native,
    labels_of,
    max_tokens_of,
    read_json,
    write_json,
)
from workbench.models.resolve import fingerprint_model, resolve_model

_INDEX = f"{WEIGHTS}.index.json"
_DESCRIPTION = (
    CONFIG, TOKENIZER, TOKENIZER_CONFIG, "special_tokens_map.json", "generation_config.json",
    "sentence_bert_config.json", FACTS,
)  # fmt: skip


class ImportModelSpec(Spec):
    """Make a model from outside an artifact."""

    model: ModelSource = option(
        title="Model", help="A Hugging Face folder, a file of safetensors, or a name on the hub.",
        group="Data", min_length=1,
    )  # fmt: skip
    like: ModelSource | None = option(
        None, title="Like", help="For a file of weights alone: the model whose configuration and "
        "tokenizer it belongs to; what lies beside the file when empty.", group="Data",
    )  # fmt: skip
    name: ArtifactName = option(
        "imported", title="Name", help="Name of the resulting model.", group="Result"
    )


class ImportModelOutputs(Outputs):
    """The model."""

    model: Draft


def _fingerprint(spec: ImportModelSpec) -> str | None:
    file = _weights_file(spec)
    if file is None:
        return fingerprint_model(spec.model)
    like = fingerprint_model(spec.like or str(file.parent))
    return None if like is None else f"{hash_file_once(file)} {like}"


@stage(title="Import a model", version=1, fingerprint=_fingerprint)
def import_model(spec: ImportModelSpec, run: RunContext) -> ImportModelOutputs:
    """Make a model from outside an artifact: with a version, and every weight accounted for.

    Raises:
        DataError: a file is missing, or the model was refused: its weights are pickled, or it
            brings code.
        StageError: weights and configuration differ.
        ResourceError: no place has the model.
    """
    draft = run.save("model", spec.name)
    file = _weights_file(spec)
    run.progress(0, 2, "steps", "copying")
    source = _described_by(spec, file, run)
    for name in (*_DESCRIPTION, *ONNX_FILES):
        if (source / name).is_file() and not (file and name in ONNX_FILES):
            shutil.copyfile(source / name, draft.path / name)
    if file is not None:
        shutil.copyfile(file, draft.path / WEIGHTS)
    elif is_native(source):
        _copy_weights(source, draft.path / WEIGHTS)
    run.stop_if_asked()
    run.progress(1, 2, "steps", "opening")
    _describe(draft, run)
    draft.describe(imported_from=spec.model)
    run.progress(2, 2, "steps")
    return ImportModelOutputs(model=draft)


def _weights_file(spec: ImportModelSpec) -> Path | None:
    """Return the file of weights, if the Spec names one and no folder.

    Raises:
        DataError: it is a file of another kind.
    """
    path = Path(spec.model)
    if not path.is_absolute() or not path.is_file():
        return None
    if path.suffix != ".safetensors":
        raise DataError(
            f"{path.name} is no file of safetensors",
            where=spec.model,
            next_step="Save the weights with safetensors: pickled ones (.bin, .pt) are never "
            "opened, as opening one runs whatever code is in it.",
        )
    return path


def _described_by(spec: ImportModelSpec, file: Path | None, run: RunContext) -> Path:
    """Return the folder that has configuration and tokenizer."""
    if file is not None and spec.like is None:
        return check_folder(file.parent)
    known = spec.model if file is None else str(spec.like)
    return run.open(known).path if "@" in known else resolve_model(known)


def _copy_weights(source: Path, target: Path) -> None:
    """Copy weights into one file, whether they come in one or in several."""
    if (source / WEIGHTS).is_file():
        shutil.copyfile(source / WEIGHTS, target)
        return
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import save_file

    names: Mapping[str, str] = read_json(source / _INDEX).get("weight_map") or {}
    weights: dict[str, Any] = {}
    for part in sorted(set(names.values())):
        path = source / part
        if path.parent != source or not path.is_file():
            raise DataError(f"The index names {part!r}, which is not there", where=str(source),
                            next_step="Get the model again.")  # fmt: skip
        try:
            with safe_open(path, framework="numpy") as opened:
                weights |= {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise DataError(f"{part} is damaged: {error}", where=str(path),
                            next_step="Get the model again.") from error  # fmt: skip
    save_file(weights, target, metadata={"format": "pt"})


def _describe(draft: Draft, run: RunContext) -> None:
    """Open the model as what it says it is, and tell what it is."""
    from workbench.models.checkpoint import megabytes, num_parameters

    check_folder(draft.path)
    config = read_json(draft.path / CONFIG)
    max_tokens = max_tokens_of(draft.path)
    facts: dict[str, Any] = {"task": _opened_as(draft.path, config, run), "max_tokens": max_tokens}
    if facts["task"] == "classify":
        facts["labels"] = labels_of(draft.path)
    write_json(draft.path / FACTS, facts)
    draft.describe(**facts, kind=str(config.get("model_type", "")))
    if is_native(draft.path):
        weights = draft.path / WEIGHTS
        draft.describe(parameters=num_parameters(draft.path), megabytes=megabytes(weights))


def _opened_as(folder: Path, config: Mapping[str, Any], run: RunContext) -> str:
    """Return the task that the model's every weight serves; ``encode`` if only its body does."""
    from workbench.models.checkpoint import open_classifier, open_encoder, open_language_model
    from workbench.models.predictor import load_predictor

    if not is_native(folder):
        load_predictor(folder).predict(["a text", ""])
        return "classify"
    names = " ".join(config.get("architectures") or ())
    openers: dict[str, Callable[[], object]] = {}
    if "ForSequenceClassification" in names:
        openers["classify"] = lambda: open_classifier(folder)
    elif "ForMaskedLM" in names:
        openers["masked"] = lambda: open_language_model(folder, "masked")
    elif "ForCausalLM" in names or "LMHead" in names:
        openers["causal"] = lambda: open_language_model(folder, "causal")
    for task, opened in openers.items():
        try:
            opened()
        except StageError as error:
            if task == "classify":
                raise
            run.log(f"It is taken as an encoder: {error.what}")
        else:
            return task
    open_encoder(folder)
    return "encode"
