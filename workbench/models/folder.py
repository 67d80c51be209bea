"""Model folders: what they must hold, what they may not hold, and what they say of themselves.

Any model may be a trap: configurations have carried code, weights have been pickles, ONNX files
have pointed out of their folder. Everything that opens a model comes through ``check_folder``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from workbench.core.errors import DataError

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
WEIGHTS = "model.safetensors"
ONNX_FILES = ("model.int8.onnx", "model.onnx")
OWN_MODEL = "own"  # the model_type of a user's own module, whose code is in the run that made it
FACTS = "workbench.json"  # what the runtime needs: task, labels, max_tokens

# Keys by which a configuration makes a library import or download code.
_CODE_KEYS = frozenset({"auto_map", "custom_pipelines", "custom_generate", "trust_remote_code"})
_KERNEL_KEYS = ("attn_implementation", "experts_implementation")
_PLAIN_KERNELS = frozenset({None, "eager", "sdpa"})  # any other may name a kernel on a hub
_SENTENCE_CONFIG = "sentence_bert_config.json"
_TOKENS_WHEN_UNKNOWN = 512


def check_folder(folder: Path) -> Path:
    """Return the folder if a model in it can be opened without running any code of its own.

    Raises:
        DataError: a file is missing or no JSON; the weights are pickled only; a configuration
            names code, a kernel, a quantisation or an adapter.
    """
    for name in (CONFIG, TOKENIZER):
        if not (folder / name).is_file():
            raise DataError(f"The model has no {name}", where=str(folder),
                            next_step="Name a folder that holds the whole model.")  # fmt: skip
    if (folder / "adapter_config.json").exists():
        raise _trap(folder / "adapter_config.json", "an adapter that would be loaded unasked")
    for name in (CONFIG, TOKENIZER_CONFIG):
        for key, value in _pairs(read_json(folder / name)):
            _check_key(folder / name, key, value)
    if not (is_native(folder) or onnx_file(folder)):
        raise DataError(
            f"The model has neither {WEIGHTS} nor {' nor '.join(ONNX_FILES)}",
            where=str(folder),
            next_step="Save it with safetensors: pickled weights (.bin, .pt) are never opened, "
            "as opening one runs whatever code is in it.",
        )
    return folder


def _check_key(path: Path, key: str, value: Any) -> None:
    if key in _CODE_KEYS and value:
        raise _trap(path, f"{key!r}, which runs code that came with the model")
    if key == "quantization_config" and value:
        raise _trap(path, "a quantised checkpoint; only plain float weights are opened")
    if key.removeprefix("_") in _KERNEL_KEYS and not _is_plain_kernel(value):
        raise _trap(path, f"{key} = {value!r}, which may fetch a kernel")


def _is_plain_kernel(value: Any) -> bool:
    values = value.values() if isinstance(value, dict) else [value]
    return all(item in _PLAIN_KERNELS for item in values)


def _trap(path: Path, what: str) -> DataError:
    return DataError(
        f"The model was refused: {path.name} names {what}",
        where=str(path),
        next_step="Use a stock model of transformers, or remove that entry if you trust the rest.",
    )


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    """Walk every key of nested JSON."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield key, item
            yield from _pairs(item)
    elif isinstance(value, list):
        for item in value:
            yield from _pairs(item)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; an absent file is an empty one.

    Raises:
        DataError: the file is no JSON object.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path.name} is no JSON", where=str(path),
                        next_step="Get the model again.") from error  # fmt: skip
    if not isinstance(content, dict):
        raise DataError(f"{path.name} holds no JSON object", where=str(path),
                        next_step="Get the model again.")  # fmt: skip
    return content


def write_json(path: Path, content: Any) -> None:
    """Write JSON that is the same bytes for the same content."""
    path.write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n",
                    encoding="utf-8")  # fmt: skip


def is_native(folder: Path) -> bool:
    """Whether the folder holds safetensors weights."""
    return (folder / WEIGHTS).is_file() or (folder / f"{WEIGHTS}.index.json").is_file()


def onnx_file(folder: Path) -> Path | None:
    """Return the folder's ONNX graph, the quantised one first."""
    return next((folder / name for name in ONNX_FILES if (folder / name).is_file()), None)


def labels_of(folder: Path) -> list[str]:
    """Return a classifier's labels in the order of its outputs.

    Raises:
        DataError: the configuration names no labels.
    """
    by_id = read_json(folder / CONFIG).get("id2label")
    if not isinstance(by_id, dict) or sorted(by_id, key=_number) != [*map(str, range(len(by_id)))]:
        raise DataError(
            "The model is no classifier: its configuration names no labels",
            where=str(folder / CONFIG),
            next_step="Train it with the train stage, or fill id2label in its configuration.",
        )
    return [str(by_id[str(number)]) for number in range(len(by_id))]


def _number(text: str) -> int:
    return int(text) if text.isdigit() else -1


def max_tokens_of(folder: Path) -> int:
    """Return how many tokens of a text the model reads, special ones included."""
    known = [
        read_json(folder / FACTS).get("max_tokens"),
        read_json(folder / _SENTENCE_CONFIG).get("max_seq_length"),
        read_json(folder / TOKENIZER_CONFIG).get("model_max_length"),
    ]
    told = next((int(n) for n in known if n), _TOKENS_WHEN_UNKNOWN)
    positions = read_json(folder / CONFIG).get("max_position_embeddings")
    return min(told, int(positions or _TOKENS_WHEN_UNKNOWN))


def write_facts(folder: Path, labels: Sequence[str], max_tokens: int) -> None:
    """Write the few facts that the runtime reads, so that it needs no catalog."""
    facts = {"task": "classify", "labels": list(labels), "max_tokens": max_tokens}
    write_json(folder / FACTS, facts)


def copy_tokenizer(source: Path, target: Path, max_tokens: int) -> None:
    """Copy a tokenizer, without the padding and truncation that its maker happened to leave on.

    Tools read the limit from ``model_max_length``.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(source / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(target / TOKENIZER))
    # Older tokenizers keep the names of their special tokens in a file of their own.
    config = read_json(source / "special_tokens_map.json") | read_json(source / TOKENIZER_CONFIG)
    for key in ("name_or_path", "special_tokens_map_file", "tokenizer_file"):
        config.pop(key, None)
    write_json(target / TOKENIZER_CONFIG, {**config, "model_max_length": max_tokens})
