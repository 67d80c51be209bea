"""A stock BERT encoder of thirty thousand weights, and sentences that it learns in seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from workbench.core.artifact import Artifact, Draft, seal
from workbench.data.records import SCHEMA, write_records

SCHEME = "negative|positive"
_PLAIN = "the film was a day we had some food and talk at home then rain fell".split()  # noqa: SIM905
_SIGNS = {
    "positive": "fine great lovely superb kind wonderful".split(),  # noqa: SIM905
    "negative": "awful poor nasty broken rude terrible".split(),  # noqa: SIM905
}
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

Row = tuple[str, str | None]


def sentences(num: int, seed: int = 0) -> list[Row]:
    """Make sentences of 3 to 14 words; two of them, hidden among the others, make the label."""
    random = np.random.default_rng(seed)
    rows: list[Row] = []
    for label in random.choice(sorted(_SIGNS), num):
        words = [*random.choice(_PLAIN, int(random.integers(1, 13))),
                 *random.choice(_SIGNS[label], 2)]  # fmt: skip
        random.shuffle(words)
        rows.append((" ".join(words), str(label)))
    return rows


def texts_of(rows: Sequence[Row]) -> list[str]:
    return [text for text, _ in rows]


def build_records(
    folder: Path, rows: Sequence[Row], name: str, scheme: str | None = SCHEME
) -> Artifact:
    """Seal a data set."""
    draft = Draft("dataset", name, folder / "staging" / name)
    num = len(rows)
    columns = {
        "id": [f"{name}-{n}" for n in range(num)],
        "text": [text for text, _ in rows],
        "label": [label for _, label in rows],
        "label_scheme": [scheme] * num,
        "source": [name] * num,
        "language": ["en"] * num,
        "provenance": [f"test:{n}" for n in range(num)],
        "extra": [None] * num,
    }
    write_records(draft, pa.table(columns, schema=SCHEMA))
    return seal(draft, folder / "artifacts")


def build_inputs(folder: Path, num: int = 120) -> dict[str, Artifact]:
    """Seal records to learn from, and others to judge by; by the references of their Specs."""
    return {
        "train@latest": build_records(folder, sentences(num), "train"),
        "check@latest": build_records(folder, sentences(60, seed=1), "check"),
    }


def write_tokenizer(folder: Path, texts: Sequence[str]) -> int:
    """Train a WordPiece tokenizer on texts; return the size of its vocabulary."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=_SPECIAL, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )  # fmt: skip
    # As the tokenizers of the wild come: with somebody's padding and truncation left on.
    tokenizer.enable_padding(length=16)
    tokenizer.enable_truncation(16)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = ("pad", "unk", "cls", "sep", "mask")
    special = {f"{name}_token": f"[{name.upper()}]" for name in names}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**special, "tokenizer_class": "BertTokenizer", "model_max_length": 32})
    )
    return int(tokenizer.get_vocab_size())


def write_encoder(folder: Path, num_layers: int = 3) -> Path:
    """Write an encoder without a head, its weights drawn at random; return the folder."""
    import torch
    from transformers import BertConfig, BertModel

    from workbench.models.checkpoint import quiet_transformers

    folder.mkdir(parents=True)
    vocabulary_size = write_tokenizer(folder, texts_of(sentences(400)))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=vocabulary_size, hidden_size=32, num_hidden_layers=num_layers,
        num_attention_heads=2, intermediate_size=64, max_position_embeddings=32,
    )  # fmt: skip
    with quiet_transformers():
        BertModel(config).save_pretrained(folder)
    return folder


def write_classifier(folder: Path, encoder: Path, labels: Sequence[str] = ("no", "yes")) -> Path:
    """Write a classifier on an encoder, its head drawn at random; return the folder."""
    from workbench.models.checkpoint import new_classifier, save_classifier

    model = new_classifier(encoder, list(labels), seed=0)
    save_classifier(model, folder, encoder, max_tokens=24)
    return folder
