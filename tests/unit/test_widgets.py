"""What the views show, decided without a browser: forms, runs, rows, the studio, records."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, model_validator

from widgets.assets import STATIC, linked_module, stylesheet
from widgets.catalogue import catalogue_of
from widgets.chart_model import curve_chart, thin, ticks
from widgets.fields import fields_of, number_text
from widgets.form import FormSession, SpecForm, form_of
from widgets.form_model import FormModel, check, form_like, new_form
from widgets.form_presenter import present
from widgets.guess import guess_source, guess_table, source_name
from widgets.record import chart_image, form_record, rows_record, run_record
from widgets.rows import RowsTable, RowsView
from widgets.rows_model import MOST_CHARACTERS, Row, difference, present_rows, window
from widgets.run import RunView
from widgets.run_model import RunState, apply_events, first_gap, present_run, seconds_left
from widgets.studio_model import RailStage, looks_like_path, present_rail, present_runs, source_kind
from widgets.study_model import present_study
from widgets.wording import duration, facts, figure, share
from workbench.core.artifact import Artifact, Draft, seal
from workbench.core.errors import DataError, ResourceError, SpecError
from workbench.core.spec import DatasetRef, Spec, option
from workbench.data.clean.ledger import LEDGER_SCHEMA
from workbench.data.clean.spec import CleanSpec
from workbench.data.records import SCHEMA, write_records
from workbench.data.rules.user_rule import rule
from workbench.prompts.examples import RandomExamples
from workbench.prompts.label import LabelSpec
from workbench.prompts.scorers.causal import CausalScorerSpec
from workbench.prompts.write import PromptSpec

HOSTILE = "<img src=x onerror=alert(1)>"


class FileSource(Spec):
    kind: Literal["file"] = option("file", title="Kind", help="A file.")
    name: str = option(title="Name", help="Its name.", group="Source")
    path: str = option(title="Path", help="Where it lies.", group="Source", min_length=1)
    limit: int = option(0, title="Limit", help="At most.", group="Source", ge=0)


class WebSource(Spec):
    kind: Literal["web"] = option("web", title="Kind", help="A page.")
    name: str = option(title="Name", help="Its name.", group="Source")
    url: str = option(title="URL", help="Where it is.", group="Source")

    @model_validator(mode="after")
    def _no_password(self) -> WebSource:
        if "@" in self.url:
            raise SpecError("The URL holds a password", where="url", next_step="Leave it out.")
        return self


class SampleSpec(Spec):
    dataset: DatasetRef = option(title="Data", help="What it reads.", group="Data")
    rate: float = option(5e-5, title="Rate", help="Peak.", gt=0, le=0.01, group="Training")
    warmup: float = option(
        0.1, title="Warm-up share", help="Of all steps.", unit="of all steps", ge=0, le=0.5,
        group="Training",
    )  # fmt: skip
    epochs: int = option(3, title="Epochs", help="Passes.", unit="passes", ge=1, le=20_000)
    precision: Literal["float32", "bf16"] = option("float32", title="Precision", help="Numbers.")
    balanced: bool = option(False, title="Balanced", help="Weights.")
    note: str = option("", title="Note", help="Free.", max_length=5)
    limit: int | None = option(None, title="Limit", help="Most rows.", ge=1)
    words: list[str] = option([], title="Words", help="To drop.")
    weights: dict[str, float] = option({}, title="Weights", help="Of labels.")
    sources: list[Annotated[FileSource | WebSource, Field(discriminator="kind")]] = option(
        [], title="Sources", help="From where."
    )

    @model_validator(mode="after")
    def _warm(self) -> SampleSpec:
        if self.warmup > 0.4 and self.epochs == 1:
            raise ValueError("one epoch is too short for so long a warm-up")
        return self


def filled(**raw: Any) -> FormModel:
    form = new_form(SampleSpec, prefilled={"dataset": "comments@latest"})
    for name, text in raw.items():
        form = form.change(name, text)
    return form


def row_of(form: FormModel, name: str) -> dict[str, Any]:
    groups = present(form)["groups"]
    return next(row for group in groups for row in group["fields"] if row["name"] == name)


# -- forms -----------------------------------------------------------------------------------------


def test_each_field_gets_the_control_that_fits_it() -> None:
    assert {field.name: field.control for field in fields_of(SampleSpec)} == {
        "dataset": "reference", "rate": "number", "warmup": "number", "epochs": "number",
        "precision": "choice", "balanced": "switch", "note": "text", "limit": "number",
        "words": "list", "weights": "json", "sources": "items",
    }  # fmt: skip
    by_name = {field.name: field for field in fields_of(SampleSpec)}
    assert by_name["dataset"].reads == "dataset"
    assert by_name["rate"].bounds == "more than 0, at most 0.01"
    assert by_name["epochs"].bounds == "1 to 20,000"
    assert by_name["warmup"].unit == "of all steps"
    assert by_name["precision"].choices == ("float32", "bf16")
    assert [kind for kind, _ in by_name["sources"].variants] == ["file", "web"]


def test_the_groups_keep_the_specs_order_and_running_comes_last() -> None:
    shown = present(filled())
    assert [g["title"] for g in shown["groups"]] == ["Data", "Training", "Options", "Running"]
    assert [f["name"] for f in shown["groups"][-1]["fields"]] == ["priority", "workers"]


@given(
    spec=st.builds(
        SampleSpec,
        dataset=st.just("comments@latest"),
        rate=st.floats(1e-12, 0.01),
        epochs=st.integers(2, 20_000),
        precision=st.sampled_from(["float32", "bf16"]),
        balanced=st.booleans(),
        note=st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        limit=st.none() | st.integers(1, 10**12),
        words=st.lists(st.text(max_size=6), max_size=4),
        weights=st.dictionaries(st.text(max_size=4), st.floats(0, 1), max_size=2),
        sources=st.lists(
            st.builds(FileSource, name=st.just("a"), path=st.just("b c"), limit=st.integers(0, 9)),
            max_size=2,
        ),
    ),
    workers=st.integers(1, 1024) | st.sampled_from(["2..8", "2.."]),
    priority=st.integers(-100, 100),
)
def test_a_form_filled_from_a_spec_means_that_spec(
    spec: SampleSpec, workers: int | str, priority: int
) -> None:
    checked = check(form_like(spec, workers=workers, priority=priority))
    assert checked.spec == spec
    assert (checked.workers, checked.priority, checked.errors) == (workers, priority, {})


@given(raw=st.text(max_size=12), name=st.sampled_from([f.name for f in fields_of(SampleSpec)]))
def test_no_text_breaks_a_form(raw: str, name: str) -> None:
    if name == "sources":
        return
    shown = present(filled(**{name: raw}))
    json.dumps(shown)
    assert shown["valid"] == (not shown["waits_for"] and not shown["form_error"])


def test_a_number_out_of_bounds_by_a_decimal_point_is_told_with_what_was_meant() -> None:
    row = row_of(filled(warmup="1.4"), "warmup")
    assert row["error"] == "1.4 is more than the most allowed, 0.5"
    assert row["suggestion"] == "0.14"
    assert row["differs"] and row["raw"] == "1.4"
    assert row_of(filled(rate="5"), "rate")["suggestion"] == "0.005"
    assert row_of(filled(epochs="2.5"), "epochs")["suggestion"] == "25"
    assert row_of(filled(rate="0,005"), "rate")["suggestion"] == "0.005"


@pytest.mark.parametrize(
    ("name", "raw", "error"),
    [
        ("epochs", "many", "many is not a number"),
        ("epochs", "", "A number is needed"),
        ("epochs", "0", "0 is less than the least allowed, 1"),
        ("rate", "0", "0 is not more than 0"),
        ("rate", "nan", "nan is not a number that can be used"),
        ("weights", "{", "Not JSON: Expecting property name enclosed in double quotes (line 1)"),
        (
            "weights",
            '{"a": "much"}',
            "a: Input should be a valid number, unable to parse string as",
        ),
        ("note", "too long", "String should have at most 5 characters"),
        ("precision", "int3", "'int3' is none of the choices"),
        ("workers", "0", "'0' is not within 1 to 1024 workers. Give a whole number such as 4,"),
        ("workers", "1,4", "'1,4' is no number of workers. Give a whole number such as 4,"),
        ("workers", "8..2", "'8..2' workers end below where they begin. Perhaps 2..8 is meant."),
        ("workers", "", "'' is no number of workers"),
        ("priority", "200", "200 is more than the most allowed, 100"),
        ("dataset", "a b", "'a b' is not an artifact reference."),
    ],
)
def test_each_wrong_field_says_what_is_wrong_with_it(name: str, raw: str, error: str) -> None:
    form = filled(**{name: raw})
    assert row_of(form, name)["error"].startswith(error)
    assert not present(form)["valid"]
    assert [wait["name"] for wait in present(form)["waits_for"]] == [name]


def test_a_range_of_workers_is_filled_in_and_copied_as_it_was_meant() -> None:
    form = filled(workers=" ..8 ")
    assert check(form).workers == "1..8"
    assert row_of(form, "workers")["differs"]
    copied = present(form)["copy"]
    assert 'workers="1..8")' in copied["python"]
    assert copied["command"].endswith("--workers 1..8")
    assert copied["papermill"].endswith("-p workers 1..8")


def test_one_worker_typed_as_a_range_is_no_decision() -> None:
    form = filled(workers="1..1")
    assert check(form).workers == 1
    assert "workers" not in present(form)["copy"]["python"]


def test_a_prefilled_number_of_workers_that_is_none_is_told_in_its_field() -> None:
    form = new_form(SampleSpec, prefilled={"dataset": "comments"}, workers="two")
    assert row_of(form, "workers")["error"].startswith("'two' is no number of workers")


@pytest.mark.parametrize(
    ("least", "most", "told"), [(1, 1, ""), (2, 2, " · 2 slots"), (2, 8, " · 2..8 slots")]
)
def test_a_run_tells_how_many_slots_it_asked_for(least: int, most: int, told: str) -> None:
    shown = present_run(RunState(record(least_workers=least, workers=most)), 0.0)
    assert shown["who"] == f"r-1 · ana{told}"


def test_all_wrong_fields_are_told_at_once() -> None:
    shown = present(filled(epochs="0", warmup="9", note="too long"))
    assert [wait["title"] for wait in shown["waits_for"]] == ["Warm-up share", "Epochs", "Note"]
    assert shown["copy"]["note"].startswith("Warm-up share: 9 is more than the most allowed, 0.5")


def test_an_empty_needed_field_waits_and_is_no_mistake() -> None:
    row = row_of(new_form(SampleSpec), "dataset")
    assert (row["error"], row["is_missing"]) == ("Data is needed", True)
    assert present(new_form(SampleSpec))["copy"]["note"] == "Data is needed"


def test_what_concerns_several_fields_is_told_for_the_form() -> None:
    shown = present(filled(warmup="0.45", epochs="1"))
    assert shown["form_error"] == "One epoch is too short for so long a warm-up"
    assert not shown["valid"]


def test_a_default_typed_in_another_way_does_not_differ() -> None:
    assert not row_of(filled(epochs="3.0"), "epochs")["differs"]
    assert check(filled(epochs="1,024")).spec == SampleSpec(dataset="comments", epochs=1024)
    assert row_of(filled(epochs="4"), "epochs")["differs"]
    assert not row_of(filled(epochs="4").restore("epochs"), "epochs")["differs"]


def test_reset_sets_every_field_to_its_default() -> None:
    shown = present(filled(epochs="4", workers="3", balanced=True).reset())
    assert shown["differing"] == []


def test_copied_texts_follow_the_form() -> None:
    copies = present(filled(epochs="2", priority="10"))["copy"]
    assert copies["command"] == (
        "workbench run sample --dataset comments@latest --epochs 2 --priority 10"
    )
    assert copies["note"] == ""
    wrong = present(filled(epochs="2", warmup="1.4"))["copy"]
    assert "--warmup 1.4" in wrong["command"]


def test_items_are_forms_of_their_own() -> None:
    form = filled().add_item("sources", "file").add_item("sources", "web")
    row = row_of(form, "sources")
    assert [item["title"] for item in row["items"]] == ["file", "web"]
    assert [f["name"] for f in row["items"][0]["fields"]] == ["sources.0.name", "sources.0.path"]
    assert [f["name"] for f in row["items"][0]["more"]] == ["sources.0.limit"]
    waiting = [wait["name"] for wait in present(form)["waits_for"]]
    assert waiting == ["sources.0.name", "sources.0.path", "sources.1.name", "sources.1.url"]
    form = form.remove_item("sources", 1)
    form = form.change("sources.0.name", "a").change("sources.0.path", "x.csv")
    assert check(form).spec == SampleSpec(
        dataset="comments", sources=[FileSource(name="a", path="x.csv")]
    )
    wrong = form.change("sources.0.limit", "-1")
    limit = row_of(wrong, "sources")["items"][0]["more"][0]
    assert limit["error"] == "-1 is less than the least allowed, 0"
    assert check(wrong.restore("sources.0.limit")).spec is not None


def test_a_spec_within_a_spec_is_a_form_of_whichever_kind_is_chosen() -> None:
    form = new_form(LabelSpec, prefilled={"dataset": "comments@latest"})
    row = row_of(form, "scorer")
    assert (row["control"], row["is_list"], row["can_remove"]) == ("items", False, False)
    assert [item["title"] for item in row["items"]] == ["embedding"]
    assert {"causal", "cloze", "endpoint", "embedding"} <= set(row["kinds"])
    assert not row["differs"]
    form = form.add_item("scorer", "causal")
    row = row_of(form, "scorer")
    assert [item["title"] for item in row["items"]] == ["causal"]
    assert [field["name"] for field in row["items"][0]["fields"]] == ["scorer.0.model"]
    assert [wait["name"] for wait in present(form)["waits_for"]] == ["scorer.0.model"]
    form = form.change("scorer.0.model", "small@latest")
    assert check(form).spec == LabelSpec(
        dataset="comments@latest", scorer=CausalScorerSpec(model="small@latest")
    )
    assert row_of(form.restore("scorer"), "scorer")["items"][0]["title"] == "embedding"


def test_a_spec_that_need_not_be_there_can_be_taken_out() -> None:
    form = new_form(PromptSpec).add_item("verbaliser", "yes_no")
    assert row_of(form, "examples")["items"] == []
    form = form.add_item("examples", "random").change("examples.0.dataset", "known@latest")
    spec = check(form).spec
    assert isinstance(spec, PromptSpec)
    assert spec.examples == RandomExamples(dataset="known@latest")
    assert row_of(form, "examples")["can_remove"]
    without = check(form.remove_item("examples", 0)).spec
    assert isinstance(without, PromptSpec)
    assert without.examples is None
    missing = row_of(form.remove_item("verbaliser", 0), "verbaliser")
    assert (missing["is_missing"], missing["error"]) == (True, "Answer is needed")


def test_an_error_that_a_spec_raises_itself_is_told_at_its_field() -> None:
    form = filled().add_item("sources", "web")
    form = form.change("sources.0.name", "a").change("sources.0.url", "http://me:x@y")
    url = row_of(form, "sources")["items"][0]["fields"][1]
    assert url["error"] == "The URL holds a password. Leave it out."


@pytest.mark.parametrize("name", ["epoch", "sources.7.path", "sources.x"])
def test_an_unknown_field_is_refused(name: str) -> None:
    with pytest.raises(SpecError):
        filled().change(name, "1")


def test_a_prefilled_name_that_is_no_field_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError) as caught:
        new_form(SampleSpec, prefilled={"epoch": 3})
    assert caught.value.next_step == "Did you mean 'epochs'?"


def test_a_form_is_found_by_stage_name_spec_class_and_spec() -> None:
    by_name = present(form_of("integrate"))
    assert by_name["title"] == "Integrate" and by_name["stage"] == "integrate"
    assert form_of(SampleSpec, epochs=7).raw["epochs"] == "7"
    from workbench.data.integrate import IntegrateSpec

    source = {"kind": "csv", "name": "a", "path": "a.csv"}
    spec = IntegrateSpec(sources=[source])  # type: ignore[list-item]
    assert check(form_of(spec, name="other")).spec == spec.model_copy(update={"name": "other"})
    with pytest.raises(SpecError):
        form_of(3)


def test_references_offer_the_catalog() -> None:
    def artifact(name: str, version: str, rows: int) -> Artifact:
        return Artifact("dataset", name, version, Path(), {"rows": rows})

    newest_first = [artifact("b", "2", 20), artifact("a", "1", 5), artifact("b", "1", 10)]
    catalogue = catalogue_of(newest_first)
    offered = [(o["reference"], o["facts"]) for o in catalogue["dataset"]]
    assert offered == [
        ("b@latest", "20 rows"), ("a@latest", "5 rows"),
        ("b@2", "20 rows"), ("a@1", "5 rows"), ("b@1", "10 rows"),
    ]  # fmt: skip
    form = filled(dataset="b@latest")
    row = present(form, catalogue)["groups"][0]["fields"][0]
    assert row["facts"] == "20 rows"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.14, "0.14"),
        (5e-5, "5e-5"),
        (1e-12, "1e-12"),
        (0.0005, "0.0005"),
        (4096.0, "4096"),
        (3, "3"),
    ],
)
def test_numbers_are_written_as_people_do(number: float, text: str) -> None:
    assert number_text(number) == text


# -- a guess at files ------------------------------------------------------------------------------


def test_a_path_becomes_a_source_of_the_right_kind(tmp_path: Path) -> None:
    folder = tmp_path / "my reviews"
    folder.mkdir()
    (folder / "a.csv").write_text("id;comment;sentiment\n1;Good, very good;positive\n")
    assert guess_source(f"{folder}/*.csv") == {
        "kind": "csv", "name": "my-reviews", "path": f"{folder}/*.csv",
        "delimiter": ";", "text_column": "comment", "label_column": "sentiment",
    }  # fmt: skip
    assert guess_source("nowhere/x.jsonl.gz") == {
        "kind": "jsonl", "name": "x", "path": "nowhere/x.jsonl.gz"
    }  # fmt: skip
    assert guess_source("shop.sqlite")["url"].startswith("sqlite:////")


def test_text_is_the_longest_column_where_none_is_named_so() -> None:
    table = "a,b,c\n1,a long sentence of words,x\n2,and another one,y\n"
    assert guess_table(table) == {"text_column": "b"}
    assert guess_table("") == {}


@pytest.mark.parametrize(
    ("target", "kind"),
    [("my/*.csv", "csv"), ("a.TSV", "csv"), ("x.csv.gz", "csv"), ("p.parquet", "parquet"),
     ("pages/*.html", "html"), ("notes.txt", "lines"), ("~/data", "lines")],
)  # fmt: skip
def test_paths_are_told_from_other_targets(target: str, kind: str) -> None:
    assert looks_like_path(target)
    assert source_kind(target) == kind


@pytest.mark.parametrize("target", ["comments@latest", "r-0123456789", "train", "comments"])
def test_other_targets_are_no_paths(target: str) -> None:
    assert not looks_like_path(target)


def test_a_source_name_is_always_a_name() -> None:
    for pattern in ["*.csv", "/*.csv", "a b/*.csv", "评论/*.csv", "**/*"]:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", source_name(pattern))


# -- runs ------------------------------------------------------------------------------------------


def record(state: str = "running", **changes: Any) -> dict[str, Any]:
    return {
        "run_id": "r-1", "parent_run_id": None, "stage": "train", "spec": {}, "priority": 0,
        "workers": 1, "state": state, "cached": False, "term": 1, "submitted_by": "ana",
        "submitted_at": 100.0, "started_at": 101.0, "ended_at": None, "progress": None,
        "rows": None, "outputs": {}, "output_kinds": {}, "error": None, **changes,
    }  # fmt: skip


def event(seq: int, kind: str, time: float = 0.0, **payload: Any) -> dict[str, Any]:
    return {
        "run_id": "r-1",
        "seq": seq,
        "time": time or float(seq),
        "kind": kind,
        "payload": payload,
    }


EVENTS = [
    event(1, "state", state="running", term=1),
    event(2, "log", message="step one"),
    event(3, "metric", name="loss", value=0.7, step=1),
    event(4, "progress", done=10, total=100, unit="steps", note="epoch 1"),
    event(5, "metric", name="loss", value=0.5, step=2),
    event(6, "checkpoint", key="step-2"),
    event(7, "progress", done=30, total=100, unit="steps", note="epoch 1"),
    event(8, "rows", read=100, written=90),
    event(9, "metric", name="macro_recall", value=0.7, step=None),
]


@given(
    order=st.permutations(EVENTS),
    cuts=st.lists(st.integers(0, len(EVENTS)), max_size=4).map(sorted),
    twice=st.booleans(),
)
def test_events_count_once_in_order_however_they_are_delivered(
    order: list[Any], cuts: list[int], twice: bool
) -> None:
    whole = apply_events(RunState(record()), EVENTS)
    assert apply_events(RunState(record()), order) == whole
    pieces, start = RunState(record()), 0
    for cut in [*cuts, len(EVENTS)]:
        pieces = apply_events(pieces, EVENTS[start:cut] + (EVENTS[:cut] if twice else []))
        start = cut
    assert pieces == whole
    assert whole.num_missing == 0 and whole.last_seq == 9


def test_a_gap_is_seen_and_counted() -> None:
    state = apply_events(RunState(record()), EVENTS[:2])
    assert first_gap(state, EVENTS[2:]) is None
    assert first_gap(state, EVENTS[4:]) == 3
    assert apply_events(state, EVENTS[4:]).num_missing == 2


def test_a_running_run_is_told_with_pace_rows_and_curves() -> None:
    state = apply_events(RunState(record(priority=10)), EVENTS)
    assert seconds_left(state) == pytest.approx(70 * 3 / 20)
    shown = present_run(state, now=110.0)
    assert shown["word"] == "Running" and shown["glyph"] == "run"
    assert shown["actions"] == ["pause", "cancel"]
    assert shown["progress"] == {"share": 0.3, "text": "steps 30 of 100", "note": "epoch 1"}
    assert shown["figure"]["value"] == "10 s" and shown["figure"]["of"].startswith("left, ends")
    assert shown["rows"] == {"read": "100", "written": "90", "share": "90 % of them"}
    assert [chart["name"] for chart in shown["charts"]] == ["loss"]
    assert shown["figures"] == [{"name": "macro recall", "value": "0.7"}]
    assert shown["num_checkpoints"] == 1
    assert shown["who"] == "r-1 · ana · priority 10"


@pytest.mark.parametrize(
    ("state", "actions"),
    [("waiting", ["pause", "cancel"]), ("pausing", ["resume", "cancel"]),
     ("paused", ["resume", "cancel"]), ("cancelling", []), ("succeeded", []),
     ("failed", ["resume"]), ("cancelled", ["resume"])],
)  # fmt: skip
def test_each_state_offers_what_can_be_asked(state: str, actions: list[str]) -> None:
    from workbench.queue.states import RunEvent, is_possible
    from workbench.queue.states import RunState as State

    shown = present_run(RunState(record(state)), now=0.0)
    assert shown["actions"] == actions and shown["word"]
    for action in actions:
        assert is_possible(State(state), RunEvent(action))
    assert present_run(RunState(record(state)), now=0.0, connection="lost")["actions"] == []


def test_a_failed_run_says_what_where_and_what_next() -> None:
    error = DataError("No column 'text'", where="a.csv", next_step="Name the column.").to_json()
    shown = present_run(RunState(record("failed", error=error, ended_at=105.0)), now=200.0)
    assert shown["error"] == {
        "owner": "The data is not as promised", "what": "No column 'text'", "where": "a.csv",
        "next_step": "Name the column.", "detail": "",
    }  # fmt: skip
    assert shown["figure"] == {"value": "4.0 s", "of": "taken"}


def test_long_curves_and_logs_stay_small() -> None:
    points = [event(n, "metric", name="loss", value=1 / n, step=n) for n in range(1, 6_001)]
    lines = [event(n, "log", message=str(n)) for n in range(6_001, 6_501)]
    shown = present_run(apply_events(RunState(record()), points + lines), now=0.0)
    assert len(shown["charts"][0]["points"]) <= 240
    assert shown["charts"][0]["last_step"] == "6,000"
    assert len(shown["log"]) == 200 and shown["log"][-1]["message"] == "6500"
    assert len(json.dumps(shown)) < 60_000


def test_a_loss_that_is_no_number_is_left_out() -> None:
    state = apply_events(
        RunState(record()), [event(1, "metric", name="l", value=float("nan"), step=1)]
    )
    assert present_run(state, now=0.0)["charts"] == []


def test_a_profile_is_shown_as_shares_with_its_advice() -> None:
    profile = {
        "seconds": {"forward": 3.0, "backward": 1.0, "input": 0.0}, "step_seconds": 0.5,
        "tokens_per_second": 1200.0, "padding_share": 0.1, "flops_share": 0.4,
        "memory": {"weights": 4_000_000, "gradients": 0}, "peak_bytes": 8_000_000,
    }  # fmt: skip
    told = event(1, "log", message="m", profile=profile, advice=["Take larger batches."])
    shown = present_run(apply_events(RunState(record()), [told]), now=0.0)["profile"]
    assert [(bar["name"], bar["share"], bar["told"]) for bar in shown["time"]] == [
        ("forward", 0.75, "3.0 s"), ("backward", 0.25, "1.0 s"),
    ]  # fmt: skip
    assert [(bar["name"], bar["share"]) for bar in shown["memory"]] == [("weights", 0.5)]
    assert shown["advice"] == ["Take larger batches."]
    assert "1,200 tokens a second" in shown["speed"]
    assert present_run(RunState(record()), now=0.0)["profile"] is None


def test_a_study_has_its_best_trial_first_and_those_at_work_before_those_that_ended() -> None:
    def trial(number: int, state: str, *values: float, **curve: float) -> dict[str, Any]:
        return {"trial": number, "state": state, "values": list(values) or None,
                "curve": curve, "parameters": {"rate": number / 10}, "run_id": f"r-{number}",
                "outputs": {}}  # fmt: skip

    rows = [trial(0, "complete", 0.5), trial(1, "pruned", s=0.1), trial(2, "complete", 0.2),
            trial(3, "running", s=0.4), trial(4, "complete", 0.7)]  # fmt: skip
    spec = {"stage": "train", "space": {"rate": None},
            "objectives": [{"metric": "loss", "direction": "minimize"}]}  # fmt: skip
    shown = present_study(spec, rows)
    assert [t["trial"] for t in shown["trials"]] == ["2", "0", "4", "3", "1"]
    assert shown["headline"] == "5 trials of train: 3 completed, 1 stopped early, 1 at work"
    assert shown["best"] == "loss 0.2 by trial 2: rate 0.2"
    assert shown["trials"][3]["cells"] == ["3", "0.4 so far", "0.3"]
    (chart,) = shown["charts"]
    assert chart["last"] == "0.2"
    assert present_study(spec, [])["charts"] == []


class JournalRun:
    """A run in memory: a record and a journal that a test appends to."""

    def __init__(self, **changes: Any) -> None:
        self.run_id = "r-1"
        self.known = record(**changes)
        self.journal: list[dict[str, Any]] = []
        self.lose: set[int] = set()  # sequence numbers that the next answer leaves out
        self.is_reachable = True
        self.workspace = SimpleNamespace(submit=lambda *_a, **_k: self, artifacts=list)

    def tell(self, kind: str, **payload: Any) -> None:
        if kind in ("progress", "rows"):
            self.known[kind] = payload
        self.journal.append(event(len(self.journal) + 1, kind, **payload))

    def record(self) -> dict[str, Any]:
        self._reach()
        return dict(self.known)

    def events(self, after: int = 0, wait: float = 0.0) -> list[dict[str, Any]]:
        self._reach()
        deadline = time.monotonic() + min(wait, 0.05)
        while len(self.journal) <= after and time.monotonic() < deadline:
            time.sleep(0.005)
        lost, self.lose = self.lose, set()
        return [e for e in self.journal[after:] if e["seq"] not in lost]

    def outputs(self) -> dict[str, Artifact]:
        return {"model": Artifact("model", "m", "1", Path(), {"megabytes": 8.6})}

    def pause(self) -> None:
        self.known["state"] = "pausing"
        self.tell("state", state="pausing")

    resume = cancel = pause

    def _reach(self) -> None:
        if not self.is_reachable:
            raise ResourceError("The daemon does not answer", where="daemon", next_step="Wait.")


def until(claim: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


def test_a_watched_run_is_shown_to_its_end_and_then_no_longer_polled() -> None:
    run = JournalRun()
    view = RunView(run)  # type: ignore[arg-type]
    run.tell("progress", done=1, total=4, unit="steps")
    until(lambda: view.snapshot["run"]["progress"])
    run.known["state"], run.known["ended_at"] = "succeeded", 109.0
    run.tell("state", state="succeeded")
    until(lambda: view.snapshot["run"]["outputs"])
    assert view.snapshot["run"]["outputs"] == [
        {"output": "model", "reference": "m@1", "kind": "model", "facts": "8.6 MB"}
    ]
    until(lambda: "watch r-1" not in {thread.name for thread in threading.enumerate()})
    view.close()


def test_a_closed_view_stops_watching() -> None:
    view = RunView(JournalRun())  # type: ignore[arg-type]
    view.close()
    until(lambda: "watch r-1" not in {thread.name for thread in threading.enumerate()})


def test_lost_events_are_fetched_again() -> None:
    run = JournalRun()
    for number in range(5):
        run.tell("log", message=str(number))
    run.lose = {2, 3}
    view = RunView(run)  # type: ignore[arg-type]
    until(lambda: len(view.snapshot["run"]["log"]) == 5)
    assert view.snapshot["run"]["num_missing"] == 0
    view.close()


def test_a_lost_daemon_is_told_and_found_again() -> None:
    run = JournalRun()
    view = RunView(run)  # type: ignore[arg-type]
    run.is_reachable = False
    until(lambda: view.snapshot["run"]["connection"])
    assert view.snapshot["run"]["actions"] == []
    run.is_reachable = True
    until(lambda: not view.snapshot["run"]["connection"])
    view.close()


def test_snapshots_are_numbered_and_no_more_than_ten_a_second() -> None:
    run = JournalRun()
    view = RunView(run)  # type: ignore[arg-type]
    numbers: list[tuple[float, int]] = []
    view.observe(lambda c: numbers.append((time.monotonic(), c["new"]["seq"])), "snapshot")
    started = time.monotonic()
    while time.monotonic() - started < 1.0:
        run.tell("log", message="x")
        time.sleep(0.001)
    view.close()
    assert [n for _, n in numbers] == sorted({n for _, n in numbers})
    assert len(numbers) <= 12


def test_a_wish_reaches_the_run() -> None:
    run = JournalRun()
    view = RunView(run)  # type: ignore[arg-type]
    view._receive(view, {"intent": "pause", "runId": "r-1"}, [])
    assert run.known["state"] == "pausing"
    assert view.snapshot["run"]["state"] == "pausing"
    view._receive(view, {"intent": "rm -rf"}, [])
    view._receive(view, "nonsense", [])
    view.close()


def test_a_form_is_filled_submitted_and_shows_its_run() -> None:
    run = JournalRun(state="waiting")
    form = SpecForm(SampleSpec, run.workspace, dataset="comments@latest")  # type: ignore[arg-type]
    form._receive(form, {"intent": "change", "name": "warmup", "raw": "1.4", "edit": 1}, [])
    assert form.snapshot["answered"] == 1 and not form.snapshot["form"]["valid"]
    form._receive(form, {"intent": "submit"}, [])
    assert form.snapshot["notice"].startswith("1.4 is more than the most allowed, 0.5")
    assert form.snapshot["run"] is None
    form._receive(form, {"intent": "change", "name": "warmup", "raw": "0.14", "edit": 2}, [])
    form._receive(form, {"intent": "submit"}, [])
    assert form.snapshot["notice"] == "" and form.snapshot["run"]["run_id"] == "r-1"
    form.close()


def test_an_edit_of_an_unknown_field_is_told_and_changes_nothing() -> None:
    run = JournalRun()
    form = SpecForm(SampleSpec, run.workspace)  # type: ignore[arg-type]
    form._receive(form, {"intent": "change", "name": "nothing", "raw": "1"}, [])
    assert "no field 'nothing'" in form.snapshot["notice"]
    form.close()


# -- charts ----------------------------------------------------------------------------------------


@given(low=st.floats(-1e6, 1e6), span=st.floats(1e-3, 1e6))
def test_ticks_are_few_round_and_within(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert 1 <= len(found) <= 6
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in found)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(-1e9, 1e9)), min_size=1, max_size=400))
def test_a_curve_is_scaled_into_its_frame(points: list[tuple[float, float]]) -> None:
    chart = curve_chart("loss", points)
    assert all(0 <= x <= 1 and 0 <= y <= 1 for x, y in chart["points"])
    assert len(chart["points"]) <= 240


def test_thinning_keeps_both_ends() -> None:
    points = [(float(n), 0.0) for n in range(1000)]
    thinned = thin(points, 10)
    assert len(thinned) == 10 and (thinned[0], thinned[-1]) == (points[0], points[-1])


# -- rows ------------------------------------------------------------------------------------------


@given(before=st.text(max_size=40), after=st.text(max_size=40))
def test_the_pieces_of_a_difference_join_to_both_texts(before: str, after: str) -> None:
    left, right = difference(before, after)
    assert "".join(text for _, text in left) == before
    assert "".join(text for _, text in right) == after
    assert {kind for kind, _ in left} <= {"same", "removed"}
    assert {kind for kind, _ in right} <= {"same", "added"}


def test_a_difference_marks_words_and_single_chinese_characters() -> None:
    assert difference("Read twice<br/>", "Read twice")[0] == [
        ("same", "Read twice"), ("removed", "<br/>"),
    ]  # fmt: skip
    assert difference("今天终于复工了", "今天复工了")[0] == [
        ("same", "今天"), ("removed", "终于"), ("same", "复工了"),
    ]  # fmt: skip


def test_a_long_text_is_shown_around_its_first_difference() -> None:
    before, after = window("a" * 5_000 + "XYZ" + "b" * 5_000, "a" * 5_000 + "b" * 5_000)
    assert "XYZ" in before and max(len(before), len(after)) <= MOST_CHARACTERS + 4


def table(texts: dict[str, str]) -> pa.Table:
    rows = [
        {"id": key, "text": text, "source": "web", "provenance": "{}"}
        for key, text in texts.items()
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


BEFORE = {"1": "Caf\u00c3\u00a9", "2": "same", "3": "spam", "4": HOSTILE}
AFTER = {"4": "text", "2": "same", "1": "Café"}


def ledger() -> pa.Table:
    row = {"row": 2, "id": "3", "action": "dropped", "rule": "too_few_words", "value": 1.0,
           "threshold": 3.0, "detail": "at least", "provenance": "{}"}  # fmt: skip
    return pa.Table.from_pylist([row], schema=LEDGER_SCHEMA)


def test_rows_are_joined_by_id_whatever_their_order() -> None:
    rows = RowsTable(table(BEFORE), table(AFTER), ledger())
    assert rows.counts() == {"changed": 2, "random": 4, "dropped": 1}
    assert rows.draw("dropped", 8, seed=0) == [
        Row("3", "web", "spam", None, "too_few_words: 1, at least 3")
    ]
    assert [row.id for row in rows.draw("changed", 8, seed=0)] == ["1", "4"]
    assert rows.draw("random", 2, seed=5) == rows.draw("random", 2, seed=5)


def dataset(folder: Path, name: str, records: pa.Table) -> Artifact:
    draft = Draft("dataset", name, folder / name)
    write_records(draft, records)
    return seal(draft, folder / "sealed")


def test_a_rows_view_shows_changed_rows_first_and_draws_again(tmp_path: Path) -> None:
    before = dataset(tmp_path, "raw", table(BEFORE))
    view = RowsView(before, dataset(tmp_path, "clean", table(AFTER)))
    assert view.snapshot["rows"]["mode"] == "changed" and view.snapshot["rows"]["shown"] == 2
    view._receive(view, {"intent": "draw", "mode": "dropped"}, [])
    assert view.snapshot["rows"]["rows"][0]["note"] == "dropped"
    view._receive(view, {"intent": "redraw"}, [])
    view.close()
    with pytest.raises(SpecError, match="share no record"):
        RowsView(before, dataset(tmp_path, "other", table({"9": "x"})))


# -- the studio ------------------------------------------------------------------------------------


def test_the_rail_follows_the_work_and_keeps_a_teams_own_stages() -> None:
    stages = [RailStage(name) for name in ("clean", "house_rules", "integrate", "train")]
    runs = [record("running", stage="train"), record("failed", stage="train")]
    rail = present_rail(stages, runs)
    assert [(g["title"], [s["name"] for s in g["stages"]]) for g in rail] == [
        ("Data", ["integrate", "clean"]), ("Model", ["train"]), ("Yours", ["house_rules"]),
    ]  # fmt: skip
    assert rail[1]["stages"][0]["word"] == "running"
    assert rail[2]["stages"][0]["title"] == "House rules"


def test_recent_runs_say_how_they_stand() -> None:
    runs = [record("running"), record("succeeded", ended_at=103.0, cached=True,
            rows={"read": 10, "written": 8}), record("waiting", started_at=None)]  # fmt: skip
    shown = present_runs(runs, now=131.0)
    assert [run["word"] for run in shown] == ["running", "cached", "waiting"]
    assert shown[0]["when"] == "since 30 s" and shown[1]["rows"] == "10 → 8"


# -- wording ---------------------------------------------------------------------------------------


def test_numbers_and_times_are_worded_one_way() -> None:
    assert [duration(s) for s in (0.61, 42, 399, 7_500, 200_000)] == [
        "0.6 s", "42 s", "6 min 39 s", "2 h 05 min", "2 days 7 h",
    ]  # fmt: skip
    assert [share(x) for x in (0, 0.00001, 0.5, 0.9014, 0.99999, 1)] == [
        "0 %", "< 0.1 %", "50 %", "90.1 %", "99.9 %", "100 %",
    ]  # fmt: skip
    assert [figure(x) for x in (0.70912, 1204.0, 5e-5, 3.0)] == ["0.7091", "1,204", "5e-5", "3"]
    told = facts({"rows": 1200, "labels": ["a", "b"], "megabytes": 8.64, "unlabelled": 0})
    assert told == "1,200 rows · labels a, b · 8.6 MB"


# -- static records: hostile text stays text -------------------------------------------------------


class TagReader(HTMLParser):
    """Collects what a browser would see in an HTML text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, data: str) -> None:
        self.text += data


ALLOWED_TAGS = {
    "div", "b", "span", "table", "thead", "tbody", "tr", "th", "td", "pre", "img", "br",
}  # fmt: skip


def read_html(html: str) -> TagReader:
    reader = TagReader()
    reader.feed(html)
    assert reader.tags <= ALLOWED_TAGS
    assert reader.attributes <= {"style", "width", "alt", "src"}
    assert "var(" not in html and "<style" not in html
    return reader


def test_a_records_hostile_text_is_shown_as_text() -> None:
    error = DataError(HOSTILE, where=HOSTILE, next_step=HOSTILE).to_json()
    events = [event(1, "log", message=HOSTILE), event(2, "metric", name=HOSTILE, value=1.0, step=1),
              event(3, "metric", name=HOSTILE, value=2.0, step=None)]  # fmt: skip
    state = apply_events(RunState(record("failed", stage=HOSTILE, error=error)), events)
    made = [{"output": HOSTILE, "reference": HOSTILE, "kind": HOSTILE, "facts": HOSTILE}]
    html = run_record(present_run(state, now=0.0, outputs=made))
    assert read_html(html).text.count(HOSTILE) >= 9
    rows = [Row("1", HOSTILE, HOSTILE, "x"), Row("2", "s", HOSTILE, None, HOSTILE)]
    shown = present_rows(rows, {"changed": 1}, "changed", HOSTILE)
    assert HOSTILE in read_html(rows_record(shown)).text
    form = present(filled(words=HOSTILE).change("dataset", HOSTILE))
    assert HOSTILE in read_html(form_record(form)).text


def test_a_curve_becomes_an_image_that_any_page_may_show() -> None:
    from xml.etree import ElementTree

    chart = curve_chart(HOSTILE, [(1.0, 0.5), (2.0, 0.7)])
    drawing = ElementTree.fromstring(chart_image(chart))
    assert {child.tag.rpartition("}")[2] for child in drawing.iter()} == {
        "svg", "line", "text", "polyline",
    }  # fmt: skip


def test_a_view_offers_its_record_to_readers_without_widgets() -> None:
    run = JournalRun(state="succeeded", ended_at=103.0)
    view = RunView(run)  # type: ignore[arg-type]
    until(lambda: view._watcher.is_over)
    data, _ = view._repr_mimebundle_()
    assert {"text/plain", "text/html", "application/vnd.jupyter.widget-view+json"} <= data.keys()
    assert "text/html" in view._bundle() and len(view._bundle()) == 2
    read_html(data["text/html"])
    view.close()


# -- scripts ---------------------------------------------------------------------------------------

ENTRIES = [
    "form_view.js",
    "run_view.js",
    "rows_view.js",
    "studio_view.js",
    "cleaning_view.js",
    "pool_view.js",
]


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_linked_script_is_whole_and_names_each_thing_once(entry: str) -> None:
    script = linked_module(entry)
    assert "import " not in script
    assert script.count("export default") == 1
    names = re.findall(
        r"^(?:export )?(?:async )?(?:function|class|const) (\w+)", script, re.MULTILINE
    )
    assert len(names) == len(set(names))


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_linked_script_parses(entry: str, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: scripts are parsed by tests/browser only")
    path = tmp_path / "view.mjs"
    path.write_text(linked_module(entry))
    done = subprocess.run([node, "--check", path], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def test_no_script_reads_text_as_html_or_fetches_anything() -> None:
    forbidden = (
        "innerHTML", "outerHTML", "insertAdjacentHTML", "DOMParser", "document.write", "srcdoc",
        "eval(", "Function(", "fetch(", "XMLHttpRequest", "https://",
    )  # fmt: skip
    for path in STATIC.iterdir():
        text = path.read_text()
        assert [word for word in forbidden if word in text] == [], path.name
        assert len(text.splitlines()) < 300
    assert "http" not in stylesheet() and "@import" not in stylesheet()
    for path in STATIC.parent.glob("*.py"):
        assert "widgets.HTML" not in path.read_text()


def test_a_session_keeps_what_the_page_was_told() -> None:
    session = FormSession(new_form(SampleSpec))
    session.add_item({"name": "sources", "kind": "file"})
    session.change({"name": "sources.0.path", "raw": "x", "edit": 4})
    session.remove_item({"name": "sources", "index": "0"})
    assert session.answered == 4
    assert session.content()["groups"][2]["fields"][-1]["items"] == []


def test_a_rule_of_a_cell_is_in_the_form_at_once_and_can_be_added() -> None:
    workspace = JournalRun().workspace
    form = SpecForm("clean", workspace, dataset="comments@latest")  # type: ignore[arg-type]
    rows = [row for group in form.content()["form"]["groups"] for row in group["fields"]]
    assert "no_shouting" not in next(row for row in rows if row["name"] == "rules")["kinds"]

    @rule(at_most=0.5)
    def no_shouting(text: str, least: int = 3) -> float:
        return sum(word.isupper() for word in text.split()) / max(least, len(text.split()))

    shown = [row for group in form.snapshot["form"]["groups"] for row in group["fields"]]
    assert "no_shouting" in next(row for row in shown if row["name"] == "rules")["kinds"]
    form.session.add_item({"name": "rules", "kind": "no_shouting"})
    checked = check(form.session.form)
    assert checked.spec == CleanSpec(dataset="comments@latest", rules=[no_shouting])
    assert "no_shouting" in form.content()["form"]["copy"]["python"]
    form.close()
