"""Following a run in a terminal: its log lines, and one line of progress that rewrites itself."""

from __future__ import annotations

import sys
from typing import Any, Protocol, TextIO, TypeVar

from workbench.queue.states import is_at_rest

_POLL_SECONDS = 2.0
_MOST_PARTS = 8  # of a fact that has several


class FollowedRun(Protocol):
    """What following needs of a run."""

    run_id: str

    def record(self) -> dict[str, Any]:
        """Return the run as the daemon knows it."""

    def events(self, after: int = 0, wait: float = 0.0) -> list[dict[str, Any]]:
        """Return the journal after a sequence number."""


Followed = TypeVar("Followed", bound=FollowedRun)


def follow(run: Followed, stream: TextIO | None = None) -> Followed:
    """Show a run until it is over or had to pause; Ctrl-C stops the showing, not the run."""
    line = _Line(stream or sys.stderr)
    seen = 0
    try:
        while True:
            for event in run.events(after=seen, wait=_POLL_SECONDS):
                seen = event["seq"]
                text = describe(event)
                if text:
                    line.print(f"{run.run_id}  {text}")
                if event["kind"] == "progress":
                    line.show(f"{run.run_id}  {progress_text(event['payload'])}")
            if is_at_rest(run.record()) and not run.events(after=seen):
                return run
    except KeyboardInterrupt:
        line.print(f"{run.run_id} goes on; see it again with: workbench runs logs {run.run_id}")
        return run
    finally:
        line.end()


def describe(event: dict[str, Any]) -> str:
    """Return an event as a line for people; empty for what is not shown line by line."""
    kind, payload = event["kind"], event["payload"]
    if kind == "state":
        told = "; ".join(payload[name] for name in ("cause", "remedy") if name in payload)
        return f"{payload['state']} ({told})" if told else str(payload["state"])
    if kind == "log":
        facts = [_fact(name, value) for name, value in payload.items() if name != "message"]
        return " ".join([payload["message"], *filter(None, facts)])
    if kind == "metric" and payload["step"] is None:
        value = payload["value"]
        return f"{payload['name']} = {'not a number' if value is None else f'{value:.4g}'}"
    if kind == "error":
        parts = [f"{payload['family']} error: {payload['what']}"]
        parts += [f"  where: {payload['where']}"] if payload["where"] else []
        parts += [f"  next:  {payload['next_step']}"] if payload["next_step"] else []
        return "\n".join(parts)
    return ""


def _fact(name: str, value: Any) -> str:
    """Return a fact beside a message as text; empty for what is too much for a line."""
    if not isinstance(value, dict | list):
        return f"{name}={value}"
    parts = [f"{k} {v}" for k, v in value.items()] if isinstance(value, dict) else value
    inner = value.values() if isinstance(value, dict) else value
    is_short = len(value) <= _MOST_PARTS and not any(isinstance(v, dict | list) for v in inner)
    return f"({name}: {', '.join(map(str, parts))})" if value and is_short else ""


def progress_text(payload: dict[str, Any]) -> str:
    """Return progress as a bar with figures, e.g. ``[####......] 40 % 400 of 1,000 rows``."""
    done, total = payload["done"] or 0, payload["total"] or 0  # None: no finite number was given
    share = min(1.0, max(0.0, done / max(total, 1e-9)))
    bar = "#" * round(20 * share)
    note = f" · {payload['note']}" if payload.get("note") else ""
    figures = f"{done:,.0f} of {total:,.0f} {payload['unit']}"
    return f"[{bar:.<20}] {share:4.0%} {figures}{note}"


class _Line:
    """One rewritable line at the end of a terminal; plain lines elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._shown = False

    def show(self, text: str) -> None:
        if self._live:
            self._stream.write(f"\r\x1b[K{text[:110]}")
            self._stream.flush()
            self._shown = True

    def print(self, text: str) -> None:
        self.end()
        print(text, file=self._stream, flush=True)

    def end(self) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._shown = False
