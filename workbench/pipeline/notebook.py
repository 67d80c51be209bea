"""The ``notebook`` stage: one notebook with parameters, executed by papermill and kept."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from workbench.core.artifact import Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import (
    Cause,
    ResourceError,
    SpecError,
    StageError,
    error_from_json,
    nearest_name,
)
from workbench.core.known_hashes import hash_file_once
from workbench.core.registry import load_stage, outside_of, stage, stage_names
from workbench.core.spec import Spec, option
from workbench.core.workers import DEFAULT_WORKERS, WorkersWish

# The last part of a version is a hash, that of an alias is not.
_ALIAS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*@(?![0-9a-f]{12}$)[A-Za-z0-9._-]+")


class NotebookSpec(Spec):
    """A notebook and its parameters."""

    notebook: str = option(
        title="Notebook", help="Name of a stage notebook (train), or a path to a notebook file."
    )
    parameters: dict[str, Any] = option(
        {}, title="Parameters", help="Values put into the notebook, by parameter name."
    )
    workers: WorkersWish = option(
        DEFAULT_WORKERS,
        title="Slots",
        help="Pool slots of the stage's run: 4, or a range: 2..8.",
        unit="slots",
    )

    def path(self) -> Path:
        """Return the notebook's file.

        Raises:
            SpecError: there is no such notebook; the nearest name is told.
        """
        from workbench.pipeline.files import notebooks_folder

        given = Path(self.notebook)
        shipped = notebooks_folder() / f"{self.notebook}.ipynb"
        for path in (shipped, given):
            if path.is_file():
                return path
        names = [found.stem for found in notebooks_folder().glob("*.ipynb")]
        raise SpecError(f"There is no notebook {self.notebook!r}", where=str(given.absolute()),
                        next_step=nearest_name(self.notebook, names))  # fmt: skip

    def map_references(self, change: Callable[[str, str], str]) -> Self:
        """Return this Spec with ``change`` applied to what a stage notebook's parameters name."""
        name = self.stage_name()
        if name is None:
            return self
        changed = load_stage(name).spec.map_fields(self.parameters, change)
        return self.model_copy(update={"parameters": changed})

    def stage_name(self) -> str | None:
        """Return the stage that the notebook is of, None for any other notebook."""
        name = Path(self.notebook).stem
        return name if name in stage_names() else None


class NotebookOutputs(Outputs):
    """The executed notebook, with all that it showed."""

    notebook: Draft


def _fingerprint(spec: NotebookSpec) -> str | None:
    """Hash the notebook's file and what its stage reads from outside."""
    outside: str | None = ""
    name = spec.stage_name()
    if name is not None:
        outside = outside_of(name, load_stage(name).spec.parse(spec.parameters))
    elif any(_ALIAS.fullmatch(str(value)) for value in spec.parameters.values()):
        outside = None  # what it names may be another version tomorrow
    if outside is None:
        return None
    return hashlib.sha256(f"{hash_file_once(spec.path())}:{outside}".encode()).hexdigest()


@stage(title="Notebook", coordinator=True, fingerprint=_fingerprint)
def notebook(spec: NotebookSpec, run: RunContext) -> NotebookOutputs:
    """Execute a notebook with parameters by papermill; the runs it submits are child runs."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    draft = run.save("report", f"{Path(spec.notebook).stem}-notebook")
    executed = draft.path / "notebook.ipynb"
    is_stage = spec.stage_name() is not None
    options = {"workers": spec.workers} if is_stage else {}
    try:
        papermill.execute_notebook(
            str(spec.path()),
            str(executed),
            parameters={**spec.parameters, **options},
            kernel_name="python3",
            progress_bar=False,
            kernel_manager_class="workbench.pipeline.kernel.RunKernelManager",
            cwd=str(run.folder),
        )
    except papermill.PapermillExecutionError as error:
        raise _reason(run, spec, error) from error
    except RuntimeError as error:
        # Before its first word a kernel's death has no type of its own.
        if not isinstance(error, DeadKernelError) and not str(error).startswith("Kernel died"):
            raise
        raise ResourceError(
            "The kernel of the notebook died",
            where=spec.notebook,
            next_step="Resume the run: what the notebook's runs have made is found again. If it "
            "happens again, look for memory use in the notebook's own cells.",
            cause=Cause.WORKER_LOST,
        ) from error
    child = _stage_run(run)
    draft.describe(
        stage=child["stage"] if child else "",
        stage_run_id=child["run_id"] if child else "",
        outputs=child["outputs"] if child else {},
        rows=child["rows"] if child else None,
    )
    (draft.path / "outputs.json").write_text(json.dumps(draft.summary, indent=1, sort_keys=True))
    return NotebookOutputs(notebook=draft)


def _stage_run(run: RunContext) -> dict[str, Any] | None:
    """Return the last run that the notebook submitted."""
    children = run.client.get("/runs", parent=run.run_id, limit=1)
    return children[0] if children else None


def _reason(run: RunContext, spec: NotebookSpec, error: Any) -> Exception:
    """Name what failed: the run that the notebook waited for, or else the cell."""
    child = _stage_run(run)
    if child is not None and child["error"]:
        return error_from_json(child["error"])
    return StageError(
        f"{error.ename}: {error.evalue}",
        where=f"{spec.notebook}, cell {error.exec_count}",
        next_step="Open the notebook, mend the cell or its parameters, and run it again.",
        detail="\n".join(error.traceback),
    )
