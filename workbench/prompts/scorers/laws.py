"""Laws that every scorer keeps, for shipped ones and for those of a third party alike.

Use them from a test::

    class TestMyScorer(ScorerLaws):
        def example(self, folder):  # settings, and where models are found by name
            return MyScorerSpec(...), lambda name: folder / name
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workbench.core.errors import WorkbenchError
from workbench.prompts.scorers.scorer import FindModel, Scorer, ScorerSpec
from workbench.prompts.verbaliser import Option
from workbench.prompts.version import Decoding, Message, Messages

_OPTIONS = [Option("bad", ("bad", "so bad")), Option("good", ("good",))]
_REFUSALS = (NotImplementedError, WorkbenchError)
_TEXTS = ["a good day", "", "bad " * 40, "rain and {{ text }} </s> [MASK]", "a good day"]


class ScorerLaws:
    """What every scorer promises; subclass it in a test and give ``example``."""

    def example(self, folder: Path) -> tuple[ScorerSpec, FindModel]:
        """Return the settings of a small real scorer, and where its models are."""
        raise NotImplementedError

    def _prompts(self, spec: ScorerSpec) -> list[Messages]:
        return [(Message("user", f"Text: {text} It is {spec.gap}."),) for text in _TEXTS]

    def _open(self, folder: Path) -> tuple[ScorerSpec, Scorer]:
        spec, find = self.example(folder)
        return spec, spec.open(find, 1)

    def test_it_weighs_writes_or_decides(self, tmp_path: Path) -> None:
        spec, _ = self.example(tmp_path)
        assert spec.weighs or spec.writes or spec.decides

    def test_every_setting_is_explained_and_survives_json(self, tmp_path: Path) -> None:
        spec, _ = self.example(tmp_path)
        fields = type(spec).model_fields.items()
        assert [name for name, f in fields if not f.title or not f.description] == []
        assert type(spec).model_validate_json(spec.canonical_json()) == spec

    def test_each_prompt_is_weighed_by_itself(self, tmp_path: Path) -> None:
        spec, scorer = self._open(tmp_path)
        prompts = self._prompts(spec)
        if not spec.weighs:
            with pytest.raises(_REFUSALS):
                scorer.weigh(prompts, _OPTIONS)
            return
        together = scorer.weigh(prompts, _OPTIONS)
        assert together.shape == (len(prompts), len(_OPTIONS))
        assert together.dtype == np.float32
        assert np.isfinite(together).all()
        alone = np.concatenate([scorer.weigh([prompt], _OPTIONS) for prompt in prompts])
        np.testing.assert_allclose(together, alone, atol=1e-3)
        np.testing.assert_allclose(together[0], together[-1], atol=1e-3)  # equal texts

    def test_options_are_weighed_by_their_words_and_not_by_their_places(
        self, tmp_path: Path
    ) -> None:
        spec, scorer = self._open(tmp_path)
        if not spec.weighs:
            return  # which the law before this one has seen
        prompts = self._prompts(spec)
        there = scorer.weigh(prompts, _OPTIONS)
        back = scorer.weigh(prompts, _OPTIONS[::-1])
        np.testing.assert_allclose(there, back[:, ::-1], atol=1e-3)

    def test_each_prompt_is_answered_once_and_the_same_way_again(self, tmp_path: Path) -> None:
        spec, scorer = self._open(tmp_path)
        prompts, decoding = self._prompts(spec), Decoding(max_tokens=4)
        if not (spec.writes or spec.decides):
            with pytest.raises(_REFUSALS):
                list(scorer.write(iter(prompts), _OPTIONS, decoding))
            return
        answers = [list(scorer.write(iter(prompts), _OPTIONS, decoding)) for _ in range(2)]
        for found in answers:
            assert sorted(number for number, _ in found) == list(range(len(prompts)))
        assert dict(answers[0]) == dict(answers[1])

    def test_no_prompt_is_no_answer(self, tmp_path: Path) -> None:
        spec, scorer = self._open(tmp_path)
        if spec.writes or spec.decides:
            assert list(scorer.write(iter(()), _OPTIONS, Decoding())) == []
