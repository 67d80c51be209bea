"""The search itself: asks for runs, hears how they do, stops, rests and fetches back trials.

All that it knows is in the study's journal and in the runs: a search that is killed and started
again finds its trials at work, or done.
"""

from __future__ import annotations

import json
import math
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from workbench.core.context import RunContext
from workbench.core.errors import SpecError, WorkbenchError, error_from_json
from workbench.core.json_text import plain
from workbench.tune.options import TuneSpec
from workbench.tune.rungs import Rungs, bracket_of
from workbench.tune.space import Space
from workbench.tune.study import Output, Study

_WAIT_SECONDS = 1.0  # for news of trials; also the time in which a wish to pause is heard
_LESS_URGENT = -1  # than the search itself: what somebody else waits for goes first
_MOST_FAILURES = 3  # at the beginning, before the search is given up
_NUM_BRACKETS = 3
_PROGRESS = "progress-"
_OVER = ("succeeded", "failed", "cancelled")


@dataclass
class _Trial:
    """A trial that is not over: where its run stands, as far as it is known."""

    number: int
    run_id: str
    known: int = 0  # the last event that was heard of
    curves: dict[str, dict[int, float]] = field(default_factory=dict)  # metric -> step -> value
    finals: dict[str, float] = field(default_factory=dict)
    rests_at: int | None = None
    held_seconds: float = 0.0  # for which its run has held slots
    begun_at: float | None = None  # since when it does so now

    def note_state(self, state: str, moment: float) -> None:
        """Note that its run has changed its state."""
        if self.begun_at is not None:
            self.held_seconds += max(moment - self.begun_at, 0.0)
        is_at_work = state in ("running", "pausing", "cancelling")
        self.begun_at = moment if is_at_work else None


class Search:
    """Works a study off; see ``TuneSpec``."""

    def __init__(self, spec: TuneSpec, study: Study, space: Space, run: RunContext) -> None:
        self._spec = spec
        self._study = study
        self._space = space
        self._run = run
        self._begun_at = _begun_at(run)
        self._slot_seconds: dict[int, float] = {}
        self._num_failed = 0
        self._failure: WorkbenchError | None = None
        self._rungs = _make_rungs(spec)
        self._live: dict[int, _Trial] = {}
        self._deleted: set[str] = set()
        self._num_over = 0  # of all trials

    def work(self) -> None:
        """Go on until the budget is used up and every trial is over.

        Raises:
            RunPaused, RunCancelled: somebody asked; the trials are, too.
            WorkbenchError: the first trials all failed, for this reason.
        """
        for trial in self._study.trials():
            self._climb(trial.number, trial.intermediate_values)
            self._slot_seconds[trial.number] = self._study.slot_seconds_of(trial)
            if trial.state.is_finished():
                self._num_over += 1
            elif self._study.run_of(trial):  # else its values are chosen when its turn comes
                self._join(trial.number, self._study.rests_at(trial.number))
        while True:
            self._run.stop_if_asked()
            self._fill_up()
            self._tell_progress()
            if not self._live:
                return
            if all(trial.rests_at is not None for trial in self._live.values()):
                self._end_resting()
                continue
            for run_id, news in self._news().items():
                for one in self._of_run(run_id):
                    self._hear(one, news)

    @property
    def slot_seconds(self) -> float:
        """Return for how long trials have held slots, in all."""
        return sum(self._slot_seconds.values())

    # -- beginning trials -------------------------------------------------------------------------

    def _fill_up(self) -> None:
        """Fetch back who may pass its rung, then begin new trials, as many as may be at once."""
        while self._num_at_work() < self._spec.at_once:
            resting = [t for t in self._live.values() if t.rests_at is not None]
            passing = [t for t in resting if self._may_pass(t.number, t.rests_at or 0)]
            if passing:
                # Whoever is furthest: it is closest to a result.
                self._wake(max(passing, key=lambda t: (t.rests_at or 0, -t.number)))
            elif self._has_budget():
                self._begin()
            else:
                return

    def _num_at_work(self) -> int:
        return sum(trial.rests_at is None for trial in self._live.values())

    def _has_budget(self) -> bool:
        hours = (time.time() - self._begun_at) / 3600
        is_early = self._spec.hours is None or hours < self._spec.hours
        is_cheap = self._spec.cpu_hours is None or self.slot_seconds / 3600 < self._spec.cpu_hours
        return is_early and is_cheap and self._study.has_more()

    def _begin(self) -> None:
        chosen = self._study.ask(self._run.run_id)
        self._run.log(f"Trial {chosen.number}: {_told(self._study.values_of(chosen))}",
                      trial=chosen.number)  # fmt: skip
        self._join(chosen.number, None)

    def _join(self, number: int, rests_at: int | None) -> None:
        """Ask for a trial's run, or find the one that there is."""
        frozen = self._study.trials()[number]
        values = self._study.values_of(frozen)
        spec = self._space.to_spec(values)
        record = self._run.client.post(
            "/runs",
            {
                "run_id": self._study.run_of(frozen),
                "stage": self._spec.stage,
                "spec": spec.model_dump(mode="json"),
                "workers": self._spec.trial_workers,
                "priority": _LESS_URGENT,
                "parent_run_id": self._run.run_id,
            },
        )
        trial = _Trial(number, record["run_id"], rests_at=rests_at)
        self._live[number] = trial
        if rests_at is not None:
            self._ask("pause", trial)  # it may have been resumed together with the search

    def _wake(self, trial: _Trial) -> None:
        self._run.log(f"Trial {trial.number} is among the best now: it goes on",
                      trial=trial.number)  # fmt: skip
        self._ask("resume", trial)
        self._study.rest(trial.number, None)
        trial.rests_at = None

    def _ask(self, verb: str, trial: _Trial) -> None:
        try:
            self._run.client.post(f"/runs/{trial.run_id}/{verb}", {})
        except SpecError:  # it has ended meanwhile: its last event tells
            return

    # -- hearing of them --------------------------------------------------------------------------

    def _news(self) -> dict[str, dict[str, Any]]:
        known: dict[str, int] = {}
        for trial in self._live.values():
            known[trial.run_id] = min(trial.known, known.get(trial.run_id, trial.known))
        answer: dict[str, dict[str, Any]] = self._run.client.post(
            "/runs/news", {"known": known, "wait": _WAIT_SECONDS}
        )
        return answer

    def _of_run(self, run_id: str) -> list[_Trial]:
        """Return the trials of a run: equal ones share it."""
        return [trial for trial in self._live.values() if trial.run_id == run_id]

    def _hear(self, trial: _Trial, news: dict[str, Any]) -> None:
        for event in news["events"]:
            if event["seq"] <= trial.known:
                continue
            trial.known = event["seq"]
            if event["kind"] == "metric":
                self._note(trial, event["payload"])
            elif event["kind"] == "state":
                trial.note_state(event["payload"]["state"], event["time"])
        record = news["record"]
        self._slot_seconds[trial.number] = trial.held_seconds * record["workers"]
        if record["state"] in _OVER:
            self._end(trial, record)
        elif trial.rests_at is None:
            self._judge(trial)

    def _note(self, trial: _Trial, point: dict[str, Any]) -> None:
        name, value, step = point["name"], float(point["value"]), point["step"]
        if step is None:
            trial.finals[name] = value
        else:
            trial.curves.setdefault(name, {})[int(step)] = value

    def _judge(self, trial: _Trial) -> None:
        """Let a trial go on, rest or stop, by what its curve says."""
        objective = self._spec.objectives[0]
        curve = trial.curves.get(objective.metric, {})
        if self._spec.pruner == "none" or not curve:
            return
        for step, value in sorted(curve.items()):
            self._study.report(trial.number, step, value)
        if self._spec.pruner in ("median", "wilcoxon"):
            if self._study.should_stop(trial.number):
                self._stop(trial, "the others are better so far")
            return
        rung = self._climb(trial.number, curve)
        if rung is not None and not self._may_pass(trial.number, rung):
            self._ask("pause", trial)
            self._study.rest(trial.number, rung)
            trial.rests_at = rung
            self._note_progress()

    def _climb(self, number: int, curve: dict[int, float]) -> int | None:
        """Note which rungs a trial has reached; return the last one that is new."""
        rungs, sign = self._rungs_of(number), self._spec.objectives[0].sign
        best, newest = -math.inf, None
        for step, value in sorted(curve.items()):
            best = max(best, sign * value)
            newest = rungs.reach(number, step, best) or newest
        return newest

    def _rungs_of(self, number: int) -> Rungs:
        return self._rungs[bracket_of(number, len(self._rungs), self._spec.reduction)]

    def _may_pass(self, number: int, rung: int) -> bool:
        return self._rungs_of(number).may_pass(number, rung)

    # -- ending them ------------------------------------------------------------------------------

    def _end(self, trial: _Trial, record: dict[str, Any]) -> None:
        self._leave(trial)
        if record["state"] != "succeeded":
            self._fail(trial, record)
            return
        made = [self._run.client.get(f"/artifacts/{each}") for each in record["outputs"].values()]
        if record["cached"]:
            self._hear_of_maker(trial, {artifact["made_by"] for artifact in made})
        values = [self._value_of(trial, made, o.metric) for o in self._spec.objectives]
        outputs = {
            name: Output(found["kind"], f"{found['name']}@{found['version']}",
                         found["made_by"] == trial.run_id)
            for name, found in zip(record["outputs"], made, strict=True)
        }  # fmt: skip
        self._study.complete(trial.number, values, outputs)
        self._delete_what_is_worse()
        for objective, value in zip(self._spec.objectives, values, strict=True):
            self._run.metric(objective.metric, value, trial.number)

    def _hear_of_maker(self, trial: _Trial, run_ids: set[str]) -> None:
        """Take the curves of a trial that the cache has answered from the run that drew them."""
        for run_id in run_ids:
            seen = 0
            while events := self._run.client.get(f"/runs/{run_id}/events", after=seen):
                seen = events[-1]["seq"]
                for event in events:
                    if event["kind"] == "metric":
                        self._note(trial, event["payload"])

    def _delete_what_is_worse(self) -> None:
        """Delete what trials have made that are not among the best.

        What one has from the cache, or what somebody else has made before, is not the search's own.
        """
        best = self._study.best()
        kept = best if len(self._spec.objectives) > 1 else best[: self._spec.keep]
        needed = {o.reference for trial in kept for o in self._study.outputs_of(trial).values()}
        for trial in self._study.trials():
            for kind, reference, is_own in self._study.outputs_of(trial).values():
                if is_own and reference not in needed and reference not in self._deleted:
                    self._deleted.add(reference)
                    query = {
                        "kind": kind, "by": "tune", "for_run": self._run.run_id,
                        "with_descendants": "false",
                        "reason": f"trial {trial.number} is not among the best",
                    }  # fmt: skip
                    with suppress(SpecError):  # something was made from it, or it is gone
                        self._run.client.delete(f"/artifacts/{reference}?{urlencode(query)}")

    def _value_of(self, trial: _Trial, made: list[dict[str, Any]], metric: str) -> float:
        """Return a figure: of what the run has made, else the last point of its curve.

        Raises:
            SpecError: there is no such figure; those that there are are told.
        """
        summaries: dict[str, Any] = {}
        for artifact in made:
            summaries.update(artifact["summary"])
        if isinstance(summaries.get(metric), int | float):
            return float(summaries[metric])
        if metric in trial.finals:
            return trial.finals[metric]
        if trial.curves.get(metric):
            return trial.curves[metric][max(trial.curves[metric])]
        numbers = [name for name, value in summaries.items() if isinstance(value, int | float)]
        there = sorted({*trial.curves, *trial.finals, *numbers})
        raise SpecError(
            f"The runs of {self._spec.stage} have no figure {metric!r}",
            where="objectives",
            next_step=f"They have: {', '.join(there) or 'none'}. For macro_recall, a training "
            "needs a validation set.",
        )

    def _fail(self, trial: _Trial, record: dict[str, Any]) -> None:
        self._rungs_of(trial.number).forget(trial.number)
        self._study.give_up(trial.number, failed=True)
        told = "was cancelled"
        if record["error"]:
            self._failure = error_from_json(record["error"])
            told = f"failed: {self._failure.what}"
        self._run.log(f"Trial {trial.number} {told}", trial=trial.number)
        self._num_failed += 1
        has_result = any(t.state.name == "COMPLETE" for t in self._study.trials())
        if self._failure and self._num_failed >= _MOST_FAILURES and not has_result:
            raise self._failure

    def _stop(self, trial: _Trial, why: str) -> None:
        self._run.log(f"Trial {trial.number} is stopped: {why}", trial=trial.number)
        self._ask("cancel", trial)
        self._leave(trial)
        self._study.give_up(trial.number, failed=False)

    def _leave(self, trial: _Trial) -> None:
        self._study.note_slot_seconds(trial.number, self._slot_seconds.get(trial.number, 0.0))
        del self._live[trial.number]
        self._num_over += 1
        self._note_progress()

    def _note_progress(self) -> None:
        """Note that the search got on: how often it may be killed counts anew from here."""
        before = [key for key in self._run.checkpoints() if key.startswith(_PROGRESS)]
        number = max((int(key.removeprefix(_PROGRESS)) for key in before), default=0) + 1
        self._run.checkpoint(f"{_PROGRESS}{number}", lambda _folder: None)
        for key in before:
            self._run.forget_checkpoint(key)

    def _end_resting(self) -> None:
        """Nobody works and nobody may begin: end who rests, but let somebody come to a result."""
        if not self._study.best():
            furthest = max(
                self._live.values(),
                key=lambda t: (t.rests_at or 0, self._study_value(t.number), -t.number),
            )
            self._wake(furthest)
            return
        for trial in list(self._live.values()):
            self._stop(trial, f"it was not among the best at step {trial.rests_at}")

    def _study_value(self, number: int) -> float:
        values = self._study.trials()[number].intermediate_values.values()
        return max((self._spec.objectives[0].sign * value for value in values), default=0.0)

    def _tell_progress(self) -> None:
        total = max(self._spec.trials, self._num_over)
        resting = len(self._live) - self._num_at_work()
        note = f"{self._num_at_work()} at work" + (f", {resting} rest" if resting else "")
        self._run.progress(self._num_over, total, "trials", note)


def _make_rungs(spec: TuneSpec) -> list[Rungs]:
    if spec.pruner not in ("asha", "hyperband"):
        return [Rungs(spec.first_rung, spec.reduction)]
    num_brackets = _NUM_BRACKETS if spec.pruner == "hyperband" else 1
    return [
        Rungs(spec.first_rung * spec.reduction**number, spec.reduction)
        for number in range(num_brackets)
    ]


def _begun_at(run: RunContext) -> float:
    """Return when the search began: earlier attempts count."""

    def note(folder: Any) -> None:
        (folder / "begun.json").write_text(json.dumps({"time": time.time()}))

    folder = run.checkpoint("begun", note)
    begun: float = json.loads((folder / "begun.json").read_text())["time"]
    return begun


def _told(values: dict[str, Any]) -> str:
    told = plain(values, where="trial")
    return ", ".join(
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in told.items()
    )
