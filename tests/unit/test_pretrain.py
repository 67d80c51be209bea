"""Language models: what they learn, from scratch and further, and what is made on top of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import build_records, sentences, write_encoder

from workbench.core.artifact import Artifact
from workbench.core.errors import DataError
from workbench.core.laws import FolderRun, StageLaws
from workbench.core.spec import Spec
from workbench.models.folder import TOKENIZER, read_json, write_json
from workbench.models.new_tokenizer import add_words, new_words, train_tokenizer
from workbench.models.text_encoder import TextEncoder
from workbench.train.language_modelling import Masks, next_tokens
from workbench.train.pretrain import PretrainSpec
from workbench.train.train import TrainSpec

Inputs = dict[str, Artifact]
SMALL = {"layers": 2, "width": 32, "heads": 2, "inner": 64}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("pretrain")
    return {
        "corpus@latest": build_records(folder, sentences(300), "corpus"),
        "check@latest": build_records(folder, sentences(60, seed=1), "check"),
    }


def spec_for(**changes: Any) -> PretrainSpec:
    values: dict[str, Any] = {
        "datasets": ["corpus"], "validation": "check", "architecture": SMALL, "vocabulary": 200,
        "max_tokens": 32, "epochs": 6, "batch_size": 12, "virtual_ranks": 3, "precision": "float32",
        "learning_rate": 3e-3, "checkpoint_seconds": 3600,
    }  # fmt: skip
    return PretrainSpec(**{**values, **changes})


def losses(run: FolderRun) -> list[float]:
    return [f["value"] for k, f in run.events if k == "metric" and f["name"] == "loss"]


@pytest.fixture(scope="module")
def masked(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> tuple[FolderRun, Artifact]:
    run = FolderRun(tmp_path_factory.mktemp("masked"), inputs)
    return run, run.run(spec_for())["model"]


def test_a_masked_model_from_scratch_learns_and_opens_anywhere(
    masked: tuple[FolderRun, Artifact],
) -> None:
    from transformers import AutoModelForMaskedLM

    run, model = masked
    curve = [f["value"] for k, f in run.events if k == "metric" and f["name"] == "perplexity"]
    assert len(curve) == 6
    assert min(curve) < 0.7 * curve[0]
    assert model.summary["perplexity"] == pytest.approx(min(curve), abs=1e-3)
    assert model.summary["task"] == "masked"
    stock = AutoModelForMaskedLM.from_pretrained(model.path)
    words = stock.get_input_embeddings().weight
    assert stock.get_output_embeddings().weight.data_ptr() == words.data_ptr()
    assert len(words) == model.summary["vocabulary"]


def test_a_classifier_is_trained_on_top_of_it(
    masked: tuple[FolderRun, Artifact], inputs: Inputs, tmp_path: Path
) -> None:
    run = FolderRun(tmp_path, {**inputs, "lm@latest": masked[1]})
    model = run.run(TrainSpec(
        dataset="corpus", validation="check", model="lm@latest", epochs=4, batch_size=16,
        learning_rate=3e-3, max_tokens=24, precision="float32",
    ))["model"]  # fmt: skip
    assert model.summary["macro_recall"] > 0.9


def test_a_causal_model_learns_to_tell_the_next_token(inputs: Inputs, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    run = FolderRun(tmp_path, inputs, num_workers=2)
    model = run.run(spec_for(objective="causal", pack=False))["model"]
    assert losses(run)[-1] < 0.8 * losses(run)[0]
    assert AutoModelForCausalLM.from_pretrained(model.path).config.model_type == "llama"


def test_a_model_whose_answers_have_weights_of_their_own_goes_on(
    inputs: Inputs, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, LlamaConfig

    from workbench.models.checkpoint import quiet_transformers

    folder = write_encoder(tmp_path / "untied")  # for its tokenizer
    size = read_json(folder / "config.json")["vocab_size"]
    config = LlamaConfig(
        vocab_size=size, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, tie_word_embeddings=False, pad_token_id=0,
    )  # fmt: skip
    (folder / "model.safetensors").unlink()
    with quiet_transformers():
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    curves = []
    for workers in (1, 2):
        run = FolderRun(tmp_path / str(workers), inputs, num_workers=workers)
        model = run.run(spec_for(model=str(folder), objective="causal", epochs=3))["model"]
        curves.append(losses(run))
    assert curves[0][-1] < curves[0][0]
    np.testing.assert_allclose(curves[1], curves[0], atol=1e-4)
    stock = AutoModelForCausalLM.from_pretrained(model.path)
    words, answers = stock.get_input_embeddings().weight, stock.get_output_embeddings().weight
    assert words.data_ptr() != answers.data_ptr()


@pytest.mark.parametrize(
    ("num_workers", "changes"),
    [(2, {}), (2, {"strategy": "fsdp"}), (2, {"strategy": "tensor"}), (3, {"exact": True})],
)
def test_however_it_lies_on_the_workers_it_learns_the_same(
    masked: tuple[FolderRun, Artifact], inputs: Inputs, tmp_path: Path, num_workers: int,
    changes: dict[str, Any],
) -> None:  # fmt: skip
    calm = {"validation": None, "epochs": 1}

    def of(name: str, workers: int, **more: Any) -> list[float]:
        run = FolderRun(tmp_path / name, inputs, num_workers=workers)
        start = run.checkpoint("start", lambda folder: None)
        start.rmdir()
        source = masked[0].checkpoints()["start"]
        start.symlink_to(_without_dropout(source, tmp_path / f"{name}-start"))
        run.run(spec_for(**{**calm, **more}))
        return losses(run)

    found, expected = of("other", num_workers, **changes), of("single", 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def _without_dropout(source: Path, target: Path) -> Path:
    import shutil

    shutil.copytree(source, target)
    config = read_json(target / "config.json")
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    write_json(target / "config.json", config)
    return target


# --- further ---------------------------------------------------------------------------------


def test_words_that_were_known_in_parts_are_known_whole_and_begin_as_their_mean(
    tmp_path: Path, inputs: Inputs
) -> None:
    from transformers import AutoModel

    encoder = write_encoder(tmp_path / "encoder")
    rows = [(f"the filmday of {text} is filmday", None) for text, _ in sentences(40)]
    corpus = build_records(tmp_path, rows, "beer", scheme=None)
    run = FolderRun(tmp_path / "run", {**inputs, "beer@latest": corpus})
    model = run.run(spec_for(
        datasets=["beer"], validation=None, model=str(encoder), new_words=1, epochs=1,
        learning_rate=1e-9, weight_decay=0.0, max_tokens=24,
    ))["model"]  # fmt: skip
    before, after = TextEncoder(encoder, 32), TextEncoder(model.path, 32)
    (old,), (new,) = (e.encode(["the filmday of the film"]) for e in (before, after))
    assert len(new) < len(old)
    (plain_old,), (plain_new,) = (e.encode(["the film was fine"]) for e in (before, after))
    assert plain_old.tolist() == plain_new.tolist()
    words = AutoModel.from_pretrained(model.path).get_input_embeddings().weight
    known = AutoModel.from_pretrained(encoder).get_input_embeddings().weight
    (parts,) = before.encode(["filmday"])
    expected = known[parts[1:-1].tolist()].mean(0)
    np.testing.assert_allclose(words[-1].detach().numpy(), expected.detach().numpy(), atol=1e-6)


def test_new_words_are_those_that_shorten_texts_the_most(tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path / "encoder")
    texts = [*["quixotic zymurgy"] * 6, *["quixotic"] * 3, "rare", "the film"]
    assert new_words(texts, encoder, 10) == ["quixotic", "zymurgy"]
    assert new_words(texts, encoder, 1) == ["quixotic"]  # which is not known at all
    (tmp_path / "more").mkdir()
    parts = add_words(encoder, tmp_path / "more", ["quixotic"])
    assert parts == [TextEncoder(encoder, 32).encode(["quixotic"])[0][1:-1].tolist()]
    assert (tmp_path / "more" / TOKENIZER).exists()


def test_the_same_texts_give_the_same_tokenizer_also_of_chinese(tmp_path: Path) -> None:
    texts = [
        *[text for text, _ in sentences(200)],
        *["我们今天看了电影。", "今天我们不看电影！"] * 9,
    ]
    found = []
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        train_tokenizer(iter(texts), folder, 300, 64)
        found.append((folder / TOKENIZER).read_bytes())
    assert len(set(found)) == 1
    write_json(tmp_path / "0" / "config.json", {"pad_token_id": 0})
    (ids,) = TextEncoder(tmp_path / "0", 64).encode(["今天我们看电影。"])
    assert len(ids) < 8  # fewer than characters
    assert 1 not in ids  # all of them are known


# --- what is to be told ----------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_masks_are_a_pure_function_and_spare_special_tokens(row: int, step: int) -> None:
    tokenizer = _tokenizer_file()
    masks = Masks(tokenizer, 0.3, 100, seed=1)
    ids = np.random.default_rng(0).integers(5, 100, (4, 40))
    ids[:, 0], ids[:, -5:] = 2, 0
    told = masks.choose(ids, np.array([row]), step)
    again = masks.choose(ids, np.array([row]), step)
    assert np.array_equal(told.shown, again.shown)
    assert np.array_equal(ids.reshape(-1)[told.positions], told.targets)
    assert not np.isin(told.targets, [0, 2]).any()
    others = np.setdiff1d(np.arange(ids.size), told.positions)
    assert np.array_equal(told.shown.reshape(-1)[others], ids.reshape(-1)[others])


def test_masks_have_the_shares_that_were_asked_for() -> None:
    ids = np.full((100, 100), 7)
    told = Masks(_tokenizer_file(), 0.15, 100, seed=0).choose(ids, np.array([3]), 5)
    assert len(told.targets) / ids.size == pytest.approx(0.15, abs=0.01)
    seen = told.shown.reshape(-1)[told.positions]
    assert (seen == 4).mean() == pytest.approx(0.8, abs=0.03)
    assert (seen == 7).mean() == pytest.approx(0.1, abs=0.03)


def test_after_each_token_the_next_is_told_but_for_padding() -> None:
    ids = np.array([[5, 6, 7], [8, 9, 0]])
    told = next_tokens(ids, (ids > 0).astype(np.int64))
    assert told.positions.tolist() == [0, 1, 3]
    assert told.targets.tolist() == [6, 7, 9]


def _tokenizer_file() -> Path:
    import tempfile

    path = Path(tempfile.mkdtemp()) / TOKENIZER
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    write_json(path, {"added_tokens": [
        {"id": number, "content": name, "special": True} for number, name in enumerate(names)
    ]})  # fmt: skip
    return path


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="share their words"):
        spec_for(strategy="pipeline")
    empty = build_records(tmp_path, [("", None)], "empty", scheme=None)
    with pytest.raises(DataError, match="holds no text"):
        FolderRun(tmp_path / "run", {"empty@latest": empty}).run(
            spec_for(datasets=["empty"], validation=None)
        )


class TestPretrain(StageLaws):
    def example(self, folder: Path) -> tuple[Spec, dict[str, Artifact]]:
        inputs = {
            "corpus@latest": build_records(folder, sentences(60), "corpus"),
            "check@latest": build_records(folder, sentences(30, seed=1), "check"),
        }
        return spec_for(epochs=2, checkpoint_seconds=0), inputs
