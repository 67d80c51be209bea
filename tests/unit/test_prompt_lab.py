"""The prompt lab: what it shows after any edits is what labelling anew would give."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_classifier import build_dataset

from widgets.prompt_lab import PromptLabView
from workbench.core.artifact import Artifact, Draft, seal
from workbench.core.errors import DataError, SpecError
from workbench.data.records import read_records, write_records
from workbench.prompts.lab import PromptLab
from workbench.prompts.scorers.embedding import directions
from workbench.prompts.verbaliser import Option
from workbench.tasks.metrics import macro_recall

WORDS = {"bad": ["awful"], "good": ["great", "lovely"]}
LABELS = ["bad", "good", "plain"]
LETTERS = "abcdefghijklmnopqrstuvwxyz "


def embed(texts: Sequence[str]) -> Any:
    """Point where the letters of a text do."""
    counts = np.asarray([[0.01 + text.lower().count(c) for c in LETTERS] for text in texts])
    return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


TEXTS = [f"{word} {n} day" for n in range(30) for word in ("awful", "great", "rainy", "lovely")]
TRUTH = [("bad", "good", None, "good")[n % 4] for n in range(len(TEXTS))]


def lab_of(words: dict[str, list[str]]) -> PromptLab:
    vectors = embed(TEXTS)
    return PromptLab([vectors[:50], vectors[50:]], embed, words, truth=TRUTH, texts=TEXTS)


def labelled_anew(words: dict[str, list[str]]) -> list[str]:
    labels = sorted(words)
    options = [Option(label, tuple(words[label])) for label in labels]
    best = (embed(TEXTS) @ directions(options, embed).T).argmax(axis=1)
    return [labels[number] for number in best]


sentence = st.text(alphabet=LETTERS, min_size=1, max_size=12).filter(str.strip)
edits = st.lists(
    st.tuples(st.sampled_from(LABELS), st.lists(sentence, min_size=0, max_size=3)), max_size=6
)


@given(edits)
def test_after_any_edits_records_are_labelled_as_by_labelling_anew(
    edits: list[tuple[str, list[str]]],
) -> None:
    lab, words = lab_of(WORDS), dict(WORDS)
    before = labelled_anew(words)
    for label, sentences in edits:
        if not sentences:
            if label in words and len(words) > 2:
                del words[label]
                view = lab.drop(label)
            else:
                continue
        else:
            words[label] = [text.strip() for text in sentences]
            view = lab.edit(label, sentences)
        now = labelled_anew(words)
        assert view.counts == {label: now.count(label) for label in sorted(words)}
        assert view.moved == sum(one != other for one, other in zip(before, now, strict=True))
        known = [n for n, truth in enumerate(TRUTH) if truth in words]
        assert view.judged == len(known)
        if known:
            assert view.figure is not None
            expected = macro_recall(
                [TRUTH[n] for n in known], [now[n] for n in known], sorted(words)
            )
            assert view.figure.value == pytest.approx(expected)
        before = now
    begun = labelled_anew(WORDS)
    differing = lab.differing(1000)
    assert {d.row for d in differing} == {n for n, label in enumerate(before) if label != begun[n]}
    wrong = [d.truth is not None and d.truth != d.now for d in differing]
    assert wrong == sorted(wrong, reverse=True)


def test_a_label_needs_a_sentence_and_a_classifier_two_labels() -> None:
    lab = lab_of(WORDS)
    with pytest.raises(SpecError, match="needs a sentence"):
        lab.edit("bad", ["  "])
    with pytest.raises(SpecError, match="needs two labels"):
        lab.drop("bad")
    with pytest.raises(SpecError, match="no label 'god'"):
        lab.drop("god")
    assert lab.spec("mood").verbaliser.options() == [
        Option("bad", ("awful",)), Option("good", ("great", "lovely")),
    ]  # fmt: skip


def dataset_with(folder: Path, vectors: Any) -> Artifact:
    plain = build_dataset(folder, list(zip(TEXTS, TRUTH, strict=True)), name="plain")
    draft = Draft("dataset", "vectors", folder / "staging" / "vectors")
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    write_records(draft, read_records(plain).append_column("embedding", flat))
    return seal(draft, folder / "artifacts")


def test_a_lab_reads_embeddings_and_refuses_those_of_another_model(tmp_path: Path) -> None:
    lab = PromptLab.of(dataset_with(tmp_path / "right", embed(TEXTS)), embed, WORDS)
    assert lab.view() == lab_of(WORDS).view()
    other = dataset_with(tmp_path / "other", embed(TEXTS)[:, ::-1].copy())
    with pytest.raises(DataError, match="of another model"):
        PromptLab.of(other, embed, WORDS)
    without = build_dataset(tmp_path, [("a", None)], name="without")
    with pytest.raises(DataError, match="has no embeddings"):
        PromptLab.of(without, embed, WORDS)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.found.add(tag)


def test_the_view_edits_shows_what_moved_and_has_a_record() -> None:
    view = PromptLabView(lab_of({**WORDS, "<b>odd</b>": ["xyz"]}), title="comments@latest")
    first = view.snapshot["lab"]
    assert [row["label"] for row in first["labels"]] == ["<b>odd</b>", "bad", "good"]
    view._receive(
        None, {"intent": "change", "name": "sentences:bad", "raw": "great\nlovely", "edit": 3}, None
    )
    view._receive(None, {"intent": "drop", "label": "<b>odd</b>"}, None)
    after = view.snapshot["lab"]
    assert view.snapshot["answered"] == 3
    assert after["figure"] != after["begun"]
    assert after["differing"]
    assert '"great"' in after["copy"]["python"]
    view._receive(None, {"intent": "change", "name": "new-label", "raw": "rain"}, None)
    view._receive(None, {"intent": "add"}, None)
    assert [row["raw"] for row in view.snapshot["lab"]["labels"]][-1] == "This is rain."
    view._receive(None, {"intent": "change", "name": "sentences:bad", "raw": "  "}, None)
    assert view.snapshot["notice"].startswith("bad needs a sentence")
    tags = Tags()
    tags.feed(view.record())
    assert tags.found <= {"div", "b", "span", "table", "thead", "tbody", "tr", "td", "th"}
    view.close()
