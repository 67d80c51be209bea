"""The RunContext: all that a stage may ask of the run it is part of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict

from workbench.core.artifact import Artifact, Draft

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from socket import socket

    from workbench.core.client import Client


class Outputs(BaseModel):
    """What a stage returns: named drafts, which become artifacts when the run commits.

    A field holds one Draft, or a dict of Drafts whose keys become the names of the outputs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    def drafts(self) -> dict[str, Draft]:
        """Return every draft by output name."""
        named: dict[str, Draft] = {}
        for field in type(self).model_fields:
            value = getattr(self, field)
            named.update(value if isinstance(value, Mapping) else {field: value})
        return named


PartWriter = Callable[[Path, Any], None]
HostFunction = Callable[["socket", Any], None]


def bind_part(write: PartWriter, value: Any) -> Callable[[Path], None]:
    """Return the ``write`` of ``checkpoint`` for one part of ``checkpoint_each``."""
    return lambda folder: write(folder, value)


class RunContext(Protocol):
    """What a stage may ask of its run. Long loops call ``stop_if_asked`` at every safe point."""

    run_id: str
    term: int  # which attempt this is; grows by one with each start
    num_workers: int  # pool slots given to this run
    threads_per_worker: int
    num_shrinks: int  # how often the run has run out of memory: it may work in smaller pieces
    slots: list[str]  # of the workers, each HOST/NUMBER; the first is this process's own
    address: str  # of this host for the others; 127.0.0.1 where all hosts are this machine
    folder: Path  # scratch of this run, kept between its attempts; every host sees it

    def log(self, message: str, **facts: Any) -> None:
        """Write one line to the run's journal."""

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """Record one point of a curve, or one final figure when ``step`` is None."""

    @property
    def num_noted(self) -> int:
        """How many lines and points this attempt has written to the journal."""

    @property
    def num_kept(self) -> int:
        """How many of these are safe from the end of this process."""

    def progress(self, done: float, total: float, unit: str = "rows", note: str = "") -> None:
        """Say how far the run is; cheap enough to call in every batch."""

    def count_rows(self, *, read: int, written: int) -> None:
        """Record rows in and rows out, shown wherever the run is."""

    def save(self, kind: str, name: str) -> Draft:
        """Open a new result; write files into its ``path`` and return it in the Outputs."""

    def open(self, reference: str) -> Artifact:
        """Return a committed artifact that the Spec refers to."""

    def checkpoint(self, key: str, write: Callable[[Path], None]) -> Path:
        """Make one part of the work durable: ``write`` fills a folder, which appears whole.

        A key that is already there is returned without calling ``write``: a partition, a step or
        a trial is done once, however often the run is paused or killed.
        """

    def checkpoint_each(
        self, parts: Mapping[str, Any], write: PartWriter, unit: str = "partitions", note: str = ""
    ) -> list[Path]:
        """Make many parts durable, each as ``checkpoint`` does one, on all workers of the run.

        ``write(folder, value)`` fills the folder of the part whose value (plain data, no text
        columns) it is given. It is a function of a module, as it may be called in another process.
        Progress is told, and stopping is safe, between two parts.

        Returns:
            The folders, in the order of ``parts``.
        """

    def on_hosts(
        self, function: HostFunction, values: Mapping[str, Any]
    ) -> AbstractContextManager[dict[str, socket]]:
        """Have ``function(connection, value)`` called on other hosts of the run's workers.

        ``values`` has the hosts and what the function is told on each. It is a function of a
        module, called in a process of its own, which ends with it. Within the ``with`` block the
        other ends of the connections are there by host; leaving it closes them. For work that needs
        all workers at once; ``checkpoint_each`` does for the rest.

        Raises:
            ResourceError: a host does not answer.
        """

    def checkpoints(self) -> dict[str, Path]:
        """Return the folders of all durable parts by key, in the order they were made."""

    def forget_checkpoint(self, key: str) -> None:
        """Drop a part that a newer one replaces."""

    @property
    def should_pause(self) -> bool:
        """Whether somebody asked the run to pause."""

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked the run to stop for good."""

    def stop_if_asked(self) -> None:
        """Raise RunPaused or RunCancelled if somebody asked; call where stopping is safe."""

    @property
    def client(self) -> Client:
        """The daemon's API: for coordinators (child runs) and deployments."""
