import asyncio
import base64
import hashlib
import json
import re
import socket
import sqlite3
import threading
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_classifier import LABELS, build_dataset

from workbench.core.errors import DataError, ResourceError, StageError, error_from_json
from workbench.serve.acceptance import (
    HOSTILE,
    Acceptance,
    Check,
    check_hostile,
    check_quality,
    check_speed,
    malformed,
)
from workbench.serve.app import make_app
from workbench.serve.batcher import Batcher, BatcherClosed, Failed, QueueFull, answer_each
from workbench.serve.caller import Reply
from workbench.serve.golden import GoldenRow, choose_golden_rows
from workbench.serve.limits import Limits
from workbench.serve.measurements import Histogram, Measurements
from workbench.serve.page import CONTENT_SECURITY_POLICY, render_page
from workbench.serve.prediction_log import LoggedPrediction, PredictionLog, read_log
from workbench.serve.request import Refused, parse_texts
from workbench.serve.server import bind, listen
from workbench.serve.service import PROBE, Service

REFERENCE = "tiny@0123456789ab"


class Gate:
    """Work that waits until it is let through, and remembers its batches."""

    def __init__(self):
        self.open = threading.Event()
        self.batches = []

    def __call__(self, items):
        self.batches.append(list(items))
        assert self.open.wait(10)
        return [item * 10 for item in items]


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


# --- batcher ----------------------------------------------------------------------------------


def test_a_lone_item_starts_at_once_and_others_gather_while_it_runs():
    async def main():
        gate, sizes = Gate(), []
        batcher = Batcher(gate, max_batch=3, max_waiting=10, on_batch=sizes.append)
        calls = [asyncio.create_task(batcher.submit([0]))]
        await until(lambda: gate.batches)
        calls += [asyncio.create_task(batcher.submit([n, n + 1])) for n in (1, 3)]
        await until(lambda: batcher.num_waiting == 4)
        gate.open.set()
        assert await asyncio.gather(*calls) == [[0], [10, 20], [30, 40]]
        assert gate.batches == [[0], [1, 2, 3], [4]]
        assert sizes == [1, 3, 1]
        await batcher.close()

    asyncio.run(main())


def test_too_many_items_are_refused_whole_and_disturb_nobody():
    async def main():
        gate = Gate()
        batcher = Batcher(gate, max_batch=1, max_waiting=2)
        first = asyncio.create_task(batcher.submit([1]))
        await until(lambda: gate.batches)
        second = asyncio.create_task(batcher.submit([2]))
        await until(lambda: batcher.num_waiting == 1)
        with pytest.raises(QueueFull):
            await batcher.submit([3, 4])
        assert batcher.num_waiting == 1
        gate.open.set()
        assert [await first, await second] == [[10], [20]]
        await batcher.close()

    asyncio.run(main())


def test_a_cancelled_callers_items_leave_the_queue_and_cost_no_work():
    async def main():
        gate = Gate()
        batcher = Batcher(gate, max_batch=8, max_waiting=8)
        running = asyncio.create_task(batcher.submit([1]))
        await until(lambda: gate.batches)
        cancelled = asyncio.create_task(batcher.submit([2, 3]))
        kept = asyncio.create_task(batcher.submit([4]))
        await until(lambda: batcher.num_waiting == 3)
        cancelled.cancel()
        running.cancel()  # its batch is at work: the answer is thrown away
        await until(lambda: batcher.num_waiting == 1)
        gate.open.set()
        assert await kept == [40]
        assert gate.batches == [[1], [4]]
        assert cancelled.cancelled() and running.cancelled()
        await batcher.close()

    asyncio.run(main())


def test_closing_answers_those_who_wait_and_takes_no_more():
    async def main():
        gate = Gate()
        batcher = Batcher(gate, max_batch=1, max_waiting=8)
        calls = [asyncio.create_task(batcher.submit([n])) for n in range(3)]
        await until(lambda: batcher.num_waiting == 2)
        closing = asyncio.create_task(batcher.close())
        await asyncio.sleep(0)
        with pytest.raises(BatcherClosed):
            await batcher.submit([9])
        gate.open.set()
        await closing
        assert await asyncio.gather(*calls) == [[0], [10], [20]]

    asyncio.run(main())


def test_no_items_get_no_answers_and_start_nothing():
    async def main():
        gate = Gate()
        batcher = Batcher(gate, max_batch=1, max_waiting=1)
        assert await batcher.submit([]) == []
        await batcher.close()
        assert gate.batches == []

    asyncio.run(main())


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=64))
def test_exactly_the_items_that_break_the_work_fail(is_poison):
    calls = 0

    def work(items):
        nonlocal calls
        calls += 1
        if any(is_poison[item] for item in items):
            raise ValueError("poison")
        return [item + 100 for item in items]

    answers = answer_each(work, list(range(len(is_poison))))
    assert [isinstance(answer, Failed) for answer in answers] == is_poison
    assert all(
        answer == item + 100
        for item, answer in enumerate(answers)
        if not isinstance(answer, Failed)
    )
    depth = (len(is_poison) - 1).bit_length()
    assert calls <= 1 + 2 * depth * sum(is_poison)


def test_work_that_loses_an_answer_gives_nobody_anothers():
    answers = answer_each(lambda items: items[1:], [1, 2])
    assert [type(answer) for answer in answers] == [Failed, Failed]


# --- prediction log ---------------------------------------------------------------------------


def logged(request_id, position=0, text="good"):
    scores = '{"negative": 0.1, "positive": 0.9}'
    return LoggedPrediction(request_id, position, 1.5, REFERENCE, text, "positive", 0.9, scores)


def test_a_returned_append_is_readable_by_others_at_once(tmp_path):
    log = PredictionLog(tmp_path / "log.sqlite")
    rows = [logged("a"), logged("a", 1, "NUL \0 and 🏳️‍🌈"), logged("b")]
    assert log.append([rows[:2], rows[2:]]) == [2, 1]
    assert read_log(log.path) == rows
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log.sqlite"]
    assert read_log(log.path) == rows


def test_a_failed_append_leaves_nothing_of_itself(tmp_path):
    log = PredictionLog(tmp_path / "log.sqlite")
    log.append([[logged("a")]])
    with pytest.raises(sqlite3.IntegrityError):
        log.append([[logged("b")], [logged("a")]])
    assert read_log(log.path) == [logged("a")]
    log.append([[logged("b")]])
    assert [row.request_id for row in read_log(log.path)] == ["a", "b"]
    log.close()


def test_a_log_is_continued_when_opened_again(tmp_path):
    for request_id in "ab":
        log = PredictionLog(tmp_path / "log.sqlite")
        log.append([[logged(request_id)]])
        log.close()
    assert [row.request_id for row in read_log(log.path)] == ["a", "b"]


def test_a_file_that_is_no_log_is_refused(tmp_path):
    (tmp_path / "log.sqlite").write_bytes(b"no database at all, only some words " * 100)
    with pytest.raises(DataError, match="is no prediction log"):
        PredictionLog(tmp_path / "log.sqlite")
    with pytest.raises(DataError, match="is no prediction log"):
        read_log(tmp_path / "log.sqlite")


def test_a_log_of_a_later_version_is_refused(tmp_path):
    connection = sqlite3.connect(tmp_path / "log.sqlite")
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(DataError, match="its version is 7, not 1"):
        PredictionLog(tmp_path / "log.sqlite")


# --- requests ---------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
bodies = st.one_of(
    st.binary(max_size=200),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(["text", "texts", "x"]), json_values).map(
        lambda value: json.dumps(value).encode()
    ),
)


@settings(deadline=None)
@given(bodies)
def test_any_body_is_texts_or_a_refusal_that_says_what_to_do(body):
    try:
        texts = parse_texts(body, max_texts=3)
    except Refused as refused:
        assert refused.status == 422
        assert refused.error.what and refused.error.where and refused.error.next_step
        json.dumps(refused.error.to_json()).encode("ascii")
    else:
        assert 1 <= len(texts) <= 3
        assert all(text.encode("utf-8") is not None for text in texts)


@settings(deadline=None)
@given(st.lists(st.text(), min_size=1, max_size=3))
def test_every_text_arrives_as_it_was_sent(texts):
    assert parse_texts(json.dumps({"texts": texts}).encode(), 3) == texts
    assert parse_texts(json.dumps({"text": texts[0]}, ensure_ascii=False).encode(), 3) == texts[:1]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"", "body"),
        (b"[" * 100_000, "body"),
        (b"9" * 5_000, "body"),
        (b'"text"', "body"),
        (b'{"text": "a", "texts": ["a"]}', "body"),
        (b'{"text": null}', "text"),
        (b'{"texts": []}', "texts"),
        (b'{"texts": {"0": "a"}}', "texts"),
        (b'{"texts": ["a", "b", "c", "d"]}', "texts"),
        (b'{"texts": ["a", "\\udfff"]}', "texts[1]"),
    ],
)
def test_a_refusal_names_the_place(body, where):
    with pytest.raises(Refused) as caught:
        parse_texts(body, 3)
    assert (caught.value.status, caught.value.error.where) == (422, where)


# --- service and its HTTP face ----------------------------------------------------------------


class LengthClassifier:
    """A real model of one feature: a text's length decides; ``poison`` cannot be read."""

    labels = LABELS

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.is_broken = False

    def predict(self, texts):
        assert self.gate.wait(10)
        if self.is_broken or "poison" in texts:
            raise RuntimeError("index out of bounds")
        scores = np.full((len(texts), 3), 0.1, np.float32)
        scores[range(len(texts)), [len(text) % 3 for text in texts]] = 0.8
        return np.where(np.array(texts)[:, None] == "nan", np.float32("nan"), scores)


@asynccontextmanager
async def serving(folder, **limits):
    classifier = LengthClassifier()
    log = PredictionLog(folder / "log.sqlite")
    service = Service(classifier, log, REFERENCE, Limits(**limits))
    transport = httpx.ASGITransport(make_app(service, "<b>tiny</b>"), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        try:
            yield client, service, classifier
        finally:
            classifier.gate.set()
            await service.close()


def error_of(response):
    error = error_from_json(response.json())
    assert error.what and error.next_step
    return response.status_code, error.family, error.where


def test_an_answer_is_well_formed_and_in_the_log(tmp_path):
    async def main():
        async with serving(tmp_path) as (client, _, _):
            response = await client.post("/v1/predict", json={"texts": ["four", "seven12"]})
            answer = response.json()
            rows = read_log(tmp_path / "log.sqlite")
        neutral = {"negative": 0.1, "neutral": 0.8, "positive": 0.1}
        assert response.status_code == 200
        assert answer["model"] == REFERENCE
        assert answer["predictions"] == [
            {"label": "neutral", "score": pytest.approx(0.8), "scores": pytest.approx(neutral)}
        ] * 2  # fmt: skip
        assert [(r.request_id, r.position, r.text, r.label) for r in rows] == [
            (answer["request_id"], 0, "four", "neutral"),
            (answer["request_id"], 1, "seven12", "neutral"),
        ]
        assert json.loads(rows[0].scores) == answer["predictions"][0]["scores"]

    asyncio.run(main())


@pytest.mark.parametrize("poison", ["poison", "nan"])
def test_a_poison_text_is_refused_and_its_neighbours_are_answered(tmp_path, poison):
    async def main():
        async with serving(tmp_path) as (client, service, classifier):
            classifier.gate.clear()

            def send(text):
                return asyncio.create_task(client.post("/v1/predict", json={"text": text}))

            calls = [send("first")]
            await until(lambda: service._texts.busy_seconds > 0)
            calls += [send(text) for text in ("a", poison, "b", poison, "c")]
            await until(lambda: service.num_waiting == 5)
            classifier.gate.set()
            replies = await asyncio.gather(*calls)
            both = await client.post("/v1/predict", json={"texts": ["fine", poison]})
            assert service.complaint() == ""
        assert [reply.status_code for reply in replies] == [200, 200, 422, 200, 422, 200]
        assert error_of(both) == (422, "data", "texts[1]")
        assert sorted(row.text for row in read_log(tmp_path / "log.sqlite")) == [
            "a", "b", "c", "first",
        ]  # fmt: skip

    asyncio.run(main())


def test_a_broken_model_blames_no_text_and_is_not_ready(tmp_path):
    async def main():
        async with serving(tmp_path) as (client, _, classifier):
            assert (await client.get("/ready")).status_code == 200
            classifier.is_broken = True
            response = await client.post("/v1/predict", json={"text": "good"})
            assert error_of(response) == (503, "stage", REFERENCE)
            assert error_of(await client.get("/ready")) == (503, "resource", REFERENCE)
            assert (await client.get("/health")).status_code == 200

    asyncio.run(main())


def test_a_model_that_cannot_read_a_plain_sentence_is_not_served(tmp_path):
    classifier = LengthClassifier()
    classifier.is_broken = True
    log = PredictionLog(tmp_path / "log.sqlite")
    with pytest.raises(StageError, match="fails on a plain sentence"):
        Service(classifier, log, REFERENCE, Limits())
    log.close()


def test_a_full_queue_says_when_to_come_back(tmp_path):
    async def main():
        async with serving(tmp_path, max_waiting=2, max_batch=1) as (client, service, classifier):
            classifier.gate.clear()
            taken = [asyncio.create_task(client.post("/v1/predict", json={"text": "a"}))]
            await until(lambda: service._texts.busy_seconds > 0)
            taken.append(
                asyncio.create_task(client.post("/v1/predict", json={"texts": ["b", "c"]}))
            )
            await until(lambda: service.num_waiting == 2)
            refused = await client.post("/v1/predict", json={"text": "d"})
            assert error_of(refused) == (429, "resource", "queue")
            assert int(refused.headers["Retry-After"]) >= 1
            classifier.gate.set()
            assert [(await call).status_code for call in taken] == [200, 200]

    asyncio.run(main())


def test_a_request_that_could_never_fit_the_queue_is_told_so(tmp_path):
    async def main():
        async with serving(tmp_path, max_waiting=2) as (client, _, _):
            response = await client.post("/v1/predict", json={"texts": ["a", "b", "c"]})
            assert error_of(response) == (422, "spec", "texts")

    asyncio.run(main())


def test_a_late_answer_is_a_504_and_a_long_stall_is_not_ready(tmp_path):
    async def main():
        async with serving(tmp_path, deadline_seconds=0.02) as (client, service, classifier):
            classifier.gate.clear()
            response = await client.post("/v1/predict", json={"text": "good"})
            assert error_of(response) == (504, "resource", "deadline")
            await until(lambda: service.complaint().startswith("the model has been at one batch"))
            classifier.gate.set()
            await until(lambda: service.complaint() == "")

    asyncio.run(main())


def test_what_cannot_be_logged_is_not_answered(tmp_path):
    async def main():
        async with serving(tmp_path) as (client, _, _):
            connection = sqlite3.connect(tmp_path / "log.sqlite")
            connection.execute(
                "CREATE TRIGGER full BEFORE INSERT ON predictions WHEN NEW.text = 'b' "
                "BEGIN SELECT RAISE(ROLLBACK, 'disk is full'); END"
            )
            connection.close()
            calls = [client.post("/v1/predict", json={"text": text}) for text in "abc"]
            replies = await asyncio.gather(*calls)
        assert [reply.status_code for reply in replies] == [200, 503, 200]
        assert error_of(replies[1])[1:] == ("resource", str(tmp_path / "log.sqlite"))
        assert sorted(row.text for row in read_log(tmp_path / "log.sqlite")) == ["a", "c"]

    asyncio.run(main())


def test_too_large_and_too_slow_bodies_are_refused(tmp_path):
    async def slowly():
        yield b'{"text": '
        await asyncio.sleep(10)

    async def main():
        async with serving(tmp_path, max_body_bytes=100, body_seconds=0.02) as (client, _, _):
            exact = json.dumps({"text": "a" * 88}).encode()
            assert len(exact) == 100
            assert (await client.post("/v1/predict", content=exact)).status_code == 200
            large = await client.post("/v1/predict", content=exact + b" ")
            assert error_of(large) == (413, "spec", "body")
            late = await client.post("/v1/predict", content=slowly())
            assert error_of(late) == (408, "spec", "body")

    asyncio.run(main())


def test_other_sites_and_wrong_routes_get_errors_of_the_same_shape(tmp_path):
    async def main():
        async with serving(tmp_path) as (client, _, _):
            foreign = {"Sec-Fetch-Site": "cross-site"}
            response = await client.post("/v1/predict", json={"text": "a"}, headers=foreign)
            assert error_of(response) == (403, "spec", "Sec-Fetch-Site")
            assert error_of(await client.get("/v1/predict")) == (405, "spec", "/v1/predict")
            assert error_of(await client.get("/nowhere")) == (404, "spec", "/nowhere")

    asyncio.run(main())


def test_metrics_count_every_request_once(tmp_path):
    async def main():
        async with serving(tmp_path) as (client, _, _):
            for body in (b'{"text": "four"}', b'{"texts": ["four", "a"]}', b"no"):
                await client.post("/v1/predict", content=body)
            response = await client.get("/metrics")
        assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        lines = dict(line.rsplit(" ", 1) for line in response.text.splitlines() if line[0] != "#")
        assert lines['workbench_requests_total{status="200"}'] == "2"
        assert lines['workbench_requests_total{status="422"}'] == "1"
        assert lines["workbench_errors_total"] == "1"
        assert lines['workbench_predictions_total{label="neutral"}'] == "3"
        assert lines["workbench_request_seconds_count"] == "3"
        assert lines["workbench_batch_texts_count"] == "2"
        assert lines["workbench_batch_texts_sum"] == "3.0"

    asyncio.run(main())


@settings(deadline=None)
@given(st.lists(st.floats(0, 100), max_size=50))
def test_a_histogram_counts_each_value_in_every_bucket_it_is_under(values):
    histogram = Histogram("h", "Help.", (0.5, 1.0, 50.0))
    for value in values:
        histogram.observe(value)
    lines = [line for line in histogram.lines() if not line.startswith("#")]
    bounds = [0.5, 1.0, 50.0, float("inf")]
    assert [int(line.split()[-1]) for line in lines[:4]] == [
        sum(value <= bound for value in values) for bound in bounds
    ]
    assert lines[5] == f"h_count {len(values)}"


def test_a_label_with_quotes_cannot_break_the_metrics():
    measurements = Measurements()
    measurements.predicted['a"b\\c\nd'] += 1
    text = measurements.text(num_waiting=0, model=REFERENCE)
    assert r'workbench_predictions_total{label="a\"b\\c\nd"} 1' in text.splitlines()


def test_the_page_runs_its_own_script_only_and_shows_nothing_raw(tmp_path):
    async def main():
        async with serving(tmp_path) as (client, _, _):
            return await client.get("/")

    response = asyncio.run(main())
    page = response.text
    assert response.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "<b>" not in page and "&lt;b&gt;tiny&lt;/b&gt;" in page
    assert "innerHTML" not in page and not re.search(r"(?:src|href)=|https?:|@import|url\(", page)
    for tag in ("style", "script"):
        (code,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in CONTENT_SECURITY_POLICY
    assert render_page("x", "<i>").count("<i>") == 0


# --- golden rows and checks -------------------------------------------------------------------


def test_golden_rows_are_even_over_the_labels_and_always_the_same(tmp_path):
    rows = [(f"text {n}", "positive" if n % 5 else "negative") for n in range(50)]
    dataset = build_dataset(tmp_path, [*rows, ("not labelled", None)])
    chosen = choose_golden_rows(dataset, 16, LABELS)
    assert chosen == choose_golden_rows(dataset, 16, LABELS)
    assert len(set(chosen)) == 16
    assert [row.label for row in chosen] == ["negative", "positive"] * 8
    everything = choose_golden_rows(dataset, 1000, LABELS)
    assert sorted(everything) == sorted(GoldenRow(*row) for row in rows)
    assert everything[:16] == chosen


def test_golden_rows_that_cannot_be_right_are_refused(tmp_path):
    unlabelled = build_dataset(tmp_path, [("a", None)], name="unlabelled")
    with pytest.raises(DataError, match="has no labelled row"):
        choose_golden_rows(unlabelled, 5, LABELS)
    foreign = build_dataset(tmp_path, [("a", "joy"), ("b", "positive")], name="foreign")
    with pytest.raises(DataError, match="labels the model cannot give: joy"):
        choose_golden_rows(foreign, 5, LABELS)


def answer(**changes):
    scores = changes.pop("scores", {"negative": 0.1, "neutral": 0.2, "positive": 0.7})
    prediction = {"label": "positive", "score": 0.7, "scores": scores}
    prediction |= {key: changes.pop(key) for key in ("label", "score") if key in changes}
    content = {"model": REFERENCE, "predictions": [prediction], "request_id": "1", **changes}
    return Reply(200, content, 0.001)


def test_a_right_answer_has_nothing_wrong():
    assert malformed(answer(), REFERENCE, LABELS) == ""


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        (Reply(429, {"what": "busy"}, 0), "status 429: busy"),
        (Reply(200, None, 0), "there is not one prediction"),
        (answer(predictions=[]), "there is not one prediction"),
        (answer(predictions=[7]), "the scores are not those"),
        (answer(scores={"negative": 1.0}), "the scores are not those"),
        (answer(scores={"negative": 0, "neutral": 0, "positive": "1"}), "a score is not between"),
        (answer(scores={"negative": 0, "neutral": 0, "positive": 0.7}), "the scores sum to 0.7"),
        (answer(label="neutral"), "the label is not the one"),
        (answer(score=0.5), "the label is not the one"),
        (answer(model="other@1"), "the model is 'other@1'"),
        (answer(request_id=None), "there is no request_id"),
    ],
)
def test_every_malformed_answer_is_named(reply, complaint):
    assert malformed(reply, REFERENCE, LABELS).startswith(complaint)


def test_a_row_without_an_answer_counts_as_wrong():
    rows = [GoldenRow("a", "negative"), GoldenRow("b", "positive")]
    scores = np.array([[0.8, 0.1, 0.1], [np.nan] * 3])
    check, figures = check_quality(rows, scores, LABELS, 0.5)
    assert (check.passed, figures["macro_recall"]) == (True, 0.5)
    assert not check_quality(rows, scores, LABELS, 0.51)[0].passed


def test_speed_is_the_95th_percentile_and_keeps_the_clock_out_of_what_was_found():
    seconds = [0.001] * 99 + [9.0]
    fast, slow = check_speed(seconds, 2), check_speed(seconds, 0.5)
    assert (fast.passed, fast.found, fast.measured) == (True, "within the limit", "p95 of 1.0 ms")
    assert (slow.passed, slow.found) == (False, "over the limit")


def test_a_hostile_request_with_the_wrong_status_or_a_bare_error_is_named():
    ok = answer()
    proper = {"what": "w", "next_step": "n"}
    replies = [ok if case.status == 200 else Reply(case.status, proper, 0) for case in HOSTILE]
    assert check_hostile(replies, REFERENCE, LABELS).passed
    replies[0] = Reply(500, None, 0)
    replies[-1] = Reply(413, None, 0)
    check = check_hostile(replies, REFERENCE, LABELS)
    assert not check.passed
    assert "an empty body got 500, not 422" in check.found
    assert "a body of 2 MB: the error does not say what" in check.found


def test_a_refusal_names_each_failed_check_and_keeps_them_all_in_its_detail():
    checks = [
        Check("quality", False, "at least 0.4", "0.31"),
        Check("speed", False, "at most 5 ms", "over the limit", "p95 of 7.0 ms"),
        Check("is ready at the end", True, "200", "200"),
    ]
    acceptance = Acceptance(checks, {"macro_recall": 0.31}, 10, 0)
    with pytest.raises(StageError) as caught:
        acceptance.raise_if_failed(REFERENCE)
    assert caught.value.what == (
        "The candidate failed 2 of 3 checks: quality: 0.31 (demanded: at least 0.4); "
        "speed: p95 of 7.0 ms (demanded: at most 5 ms)"
    )
    assert [check["name"] for check in json.loads(caught.value.detail)["checks"]] == [
        "quality", "speed", "is ready at the end",
    ]  # fmt: skip


def test_the_probe_is_a_text_every_model_must_read():
    assert parse_texts(json.dumps({"text": PROBE}).encode(), 1) == [PROBE]


# --- the port ---------------------------------------------------------------------------------


def test_answers_leave_without_waiting_for_the_clients_acknowledgement():
    async def main():
        nodelay = asyncio.get_running_loop().create_future()

        async def accepted(reader, writer):
            sock = writer.get_extra_info("socket")
            nodelay.set_result(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listener = bind(0)
        port = int(listen(listener, 0).rpartition(":")[2])
        async with await asyncio.start_server(accepted, sock=listener):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            assert await nodelay != 0
            writer.close()

    asyncio.run(main())


def test_a_port_that_somebody_listens_on_is_named():
    listener = bind(0)
    port = int(listen(listener, 0).rpartition(":")[2])
    with listener, pytest.raises(ResourceError, match=f"Port {port} is taken"):
        bind(port)
