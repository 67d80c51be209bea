"""Tokenizers made from texts: a new one, or an old one that learns words it knew in parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from workbench.models.folder import TOKENIZER, TOKENIZER_CONFIG, read_json, write_json

_SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
_UNKNOWN = ("[UNK]", "<unk>")
_FEWEST_PARTS = 2  # a word of fewer is known already
_FEWEST_TIMES = 5  # that a word must occur to be worth a row of its own


def train_tokenizer(texts: Iterable[str], folder: Path, size: int, max_tokens: int) -> int:
    """Train a byte-pair tokenizer on characters into a folder; return how many tokens it has.

    Case is folded, punctuation stands alone, and a word's first token tells that it begins one. Of
    scripts without spaces between words, tokens are whatever characters stand together often. The
    same texts give the same tokenizer, which trainers of WordPiece and of unigram models do not
    promise.

    Source: Sennrich et al. 2016.
    """
    from tokenizers import (
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )

    kept = list(texts)
    tokenizer = Tokenizer(models.BPE(unk_token=_SPECIAL["unk"]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()]
    )
    tokenizer.decoder = decoders.Metaspace()
    characters = _characters(kept, tokenizer.normalizer, size)
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(_SPECIAL.values()), show_progress=False,
        initial_alphabet=characters, limit_alphabet=len(characters), min_frequency=2,
    )  # fmt: skip
    tokenizer.train_from_iterator(kept, trainer)
    ends = [(name, tokenizer.token_to_id(name)) for name in (_SPECIAL["cls"], _SPECIAL["sep"])]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    tokenizer.save(str(folder / TOKENIZER))
    write_json(
        folder / TOKENIZER_CONFIG,
        {**{f"{name}_token": token for name, token in _SPECIAL.items()},
         "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": max_tokens},
    )  # fmt: skip
    return int(tokenizer.get_vocab_size())


def _characters(texts: Iterable[str], normalizer: Any, size: int) -> list[str]:
    """Return the characters that get a token of their own: at most half of all tokens."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(normalizer.normalize_str(text))
    counts["\u2581"] = sum(counts.values())  # which stands before a word
    ranked = sorted(counts, key=lambda character: (-counts[character], character))
    return [character for character in ranked if not character.isspace()][: size // 2]


def new_words(texts: Iterable[str], folder: Path, most: int) -> list[str]:
    """Return the words that a tokenizer should know whole: frequent, and known in parts only.

    A word saves a token for each part beyond the first, each time that it occurs: those that save
    the most come first.
    """
    tokenizer = _open(folder)
    counts: Counter[str] = Counter()
    for text in texts:
        normal = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
        counts.update(word for word in normal.split() if word.isalpha())
    saved: dict[str, int] = {}
    for word, count in counts.items():
        encoding = tokenizer.encode(word, add_special_tokens=False)
        # A word that is not known at all is worth as much as one that is known letter by letter.
        is_unknown = any(token in _UNKNOWN for token in encoding.tokens)
        num_parts = len(word) if is_unknown else len(encoding.ids)
        if count >= _FEWEST_TIMES and num_parts >= _FEWEST_PARTS:
            saved[word] = count * (num_parts - 1)
    return sorted(saved, key=lambda word: (-saved[word], word))[:most]


def add_words(folder: Path, target: Path, words: Sequence[str]) -> list[list[int]]:
    """Write a tokenizer that knows more words; return of which tokens each was made until now."""
    from tokenizers import AddedToken

    tokenizer = _open(folder)
    parts: list[list[int]] = [
        tokenizer.encode(word, add_special_tokens=False).ids for word in words
    ]
    tokenizer.add_tokens([AddedToken(word, single_word=True, normalized=True) for word in words])
    tokenizer.save(str(target / TOKENIZER))
    config: dict[str, Any] = read_json(folder / TOKENIZER_CONFIG)
    config.pop("added_tokens_decoder", None)  # tokenizer.json says it
    write_json(target / TOKENIZER_CONFIG, config)
    return parts


def _open(folder: Path) -> Any:
    """Open a tokenizer, without the padding and truncation that its maker happened to leave on."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
