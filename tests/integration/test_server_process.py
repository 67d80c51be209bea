"""Real server processes: started, fuzzed, overloaded, killed, replaced."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_classifier import LABELS, POISON, build_dataset, build_model, golden_rows

from workbench.core.artifact import MANIFEST
from workbench.core.errors import DataError, StageError, error_from_json
from workbench.core.laws import FolderRun, StageLaws
from workbench.data.integrate import IntegrateSpec
from workbench.data.records import read_records
from workbench.models.predictor import load_predictor
from workbench.serve.acceptance import HOSTILE
from workbench.serve.caller import Caller
from workbench.serve.candidate import candidate
from workbench.serve.deploy import DeploySpec
from workbench.serve.prediction_log import LOG_FILE, read_log
from workbench.serve.server import ENDPOINT_FILE


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return build_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    with serving(model, tmp_path_factory.mktemp("server")) as (url, _):
        yield url


def command(model, folder, *more):
    return [
        sys.executable, "-m", "workbench.serve.server", "--model-folder", str(model.path),
        "--name", "tiny", "--reference", model.reference, "--log-folder", str(folder), *more,
    ]  # fmt: skip


def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def endpoint(folder):
    try:
        return json.loads((folder / ENDPOINT_FILE).read_text())
    except FileNotFoundError:  # also: that of a killed one was just cleared away
        return None


def published(folder, process):
    return (endpoint(folder) or {"pid": None})["pid"] == process.pid


@contextlib.contextmanager
def serving(model, folder, *more):
    process = subprocess.Popen(command(model, folder, *more), stderr=subprocess.PIPE)
    try:
        wait_for(lambda: published(folder, process) or process.poll() is not None)
        assert process.poll() is None, process.stderr.read().decode()
        yield endpoint(folder)["url"], process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def ask(url, body, method="POST", path="/v1/predict"):
    """Send one request on a connection of its own; return status, headers, decoded JSON."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), json.loads(response.read())
    finally:
        connection.close()


def text(words):
    return json.dumps({"text": words}).encode()


# --- answering --------------------------------------------------------------------------------


def test_online_answers_are_those_of_the_model(server, model):
    texts = [row for row, _ in golden_rows()]
    expected = load_predictor(model.path).predict(texts)
    _, _, together = ask(server, json.dumps({"texts": texts}).encode())
    alone = [ask(server, text(words))[2]["predictions"][0] for words in texts]
    for answers in (together["predictions"], alone):
        scores = np.array([[answer["scores"][label] for label in LABELS] for answer in answers])
        np.testing.assert_allclose(scores, expected, atol=1e-6)
        assert [answer["label"] for answer in answers] == [label for _, label in golden_rows()]
    assert together["model"] == model.reference


def test_health_readiness_and_the_page_are_served_on_loopback_only(server, model):
    assert ask(server, None, "GET", "/health")[0] == 200
    assert ask(server, None, "GET", "/ready")[2] == {"status": "ready", "model": model.reference}
    with Caller(server) as caller:
        assert caller.send("GET", "/").status == 200
        assert caller.send("GET", "/metrics").status == 200
    assert urlsplit(server).hostname == "127.0.0.1"
    with socket.socket() as other, pytest.raises(ConnectionRefusedError):
        other.connect(("127.0.0.2", urlsplit(server).port))


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_hostile_requests_get_their_proper_status(server, case):
    status, _, content = ask(server, case.body)
    assert status == case.status
    assert content["predictions"] if status == 200 else content["what"] and content["next_step"]


def test_a_poison_text_is_refused_and_the_server_lives(server):
    status, _, content = ask(server, json.dumps({"texts": ["good", POISON]}).encode())
    assert (status, content["family"], content["where"]) == (422, "data", "texts[1]")
    assert ask(server, text("good"))[0] == 200
    assert ask(server, None, "GET", "/ready")[0] == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(POISON),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
requests = st.one_of(
    st.binary(max_size=300),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(["text", "texts", "x"]), json_values, max_size=2).map(
        lambda value: json.dumps(value).encode()
    ),
    st.text().map(text),
    st.lists(st.text(), max_size=5).map(lambda texts: json.dumps({"texts": texts}).encode()),
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=requests)
def test_no_body_whatever_gets_a_500(server, body):
    status, _, content = ask(server, body)
    assert status in (200, 422)
    assert content["predictions"] if status == 200 else content["what"] and content["next_step"]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(junk=st.binary(min_size=1, max_size=200))
def test_bytes_that_are_no_http_do_not_hurt_the_server(server, junk):
    parts = urlsplit(server)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(junk)
        connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(4096):
                pass
    assert ask(server, None, "GET", "/ready")[0] == 200


def test_a_flood_is_partly_told_to_come_back_and_never_fails(model, tmp_path):
    limits = ("--max-waiting", "2", "--max-batch", "1", "--deadline-seconds", "60")
    with serving(model, tmp_path, *limits) as (url, _):
        replies = []

        def send():
            replies.append(ask(url, json.dumps({"texts": ["good " * 5000] * 2}).encode()))

        for _ in range(20):  # until the queue was once found full
            threads = [threading.Thread(target=send) for _ in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            if any(status == 429 for status, _, _ in replies):
                break
        refused = [(headers, content) for status, headers, content in replies if status == 429]
        assert {status for status, _, _ in replies} == {200, 429}
        assert all(
            int({k.lower(): v for k, v in h.items()}["retry-after"]) >= 1 for h, _ in refused
        )
        assert {content["where"] for _, content in refused} == {"queue"}
        assert ask(url, text("good"))[0] == 200


# --- ending -----------------------------------------------------------------------------------


class Load:
    """Threads that send without a pause and note what was acknowledged to them."""

    def __init__(self, url, num_threads=6):
        self.acknowledged = {}
        self.failures = []
        self._stop = False
        self._threads = [
            threading.Thread(target=self._send, args=(url, n)) for n in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()

    def _send(self, url, number):
        with Caller(url) as caller:
            count = 0
            while not self._stop:
                count += 1
                words = f"good {number} {count}"
                try:
                    reply = caller.predict(words)
                except Exception as error:
                    self.failures.append(error)
                    return
                if reply.status == 200:
                    self.acknowledged[reply.content["request_id"]] = words
                else:
                    self.failures.append(reply)

    def stop(self):
        self._stop = True
        for thread in self._threads:
            thread.join()


def test_kill_9_under_load_loses_no_acknowledged_prediction(model, tmp_path):
    acknowledged = {}
    for round_number in range(3):
        with serving(model, tmp_path) as (url, process):
            load = Load(url)
            wait_for(lambda load=load: len(load.acknowledged) >= 150)
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            load.stop()
        acknowledged |= load.acknowledged
        rows = {row.request_id: row.text for row in read_log(tmp_path / LOG_FILE)}
        lost = {key: words for key, words in acknowledged.items() if rows.get(key) != words}
        assert lost == {}, f"round {round_number}"
    assert len(acknowledged) >= 450


def test_sigterm_answers_what_was_sent_and_leaves_with_0(model, tmp_path):
    with serving(model, tmp_path, "--deadline-seconds", "60") as (url, process):
        replies = []
        body = json.dumps({"texts": ["good " * 4000] * 40}).encode()
        threads = [
            threading.Thread(target=lambda: replies.append(ask(url, body)[0])) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        # More than two requests can hold wait: all three were accepted (or all are answered).
        wait_for(lambda: num_waiting(url) > 80 or len(replies) == 3)
        process.terminate()
        for thread in threads:
            thread.join()
        assert replies == [200, 200, 200]
        assert process.wait(30) == 0
        assert process.stderr.read() == b""
    assert len(read_log(tmp_path / LOG_FILE)) == 120
    assert sorted(path.name for path in tmp_path.iterdir()) == [LOG_FILE]


def num_waiting(url):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return int(dict(line.rsplit(" ", 1) for line in lines)["workbench_waiting_texts"])


def test_a_server_told_so_ends_with_the_process_that_started_it(model, tmp_path):
    starter = (
        "import subprocess, sys, time\n"
        "process = subprocess.Popen(sys.argv[1:])\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    arguments = command(model, tmp_path, "--stop-with-parent")
    parent = subprocess.Popen([sys.executable, "-c", starter, *arguments])
    try:
        wait_for(lambda: endpoint(tmp_path))
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: endpoint(tmp_path) is None)


# --- starting ---------------------------------------------------------------------------------


def refusal(model, folder, *more):
    ended = subprocess.run(command(model, folder, *more), capture_output=True, timeout=60)
    assert not (folder / LOG_FILE).exists()
    return ended.returncode, ended.stderr.decode()


def test_a_second_server_on_the_port_is_refused_and_the_first_is_untouched(model, tmp_path):
    with serving(model, tmp_path / "first") as (url, _):
        port = str(urlsplit(url).port)
        before = endpoint(tmp_path / "first")
        code, message = refusal(model, tmp_path / "second", "--port", port)
        assert code == 3
        assert message.startswith(f"ResourceError: Port {port} is taken\n")
        assert "next:" in message
        subprocess.run(command(model, tmp_path / "first", "--port", port), capture_output=True)
        assert endpoint(tmp_path / "first") == before
        assert ask(url, text("good"))[0] == 200


def test_a_killed_servers_port_is_free_at_once(model, tmp_path):
    with serving(model, tmp_path) as (url, process):
        assert ask(url, text("good"))[0] == 200
        process.kill()
        process.wait()
        with serving(model, tmp_path, "--port", str(urlsplit(url).port)) as (again, _):
            assert again == url
            assert ask(again, text("good"))[0] == 200


@pytest.mark.parametrize("name", ["model.int8.onnx", "workbench.json", MANIFEST])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_model_is_refused(tmp_path, name, damage):
    model = build_model(tmp_path)
    path = model.path / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    code, message = refusal(model, tmp_path / "log")
    assert code == 4
    assert message.startswith("DataError: ")
    assert name in message


def test_a_log_folder_that_cannot_be_made_is_a_named_error(model, tmp_path):
    (tmp_path / "file").write_text("")
    ended = subprocess.run(command(model, tmp_path / "file" / "log"), capture_output=True)
    assert ended.returncode == 3
    assert b"ResourceError: The log folder cannot be written" in ended.stderr


# --- deploying --------------------------------------------------------------------------------


def deployment(folder, sign=1.0, **more):
    model = build_model(folder, name="candidate", sign=sign)
    test = build_dataset(folder, golden_rows(), name="golden")
    spec = DeploySpec(
        model=model.reference, test=test.reference, max_milliseconds=20_000, **more
    )  # fmt: skip
    return spec, {model.reference: model, test.reference: test}


class TestDeployLaws(StageLaws):
    def example(self, folder):
        return deployment(folder, go_live=False, sample=6)


class ProcessClient:
    """Keeps deployments as the daemon does: one real server process under each name."""

    def __init__(self, folder, models):
        self.folder, self.models = folder, models
        self.wanted, self.processes, self.puts = {}, {}, []

    def get(self, path, **query):
        records = [self._record(name) for name in self.wanted]
        if path == "/deployments":
            return records
        return next(record for record in records if path == f"/deployments/{record['name']}")

    def put(self, path, body):
        name = path.rpartition("/")[2]
        self._stop(name)
        self.puts.append(body["model"])
        self.wanted[name] = body
        folder = self.folder / name
        more = ("--port", str(body["port"]))
        self.processes[name] = subprocess.Popen(
            command(self.models[body["model"]], folder, *more), stderr=subprocess.DEVNULL
        )
        return self._record(name)

    def delete(self, path):
        name = path.rpartition("/")[2]
        self._stop(name)
        return self.wanted.pop(name)

    def close(self):
        for name in list(self.processes):
            self._stop(name)

    def _record(self, name):
        process = self.processes[name]
        found = endpoint(self.folder / name) or {"pid": None}
        is_live = published(self.folder / name, process)
        state = "failed" if process.poll() is not None else "live" if is_live else "starting"
        url = found["url"] if is_live else ""
        return {**self.wanted[name], "name": name, "state": state, "url": url, "error": None}

    def _stop(self, name):
        if process := self.processes.pop(name, None):
            process.kill()
            process.wait()


class ClientRun(FolderRun):
    """A folder run that reaches a client."""

    def __init__(self, folder, inputs, client):
        super().__init__(folder, inputs)
        self._client = client

    @property
    def client(self):
        return self._client


@contextlib.contextmanager
def client_for(folder, inputs):
    client = ProcessClient(folder, inputs)
    try:
        yield client
    finally:
        client.close()


def test_an_accepted_model_goes_live_and_the_report_says_why(tmp_path):
    spec, inputs = deployment(tmp_path)
    with client_for(tmp_path / "live", inputs) as client:
        run = ClientRun(tmp_path / "run", inputs, client)
        report = run.run(spec)["acceptance"]
        record = client.get("/deployments/sentiment")
        assert (record["state"], record["model"]) == ("live", spec.model)
        assert ask(record["url"], text("good"))[2]["predictions"][0]["label"] == "positive"
    written = json.loads((report.path / "acceptance.json").read_text())
    assert all(check["passed"] for check in written["checks"])
    assert written["figures"]["macro_recall"] == 1.0
    assert (written["requests"], written["errors"]) == (15 * 2 + 15 + len(HOSTILE) + 2, 0)
    assert "✓ passed" in (report.path / "acceptance.html").read_text()
    assert "milliseconds" not in (report.path / "acceptance.json").read_text()
    assert report.summary["timing"]["url"] == record["url"]
    assert report.summary["timing"]["p95_milliseconds"] > 0
    assert endpoint(tmp_path / "run" / "candidate") is None  # the candidate has gone


def test_a_model_that_answers_wrongly_or_slowly_does_not_go_live(tmp_path):
    spec, inputs = deployment(tmp_path, sign=-1)
    spec = spec.model_copy(update={"max_milliseconds": 0.0001})
    with client_for(tmp_path / "live", inputs) as client:
        with pytest.raises(StageError) as caught:
            ClientRun(tmp_path / "run", inputs, client).run(spec)
        assert client.puts == []
    what = caught.value.what
    assert what.startswith("The candidate failed 2 of 8 checks: quality: 0.000 [0.000, 0.000]")
    assert "speed: p95 of" in what
    assert len(json.loads(caught.value.detail)["checks"]) == 8
    assert endpoint(tmp_path / "run" / "candidate") is None


def test_a_model_that_does_not_start_is_refused_with_the_servers_words(tmp_path):
    spec, inputs = deployment(tmp_path)
    (inputs[spec.model].path / "stray.txt").write_text("not in the manifest")
    with pytest.raises(StageError) as caught:
        FolderRun(tmp_path / "run", inputs).run(spec)
    assert "starts and stays ready" in caught.value.what
    assert "exit code 4" in caught.value.what
    assert "stray.txt" in caught.value.detail


def test_a_candidate_that_dies_during_its_checks_is_refused(model, tmp_path):
    def killed():
        with candidate(model, "tiny", tmp_path, 1, lambda: None) as url:
            os.kill(endpoint(tmp_path)["pid"], signal.SIGKILL)
            wait_for(lambda: not is_running(url))
            with Caller(url) as caller:
                caller.predict("good")

    with pytest.raises(StageError, match="it ended with exit code -9 during the checks"):
        killed()


def is_running(url):
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", urlsplit(url).port)) == 0


def test_what_was_live_is_put_back_when_the_new_model_does_not_come_up(tmp_path):
    old, inputs = deployment(tmp_path)
    new = build_model(tmp_path, name="newer")
    with client_for(tmp_path / "live", {**inputs, new.reference: new}) as client:
        ClientRun(tmp_path / "old", inputs, client).run(old)
        before = client.get("/deployments/sentiment")["url"]
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = old.model_copy(update={"model": new.reference, "port": other.getsockname()[1]})
            run = ClientRun(tmp_path / "new", {**inputs, new.reference: new}, client)
            with pytest.raises(StageError, match="did not go live: the deployment is failed") as e:
                run.run(taken)
        assert f"{old.model} was put back" in e.value.next_step
        assert client.puts == [old.model, new.reference, old.model]
        live = wait_for(lambda: client.get("/deployments/sentiment")["url"])
        assert before != "" and ask(live, text("bad"))[2]["model"] == old.model


def test_a_first_deployment_that_does_not_come_up_is_taken_down(tmp_path):
    spec, inputs = deployment(tmp_path)
    with socket.socket() as other, client_for(tmp_path / "live", inputs) as client:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = spec.model_copy(update={"port": other.getsockname()[1]})
        with pytest.raises(StageError) as caught:
            ClientRun(tmp_path / "run", inputs, client).run(taken)
        assert caught.value.next_step.startswith("The deployment was taken down.")
        assert client.get("/deployments") == []


def test_a_data_set_in_place_of_a_model_is_refused(tmp_path):
    spec, inputs = deployment(tmp_path)
    wrong = spec.model_copy(update={"model": spec.test})
    with pytest.raises(DataError, match="is a dataset, not a model"):
        FolderRun(tmp_path / "run", inputs).run(wrong)


def test_errors_of_the_server_are_workbench_errors(server):
    _, _, content = ask(server, b"")
    error = error_from_json(content)
    assert (type(error).__name__, error.where) == ("SpecError", "body")


def test_the_log_of_a_running_server_is_a_source_of_the_integrate_stage(model, tmp_path):
    with serving(model, tmp_path / "log") as (url, _):
        for words in ("good so", "bad"):
            assert ask(url, text(words))[0] == 200
        source = {
            "kind": "sql", "name": "live", "url": f"sqlite:///{tmp_path / 'log' / LOG_FILE}",
            "table": "predictions", "text_column": "text", "label_column": "label",
        }  # fmt: skip
        spec = IntegrateSpec(sources=[source])
        table = read_records(FolderRun(tmp_path / "run").run(spec)["dataset"])
    assert table.select(["text", "label"]).to_pylist() == [
        {"text": "good so", "label": "positive"},
        {"text": "bad", "label": "negative"},
    ]
    assert json.loads(table["extra"][0].as_py())["model"] == model.reference
