"""Endpoints that are busy, away, wrong or dear: what is asked again, what ends a run."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from answering_server import Answer, Handler, Server, serving, well
from tiny_classifier import build_dataset

from workbench.core.artifact import Artifact
from workbench.core.errors import Cause, DataError, ResourceError, RunPaused, SpecError
from workbench.core.laws import FolderRun
from workbench.data.records import read_records
from workbench.prompts.label import LabelSpec
from workbench.prompts.scorers import endpoint as module
from workbench.prompts.scorers.endpoint import EndpointScorerSpec
from workbench.prompts.verbaliser import Choice
from workbench.prompts.write import PromptSpec
from workbench.tasks.predictions import PREDICTED_LABEL

WORDS = {"good": ["good"], "bad": ["bad"]}
TEXTS = [f"text {n} is {'good' if n % 3 else 'bad'}" for n in range(12)]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Server]]:
    """Offer a function that starts a server."""
    with ExitStack() as started:
        yield lambda answer: started.enter_context(serving(answer))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_WAIT", 0.02)


@pytest.fixture
def dataset(tmp_path: Any) -> Artifact:
    return build_dataset(tmp_path, [(text, None) for text in TEXTS], name="texts")


def spec_of(server: Server, dataset: Artifact, **settings: Any) -> LabelSpec:
    scorer = EndpointScorerSpec(url=server.url, model="m", retries=4, **settings)
    return LabelSpec(dataset=dataset.reference, sentences=WORDS, scorer=scorer)


def labels(run: FolderRun, spec: LabelSpec) -> list[str | None]:
    found: list[str | None] = read_records(run.run(spec)["dataset"])[PREDICTED_LABEL].to_pylist()
    return found


RIGHT = ["bad" if "bad" in text else "good" for text in TEXTS]


def test_answers_come_side_by_side_and_no_more_at_once_than_allowed(
    serve: Any, dataset: Artifact, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(handler: Handler, text: str, times: int) -> None:
        time.sleep(0.05)
        well(handler, text, times)

    monkeypatch.setenv("SOME_KEY", "sesame")
    server = serve(slowly)
    spec = spec_of(server, dataset, concurrency=3, key="${env:SOME_KEY}")
    assert labels(FolderRun(tmp_path / "run", {dataset.reference: dataset}), spec) == RIGHT
    assert server.most == 3
    assert set(server.asked.values()) == {1}
    assert {seen["Authorization"] for seen in server.headers_seen} == {"Bearer sesame"}
    assert "sesame" not in spec.canonical_json()


def test_what_passes_is_asked_again(serve: Any, dataset: Artifact, tmp_path: Any) -> None:
    def moody(handler: Handler, text: str, times: int) -> None:
        kind = int(text.split()[1]) % 6
        if times > 1 or kind == 0:
            well(handler, text, times)
        elif kind == 1:
            handler.send(429, {"error": {"message": "slow down"}}, Retry_After="0.2")
        elif kind == 2:
            handler.send(503, b"<html>busy</html>")
        elif kind == 3:  # half an answer
            handler.send(200, b'{"choices": [{"mess', length="4000")
            handler.close_connection = True
        elif kind == 4:
            handler.send(200, {"choices": []})
        else:
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True

    server = serve(moody)
    assert labels(
        FolderRun(tmp_path / "run", {dataset.reference: dataset}), spec_of(server, dataset)
    ) == RIGHT  # fmt: skip
    assert max(server.asked.values()) <= 3


def test_garbage_is_no_answer_and_does_not_end_the_run(
    serve: Any, dataset: Artifact, tmp_path: Any
) -> None:
    def garbled(handler: Handler, text: str, times: int) -> None:
        if text == TEXTS[1]:
            handler.send(200, b"\x00\xff not json")
        elif text == TEXTS[2]:
            handler.send(200, {"choices": [{"message": {"content": None}}]})
        else:
            well(handler, text, times)

    server = serve(garbled)
    run = FolderRun(tmp_path / "run", {dataset.reference: dataset})
    outputs = run.run(spec_of(server, dataset))
    table = read_records(outputs["dataset"])
    assert table[PREDICTED_LABEL].to_pylist() == [RIGHT[0], None, None, *RIGHT[3:]]
    assert outputs["dataset"].summary["unreadable"] == 2
    assert server.asked[TEXTS[1]] == 3


@pytest.mark.parametrize(
    ("status", "what", "step"),
    [(401, "no such key", "valid one"), (404, "no model m", "URL"), (400, "too long", "Correct")],
)
def test_what_does_not_pass_ends_the_run_at_once_and_answers_are_kept(
    serve: Any, dataset: Artifact, tmp_path: Any, status: int, what: str, step: str
) -> None:
    is_mended = threading.Event()

    def refuses(handler: Handler, text: str, times: int) -> None:
        if text == TEXTS[6] and not is_mended.is_set():
            handler.send(status, {"error": {"message": what}})
        else:
            well(handler, text, times)

    server = serve(refuses)
    run = FolderRun(tmp_path / "run", {dataset.reference: dataset})
    with pytest.raises(DataError, match=what) as refused:
        run.run(spec_of(server, dataset, concurrency=2))
    assert step in refused.value.next_step
    assert refused.value.where == server.url
    is_mended.set()
    assert labels(run, spec_of(server, dataset, concurrency=4)) == RIGHT
    assert Counter(server.asked.values()) == {1: 11, 2: 1}


def test_a_server_that_is_away_is_a_reason_that_passes(dataset: Artifact, tmp_path: Any) -> None:
    server = Server(well)
    server.server_close()
    spec = spec_of(server, dataset)
    spec = spec.model_copy(update={"scorer": spec.scorer.model_copy(update={"retries": 1})})
    with pytest.raises(ResourceError, match="no answer") as away:
        FolderRun(tmp_path / "run", {dataset.reference: dataset}).run(spec)
    assert away.value.cause == Cause.UNREACHABLE


def test_a_paused_run_keeps_what_was_on_its_way_and_asks_nothing_twice(
    serve: Any, dataset: Artifact, tmp_path: Any
) -> None:
    class Pausing(FolderRun):
        wants_pause = False

        @property
        def should_pause(self) -> bool:
            return self.wants_pause

    run = Pausing(tmp_path / "run", {dataset.reference: dataset})

    def pauses(handler: Handler, text: str, times: int) -> None:
        if text == TEXTS[5]:
            run.wants_pause = True
            time.sleep(0.2)
        well(handler, text, times)

    server = serve(pauses)
    with pytest.raises(RunPaused):
        run.run(spec_of(server, dataset, concurrency=2))
    assert 5 < len(server.asked) < len(TEXTS)
    assert labels(FolderRun(run.folder, run.inputs), spec_of(server, dataset)) == RIGHT
    assert set(server.asked.values()) == {1}


def test_an_attempt_that_was_killed_while_it_wrote_costs_that_answer_alone(
    serve: Any, dataset: Artifact, tmp_path: Any
) -> None:
    server = serve(well)
    run = FolderRun(tmp_path / "run", {dataset.reference: dataset})
    assert labels(run, spec_of(server, dataset)) == RIGHT
    (kept,) = (run.folder / "cells").glob("*.jsonl")
    kept.write_bytes(kept.read_bytes()[:-20])
    assert labels(run, spec_of(server, dataset)) == RIGHT
    assert Counter(server.asked.values()) == {1: 11, 2: 1}


def test_equal_prompts_are_asked_once(serve: Any, tmp_path: Any) -> None:
    twice = build_dataset(tmp_path, [("so good", None)] * 3 + [("so bad", None)], name="twice")
    server = serve(well)
    run = FolderRun(tmp_path / "run", {twice.reference: twice})
    assert labels(run, spec_of(server, twice)) == ["good", "good", "good", "bad"]
    assert server.asked == {"so good": 1, "so bad": 1}


def test_costs_are_told_before_and_a_run_that_is_too_dear_does_not_start(
    serve: Any, dataset: Artifact, tmp_path: Any
) -> None:
    server = serve(well)
    prices = {"price_read": 1e6, "price_written": 1e6}
    run = FolderRun(tmp_path / "run", {dataset.reference: dataset})
    with pytest.raises(SpecError, match=r"the costs allowed are 5") as dear:
        run.run(spec_of(server, dataset, most_cost=5, **prices))
    assert "12 prompts to m" in dear.value.what
    assert not server.asked
    labels(run, spec_of(server, dataset, **prices))
    told = [facts["message"] for kind, facts in run.events if kind == "log"]
    assert any("12 prompts to m: about" in message and "to pay" in message for message in told)


def test_a_budget_that_is_used_up_ends_the_run_and_more_goes_on_where_it_was(
    serve: Any, dataset: Artifact, tmp_path: Any
) -> None:
    server = serve(well)  # counts 12 tokens a prompt, more than was foretold
    short = PromptSpec(verbaliser=Choice(words=WORDS), decoding={"max_tokens": 1})
    prompt = FolderRun(tmp_path / "prompt").run(short)["prompt"]
    given = {dataset.reference: dataset, prompt.reference: prompt}

    def spec_within(most_tokens: int) -> LabelSpec:
        scorer = EndpointScorerSpec(
            url=server.url, model="m", concurrency=1, most_tokens=most_tokens
        )
        return LabelSpec(dataset=dataset.reference, prompt=prompt.reference, scorer=scorer)

    run = FolderRun(tmp_path / "run", given)
    with pytest.raises(ResourceError, match="90 tokens were read, 18 written"):
        run.run(spec_within(100))
    assert len(server.asked) == 9
    assert labels(run, spec_within(200)) == RIGHT
    assert set(server.asked.values()) == {1}


def test_a_key_that_is_written_out_is_refused_and_a_missing_variable_told(
    dataset: Artifact, tmp_path: Any
) -> None:
    with pytest.raises(SpecError, match="written out") as refused:
        EndpointScorerSpec(url="http://a/v1", model="m", key="sk-123")
    assert "sk-123" not in str(refused.value)
    scorer = EndpointScorerSpec(url="http://a/v1", model="m", key="${env:NOT_SET_ANYWHERE}")
    with pytest.raises(DataError, match="NOT_SET_ANYWHERE is not set"):
        FolderRun(tmp_path / "run", {dataset.reference: dataset}).run(
            LabelSpec(dataset=dataset.reference, sentences=WORDS, scorer=scorer)
        )


def test_a_key_that_a_server_repeats_is_not_shown(
    serve: Any, dataset: Artifact, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sesame")
    server = serve(lambda h, text, times: h.send(401, {"error": "wrong key sesame"}))
    with pytest.raises(DataError) as refused:
        FolderRun(tmp_path / "run", {dataset.reference: dataset}).run(
            spec_of(server, dataset, key="${env:SOME_KEY}")
        )
    assert "sesame" not in str(refused.value)
    assert "${env:SOME_KEY}" in str(refused.value)
