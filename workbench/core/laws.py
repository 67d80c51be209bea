"""Laws that every stage keeps, for shipped stages and for those of a third party alike.

Use them from a test::

    class TestMyStage(StageLaws):
        def example(self, folder):  # a Spec on small real input
            return MySpec(...), {"comments@latest": dataset}
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.core.artifact import Artifact, Draft, seal
from workbench.core.context import HostFunction, PartWriter, bind_part
from workbench.core.errors import BugError, DataError, RunCancelled, RunPaused
from workbench.core.registry import stage_of
from workbench.core.spec import Spec

if TYPE_CHECKING:
    from socket import socket

    from workbench.core.client import Client


class FolderRun:
    """A RunContext on a bare folder, without daemon or pool: for the laws and for debugging.

    ``pause_after`` asks the run to pause when that many checkpoints have been made.
    """

    run_id = "r-folder"
    term = 1
    num_workers = 1
    threads_per_worker = 1
    address = "127.0.0.1"
    num_shrinks = 0

    def __init__(
        self,
        folder: Path,
        inputs: Mapping[str, Artifact] | None = None,
        *,
        pause_after: int | None = None,
        num_workers: int = 1,
    ) -> None:
        self.folder = folder
        self.inputs = dict(inputs or {})
        self.pause_after = pause_after
        self.num_workers = num_workers
        self.slots = [f"here/{number}" for number in range(num_workers)]
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.num_written_checkpoints = 0
        folder.mkdir(parents=True, exist_ok=True)

    def log(self, message: str, **facts: Any) -> None:
        self.events.append(("log", {"message": message, **facts}))

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        self.events.append(("metric", {"name": name, "value": value, "step": step}))

    @property
    def num_noted(self) -> int:
        return len(self.events)

    num_kept = num_noted

    def progress(self, done: float, total: float, unit: str = "rows", note: str = "") -> None:
        self.events.append(("progress", {"done": done, "total": total, "unit": unit, "note": note}))

    def count_rows(self, *, read: int, written: int) -> None:
        self.events.append(("rows", {"read": read, "written": written}))

    def save(self, kind: str, name: str) -> Draft:
        path = self.folder / "staging" / name
        shutil.rmtree(path, ignore_errors=True)
        return Draft(kind, name, path)

    def open(self, reference: str) -> Artifact:
        if reference not in self.inputs:
            raise DataError(f"{reference} was not given to this run", where=reference)
        return self.inputs[reference]

    def checkpoint(self, key: str, write: Callable[[Path], None]) -> Path:
        target = self.folder / "checkpoints" / key
        if not target.exists():
            partial = self.folder / "partial" / key
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            write(partial)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.rename(target)
            self.num_written_checkpoints += 1
        return target

    def checkpoint_each(
        self, parts: Mapping[str, Any], write: PartWriter, unit: str = "partitions", note: str = ""
    ) -> list[Path]:
        folders = []
        for number, (key, value) in enumerate(parts.items()):
            self.stop_if_asked()
            self.progress(number, len(parts), unit, note)
            folders.append(self.checkpoint(key, bind_part(write, value)))
        return folders

    def on_hosts(
        self, function: HostFunction, values: Mapping[str, Any]
    ) -> AbstractContextManager[dict[str, socket]]:
        return nullcontext({})

    def checkpoints(self) -> dict[str, Path]:
        folder = self.folder / "checkpoints"
        found = folder.iterdir() if folder.exists() else iter(())
        return {p.name: p for p in sorted(found, key=lambda p: (p.stat().st_mtime_ns, p.name))}

    def forget_checkpoint(self, key: str) -> None:
        shutil.rmtree(self.folder / "checkpoints" / key, ignore_errors=True)

    @property
    def should_pause(self) -> bool:
        return self.pause_after is not None and self.num_written_checkpoints >= self.pause_after

    @property
    def cancelled(self) -> bool:
        return False

    def stop_if_asked(self) -> None:
        if self.cancelled:
            raise RunCancelled
        if self.should_pause:
            raise RunPaused

    @property
    def client(self) -> Client:
        raise BugError("A folder run has no daemon", next_step="Submit the Spec to a Workspace.")

    def run(self, spec: Spec) -> dict[str, Artifact]:
        """Run a Spec's stage here and seal what it returns under ``folder/artifacts``."""
        spec = spec.submitted()
        outputs = stage_of(spec).function(spec, self)
        return {
            name: seal(draft, self.folder / "artifacts") for name, draft in outputs.drafts().items()
        }


class StageLaws:
    """What every stage promises; subclass it in a test and give ``example``."""

    def example(self, folder: Path) -> tuple[Spec, dict[str, Artifact]]:
        """Return a Spec on small real input, and the artifacts it refers to."""
        raise NotImplementedError

    def test_the_same_spec_gives_the_same_bytes(self, tmp_path: Path) -> None:
        spec, inputs = self.example(tmp_path)
        first = FolderRun(tmp_path / "first", inputs).run(spec)
        second = FolderRun(tmp_path / "second", inputs).run(spec)
        assert _versions(first) == _versions(second)

    def test_a_run_paused_at_its_first_checkpoint_ends_equal(self, tmp_path: Path) -> None:
        spec, inputs = self.example(tmp_path)
        undisturbed = FolderRun(tmp_path / "whole", inputs).run(spec)
        with suppress(RunPaused):  # a stage may also be too short to have a checkpoint
            FolderRun(tmp_path / "paused", inputs, pause_after=1).run(spec)
        resumed = FolderRun(tmp_path / "paused", inputs).run(spec)
        assert _versions(resumed) == _versions(undisturbed)

    def test_every_field_is_explained(self, tmp_path: Path) -> None:
        spec, _ = self.example(tmp_path)
        missing = [
            name
            for name, field in type(spec).model_fields.items()
            if not field.title or not field.description
        ]
        assert missing == []

    def test_the_spec_survives_json(self, tmp_path: Path) -> None:
        spec, _ = self.example(tmp_path)
        assert type(spec).model_validate_json(spec.canonical_json()) == spec


def _versions(artifacts: dict[str, Artifact]) -> dict[str, str]:
    return {name: artifact.version for name, artifact in artifacts.items()}
