"""Hugging Face style data sets: a folder with a card, one of ``save_to_disk``, or on the hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, Field

from workbench.core.errors import DataError, nearest_name
from workbench.core.paths import home_expanded
from workbench.core.spec import option
from workbench.data.sources import hub
from workbench.data.sources.arrow import ArrowSource
from workbench.data.sources.csv import CsvSource
from workbench.data.sources.data_folder import (
    Split,
    find_splits,
    form_of,
    label_names,
    saved_splits,
)
from workbench.data.sources.files import FileSource, hash_files
from workbench.data.sources.jsonl import JsonlSource
from workbench.data.sources.lines import LinesSource
from workbench.data.sources.locations import MatchedFile
from workbench.data.sources.parquet import ParquetSource
from workbench.data.sources.source import ColumnSource, Part, Rejected, SourceRow

_READERS: dict[str, type[FileSource]] = {
    "parquet": ParquetSource, "arrow": ArrowSource, "csv": CsvSource, "jsonl": JsonlSource,
    "lines": LinesSource,
}  # fmt: skip


def _absolute_folder(text: str) -> str:
    """Make a folder's path absolute where it is one: a name of the hub looks like a path, too."""
    path = home_expanded(text)
    return str(path.absolute()) if path.is_dir() or text.startswith(("/", ".", "~")) else text


class _Found(NamedTuple):
    """The chosen splits, the folder they are in, and the commit they are of, if of the hub."""

    root: Path
    splits: list[Split]
    commit: hub.Commit | None


class HuggingfaceSource(ColumnSource):
    """A data set in the style of Hugging Face: a folder, or a name on the hub."""

    plans_anew: ClassVar[bool] = True

    kind: Literal["huggingface"] = option(
        "huggingface", title="Kind", help="A folder or hub name of a data set.", group="Source"
    )  # fmt: skip
    dataset: Annotated[str, Field(min_length=1), AfterValidator(_absolute_folder)] = option(
        title="Data set", group="Source",
        help="A folder (with a card, or written by save_to_disk) or a name on the hub "
        "(owner/name). Code in it is never run.",
    )  # fmt: skip
    revision: str = option(
        "", title="Revision", group="Source",
        help="Branch, tag or commit on the hub; each record remembers the commit. Empty: the "
        "newest.",
    )  # fmt: skip
    configuration: str = option(
        "", title="Configuration", group="Source",
        help="Which of the card's configurations to read; empty: the default one.",
    )  # fmt: skip
    splits: list[str] = option(
        [], title="Splits", group="Source",
        help="Which splits to read (train, test); empty: all. Each record remembers its own.",
    )  # fmt: skip

    def read(self) -> Iterator[SourceRow | Rejected]:
        """Yield one record per row, split by split and file by file."""
        for part in self.parts():
            yield from self.read_part(part)

    def parts(self) -> list[Part]:
        """Return stretches of the files of all splits."""
        found = self._find()
        parts: list[Part] = []
        for split in found.splits:
            for name in split.files:
                file = self._checked(found, name)
                labels = split.label_names or names_inside(file)
                parts += [
                    {**part, "split": split.name, "name": name, "labels": labels}
                    | (
                        # Whoever reads it has a copy of its own, of this very commit.
                        {"commit": found.commit.revision, "states": [""] * len(part["files"])}
                        if found.commit
                        else {}
                    )
                    for part in self._reader(name, file).parts()
                ]
        return parts

    def read_part(self, part: Part) -> Iterator[SourceRow | Rejected]:
        """Yield the rows of one part, with the names of their labels."""
        name, split = part["name"], part["split"]
        place: dict[str, object] = {"form": form_of(name), "split": split}
        if "commit" in part:
            commit = hub.Commit(self.dataset, part["commit"], [])
            root = hub.download(commit, [name])
            place["uri"] = commit.uri(name)
            files = [[str(root / name), *values[1:]] for values in part["files"]]
        else:
            files = part["files"]
        names = part["labels"].get(self.label_column, [])
        reader = self._reader(name, Path(files[0][0]))
        for row in reader.read_part({"files": files, "states": part["states"]}):
            known = row._replace(
                position=f"{split}/{row.position}", provenance={**row.provenance, **place}
            )
            if isinstance(known, SourceRow):
                label = _named(known.label, names)
                known = known._replace(label=label, extra={"split": split, **known.extra})
            yield known

    def fingerprint(self) -> str | None:
        """Return the SHA-256 over the files of a folder, or the commit on the hub."""
        if not Path(self.dataset).is_dir():
            pinned = hub.pinned(self.revision)
            revision = (
                self.revision if pinned else hub.find_commit(self.dataset, self.revision).revision
            )
            return hashlib.sha256(f"{self.dataset}@{revision}".encode()).hexdigest()
        root = Path(self.dataset)
        files = [path for path in sorted(root.rglob("*")) if path.is_file()]
        return hash_files([(path.relative_to(root).as_posix(), path) for path in files])

    @classmethod
    def fetch(cls, provenance: Mapping[str, Any]) -> bytes:
        """Return the raw form of a record, as the kind of source for its file says."""
        uri = str(provenance["uri"])
        if uri.startswith("hf://datasets/"):
            name, _, rest = uri.removeprefix("hf://datasets/").partition("@")
            revision, _, file = rest.partition("/")
            root = hub.download(hub.Commit(name, revision, []), [file])
            uri = (root / file).as_uri()
        reader: Any = _READERS[provenance["form"]]
        raw: bytes = reader.fetch({**provenance, "uri": uri})
        return raw

    def _find(self) -> _Found:
        place = self.place(self.dataset)
        root = Path(self.dataset)
        commit = None
        if root.is_dir():
            splits = saved_splits(root, place)
            if splits is None:
                names = [p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file()]
                card = _card(root)
                splits = find_splits(names, card, self.configuration, place)
        elif self.dataset.startswith("/"):
            raise DataError(f"There is no folder {self.dataset}", where=place,
                            next_step="Check its path.")  # fmt: skip
        else:
            commit = hub.find_commit(self.dataset, self.revision)
            has_card = hub.CARD in commit.files
            card = _card(hub.download(commit, [hub.CARD])) if has_card else ""
            splits = find_splits(commit.files, card, self.configuration, place)
        chosen = self._choose(splits, place)
        if commit is not None:
            root = hub.download(commit, [name for split in chosen for name in split.files])
        return _Found(root, chosen, commit)

    def _choose(self, splits: list[Split], place: str) -> list[Split]:
        known = [split.name for split in splits]
        for name in self.splits:
            if name not in known:
                raise DataError(f"There is no split {name!r}", where=place,
                                next_step=nearest_name(name, known))  # fmt: skip
        return [split for split in splits if not self.splits or split.name in self.splits]

    def _checked(self, found: _Found, name: str) -> Path:
        """Return the path of a file; one outside of its folder, by link or by name, is refused."""
        path = found.root / name
        # In the hub's cache all files are links, made by its own library.
        if found.commit is None and not path.resolve().is_relative_to(found.root.resolve()):
            raise DataError(f"{name} leads out of {found.root}", where=self.place(self.dataset),
                            next_step="Remove the link.")  # fmt: skip
        if not path.is_file():
            raise DataError(f"The file {name} is missing", where=self.place(self.dataset),
                            next_step="Copy the data set again.")  # fmt: skip
        return path

    def _reader(self, name: str, path: Path) -> FileSource:
        """Return the source that reads one file, with these settings."""
        kind = _READERS[form_of(name)]
        settings: dict[str, Any] = {"name": self.name, "path": str(path)}
        if issubclass(kind, ColumnSource):
            settings |= {
                "text_column": self.text_column, "label_column": self.label_column,
                "omit_columns": self.omit_columns,
            }  # fmt: skip
        if ".tsv" in name:
            settings["delimiter"] = "\t"
        reader = kind.model_validate(settings)
        reader._chosen = [MatchedFile(str(path), name)]
        return reader


def _card(root: Path) -> str:
    path = root / hub.CARD
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def names_inside(path: Path) -> dict[str, list[str]]:
    """Return the label names that a Parquet file of the ``datasets`` library holds in its schema.

    A file that cannot be read holds none; its reader says what is wrong with it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if form_of(path.name) != "parquet":
        return {}
    try:
        metadata = pq.read_schema(path).metadata or {}
        info = json.loads(metadata.get(b"huggingface", b"{}"))["info"]
        return label_names(info["features"])
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _named(label: str | None, names: list[str]) -> str | None:
    """Return a label's name where it is an index; -1 is how such data sets say that it is none."""
    if label is None or not names:
        return label
    if label == "-1":
        return None
    return names[int(label)] if label.isdecimal() and int(label) < len(names) else label
