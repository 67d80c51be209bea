"""The prompt lab in a real JupyterLab: a sentence is typed, and labels and figure move."""

from __future__ import annotations

from typing import Any

import pytest
from laboratory import Laboratory, NotebookPage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CELL = """
import numpy as np
from widgets.prompt_lab import PromptLabView
from workbench.prompts.lab import PromptLab

def embed(texts):
    letters = "abcdefghijklmnopqrstuvwxyz"
    counts = np.array([[0.01 + text.count(c) for c in letters] for text in texts])
    return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)

texts = ["awful awful", "great great", "so awful <b>now</b>", "great day"] * 5
truth = ["bad", "good"] * 10
words = {"bad": ["great"], "good": ["awful"]}  # the wrong way round
PromptLabView(PromptLab([embed(texts)], embed, words, truth=truth, texts=texts), title="demo")
"""


def test_a_sentence_is_edited_and_labels_and_figure_move(laboratory: Laboratory, page: Any) -> None:
    laboratory.write_notebook("lab.ipynb", [CELL])
    notebook = NotebookPage(page, laboratory, "lab.ipynb")
    notebook.run_cell(0)
    view = notebook.view(0)
    assert "macro-recall 0.000" in view.locator(".strip").inner_text()
    for label, sentence in (("bad", "awful"), ("good", "great")):
        view.get_by_role("textbox", name=label, exact=True).fill(sentence)
    view.get_by_text("macro-recall 1.000").wait_for()
    row = view.locator(".lab-moved tbody tr").first
    assert row.locator("td").nth(3).inner_text().strip() in ("bad", "good")
    assert view.locator(".lab-moved b").count() == 0, "no text is read as HTML"
    assert "<b>now</b>" in view.locator(".lab-moved").inner_text()
    view.get_by_label("Name of a new label").fill("plain")
    view.get_by_role("button", name="Add label").click()
    added = view.get_by_role("textbox", name="plain", exact=True)
    added.wait_for()
    assert added.input_value() == "This is plain."
    view.get_by_role("button", name="Drop the label plain").click()
    added.wait_for(state="detached")
    assert notebook.problems == []
