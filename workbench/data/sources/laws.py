"""Laws that every kind of source keeps, for shipped ones and for those of a third party alike.

Use them from a test::

    class TestMySource(SourceLaws):
        def example(self, folder):  # a source with at least two records
            return MySource(name="mine", ...)
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

from workbench.data.sources.source import SourceRow


class SourceLaws:
    """What every source promises; subclass it in a test and give ``example``."""

    def example(self, folder: Path) -> Any:
        """Return a source with at least two records, made in ``folder``."""
        raise NotImplementedError

    def test_reading_twice_gives_the_same_records(self, tmp_path: Path) -> None:
        source = self.example(tmp_path)
        first, second = list(source.read()), list(source.read())
        assert len(first) >= 2
        assert first == second

    def test_reading_stops_when_its_reader_does(self, tmp_path: Path) -> None:
        source = self.example(tmp_path)
        assert len(list(itertools.islice(source.read(), 1))) == 1

    def test_no_two_records_stand_at_one_position(self, tmp_path: Path) -> None:
        positions = [row.position for row in self.example(tmp_path).read()]
        assert len(set(positions)) == len(positions)

    def test_every_record_can_be_found_again(self, tmp_path: Path) -> None:
        rows: list[SourceRow] = list(self.example(tmp_path).read())
        assert all(row.provenance.get("uri") for row in rows)
        assert len({json.dumps(row.provenance) for row in rows}) == len(rows)

    def test_texts_are_texts_and_the_rest_is_plain(self, tmp_path: Path) -> None:
        for row in self.example(tmp_path).read():
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
