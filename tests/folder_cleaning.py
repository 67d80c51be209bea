"""A cleaning that ran on a bare folder, looked at as a run of a workspace is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workbench.core.artifact import Artifact
from workbench.core.errors import SpecError
from workbench.core.laws import FolderRun
from workbench.core.registry import stage_of
from workbench.core.spec import Spec
from workbench.data.clean.spec import CleanSpec


class FolderWorkspace:
    """Runs what is submitted at once, in its folder, and finds what came of it."""

    def __init__(self, root: Path, *artifacts: Artifact) -> None:
        self.root = root
        self.artifacts = {(a.kind, a.reference): a for a in artifacts}
        self.submitted: list[Spec] = []

    def artifact(self, reference: str, kind: str | None = None) -> Artifact:
        for (found_kind, known), artifact in self.artifacts.items():
            if known == reference and kind in (None, found_kind):
                return artifact
        raise SpecError(f"There is no {kind} {reference}", where=reference)

    def forget(self, artifact: Artifact) -> None:
        """Lose an artifact, as clearing away does."""
        del self.artifacts[artifact.kind, artifact.reference]

    def submit(self, spec: Spec, **_: Any) -> FolderCleaning:
        self.submitted.append(spec)
        number = len(self.submitted)
        inputs = {artifact.reference: artifact for artifact in self.artifacts.values()}
        outputs = FolderRun(self.root / f"run-{number}", inputs).run(spec)
        self.artifacts |= {(a.kind, a.reference): a for a in outputs.values()}
        return FolderCleaning(self, f"r-{number}", spec, outputs)


class FolderCleaning:
    """A run that has succeeded, or, without outputs, one that goes on."""

    def __init__(
        self, workspace: FolderWorkspace, run_id: str, spec: Spec, outputs: dict[str, Artifact]
    ) -> None:
        self.workspace = workspace
        self.run_id = run_id
        self.spec = spec
        self.results = outputs

    def record(self, wait: float = 0.0) -> dict[str, Any]:
        state = "succeeded" if self.results else "running"
        return {
            "run_id": self.run_id, "stage": stage_of(self.spec).name,
            "spec": self.spec.model_dump(mode="json"), "state": state, "cached": False, "term": 1,
            "priority": 0, "workers": 1, "submitted_by": "ana", "submitted_at": 100.0,
            "started_at": 100.0, "ended_at": 148.0 if self.results else None, "progress": None,
            "rows": None, "error": None, "parent_run_id": None,
            "outputs": {name: a.reference for name, a in self.results.items()},
            "output_kinds": {name: a.kind for name, a in self.results.items()},
        }  # fmt: skip

    def events(self, after: int = 0, wait: float = 0.0) -> list[dict[str, Any]]:
        return []

    def outputs(self) -> dict[str, Artifact]:
        return self.results


def clean_in_folder(root: Path, dataset: Artifact, **setting: Any) -> FolderCleaning:
    """Clean a data set in a folder and return the run."""
    return FolderWorkspace(root, dataset).submit(CleanSpec(dataset=dataset.reference, **setting))
