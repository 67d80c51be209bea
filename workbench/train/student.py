"""Cutting a student out of its teacher: fewer layers, fewer words, a stock configuration."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.core.errors import DataError, SpecError, StageError
from workbench.models.folder import (
    CONFIG,
    TOKENIZER,
    TOKENIZER_CONFIG,
    WEIGHTS,
    labels_of,
    max_tokens_of,
    read_json,
    write_facts,
    write_json,
)
from workbench.train.vocabulary import PrunedVocabulary

Weights = dict[str, npt.NDArray[Any]]

_LAYER = re.compile(r"(?P<before>.*\blayers?\.)(?P<number>\d+)(?P<after>\..*)")
_NUM_LAYERS = ("num_hidden_layers", "n_layers")  # DistilBERT has its own word for it
_WORDS = "word_embeddings.weight"


def kept_layers(num_layers: int, num_kept: int) -> list[int]:
    """Return which of a teacher's layers a student keeps: evenly spread, first and last among them.

    Source: Sanh et al. 2019 (a student starts from every other layer of its teacher).
    """
    if num_kept == 1:
        return [num_layers - 1]
    return [round(n * (num_layers - 1) / (num_kept - 1)) for n in range(num_kept)]


def make_student(
    teacher: Path, target: Path, num_layers: int, vocabulary: PrunedVocabulary | None
) -> None:
    """Write a student as a stock model folder; all of its weights are the teacher's.

    Args:
        teacher: a native classifier folder.
        target: the new folder; replaced if it exists.
        num_layers: how many layers to keep.
        vocabulary: which words to keep; all when None.

    Raises:
        SpecError: the teacher has fewer layers.
        DataError: the teacher is no native float32 checkpoint of one file.
        StageError: the teacher's weights are not laid out as its configuration says.
    """
    config = read_json(teacher / CONFIG)
    key = next((name for name in _NUM_LAYERS if name in config), None)
    if key is None:
        raise DataError("The teacher's configuration names no number of layers",
                        where=str(teacher / CONFIG),
                        next_step="Use a BERT-like teacher.")  # fmt: skip
    if num_layers > config[key]:
        raise SpecError(f"The teacher has {config[key]} layers, the student shall have "
                        f"{num_layers}", where="num_layers",
                        next_step=f"Give at most {config[key]}.")  # fmt: skip
    kept = kept_layers(config[key], num_layers)
    weights = _keep_layers(_read_weights(teacher), kept, config[key])
    config[key] = num_layers
    partial = target.with_name(target.name + ".partial")
    for leftover in (partial, target):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    if vocabulary is None:
        shutil.copyfile(teacher / TOKENIZER, partial / TOKENIZER)
    else:
        weights = _keep_words(weights, config, vocabulary)
        write_json(partial / TOKENIZER, vocabulary.tokenizer)
    _write(partial, config, weights, teacher)
    partial.rename(target)


def _read_weights(teacher: Path) -> Weights:
    from safetensors import safe_open

    with safe_open(teacher / WEIGHTS, framework="numpy") as file:
        names = list(file.keys())
        kinds = {file.get_slice(name).get_dtype() for name in names}
        if kinds - {"F32", "I64"}:
            raise DataError(f"The teacher's weights are {', '.join(sorted(kinds))}",
                            where=str(teacher / WEIGHTS),
                            next_step="Save the teacher in float32.")  # fmt: skip
        return {name: file.get_tensor(name) for name in names}


def _keep_layers(weights: Weights, kept: list[int], num_layers: int) -> Weights:
    new = {old: number for number, old in enumerate(kept)}
    found: set[int] = set()
    result: Weights = {}
    for name, value in weights.items():
        match = _LAYER.fullmatch(name)
        if match is None:
            result[name] = value
            continue
        old = int(match["number"])
        found.add(old)
        if old in new:
            result[f"{match['before']}{new[old]}{match['after']}"] = value
    if found != set(range(num_layers)):
        raise StageError(
            f"The teacher has weights of {len(found)} layers, its configuration says {num_layers}",
            next_step="Use a BERT-like teacher with one stack of layers.",
        )
    return result


def _keep_words(weights: Weights, config: dict[str, Any], vocabulary: PrunedVocabulary) -> Weights:
    """Keep the rows of the kept words, and let the configuration say so."""
    names = [name for name in weights if name.endswith(_WORDS)]
    if len(names) != 1 or len(weights[names[0]]) != config["vocab_size"]:
        raise StageError(f"The teacher has no {_WORDS} of {config['vocab_size']} rows",
                         next_step="Set vocabulary to 'teacher'.")  # fmt: skip
    config["vocab_size"] = len(vocabulary.kept)
    for key, value in config.items():
        if key.endswith("_token_id") and isinstance(value, int):
            config[key] = vocabulary.new_id(value)
    words = np.ascontiguousarray(weights[names[0]][vocabulary.kept])
    return {**weights, names[0]: words}


def _write(folder: Path, config: dict[str, Any], weights: Weights, teacher: Path) -> None:
    from safetensors.numpy import save_file

    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    write_json(folder / CONFIG, config)
    if (teacher / TOKENIZER_CONFIG).exists():
        tokenizer_config = read_json(teacher / TOKENIZER_CONFIG)
        tokenizer_config.pop("added_tokens_decoder", None)  # it repeats ids of the teacher
        write_json(folder / TOKENIZER_CONFIG, tokenizer_config)
    write_facts(folder, labels_of(teacher), max_tokens_of(teacher))
