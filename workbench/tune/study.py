"""A study: Optuna's, in a journal that outlives whoever writes it.

The journal is one file with a line for each change, flushed before it counts. Only the search
itself writes it, one attempt at a time, so it takes no lock that a killed one could leave behind.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.core.errors import SpecError
from workbench.tune.options import TuneSpec
from workbench.tune.space import Choice, Space, list_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping

    from optuna.trial import FrozenTrial, Trial

JOURNAL = "study.journal"
_NAME = "study"
_VALUES, _RUN, _RESTS, _REFUSED = "values", "run_id", "rests_at", "refused"
_OUTPUTS, _SECONDS, _TWIN = "outputs", "slot_seconds", "twin_of"
_MOST_TRIES = 50  # to find values that go together


class Output(NamedTuple):
    """An artifact that a trial has as a result: its own, unless another run has made it before."""

    kind: str
    reference: str
    is_own: bool


class Study:
    """What was tried, and what to try next."""

    def __init__(self, folder: Path, spec: TuneSpec, space: Space) -> None:
        import optuna
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._optuna = optuna
        self._spec = spec
        self._space = space
        journal = folder / JOURNAL
        _drop_torn_line(journal)
        with _quiet():
            lock: Any = _NoLock()
            backend = JournalFileBackend(str(journal), lock)
            self._study = optuna.create_study(
                storage=optuna.storages.JournalStorage(backend), study_name=_NAME,
                directions=[objective.direction for objective in spec.objectives],
                load_if_exists=True, pruner=make_pruner(spec),
            )  # fmt: skip
        self._grid = list_grid(space) if spec.sampler == "grid" else None

    # -- what is there ----------------------------------------------------------------------------

    def trials(self) -> list[FrozenTrial]:
        """Return all trials by number."""
        return list(self._study.get_trials(deepcopy=False))

    def open_trials(self) -> list[FrozenTrial]:
        """Return the trials that are neither done nor given up."""
        return [trial for trial in self.trials() if not trial.state.is_finished()]

    def values_of(self, trial: FrozenTrial) -> dict[str, Any]:
        """Return the values that a trial gives to fields; none if they did not go together."""
        found: dict[str, Any] = json.loads(trial.user_attrs.get(_VALUES, "{}"))
        return found

    def run_of(self, trial: FrozenTrial) -> str:
        """Return the id of a trial's run; empty if its values did not go together."""
        return str(trial.user_attrs.get(_RUN, ""))

    def outputs_of(self, trial: FrozenTrial) -> dict[str, Output]:
        """Return what a trial has made, by output."""
        made: dict[str, list[Any]] = trial.user_attrs.get(_OUTPUTS, {})
        return {name: Output(*each) for name, each in made.items()}

    def slot_seconds_of(self, trial: FrozenTrial) -> float:
        """Return for how long a trial has held slots, as far as it is noted."""
        return float(trial.user_attrs.get(_SECONDS, 0.0))

    def note_slot_seconds(self, number: int, seconds: float) -> None:
        """Note for how long a trial has held slots."""
        self._trial(number).set_user_attr(_SECONDS, round(seconds, 3))

    def rests_at(self, number: int) -> int | None:
        """Return the rung at which a trial rests."""
        rung: int | None = self.trials()[number].user_attrs.get(_RESTS)
        return rung

    def best(self) -> list[FrozenTrial]:
        """Return the completed trials, the best first; of several objectives the compromises."""
        done = [t for t in self.trials() if t.state.name == "COMPLETE"]
        if len(self._spec.objectives) > 1:
            return sorted(self._study.best_trials, key=lambda t: t.number) if done else []
        sign = self._spec.objectives[0].sign
        return sorted(done, key=lambda t: (-sign * float(t.values[0]), t.number))

    # -- what comes next --------------------------------------------------------------------------

    def has_more(self) -> bool:
        """Whether there is another set of values to try; refused ones were no trials."""
        num_tried = sum(not is_refused(trial) for trial in self.trials())
        if num_tried >= self._spec.trials:
            return bool(self._half_asked())
        return self._has_point(len(self.trials())) or bool(self._half_asked())

    def ask(self, search_id: str) -> FrozenTrial | None:
        """Choose the values of a new trial, and note them with the id of the run to come.

        The id follows from that of the search: a run that is asked for twice is one run. None if
        no other point of a grid is left whose values go together.

        Raises:
            SpecError: no values go together.
        """
        half_asked = self._half_asked()
        number = half_asked[0] if half_asked else len(self.trials())
        refused: SpecError | None = None
        with _quiet():
            self._study.sampler = self._sampler(number)
            for _ in range(_MOST_TRIES if self._grid is None else len(self._grid) + 1):
                if not half_asked and not self._has_point(len(self.trials())):
                    return None
                trial = self._trial(half_asked.pop(0)) if half_asked else self._study.ask()
                values = self._values(trial)
                try:
                    self._space.to_spec(values)
                except SpecError as error:
                    refused = error
                    trial.set_user_attr(_REFUSED, error.what)
                    self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
                    continue
                break
            else:
                why = f": {refused.what}" if refused else ""
                raise SpecError(
                    f"In {_MOST_TRIES} tries no values went together{why}",
                    where="space",
                    next_step="Widen the search space, or change the fixed parameters.",
                )
            key = f"{search_id}:{trial.number}"
            trial.set_user_attr(_VALUES, json.dumps(values))
            trial.set_user_attr(_RUN, f"r-{hashlib.sha256(key.encode()).hexdigest()[:10]}")
        return self.trials()[trial.number]

    def _half_asked(self) -> list[int]:
        """Return the trials whose values a killed search was about to choose: they are finished."""
        return [trial.number for trial in self.open_trials() if not self.run_of(trial)]

    # -- what is found ----------------------------------------------------------------------------

    def report(self, number: int, curve: Mapping[int, float]) -> None:
        """Note what a trial has at steps, those of them that are new."""
        known = self.trials()[number].intermediate_values
        trial = self._trial(number)
        for step, value in sorted(curve.items()):
            if step not in known:
                trial.report(value, step)

    def should_stop(self, number: int) -> bool:
        """Whether Optuna's pruner would stop a trial now."""
        with _quiet():
            return bool(self._trial(number).should_prune())

    def note_twin(self, number: int, lead: int) -> None:
        """Note that a trial has the values of another one, whose run it shares."""
        self._trial(number).set_user_attr(_TWIN, lead)

    def is_twin(self, number: int) -> bool:
        """Whether a trial shares, or has shared, the run of another one."""
        return _TWIN in self.trials()[number].user_attrs

    def equal_to(self, number: int) -> FrozenTrial | None:
        """Return another trial with the same values that has come to a result."""
        own = self.values_of(self.trials()[number])
        done = (t for t in self.trials() if t.state.name == "COMPLETE" and t.number != number)
        return next((trial for trial in done if self.values_of(trial) == own), None)

    def rest(self, number: int, rung: int | None) -> None:
        """Note that a trial rests at a rung, or none any more."""
        self._trial(number).set_user_attr(_RESTS, rung)

    def complete(self, number: int, values: list[float], outputs: dict[str, Output]) -> None:
        """Note a trial's values, and what it has made."""
        self._trial(number).set_user_attr(_OUTPUTS, outputs)
        with _quiet():
            self._study.tell(number, values)

    def give_up(self, number: int, *, failed: bool) -> None:
        """Note that a trial was stopped early, or has failed."""
        state = self._optuna.trial.TrialState
        with _quiet():
            self._study.tell(number, state=state.FAIL if failed else state.PRUNED)

    # -- inside -----------------------------------------------------------------------------------

    def _trial(self, number: int) -> Trial:
        return self._optuna.trial.Trial(self._study, self.trials()[number]._trial_id)

    def _has_point(self, number: int) -> bool:
        return self._grid is None or number < len(self._grid)

    def _values(self, trial: Trial) -> dict[str, Any]:
        if self._grid is not None:
            return self._grid[trial.number]
        values: dict[str, Any] = {}
        for name, dimension in self._space.dimensions.items():
            if not self._space.active(name, values):
                continue
            if isinstance(dimension, Choice):
                # Optuna's choices are plain texts, numbers and the like; others go by their place.
                place = trial.suggest_categorical(name, _names(dimension))
                values[name] = dimension.choices[_names(dimension).index(place)]
            elif self._space.is_whole(name):
                step = int(dimension.step or 1)
                values[name] = trial.suggest_int(
                    name, int(dimension.low), int(dimension.high), step=step, log=dimension.log
                )
            else:
                values[name] = trial.suggest_float(
                    name, dimension.low, dimension.high, step=dimension.step, log=dimension.log
                )
        return values

    def _sampler(self, number: int) -> Any:
        """Return a sampler for one trial: seeded anew, so that a restarted search chooses alike."""
        samplers = self._optuna.samplers
        seed = int.from_bytes(hashlib.sha256(f"{self._spec.seed}:{number}".encode()).digest()[:4])
        name = self._spec.sampler
        if name == "auto":
            name = "nsga2" if len(self._spec.objectives) > 1 else "tpe"
        match name:
            case "tpe":
                return samplers.TPESampler(
                    seed=seed, multivariate=True, group=True, constant_liar=True
                )
            case "gp":
                return samplers.GPSampler(seed=seed, deterministic_objective=False)
            case "cmaes":
                return samplers.CmaEsSampler(seed=seed)
            case "nsga2":
                population = max(4, min(50, self._spec.trials // 4))
                return samplers.NSGAIISampler(seed=seed, population_size=population)
            case _:
                return samplers.RandomSampler(seed=seed)


def is_refused(trial: FrozenTrial) -> bool:
    """Whether a trial's values did not go together, so that it was none."""
    return _REFUSED in trial.user_attrs


def row_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return what there is to tell of a trial, as plain values: a row of ``trials.json``."""
    made: dict[str, list[Any]] = trial.user_attrs.get(_OUTPUTS, {})
    rests_at = trial.user_attrs.get(_RESTS)
    return {
        "trial": trial.number,
        "state": _word(trial, rests_at),
        "values": trial.values,
        "parameters": json.loads(trial.user_attrs.get(_VALUES, "{}")),
        "curve": {str(step): value for step, value in sorted(trial.intermediate_values.items())},
        "run_id": str(trial.user_attrs.get(_RUN, "")),
        "outputs": {name: Output(*each).reference for name, each in made.items()},
    }  # fmt: skip


def _word(trial: FrozenTrial, rests_at: int | None) -> str:
    if is_refused(trial):
        return "refused"
    is_resting = rests_at is not None and not trial.state.is_finished()
    return "resting" if is_resting else trial.state.name.lower()


class StudyReader:
    """A study as others see it: what is in its journal now. Nothing can be written through it."""

    def __init__(self, find: Callable[[], Path]) -> None:
        """Open a journal, which may still grow, and move when the search ends.

        ``find`` returns where it is now.
        """
        import optuna

        self._optuna = optuna
        with _quiet():
            self.storage = optuna.storages.JournalStorage(_read_only(find))

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each trial so far, by number."""
        with _quiet():
            if not self.storage.get_all_studies():
                return []  # nothing is in it yet
            study = self._optuna.load_study(study_name=_NAME, storage=self.storage)
            return [row_of(trial) for trial in study.get_trials(deepcopy=False)]


def _read_only(find: Callable[[], Path]) -> Any:
    from optuna.storages.journal import JournalFileBackend

    class ReadOnlyJournal(JournalFileBackend):
        def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
            try:
                logs = list(super().read_logs(log_number_from))
            except FileNotFoundError:  # the search has ended: a copy is in its study
                self._file_path = str(find())
                logs = list(super().read_logs(log_number_from))
            yield from logs

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            raise PermissionError("A study is written by its search alone")

    lock: Any = _NoLock()
    return ReadOnlyJournal(str(find()), lock)


def make_pruner(spec: TuneSpec) -> Any:
    """Return Optuna's pruner, for those that are Optuna's."""
    from optuna import pruners

    match spec.pruner:
        case "median":
            return pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=spec.first_rung - 1)
        case "wilcoxon":
            return pruners.WilcoxonPruner(p_threshold=0.1)
        case _:
            return pruners.NopPruner()


def _names(dimension: Choice) -> list[Any]:
    plain = (str, int, float, bool, type(None))
    return [c if isinstance(c, plain) else json.dumps(c) for c in dimension.choices]


def _drop_torn_line(journal: Path) -> None:
    """Cut off a line that a power loss has left unfinished."""
    if journal.exists():
        content = journal.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            journal.write_bytes(whole)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's warnings of experimental parts off: they are no business of users here."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class _NoLock:
    """The lock of a journal that only one process writes."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass
