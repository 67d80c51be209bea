"""Laws that every kind of source keeps, for shipped ones and for those of a third party alike.

Use them from a test::

    class TestMySource(SourceLaws):
        def example(self, folder):  # a source with at least two records
            return MySource(name="mine", ...)

or, where no test of your own belongs to the class, in one line::

    TestMySource = source_laws(lambda folder: MySource(name="mine", ...))

``secrets`` names the secret texts that the example uses by reference, if any: they must show up
nowhere. ``allowed_hosts`` names the private hosts that it fetches pages from, if any.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

from workbench.core.errors import WorkbenchError
from workbench.data.sources.fetch import fetch_from
from workbench.data.sources.source import CutSource, Rejected, SourceRow


class SourceLaws:
    """What every source promises; subclass it in a test and give ``example``."""

    secrets: ClassVar[tuple[str, ...]] = ()
    allowed_hosts: ClassVar[tuple[str, ...]] = ()

    def example(self, folder: Path) -> Any:
        """Return a source with at least two records, made in ``folder``."""
        raise NotImplementedError

    def test_reading_twice_gives_the_same_rows(self, tmp_path: Path) -> None:
        source = self.example(tmp_path)
        first, second = list(source.read()), list(source.read())
        assert sum(isinstance(row, SourceRow) for row in first) >= 2
        assert first == second

    def test_the_parts_hold_the_rows_of_the_whole(self, tmp_path: Path) -> None:
        source = self.example(tmp_path)
        kind: Any = type(source)
        if not isinstance(source, CutSource):
            return  # one part: the whole
        parts = json.loads(json.dumps(source.parts()))
        again = kind.model_validate_json(_stored(source))
        assert [r for part in parts for r in again.read_part(part)] == list(source.read())

    def test_reading_stops_when_its_reader_does(self, tmp_path: Path) -> None:
        source = self.example(tmp_path)
        list(source.read())  # whatever is opened once and kept
        gc.collect()
        open_before = _open_files()
        with closing(_iterator(source)) as rows:
            next(rows)
        deadline = time.monotonic() + 5.0  # threads of others may hold a file for a moment
        while _open_files() > open_before and time.monotonic() < deadline:
            gc.collect()
            time.sleep(0.05)
        assert _open_files() <= open_before

    def test_no_two_rows_stand_at_one_position(self, tmp_path: Path) -> None:
        positions = [row.position for row in self.example(tmp_path).read()]
        assert len(set(positions)) == len(positions)

    def test_positions_do_not_depend_on_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        here, there = (
            [row.position for row in self.example(tmp_path / name).read()] for name in "ab"
        )
        assert here == there

    def test_every_record_can_be_found_again(self, tmp_path: Path) -> None:
        source = self.example(tmp_path)
        rows = list(source.read())
        assert all(row.provenance.get("uri") for row in rows)
        assert len({json.dumps(row.provenance) for row in rows}) == len(rows)
        for kind, place in _places(source, rows):  # what is fetched has the record's hash
            fetch_from(kind, place, self.allowed_hosts)

    def test_a_record_that_is_not_what_it_was_is_told(self, tmp_path: Path) -> None:
        source = self.example(tmp_path)
        for kind, place in _places(source, source.read()):
            error = _failure(kind, {**place, "hash": "0"}, self.allowed_hosts)
            assert error.where
            assert error.next_step

    def test_a_record_whose_source_is_gone_is_told(self, tmp_path: Path) -> None:
        source = self.example(tmp_path)
        for kind, place in _places(source, source.read()):
            error = _failure(kind, {**place, "uri": f"{place['uri']}-gone"}, self.allowed_hosts)
            assert error.where
            assert error.next_step

    def test_rows_are_plain_values(self, tmp_path: Path) -> None:
        for row in self.example(tmp_path).read():
            if isinstance(row, Rejected):
                assert row.reason
                assert row.rule.replace("_", "").isalnum()
                json.dumps(row.provenance, allow_nan=False)
            else:
                assert isinstance(row.text, str)
                assert row.label is None or isinstance(row.label, str)
                json.dumps([row.provenance, row.extra], allow_nan=False)

    def test_the_fingerprint_stays_while_the_source_does(self, tmp_path: Path) -> None:
        source = self.example(tmp_path)
        assert source.fingerprint() == source.fingerprint()

    def test_every_field_is_explained(self, tmp_path: Path) -> None:
        fields = type(self.example(tmp_path)).model_fields
        assert [n for n, f in fields.items() if not f.title or not f.description] == []

    def test_the_settings_survive_json(self, tmp_path: Path) -> None:
        source = self.example(tmp_path)
        assert type(source).model_validate_json(source.canonical_json()) == source

    def test_no_secret_shows_up(self, tmp_path: Path) -> None:
        source = self.example(tmp_path)
        shown = [source.canonical_json(), repr(source), *map(repr, source.read())]
        for name, value in _paths_of(source):
            broken = source.model_copy(update={name: value})
            try:
                list(broken.read())
            except WorkbenchError as error:
                shown.append(json.dumps(error.to_json()))
        assert [secret for secret in self.secrets if any(secret in text for text in shown)] == []


def source_laws(example: Callable[[Path], Any], **settings: Any) -> type[SourceLaws]:
    """Return the laws as a test class, for a source that ``example`` makes in a folder.

    ``settings`` are those of the class, such as ``secrets``.
    """
    return type("Laws", (SourceLaws,), {
        "example": lambda _self, folder: example(folder), **settings
    })  # fmt: skip


def _places(source: Any, rows: Iterable[Any]) -> list[tuple[type[Any], dict[str, Any]]]:
    """Return the kind and provenance of each record that can be fetched again."""
    if not hasattr(source, "fetch"):
        return []
    return [
        (type(source), json.loads(json.dumps(row.provenance)))
        for row in rows
        if isinstance(row, SourceRow)
    ]


def _failure(
    kind: type[Any], place: dict[str, Any], allowed_hosts: tuple[str, ...]
) -> WorkbenchError:
    try:
        raw = fetch_from(kind, place, allowed_hosts)
    except WorkbenchError as error:
        return error
    raise AssertionError(f"{len(raw)} bytes were fetched from {place['uri']}")


def _iterator(source: Any) -> Generator[Any, None, None]:
    """Return the rows as a generator, which can be closed."""
    yield from source.read()


def _stored(source: Any) -> str:
    return str(source.canonical_json())


def _paths_of(source: Any) -> list[tuple[str, str]]:
    """Return each setting that says where a source is, changed so that nothing is there."""
    names = [name for name in ("path", "url") if hasattr(source, name)]
    return [(name, f"{getattr(source, name)}-not-there") for name in names]


def _open_files() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0
