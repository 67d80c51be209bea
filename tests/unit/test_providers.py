"""Choosing where a pool's hosts come from: what is kept, and what is refused before."""

from __future__ import annotations

from pathlib import Path

import pytest

import workbench
from workbench.core.errors import ResourceError, SpecError
from workbench.core.workers import Workers
from workbench.pool.agents import Agents, Report
from workbench.pool.providers import started
from workbench.pool.providers.local import LocalPool
from workbench.pool.providers.registry import (
    load_provider,
    provider_names,
    provider_of,
    read_pool,
    write_pool,
)
from workbench.pool.providers.ssh import SshPool
from workbench.pool.providers.started import StartedHosts
from workbench.workspace import Workspace


def test_without_a_choice_the_pool_is_this_host(tmp_path: Path) -> None:
    assert read_pool(tmp_path) == LocalPool()


def test_a_choice_is_kept_for_its_user_alone(tmp_path: Path) -> None:
    wanted = SshPool(machines=["a", "b"], slots=2, environment={"HF_HOME": "/models"})
    write_pool(tmp_path, wanted)
    assert read_pool(tmp_path) == wanted
    assert (tmp_path / "pool.yaml").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("provider: [", "is no table with a provider"),
        ("just words", "is no table with a provider"),
        ("slots: 2", "is no table with a provider"),
        ("provider: shh", "There is no provider 'shh'"),
        ("provider: ssh", "machines"),
        ("provider: local\nslots: none", "no number of workers"),
    ],
)
def test_a_choice_that_somebody_has_spoilt_is_told(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "pool.yaml").write_text(text)
    with pytest.raises(SpecError, match=what):
        read_pool(tmp_path)


def test_what_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    own = Workspace(tmp_path / "workspace")
    for wrong in (SshPool(machines=["-oProxyCommand=evil"]), SshPool(machines=["local"])):
        with pytest.raises(ResourceError, match="is no name of a machine"):
            own.use_pool(wrong)
    assert not own.root.exists()


def test_every_provider_is_found_by_name_and_from_the_package(tmp_path: Path) -> None:
    assert set(provider_names()) >= {"local", "ssh", "queue", "cluster"}
    for name in provider_names():
        kind = load_provider(name)
        assert getattr(workbench, kind.__name__) is kind
        assert kind.__doc__
    assert provider_of(LocalPool()) == "local"


# -- hosts that one command starts ---------------------------------------------------------------


class Fake:
    """Hosts that come, are refused or end as a test says."""

    def __init__(self) -> None:
        self.refusal = ""
        self.dead: set[str] = set()  # machines that refuse by themselves
        self.asked: list[str] = []
        self.started: dict[str, FakeStarted] = {}

    def name(self, taken: set[str]) -> str | None:
        return next((name for name in ("a", "b") if name not in taken), None)

    def is_ours(self, agent: str) -> bool:
        return agent in ("a", "b")

    def start(self, name: str) -> FakeStarted:
        self.asked.append(name)
        if self.refusal or name in self.dead:
            raise ResourceError(self.refusal)
        self.started[name] = FakeStarted()
        return self.started[name]


class FakeStarted:
    why: str | None = None
    is_ended = False
    is_way = False

    def is_only_the_way(self) -> bool:
        return self.is_way

    def ended(self) -> str | None:
        return self.why

    def end(self) -> None:
        self.is_ended = True


@pytest.fixture
def agents() -> Agents:
    return Agents()


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def hosts(agents: Agents, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> StartedHosts:
    monkeypatch.setattr(started, "_FIRST_PAUSE_SECONDS", 0.1)
    return StartedHosts(agents, fake, Workers(0, 2), 1, patience_seconds=60)


def report(agents: Agents, name: str) -> None:
    agents.exchange(Report(name, "incarnation", name, 1, 1, {}))


def start_and_wait(hosts: StartedHosts, fake: Fake, name: str) -> None:
    from live_workspace import wait_until

    hosts.add_host()
    wait_until(lambda: name in fake.started, "it is started")


def test_a_host_is_coming_until_its_agent_reports(
    hosts: StartedHosts, agents: Agents, fake: Fake
) -> None:
    start_and_wait(hosts, fake, "a")
    assert hosts.num_coming() == 1
    report(agents, "a")
    hosts._look()
    assert hosts.num_coming() == 0
    fake.started["a"].why = "connection closed"
    hosts._look()
    assert agents.found() == [], "it is forgotten"
    ended = fake.started.pop("a")
    start_and_wait(hosts, fake, "a")
    assert fake.started["a"] is not ended
    assert hosts.num_coming() == 1


def test_a_refused_host_counts_as_coming_for_a_while_and_says_why(
    hosts: StartedHosts, fake: Fake
) -> None:
    from live_workspace import wait_until

    fake.refusal = "no such machine"
    hosts.add_host()
    wait_until(hosts.troubles, "it is told")
    assert hosts.troubles() == ["a did not come: no such machine"]
    assert hosts.num_coming() == 1, "nobody asks for it again at once"
    wait_until(lambda: hosts.num_coming() == 0, "later somebody may")


def test_no_more_hosts_are_started_than_there_are(hosts: StartedHosts, fake: Fake) -> None:
    for _ in range(5):
        hosts.add_host()
    assert hosts.num_coming() == 2


def test_a_host_that_is_given_up_is_told_and_then_ended(
    hosts: StartedHosts, agents: Agents, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(started, "_LEAVE_SECONDS", 0.0)
    start_and_wait(hosts, fake, "a")
    report(agents, "a")
    hosts._look()
    hosts.release("a")
    told = agents.exchange(Report("a", "incarnation", "a", 1, 1, {}))
    assert told.stop
    hosts._look()
    assert fake.started["a"].is_ended
    assert agents.found() == []


def test_a_host_that_an_earlier_daemon_has_started_is_ours(
    hosts: StartedHosts, agents: Agents
) -> None:
    report(agents, "b")
    report(agents, "somebody-elses")
    hosts._look()
    hosts.release("b")
    assert agents.draining() == {"b"}
    assert hosts.num_coming() == 0


def test_a_broken_connection_is_no_end_of_the_agent_behind_it(fake: Fake) -> None:
    now = [1000.0]
    agents = Agents(clock=lambda: now[0])
    hosts = StartedHosts(agents, fake, Workers(0, 2), 1, patience_seconds=60)
    start_and_wait(hosts, fake, "a")
    report(agents, "a")
    agents.start("r/1", "a", {})
    hosts._look()
    fake.started["a"].why, fake.started["a"].is_way = "Broken pipe", True
    for _ in range(10):
        now[0] += 10.0
        report(agents, "a")
        hosts._look()
        assert [found["agent"] for found in agents.found()] == ["a"]
        assert not agents.lost("r/1")
    now[0] += 36.0  # it is heard no more, too
    hosts._look()
    assert agents.found() == []


def test_a_machine_that_refuses_does_not_keep_another_one_from_being_asked(
    hosts: StartedHosts, fake: Fake
) -> None:
    from live_workspace import wait_until

    fake.dead = {"a"}
    hosts.add_host()
    wait_until(hosts.troubles, "it is told")
    wait_until(lambda: hosts.num_coming() == 0, "somebody may ask again")
    start_and_wait(hosts, fake, "b")
    assert fake.asked == ["a", "b"]
    hosts.add_host()
    wait_until(lambda: fake.asked == ["a", "b", "a"], "the first one may be there by now")
