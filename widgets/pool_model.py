"""What a pool looks like, as plain values: hosts, who works, who waits and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from widgets.wording import count, duration, share
from workbench.pool.holdings import agent_of

_WORDS = {
    "running": "works",
    "pausing": "is pausing",
    "cancelling": "is being cancelled",
    "waiting": "waits",
}


def present_pool(pool: Mapping[str, Any], connection: str = "") -> dict[str, Any]:
    """Return a view's snapshot of what ``GET /pool`` told."""
    running = {run["run_id"]: run for run in pool["running"]}
    return {
        "headline": _headline(pool),
        "num_slots": sum(slot["alive"] for slot in pool["slots"]),
        "forecast": None,
        "connection": connection,
        "troubles": list(pool["troubles"]),
        "hosts": _hosts(pool["slots"], running),
        "running": [_running(run) for run in pool["running"]],
        "waiting": [_waiting(run) for run in pool["waiting"]],
    }


def _headline(pool: Mapping[str, Any]) -> str:
    alive = [slot for slot in pool["slots"] if slot["alive"]]
    busy = [slot for slot in alive if slot["run_id"]]
    told = [f"{count(len(busy))} of {count(len(alive))} slots busy"]
    if len(alive) < pool["most_slots"]:
        told.append(f"up to {count(pool['most_slots'])} when they are needed")
    if pool["hosts_coming"]:
        hosts = "host is" if pool["hosts_coming"] == 1 else "hosts are"
        told.append(f"{count(pool['hosts_coming'])} more {hosts} asked for")
    waiting = len(pool["waiting"])
    told.append(f"{count(waiting)} {'waits' if waiting == 1 else 'wait'}")
    return " · ".join(told)


def _hosts(slots: list[Any], running: Mapping[str, Any]) -> list[dict[str, Any]]:
    hosts: dict[str, dict[str, Any]] = {}
    for slot in slots:
        name = agent_of(slot["slot"])
        host = hosts.setdefault(
            name, {"name": name, "host": slot["host"], "note": _note(slot), "slots": []}
        )
        run = running.get(slot["run_id"] or "")
        told = f"{run['stage']} {run['run_id']}" if run else "free"
        host["slots"].append(
            {
                "slot": slot["slot"],
                "is_busy": run is not None,
                "is_alive": slot["alive"],
                "told": told if slot["alive"] else "being started",
            }
        )
    return list(hosts.values())


def _note(slot: Mapping[str, Any]) -> str:
    if slot["draining"]:
        return "is drained: its runs move, then it is released"
    return "" if slot["alive"] else "is being started"


def _running(run: Mapping[str, Any]) -> dict[str, Any]:
    progress = run["progress"]
    told = ""
    if progress and progress["total"]:
        told = share(min(progress["done"] / progress["total"], 1.0))
    return {**_common(run), "word": _WORDS.get(run["state"], run["state"]),
            "slots": count(run["slots"]), "progress": told,
            "can_stop": run["state"] == "running"}  # fmt: skip


def _waiting(run: Mapping[str, Any]) -> dict[str, Any]:
    least, most = run["least_workers"], run["workers"]
    return {**_common(run), "place": count(run["place"]), "reason": run["reason"],
            "slots": count(most) if least == most else f"{least}..{most}"}  # fmt: skip


def _common(run: Mapping[str, Any]) -> dict[str, Any]:
    who = run["submitted_by"]
    if run["project"] != "default":
        who = f"{who}, {run['project']}"
    return {"run_id": run["run_id"], "stage": run["stage"], "who": who,
            "priority": count(run["priority"])}  # fmt: skip


def present_forecast(num_slots: int, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return when each run would start and end with so many slots."""
    noun = "slot" if num_slots == 1 else "slots"
    return {
        "title": f"What would happen with {count(num_slots)} {noun}",
        "slots": num_slots,
        "rows": [
            {
                "run_id": one["run_id"], "stage": one["stage"],
                "starts": f"in {duration(one['starts_in'])}" if one["starts_in"] else "now",
                "ends": f"in {duration(one['ends_in'])}" + (", a guess" if one["is_guess"] else ""),
            }
            for one in found
        ],
    }  # fmt: skip
