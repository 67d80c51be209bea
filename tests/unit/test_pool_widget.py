"""The pool as a view: what it tells, what it asks for, and what it says when nobody answers."""

from __future__ import annotations

from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest
from live_workspace import wait_until

from widgets.pool import PoolView
from widgets.pool_model import present_pool
from workbench.core.errors import ResourceError

HOSTILE = "<img src=x onerror=alert(1)>"


def slot(name: str, run_id: str | None = None, **changes: Any) -> dict[str, Any]:
    plain = {"slot": name, "host": "ada", "alive": True, "draining": False, "run_id": run_id}
    return {**plain, **changes}


def working(**changes: Any) -> dict[str, Any]:
    plain = {"run_id": "r-1", "stage": "train", "state": "running", "priority": 0, "slots": 2,
             "submitted_by": "ann", "project": "default",
             "progress": {"done": 30, "total": 120, "unit": "steps", "note": ""}}  # fmt: skip
    return {**plain, **changes}


def waiting(**changes: Any) -> dict[str, Any]:
    plain = {"run_id": "r-2", "stage": "split", "least_workers": 2, "workers": 8, "priority": 5,
             "submitted_by": "bo", "project": "search", "place": 1,
             "reason": "next: needs 2 slots at once"}  # fmt: skip
    return {**plain, **changes}


def pool(**changes: Any) -> dict[str, Any]:
    plain = {"slots": [slot("local/0", "r-1"), slot("local/1", "r-1")], "most_slots": 6,
             "running": [working()], "waiting": [waiting()], "hosts_coming": 0,
             "troubles": []}  # fmt: skip
    return {**plain, **changes}


class PoolOfOne:
    """A workspace whose pool a test sets."""

    def __init__(self) -> None:
        self.found: Any = pool()
        self.asked: list[tuple[str, str]] = []

    def pool(self) -> dict[str, Any]:
        if isinstance(self.found, Exception):
            raise self.found
        found: dict[str, Any] = self.found
        return found

    def forecast(self, slots: int) -> list[dict[str, Any]]:
        self.asked.append(("forecast", str(slots)))
        told = {"run_id": "r-2", "stage": "split", "is_guess": True}
        return [{**told, "starts_in": 120.0 / slots, "ends_in": 240.0 / slots}]

    def run(self, run_id: str) -> Any:
        return SimpleNamespace(
            pause=lambda: self.asked.append(("pause", run_id)),
            cancel=lambda: self.asked.append(("cancel", run_id)),
            prioritise=lambda priority: self.asked.append((f"priority {priority}", run_id)),
        )


def view_of(workspace: PoolOfOne) -> PoolView:
    return PoolView(workspace)  # type: ignore[arg-type]


def test_a_pool_tells_who_works_and_who_waits_and_why() -> None:
    told = present_pool(pool())
    assert told["headline"] == "2 of 2 slots busy · up to 6 when they are needed · 1 waits"
    (run,) = told["running"]
    assert (run["who"], run["slots"], run["progress"], run["can_stop"]) == (
        "ann",
        "2",
        "25 %",
        True,
    )
    (next_one,) = told["waiting"]
    assert (next_one["who"], next_one["slots"]) == ("bo, search", "2..8")
    assert next_one["reason"] == "next: needs 2 slots at once"
    (host,) = told["hosts"]
    assert [one["told"] for one in host["slots"]] == ["train r-1", "train r-1"]


@pytest.mark.parametrize(
    ("changes", "note"),
    [({"draining": True}, "is drained: its runs move, then it is released"),
     ({"alive": False}, "is being started"), ({}, "")],
)  # fmt: skip
def test_a_host_that_comes_or_goes_says_so(changes: dict[str, Any], note: str) -> None:
    told = present_pool(pool(slots=[slot("local-2/0", **changes)], running=[], waiting=[]))
    assert told["hosts"][0]["note"] == note


def test_hosts_that_do_not_come_are_told_of_and_why() -> None:
    why = f"gpu1 did not come: {HOSTILE}"
    told = present_pool(pool(hosts_coming=2, troubles=[why]))
    assert "2 more hosts are asked for" in told["headline"]
    assert told["troubles"] == [why]


def test_a_run_that_is_stopping_is_not_asked_again() -> None:
    (run,) = present_pool(pool(running=[working(state="pausing", progress=None)]))["running"]
    assert (run["can_stop"], run["word"], run["progress"]) == (False, "is pausing", "")


def test_what_is_asked_in_the_view_reaches_the_run() -> None:
    workspace = PoolOfOne()
    view = view_of(workspace)
    for intent, run_id in (("pause", "r-1"), ("cancel", "r-2"), ("raise", "r-2")):
        view._receive(view, {"intent": intent, "runId": run_id}, [])
    assert workspace.asked == [("pause", "r-1"), ("cancel", "r-2"), ("priority 100", "r-2")]
    view.close()


def test_the_view_follows_the_pool_and_says_when_nobody_answers() -> None:
    workspace = PoolOfOne()
    view = view_of(workspace)
    workspace.found = pool(waiting=[])
    wait_until(lambda: view.snapshot["pool"]["waiting"] == [], "nobody waits any more")
    workspace.found = ResourceError("The daemon does not answer")
    wait_until(lambda: view.snapshot["pool"]["connection"], "it is told")
    assert view.snapshot["pool"]["connection"] == "The daemon does not answer. Trying again."
    workspace.found = pool()
    wait_until(lambda: view.snapshot["pool"]["waiting"], "it is back")
    assert view.snapshot["pool"]["connection"] == ""
    view.close()


def test_the_record_shows_hostile_names_as_text() -> None:
    workspace = PoolOfOne()
    workspace.found = pool(running=[working(submitted_by=HOSTILE, stage=HOSTILE)],
                           waiting=[waiting(reason=HOSTILE)])  # fmt: skip
    view = view_of(workspace)
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)  # type: ignore[method-assign]
    parser.feed(view.record())
    assert "img" not in tags
    assert "onerror=alert(1)&gt;" in view.record()
    view.close()


def test_what_would_happen_with_other_slots_is_told_when_somebody_asks() -> None:
    workspace = PoolOfOne()
    view = view_of(workspace)
    assert view.snapshot["pool"]["forecast"] is None
    for slots, starts in (("2", "in 1 min 00 s"), ("4", "in 30 s")):
        view._receive(view, {"intent": "foretell", "slots": slots}, [])
        told = view.snapshot["pool"]["forecast"]
        assert told["title"] == f"What would happen with {slots} slots"
        assert [(row["stage"], row["starts"]) for row in told["rows"]] == [("split", starts)]
        assert told["rows"][0]["ends"].endswith(", a guess")
    assert "What would happen with 4 slots" in view.record()
    view._receive(view, {"intent": "foretell", "slots": ""}, [])
    assert view.snapshot["pool"]["forecast"] is None
    assert {slots for verb, slots in workspace.asked if verb == "forecast"} == {"2", "4"}
    view.close()
