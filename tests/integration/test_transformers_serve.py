"""A real ``transformers serve`` with a tiny model: an endpoint answers as the model does here."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest
from tiny_classifier import build_dataset
from tiny_language import write_language_model

from workbench.core.laws import FolderRun
from workbench.prompts.label import LabelSpec
from workbench.prompts.scorers.causal import CausalScorerSpec
from workbench.prompts.scorers.endpoint import EndpointScorerSpec
from workbench.prompts.scorers.scorer import ScorerSpec
from workbench.prompts.verbaliser import Choice, JsonAnswer, Verbaliser
from workbench.prompts.write import PromptSpec
from workbench.tasks.predictions import PREDICTED_LABEL, SCORE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TEXTS = ["the film was great", "we had awful food", "it rained", "kind talk at home", "a"]


class Served(NamedTuple):
    url: str
    folder: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("fastapi", reason="transformers[serving] is not installed")
    folder = tmp_path_factory.mktemp("served")
    model = write_language_model(folder / "model", "causal", chats=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("transformers")), "serve", str(model), "--host",
        "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32",
    ]  # fmt: skip
    log = folder / "log"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as stream:
        server = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(1200):
            assert server.poll() is None, log.read_text()[-3000:]
            try:
                urllib.request.urlopen(f"{url}/health", timeout=2)
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        else:
            raise AssertionError(log.read_text()[-3000:])
        yield Served(f"{url}/v1", model)
    finally:
        server.terminate()
        server.wait(30)


def ask(folder: Path, scorer: ScorerSpec, verbaliser: Verbaliser) -> FolderRun:
    """Label the texts; the result is under ``artifacts`` of the run's folder."""
    dataset = build_dataset(folder, [(text, None) for text in TEXTS], name="texts")
    written = PromptSpec.parse({
        "messages": [{"role": "system", "content": "say how"}, {"content": "{{ text }}"}],
        "verbaliser": verbaliser, "decoding": {"max_tokens": 6},
    })  # fmt: skip
    prompt = FolderRun(folder / "prompt").run(written)["prompt"]
    run = FolderRun(folder / "run", {dataset.reference: dataset, prompt.reference: prompt})
    run.run(LabelSpec(dataset=dataset.reference, prompt=prompt.reference, scorer=scorer))
    return run


def kept_texts(run: FolderRun) -> list[str]:
    files = (run.folder / "cells").glob("*.jsonl")
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return sorted(line["text"] for line in lines)


def test_an_endpoint_writes_what_the_model_in_this_process_writes(
    served: Served, tmp_path: Path
) -> None:
    answer = JsonAnswer(fields={"a": "text"})
    endpoint = EndpointScorerSpec(url=served.url, model=str(served.folder), retries=1)
    there = kept_texts(ask(tmp_path / "there", endpoint, answer))
    here = kept_texts(ask(tmp_path / "here", CausalScorerSpec(model=str(served.folder)), answer))
    assert there == here
    assert any(here)


def test_typed_decisions_come_with_probabilities(served: Served, tmp_path: Path) -> None:
    scorer = EndpointScorerSpec(url=served.url, model=str(served.folder), api="decision", retries=1)
    run = ask(tmp_path, scorer, Choice(words={"good": ["great"], "bad": ["awful"]}))
    (file,) = (run.folder / "artifacts").rglob("*.parquet")
    table = pq.read_table(file)
    bad, good = (table[SCORE + label].to_pylist() for label in ("bad", "good"))
    assert [one + other for one, other in zip(bad, good, strict=True)] == pytest.approx([1.0] * 5)
    assert len(set(good)) > 1
    best = ["bad" if one > other else "good" for one, other in zip(bad, good, strict=True)]
    assert table[PREDICTED_LABEL].to_pylist() == best
