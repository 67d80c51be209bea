"""The tune stage: a search whose trials are runs."""

from __future__ import annotations

import json
import shutil

from workbench.core.artifact import MANIFEST, Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.registry import outside_of, stage
from workbench.tune.options import TuneSpec
from workbench.tune.page import write_study_page
from workbench.tune.search import Search
from workbench.tune.study import JOURNAL, Study, is_refused, row_of

TRIALS = "trials.json"


class TuneOutputs(Outputs):
    """The study, and what the best trial has made."""

    study: Draft
    best: dict[str, Draft]


def _outside(spec: TuneSpec) -> str | None:
    """Return what the trials read from outside; a search with a limit of time has no one result."""
    if spec.hours is not None or spec.cpu_hours is not None:
        return None
    space = spec.open_space(spec.parameters)
    found = {outside_of(spec.stage, space.to_spec(values)) for values in space.examples()}
    return None if None in found else json.dumps(sorted(map(str, found)))


@stage(title="Tune", coordinator=True, fingerprint=_outside)
def tune(spec: TuneSpec, run: RunContext) -> TuneOutputs:
    """Search for the best parameters of any stage; each trial is a run that can be paused.

    Trials are less urgent than what others wait for. A search outlives whatever dies: it finds its
    trials at work, or done. With ``asha``, a trial that is not among the best of a rung rests with
    its checkpoint, and goes on from there if it becomes one of them.

    Raises:
        SpecError: the search space holds what the stage refuses; the trials have no such figure.
        WorkbenchError: the first trials all failed: what ended the last of them.
    """
    space = spec.open_space(spec.parameters)
    study = Study(run.folder, spec, space)
    search = Search(spec, study, space, run)
    search.work()
    return TuneOutputs(study=_save_study(spec, study, search, run),
                       best=_save_best(spec, study, run))  # fmt: skip


def _save_study(spec: TuneSpec, study: Study, search: Search, run: RunContext) -> Draft:
    draft = run.save("study", spec.name)
    shutil.copyfile(run.folder / JOURNAL, draft.path / JOURNAL)
    rows = [row_of(trial) for trial in study.trials() if not is_refused(trial)]
    (draft.path / TRIALS).write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    write_study_page(draft.path / "report.html", spec, rows)
    states = [row["state"] for row in rows]
    draft.describe(
        stage=spec.stage, trials=len(rows), completed=states.count("complete"),
        stopped_early=states.count("pruned"), failed=states.count("fail"),
        slot_hours=round(search.slot_seconds / 3600, 4),
    )  # fmt: skip
    best = study.best()
    if best:
        draft.describe(
            best_trial=best[0].number, best_run=study.run_of(best[0]),
            best_parameters=study.values_of(best[0]),
            **{o.metric: v for o, v in zip(spec.objectives, best[0].values, strict=True)},
        )  # fmt: skip
    return draft


def _save_best(spec: TuneSpec, study: Study, run: RunContext) -> dict[str, Draft]:
    """Save what the best trial has made under the study's own name."""
    found: dict[str, Draft] = {}
    for trial in study.best()[:1]:
        for name, (kind, reference, _) in study.outputs_of(trial).items():
            artifact = run.open(reference)
            draft = run.save(kind, f"{spec.name}-{name}")
            shutil.copytree(
                artifact.path, draft.path, dirs_exist_ok=True,
                ignore=shutil.ignore_patterns(MANIFEST),
            )  # fmt: skip
            draft.describe(**artifact.summary)
            found[f"best_{name}"] = draft
    return found
