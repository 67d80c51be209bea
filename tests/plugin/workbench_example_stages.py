"""A third party's stages: found by entry point, like the shipped ones, and used by the tests."""

import ctypes
import errno
import math
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from workbench.core.artifact import MANIFEST, Draft
from workbench.core.context import Outputs, RunContext
from workbench.core.errors import DataError, SpecError
from workbench.core.registry import stage
from workbench.core.spec import ArtifactName, LocalPath, Spec, option
from workbench.data.records import SCHEMA, write_partition
from workbench.workspace import Workspace


class NothingSpec(Spec):
    tag: str = option("", title="Tag", help="Tells one run from another.")


class NothingOutputs(Outputs):
    report: Draft


@stage(title="Do nothing")
def nothing(spec: NothingSpec, run: RunContext) -> NothingOutputs:
    """Write one small file and end."""
    draft = run.save("report", "nothing")
    (draft.path / "tag.txt").write_text(spec.tag)
    return NothingOutputs(report=draft)


class WidthSpec(Spec):
    tag: str = option("", title="Tag", help="Tells one run from another.")


@stage(title="Width", fingerprint=lambda spec: None)
def width(spec: WidthSpec, run: RunContext) -> NothingOutputs:
    """Write down how many workers the run was given."""
    draft = run.save("report", "width")
    (draft.path / "width.txt").write_text(str(run.num_workers))
    return NothingOutputs(report=draft)


class CountSpec(Spec):
    tag: str = option("", title="Tag", help="Tells one run from another.")
    parts: int = option(20, title="Parts", help="Durable parts.", unit="parts", ge=1)
    seconds: float = option(0.02, title="Seconds", help="Time for a part.", unit="s", ge=0)
    diary: str = option("", title="Diary", help="File that gets one line for each part done.")


class CountOutputs(Outputs):
    numbers: Draft


@stage(title="Count")
def count(spec: CountSpec, run: RunContext) -> CountOutputs:
    """Write one number a part, each part durable."""
    for number in range(spec.parts):

        def write(folder: Path, number: int = number) -> None:
            time.sleep(spec.seconds)
            (folder / "number.txt").write_text(f"{number * number}\n")
            if spec.diary:
                with Path(spec.diary).open("a") as diary:
                    diary.write(f"{number}\n")

        run.checkpoint(f"part-{number:03d}", write)
        run.metric("square", number * number, step=number)
        run.progress(number + 1, spec.parts, "parts")
        run.stop_if_asked()
    draft = run.save("dataset", "numbers")
    parts = run.checkpoints()
    text = "".join((parts[key] / "number.txt").read_text() for key in sorted(parts))
    (draft.path / "numbers.txt").write_text(text + spec.tag)
    run.count_rows(read=spec.parts, written=spec.parts)
    return CountOutputs(numbers=draft)


class ClimbSpec(Spec):
    height: float = option(0.5, title="Height", help="Where the curve goes.", ge=0, le=1)
    slope: int = option(3, title="Slope", help="How fast; 13 fails, 14 draws nothing.", ge=1, le=20)
    steps: int = option(9, title="Steps", help="Points of the curve.", unit="steps", ge=1)
    seconds: float = option(0.05, title="Seconds", help="Time for a step.", unit="s", ge=0)
    diary: str = option("", title="Diary", help="File that gets a line for each step.")


class ClimbOutputs(Outputs):
    report: Draft


@stage(title="Climb")
def climb(spec: ClimbSpec, run: RunContext) -> ClimbOutputs:
    """Draw a curve that rises towards a height; each step is durable."""
    if spec.slope == 13:
        raise DataError("Thirteen is bad luck", where="slope", next_step="Take another.")
    for step in range(1, spec.steps + 1):

        def write(folder: Path, step: int = step) -> None:
            time.sleep(spec.seconds)
            if spec.diary:
                with Path(spec.diary).open("a") as diary:
                    diary.write(f"{spec.height:.6f}/{spec.slope}/{step}\n")

        if f"step-{step:03d}" not in run.checkpoints():
            run.checkpoint(f"step-{step:03d}", write)
        reached = spec.height * (1 - 2.0 ** (-spec.slope * step / 4))
        run.metric("reached", math.nan if spec.slope == 14 else reached, step)
        run.stop_if_asked()
    draft = run.save("report", "climb")
    (draft.path / "height.txt").write_text(f"{spec.height!r} {spec.slope}")
    draft.describe(height=spec.height, cost=spec.slope)
    return ClimbOutputs(report=draft)


class SpreadSpec(Spec):
    tag: str = option("", title="Tag", help="Tells one run from another.")
    parts: int = option(20, title="Parts", help="Durable parts.", unit="parts", ge=1)
    seconds: float = option(0.02, title="Seconds", help="Time for a part.", unit="s", ge=0)
    bad_part: int = option(-1, title="Bad part", help="The part that fails; -1: none.", ge=-1)
    poison: int = option(-1, title="Poison", help="The part that kills; -1: none.", ge=-1)
    antidote: str = option("", title="Antidote", help="A file that keeps it from killing.")
    diary: str = option("", title="Diary", help="File that gets a line for each part: its worker.")


class SpreadOutputs(Outputs):
    numbers: Draft


@stage(title="Spread")
def spread(spec: SpreadSpec, run: RunContext) -> SpreadOutputs:
    """Write one number a part, on all workers of the run."""
    parts = {f"part-{n:03d}": [n, spec.model_dump()] for n in range(spec.parts)}
    folders = run.checkpoint_each(parts, write_number, "parts")
    draft = run.save("dataset", "spread-numbers")
    text = "".join((folder / "number.txt").read_text() for folder in folders)
    (draft.path / "numbers.txt").write_text(text + spec.tag)
    return SpreadOutputs(numbers=draft)


def write_number(folder: Path, value: list) -> None:
    number, settings = value
    time.sleep(settings["seconds"])
    if number == settings["bad_part"]:
        raise DataError(f"Part {number} is bad", where=f"part {number}", next_step="Mend it.")
    if number == settings["poison"] and not Path(settings["antidote"]).is_file():
        os.kill(os.getpid(), signal.SIGSEGV)
    (folder / "number.txt").write_text(f"{number * number}\n")
    if settings["diary"]:
        with Path(settings["diary"]).open("a") as diary:
            diary.write(f"{os.getpid()} {number}\n")


class PatchworkSpec(Spec):
    partitions: int = option(20, title="Partitions", help="How many.", ge=1)
    rows: int = option(60, title="Rows", help="Records of a partition.", ge=1)


class PatchworkOutputs(Outputs):
    dataset: Draft


@stage(title="Patchwork")
def patchwork(spec: PatchworkSpec, run: RunContext) -> PatchworkOutputs:
    """Make records in many small partitions: clean ones, dirty ones, and near-duplicates."""
    chance = random.Random(7)
    words = [f"{a}{b}" for a in ("ka", "lo", "mi", "ru", "tse") for b in ("bat", "den", "fos")]
    draft = run.save("dataset", "patchwork")
    texts: list[str] = []
    for number in range(spec.partitions):
        for _ in range(spec.rows):
            text = " ".join(chance.choices(words, k=chance.randint(1, 40)))
            kind = chance.randrange(5)
            if kind == 0 and texts:  # near some earlier text, mostly of another partition
                text = chance.choice(texts) + chance.choice(["", " again"])
            elif kind == 1:
                text = f"<p>{text}</p> &amp; mail a.b@example.org"
            texts.append(text)
        mine = range(number * spec.rows, (number + 1) * spec.rows)
        table = pa.table(
            {
                "id": [f"r{row:06d}" for row in mine],
                "text": [texts[row] for row in mine],
                "label": pa.nulls(spec.rows, pa.string()),
                "label_scheme": pa.nulls(spec.rows, pa.string()),
                "source": ["patches"] * spec.rows,
                "language": ["en"] * spec.rows,
                "provenance": [f"patches#{row}" for row in mine],
                "extra": pa.nulls(spec.rows, pa.string()),
            },
            schema=SCHEMA,
        )
        write_partition(draft.path / f"part-{number:05d}.parquet", table)
    return PatchworkOutputs(dataset=draft)


class FailSpec(Spec):
    how: str = option("data", title="How", help="A family, or a way in which a process goes wrong.")
    tag: str = option("", title="Tag", help="Tells one run from another.")


class FailOutputs(Outputs):
    report: Draft


@stage(title="Fail", fingerprint=lambda spec: None)
def fail(spec: FailSpec, run: RunContext) -> FailOutputs:
    """Fail in the way asked for."""
    run.log("about to fail", how=spec.how)
    match spec.how:
        case "spec":
            raise SpecError("The label is not in the scheme", where="label")
        case "data":
            raise DataError("The table is not there", where="sqlite:///x.db", next_step="Name one.")
        case "disk":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/full/disk/part-0.parquet")
        case "memory":
            raise MemoryError
        case "leave":  # as a command line's parser does inside of a library
            sys.exit(2)
        case "exit":
            os._exit(7)
        case "hang":
            time.sleep(3_600)
        case "hang in native code":
            ctypes.PyDLL(None).sleep(3_600)  # the interpreter's lock is held: no thread gets on
        case "object in the log":
            run.log("this is no plain value", thing=object())
        case "empty":
            return FailOutputs(report=run.save("report", "empty"))
    raise ZeroDivisionError("a mistake in the stage")


class FillSpec(Spec):
    parts: int = option(16, title="Parts", help="Durable parts.", unit="parts", ge=1)
    kilobytes: int = option(1_024, title="Size", help="Of each part.", unit="kB", ge=1)


class FillOutputs(Outputs):
    numbers: Draft


@stage(title="Fill")
def fill(spec: FillSpec, run: RunContext) -> FillOutputs:
    """Write parts of a given size, each durable, and their sizes as the result."""
    for number in range(spec.parts):

        def write(folder: Path, number: int = number) -> None:
            (folder / "bytes").write_bytes(bytes([number % 256]) * 1_024 * spec.kilobytes)

        run.checkpoint(f"part-{number:03d}", write)
        run.stop_if_asked()
    draft = run.save("dataset", "filled")
    run.log("filled", parts=np.int64(spec.parts))
    draft.describe(megabytes=np.float32(spec.parts * spec.kilobytes / 1_024))
    sizes = [str((path / "bytes").stat().st_size) for path in run.checkpoints().values()]
    (draft.path / "sizes.txt").write_text("\n".join(sizes))
    return FillOutputs(numbers=draft)


class AdoptSpec(Spec):
    folder: LocalPath = option(title="Folder", help="Its files become the artifact.")
    kind: str = option("model", title="Kind", help="Kind of artifact.")
    name: ArtifactName = option("adopted", title="Name", help="Name of the artifact.")


class AdoptOutputs(Outputs):
    adopted: Draft


@stage(title="Adopt", fingerprint=lambda spec: None)
def adopt(spec: AdoptSpec, run: RunContext) -> AdoptOutputs:
    """Make an artifact of files that are there already."""
    draft = run.save(spec.kind, spec.name)
    shutil.copytree(
        spec.folder, draft.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST)
    )
    return AdoptOutputs(adopted=draft)


class NestSpec(Spec):
    depth: int = option(2, title="Depth", help="Coordinators in coordinators.", unit="", ge=0)
    parts: int = option(5, title="Parts", help="Parts of the innermost run.", unit="parts", ge=1)
    seconds: float = option(0.02, title="Seconds", help="Time for a part.", unit="s", ge=0)
    diary: str = option("", title="Diary", help="File that gets one line for each part done.")


@stage(title="Nest", coordinator=True)
def nest(spec: NestSpec, run: RunContext) -> NothingOutputs:
    """Wait for a child run, which may wait for its own."""
    workspace = Workspace()
    if spec.depth:
        child = workspace.submit(spec.model_copy(update={"depth": spec.depth - 1}))
    else:
        child = workspace.submit(
            CountSpec(parts=spec.parts, seconds=spec.seconds, diary=spec.diary, tag="nested")
        )
    made = next(iter(child.wait().outputs().values()))
    draft = run.save("report", "nest")
    (draft.path / "made.txt").write_text(made.version)
    return NothingOutputs(report=draft)


class TwinsSpec(Spec):
    tag: str = option("", title="Tag", help="Tells one run from another.")


@stage(title="Twins", coordinator=True)
def twins(spec: TwinsSpec, run: RunContext) -> NothingOutputs:
    """Ask for the same child twice before it is done, and note which runs answered."""
    workspace = Workspace()
    child = CountSpec(tag=spec.tag, parts=10)
    runs = [workspace.submit(child) for _ in range(2)]
    for each in runs:
        each.wait()
    draft = run.save("report", "twins")
    (draft.path / "runs.txt").write_text("\n".join(each.run_id for each in runs))
    return NothingOutputs(report=draft)
