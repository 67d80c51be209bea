"""A run as it is seen: events are folded into a state, and a state into what a view shows.

Pure throughout; the clock and the daemon are in ``widgets.watcher``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from widgets.chart_model import curve_chart, thin
from widgets.profile_model import present_profile
from widgets.wording import clock_time, count, duration, figure, share
from workbench.core.workers import recorded_workers
from workbench.pipeline.user_stage import shown_stage

TERMINAL = frozenset({"succeeded", "failed", "cancelled"})
MOST_LOG_LINES = 200
MOST_POINTS = 2_000
MOST_MARKS = 50

Event = Mapping[str, Any]

# state -> (glyph, word, what can be asked)
_LOOK: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "waiting": ("wait", "Waiting", ("pause", "cancel")),
    "running": ("run", "Running", ("pause", "cancel")),
    "pausing": ("pause", "Pausing at the next safe point", ("resume", "cancel")),
    "paused": ("pause", "Paused", ("resume", "cancel")),
    "cancelling": ("wait", "Cancelling at the next safe point", ()),
    "succeeded": ("done", "Succeeded", ()),
    "failed": ("fail", "Failed", ("resume",)),
    "cancelled": ("kill", "Cancelled", ("resume",)),
}


@dataclass(frozen=True)
class RunState:
    """All that is known of a run: its newest record and its journal up to ``last_seq``."""

    record: Mapping[str, Any]
    last_seq: int = 0
    num_missing: int = 0  # events that were never received
    curves: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    log: tuple[tuple[float, str], ...] = ()
    marks: tuple[tuple[float, str, str], ...] = ()  # (time, state, cause)
    progress_start: tuple[float, float] | None = None  # (time, done) the pace is measured from
    progress_now: tuple[float, float] | None = None
    num_checkpoints: int = 0
    profile: Mapping[str, Any] | None = None  # the newest line of the log that holds one

    @property
    def is_over(self) -> bool:
        """Whether the run has ended (it may be resumed if it did not succeed)."""
        return self.record["state"] in TERMINAL


def first_gap(state: RunState, events: Iterable[Event]) -> int | None:
    """Return the first sequence number that should be there and is not; None if none is missing."""
    expected = state.last_seq + 1
    for event in sorted(events, key=_seq):
        if event["seq"] > expected:
            return expected
        expected = max(expected, event["seq"] + 1)
    return None


def apply_events(state: RunState, events: Iterable[Event]) -> RunState:
    """Fold events into the state: in order, each once, however often they are delivered.

    Events missing before one that is here are counted in ``num_missing``.
    """
    for event in sorted(events, key=_seq):
        if event["seq"] > state.last_seq:
            missing = event["seq"] - state.last_seq - 1
            state = replace(
                _apply(state, event),
                last_seq=event["seq"],
                num_missing=state.num_missing + missing,
            )
    return state


def with_record(state: RunState, record: Mapping[str, Any]) -> RunState:
    """Return the state with a newer record of the run."""
    return replace(state, record=dict(record))


def _seq(event: Event) -> int:
    return int(event["seq"])


def _apply(state: RunState, event: Event) -> RunState:
    kind, payload, time = event["kind"], event["payload"], float(event["time"])
    if kind == "log":
        lines = (*state.log, (time, str(payload.get("message", ""))))
        state = replace(state, log=lines[-MOST_LOG_LINES:])
        return replace(state, profile=payload) if "profile" in payload else state
    if kind == "metric":
        return _apply_metric(state, payload)
    if kind == "progress":
        return _apply_progress(state, payload, time)
    if kind == "rows":
        return replace(state, record={**state.record, "rows": dict(payload)})
    if kind == "checkpoint":
        return replace(state, num_checkpoints=state.num_checkpoints + 1)
    if kind == "state":
        told = "; ".join(str(payload[name]) for name in ("cause", "remedy") if name in payload)
        mark = (time, str(payload.get("state", "")), told)
        # A new attempt has a pace of its own.
        return replace(state, marks=(*state.marks, mark)[-MOST_MARKS:], progress_start=None)
    return state


def _apply_metric(state: RunState, payload: Mapping[str, Any]) -> RunState:
    name, value, step = str(payload.get("name", "")), payload.get("value"), payload.get("step")
    if not isinstance(value, int | float) or value != value:
        return state  # a loss that became NaN has no place on an axis; the log tells it
    if step is None:
        return replace(state, figures={**state.figures, name: float(value)})
    points = (*state.curves.get(name, ()), (float(step), float(value)))
    if len(points) > MOST_POINTS:
        points = thin(points, MOST_POINTS // 2)
    return replace(state, curves={**state.curves, name: points})


def _apply_progress(state: RunState, payload: Mapping[str, Any], time: float) -> RunState:
    done = float(payload.get("done", 0))
    before = state.record.get("progress") or {}
    start = state.progress_start
    is_new_part = any(before.get(k) != payload.get(k) for k in ("total", "unit"))
    if start is None or is_new_part or (state.progress_now and done < state.progress_now[1]):
        start = (time, done)
    return replace(
        state,
        record={**state.record, "progress": dict(payload)},
        progress_start=start,
        progress_now=(time, done),
    )


def seconds_left(state: RunState) -> float | None:
    """Estimate the seconds until the shown progress is complete; None while no pace is known."""
    progress = state.record.get("progress")
    if not progress or not state.progress_start or not state.progress_now:
        return None
    seconds = state.progress_now[0] - state.progress_start[0]
    done = state.progress_now[1] - state.progress_start[1]
    left = float(progress.get("total", 0)) - state.progress_now[1]
    return left * seconds / done if seconds >= 1 and done > 0 and left > 0 else None


def present_run(
    state: RunState,
    now: float,
    *,
    outputs: Iterable[Mapping[str, Any]] = (),
    connection: str = "",
    asked: str = "",
) -> dict[str, Any]:
    """Return all that a view shows of a run, as plain JSON values.

    ``outputs`` are artifacts as ``{output, reference, kind, facts}``; ``connection`` says what is
    wrong with the way to the daemon; ``asked`` is a wish whose answer is still awaited.
    """
    record = state.record
    glyph, word, actions = look_of(record)
    return {
        "run_id": record["run_id"],
        "stage": shown_stage(record),
        "state": record["state"],
        "glyph": glyph,
        "word": word,
        "is_over": state.is_over,
        "actions": [] if connection else list(actions),
        "asked": asked,
        "connection": connection,
        "who": _who(record),
        "times": _times(record, now),
        "progress": _progress(state),
        "figure": _headline_figure(state, now),
        "rows": _rows(record.get("rows")),
        "charts": [curve_chart(name, points) for name, points in state.curves.items() if points],
        "figures": [{"name": _spaced(n), "value": figure(v)} for n, v in state.figures.items()],
        "log": [{"time": clock_time(t), "message": message} for t, message in state.log],
        "marks": [
            {"time": clock_time(t), "state": s, "cause": cause} for t, s, cause in state.marks
        ],
        "profile": present_profile(state.profile) if state.profile else None,
        "error": _error(record.get("error")),
        "outputs": [dict(output) for output in outputs],
        "num_missing": state.num_missing,
        "num_checkpoints": state.num_checkpoints,
    }


def look_of(record: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    """Return a run's glyph, its state in words, and what can be asked of it."""
    glyph, word, actions = _LOOK.get(record["state"], ("warn", str(record["state"]), ()))
    if record["state"] == "succeeded" and record.get("cached"):
        glyph, word = "cached", "Found in the cache, not run again"
    if record.get("term", 0) > 1 and record["state"] == "running":
        word = f"Running, attempt {record['term']}"
    return glyph, word, actions


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _who(record: Mapping[str, Any]) -> str:
    parts = [record["run_id"], record.get("submitted_by", "")]
    if record.get("priority"):
        parts.append(f"priority {record['priority']}")
    workers = recorded_workers(record)
    if workers.most > 1:
        parts.append(f"{workers} slots")
    return " · ".join(part for part in parts if part)


def _times(record: Mapping[str, Any], now: float) -> str:
    started, ended = record.get("started_at"), record.get("ended_at")
    if started is None:
        return f"submitted {clock_time(record['submitted_at'])}" if record["submitted_at"] else ""
    if ended is None:
        return f"started {clock_time(started)}, {duration(now - started)} ago"
    return f"{clock_time(started)} to {clock_time(ended)}"


def _progress(state: RunState) -> dict[str, Any] | None:
    progress = state.record.get("progress")
    if state.record["state"] == "succeeded":
        return {"share": 1.0, "text": "", "note": ""}
    if not progress or not progress.get("total"):
        return None
    done, total = float(progress.get("done", 0)), float(progress["total"])
    return {
        "share": max(0.0, min(1.0, done / total)),
        "text": f"{progress.get('unit', '')} {count(done)} of {count(total)}".strip(),
        "note": str(progress.get("note", "")),
    }


def _headline_figure(state: RunState, now: float) -> dict[str, str]:
    """Return the one figure of the strip: time left, time taken, or how far it is."""
    record = state.record
    started, ended = record.get("started_at"), record.get("ended_at")
    if ended is not None:
        seconds = 0.0 if started is None else ended - started
        return {
            "value": duration(seconds),
            "of": "from the cache" if record.get("cached") else "taken",
        }
    left = seconds_left(state) if record["state"] == "running" else None
    if left is not None:
        return {"value": duration(left), "of": f"left, ends about {clock_time(now + left)}"}
    progress = _progress(state)
    if progress is not None:
        return {"value": share(progress["share"]), "of": "done"}
    if started is not None:
        return {"value": duration(now - started), "of": "so far"}
    return {"value": "", "of": ""}


def _rows(rows: Mapping[str, Any] | None) -> dict[str, str] | None:
    if not rows:
        return None
    read, written = int(rows.get("read", 0)), int(rows.get("written", 0))
    kept = f"{share(written / read)} of them" if read and written <= read else ""
    return {"read": count(read), "written": count(written), "share": kept}


def _error(error: Mapping[str, Any] | None) -> dict[str, str] | None:
    if not error:
        return None
    owner = {
        "spec": "A parameter is wrong", "data": "The data is not as promised",
        "resource": "The machine lacks something", "stage": "The stage failed",
        "bug": "The workbench is wrong",
    }.get(str(error.get("family")), "It failed")  # fmt: skip
    names = ("what", "where", "next_step", "detail")
    return {"owner": owner, **{name: str(error.get(name) or "") for name in names}}
