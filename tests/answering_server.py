"""A server that answers as an endpoint does, or as badly as a test wants it to."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler", str, int], None]  # the handler, the text asked of, how often it was


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = body["messages"][-1]["content"]
        with self.server.lock:
            self.server.asked[text] += 1
            times = self.server.asked[text]
            self.server.now += 1
            self.server.most = max(self.server.most, self.server.now)
            self.server.headers_seen.append(dict(self.headers))
        try:
            self.server.answer(self, text, times)
        finally:
            with self.server.lock:
                self.server.now -= 1

    def send(self, status: int, body: Any, **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", headers.pop("length", str(len(content))))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """Counts who asks what, how often, and how many at once."""

    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.now = self.most = 0
        self.headers_seen: list[dict[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


def well(handler: Handler, text: str, times: int) -> None:
    said = "bad" if "bad" in text else "good"
    handler.send(200, {
        "choices": [{"message": {"role": "assistant", "content": said}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2},
    })  # fmt: skip


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    """Start a server; end it on leaving."""
    server = Server(answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
