"""Runs of every kind, and kills of every process that there is: what comes out is what a calm
workspace makes of the same Specs, once each.
"""

from __future__ import annotations

import csv
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import psutil
from live_workspace import LiveWorkspace, wait_until
from tiny_classifier import build_dataset, build_model, golden_rows
from tiny_training import sentences, write_encoder
from workbench_example_stages import (
    AdoptSpec,
    CountSpec,
    NestSpec,
    NothingSpec,
    PatchworkSpec,
    SpreadSpec,
)

from workbench.core.errors import SpecError
from workbench.core.registry import stage_of
from workbench.core.spec import Spec
from workbench.data.clean.spec import CleanSpec
from workbench.data.integrate import IntegrateSpec
from workbench.data.sampling.stage import SampleSpec
from workbench.data.split.stage import SplitSpec
from workbench.pipeline.notebook import NotebookSpec
from workbench.pipeline.run import PipelineSpec
from workbench.runs import Run
from workbench.serve.score import ScoreSpec
from workbench.tasks.evaluate import EvaluateSpec
from workbench.train.distil import DistilSpec
from workbench.train.pretrain import PretrainSpec
from workbench.train.train import TrainSpec
from workbench.tune.options import TuneSpec

_MOST_UNFINISHED = 6
_RUN_SECONDS = 600.0
# What a run that was hit again and again asks a person for.
_ASKS = (
    "times with no finished part between", "times with no checkpoint between",
    "over each of these parts",
)  # fmt: skip
_PAUSES = 0.15  # of the moments at which something is done, a run is paused in so many

Made = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of run: its Spec by number (no two are equal), and what of its results must be so."""

    name: str
    spec: Callable[[int], Spec]
    made: Callable[[Run], Made]
    workers: int = 1


def versions(*names: str) -> Callable[[Run], Made]:
    """Return what compares outputs by the hash of their files; no name: all outputs."""

    def made(run: Run) -> Made:
        outputs = run.outputs()
        return {name: outputs[name].version for name in names or run.record()["outputs"]}

    return made


def _evaluation(run: Run) -> Made:
    report = json.loads((run.outputs().report.path / "report.json").read_text())
    return {key: report[key] for key in report if key not in ("speed", "machine")}


def _made_by_children(run: Run) -> Made:
    """Return what the runs below a coordinator have made, by stage."""
    made: Made = {}
    for child in run.workspace.run_records(limit=1_000, parent=run.run_id):
        if child["state"] == "succeeded":
            made[child["stage"]] = child["outputs"]
            made |= _made_by_children(Run(run.workspace, child["run_id"]))
    return {stage: made[stage] for stage in made if stage not in ("notebook", "pipeline")}


@dataclass
class Ground:
    """What the Specs build on; equal in every workspace that was prepared from one folder."""

    folder: Path
    encoder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.encoder = write_encoder(self.folder / "encoder")
        with (self.folder / "rows.csv").open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(["text", "label"])
            rows.writerows(sentences(200))
        build_model(self.folder / "tiny")
        build_dataset(self.folder / "tiny", golden_rows(20))
        self._write_notebook()

    def prepare(self, own: LiveWorkspace) -> None:
        """Make the artifacts that the Specs refer to by name."""
        own.do(self._integrate("rows"))
        own.do(PatchworkSpec(partitions=6))
        for kind, name in (("model", "tiny"), ("dataset", "golden")):
            source = "tiny" if kind == "model" else "rows"
            (found,) = (self.folder / "tiny" / "artifacts").glob(f"{kind}/{source}/*")
            own.do(AdoptSpec(folder=str(found), kind=kind, name=name))
        own.submit(self._train(0, "base"), workers=2).wait(_RUN_SECONDS)

    def kinds(self) -> list[Kind]:
        """Return every kind of run."""
        return [
            Kind("count", lambda n: CountSpec(tag=f"{n}", parts=8, seconds=0.05), versions()),
            Kind("spread", lambda n: SpreadSpec(tag=f"{n}", parts=12, seconds=0.05), versions(), 2),
            Kind("nest", lambda n: NestSpec(depth=1, parts=6, seconds=0.05 + n / 1e6), versions()),
            Kind("integrate", lambda n: self._integrate(f"rows-{n}"), versions()),
            Kind(
                "clean",
                lambda n: CleanSpec(dataset="patchwork", name=f"patches-{n}"),
                versions("dataset", "ledger", "scores"),
                2,
            ),
            Kind("split", lambda n: SplitSpec(dataset="rows", seed=n, parts=_PARTS), versions()),
            Kind("sample", lambda n: SampleSpec(dataset="rows", seed=n), versions()),
            Kind("train", lambda n: self._train(n, f"model-{n}"), versions(), 2),
            Kind("pretrain", self._pretrain, versions()),
            Kind("tune", self._tune, versions("best_model")),
            Kind("distil", self._distil, versions(), 2),
            Kind("evaluate", self._evaluate, _evaluation),
            Kind("score", lambda n: self._score(n), versions()),
            Kind("notebook", lambda n: self._notebook(n), _made_by_children),
            Kind("pipeline", self._pipeline, _made_by_children),
        ]

    def _integrate(self, name: str) -> IntegrateSpec:
        source = {"kind": "csv", "name": "rows", "path": str(self.folder / "rows.csv"),
                  "text_column": "text", "label_column": "label"}  # fmt: skip
        return IntegrateSpec.parse({"name": name, "sources": [source]})

    def _train(self, number: int, name: str) -> TrainSpec:
        return TrainSpec(
            dataset="rows", model=str(self.encoder), epochs=4, batch_size=16, learning_rate=3e-3,
            max_tokens=24, precision="float32", checkpoint_seconds=0.2, seed=number, name=name,
        )  # fmt: skip

    def _pretrain(self, number: int) -> PretrainSpec:
        return PretrainSpec(
            datasets=["rows"], model=str(self.encoder), epochs=2, batch_size=16, max_tokens=24,
            precision="float32", checkpoint_seconds=0.2, seed=number, name=f"language-{number}",
        )  # fmt: skip

    def _tune(self, number: int) -> TuneSpec:
        trial = self._train(number, "trial").model_dump(mode="json", exclude={"learning_rate"})
        return TuneSpec(
            parameters={**trial, "validation": "rows"}, space={"learning_rate": [1e-4, 3e-3]},
            sampler="grid", at_once=1, name=f"study-{number}",
        )  # fmt: skip

    def _distil(self, number: int) -> DistilSpec:
        return DistilSpec(
            teacher="base", datasets=["rows"], num_layers=1, epochs=2, batch_size=16,
            precision="float32", checkpoint_seconds=0.2, seed=number, name=f"student-{number}",
        )  # fmt: skip

    def _evaluate(self, number: int) -> EvaluateSpec:
        return EvaluateSpec(
            test="golden", train="golden", models={"tiny": "tiny"}, seed=number, resamples=200,
            measure_speed=False, name=f"evaluation-{number}",
        )  # fmt: skip

    def _score(self, number: int) -> ScoreSpec:
        return ScoreSpec(dataset="golden", model="tiny", name=f"scored-{number}", part_rows=8)

    def _notebook(self, number: int) -> NotebookSpec:
        return NotebookSpec(
            notebook=str(self.folder / "counting.ipynb"), parameters={"tag": f"notebook {number}"}
        )

    def _pipeline(self, number: int) -> PipelineSpec:
        spec = self._integrate(f"step-{number}").model_dump(mode="json")
        steps = [
            {"name": "integrate", "notebook": "integrate", "parameters": spec},
            {"name": "split", "notebook": "split",
             "parameters": {"dataset": "${integrate.dataset}", "seed": number, "parts": _PARTS}},
        ]  # fmt: skip
        return PipelineSpec.parse({"name": f"steps-{number}", "steps": steps})

    def _write_notebook(self) -> None:
        cells = [nbformat.v4.new_code_cell('tag = ""', metadata={"tags": ["parameters"]})]
        code = (
            "from workbench_example_stages import CountSpec\n"
            "from workbench.workspace import Workspace\n"
            "Workspace().do(CountSpec(tag=tag, parts=5, seconds=0.05))"
        )
        cells.append(nbformat.v4.new_code_cell(code))
        book = nbformat.v4.new_notebook(cells=cells)
        book.metadata["kernelspec"] = {
            "name": "python3", "display_name": "Python 3", "language": "python"
        }  # fmt: skip
        nbformat.write(book, self.folder / "counting.ipynb")


_PARTS = {"train": 0.8, "test": 0.2}


@dataclass
class Asked:
    """A run that was acknowledged."""

    kind: Kind
    number: int
    run: Run


_KERNEL = """
import sys
from workbench.core.registry import load_stage
from workbench.workspace import Workspace
stage, spec, workers = sys.argv[1:]
run = Workspace().submit(load_stage(stage).spec.model_validate_json(spec), workers=int(workers))
print(run.run_id, flush=True)
run.wait()
"""


class Load:
    """Keeps a workspace busy with runs of every kind, half of them asked for by other kernels."""

    def __init__(self, own: LiveWorkspace, kinds: list[Kind], chance: random.Random) -> None:
        self.own = own
        self.asked: list[Asked] = []
        self.kernels: list[subprocess.Popen[str]] = []
        self._kinds = kinds
        self._chance = chance

    def submit(self, number: int) -> None:
        """Submit one more run."""
        kind = self._kinds[number % len(self._kinds)]
        spec = kind.spec(number)
        if self._chance.random() < 0.5:
            run = self.own.submit(spec, workers=kind.workers)
        else:
            run = self._submit_from_kernel(spec, kind.workers)
        self.asked.append(Asked(kind, number, run))

    def num_unfinished(self) -> int:
        """Count what is asked for and not over."""
        return int(self.own.status()["unfinished_runs"])

    def _submit_from_kernel(self, spec: Spec, workers: int) -> Run:
        command = [sys.executable, "-c", _KERNEL, stage_of(spec).name, spec.model_dump_json()]
        kernel = subprocess.Popen([*command, str(workers)], stdout=subprocess.PIPE, text=True)
        assert kernel.stdout is not None
        run_id = kernel.stdout.readline().strip()
        kernel.stdout.close()
        self.kernels.append(kernel)
        return Run(self.own, run_id)


class Pauser:
    """Pauses runs by chance, as people do, and resumes each a moment later."""

    def __init__(self, load: Load, chance: random.Random) -> None:
        self.num_paused = 0
        self._load = load
        self._chance = chance
        self._paused: list[tuple[float, Run]] = []

    def act(self) -> None:
        """Resume those that have rested, and now and then pause another."""
        self._resume(time.monotonic())
        if self._load.asked and self._chance.random() < _PAUSES:
            run = self._chance.choice(self._load.asked[-_MOST_UNFINISHED:]).run
            with suppress(SpecError):  # it is over
                run.pause()
                self.num_paused += 1
                self._paused.append((time.monotonic() + self._chance.uniform(0.0, 2.0), run))

    def end(self) -> None:
        """Resume all of them."""
        self._resume(math.inf)

    def _resume(self, now: float) -> None:
        due = [run for at, run in self._paused if at <= now]
        self._paused = [(at, run) for at, run in self._paused if at > now]
        for run in due:
            with suppress(SpecError):  # it was done before it noticed
                run.resume()


class Killer:
    """Kills, and stops, processes of a workspace by chance."""

    def __init__(self, load: Load, chance: random.Random) -> None:
        self.hits: Counter[tuple[str, str]] = Counter()
        self._load = load
        self._chance = chance

    def hit(self) -> bool:
        """Hit one process; False if there was none to hit."""
        by_role = self._by_role()
        if not by_role:
            return False
        # Whose turn it is: ranks and helpers live for a second, an agent always.
        num_hits = Counter(role for role, _ in self.hits.elements())
        fewest = min(num_hits[role] for role in by_role)
        role = self._chance.choice([r for r in sorted(by_role) if num_hits[r] == fewest])
        victim = self._chance.choice(by_role[role])
        number = self._chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP])
        if role == "client kernel":
            number = signal.SIGKILL  # nobody but its user minds whether it stands still
        try:
            os.kill(victim, number)
        except ProcessLookupError:
            return False
        self.hits[role, number.name] += 1
        return True

    def _by_role(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for process in self._load.own.processes():
            role = _role_of(process)
            if role:
                found.setdefault(role, []).append(process.pid)
        alive = [kernel.pid for kernel in self._load.kernels if kernel.poll() is None]
        return found | ({"client kernel": alive} if alive else {})


def _role_of(process: psutil.Process) -> str:
    try:
        name, command = process.name(), " ".join(process.cmdline())
    except psutil.Error:
        return ""
    roles = {
        "wb-attempt": "attempt", "wb-helper": "helper", "wb-coordinator": "coordinator",
        "wb-zygote": "zygote of attempts", "wb-kernel": "notebook kernel",
    }  # fmt: skip
    if name in roles:
        return roles[name]
    if name.startswith("wb-ranks-"):
        return "zygote of ranks"
    if name.startswith("wb-rank-"):
        return "rank"
    for sign, role in (
        ("workbench.daemon", "daemon"),
        ("workbench.pool.agent", "agent"),
        ("workbench.pool.dask_process scheduler", "Dask scheduler"),
        ("workbench.pool.dask_process worker", "Dask worker"),
    ):
        if sign in command:
            return role
    return ""


@dataclass
class Outcome:
    """What a soak has shown."""

    num_runs: int
    hits: Counter[tuple[str, str]]
    num_paused: int
    num_asked_for_a_person: int
    seconds: float
    calm_seconds: float

    def told(self) -> str:
        """Return the log's last lines."""
        lines = [
            f"{self.num_runs} runs, {sum(self.hits.values())} kills in {self.seconds:.0f} s "
            f"(calm: {self.calm_seconds:.0f} s); {self.num_paused} pauses; "
            f"{self.num_asked_for_a_person} asked for a person once more"
        ]
        lines += [f"  {role}: {name} {n}" for (role, name), n in sorted(self.hits.items())]
        return "\n".join(lines)


def soak(
    start: Callable[[], LiveWorkspace], folder: Path, num_runs: int, num_kills: int,
    chance: random.Random,
) -> Outcome:  # fmt: skip
    """Make the same runs in a calm and in a disturbed workspace, and compare all that was made.

    Raises:
        AssertionError: a run was lost, done twice, or made something else.
    """
    ground = Ground(folder)
    kinds = ground.kinds()
    begun = time.monotonic()
    calm = start()
    ground.prepare(calm)
    expected = _work_calmly(calm, kinds, num_runs)
    calm.down()
    calm_seconds = time.monotonic() - begun
    begun = time.monotonic()
    own = start()
    ground.prepare(own)
    load = Load(own, kinds, chance)
    killer, pauser = Killer(load, chance), Pauser(load, chance)
    number = 0
    while number < num_runs or sum(killer.hits.values()) < num_kills:
        if number < num_runs and load.num_unfinished() < _MOST_UNFINISHED:
            load.submit(number)
            number += 1
        elif number >= num_runs and load.num_unfinished() == 0:
            own.submit(CountSpec(tag=f"{time.time()}", parts=20, seconds=0.1))  # to have victims
        pauser.act()
        if sum(killer.hits.values()) < num_kills:
            time.sleep(chance.uniform(0.0, 2 * _pace(num_runs, num_kills)))
            killer.hit()
    pauser.end()
    num_resumed = sum(_end_of(asked.run) for asked in load.asked)
    for asked in load.asked:
        made = asked.kind.made(asked.run)
        place = f"{asked.kind.name} {asked.number} ({asked.run.run_id})"
        assert made == expected[asked.number], f"{place} made something else"
        _check_once(asked.run, place)
    for artifact in own.artifacts():
        artifact.verify()
    assert own.do(NothingSpec(tag="after all")).kind == "report"
    wait_until(lambda: own.status()["slots_alive"] == own.status()["slots"], "all slots are back")
    for kernel in load.kernels:
        kernel.kill()
        kernel.wait()
    seconds = time.monotonic() - begun
    return Outcome(num_runs, killer.hits, pauser.num_paused, num_resumed, seconds, calm_seconds)


def _pace(num_runs: int, num_kills: int) -> float:
    """Return after how many seconds, on average, the next kill comes: runs take about 2 s each."""
    return min(2.0 * num_runs / max(num_kills, 1), 2.0)


def _work_calmly(own: LiveWorkspace, kinds: list[Kind], num_runs: int) -> list[Made]:
    asked: list[Asked] = []
    for number in range(num_runs):
        wait_until(lambda: own.status()["unfinished_runs"] < _MOST_UNFINISHED, "it gets on", 300)
        kind = kinds[number % len(kinds)]
        asked.append(Asked(kind, number, own.submit(kind.spec(number), workers=kind.workers)))
    for each in asked:
        ended = each.run.wait(_RUN_SECONDS)
        assert ended.state == "succeeded", (each.kind.name, ended.record()["error"])
    return [each.kind.made(each.run) for each in asked]


def _end_of(run: Run) -> int:
    """Wait for a run's end; return how often a person had to ask for it once more."""
    num_asked = 0
    while (record := run.wait(_RUN_SECONDS).record())["state"] != "succeeded":
        told = record["error"]["what"] if record["error"] else ""
        assert record["state"] == "failed", f"{run.run_id} ({record['stage']}): {record['state']}"
        assert any(sign in told for sign in _ASKS), f"{run.run_id} ({record['stage']}): {told}"
        run.resume()
        num_asked += 1
    return num_asked


def _check_once(run: Run, place: str) -> None:
    """See that a run succeeded once, and that no part of it was recorded twice."""
    events = run.events()
    ends = [e for e in events if e["kind"] == "state" and e["payload"].get("state") == "succeeded"]
    assert len(ends) == 1, f"{place} ended {len(ends)} times"
    keys = Counter(e["payload"]["key"] for e in events if e["kind"] == "checkpoint")
    assert max(keys.values(), default=1) == 1, f"{place} recorded a part twice: {keys}"
