"""What a transform makes of records: tokens, packed sequences, features, and how they open."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from data_sets import data_set
from tiny_training import sentences, texts_of, write_encoder

from widgets.form_model import new_form
from widgets.form_presenter import present
from workbench.core.artifact import Artifact, hash_file
from workbench.core.errors import DataError, SpecError
from workbench.core.laws import FolderRun
from workbench.data.records import read_records
from workbench.data.transform.options import TransformSpec
from workbench.data.transform.shards import Shards, open_shards
from workbench.data.transform.tfidf import TfIdf
from workbench.models.text_encoder import TextEncoder

TEXTS = [*texts_of(sentences(60)), "", "a film film film", "the day the day"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_encoder(tmp_path_factory.mktemp("model") / "encoder"))


def transformed(folder: Path, texts: list[str] = TEXTS, **setting: Any) -> Artifact:
    rows = setting.pop("partition_rows", 25)
    inputs = {"comments@latest": data_set(folder, texts, partition_rows=rows)}
    spec = TransformSpec(dataset="comments", **setting)
    return FolderRun(folder / "run", inputs).run(spec)["dataset"]


def opened(folder: Path, texts: list[str] = TEXTS, **setting: Any) -> Shards:
    return open_shards(transformed(folder, texts, **setting))


def test_each_row_has_the_tokens_that_training_would_give_it(tmp_path: Path, model: str) -> None:
    shards = opened(tmp_path, tokenizer=model, shard_rows=20)
    wanted = [row.tolist() for row in TextEncoder(Path(model), 32).encode(TEXTS)]
    assert shards.column("input_ids").to_pylist() == wanted
    assert [shards.tokens_of(row).tolist() for row in range(len(TEXTS))] == wanted
    assert [shard["rows"] for shard in shards.facts["shards"]] == [20, 20, 20, 3]
    assert shards.column("text").to_pylist() == TEXTS
    assert len(shards) == len(TEXTS)


def test_packed_sequences_hold_every_token_and_lead_back_to_the_record(
    tmp_path: Path, model: str
) -> None:
    shards = opened(
        tmp_path, tokens="packed", tokenizer=model, sequence_tokens=16, shard_rows=5,
        separator="[MASK]",
    )  # fmt: skip
    mask = json.loads((Path(model) / "tokenizer.json").read_text())["model"]["vocab"]["[MASK]"]
    rows = [[*row, mask] for row in TextEncoder(Path(model), 10_000).encode(TEXTS)]
    stream = np.concatenate(shards.matrices()).ravel()[: shards.facts["num_tokens"]]
    assert stream.tolist() == [token for row in rows for token in row]
    assert [shards.tokens_of(n).tolist() for n in range(len(TEXTS))] == rows
    assert shards.records["id"].to_pylist() == [
        record["id"] for record in read_records(data_set(tmp_path, TEXTS)).to_pylist()
    ]
    assert sum(shards.column("num_tokens").to_pylist()) == len(stream)
    segments = np.concatenate([shards.segments(n) for n in range(len(shards))])
    owners = [n for n, row in enumerate(rows) for _ in row]
    assert segments.tolist() == owners + [-1] * (len(segments) - len(owners))


def test_what_packing_adds_at_the_end_is_padding(tmp_path: Path, model: str) -> None:
    shards = opened(tmp_path, ["the film"], tokens="packed", tokenizer=model, sequence_tokens=64)
    (matrix,) = shards.matrices()
    held = shards.column("num_tokens").to_pylist()[0]
    assert matrix.shape == (1, 64)
    assert matrix[0, held:].tolist() == [shards.facts["tokenizer"]["pad_id"]] * (64 - held)


def test_sequences_are_mapped_and_not_copied(tmp_path: Path, model: str) -> None:
    made = transformed(tmp_path, tokens="packed", tokenizer=model, sequence_tokens=16)
    before = pa.total_allocated_bytes()
    shards = open_shards(made)
    matrices = shards.matrices()
    assert pa.total_allocated_bytes() == before
    assert not any(matrix.flags.owndata or matrix.flags.writeable for matrix in matrices)


def test_the_result_says_which_tokenizer_made_it(tmp_path: Path, model: str) -> None:
    made = transformed(tmp_path, tokenizer=model)
    facts = open_shards(made).facts
    assert facts["tokenizer"]["sha256"] == hash_file(Path(model) / "tokenizer.json")
    assert hash_file(made.path / "tokenizer.json") == facts["tokenizer"]["sha256"]


def test_hashed_ngrams_count_words_and_pairs_of_words(tmp_path: Path) -> None:
    shards = opened(
        tmp_path, ["a b a", "b", "", "A, B! a"], tokens="none", features=["hashed_ngrams"],
    )  # fmt: skip
    counts = shards.column("ngram_values").to_pylist()
    buckets = shards.column("ngram_indices").to_pylist()
    assert [sorted(row) for row in counts] == [[1, 1, 1, 2], [1], [], [1, 1, 1, 2]]
    assert buckets[0] == buckets[3] == sorted(buckets[0])
    assert set(buckets[1]) < set(buckets[0])


def test_tfidf_is_that_of_scikit_learn(tmp_path: Path) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    setting = {"tokens": "none", "features": ["tfidf"], "longest_gram": 2, "fewest_records": 2}
    made = transformed(tmp_path, **setting)
    ours = open_shards(made)
    peer = TfidfVectorizer(token_pattern=r"\S+", ngram_range=(1, 2), min_df=2)
    wanted = peer.fit_transform(TEXTS)
    fitted = TfIdf.open(made.path)
    assert fitted.terms == peer.get_feature_names_out().tolist()
    indices = ours.column("tfidf_indices").to_pylist()
    values = ours.column("tfidf_values").to_pylist()
    for row in range(len(TEXTS)):
        entries = dict(zip(indices[row], values[row], strict=True))
        expected = dict(zip(wanted[row].indices.tolist(), wanted[row].data.tolist(), strict=True))
        assert entries == pytest.approx(expected, abs=1e-6)


def test_a_small_vocabulary_keeps_the_most_frequent_terms(tmp_path: Path) -> None:
    made = transformed(
        tmp_path, ["a b", "a c", "a b", "d"], tokens="none", features=["tfidf"], longest_gram=1,
        most_terms=2, fewest_records=1,
    )  # fmt: skip
    fitted = TfIdf.open(made.path)
    assert fitted.terms == ["a", "b"]
    assert fitted.idf.tolist() == pytest.approx([math.log(5 / 4) + 1, math.log(5 / 3) + 1])
    assert open_shards(made).column("tfidf_indices").to_pylist() == [[0, 1], [0], [0, 1], []]


def test_embeddings_stand_beside_records_that_every_stage_reads(tmp_path: Path, model: str) -> None:
    made = transformed(
        tmp_path, tokens="none", features=["embeddings"], embedder=model, format="parquet",
        shard_rows=50,
    )  # fmt: skip
    records = read_records(made)
    vectors = np.array(records["embedding"].to_pylist())
    assert records["text"].to_pylist() == TEXTS
    assert vectors.shape == (len(TEXTS), 32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


def test_only_the_columns_that_are_named_are_kept(tmp_path: Path, model: str) -> None:
    shards = opened(tmp_path, tokenizer=model, columns=["id", "label"])
    assert shards.tables[0].column_names == ["id", "label", "input_ids"]


@pytest.mark.parametrize("partition_rows", [7, 64])
@pytest.mark.parametrize(
    "setting",
    [
        {"tokens": "rows", "shard_rows": 10},
        {"tokens": "packed", "sequence_tokens": 8, "shard_rows": 9},
        {"tokens": "rows", "features": ["hashed_ngrams", "tfidf", "embeddings"]},
        {"tokens": "none", "features": ["tfidf"], "format": "parquet", "shard_rows": 13},
    ],
)
def test_partitions_do_not_change_a_byte(
    tmp_path: Path, model: str, setting: dict[str, Any], partition_rows: int
) -> None:
    models = {"tokenizer": model, "embedder": model}
    versions = {
        transformed(tmp_path / str(rows), partition_rows=rows, **models, **setting).version
        for rows in (1000, partition_rows)
    }
    assert len(versions) == 1


def test_the_shards_summary_counts_what_is_there(tmp_path: Path, model: str) -> None:
    made = transformed(tmp_path, tokens="packed", tokenizer=model, sequence_tokens=16, shard_rows=5)
    tokens = sum(len(row) for row in TextEncoder(Path(model), 10_000).encode(TEXTS))
    assert (made.name, made.summary) == (
        "comments-shards",
        {
            "rows": -(-tokens // 16), "records": len(TEXTS), "layout": "packed",
            "shards": -(-tokens // (16 * 5)), "tokens": tokens,
        },
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"tokens": "packed", "features": ["tfidf"]}, "neither columns nor features"),
        ({"tokens": "packed", "format": "parquet"}, "written as arrow"),
        ({"separator": "[SEP]"}, "between packed records"),
        ({"features": ["bag"]}, "features"),
        ({"sequence_tokens": 1}, "sequence_tokens"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, Any], what: str) -> None:
    with pytest.raises(SpecError) as caught:
        TransformSpec.parse({"dataset": "comments", **values})
    assert what in caught.value.what


def test_a_separator_that_is_no_token_is_told(tmp_path: Path, model: str) -> None:
    with pytest.raises(SpecError) as caught:
        transformed(tmp_path, tokens="packed", tokenizer=model, separator="<|end|>")
    assert (caught.value.where, "'<|end|>'" in caught.value.what) == ("separator", True)


def test_a_column_that_is_not_there_is_told(tmp_path: Path, model: str) -> None:
    with pytest.raises(DataError) as caught:
        transformed(tmp_path, tokenizer=model, columns=["lable"])
    assert caught.value.next_step == "Did you mean 'label'?"


def test_an_empty_data_set_cannot_be_transformed(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        transformed(tmp_path, [], tokens="none")
    assert "holds no records" in caught.value.what


@pytest.mark.parametrize(
    "manifest",
    [None, "[]", "{", '{"shards": [{"file": "../../secret", "rows": 1}], "records": []}'],
)
def test_a_folder_that_holds_no_shards_is_refused(tmp_path: Path, manifest: str | None) -> None:
    if manifest is not None:
        (tmp_path / "shards.json").write_text(manifest)
    with pytest.raises(DataError):
        open_shards(tmp_path)


def test_a_fitted_vocabulary_weighs_new_texts(tmp_path: Path) -> None:
    made = transformed(
        tmp_path, ["a b", "a c", "a b", "d"], tokens="none", features=["tfidf"], longest_gram=1,
        fewest_records=1,
    )  # fmt: skip
    rows = TfIdf.open(made.path).apply(pa.array(["d d", "unknown", "b"], pa.large_string()))
    assert Counter(np.diff(rows.offsets).tolist()) == {1: 2, 0: 1}
    assert rows.values.tolist() == [1.0, 1.0]


def words_of_report(made: Artifact) -> str:
    page = (made.path / "report.html").read_text()
    return " ".join(re.sub("<[^>]+>", " ", page.partition("<body>")[2]).split())


def test_the_report_tells_how_long_records_are_and_what_was_cut(tmp_path: Path, model: str) -> None:
    made = transformed(tmp_path, tokenizer=model, max_tokens=4, columns=["id"], shard_rows=40)
    shown = words_of_report(made)
    counts = [min(len(row), 4) for row in TextEncoder(Path(model), 10_000).encode(TEXTS)]
    assert f"{len(TEXTS)} records in 2 shards" in shown
    assert f"all {sum(counts)} in the middle record 4 in the longest record 4" in shown
    assert f"records as long as that {counts.count(4)} (" in shown
    assert "Column id input_ids Shards" in shown


def test_the_report_of_packed_sequences_tells_how_much_is_padding(
    tmp_path: Path, model: str
) -> None:
    made = transformed(tmp_path, tokenizer=model, tokens="packed", sequence_tokens=16)
    facts = open_shards(made).facts
    room = sum(shard["rows"] for shard in facts["shards"]) * 16
    assert f"in a sequence 16 padding {room - facts['num_tokens']} (" in words_of_report(made)


def test_the_report_of_features_only_tells_the_columns(tmp_path: Path) -> None:
    made = transformed(
        tmp_path, tokens="none", features=["hashed_ngrams"], columns=["id"], format="parquet"
    )
    shown = words_of_report(made)
    assert "Tokens" not in shown
    assert "Column id ngram" in shown


def test_its_form_shows_every_field_and_tells_the_command(tmp_path: Path) -> None:
    form = new_form(TransformSpec, prefilled={"dataset": "comments@latest"})
    shown = present(form.change("tokens", "packed").change("sequence_tokens", "128"))
    names = {row["name"] for group in shown["groups"] for row in group["fields"]}
    assert names >= set(TransformSpec.model_fields)
    assert shown["copy"]["command"] == (
        "workbench run transform --dataset comments@latest --tokens packed --sequence-tokens 128"
    )
