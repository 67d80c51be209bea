"""Hosts from a queueing system (Slurm, PBS ...): each is a job, and the agent is all of the job.

The job scripts, and how they are handed in and taken back, are dask-jobqueue's, with its settings
(``~/.config/dask/jobqueue.yaml``); of Dask itself nothing is used. The job lives as long as the
agent does, whose Dask worker is only its child.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import threading
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from workbench.core.errors import ResourceError
from workbench.core.spec import option
from workbench.core.workers import HostsWish, parse_workers
from workbench.pool.agents import Agents
from workbench.pool.providers.provider import PoolSpec
from workbench.pool.providers.started import StartedHosts

_JOBS = {
    "slurm": "slurm:SLURMJob", "pbs": "pbs:PBSJob", "sge": "sge:SGEJob", "lsf": "lsf:LSFJob",
    "oar": "oar:OARJob", "moab": "moab:MoabJob", "htcondor": "htcondor:HTCondorJob",
}  # fmt: skip
_SECONDS = 120.0  # for a queueing system to take a job, or take one back


class QueuePool(PoolSpec):
    """Jobs of a queueing system; the hosts that it gives all see the workspace's folder."""

    system: Literal["slurm", "pbs", "sge", "lsf", "oar", "moab", "htcondor"] = option(
        "slurm", title="Queueing system", help="to which the jobs are handed in"
    )
    hosts: HostsWish = option(
        "0..4",
        title="Hosts",
        help='how many jobs: 2, or as many as are needed within a range: "0..10"',
    )
    slots: int = option(1, title="Slots", help="of each job: runs at a time", ge=1, le=1024)
    cores: int = option(1, title="Cores", help="of each job", ge=1)
    memory: str = option("8 GB", title="Memory", help="of each job: 16 GB")
    queue: str | None = option(None, title="Queue", help="or partition, in which the jobs wait")
    walltime: str | None = option(
        None, title="Time", help="after which a job ends: 02:00:00; its runs go on in the next one"
    )
    python: str = option(
        sys.executable,
        title="Python",
        help="the interpreter there, in whose environment this package is installed",
    )
    options: dict[str, Any] = option(
        {},
        title="More options",
        help="as dask-jobqueue names them for this system: {account: nlp, "
        "job_extra_directives: ['--gres=gpu:4']}",
    )
    patience_minutes: float = option(
        24 * 60,
        title="Patience",
        help="for a job to begin, before it is taken back and handed in anew",
        unit="minutes",
        gt=0,
    )

    def open(self, root: Path, agents: Agents) -> StartedHosts:
        """Return the provider for a workspace.

        Raises:
            ResourceError: dask-jobqueue is not installed, or does not take the options.
        """
        jobs = _Jobs(self, root)
        jobs.script("host")  # so that what is wrong with the options is told now
        hosts = parse_workers(self.hosts, fewest=0)
        return StartedHosts(agents, jobs, hosts, self.slots, 60 * self.patience_minutes)

    def script(self, root: Path) -> str:
        """Return what is handed in for a host.

        Raises:
            ResourceError: dask-jobqueue is not installed, or does not take the options.
        """
        return _Jobs(self, root).script("host")


class _Jobs:
    """Hands in jobs; dask-jobqueue wants an event loop for that."""

    def __init__(self, spec: QueuePool, root: Path) -> None:
        self._spec = spec
        self._root = root
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def name(self, taken: set[str]) -> str | None:
        # Another one each time: a job of an earlier daemon may still wait in the queue.
        return f"{self._spec.system}-{secrets.token_hex(3)}"

    def is_ours(self, agent: str) -> bool:
        return agent.startswith(f"{self._spec.system}-")

    def start(self, name: str) -> _Submitted:
        job = self._job(name)
        self.do(job.start())
        return _Submitted(self, job)

    def do(self, work: Any) -> Any:
        """Do what is asynchronous, and wait for it."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="jobs", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)

    def script(self, name: str) -> str:
        return str(self._job(name).job_script())

    def _job(self, name: str) -> Any:
        module, _, kind = _JOBS[self._spec.system].partition(":")
        try:
            job = getattr(import_module(f"dask_jobqueue.{module}"), kind)
        except ImportError as error:
            raise ResourceError(
                "dask-jobqueue is not installed",
                where="pool",
                next_step='Install it: pip install "nlp-workbench[queue]"',
            ) from error
        spec = self._spec
        logs = self._root / "agents"
        logs.mkdir(parents=True, exist_ok=True)
        given = {
            "queue": spec.queue, "walltime": spec.walltime, "log_directory": str(logs),
            "job_name": "nlp-workbench", **spec.options,
        }  # fmt: skip
        arguments = ["--workspace", str(self._root), "--slots", str(spec.slots), "--leave"]
        try:
            return job(
                scheduler="-", name=name, cores=spec.cores, memory=spec.memory, processes=1,
                nanny=False, python=spec.python, worker_command="workbench.pool.agent",
                worker_extra_args=arguments, **{k: v for k, v in given.items() if v is not None},
            )  # fmt: skip
        except (TypeError, ValueError) as error:
            raise ResourceError(
                f"dask-jobqueue does not take these options for {spec.system}: {error}",
                where="pool",
                next_step="See the options of its clusters: https://jobqueue.dask.org",
            ) from error


class _Submitted:
    """A job that was handed in; whether it lives is known by its agent alone."""

    def __init__(self, jobs: _Jobs, job: Any) -> None:
        self._jobs = jobs
        self._job = job
        self._has_ended = False

    def ended(self) -> str | None:
        return "" if self._has_ended else None

    def is_only_the_way(self) -> bool:
        return False

    def end(self) -> None:
        if not self._has_ended:
            self._has_ended = True
            with suppress(Exception):  # it may have ended by itself, and is known no more
                self._jobs.do(self._job.close())
