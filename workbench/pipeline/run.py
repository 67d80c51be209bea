"""The ``pipeline`` stage: a coordinator that runs notebooks in order, each as a child run."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict

from workbench.core.artifact import Artifact, Draft
from workbench.core.children import do_child
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import SpecError, nearest_name
from workbench.core.registry import load_stage, stage
from workbench.core.spec import ArtifactName, Spec, option
from workbench.core.workers import DEFAULT_WORKERS, WorkersWish
from workbench.pipeline.notebook import NotebookSpec


class StepSpec(BaseModel):
    """One step: a notebook and the parameters that go into it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    notebook: str = option(title="Notebook", help="Name of a stage notebook, or a path to one.")
    name: str = option("", title="Name", help="What later steps call it; the notebook's name.")
    parameters: dict[str, Any] = option({}, title="Parameters", help="Values by parameter name.")
    workers: WorkersWish = option(
        DEFAULT_WORKERS,
        title="Slots",
        help="Pool slots of the step's run: 4, or a range: 2..8.",
        unit="slots",
    )

    @property
    def called(self) -> str:
        """The step's name."""
        return self.name or self.notebook


class PipelineSpec(Spec):
    """Notebooks in order; ``${step.output}`` in a parameter is what that step has made."""

    name: ArtifactName = option(title="Name", help="Name of the pipeline and of its record.")
    steps: list[StepSpec] = option(
        title="Steps", help="Notebooks to run, in order.", min_length=1, max_length=1000
    )


class PipelineOutputs(Outputs):
    """The record of what each step did and made."""

    record: Draft


def _never_cached(_spec: PipelineSpec) -> None:
    """A pipeline always looks again; its steps are what is cached."""
    return


@stage(title="Pipeline", coordinator=True, fingerprint=_never_cached)
def pipeline(spec: PipelineSpec, run: RunContext) -> PipelineOutputs:
    """Run notebooks in order, each as a durable child run; steps that are done are not redone."""
    _check_names(spec)
    made: dict[str, dict[str, str]] = {}
    records = []
    for number, step in enumerate(spec.steps):
        run.progress(number, len(spec.steps), "steps", step.called)
        child, artifacts = do_child(run, _notebook_spec(step, made, run))
        report = artifacts["notebook"]
        made[step.called] = report.summary["outputs"]
        records.append(_record(step, child, report))
        run.log(f"{step.called}: {'cached' if child['cached'] else 'done'}", run_id=child["run_id"])
        run.stop_if_asked()
    run.progress(len(spec.steps), len(spec.steps), "steps")
    draft = run.save("report", f"{spec.name}-pipeline")
    content = json.dumps({"name": spec.name, "steps": records}, indent=1, ensure_ascii=False)
    (draft.path / "pipeline.json").write_text(content)
    draft.describe(steps=len(records), cached=sum(r["cached"] for r in records))
    return PipelineOutputs(record=draft)


def _check_names(spec: PipelineSpec) -> None:
    names = [step.called for step in spec.steps]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError(f"Two steps are called {twice[0]!r}", where=spec.name,
                        next_step="Give one of them another name.")  # fmt: skip


def _notebook_spec(
    step: StepSpec, made: dict[str, dict[str, str]], run: RunContext
) -> NotebookSpec:
    """Fill in what earlier steps made, and pin every alias to the version it has now."""
    from workbench.pipeline.files import substitute

    parameters = substitute(step.parameters, lambda name: _output(name, made, step.called))
    notebook = NotebookSpec.parse(
        {"notebook": step.notebook, "parameters": parameters, "workers": step.workers}
    )
    name = notebook.stage_name()
    if name is not None:
        load_stage(name).spec.parse(parameters)  # what is wrong is told of the step
    return notebook.map_references(lambda kind, reference: _pin(run, kind, reference))


def _pin(run: RunContext, kind: str, reference: str) -> str:
    found = run.client.get(f"/artifacts/{reference}", kind=kind)
    return f"{found['name']}@{found['version']}"


def _output(name: str, made: dict[str, dict[str, str]], step: str) -> str:
    done, _, output = name.partition(".")
    if done not in made:
        raise SpecError(f"Step {step!r} needs ${{{name}}}, but no step {done!r} is before it",
                        where=step, next_step=nearest_name(done, made))  # fmt: skip
    if output not in made[done]:
        raise SpecError(f"Step {done!r} made no {output!r}", where=step,
                        next_step=nearest_name(output, made[done]))  # fmt: skip
    return made[done][output]


def _record(step: StepSpec, child: dict[str, Any], report: Artifact) -> dict[str, Any]:
    seconds = (child["ended_at"] or 0.0) - (child["started_at"] or 0.0)
    return {
        "name": step.called,
        "stage": report.summary["stage"],
        "run_id": report.summary["stage_run_id"],
        "notebook": report.reference,
        "cached": child["cached"],
        "seconds": 0.0 if child["cached"] else round(seconds, 3),
        "rows": report.summary["rows"],
        "outputs": report.summary["outputs"],
    }
