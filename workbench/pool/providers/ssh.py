"""Hosts that are reached by ssh: ``ssh`` itself starts the agents, with the user's own settings."""

from __future__ import annotations

import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from workbench.core.errors import ResourceError
from workbench.core.spec import option
from workbench.core.workers import HostsWish, Workers, parse_workers
from workbench.pool.agents import Agents
from workbench.pool.holdings import HOME
from workbench.pool.providers.provider import PoolSpec
from workbench.pool.providers.started import StartedHosts

_CONNECT_SECONDS = 60.0
_OPTIONS = (
    "-o", "BatchMode=yes",  # nobody is there to type a password
    "-o", "ConnectTimeout=15", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3",
)  # fmt: skip

_BROKEN = 255  # the status with which ssh ends when its connection does


class SshPool(PoolSpec):
    """Machines that ssh reaches without a password; all of them see the workspace's folder."""

    machines: list[str] = option(
        title="Machines",
        help="as ssh knows them, in the order in which they are used: [gpu1, ana@10.0.0.7]",
        min_length=1,
    )
    slots: int = option(1, title="Slots", help="of each machine: runs at a time", ge=1, le=1024)
    hosts: HostsWish | None = option(
        None,
        title="Hosts",
        help='how many machines are used: 2, or as many as are needed within a range: "0..2"; by '
        "default all",
    )
    python: str = option(
        sys.executable,
        title="Python",
        help="the interpreter there, in whose environment this package is installed",
    )
    environment: dict[str, str] = option(
        {}, title="Environment", help="variables that are set for all that works there"
    )
    ssh_options: list[str] = option(
        [], title="Options of ssh", help="given to ssh as they are: [-p, '2222']"
    )

    def open(self, root: Path, agents: Agents) -> StartedHosts:
        """Return the provider for a workspace.

        Raises:
            ResourceError: a machine cannot be used by this name.
        """
        most = len(self.machines)
        hosts = Workers(most, most) if self.hosts is None else parse_workers(self.hosts, fewest=0)
        for machine in self.machines:
            if machine == HOME or machine.startswith("-") or not machine.isprintable():
                raise ResourceError(f"{machine!r} is no name of a machine", where="pool",
                                    next_step="Give each machine as ssh knows it.")  # fmt: skip
        within = Workers(min(hosts.least, most), min(hosts.most, most))
        return StartedHosts(agents, Machines(self, root), within, self.slots, _CONNECT_SECONDS)


class Machines:
    """Starts an agent on each machine, which is called like the machine."""

    def __init__(self, spec: SshPool, root: Path) -> None:
        self._spec = spec
        self._root = root

    def name(self, taken: set[str]) -> str | None:
        """Return the next machine that is not used yet; None if all are."""
        return next((name for name in self._spec.machines if name not in taken), None)

    def is_ours(self, agent: str) -> bool:
        """Whether an agent is called like one of the machines."""
        return agent in self._spec.machines

    def start(self, name: str) -> _Connection:
        """Start the agent of a machine, which ssh says may be unknown or closed."""
        logs = self._root / "agents"
        logs.mkdir(exist_ok=True)
        return _Connection(
            ["ssh", *_OPTIONS, *self._spec.ssh_options, "--", name, self.command(name)],
            logs / f"{name}.ssh.log",
            logs / f"{name}.log",
        )

    def command(self, name: str) -> str:
        """Return what a machine's shell is told, which says in one line what is missing there."""
        agent = [
            self._spec.python, "-m", "workbench.pool.agent", "--workspace", str(self._root),
            "--name", name, "--slots", str(self._spec.slots),
        ]  # fmt: skip
        variables = [f"{key}={value}" for key, value in self._spec.environment.items()]
        root, python = shlex.quote(str(self._root)), shlex.quote(self._spec.python)
        log = shlex.quote(str(self._root / "agents" / f"{name}.log"))
        return (
            f"test -d {root} || {{ echo {root} is not there: every host needs the workspace at the "
            "same place, on a network disk for instance; exit 1; }; "
            f"command -v {python} >/dev/null || {{ echo there is no {python}: say where Python is "
            "by --python; exit 1; }; "
            # What the agent prints stays where it is: over the connection it would end with that.
            f"cd / && exec env {shlex.join([*variables, *agent])} >> {log} 2>&1"
        )


class _Connection:
    """An ssh that has started an agent, and ends with it."""

    def __init__(self, command: list[str], errors: Path, log: Path) -> None:
        """Start it; ``errors`` gets what ssh says, ``log`` is where the agent prints."""
        self._errors, self._log = errors, log
        self._log_from = log.stat().st_size if log.exists() else 0  # there an earlier agent ends
        with errors.open("wb") as stream:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                start_new_session=True,  # it outlives this daemon, as the agent does
            )  # fmt: skip

    def ended(self) -> str | None:
        if self._process.poll() is None:
            return None
        return _last_line(self._errors) or _last_line(self._log, self._log_from)

    def is_only_the_way(self) -> bool:
        # Where the agent itself was killed, ssh ends with the same status and says nothing.
        return self._process.poll() == _BROKEN and bool(_last_line(self._errors))

    def end(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()


def _last_line(path: Path, start: int = 0) -> str:
    try:
        said = path.read_bytes()[start:].decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return said[-1] if said else ""
