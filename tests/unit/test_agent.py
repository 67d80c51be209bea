"""The agent's loop where what it is told and what has just died cross each other."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_workspace import wait_until

from workbench.pool.agent import Agent
from workbench.pool.holdings import Answer

ORDER = {"call": "forked:wait_with_child", "name": "wb-test", "argument": {}}


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    path = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path))
    own = Agent(tmp_path, "a", 2)
    own._ensure_attempts()
    yield own
    own._end()
    assert own._forks is not None
    own._forks.close()


def test_a_zygote_that_dies_while_one_is_started_and_another_let_go_ends_no_agent(
    agent: Agent,
) -> None:
    agent._obey(0.0, 1, Answer("daemon", 1, start={"r/1": ORDER}))
    while not agent._pids:  # until it is started
        agent._hear_zygote()
    assert agent._attempts.pid is not None
    os.kill(agent._attempts.pid, signal.SIGKILL)
    wait_until(lambda: agent._attempts.pid is None, "the zygote is gone")
    agent._obey(0.0, 2, Answer("daemon", 2, start={"r/2": ORDER}, forget=("r/1",)))
    assert agent._holdings.report() == {"r/2": -signal.SIGKILL}
