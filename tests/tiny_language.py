"""Tiny language models with weights drawn at random, and a tokenizer for simple words."""

from __future__ import annotations

import json
from pathlib import Path

from tiny_training import sentences, texts_of

from workbench.models.checkpoint import quiet_transformers, save_language_description, save_weights
from workbench.models.new_tokenizer import train_tokenizer

MAX_TOKENS = 48


# What a model that chats has in its tokenizer's configuration.
CHAT = "{% for message in messages %}{{ message['role'] }} {{ message['content'] }} {% endfor %}"


def write_language_model(folder: Path, task: str, seed: int = 0, *, chats: bool = False) -> Path:
    """Write a ``causal`` (a Llama) or ``masked`` (a BERT) model; return the folder."""
    import torch
    from transformers import BertConfig, BertForMaskedLM, LlamaConfig, LlamaForCausalLM

    tokenizer = folder.with_name(f"{folder.name}-tokenizer")
    tokenizer.mkdir(parents=True)
    texts = [*texts_of(sentences(200)), *["a b c d"] * 50]  # letters name options
    num_tokens = train_tokenizer(texts, tokenizer, 200, MAX_TOKENS)
    torch.manual_seed(seed)
    sizes = {
        "vocab_size": num_tokens, "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": MAX_TOKENS,
        "pad_token_id": 0,
    }  # fmt: skip
    folder.mkdir()
    with quiet_transformers():
        made = {
            "causal": lambda: LlamaForCausalLM(
                LlamaConfig(**sizes, bos_token_id=2, eos_token_id=3)
            ),
            "masked": lambda: BertForMaskedLM(BertConfig(**sizes)),
        }[task]()
        # Far from uniform, so that a mistake shows.
        for parameter in made.parameters():
            parameter.data.mul_(3)
        made.tie_weights()
        save_weights(made, folder)
        save_language_description(made, folder, tokenizer, task, MAX_TOKENS)
    if chats:
        config = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": CHAT}))
    return folder
