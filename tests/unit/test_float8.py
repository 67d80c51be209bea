"""8-bit products, and the devices that trainings ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch  # noqa: TID253 (the layers are tried as they are used)
from tiny_training import build_inputs, write_encoder
from torch import nn  # noqa: TID253

from workbench.core.artifact import Artifact
from workbench.core.errors import ResourceError, SpecError
from workbench.core.laws import FolderRun
from workbench.train.float8 import Float8Linear, use_float8
from workbench.train.train import TrainSpec


def cosine(one: torch.Tensor | None, other: torch.Tensor | None) -> float:
    assert one is not None
    assert other is not None
    flat = [each.detach().float().flatten() for each in (one, other)]
    return float(nn.functional.cosine_similarity(*flat, dim=0))


@pytest.mark.parametrize("shape", [(3, 5, 64), (32, 64), (1, 64)])
def test_a_layer_answers_and_learns_as_in_32_bits_but_for_rounding(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    exact, coarse = nn.Linear(64, 48), nn.Linear(64, 48)
    coarse.load_state_dict(exact.state_dict())
    assert use_float8(nn.Sequential(coarse)) == 1
    given = torch.randn(*shape)
    told = [given.clone().requires_grad_(), given.clone().requires_grad_()]
    wished = torch.randn(*shape[:-1], 48)
    for layer, inputs in zip((exact, coarse), told, strict=True):
        answer = layer(inputs)
        assert answer.shape == wished.shape
        (answer.float() * wished).sum().backward()
    assert cosine(exact(given), coarse(given)) > 0.995
    assert cosine(exact.weight.grad, coarse.weight.grad) > 0.99
    assert cosine(told[0].grad, told[1].grad) > 0.99
    assert cosine(exact.bias.grad, coarse.bias.grad) > 0.999


def test_layers_of_other_sizes_stay_as_they_are_and_names_do_not_change() -> None:
    model = nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 3))
    names = list(model.state_dict())
    assert use_float8(model) == 1
    assert [type(part) for part in model] == [Float8Linear, nn.Linear]
    assert list(model.state_dict()) == names
    assert torch.isfinite(model(torch.zeros(2, 32))).all()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    return build_inputs(tmp_path_factory.mktemp("float8"))


def spec_for(folder: Path, **changes: Any) -> TrainSpec:
    return TrainSpec.parse({
        "dataset": "train", "validation": "check", "model": str(write_encoder(folder / "encoder")),
        "epochs": 4, "batch_size": 16, "learning_rate": 3e-3, "max_tokens": 24, **changes,
    })  # fmt: skip


def test_a_training_in_8_bits_learns_as_much(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    run = FolderRun(tmp_path, inputs, num_workers=2)
    model = run.run(spec_for(tmp_path, precision="fp8", device="cpu"))["model"]
    assert model.summary["macro_recall"] > 0.9
    assert any("layers multiply in 8 bits" in f.get("message", "") for _, f in run.events)


def test_layers_that_are_cut_across_workers_are_refused() -> None:
    with pytest.raises(SpecError, match="cannot multiply in 8 bits"):
        TrainSpec.parse({"dataset": "a", "precision": "fp8", "strategy": "fsdp+tensor"})


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpus_that_are_not_there_are_missed_before_any_worker_starts(
    tmp_path: Path, inputs: dict[str, Artifact]
) -> None:
    with pytest.raises(ResourceError, match="asks for GPUs") as missed:
        FolderRun(tmp_path, inputs).run(spec_for(tmp_path, device="gpu"))
    assert "pool use" in missed.value.next_step
    assert not list(tmp_path.glob("fit-attempt-*/store"))
