"""What a language model begins with: new weights of a given size, or those of another model."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from workbench.core.errors import DataError
from workbench.core.spec import option
from workbench.models.checkpoint import (
    language_model_class,
    quiet_transformers,
    save_config,
    save_weights,
)
from workbench.models.folder import (
    TOKENIZER,
    TOKENIZER_CONFIG,
    check_folder,
    is_native,
)
from workbench.models.new_tokenizer import add_words, new_words, train_tokenizer

if TYPE_CHECKING:
    from workbench.train.pretrain import PretrainSpec


class Architecture(BaseModel):
    """The size of a model from scratch; about 5 million weights beside its words by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: int = option(4, title="Layers", help="Time and size grow in proportion.", ge=1, le=96)
    width: int = option(256, title="Width", help="Numbers for each token; a multiple of the "
                        "heads.", ge=8, le=16_384)  # fmt: skip
    heads: int = option(4, title="Heads", help="Attention heads of a layer.", ge=1, le=256)
    inner: int = option(1024, title="Inner neurons", help="Of a layer; four times the width is "
                        "usual.", ge=8, le=65_536)  # fmt: skip


def start_from_scratch(folder: Path, texts: Iterable[str], spec: PretrainSpec) -> None:
    """Write a tokenizer that is trained on texts and a model with weights drawn by the seed."""
    import torch
    from transformers import BertConfig, LlamaConfig

    size = train_tokenizer(texts, folder, spec.vocabulary, spec.max_tokens)
    shape = spec.architecture
    common = {
        "vocab_size": size, "hidden_size": shape.width, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads, "intermediate_size": shape.inner, "pad_token_id": 0,
        "max_position_embeddings": max(spec.max_tokens, 512),
    }  # fmt: skip
    config: Any = (
        BertConfig(**common) if spec.objective == "masked"
        else LlamaConfig(**common, tie_word_embeddings=True, bos_token_id=2, eos_token_id=3)
    )  # fmt: skip
    torch.manual_seed(spec.seed)
    with quiet_transformers():
        model = language_model_class(spec.objective).from_config(config)
    save_weights(model, folder)
    save_config(model, folder)


def start_from_weights(
    folder: Path, source: Path, texts: Iterable[str], spec: PretrainSpec
) -> None:
    """Write a model's weights with the head that the objective wants, and rows for new words.

    A head that is not there is drawn by the seed; a new word begins as the mean of its parts.

    Raises:
        DataError: the model was refused, or is no native checkpoint.
    """
    import torch

    check_folder(source)
    if not is_native(source):
        raise DataError("The model is no native checkpoint", where=str(source),
                        next_step="Name a model with safetensors weights.")  # fmt: skip
    torch.manual_seed(spec.seed)
    with quiet_transformers():
        model: Any = language_model_class(spec.objective).from_pretrained(
            source, local_files_only=True, trust_remote_code=False, use_safetensors=True,
            dtype=torch.float32, attn_implementation="sdpa",
        )  # fmt: skip
    words = new_words(texts, source, spec.new_words) if spec.new_words else []
    if words:
        parts = add_words(source, folder, words)
        first = _first_new_row(folder, len(words))
        with quiet_transformers():
            model.resize_token_embeddings(first + len(words), mean_resizing=False)
        table = model.get_input_embeddings().weight.data
        for number, tokens in enumerate(parts):
            table[first + number] = table[tokens].mean(0)
    else:
        for name in (TOKENIZER, TOKENIZER_CONFIG):
            if (source / name).exists():
                shutil.copyfile(source / name, folder / name)
    save_weights(model, folder)
    save_config(model, folder)


def _first_new_row(folder: Path, num_words: int) -> int:
    """Return the id of the first word that was added to a tokenizer."""
    from tokenizers import Tokenizer

    size = Tokenizer.from_file(str(folder / TOKENIZER)).get_vocab_size(with_added_tokens=True)
    return int(size) - num_words
