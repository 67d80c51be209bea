"""A study in optuna-dashboard: read only, and for whoever has its address.

The address holds a token, which becomes a cookie: other users of this machine, and other pages of
the browser, get nothing.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Callable, Iterable
from http.cookies import SimpleCookie
from importlib.util import find_spec
from socketserver import ThreadingMixIn
from typing import Any, Self
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from workbench.core.errors import ResourceError
from workbench.tune.study import StudyReader

_COOKIE = "workbench-study"
_STUDY = "/dashboard/studies/0"  # the only one in its journal

Start = Callable[..., Any]


class Dashboard:
    """optuna-dashboard on a study, served by a thread of this process."""

    def __init__(self, study: StudyReader, port: int = 0) -> None:
        """Serve a study; any free port is taken when it is 0.

        Raises:
            ResourceError: optuna-dashboard is not installed, or the port is taken.
        """
        if find_spec("optuna_dashboard") is None:
            raise ResourceError(
                "optuna-dashboard is not installed",
                where="dashboard",
                next_step="pip install optuna-dashboard; the study's own page is report.html.",
            )
        token = secrets.token_urlsafe(24)
        try:
            self._server = make_server(
                "127.0.0.1", port, guarded(_Application(study), token),
                server_class=_Server, handler_class=_Handler,
            )  # fmt: skip
        except OSError as error:
            raise ResourceError(f"Port {port} cannot be used: {error.strerror}",
                                where=f"127.0.0.1:{port}",
                                next_step="Give another port, or 0.") from error  # fmt: skip
        self.url = f"http://127.0.0.1:{self._server.server_port}{_STUDY}?token={token}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="study dashboard", daemon=True
        )
        self._thread.start()

    def wait(self) -> None:
        """Return when it is closed."""
        self._thread.join()

    def close(self) -> None:
        """Serve no longer."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Dashboard({self.url})"

    def _repr_html_(self) -> str:
        return f'<a href="{self.url}" target="_blank" rel="noopener">optuna-dashboard</a>'


class _Application:
    """optuna-dashboard, loaded when somebody looks: an address alone costs nothing."""

    def __init__(self, study: StudyReader) -> None:
        self._study = study
        self._lock = threading.Lock()
        self._made: Any = None

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        with self._lock:
            if self._made is None:
                from optuna_dashboard import wsgi

                self._made = wsgi(self._study.storage)
        found: Iterable[bytes] = self._made(environ, start)
        return found


def guarded(application: Any, token: str) -> Any:
    """Return an application that answers those alone who know the token, and only to be read."""

    def answer(environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _refuse(start, "403 Forbidden", "A study is written by its search alone.")
        given = parse_qs(environ.get("QUERY_STRING", "")).get("token", [""])[0]
        cookies = SimpleCookie(environ.get("HTTP_COOKIE", ""))
        known = cookies[_COOKIE].value if _COOKIE in cookies else ""
        if given and _are_equal(given, token):
            headers = [
                ("Location", environ["PATH_INFO"]),
                ("Set-Cookie", f"{_COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict"),
                ("Referrer-Policy", "no-referrer"),
            ]
            start("303 See Other", headers)
            return [b""]
        if not _are_equal(known, token):
            return _refuse(start, "401 Unauthorized", "Open the whole address, with its token.")
        found: Iterable[bytes] = application(environ, start)
        return found

    return answer


def _are_equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _refuse(start: Start, status: str, why: str) -> list[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [why.encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing: the address holds the token."""
