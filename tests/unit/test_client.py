"""The client: errors come back as themselves, and a daemon that comes and goes is not noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from workbench.core import client as client_module
from workbench.core.client import Client, FixedEndpoint
from workbench.core.daemon_process import ENDPOINT_FILE, WorkspaceEndpoint, running_daemon
from workbench.core.errors import DataError, ResourceError, error_from_json
from workbench.runs import Results
from workbench.workspace import Workspace, default_root

# Status, body, and how soon to ask again; None: the connection is dropped without an answer, a
# number: so many seconds later.
Answer = tuple[int, bytes] | tuple[int, bytes, str] | float | None
Requests = list[tuple[str, str, dict[str, str], bytes]]


class SmallServer:
    """A real HTTP server on loopback whose answers a test writes beforehand."""

    def __init__(self, answers: list[Answer]) -> None:
        self.requests: Requests = []
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                requests.append((self.command, self.path, dict(self.headers), body))
                answer = answers.pop(0)
                if answer is None or isinstance(answer, float):
                    time.sleep(answer or 0)
                    self.close_connection = True
                    return
                self.send_response(answer[0])
                self.send_header("Content-Length", str(len(answer[1])))
                for seconds in answer[2:]:
                    self.send_header("Retry-After", str(seconds))
                self.end_headers()
                self.wfile.write(answer[1])

            do_GET = do_POST = do_PUT = do_DELETE = answer

            def log_message(self, *_args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


Serve = Callable[..., tuple[SmallServer, Client]]


@pytest.fixture
def serve() -> Iterator[Serve]:
    opened: list[tuple[SmallServer, Client]] = []

    def start(*answers: Answer, patience_seconds: float = 5.0) -> tuple[SmallServer, Client]:
        server = SmallServer(list(answers))
        client = Client(FixedEndpoint(server.url, "secret"), patience_seconds)
        opened.append((server, client))
        return server, client

    yield start
    for server, client in opened:
        client.close()
        server.close()


def test_a_request_carries_the_token_and_json_both_ways(serve: Serve) -> None:
    server, client = serve((200, b'{"a": [1]}'), (200, b""))
    assert client.post("/runs", {"text": "é 中文"}) == {"a": [1]}
    assert client.delete("/runs/r1") is None
    (verb, path, headers, body), (second_verb, *_) = server.requests
    assert (verb, path, second_verb) == ("POST", "/runs", "DELETE")
    assert headers["Authorization"] == "Bearer secret"
    assert json.loads(body) == {"text": "é 中文"}


def test_queries_and_odd_names_are_quoted_and_none_is_left_out(serve: Serve) -> None:
    server, client = serve((200, b"{}"), (200, b"{}"))
    client.get("/artifacts/a b#c@latest", kind="model", wait=None)
    client.put("/deployments/é", {})
    assert [path for _, path, *_ in server.requests] == [
        "/artifacts/a%20b%23c@latest?kind=model",
        "/deployments/%C3%A9",
    ]


def test_an_error_comes_back_as_the_error_that_it_was_there(serve: Serve) -> None:
    sent = DataError("No such table", where="a.db", next_step="Name one.", detail="x")
    _, client = serve((422, json.dumps(sent.to_json()).encode()))
    with pytest.raises(DataError) as caught:
        client.get("/runs")
    assert caught.value.to_json() == sent.to_json()


def test_a_dropped_request_is_sent_again(serve: Serve) -> None:
    server, client = serve(None, None, (200, b'"at last"'))
    assert client.post("/runs", {"run_id": "r1"}) == "at last"
    assert [body for *_, body in server.requests] == [b'{"run_id": "r1"}'] * 3


AWAY = (503, json.dumps(ResourceError("The database does not answer").to_json()).encode(), "0.1")


def test_people_are_told_at_once_that_the_database_is_away(serve: Serve) -> None:
    server, client = serve(AWAY, (200, b"{}"))
    with pytest.raises(ResourceError, match="The database does not answer"):
        client.get("/status")
    assert len(server.requests) == 1


def test_a_run_asks_again_until_the_database_is_back(serve: Serve) -> None:
    server, _ = serve(AWAY, AWAY, None, (200, b'{"wish": "run"}'))
    client = Client(FixedEndpoint(server.url, "secret"), database_seconds=5.0)
    assert client.post("/report", {"events": []}) == {"wish": "run"}
    client.close()
    assert [body for *_, body in server.requests] == [b'{"events": []}'] * 4


def test_a_run_gives_up_on_a_database_that_stays_away(serve: Serve) -> None:
    server, _ = serve(*[AWAY] * 9)
    client = Client(FixedEndpoint(server.url, "secret"), database_seconds=0.25)
    with pytest.raises(ResourceError, match="The database does not answer"):
        client.post("/report", {"events": []})
    client.close()
    assert 1 < len(server.requests) < 9


def test_a_connection_that_was_idle_too_long_is_opened_again(serve: Serve) -> None:
    server, client = serve((200, b"1"), None, (200, b"2"))
    assert [client.get("/a"), client.get("/b")] == [1, 2]
    assert len(server.requests) == 3


def test_patience_ends_with_a_reason() -> None:
    client = Client(FixedEndpoint("http://127.0.0.1:9", "secret"), patience_seconds=0.1)
    with pytest.raises(ResourceError, match="The daemon does not answer") as caught:
        client.get("/status")
    assert "workbench up" in caught.value.next_step


def test_something_else_that_answers_is_told_apart_from_a_daemon(serve: Serve) -> None:
    _, client = serve((200, b"<html>"), (500, b"null"))
    for _ in range(2):
        with pytest.raises(ResourceError, match="is no daemon of a workspace"):
            client.get("/status")


def test_each_thread_has_a_connection_of_its_own_and_leaves_none_open(serve: Serve) -> None:
    _, client = serve(*[(200, b"1")] * 10)
    threads = [threading.Thread(target=client.get, args=("/a",)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()  # an open socket would be a ResourceWarning, which fails the test


# -- finding and starting the daemon -------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"pid": "x"}',
        '{"pid": 0}',
        '{"pid": 999999999, "url": "", "token": ""}',
    ],
)
def test_a_broken_or_outdated_address_is_no_daemon(tmp_path: Path, content: str) -> None:
    (tmp_path / ENDPOINT_FILE).write_text(content)
    assert running_daemon(tmp_path) is None


def test_a_process_number_that_another_program_has_now_is_no_daemon(tmp_path: Path) -> None:
    record = {"url": "http://127.0.0.1:9", "token": "t", "pid": os.getpid(), "version": "0"}
    (tmp_path / ENDPOINT_FILE).write_text(json.dumps(record))
    assert running_daemon(tmp_path) is None


def test_the_daemon_of_another_workspace_is_not_taken_for_ours(tmp_path: Path) -> None:
    code = "import sys, time; print('up', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code, "workbench.daemon", "--workspace", "/elsewhere"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        record = {"url": "http://127.0.0.1:9", "token": "t", "pid": other.pid, "version": "0"}
        (tmp_path / ENDPOINT_FILE).write_text(json.dumps(record))
        try:
            assert running_daemon(tmp_path) is None
        finally:
            other.kill()


def test_a_reason_left_by_an_earlier_daemon_is_not_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ResourceError("The moon is full", where="yesterday").to_json()
    (tmp_path / "daemon.error.json").write_text(json.dumps(old))
    monkeypatch.setenv("WORKBENCH_SLOTS", "none")
    with pytest.raises(ResourceError, match="WORKBENCH_SLOTS"):
        WorkspaceEndpoint(tmp_path).locate()


def test_a_daemon_that_dies_at_once_is_told_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "uvicorn.py").write_text(
        "import os; print('no server today', flush=True); os._exit(3)"
    )
    monkeypatch.setenv("PYTHONPATH", str(broken))
    with pytest.raises(ResourceError, match=r"ended at once \(exit code 3\)") as caught:
        WorkspaceEndpoint(tmp_path / "workspace").locate()
    assert caught.value.where == str(tmp_path / "workspace" / "daemon.log")
    assert "no server today" in caught.value.detail


def test_an_unknown_error_record_is_still_an_error() -> None:
    assert error_from_json({}).what == "unknown error"


# -- the workspace's face ------------------------------------------------------------------------


def test_the_default_workspace_is_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORKBENCH_WORKSPACE", "~/mine")
    assert default_root() == Path.home() / "mine"
    monkeypatch.setenv("WORKBENCH_WORKSPACE", "")
    assert default_root() == Path.home() / ".workbench"
    assert Workspace("here").root == Path.cwd() / "here"


def test_results_are_a_mapping_and_attributes() -> None:
    results = Results({})
    assert (dict(results), len(results), repr(results)) == ({}, 0, "Results()")
    with pytest.raises(AttributeError, match="There is no output 'model'"):
        _ = results.model


@pytest.mark.parametrize("is_up", [True, False])
def test_what_takes_long_is_waited_for_as_long_as_the_daemon_is_up(
    monkeypatch: pytest.MonkeyPatch, is_up: bool
) -> None:
    monkeypatch.setattr(client_module, "_REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(client_module, "_ANSWER_SECONDS", 0.2)
    status: Answer = (200, b"{}") if is_up else 1.0
    server = SmallServer([1.0, status, 1.0, status, (200, b'{"run_id": "r"}')])
    try:
        client = Client(FixedEndpoint(server.url, "token"), patience_seconds=0.05)
        if is_up:
            assert client.post("/runs", {"spec": {}}) == {"run_id": "r"}
            assert [path for _, path, _, _ in server.requests] == ["/runs", "/status"] * 2 + [
                "/runs"
            ]
        else:
            with pytest.raises(ResourceError, match="does not answer"):
                client.post("/runs", {"spec": {}})
    finally:
        server.close()
