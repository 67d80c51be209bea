"""Laws of agents: whatever the network does to their messages, nothing is started twice or lost."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from workbench import __version__
from workbench.pool.agents import Agents, Report
from workbench.pool.holdings import Answer, Holdings, attempt_of
from workbench.pool.lease import Lease, LeaseTimes

AGENTS = ("a", "b")
RUNS = ("r1", "r2", "r3")
TIMES = LeaseTimes(length=30.0, margin=5.0, report=2.0, stale=6.0)


@dataclass
class Host:
    """A host with its agent: what really runs there."""

    name: str
    incarnation: int = 0
    holdings: Holdings = field(default_factory=Holdings)
    processes: set[str] = field(default_factory=set)
    leaving: set[str] = field(default_factory=set)

    def report(self) -> Report:
        return Report(
            self.name, f"{self.name}{self.incarnation}", "host", 1, 2, self.holdings.report()
        )


class Pool(RuleBasedStateMachine):
    """One daemon after the other, two agents, and a network that drops, doubles and reorders."""

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.hosts = {name: Host(name) for name in AGENTS}
        self.started: list[str] = []  # every process that was ever started
        self.terms = dict.fromkeys(RUNS, 0)
        self.open: dict[str, tuple[str, str]] = {}  # run -> (key, agent): what the store holds
        self.reports: list[tuple[int, Report]] = []  # numbered as they were sent
        self.num_sent = 0
        self.num_restarts = 0
        self.answers: list[tuple[int, Report, Answer]] = []
        self.agents = Agents(TIMES, lambda: self.now)
        self.agents.open()

    # -- the dispatcher ---------------------------------------------------------------------------

    @rule(run=st.sampled_from(RUNS), agent=st.sampled_from(AGENTS))
    def begin_attempt(self, run: str, agent: str) -> None:
        if run not in self.open:
            self.terms[run] += 1
            key = f"{run}/{self.terms[run]}"
            self.open[run] = (key, agent)
            self.agents.start(key, agent, {"call": key})

    @rule(run=st.sampled_from(RUNS))
    def help_attempt(self, run: str) -> None:
        if run in self.open:
            key, agent = self.open[run]
            self.agents.start(f"{key}/helper", agent, {"call": key})

    @rule(run=st.sampled_from(RUNS))
    def tell_end(self, run: str) -> None:
        """An attempt tells how it ended, and ends a moment later."""
        if run in self.open:
            key, agent = self.open[run]
            if key in self.hosts[agent].processes:
                self.close(run)

    @rule(run=st.sampled_from(RUNS))
    def kill_attempt(self, run: str) -> None:
        if run in self.open:
            self.agents.kill(self.open[run][0])

    @rule()
    def take_back_the_lost(self) -> None:
        for run, (key, _) in list(self.open.items()):
            if self.agents.lost(key):
                self.close(run)

    @rule()
    def restart_daemon(self) -> None:
        self.agents = Agents(TIMES, lambda: self.now)
        self.num_restarts += 1
        self.reports.clear()  # the connections have ended; an answer may lie in a buffer still
        for host in self.hosts.values():  # some agents are faster than the database
            self.hear(*self.send(host))
        for key, agent in self.open.values():
            self.agents.adopt(key, agent)
        self.agents.open()

    def close(self, run: str) -> None:
        key, _ = self.open.pop(run)
        self.agents.forget(key)

    # -- the hosts --------------------------------------------------------------------------------

    @rule(name=st.sampled_from(AGENTS))
    def crash_agent(self, name: str) -> None:
        self.hosts[name] = Host(name, self.hosts[name].incarnation + 1)

    @rule(name=st.sampled_from(AGENTS), data=st.data())
    def end_process(self, name: str, data: st.DataObject) -> None:
        host = self.hosts[name]
        if host.processes:
            self.finish(host, data.draw(st.sampled_from(sorted(host.processes))))

    def finish(self, host: Host, key: str) -> None:
        host.processes.discard(key)
        host.leaving.discard(key)
        host.holdings.ended(key, 0)

    # -- the network ------------------------------------------------------------------------------

    @rule(name=st.sampled_from(AGENTS))
    def talk(self, name: str) -> None:
        """All goes well with one message and its answer."""
        sent, report = self.send(self.hosts[name])
        self.obey(self.hosts[name], self.agents.exchange(report), sent)

    @rule(name=st.sampled_from(AGENTS))
    def send_report(self, name: str) -> None:
        self.reports.append(self.send(self.hosts[name]))

    def send(self, host: Host) -> tuple[int, Report]:
        self.num_sent += 1
        return self.num_sent, host.report()

    def hear(self, sent: int, report: Report) -> None:
        self.answers.append((sent, report, self.agents.exchange(report)))

    @precondition(lambda self: self.reports)
    @rule(data=st.data(), is_kept=st.booleans())
    def hear_report(self, data: st.DataObject, is_kept: bool) -> None:
        place = data.draw(st.integers(0, len(self.reports) - 1))
        sent, report = self.reports[place] if is_kept else self.reports.pop(place)
        # A connection ends with its agent: no daemon hears a dead one after the next of that name.
        if report.incarnation == self.hosts[report.agent].report().incarnation:
            self.hear(sent, report)

    @precondition(lambda self: self.answers)
    @rule(data=st.data(), is_lost=st.booleans())
    def hear_answer(self, data: st.DataObject, is_lost: bool) -> None:
        place = data.draw(st.integers(0, len(self.answers) - 1))
        sent, report, answer = self.answers.pop(place)
        host = self.hosts[report.agent]
        if not is_lost and report.incarnation == host.report().incarnation:
            self.obey(host, answer, sent)

    def obey(self, host: Host, answer: Answer, sent: int) -> None:
        start, kill, let_go = host.holdings.take(answer, sent)
        assert not host.processes & start.keys(), "nothing runs twice at once"
        self.started += start
        host.processes.update(start)
        host.leaving.update(let_go)
        for key in kill:
            self.finish(host, key)

    @rule(seconds=st.floats(0.1, 20.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    # -- what holds -------------------------------------------------------------------------------

    @invariant()
    def no_attempt_is_started_twice(self) -> None:
        attempts = [key for key in self.started if key == attempt_of(key)]
        assert len(attempts) == len(set(attempts))

    @invariant()
    def an_attempt_that_is_lost_does_not_run(self) -> None:
        """Unless its order was on its way from a daemon that has died: then its term is over."""
        for key, agent in self.open.values():
            lost = self.agents.lost(key)
            if lost and not lost.startswith("its host is out") and not self.num_restarts:
                assert key not in self.hosts[agent].processes - self.hosts[agent].leaving

    def teardown(self) -> None:
        """A network that works again brings all into order, in a few messages."""
        if not hasattr(self, "agents"):
            return
        for _ in range(5):
            for host in self.hosts.values():
                sent, report = self.send(host)
                self.obey(host, self.agents.exchange(report), sent)
            self.take_back_the_lost()
        for key, agent in self.open.values():
            assert key in self.hosts[agent].processes, "an open attempt is at work"
        wanted = {key for key, _ in self.open.values()}
        for host in self.hosts.values():
            assert {attempt_of(key) for key in host.processes - host.leaving} <= wanted


TestPool = Pool.TestCase
TestPool.settings = settings(max_examples=400, stateful_step_count=60, deadline=None)


@given(
    start=st.floats(0, 100),
    gaps=st.lists(st.tuples(st.floats(0, 20), st.floats(0, 10), st.booleans()), max_size=20),
    drift=st.floats(-0.1, 0.1),
)
def test_an_agent_has_ended_its_work_before_the_daemon_gives_it_to_others(
    start: float, gaps: list[tuple[float, float, bool]], drift: float
) -> None:
    """The agent's clock runs slower or faster by up to a tenth, and is set to anything."""
    agent_clock = [start]
    daemon_clock = [0.0]
    agents = Agents(TIMES, lambda: daemon_clock[0])
    agents.open()
    lease = Lease(agent_clock[0], TIMES)
    agents.start("r/1", "a", {})

    def pass_time(seconds: float) -> None:
        daemon_clock[0] += seconds
        agent_clock[0] += seconds * (1 + drift)

    report = Report("a", "a0", "host", 1, 1, {"r/1": None})
    for gap, on_its_way, is_answered in gaps:
        pass_time(gap)
        if lease.has_lapsed(agent_clock[0]):
            break
        sent_at = agent_clock[0]
        pass_time(on_its_way)
        agents.exchange(report)
        if is_answered:
            lease.renew(sent_at)
    while not agents.lost("r/1"):
        pass_time(0.5)
    assert lease.has_lapsed(agent_clock[0])


def test_an_answer_that_was_overtaken_says_nothing_any_more() -> None:
    agents, holdings = Agents(TIMES, lambda: 0.0), Holdings()
    agents.open()
    agents.start("r/1", "a", {})
    report = Report("a", "a0", "host", 1, 1, {})
    late = agents.exchange(report)
    assert "r/1" in holdings.take(agents.exchange(report), 2)[0]
    holdings.ended("r/1", 0)
    agents.forget("r/1")
    holdings.take(agents.exchange(replace(report, has=holdings.report())), 3)
    assert holdings.report() == {}
    assert holdings.take(late, 1) == ({}, [], []), "it would start the attempt once more"


def test_a_daemon_that_has_died_is_not_believed_after_the_next_one() -> None:
    holdings = Holdings()
    report = Report("a", "a0", "host", 1, 1, {})
    dead, alive = Agents(TIMES, lambda: 0.0), Agents(TIMES, lambda: 0.0)
    for agents in (dead, alive):
        agents.open()
    dead.start("r/1", "a", {})
    late = dead.exchange(report)
    holdings.take(alive.exchange(report), 2)
    assert holdings.take(late, 1) == ({}, [], [])
    alive.start("r/2", "a", {})
    assert "r/2" in holdings.take(alive.exchange(report), 3)[0], "the living one still is"


def test_a_daemon_that_has_not_read_its_queue_yet_ends_nothing() -> None:
    agents = Agents(TIMES, lambda: 0.0)
    report = Report("a", "a0", "host", 1, 1, {"r/1": None, "r/2": None})
    assert not agents.exchange(report).says_something
    agents.adopt("r/1", "a")
    agents.open()
    assert agents.exchange(report).forget == ("r/2",)


def test_an_agent_of_another_version_is_told_to_end_and_gets_no_work() -> None:
    agents = Agents(TIMES, lambda: 0.0)
    agents.open()
    agents.start("r/1", "a", {})
    old = Report("a", "a0", "host", 1, 1, {}, version="0.0.0")
    answer = agents.exchange(old)
    assert (answer.stop, answer.start, agents.slots()) == (True, {}, {})
    assert "r/1" in agents.exchange(replace(old, incarnation="a1", version=__version__)).start
