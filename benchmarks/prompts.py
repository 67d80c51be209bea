"""Prompts answered in this process beside ``transformers serve``; and false alarms of the gate.

Two Llamas with weights drawn at random (what they say does not matter, what it costs does): a tiny
one of 200,000 weights, where what is done around the model counts, and one of 11 million, where the
model itself does. Texts of the size of tweets, three options; both sides use two threads and answer
the same prompts, in turns. ``throughput-transformers-serve``: prompts a second against typed
decisions (/systemone, the quickest way of that server to weigh options), 16 requests at once;
``throughput-chat``: written answers of at most four tokens against /chat/completions.
``lab-50k``, ``lab-1m``: a sentence is edited in the prompt lab, until labels, figure and interval
of all records are there. ``false-alarms``: of 1,000 comparisons of two prompts that are alike (300
rows, right on three of five), how many the gate stops.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks._figures import print_figure, print_seconds, wall_seconds
from workbench.pipeline.files import sample_folder
from workbench.prompts.gate import judge
from workbench.prompts.lab import PromptLab
from workbench.prompts.label import SENTIMENT_SENTENCES
from workbench.prompts.scorers.causal import CausalScorerSpec
from workbench.prompts.scorers.endpoint import EndpointScorerSpec
from workbench.prompts.verbaliser import Option
from workbench.prompts.version import Decoding, Message, Messages

_BENCH = "prompts"
_CHAT = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
_OPTIONS = [Option("bad", ("bad",)), Option("good", ("good",)), Option("plain", ("plain",))]
_MAX_TOKENS = 256
_THREADS = 2
_LABELS = ["bad", "good", "plain"]
_COMPARISONS = 1000
_SHAPES = {
    "": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
         "num_attention_heads": 2},
    "-11m": {"hidden_size": 384, "intermediate_size": 1024, "num_hidden_layers": 6,
             "num_attention_heads": 6},
}  # fmt: skip


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    _false_alarms()
    _lab()
    asked, rounds = (512, 7) if full else (192, 3)
    for size, shape in _SHAPES.items():
        with tempfile.TemporaryDirectory() as scratch:
            _throughput(size, shape, Path(scratch), asked, rounds)


def _throughput(size: str, shape: dict[str, int], folder: Path, asked: int, rounds: int) -> None:
    texts = _texts()
    model = _model(folder, texts, shape)
    prompts = [
        (Message("user", f"Comment: {text[:240]} The mood of this comment, in a word, is"),)
        for text in texts[:asked]
    ]
    own = CausalScorerSpec(model=str(model)).open(Path, _THREADS)
    with _served(model) as url:
        for figure, api in (("throughput-transformers-serve", "decision"),
                            ("throughput-chat", "chat")):  # fmt: skip
            peer = EndpointScorerSpec(
                url=url, model=str(model), api=api, concurrency=16, retries=2
            ).open(Path, _THREADS)
            name = f"{figure}{size}"
            _compare(name, own, peer, prompts, rounds, weighs=api == "decision")


def _lab() -> None:
    """Edit a label's sentence in a prompt lab over vectors of MiniLM's width, some labels known."""
    from workbench.models.embed import Embedder
    from workbench.models.resolve import resolve_model

    embed = Embedder(resolve_model("minilm"), num_threads=_THREADS).embed
    random = np.random.default_rng(0)
    for name, rows in (("lab-50k", 50_000), ("lab-1m", 1_000_000)):
        vectors = [_unit(random.standard_normal((50_000, 384), np.float32))
                   for _ in range(rows // 50_000)]  # fmt: skip
        truth = random.choice(["negative", "neutral", "positive"], rows).tolist()
        lab = PromptLab(vectors, embed, SENTIMENT_SENTENCES, truth=truth)
        edits = [[f"This is great, {turn} times."] for turn in range(10)]
        seconds = [wall_seconds(partial(lab.edit, "positive", edit)) for edit in edits]
        print_seconds(_BENCH, name, seconds)


def _unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _false_alarms() -> None:
    """Compare 1,000 pairs of systems that are right equally often, by luck of their own."""
    random = np.random.default_rng(0)
    alarms = 0
    for seed in range(_COMPARISONS):
        truth = random.choice(_LABELS, 300, p=[0.5, 0.3, 0.2])
        new, before = (
            np.where(random.random(300) < 0.6, truth, random.choice(_LABELS, 300)) for _ in "ab"
        )
        verdict = judge(truth.tolist(), new.tolist(), before.tolist(), _LABELS, seed=seed)
        alarms += not verdict.passes
    line = {"bench": _BENCH, "figure": "false-alarms", "ours": alarms / _COMPARISONS, "asked": 0.05}
    print(json.dumps(line), flush=True)


def _compare(
    figure: str, own: Any, peer: Any, prompts: list[Messages], rounds: int, *, weighs: bool
) -> None:
    short = Decoding(max_tokens=4)

    def ours() -> None:
        if weighs:
            own.weigh(prompts, _OPTIONS)
        else:
            list(own.write(iter(prompts), _OPTIONS, short))

    def theirs() -> None:
        list(peer.write(iter(prompts), _OPTIONS, short))

    seconds: tuple[list[float], list[float]] = ([], [])
    for round_number in range(rounds + 1):
        for work, found in zip((ours, theirs), seconds, strict=True):
            took = wall_seconds(work)
            if round_number:  # the first one loads
                found.append(took)
    rates = [len(prompts) / median(each) for each in seconds]
    print_figure(_BENCH, figure, rates[0], rates[1], "transformers serve, 16 requests at once",
                 "prompts/s", more_is_better=True)  # fmt: skip


def _texts() -> list[str]:
    import csv

    with (sample_folder() / "news.csv").open(encoding="utf-8") as stream:
        return [row["comment"] for row in csv.DictReader(stream) if row["comment"].strip()]


def _model(folder: Path, texts: list[str], shape: dict[str, int]) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from workbench.models.checkpoint import save_language_description, save_weights
    from workbench.models.new_tokenizer import train_tokenizer

    tokenizer, model = folder / "tokenizer", folder / "model"
    tokenizer.mkdir()
    model.mkdir()
    letters = ["a b c d bad good plain"] * 50
    size = train_tokenizer([*texts, *letters], tokenizer, 2000, _MAX_TOKENS)
    torch.manual_seed(0)
    made = LlamaForCausalLM(LlamaConfig(
        vocab_size=size, max_position_embeddings=_MAX_TOKENS, pad_token_id=0, bos_token_id=2,
        eos_token_id=3, **shape,
    ))  # fmt: skip
    save_weights(made, model)
    save_language_description(made, model, tokenizer, "causal", _MAX_TOKENS)
    config = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": _CHAT}))
    return model


@contextmanager
def _served(model: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("transformers")), "serve", str(model), "--host",
        "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32", "--log-level",
        "error",
    ]  # fmt: skip
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(_THREADS)}
    with (model.parent / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        for _ in range(1200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
                break
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(60)
