"""A classifier of a few words, built on the spot: a real ONNX graph and a real tokenizer.

It adds up one row of scores per word. ``poison`` stands for a text that breaks the model: its
number lies outside of the table, so that the runtime itself refuses it.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from workbench.core.artifact import Artifact, Draft, seal
from workbench.data.records import SCHEMA, write_records

LABELS = ["negative", "neutral", "positive"]
WORDS = {"good": (0, 0, 2), "bad": (2, 0, 0), "plain": (0, 2, 0), "so": (0.1, 0.3, 0.2)}
POISON = "poison"
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def build_model(folder: Path, name: str = "tiny", sign: float = 1.0) -> Artifact:
    """Seal a model artifact under ``folder``; a negative ``sign`` makes it answer wrongly."""
    draft = Draft("model", name, folder / "staging" / name)
    _write_onnx(draft.path / "model.int8.onnx", sign)
    _write_tokenizer(draft.path / "tokenizer.json")
    labels = dict(enumerate(LABELS))
    config = {
        "model_type": "bert",
        "id2label": labels,
        "label2id": {v: k for k, v in labels.items()},
    }
    (draft.path / "config.json").write_text(json.dumps(config))
    facts = {"task": "classify", "labels": LABELS, "max_tokens": 64}
    (draft.path / "workbench.json").write_text(json.dumps(facts))
    draft.describe(**facts)
    return seal(draft, folder / "artifacts")


def build_dataset(folder: Path, rows: list[tuple[str, str | None]], name: str = "rows") -> Artifact:
    """Seal a data set of (text, label) under ``folder``."""
    draft = Draft("dataset", name, folder / "staging" / name)
    records = [
        {
            "id": f"{number:04d}", "text": text, "label": label, "source": "tiny",
            "label_scheme": "|".join(LABELS), "provenance": f"tiny#{number}",
        }
        for number, (text, label) in enumerate(rows)
    ]  # fmt: skip
    write_records(draft, pa.Table.from_pylist(records, schema=SCHEMA))
    return seal(draft, folder / "artifacts")


def golden_rows(each: int = 5) -> list[tuple[str, str | None]]:
    """Return texts that the model labels rightly, ``each`` per label."""
    word = {"negative": "bad", "neutral": "plain", "positive": "good"}
    return [(f"{word[label]} " + "so " * n, label) for n in range(each) for label in LABELS]


def _write_onnx(path: Path, sign: float) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    table = np.zeros((len(_SPECIAL) + len(WORDS), len(LABELS)), np.float32)
    table[len(_SPECIAL) :] = sign * np.array(list(WORDS.values()), np.float32)
    integers = [("input_ids", TensorProto.INT64), ("attention_mask", TensorProto.INT64)]
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
            helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
            helper.make_node("Mul", ["rows", "weights"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
        ],
        "tiny",
        [helper.make_tensor_value_info(n, kind, ["batch", "tokens"]) for n, kind in integers],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([2]), "last"),
            numpy_helper.from_array(np.array([1]), "middle"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), str(path))


def _write_tokenizer(path: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate([*_SPECIAL, *WORDS])}
    vocabulary[POISON] = 10_000
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(path))
