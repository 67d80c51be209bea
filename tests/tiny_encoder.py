"""A stock BERT of a few thousand weights with a real tokenizer, built on the spot."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_classifier import LABELS

from workbench.core.artifact import Artifact, Draft, seal

WORDS = "i am so happy sad angry great terrible news report good bad plain love hate this is"
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def build_native(folder: Path, name: str = "teacher", seed: int = 0) -> Artifact:
    """Seal a native three-label classifier with weights drawn at random."""
    draft = Draft("model", name, folder / "staging" / name)
    write_native(draft.path, seed)
    draft.describe(task="classify", labels=LABELS, max_tokens=32)
    return seal(draft, folder / "artifacts")


def write_native(folder: Path, seed: int = 0) -> Path:
    """Write the classifier's folder and return it."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    names = dict(enumerate(LABELS))
    config = BertConfig(
        vocab_size=len(_SPECIAL) + len(WORDS.split()), hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=32,
        initializer_range=0.5, id2label=names, label2id={v: k for k, v in names.items()},
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    BertForSequenceClassification(config).eval().save_pretrained(folder)
    _write_tokenizer(folder)
    facts = {"task": "classify", "labels": LABELS, "max_tokens": 32}
    (folder / "workbench.json").write_text(json.dumps(facts))
    return folder


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate([*_SPECIAL, *WORDS.split()])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 32}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
