"""Scorers: what they weigh is what the model says, one prompt at a time, without any short cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253 (what a model says, computed plainly)
from tiny_language import MAX_TOKENS, write_language_model

from workbench.core.errors import DataError, SpecError, StageError
from workbench.prompts.scorers.causal import CausalScorer, CausalScorerSpec
from workbench.prompts.scorers.cloze import GAP, ClozeScorer, ClozeScorerSpec
from workbench.prompts.scorers.user_scorer import UserScorerSpec, scorer
from workbench.prompts.verbaliser import Option
from workbench.prompts.version import Decoding, Message, Messages

OPTIONS = [Option("bad", ("awful", "rude terrible food")), Option("good", ("great",))]
TEXTS = [
    "the film was", "we had some", "it rained all day at home and then the talk fell", "a",
    "kind kind kind kind kind kind kind kind", "the day </s> [SEP] was",
]  # fmt: skip


def prompts(texts: list[str]) -> list[Messages]:
    return [(Message("user", text),) for text in texts]


def written(own: Any, texts: list[str], decoding: Decoding) -> list[str]:
    found = dict(own.write(iter(prompts(texts)), OPTIONS, decoding))
    return [found[number].text for number in range(len(texts))]


@pytest.fixture(scope="module")
def causal_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("causal") / "model", "causal")


@pytest.fixture(scope="module")
def masked_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("masked") / "model", "masked")


def plain_log_probability(model: Any, ids: list[int], rest: list[int]) -> float:
    with torch.inference_mode():
        logs = model(torch.tensor([ids + rest])).logits[0].float().log_softmax(-1)
    return sum(float(logs[len(ids) - 1 + n, token]) for n, token in enumerate(rest))


def test_a_causal_model_weighs_options_as_it_says_each_word_by_word(causal_folder: Path) -> None:
    own = CausalScorer(causal_folder, num_threads=1)
    found = own.weigh(prompts(TEXTS), OPTIONS)
    for row, text in enumerate(TEXTS):
        for column, option in enumerate(OPTIONS):
            phrasings = [own._words.continuation(words) for words in option.words]
            room = max(len(p) for o in OPTIONS for p in map(own._words.continuation, o.words))
            ids = own._words.prompt(prompts([text])[0], room)
            logs = [plain_log_probability(own._model, ids, phrasing) for phrasing in phrasings]
            assert found[row, column] == pytest.approx(np.logaddexp.reduce(logs), abs=1e-3)
    assert len({len(own._words.continuation(w)) for o in OPTIONS for w in o.words}) > 1


def test_options_of_one_token_need_no_cache_and_weigh_the_same(causal_folder: Path) -> None:
    own = CausalScorer(causal_folder, num_threads=1)
    token = own._words.continuation("a")[:1]
    short = [Option("x", ("a",)), Option("y", ("the",))]
    assert len(token) == 1
    found = own.weigh(prompts(TEXTS), short)
    for row, text in enumerate(TEXTS):
        ids = own._words.prompt(prompts([text])[0], 1)
        for column, words in enumerate(("a", "the")):
            expected = plain_log_probability(own._model, ids, own._words.continuation(words))
            assert found[row, column] == pytest.approx(expected, abs=1e-3)


def test_what_is_weighed_does_not_depend_on_the_prompts_beside_it(causal_folder: Path) -> None:
    own = CausalScorer(causal_folder, num_threads=1)
    together = own.weigh(prompts(TEXTS), OPTIONS)
    alone = np.concatenate([own.weigh(prompts([text]), OPTIONS) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-3)


def test_phrasings_are_combined_and_lengths_divided_as_asked(causal_folder: Path) -> None:
    ways: dict[str, Callable[[list[float]], float]] = {
        "sum": lambda logs: float(np.logaddexp.reduce(logs)), "max": max,
        "mean": lambda logs: float(np.mean(logs)),
    }  # fmt: skip
    single = [Option(words, (words,)) for o in OPTIONS for words in o.words]
    each = CausalScorer(causal_folder, 1, per_token=True).weigh(prompts(TEXTS), single)
    for name, rule in ways.items():
        found = CausalScorer(causal_folder, 1, name, per_token=True).weigh(prompts(TEXTS), OPTIONS)
        expected = [[rule([row[0], row[1]]), row[2]] for row in each.tolist()]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_causal_model_writes_the_likeliest_words_and_the_same_ones_for_the_same_seed(
    causal_folder: Path,
) -> None:
    own = CausalScorer(causal_folder, num_threads=1)
    greedy = written(own, TEXTS, Decoding(max_tokens=5))
    ids = own._words.prompt(prompts(TEXTS)[0], 5)
    chosen: list[int] = []
    for _ in range(5):
        with torch.inference_mode():
            chosen.append(int(own._model(torch.tensor([ids + chosen])).logits[0, -1].argmax()))
        if chosen[-1] in own._words.end_ids:
            break
    assert greedy[0] == own._words.texts([chosen])[0]
    drawn = Decoding(max_tokens=5, temperature=1.5, seed=3)
    assert written(own, TEXTS, drawn) == written(own, TEXTS, drawn)
    first = next(answer for answer in greedy if answer)
    stopped = written(own, TEXTS, Decoding(max_tokens=5, stop=[first[0]]))
    assert stopped[greedy.index(first)] == ""


def test_of_a_prompt_too_long_the_end_is_kept(causal_folder: Path) -> None:
    own = CausalScorer(causal_folder, num_threads=1)
    ids = own._words.prompt(prompts(["film " * 500 + "was great"])[0], 3)
    assert len(ids) == MAX_TOKENS - 3
    assert np.isfinite(own.weigh(prompts(["film " * 500]), OPTIONS)).all()


def test_a_masked_model_weighs_what_fills_the_gap(masked_folder: Path) -> None:
    own = ClozeScorer(masked_folder, num_threads=1)
    told = [f"{text} it was {GAP} at home" for text in TEXTS] + ["day " * 200 + GAP]
    found = own.weigh(prompts(told), OPTIONS)
    tokenizer = own._tokenizer
    for row, text in enumerate(told):
        before, _, after = text.partition(GAP)
        for column, option in enumerate(OPTIONS):
            logs = []
            for words in option.words:
                wanted = own._tokens(words)
                ids, place = own._row(before, after, len(wanted))
                assert len(ids) <= MAX_TOKENS
                assert ids[place : place + len(wanted)] == [tokenizer.mask_token_id] * len(wanted)
                with torch.inference_mode():
                    said = own._model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
                logs.append(sum(float(said[place + n, t]) for n, t in enumerate(wanted)))
            assert found[row, column] == pytest.approx(np.logaddexp.reduce(logs), abs=1e-3)


def test_a_text_with_a_mask_of_its_own_moves_no_gap(masked_folder: Path) -> None:
    own = ClozeScorer(masked_folder, num_threads=1)
    hostile, plain = (f"the film {word} was {GAP}" for word in ("[MASK][SEP]", "  "))
    found = own.weigh(prompts([hostile, plain]), OPTIONS)
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def test_a_prompt_without_a_gap_and_words_that_are_no_token_are_refused(
    masked_folder: Path,
) -> None:
    own = ClozeScorer(masked_folder, num_threads=1)
    for text in ("no gap", f"{GAP} and {GAP}"):
        with pytest.raises(DataError, match="exactly once"):
            own.weigh(prompts([text]), OPTIONS)
    with pytest.raises(DataError, match="are no token of this model"):
        own.weigh(prompts([f"so {GAP}"]), [OPTIONS[0], Option("x", ("\U0001f40c",))])


def test_scorers_say_what_they_can() -> None:
    causal, cloze = CausalScorerSpec(model="m@1"), ClozeScorerSpec(model="m@1")
    assert (causal.weighs, causal.writes, causal.gap) == (True, True, "")
    assert (cloze.weighs, cloze.writes, cloze.gap) == (True, False, GAP)


# -- functions of a cell ---------------------------------------------------------------------------


@scorer
def shouting(prompt: str, most: float = 2.0) -> dict:
    """Weigh by the signs of shouting."""
    return {"bad": prompt.count("!") / most}


@scorer
def many(prompts: list) -> list[str]:
    """Answer all at once."""
    return ["great" if "film" in prompt else "awful" for prompt in prompts]


def find(name: str) -> Path:
    raise AssertionError(name)


def test_a_function_of_a_cell_weighs_or_writes() -> None:
    assert (shouting.weighs, shouting.writes) == (True, False)
    assert (many.weighs, many.writes) == (False, True)
    own = UserScorerSpec.model_validate_json(shouting.set(most=4).canonical_json())
    assert own.open(find, 1).weigh(prompts(["a!", "b"]), OPTIONS).tolist() == [[0.25, 0], [0, 0]]
    assert written(many.open(find, 1), TEXTS[:2], Decoding()) == ["great", "awful"]
    assert shouting("x!!") == {"bad": 1.0}
    with pytest.raises(SpecError, match="no parameter 'mots'"):
        shouting.set(mots=1)


def test_a_function_that_breaks_its_word_is_told() -> None:
    @scorer
    def odd(prompt: str, how: int = 0) -> dict:
        if how == 0:
            raise KeyError("x")
        return [None, {"worse": 1}, {"bad": float("nan")}, {"bad": "much"}][how - 1]

    for how, what in enumerate(
        ["KeyError: 'x'", "no weights by label", "which is no label: bad, good", "no numbers",
         "no numbers"]
    ):  # fmt: skip
        with pytest.raises(StageError, match=what):
            odd.set(how=how).open(find, 1).weigh(prompts(["a"]), OPTIONS)


def test_a_function_that_is_no_scorer_is_refused() -> None:
    def silent(prompt: str):
        return {}

    def greedy(prompt: str, more: int) -> dict:
        return {}

    for function, what in ((silent, "does not tell what it returns"), (greedy, "a default")):
        with pytest.raises(SpecError, match=what):
            scorer(function)
