"""A smaller WordPiece vocabulary: the tokens that are used, and every single character.

WordPiece takes the longest token that fits. If all tokens of a word are kept, no longer one can
take their place: every word that was seen is cut as before. A word whose tokens were not kept is
cut into shorter ones, down to characters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from workbench.core.errors import SpecError

_CONTINUES = "##"


class PrunedVocabulary(NamedTuple):
    """A tokenizer's content with fewer tokens, and which old ids its ids stand for."""

    tokenizer: dict[str, Any]
    kept: npt.NDArray[np.int64]  # old id of each new id, ascending

    def new_id(self, old: int) -> int | None:
        """Return the new id of an old one; None if it was not kept."""
        at = int(np.searchsorted(self.kept, old))
        return at if at < len(self.kept) and self.kept[at] == old else None


def prune_vocabulary(
    tokenizer: dict[str, Any], counts: npt.NDArray[np.int64], most: int
) -> PrunedVocabulary:
    """Keep special tokens, single characters and the most frequent tokens.

    Args:
        tokenizer: the content of a tokenizer.json with a WordPiece model.
        counts: how often each token id occurs; ids beyond its end never do.
        most: how many tokens to keep; special tokens and characters are kept in any case.

    Raises:
        SpecError: the tokenizer is no WordPiece.
    """
    model = tokenizer.get("model", {})
    if model.get("type") != "WordPiece":
        raise SpecError(
            f"Only a WordPiece vocabulary can be pruned, this one is {model.get('type')}",
            where="vocabulary",
            next_step="Set vocabulary to 'teacher'.",
        )
    ids: dict[str, int] = model["vocab"]
    always = {entry["id"] for entry in tokenizer["added_tokens"]} | {ids[model["unk_token"]]}
    always |= {number for token, number in ids.items() if _is_character(token)}
    used = [int(n) for n in np.argsort(-counts, kind="stable") if counts[n] > 0]
    others = [number for number in used if number not in always]
    kept = np.array(sorted(always | set(others[: max(0, most - len(always))])), dtype=np.int64)
    return PrunedVocabulary(_renumber(tokenizer, kept), kept)


def _is_character(token: str) -> bool:
    return len(token.removeprefix(_CONTINUES)) == 1


def _renumber(tokenizer: dict[str, Any], kept: npt.NDArray[np.int64]) -> dict[str, Any]:
    new = {int(old): number for number, old in enumerate(kept)}
    model = tokenizer["model"]
    vocabulary = {token: new[old] for token, old in model["vocab"].items() if old in new}
    return {
        **tokenizer,
        "model": {**model, "vocab": dict(sorted(vocabulary.items(), key=lambda item: item[1]))},
        "added_tokens": [{**entry, "id": new[entry["id"]]} for entry in tokenizer["added_tokens"]],
        "post_processor": _renumber_post_processor(tokenizer.get("post_processor"), new),
        "padding": None,
        "truncation": None,
    }


def _renumber_post_processor(post: Any, new: dict[int, int]) -> Any:
    """Rewrite the ids that a post-processor repeats: of [CLS] and [SEP]."""
    if not isinstance(post, dict):
        return post
    if post.get("type") == "Sequence":
        parts = [_renumber_post_processor(part, new) for part in post["processors"]]
        return {**post, "processors": parts}
    changed = dict(post)
    for name in ("sep", "cls"):  # BertProcessing: [token, id]
        if name in post:
            changed[name] = [post[name][0], new[post[name][1]]]
    if "special_tokens" in post:  # TemplateProcessing
        changed["special_tokens"] = {
            token: {**entry, "ids": [new[old] for old in entry["ids"]]}
            for token, entry in post["special_tokens"].items()
        }
    return changed
