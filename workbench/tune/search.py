"""The search itself: asks for runs, hears how they do, stops, rests and fetches back trials.

All that it knows is in the study's journal and in the runs: a search that is killed and started
again finds its trials at work, or done.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from workbench.core.context import RunContext
from workbench.core.errors import SpecError, StageError, WorkbenchError, error_from_json
from workbench.core.json_text import plain
from workbench.tune.options import TuneSpec
from workbench.tune.rungs import Rungs, bracket_of
from workbench.tune.space import Space
from workbench.tune.study import Output, Study, is_refused
from workbench.tune.trial import Trial

_WAIT_SECONDS = 1.0  # for news of trials; also the time in which a wish to pause is heard
_LESS_URGENT = -1  # than the search itself: what somebody else waits for goes first
_MOST_FAILURES = 3  # at the beginning, before the search is given up
_NUM_BRACKETS = 3
_PROGRESS = "progress-"
_OVER = ("succeeded", "failed", "cancelled")


class Search:
    """Works a study off; see ``TuneSpec``."""

    def __init__(self, spec: TuneSpec, study: Study, space: Space, run: RunContext) -> None:
        self._spec = spec
        self._study = study
        self._space = space
        self._run = run
        self._begun_at = _begun_at(run)
        self._slot_seconds: dict[int, float] = {}  # of trials that are over
        self._num_failed = 0
        self._failure: WorkbenchError | None = None
        self._rungs = _make_rungs(spec)
        self._live: dict[str, Trial] = {}  # by the id of the run
        self._deleted: set[str] = set()
        self._num_over = 0  # of all trials

    def work(self) -> None:
        """Go on until the budget is used up and every trial is over.

        Raises:
            RunPaused, RunCancelled: somebody asked; the trials are, too.
            WorkbenchError: the first trials all failed, for this reason.
        """
        for trial in self._study.trials():
            if not self._study.is_twin(trial.number):
                self._climb(trial.number, trial.intermediate_values)
            if trial.state.is_finished():
                self._slot_seconds[trial.number] = self._study.slot_seconds_of(trial)
                self._num_over += not is_refused(trial)
            elif self._study.run_of(trial):  # else its values are chosen when its turn comes
                self._join(trial.number, self._study.rests_at(trial.number))
        for one in list(self._live.values()):
            self._judge_again(one)
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
                self._hear(self._live[run_id], news)

    @property
    def slot_seconds(self) -> float:
        """Return for how long trials have held slots, in all."""
        live = sum(trial.slot_seconds for trial in self._live.values())
        return live + sum(self._slot_seconds.values())

    # -- beginning trials -------------------------------------------------------------------------

    def _fill_up(self) -> None:
        """Fetch back who may pass its rung, then begin new trials, as many as may be at once."""
        while self._num_at_work() < self._spec.at_once:
            resting = [t for t in self._live.values() if t.rests_at is not None]
            passing = [t for t in resting if self._may_pass(t.number, t.rests_at or 0)]
            if passing:
                # Whoever is furthest: it is closest to a result.
                self._wake(max(passing, key=lambda t: (t.rests_at or 0, -t.number)))
            elif not self._has_budget() or not self._begin():
                return

    def _num_at_work(self) -> int:
        return sum(trial.rests_at is None for trial in self._live.values())

    def _has_budget(self) -> bool:
        hours = (time.time() - self._begun_at) / 3600
        is_early = self._spec.hours is None or hours < self._spec.hours
        is_cheap = self._spec.cpu_hours is None or self.slot_seconds / 3600 < self._spec.cpu_hours
        return is_early and is_cheap and self._study.has_more()

    def _begin(self) -> bool:
        """Begin a trial, unless there is none left to begin."""
        chosen = self._study.ask(self._run.run_id)
        if chosen is None:
            return False
        self._run.log(f"Trial {chosen.number}: {_told(self._study.values_of(chosen))}",
                      trial=chosen.number)  # fmt: skip
        self._join(chosen.number, None)
        return True

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
        trial = self._live.get(record["run_id"])
        if trial is not None:  # another trial has the same values, and this very run
            trial.twins.append(number)
            self._study.note_twin(number, trial.number)
            self._study.rest(number, trial.rests_at)
            return
        trial = self._live[record["run_id"]] = Trial(number, record["run_id"], rests_at=rests_at)
        if rests_at is not None:
            self._ask("pause", trial)  # it may have been resumed together with the search

    def _judge_again(self, trial: Trial) -> None:
        """Judge a trial whose newest point has reached a rung: nobody may have done so yet."""
        curve = self._study.trials()[trial.number].intermediate_values
        if self._spec.pruner not in ("asha", "hyperband") or trial.rests_at or not curve:
            return
        *before, newest = [0, *sorted(curve)][-2:]
        rung = self._rungs_of(trial.number).last_rung(newest)
        if rung is not None and before[0] < rung and not self._may_pass(trial.number, rung):
            self._rest(trial, rung)

    def _wake(self, trial: Trial) -> None:
        self._run.log(f"Trial {trial.number} is among the best now: it goes on",
                      trial=trial.number)  # fmt: skip
        self._ask("resume", trial)
        for number in trial.numbers:
            self._study.rest(number, None)
        trial.rests_at = None

    def _rest(self, trial: Trial, rung: int) -> None:
        trial.rests_at = rung
        for number in trial.numbers:  # before it is asked: a search that is killed asks again
            self._study.rest(number, rung)
        self._ask("pause", trial)
        self._note_progress()

    def _ask(self, verb: str, trial: Trial) -> None:
        try:
            self._run.client.post(f"/runs/{trial.run_id}/{verb}", {})
        except SpecError:  # it has ended meanwhile: its last event tells
            return

    # -- hearing of them --------------------------------------------------------------------------

    def _news(self) -> dict[str, dict[str, Any]]:
        known = {trial.run_id: trial.known for trial in self._live.values()}
        answer: dict[str, dict[str, Any]] = self._run.client.post(
            "/runs/news", {"known": known, "wait": _WAIT_SECONDS}
        )
        return answer

    def _hear(self, trial: Trial, news: dict[str, Any]) -> None:
        record = news["record"]
        trial.num_slots = record["workers"]
        for event in news["events"]:
            trial.known = max(trial.known, event["seq"])
            if event["kind"] == "metric":
                self._note(trial, event["payload"])
            elif event["kind"] == "state":
                trial.note_state(event["payload"]["state"], event["time"])
        if record["state"] in _OVER:
            if news["is_all"]:  # else the rest of its curve comes with the next news
                self._end(trial, record)
        elif trial.rests_at is None:
            self._judge(trial)

    def _note(self, trial: Trial, point: dict[str, Any]) -> None:
        name, value, step = point["name"], point["value"], point["step"]
        if value is None:  # a journal has no word for NaN and infinity
            trial.not_numbers.add(name)
        elif step is None:
            trial.finals[name] = float(value)
        else:
            trial.curves.setdefault(name, {})[int(step)] = float(value)

    def _judge(self, trial: Trial) -> None:
        """Let a trial go on, rest or stop, by what its curve says."""
        rung = self._report(trial)
        if self._spec.pruner in ("median", "wilcoxon"):
            if trial.reported and self._study.should_stop(trial.number):
                self._stop(trial, "the others are better so far")
        elif rung is not None and not self._may_pass(trial.number, rung):
            self._rest(trial, rung)

    def _report(self, trial: Trial) -> int | None:
        """Put what is new of a trial's curve into the study; return a rung that it has reached."""
        curve = trial.curves.get(self._spec.objectives[0].metric, {})
        if self._spec.pruner == "none":
            return None
        reached = self._climb(trial.number, curve)
        new = {
            step: value for step, value in curve.items()
            if step not in trial.reported and (_is_round(step) or step in reached)
        }  # fmt: skip
        for number in trial.numbers if new else []:
            self._study.report(number, new)
        trial.reported |= new.keys()
        return max(reached.values(), default=None)

    def _climb(self, number: int, curve: Mapping[int, float]) -> dict[int, int]:
        """Note which rungs a trial has reached; return those that are new, by their steps."""
        rungs, sign = self._rungs_of(number), self._spec.objectives[0].sign
        best, found = -math.inf, {}
        for step, value in sorted(curve.items()):
            best = max(best, sign * value)
            rung = rungs.reach(number, step, best)
            if rung is not None:
                found[step] = rung
        return found

    def _rungs_of(self, number: int) -> Rungs:
        return self._rungs[bracket_of(number, len(self._rungs), self._spec.reduction)]

    def _may_pass(self, number: int, rung: int) -> bool:
        return self._rungs_of(number).may_pass(number, rung)

    # -- ending them ------------------------------------------------------------------------------

    def _end(self, trial: Trial, record: dict[str, Any]) -> None:
        if record["state"] != "succeeded":
            self._leave(trial)
            self._fail(trial, record["error"])
            return
        references = [*record["outputs"].values()]
        try:
            made = [self._run.client.get(f"/artifacts/{each}") for each in references]
        except SpecError as error:  # deleted: another trial that has made the same was not good
            self._leave(trial)
            self._end_as_equal(trial, error)
            return
        if record["cached"]:
            self._hear_of_maker(trial, {artifact["made_by"] for artifact in made})
        self._report(trial)
        try:
            values = [self._value_of(trial, made, o.metric) for o in self._spec.objectives]
        except StageError as error:
            self._leave(trial)
            self._fail(trial, error.to_json())
            return
        outputs = {
            name: Output(found["kind"], f"{found['name']}@{found['version']}",
                         found["made_by"] == trial.run_id)
            for name, found in zip(record["outputs"], made, strict=True)
        }  # fmt: skip
        self._leave(trial)
        for number in trial.numbers:
            self._study.complete(number, values, outputs)
        self._deleted -= {output.reference for output in outputs.values()}  # it is there again
        self._delete_what_is_worse()
        for objective, value in zip(self._spec.objectives, values, strict=True):
            self._run.metric(objective.metric, value, trial.number)

    def _end_as_equal(self, trial: Trial, error: SpecError) -> None:
        """End a trial whose result was answered from the cache and is deleted meanwhile."""
        equal = self._study.equal_to(trial.number)
        if equal is None:
            self._fail(trial, error.to_json())
            return
        for number in trial.numbers:
            self._study.complete(number, list(equal.values), self._study.outputs_of(equal))

    def _hear_of_maker(self, trial: Trial, run_ids: set[str]) -> None:
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

    def _value_of(self, trial: Trial, made: list[dict[str, Any]], metric: str) -> float:
        """Return a figure: of what the run has made, else the last point of its curve.

        Raises:
            SpecError: there is no such figure; those that there are are told.
            StageError: it is no number.
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
        if metric in trial.not_numbers or metric in summaries:
            raise StageError(f"Its {metric} is no number", where=f"trial {trial.number}",
                             next_step="See the run's own journal for why.")  # fmt: skip
        numbers = [name for name, value in summaries.items() if isinstance(value, int | float)]
        there = sorted({*trial.curves, *trial.finals, *numbers})
        raise SpecError(
            f"The runs of {self._spec.stage} have no figure {metric!r}",
            where="objectives",
            next_step=f"They have: {', '.join(there) or 'none'}. For macro_recall, a training "
            "needs a validation set.",
        )

    def _fail(self, trial: Trial, error: dict[str, Any] | None) -> None:
        self._rungs_of(trial.number).forget(trial.number)
        for number in trial.numbers:
            self._study.give_up(number, failed=True)
        told = "was cancelled"
        if error:
            self._failure = error_from_json(error)
            told = f"failed: {self._failure.what}"
        self._run.log(f"Trial {trial.number} {told}", trial=trial.number)
        self._num_failed += 1
        has_result = any(t.state.name == "COMPLETE" for t in self._study.trials())
        if self._failure and self._num_failed >= _MOST_FAILURES and not has_result:
            raise self._failure

    def _stop(self, trial: Trial, why: str) -> None:
        self._run.log(f"Trial {trial.number} is stopped: {why}", trial=trial.number)
        self._ask("cancel", trial)
        self._leave(trial)
        for number in trial.numbers:
            self._study.give_up(number, failed=False)

    def _leave(self, trial: Trial) -> None:
        self._slot_seconds[trial.number] = trial.slot_seconds
        self._study.note_slot_seconds(trial.number, trial.slot_seconds)
        del self._live[trial.run_id]
        self._num_over += len(trial.numbers)
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
        resting = sum(trial.rests_at is not None for trial in self._live.values())
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


def _is_round(step: int) -> bool:
    """Whether a step is kept of a curve's many: the same ones of each, so that they compare."""
    while step >= 100:
        step, rest = divmod(step, 10)
        if rest:
            return False
    return True


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
