"""Native checkpoints: stock transformers models from safetensors, every weight accounted for."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.errors import DataError, StageError
from workbench.models.folder import (
    CONFIG,
    FACTS,
    OWN_MODEL,
    WEIGHTS,
    check_folder,
    copy_tokenizer,
    is_native,
    read_json,
    write_facts,
    write_json,
)

if TYPE_CHECKING:
    import torch


def open_classifier(folder: Path) -> torch.nn.Module:
    """Open a classifier whose every weight is in its folder, in float32.

    Raises:
        DataError: the folder was refused, or is no native checkpoint.
        StageError: a weight is missing, left over or of another shape.
    """
    from transformers import AutoModelForSequenceClassification

    model, report = _open(AutoModelForSequenceClassification, folder)
    _expect_all(folder, missing=report["missing_keys"], left_over=report["unexpected_keys"])
    return model


def open_encoder(folder: Path) -> torch.nn.Module:
    """Open the encoder below a model's head, in float32; a head in the folder is left out.

    Raises:
        DataError: the folder was refused, or is no native checkpoint.
        StageError: a weight of the encoder itself is missing or of another shape.
    """
    from transformers import AutoModel

    model, report = _open(AutoModel, folder)
    _expect_all(folder, missing=_without_pooler(report["missing_keys"]), left_over=[])
    return model


def new_classifier(folder: Path, labels: Sequence[str], seed: int) -> torch.nn.Module:
    """Put a fresh head for these labels on a folder's encoder.

    The same folder, labels and seed give the same weights.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    names = dict(enumerate(labels))
    config = AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, id2label=names,
        label2id={label: number for number, label in names.items()}, dtype=torch.float32,
    )  # fmt: skip
    config.problem_type = "single_label_classification"
    torch.manual_seed(seed)
    encoder: Any = open_encoder(folder)
    prefix = encoder.base_model_prefix
    weights = {f"{prefix}.{name}": tensor for name, tensor in encoder.state_dict().items()}
    with torch.device("meta"):  # only to learn the class: nothing is allocated or drawn
        kind = type(AutoModelForSequenceClassification.from_config(config))
    with quiet_transformers():
        # Draws what is missing alone; from_config would draw all, to be overwritten: 0.2 s.
        model, report = kind.from_pretrained(
            None, config=config, state_dict=weights, dtype=torch.float32,
            attn_implementation="sdpa", output_loading_info=True,
        )  # fmt: skip
    missing = [key for key in report["missing_keys"] if key.startswith(f"{prefix}.")]
    _expect_all(
        folder,
        missing=_without_pooler(missing),
        left_over=_without_pooler(report["unexpected_keys"]),
    )
    return model  # type: ignore[no-any-return]


def _open(kind: Any, folder: Path) -> tuple[torch.nn.Module, dict[str, Any]]:
    import torch

    check_folder(folder)
    if read_json(folder / CONFIG).get("model_type") == OWN_MODEL:
        raise DataError(
            "The model is of somebody's own code, which does not come with it: it answers by its "
            "ONNX graph alone",
            where=str(folder),
            next_step="Name a stock model here; to train this one further, train it again with "
            "the same @model and more epochs.",
        )
    if not is_native(folder):
        raise DataError("The model is no native checkpoint", where=str(folder),
                        next_step=f"Name a model with {WEIGHTS}.")  # fmt: skip
    with quiet_transformers():
        model, report = kind.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True,
            dtype=torch.float32, attn_implementation="sdpa", output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that the report tells them; none is let through
        )  # fmt: skip
    _refuse_other_shapes(folder, report["mismatched_keys"])
    return model, report


def _refuse_other_shapes(folder: Path, mismatched: Collection[tuple[str, Any, Any]]) -> None:
    for name, in_file, in_model in sorted(mismatched):
        raise StageError(
            f"The checkpoint and its configuration differ: {name} is {tuple(in_file)} in the file "
            f"and {tuple(in_model)} by the configuration",
            where=str(folder),
            next_step="Repair the configuration, or name the model that the weights belong to.",
        )


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep progress bars and load reports off; ``_expect_all`` raises what they only tell."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _expect_all(folder: Path, *, missing: Sequence[str], left_over: Sequence[str]) -> None:
    if missing or left_over:
        names = sorted(missing) or sorted(left_over)
        raise StageError(
            f"The checkpoint and its configuration differ: {len(missing)} weights are missing, "
            f"{len(left_over)} left over, such as {names[0]}",
            where=str(folder),
            next_step="Repair the configuration; weights made up at random would go unnoticed.",
        )


def _without_pooler(keys: Sequence[str]) -> list[str]:
    # Classifiers of some families have no pooler, encoders of others were saved without one.
    return [key for key in keys if "pooler" not in key.split(".") and "position_ids" not in key]


def save_classifier(
    model: torch.nn.Module, target: Path, tokenizer_from: Path, max_tokens: int
) -> None:
    """Write a classifier as a folder that stock transformers opens; the same model, same bytes."""
    target.mkdir(parents=True, exist_ok=True)
    save_weights(model, target)
    save_description(model, target, tokenizer_from, max_tokens)


def save_weights(model: torch.nn.Module, target: Path) -> None:
    """Write a model's weights into a folder."""
    from safetensors.torch import save_file

    weights: dict[str, torch.Tensor] = {}
    places: set[tuple[int, int]] = set()
    for name, tensor in model.state_dict().items():
        place = (tensor.data_ptr(), tensor.numel())
        if place not in places:  # else tied to one that is there; whoever opens it ties them again
            places.add(place)
            # A copy: parameters that are views of one buffer are no tensors of their own yet.
            weights[name] = tensor.detach().cpu().clone().contiguous()
    save_file(weights, target / WEIGHTS, metadata={"format": "pt"})


def save_description(
    model: torch.nn.Module, target: Path, tokenizer_from: Path, max_tokens: int
) -> None:
    """Write all of a classifier's folder but its weights."""
    save_config(model, target)
    config: Any = model.config
    copy_tokenizer(tokenizer_from, target, max_tokens)
    write_facts(target, list(config.id2label.values()), max_tokens)


def open_language_model(folder: Path, task: str) -> torch.nn.Module:
    """Open a ``masked`` or ``causal`` language model whose every weight is in its folder.

    Raises:
        DataError: the folder was refused, or is no native checkpoint.
        StageError: a weight is missing, left over or of another shape.
    """
    model, report = _open(language_model_class(task), folder)
    _expect_all(folder, missing=report["missing_keys"], left_over=report["unexpected_keys"])
    return model


def language_model_class(task: str) -> Any:
    """Return what opens language models of a task: ``masked`` or ``causal``."""
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    return AutoModelForMaskedLM if task == "masked" else AutoModelForCausalLM


def save_language_description(
    model: torch.nn.Module, target: Path, tokenizer_from: Path, task: str, max_tokens: int
) -> None:
    """Write all of a language model's folder but its weights."""
    save_config(model, target)
    copy_tokenizer(tokenizer_from, target, max_tokens)
    write_json(target / FACTS, {"task": task, "max_tokens": max_tokens})


def save_config(model: torch.nn.Module, target: Path) -> None:
    """Write a model's configuration, the same bytes for the same model."""
    config: Any = model.config
    config.architectures = [type(model).__name__.removeprefix("FSDP")]
    config.save_pretrained(target)
    told = read_json(target / CONFIG)
    told.pop("_name_or_path", None)  # a path of this machine is no part of the model
    write_json(target / CONFIG, told)


def num_parameters(folder: Path) -> int:
    """Count a native checkpoint's weights from its header, without loading them."""
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, framework="numpy") as weights:
        shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    return sum(math.prod(shape) for shape in shapes)


def megabytes(path: Path) -> float:
    """Return a file's size in units of 10^6 bytes, to two digits."""
    return round(path.stat().st_size / 1e6, 2)
