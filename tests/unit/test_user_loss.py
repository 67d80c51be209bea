"""Losses of a notebook cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch  # noqa: TID253 (losses of a cell use it so)
from tiny_training import build_inputs, write_encoder

import workbench as wb
from workbench.core.artifact import Artifact
from workbench.core.errors import SpecError, StageError
from workbench.core.laws import FolderRun
from workbench.train.rank import is_out_of_memory
from workbench.train.train import TrainSpec
from workbench.train.user_loss import UserLoss, loss

Inputs = dict[str, Artifact]


@loss
def plain(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none")


@wb.loss
def focal(logits: torch.Tensor, labels: torch.Tensor, gamma: float = 2.0) -> torch.Tensor:
    log_p = torch.log_softmax(logits, -1).gather(1, labels[:, None])[:, 0]
    return -((1 - log_p.exp()) ** gamma) * log_p


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("loss") / "encoder")


@pytest.fixture(scope="module")
def inputs(encoder: Path) -> Inputs:
    return build_inputs(encoder.parent)


def trained(
    encoder: Path, inputs: Inputs, folder: Path, own: UserLoss | None, **changes: Any
) -> tuple[list[float], Artifact]:
    run = FolderRun(folder, inputs, num_workers=2)
    spec = TrainSpec(
        dataset="train", validation="check", model=str(encoder), epochs=4, batch_size=16,
        learning_rate=3e-3, max_tokens=24, precision="float32", loss=own, **changes,
    )  # fmt: skip
    model = run.run(spec)["model"]
    curve = [f["value"] for k, f in run.events if k == "metric" and f["name"] == "loss"]
    return curve, model


def test_an_own_cross_entropy_is_the_usual_one(
    encoder: Path, inputs: Inputs, tmp_path: Path
) -> None:
    usual, _ = trained(encoder, inputs, tmp_path / "usual", None)
    own, _ = trained(encoder, inputs, tmp_path / "own", plain)
    np.testing.assert_allclose(own, usual, atol=1e-6)


def test_a_loss_with_a_setting_trains(encoder: Path, inputs: Inputs, tmp_path: Path) -> None:
    strong, model = trained(encoder, inputs, tmp_path / "strong", focal)
    weak, _ = trained(encoder, inputs, tmp_path / "weak", focal.set(gamma=0.5))
    assert strong[0] < weak[0]
    assert model.summary["macro_recall"] > 0.85


def test_it_is_part_of_the_spec_and_comes_back_from_it() -> None:
    spec = TrainSpec(dataset="x", loss=focal.set(gamma=1.0))
    again = TrainSpec.parse(spec.model_dump(mode="json"))
    assert again == spec
    assert again.loss is not None
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    torch.testing.assert_close(again.loss(logits, labels), focal.set(gamma=1.0)(logits, labels))
    assert spec.canonical_json() != TrainSpec(dataset="x", loss=focal).canonical_json()


def test_what_is_no_loss_is_refused() -> None:
    with pytest.raises(SpecError, match="no parameter 'gama'") as caught:
        focal.set(gama=1.0)
    assert "gamma" in caught.value.next_step
    with pytest.raises(SpecError, match="is no loss"):

        @loss
        def of_nothing(logits: torch.Tensor) -> torch.Tensor:
            return logits

    with pytest.raises(SpecError, match="needs a default for 'gamma'"):

        @loss
        def without_default(
            logits: torch.Tensor, labels: torch.Tensor, gamma: float
        ) -> torch.Tensor:
            return logits[labels] * gamma


@loss
def mean_of_all(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, labels)


@loss
def broken(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return logits[labels + 99][:, 0]


@pytest.mark.parametrize(
    ("own", "said"), [(mean_of_all, "not one number for each"), (broken, "IndexError")]
)
def test_a_loss_that_fails_is_named(
    encoder: Path, inputs: Inputs, tmp_path: Path, own: UserLoss, said: str
) -> None:
    with pytest.raises(StageError, match=said) as caught:
        trained(encoder, inputs, tmp_path, own)
    assert caught.value.where == f"loss {own.name}"


@wb.loss
def hungry(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return torch.empty(1 << 50)


def test_too_little_memory_is_left_to_the_training_that_heals_from_it() -> None:
    with pytest.raises(RuntimeError, match="memory") as raised:
        hungry(torch.randn(2, 2), torch.tensor([0, 1]))
    assert is_out_of_memory(raised.value)


@loss
def steep(logits: torch.Tensor, labels: torch.Tensor, flag: str = "") -> torch.Tensor:
    from pathlib import Path

    found = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    with Path(flag).open("ab") as calls:  # of all attempts
        calls.write(b".")
        is_tenth = calls.tell() == 10
    if is_tenth:
        found = found + torch.sqrt(logits[:, 0] * 0)  # adds nothing; its gradient is no number
    return found


@pytest.mark.parametrize("checkpoint_seconds", [0, 3600])
def test_a_gradient_that_is_no_number_is_taken_back_and_its_batch_left_out(
    encoder: Path, inputs: Inputs, tmp_path: Path, checkpoint_seconds: float
) -> None:
    run = FolderRun(tmp_path / "run", inputs)
    own = steep.set(flag=str(tmp_path / "flag"))
    spec = TrainSpec(
        dataset="train", validation="check", model=str(encoder), epochs=4, batch_size=16,
        learning_rate=3e-3, max_tokens=24, precision="float32", loss=own, virtual_ranks=1,
        checkpoint_seconds=checkpoint_seconds,
    )  # fmt: skip
    model = run.run(spec)["model"]
    told = [facts for kind, facts in run.events
            if kind == "log" and "without the batch" in facts["message"]]  # fmt: skip
    assert [facts["step"] for facts in told] == [9]
    assert told[0]["message"].startswith("The gradient of step 9 was no number")
    curve = [f for k, f in run.events if k == "metric" and f["name"] == "loss"]
    assert all(np.isfinite(f["value"]) for f in curve)
    starts = [f["step"] for k, f in run.events if k == "log" and "ready_seconds" in f]
    assert starts[0] == 0
    # A checkpoint is left out while the one before is still being written.
    assert 0 < starts[1] <= 9 if checkpoint_seconds == 0 else starts[1] < 9, "from before that step"
    assert model.summary["macro_recall"] > 0.8
