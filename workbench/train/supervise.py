"""The stage's side of a job on ranks: what they tell goes to the run, what the run asks to them."""

from __future__ import annotations

import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from workbench.core.context import RunContext
from workbench.core.errors import Cause, DataError, StageError
from workbench.models.checkpoint import num_parameters
from workbench.models.folder import CONFIG, WEIGHTS, read_json, write_json
from workbench.pool.gpus import gpus_of_host
from workbench.pool.holdings import agent_of
from workbench.train.batches import num_slices
from workbench.train.gang import Event, Gang
from workbench.train.memories import RankMemories, free_memories
from workbench.train.options import FitJob, Layout, ScoreJob
from workbench.train.profile import Profile, RankProfile, advise, combine, summary_of
from workbench.train.rank import no_gpu
from workbench.train.shards import check_shards, cut_head, merge_shards
from workbench.train.state import (
    BEST_KEY,
    STEP_KEY,
    Place,
    newest_state,
    read_place,
    stale_keys,
)
from workbench.train.strategies.layout import choose_layout

Losses = list[tuple[int, float]]

_SKIPPED_KEY = "skipped-"
_MOST_SKIPPED = 3


class Fitted(BaseModel):
    """A fitted model's folder and the place at which its training ended."""

    folder: Path
    place: Place


def fit(job: FitJob, run: RunContext) -> Fitted:
    """Fit a job's model on the run's ranks, from where it stood.

    That is what killed ranks have left in their memory, else the newest checkpoint. Where the loss
    is no number, the ranks start again there and leave the batch out: one broken record shall not
    cost a night. Which steps were left out stands in the journal, and
    outlives the attempt.

    Raises:
        RunPaused, RunCancelled: somebody asked; the work so far is in a checkpoint.
        WorkbenchError: a rank failed or was killed, or more than three batches would be left out;
            resuming goes on from the last checkpoint.
    """
    while True:
        work = _fresh_folder(run, "fit")
        layout = _layout(job, run)
        checkpoints = run.checkpoints()
        resumed = job.model_copy(
            update={
                "work": work,
                "resume_from": _newest_whole(run),
                "skipped": _skipped(checkpoints),
                "num_shrinks": run.num_shrinks,
                "layout": layout,
            }
        )
        if run.num_shrinks:
            options = job.options
            count = num_slices(options.batch_size, options.virtual_ranks, run.num_shrinks)
            run.log(f"Memory was too little: each batch is worked on in {count} pieces now",
                    pieces=count)  # fmt: skip
        memories = RankMemories.of(layout, run)
        if memories.place is not None:
            run.log(f"The workers go on from step {memories.place.step}, which was in their memory")
        relay = _FitRelay(run, layout.world, memories)
        try:
            _work(resumed, run, relay.hear, memories)
        except StageError as error:
            if error.cause != Cause.NOT_A_NUMBER or relay.diverged_at is None:
                raise
            if relay.is_in_weights:
                _go_back_before(relay.diverged_at, run)
            _skip(relay.diverged_at, error, run)
            continue
        finally:
            memories.close()
        if relay.place is not None:
            free_memories(run)
            _tell_profile(combine(relay.profiles), job, run)
            return Fitted(folder=_result(relay.place, work, run), place=relay.place)
        run.stop_if_asked()  # else the wish was withdrawn while the ranks stopped: go on


def score(job: ScoreJob, num_rows: int, run: RunContext) -> None:
    """Have a teacher answer every row on the run's ranks, in shards that are made once.

    Raises:
        RunPaused, RunCancelled: somebody asked; whole shards are kept.
        WorkbenchError: a rank failed or was killed.
    """
    while True:
        work = _fresh_folder(run, "score")
        num_scored = 0

        def hear(event: Event) -> None:
            nonlocal num_scored
            if event["kind"] == "scored":
                num_scored += event["rows"]
                run.progress(num_scored, num_rows, "texts", "the teacher answers")

        _work(job.model_copy(update={"work": work}), run, hear)
        if num_scored == num_rows:
            return
        run.stop_if_asked()


def _work(
    job: FitJob | ScoreJob, run: RunContext, hear: Callable[[Event], None],
    memories: RankMemories | None = None,
) -> None:  # fmt: skip
    """Run a gang to its end; a wish to pause reaches the ranks as a file."""
    job_file = job.work / "job.json"
    job_file.write_text(job.model_dump_json())
    kind: Literal["fit", "score"] = "fit" if isinstance(job, FitJob) else "score"
    world = job.layout.world if isinstance(job, FitJob) else run.num_workers
    run.log(f"{world} of {run.num_workers} workers start", world=world)
    memories = memories or RankMemories()
    start = _Start(world, run)
    with Gang(kind, job_file, world, _threads(job, run), run, memories) as gang:
        for event in gang.events():
            if event["kind"] == "started":
                facts = {name: event[name] for name in ("rank", "pid", "forked")}
                run.log(f"Rank {event['rank']} started", **facts)
            if event["kind"] == "ready":
                start.note_ready(event)
            if start.is_over:
                memories.let_go_of_source()
            hear(event)
            if run.cancelled:
                run.stop_if_asked()
            if run.should_pause:
                (job.work / "stop").touch()


class _Start:
    """Tells, once all ranks of a gang can work, how long that took and where they go on."""

    def __init__(self, world: int, run: RunContext) -> None:
        self._begun = time.monotonic()
        self._num_missing = world
        self._run = run

    @property
    def is_over(self) -> bool:
        """Whether all ranks can work."""
        return self._num_missing == 0

    def note_ready(self, event: Event) -> None:
        """Note that a rank has met the others and holds its model and state."""
        self._num_missing -= 1
        if self._num_missing == 0:
            seconds = round(time.monotonic() - self._begun, 3)
            place = {"step": event["step"]} if "step" in event else {}
            where = f", from step {event['step']} on" if place else ""
            self._run.log(f"All workers are ready after {seconds:.2f} s{where}",
                          ready_seconds=seconds, **place)  # fmt: skip


def _layout(job: FitJob, run: RunContext) -> Layout:
    """Choose how the model lies on the workers that there are, and tell it.

    Raises:
        ResourceError: GPUs are asked for, and there are none.
        SpecError: the strategy does not suit the model.
    """
    import psutil

    if job.options.device == "gpu" and not gpus_of_host():
        raise no_gpu(run.slots[0])
    here = agent_of(run.slots[0])
    num_here = sum(agent_of(slot) == here for slot in run.slots)
    layout = choose_layout(
        job.options, read_json(job.model / CONFIG), run.num_workers,
        num_parameters(job.model), psutil.virtual_memory().total / num_here,
    )  # fmt: skip
    if layout.world > 1:
        ways = f", {layout.ways} of them hold one copy" if layout.ways > 1 else ""
        run.log(f"Strategy {layout.kind} on {layout.world} workers{ways}", strategy=layout.kind)
    return layout


def _tell_profile(profile: Profile, job: FitJob, run: RunContext) -> None:
    """Note where time and memory went: in the journal, as it is no part of the result."""
    advice = advise(profile, job.options)
    run.log(summary_of(profile), profile=profile.model_dump(), advice=advice)
    for text in advice:
        run.log(f"Advice: {text}")


def _threads(job: FitJob | ScoreJob, run: RunContext) -> int:
    """Return the threads of a rank: where each bit counts, as many as in the first attempt.

    How a product of matrices is cut for threads decides in which order its parts are added.
    """
    if not (isinstance(job, FitJob) and job.options.exact):
        return run.threads_per_worker
    noted = run.folder / "threads.json"
    if not noted.exists():
        write_json(noted, {"threads": run.threads_per_worker})
    return int(read_json(noted)["threads"])


def _fresh_folder(run: RunContext, kind: str) -> Path:
    """Make the folder of a new attempt; what an earlier one left half done is of no use."""
    for left in run.folder.glob(f"{kind}-attempt-*"):
        shutil.rmtree(left)
    folder = run.folder / f"{kind}-attempt-{run.term}"
    folder.mkdir(parents=True)
    return folder


def _newest_whole(run: RunContext) -> Path | None:
    """Return the newest checkpoint that can be read; those after it are dropped, and told."""
    while (newest := newest_state(run.checkpoints())) is not None:
        try:
            check_shards(newest)
        except DataError as error:
            run.log(f"{error.what}; the checkpoint before it is used", where=error.where)
            key = next(key for key, folder in run.checkpoints().items() if folder == newest)
            run.forget_checkpoint(key)
            continue
        return newest
    return None


def _skipped(checkpoints: Mapping[str, Path]) -> list[int]:
    """Return the steps whose batches are left out."""
    keys = (key for key in checkpoints if key.startswith(_SKIPPED_KEY))
    return sorted(int(key.removeprefix(_SKIPPED_KEY)) for key in keys)


def _skip(step: int, error: StageError, run: RunContext) -> None:
    """Leave a batch out from now on, unless so many already are that it is no accident."""
    num_skipped = len(_skipped(run.checkpoints()))
    if num_skipped >= _MOST_SKIPPED:
        error.next_step = (
            f"{num_skipped} batches were left out for the same before. {error.next_step}"
        )
        raise error
    run.log(f"{error.what}; it goes on without the batch of step {step}", step=step)  # fmt: skip
    run.checkpoint(f"{_SKIPPED_KEY}{step}", lambda folder: None)


def _go_back_before(step: int, run: RunContext) -> None:
    """Let go of all that was kept since a step: its update is in it."""
    free_memories(run)
    for key, folder in run.checkpoints().items():
        if key.startswith(STEP_KEY) and read_place(folder).step > step:
            run.forget_checkpoint(key)


def _result(place: Place, work: Path, run: RunContext) -> Path:
    return run.checkpoints()[place.best] if place.best else work / "final"


class _FitRelay:
    """Turns what the ranks tell into curves, progress and checkpoints of the run."""

    def __init__(self, run: RunContext, world: int, memories: RankMemories) -> None:
        self._run = run
        self._world = world
        self._memories = memories
        self._told: deque[tuple[int, Losses]] = deque()  # and after how many lines of the journal
        self._written: Counter[str] = Counter()  # ranks that have written their part, by folder
        self._stalled = 0.0  # of the ranks that have told of a checkpoint, the longest
        self.place: Place | None = None  # set when training has ended
        self.profiles: list[RankProfile] = []
        self.diverged_at: int | None = None  # the step at which the loss was no number
        self.is_in_weights = False  # what made it so

    def hear(self, event: Event) -> None:
        while self._told and self._told[0][0] <= self._run.num_kept:
            self._memories.note_reported(self._told.popleft()[1])
        match event["kind"]:
            case "steps":
                for step, loss in event["losses"]:
                    self._run.metric("loss", loss, step)
                self._told.append((self._run.num_noted, event["losses"]))
                self._run.progress(event["done"], event["total"], "steps", event["note"])
            case "evaluation":
                for name, value in event["figures"].items():
                    self._run.metric(name, value, event["epoch"])
            case "model" if self._is_whole(event):
                folder = Path(event["folder"])
                merge_shards(folder, folder / WEIGHTS)
                cut_head(folder, folder / WEIGHTS)
                if event["key"]:
                    self._adopt(event["key"], Path(event["folder"]))
            case "saved":
                self._stalled = max(self._stalled, event["stalled"])
                if self._is_whole(event):
                    self._save(event)
            case "float8" if event["rank"] == 0:
                self._run.log(f"{event['layers']} layers multiply in 8 bits", **event)
            case "diverged":
                # Of a model that is spread over ranks, not each sees it in its own part.
                known = event["step"] if self.diverged_at is None else self.diverged_at
                self.diverged_at = min(known, event["step"])
                self.is_in_weights = self.is_in_weights or event["is_in_weights"]
            case "profile":
                self.profiles.append(RankProfile(**event["profile"]))
            case "finished":
                self.place = Place(**event["place"])

    def _is_whole(self, event: Event) -> bool:
        """Whether the last rank has written its part of a folder."""
        folder = event["folder"]
        self._written[folder] += 1
        if self._written[folder] < self._world:
            return False
        del self._written[folder]
        return True

    def _save(self, event: Event) -> None:
        begun = time.monotonic()
        self._adopt(event["key"], Path(event["folder"]))
        seconds = round(event["seconds"] + time.monotonic() - begun, 3)
        stalled, self._stalled = round(self._stalled, 3), 0.0
        self._run.log(
            f"Step {event['step']} was saved in {seconds:.2f} s; training stood still for "
            f"{stalled:.2f} s", saved_step=event["step"], save_seconds=seconds,
            stall_seconds=stalled,
        )  # fmt: skip
        self._forget_stale()

    def _adopt(self, key: str, folder: Path) -> None:
        """Make what a rank wrote durable; it was made already if an earlier attempt got as far."""

        def move(target: Path) -> None:
            for path in sorted(folder.iterdir()):
                shutil.move(path, target / path.name)

        self._run.checkpoint(key, move)
        shutil.rmtree(folder)

    def _forget_stale(self) -> None:
        folders = self._run.checkpoints()
        best_of = {k: read_place(f).best for k, f in folders.items() if k.startswith(STEP_KEY)}
        for key in stale_keys(best_of, [key for key in folders if key.startswith(BEST_KEY)]):
            self._run.forget_checkpoint(key)
