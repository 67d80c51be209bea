"""Strategies: however a model lies on the workers, it learns the same."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_training import build_records, sentences, write_encoder

from workbench.core.artifact import Artifact
from workbench.core.errors import RunPaused, SpecError
from workbench.core.laws import FolderRun
from workbench.models.predictor import load_predictor
from workbench.train.options import Kind, Layout
from workbench.train.state import Place, read_place
from workbench.train.strategies.layout import choose_layout
from workbench.train.train import TrainSpec

Inputs = dict[str, Artifact]

# Kinds with the number of workers and of those that hold one copy together.
LAYOUTS: list[tuple[Kind, int, int]] = [
    ("ddp", 2, 1), ("fsdp", 3, 1), ("tensor", 2, 2), ("tensor", 4, 2), ("pipeline", 3, 3),
    ("pipeline", 4, 2), ("fsdp+tensor", 4, 2),
]  # fmt: skip


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an encoder without dropout: which numbers are dropped is up to the layout."""
    return without_dropout(write_encoder(tmp_path_factory.mktemp("strategies") / "encoder"))


def without_dropout(folder: Path) -> Path:
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def inputs(encoder: Path) -> Inputs:
    return {
        "train@latest": build_records(encoder.parent, sentences(100), "train"),
        "check@latest": build_records(encoder.parent, sentences(60, seed=1), "check"),
    }


def spec_for(encoder: Path, **changes: Any) -> TrainSpec:
    values: dict[str, Any] = {
        "dataset": "train", "model": str(encoder), "epochs": 4, "batch_size": 20,
        "learning_rate": 1e-3, "max_tokens": 24, "precision": "float32", "virtual_ranks": 4,
        "checkpoint_seconds": 3600, "validation": "check", "clip_norm": 0.05,
    }  # fmt: skip
    return TrainSpec(**{**values, **changes})


def losses(run: FolderRun) -> list[float]:
    points = {
        facts["step"]: facts["value"]
        for kind, facts in run.events
        if kind == "metric" and facts["name"] == "loss"
    }
    assert sorted(points) == list(range(20))
    return [points[step] for step in sorted(points)]


@pytest.fixture(scope="module")
def single(encoder: Path, inputs: Inputs) -> tuple[FolderRun, Artifact]:
    run = FolderRun(encoder.parent / "single", inputs)
    return run, run.run(spec_for(encoder))["model"]


@pytest.mark.parametrize(("kind", "num_workers", "ways"), LAYOUTS)
def test_a_strategy_gives_the_losses_and_the_model_of_a_single_process(
    encoder: Path, inputs: Inputs, single: tuple[FolderRun, Artifact], tmp_path: Path,
    kind: Kind, num_workers: int, ways: int,
) -> None:  # fmt: skip
    run = FolderRun(tmp_path, inputs, num_workers=num_workers)
    model = run.run(spec_for(encoder, strategy=kind, ways=ways if ways > 1 else None))["model"]
    told = [facts for name, facts in run.events if name == "log" and "strategy" in facts]
    assert [facts["strategy"] for facts in told] == [kind]
    np.testing.assert_allclose(losses(run), losses(single[0]), atol=1e-5)
    assert model.summary == single[1].summary
    texts = [text for text, _ in sentences(40, seed=2)]
    expected, found = (load_predictor(each.path).predict(texts) for each in (single[1], model))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert not list(model.path.glob("model-part-*"))


FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "distilbert": ("DistilBert", {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64,
                                  "dropout": 0.0, "attention_dropout": 0.0,
                                  "seq_classif_dropout": 0.0}),
    "llama": ("Llama", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
                        "num_key_value_heads": 2, "intermediate_size": 64, "pad_token_id": 0}),
    "roberta": ("Roberta", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
                            "intermediate_size": 64, "hidden_dropout_prob": 0.0,
                            "attention_probs_dropout_prob": 0.0}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("family", "kind"), [("distilbert", "tensor"), ("llama", "fsdp"), ("llama", "tensor"),
                         ("roberta", "tensor")],
)  # fmt: skip
def test_each_family_of_models_learns_the_same_when_it_is_cut(
    encoder: Path, inputs: Inputs, tmp_path: Path, family: str, kind: Kind
) -> None:
    import torch
    import transformers

    name, settings = FAMILIES[family]
    size = json.loads((encoder / "config.json").read_text())["vocab_size"]
    config = getattr(transformers, f"{name}Config")(
        vocab_size=size, max_position_embeddings=64, **settings
    )
    other = Path(shutil.copytree(encoder, tmp_path / "other"))
    torch.manual_seed(0)
    getattr(transformers, f"{name}Model")(config).save_pretrained(other)
    found = []
    for number, changes in enumerate(
        [{}, {"strategy": kind, "ways": 2 if kind == "tensor" else None}]
    ):
        run = FolderRun(tmp_path / f"run-{number}", inputs, num_workers=1 + number)
        run.run(spec_for(other, **changes))
        found.append(losses(run))
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)


@pytest.mark.parametrize("kind", ["ddp", "fsdp", "pipeline"])
def test_activations_that_are_computed_again_change_nothing(
    encoder: Path, inputs: Inputs, single: tuple[FolderRun, Artifact], tmp_path: Path, kind: Kind
) -> None:
    run = FolderRun(tmp_path, inputs, num_workers=2)
    run.run(spec_for(encoder, strategy=kind, recompute=True))
    np.testing.assert_allclose(losses(run), losses(single[0]), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "num_workers", "precision"),
    [("ddp", 1, "bf16"), ("ddp", 1, "fp16"), ("fsdp", 2, "fp16"), ("pipeline", 2, "fp16")],
)
def test_half_precision_is_close(
    encoder: Path, inputs: Inputs, single: tuple[FolderRun, Artifact], tmp_path: Path,
    kind: Kind, num_workers: int, precision: str,
) -> None:  # fmt: skip
    run = FolderRun(tmp_path, inputs, num_workers=num_workers)
    run.run(spec_for(encoder, strategy=kind, precision=precision))
    np.testing.assert_allclose(losses(run), losses(single[0]), atol=2e-2)
    assert losses(run) != losses(single[0])


@pytest.mark.slow
def test_a_compiled_model_learns_the_same(inputs: Inputs, tmp_path: Path) -> None:
    encoder = without_dropout(write_encoder(tmp_path / "encoder", num_layers=1))
    runs = [FolderRun(tmp_path / name, inputs) for name in ("plain", "compiled")]
    for run, is_compiled in zip(runs, (False, True), strict=True):
        run.run(spec_for(encoder, compile=is_compiled))
    np.testing.assert_allclose(losses(runs[1]), losses(runs[0]), atol=1e-4)


def test_the_scale_of_the_loss_falls_at_once_and_rises_slowly() -> None:
    place = Place()
    begun = place.loss_scale
    place.adapt_scale(was_taken=False)
    assert place.loss_scale == begun / 2
    for _ in range(1999):
        place.adapt_scale(was_taken=True)
    assert place.loss_scale == begun / 2
    place.adapt_scale(was_taken=True)
    assert place.loss_scale == begun


@pytest.mark.parametrize(
    ("first", "second"),
    [(("ddp", 2, 1), ("fsdp", 3, 1)), (("fsdp+tensor", 4, 2), ("pipeline", 3, 3)),
     (("pipeline", 2, 2), ("ddp", 1, 1)), (("tensor", 2, 2), ("fsdp", 2, 1))],
)  # fmt: skip
def test_a_training_goes_on_in_another_layout_from_the_same_checkpoint(
    encoder: Path, inputs: Inputs, single: tuple[FolderRun, Artifact], tmp_path: Path,
    first: tuple[Kind, int, int], second: tuple[Kind, int, int],
) -> None:  # fmt: skip
    run = FolderRun(tmp_path, inputs, num_workers=first[1], pause_after=2)
    with pytest.raises(RunPaused):
        run.run(spec_for(encoder, strategy=first[0], ways=first[2], checkpoint_seconds=0))
    at = max(step for step in (f["step"] for k, f in run.events if k == "metric") if step)
    assert 1 <= at < 15
    run.pause_after, run.num_workers = None, second[1]
    run.slots = [f"here/{number}" for number in range(second[1])]
    run.run(spec_for(encoder, strategy=second[0], ways=second[2], checkpoint_seconds=0))
    np.testing.assert_allclose(losses(run), losses(single[0]), atol=1e-5)


def test_torch_reads_a_checkpoint_as_one_of_its_own(
    encoder: Path, inputs: Inputs, tmp_path: Path
) -> None:
    import torch
    import torch.distributed.checkpoint as dcp

    run = FolderRun(tmp_path, inputs, num_workers=2)
    run.run(spec_for(encoder, strategy="fsdp", validation=None, epochs=1, checkpoint_seconds=0))
    newest = run.checkpoints()["step-0000000005-000000"]
    assert len(list(newest.glob("rank-*.safetensors"))) == 2
    name = "bert.embeddings.word_embeddings.weight"
    vocabulary = json.loads((encoder / "config.json").read_text())["vocab_size"]
    state = {name: torch.zeros(vocabulary, 32)}
    with pytest.warns(UserWarning, match="load in a single process"):
        dcp.load(state, storage_reader=dcp.HuggingFaceStorageReader(str(newest)), no_dist=True)
    from safetensors.torch import load_file

    parts = [load_file(path)[name] for path in sorted(newest.glob("rank-*.safetensors"))]
    torch.testing.assert_close(state[name], torch.cat(parts), atol=0, rtol=0)


def test_a_cut_off_checkpoint_is_left_and_one_of_another_model_is_named(
    encoder: Path, inputs: Inputs, tmp_path: Path
) -> None:
    run = FolderRun(tmp_path, inputs, pause_after=2)
    spec = spec_for(encoder, checkpoint_seconds=0, validation=None)
    with pytest.raises(RunPaused):
        run.run(spec)
    run.pause_after = None
    newest = sorted(f for k, f in run.checkpoints().items() if k.startswith("step-"))[-1]
    (shard,) = newest.glob("rank-*.safetensors")
    num_steps = read_place(newest).step
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    run.run(spec)
    told = [facts["message"] for kind, facts in run.events if kind == "log"]
    assert any("is cut off" in message and "before it is used" in message for message in told)
    again = [facts["step"] for kind, facts in run.events if kind == "metric"].count(num_steps - 1)
    assert again == 2, "the step before it is made again, and none of the others"
    assert losses(run)
    other = shutil.copytree(encoder, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(**{**config, "intermediate_size": 48})).save_pretrained(other)
    with pytest.raises(Exception, match=r"is of another architecture: .* 64 x 32"):
        run.run(spec_for(other, checkpoint_seconds=0, validation=None))


# --- choosing --------------------------------------------------------------------------------

CONFIG = {"model_type": "bert", "num_attention_heads": 12, "intermediate_size": 1536,
          "num_hidden_layers": 6}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "num_workers", "layout"),
    [
        ({}, 1, Layout(kind="ddp", world=1)),
        ({}, 8, Layout(kind="ddp", world=2)),  # 32 records are two pieces
        ({"strategy": "tensor"}, 4, Layout(kind="tensor", world=4, ways=4)),
        ({"strategy": "tensor"}, 5, Layout(kind="tensor", world=4, ways=4)),
        ({"strategy": "tensor", "ways": 2}, 5, Layout(kind="tensor", world=4, ways=2)),
        ({"strategy": "pipeline"}, 8, Layout(kind="pipeline", world=6, ways=6)),
        ({"strategy": "fsdp+tensor"}, 4, Layout(kind="fsdp+tensor", world=4, ways=2)),
        ({"strategy": "fsdp+tensor"}, 1, Layout(kind="fsdp+tensor", world=1, ways=1)),
    ],
)
def test_a_layout_uses_the_workers_that_there_are(
    changes: dict[str, Any], num_workers: int, layout: Layout
) -> None:
    options = TrainSpec(dataset="x", **changes)
    assert choose_layout(options, CONFIG, num_workers, 10**6, 1e12) == layout


def test_what_does_not_fit_is_sharded_unless_each_bit_counts() -> None:
    kinds = [
        choose_layout(TrainSpec(dataset="x", **changes), CONFIG, 2, 10**9, 16e9).kind
        for changes in ({}, {"exact": True}, {"strategy": "ddp"})
    ]
    assert kinds == ["fsdp", "ddp", "ddp"]
    unknown = choose_layout(TrainSpec(dataset="x"), {"model_type": "t5"}, 2, 10**9, 16e9)
    assert unknown.kind == "ddp"


@pytest.mark.parametrize(
    ("changes", "config", "said"),
    [
        ({"strategy": "tensor", "ways": 5}, CONFIG, "12 attention heads"),
        ({"strategy": "pipeline", "ways": 7}, CONFIG, "6 layers cannot be cut into 7 stages"),
        ({"strategy": "tensor"}, {"model_type": "t5"}, "'t5' cannot be cut"),
        ({"strategy": "fsdp"}, {"model_type": "t5"}, "'t5' cannot be cut"),
        ({"strategy": "pipeline"}, {"model_type": "llama"}, "'llama' cannot be cut into stages"),
    ],
)
def test_a_strategy_that_does_not_suit_the_model_is_refused(
    changes: dict[str, Any], config: dict[str, Any], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        choose_layout(TrainSpec(dataset="x", **changes), config, 8, 10**6, 1e12)


def test_exact_and_a_strategy_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="only the strategy ddp sums in a fixed order"):
        TrainSpec(dataset="x", exact=True, strategy="fsdp")
