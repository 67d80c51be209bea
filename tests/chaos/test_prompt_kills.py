"""Processes are killed while an endpoint answers: no answer that was kept is asked for again."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from answering_server import Handler, Server, serving, well
from killing import kill_daemon
from live_workspace import StartWorkspace, wait_until

from workbench.data.integrate import IntegrateSpec
from workbench.data.records import read_records
from workbench.prompts.label import LabelSpec
from workbench.runs import Run
from workbench.tasks.predictions import PREDICTED_LABEL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

NUM_ROWS, CONCURRENCY, NUM_KILLS = 240, 4, 4


def kept(run: Run, root: Path) -> list[str]:
    """Return the keys of all kept answers, in all files of the run's attempts."""
    files = root.glob(f"runs/{run.run_id}/cells/*.jsonl")
    lines = [line for file in files for line in file.read_bytes().split(b"\n") if line]
    found = []
    for line in lines:
        try:
            found.append(json.loads(line)["key"])
        except ValueError:
            continue  # torn by a kill
    return found


def slowly(handler: Handler, text: str, times: int) -> None:
    time.sleep(0.05)
    well(handler, text, times)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(slowly) as started:
        yield started


def test_no_kept_answer_is_asked_for_again_whoever_dies(
    start_workspace: StartWorkspace, server: Server, tmp_path: Path, chance: random.Random
) -> None:
    own = start_workspace(slots=1)
    texts = [f"text {n} is {'good' if n % 3 else 'bad'}" for n in range(NUM_ROWS)]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    source = {"kind": "lines", "name": "texts", "path": str(tmp_path / "texts.txt")}
    own.do(IntegrateSpec.parse({"name": "texts", "sources": [source]}))
    scorer = {"kind": "endpoint", "url": server.url, "model": "m", "concurrency": CONCURRENCY}
    run = own.submit(LabelSpec.parse({
        "dataset": "texts@latest", "scorer": scorer,
        "sentences": {"good": ["good"], "bad": ["bad"]},
    }))  # fmt: skip
    for kill in range(NUM_KILLS):
        told = len(server.asked)
        wait_until(lambda told=told: len(server.asked) > told + 10, "it asks on", 60)
        time.sleep(chance.uniform(0.0, 0.1))
        if kill % 2:
            kill_daemon(own)
            own.client.get("/status")
        else:
            pids = [e["payload"]["pid"] for e in run.journal() if e["kind"] == "environment"]
            os.kill(pids[-1], signal.SIGKILL)
    keys: list[str] = []
    while run.state not in ("succeeded", "failed"):
        keys = kept(run, own.root) or keys
        time.sleep(0.02)
    assert run.state == "succeeded", run.record()["error"]
    table = read_records(run.outputs().dataset)
    answers = dict(zip(table["text"].to_pylist(), table[PREDICTED_LABEL].to_pylist(), strict=True))
    assert answers == {text: "bad" if "bad" in text else "good" for text in texts}
    assert max(Counter(keys).values()) == 1, "an answer was kept twice"
    again = sum(times - 1 for times in server.asked.values())
    assert again <= NUM_KILLS * CONCURRENCY, "only what was on its way is asked for again"
