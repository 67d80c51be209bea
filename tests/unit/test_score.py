from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_classifier import LABELS, build_dataset, build_model, golden_rows

from workbench.core.artifact import Artifact, Draft, seal
from workbench.core.errors import DataError, RunPaused
from workbench.core.laws import FolderRun, StageLaws
from workbench.data.records import SCHEMA, read_records, write_partition
from workbench.models.predictor import load_predictor
from workbench.serve.score import ScoreSpec

NEW_COLUMNS = ["predicted_label", *(f"score:{label}" for label in LABELS)]


def spec_for(dataset: Artifact, model: Artifact, **more) -> tuple[ScoreSpec, dict[str, Artifact]]:
    spec = ScoreSpec(dataset=dataset.reference, model=model.reference, **more)
    return spec, {dataset.reference: dataset, model.reference: model}


def example(folder: Path, **more) -> tuple[ScoreSpec, dict[str, Artifact]]:
    return spec_for(build_dataset(folder, golden_rows(4)), build_model(folder), **more)


def two_partitions(folder: Path) -> Artifact:
    table = read_records(build_dataset(folder, golden_rows(4), name="whole"))
    draft = Draft("dataset", "halves", folder / "staging" / "halves")
    for number in range(2):
        write_partition(draft.path / f"part-{number:05d}.parquet", table.slice(number * 5, 5))
    return seal(draft, folder / "artifacts")


class TestScoreLaws(StageLaws):
    def example(self, folder):
        return example(folder, part_rows=5)


def test_every_row_gets_one_prediction_and_keeps_its_columns(tmp_path):
    spec, inputs = example(tmp_path, part_rows=5)
    run = FolderRun(tmp_path / "run", inputs)
    scored = run.run(spec)["dataset"]
    before, after = read_records(inputs[spec.dataset]), read_records(scored)
    assert after.select(before.column_names).equals(before)
    assert after.column_names == [*before.column_names, *NEW_COLUMNS]
    assert after["predicted_label"].to_pylist() == before["label"].to_pylist()
    assert ("rows", {"read": 12, "written": 12}) in run.events
    assert scored.summary == {
        "rows": 12,
        "model": spec.model,
        "labels": LABELS,
        "predicted": {"negative": 4, "neutral": 4, "positive": 4},
    }


def test_scores_are_the_models_own_probabilities(tmp_path):
    spec, inputs = example(tmp_path)
    table = read_records(FolderRun(tmp_path / "run", inputs).run(spec)["dataset"])
    scores = np.stack([table[f"score:{label}"].to_numpy() for label in LABELS], axis=1)
    expected = load_predictor(inputs[spec.model].path).predict(table["text"].to_pylist())
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)


def test_partitions_stay_as_they_are(tmp_path):
    spec, inputs = spec_for(two_partitions(tmp_path), build_model(tmp_path), part_rows=2)
    scored = FolderRun(tmp_path / "run", inputs).run(spec)["dataset"]
    files = sorted(scored.path.glob("*.parquet"))
    assert [(file.name, pq.read_metadata(file).num_rows) for file in files] == [
        ("part-00000.parquet", 5),
        ("part-00001.parquet", 5),
    ]


def test_a_resumed_run_repeats_no_finished_part(tmp_path):
    spec, inputs = example(tmp_path, part_rows=3)
    with pytest.raises(RunPaused):
        FolderRun(tmp_path / "run", inputs, pause_after=2).run(spec)
    resumed = FolderRun(tmp_path / "run", inputs)
    assert len(resumed.checkpoints()) == 2
    resumed.run(spec)
    assert resumed.num_written_checkpoints == 2  # of four parts


def test_predictions_of_another_model_are_replaced(tmp_path):
    spec, inputs = example(tmp_path)
    first = FolderRun(tmp_path / "first", inputs).run(spec)["dataset"]
    wrong = build_model(tmp_path, name="wrong", sign=-1)
    spec, inputs = spec_for(first, wrong)
    table = read_records(FolderRun(tmp_path / "second", inputs).run(spec)["dataset"])
    assert table.column_names == [*SCHEMA.names, *NEW_COLUMNS]
    assert all(
        p != t
        for p, t in zip(
            table["predicted_label"].to_pylist(), table["label"].to_pylist(), strict=True
        )
    )


def test_a_data_set_without_rows_gives_one_without_rows(tmp_path):
    spec, inputs = spec_for(build_dataset(tmp_path, []), build_model(tmp_path))
    table = read_records(FolderRun(tmp_path / "run", inputs).run(spec)["dataset"])
    assert (table.num_rows, table.column_names) == (0, [*SCHEMA.names, *NEW_COLUMNS])
    assert table.schema.field("score:neutral").type == pa.float32()


def test_a_model_in_place_of_a_data_set_is_refused(tmp_path):
    _, inputs = example(tmp_path)
    dataset, model = inputs.values()
    spec = ScoreSpec(dataset=model.reference, model=dataset.reference)
    with pytest.raises(DataError, match="is a model, not a dataset"):
        FolderRun(tmp_path / "run", inputs).run(spec)
