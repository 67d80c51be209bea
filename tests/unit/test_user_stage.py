"""Stages of a notebook cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pyarrow.compute as pc
import pytest
from data_sets import data_set

import workbench as wb
from workbench.core.artifact import Artifact
from workbench.core.copy_as import as_command, as_papermill, as_python
from workbench.core.errors import Cause, ResourceError, SpecError, StageError
from workbench.core.laws import FolderRun, StageLaws
from workbench.core.registry import load_stage, own_stage_names
from workbench.core.spec import Spec
from workbench.daemon.submission import cache_key
from workbench.pipeline.user_stage import CellSpec, shown_stage, shown_values

CUT = " ..."


@wb.stage
def shorten(
    run: wb.RunContext, dataset: wb.DatasetRef, longest: int = 12,
    side: Literal["left", "right"] = "left",
) -> wb.Draft:  # fmt: skip
    """Cut every text.

    More is told here.
    """
    table = wb.read_records(run.open(dataset))
    begin, end = (0, longest) if side == "left" else (-longest, None)
    texts = pc.utf8_slice_codeunits(table["text"], begin, end)
    texts = pc.binary_join_element_wise(texts, CUT, "")
    draft = run.save("dataset", "short")
    place = table.schema.get_field_index("text")
    wb.write_records(draft, table.set_column(place, table.schema.field("text"), texts))
    return draft


@pytest.fixture
def comments(tmp_path: Path) -> Artifact:
    return data_set(tmp_path, ["good morning, all of you", "bye"])


def test_a_cell_s_stage_runs_and_its_parameters_are_its_spec(
    tmp_path: Path, comments: Artifact
) -> None:
    spec = shorten(dataset="comments", longest=4)
    assert isinstance(spec, Spec)
    made = FolderRun(tmp_path / "run", {"comments@latest": comments}).run(spec)
    assert wb.read_records(made["dataset"])["text"].to_pylist() == ["good ...", "bye ..."]
    assert shorten.stage.title == "Shorten"
    assert shorten.stage.help == "Cut every text."
    with pytest.raises(SpecError, match="longets") as refused:
        shorten.parse({"dataset": "comments", "longets": 3})
    assert "longest" in refused.value.next_step


def test_what_travels_names_inputs_for_the_lineage_and_only_what_differs() -> None:
    sent = shorten(dataset="comments", side="right").submitted()
    assert isinstance(sent, CellSpec)
    assert sent.references() == [("dataset", "comments@latest")]
    assert sent.settings == {"side": "right"}
    assert "CUT = ' ...'" in sent.code
    assert type(sent).model_validate_json(sent.canonical_json()) == sent


def test_a_result_comes_from_the_cache_unless_it_is_said_to_vary() -> None:
    @wb.stage(title="Roll the dice", is_constant=False)
    def dice(run: wb.RunContext) -> dict[str, wb.Draft]:
        return {"one": run.save("report", "one")}

    assert dice.stage.title == "Roll the dice"
    assert cache_key(load_stage("cell"), dice().submitted()) is None
    assert cache_key(load_stage("cell"), shorten(dataset="comments").submitted())


def test_it_is_found_by_name_and_copied_as_it_is_called() -> None:
    assert "shorten" in own_stage_names()
    assert load_stage("shorten").spec is shorten
    spec = shorten(dataset="comments", longest=7)
    line = 'shorten(dataset="comments@latest", longest=7)'
    assert line in as_python(spec)
    assert (
        as_command(spec)
        == as_papermill(spec)
        == ("# A stage of this notebook's cells: copy it as Python.")
    )
    assert eval(line) == spec  # what is pasted gives an equal Spec


def needs_a_default(run: wb.RunContext, longest: int) -> None: ...
def takes_no_run(dataset: wb.DatasetRef) -> None: ...
def has_a_taken_name(run: wb.RunContext, references: int = 1) -> None: ...
def clean(run: wb.RunContext) -> None: ...


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (needs_a_default, "needs a default for 'longest'"),
        (takes_no_run, "takes no run"),
        (has_a_taken_name, "'references'"),
        (clean, "There is a stage called 'clean' already"),
    ],
)
def test_what_is_no_stage_is_told_where_it_is_written(function: Any, complaint: str) -> None:
    with pytest.raises(SpecError, match=complaint):
        wb.stage(function)


def breaks(run: wb.RunContext) -> wb.Draft:
    raise ZeroDivisionError("by nothing")


def returns_a_number(run: wb.RunContext) -> Any:
    return 3


def returns_numbers(run: wb.RunContext) -> Any:
    return {"it": 3}


@pytest.mark.parametrize(
    ("function", "complaint"),
    [
        (breaks, "The stage breaks failed: ZeroDivisionError: by nothing"),
        (returns_a_number, "it returned 3"),
        (returns_numbers, "its result 'it' is 3"),
    ],
)
def test_a_failure_names_the_stage(function: Any, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=complaint):
        FolderRun(tmp_path, {}).run(wb.stage(function)())


def fills_the_disk(run: wb.RunContext) -> wb.Draft:
    import errno

    raise OSError(errno.ENOSPC, "No space left on device")


def test_what_the_machine_lacks_is_not_blamed_on_the_cell(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="disk is full") as raised:
        FolderRun(tmp_path, {}).run(wb.stage(fills_the_disk)())
    assert raised.value.cause == Cause.DISK_FULL


def test_a_failure_shows_where_in_the_cell_it_was(tmp_path: Path) -> None:
    with pytest.raises(StageError) as raised:
        FolderRun(tmp_path, {}).run(wb.stage(breaks)())
    assert 'raise ZeroDivisionError("by nothing")' in raised.value.detail


def test_a_run_of_a_cell_s_stage_is_shown_under_its_name_with_its_parameters() -> None:
    sent = shorten(dataset="comments", longest=7).submitted()
    record = {"stage": "cell", "spec": sent.model_dump(mode="json")}
    assert shown_stage(record) == "shorten"
    assert shown_values(record) == {"dataset": "comments@latest", "longest": 7}
    other = {"stage": "split", "spec": {"seed": 1}}
    assert (shown_stage(other), shown_values(other)) == ("split", {"seed": 1})


def test_a_package_s_stage_is_declared_as_before() -> None:
    from workbench.core.context import Outputs

    class NameSpec(Spec):
        pass

    class NameOutputs(Outputs):
        pass

    def name(spec: Any, run: Any) -> Any: ...

    name.__annotations__ = {"spec": NameSpec, "return": NameOutputs}
    assert wb.stage(title="Name", version=3)(name).stage.version == 3


class TestCellLaws(StageLaws):
    def example(self, folder: Path) -> tuple[Spec, dict[str, Artifact]]:
        comments = data_set(folder, ["good morning, all of you", "bye"])
        return shorten(dataset="comments").submitted(), {"comments@latest": comments}
