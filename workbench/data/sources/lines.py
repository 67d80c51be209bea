"""Text files with one text a line, and labels in a parallel file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from workbench.core.errors import DataError
from workbench.core.spec import LocalPath, option
from workbench.data.sources.files import hash_files
from workbench.data.sources.locations import MatchedFile
from workbench.data.sources.source import Part, Rejected, SourceRow, raw_hash
from workbench.data.sources.text_files import TextFileSource


class LinesSource(TextFileSource):
    """One text a line; line n of a second file may hold the label of line n."""

    kind: Literal["lines"] = option(
        "lines", title="Kind", help="One text a line.", group="Source"
    )  # fmt: skip
    labels_path: LocalPath = option(
        "", title="Labels file", group="Labels",
        help="A file whose line n is the label of text n; empty: the texts are not labelled.",
    )  # fmt: skip
    label_names: list[str] = option(
        [], title="Label names", group="Labels",
        help="Names of the labels 0, 1, 2 ... in the labels file, in this order; empty: the file "
        "holds names.",
    )  # fmt: skip

    def read(self) -> Iterator[SourceRow | Rejected]:
        """Yield one record per line, file by file."""
        num_files = len(self.files()) if self.labels_path else 1
        if num_files > 1:
            raise DataError(f"{num_files} files match, but one labels file is given",
                            where=self.place(self.path),
                            next_step="Make one source per text file.")  # fmt: skip
        return super().read()

    def parts(self) -> list[Part]:
        """Return groups of files or of lines; one part where labels stand in parallel."""
        if not self.labels_path:
            return super().parts()
        labels = hash_files([("labels", Path(self.labels_path))])
        return [{**self.part_of(self.files()), "labels": labels}]

    def cut(self, file: MatchedFile) -> list[tuple[MatchedFile, int]]:
        """Return stretches of lines."""
        return self.cut_lines(file)

    def fingerprint(self) -> str | None:
        """Return the SHA-256 over texts and labels."""
        if not self.labels_path:
            return super().fingerprint()
        labels = hash_files([("labels", Path(self.labels_path))])
        return f"{super().fingerprint()}{labels}"

    def read_file(self, file: MatchedFile) -> Iterator[SourceRow | Rejected]:
        """Yield one record per line, blank lines too."""
        labels = self._read_labels() if self.labels_path else None
        number, encoding = 0, self.encoding_of(file)
        file = file._replace(encoding=encoding)
        for line in self.text_lines(file):
            number += 1
            if labels is not None and number > len(labels):
                break
            if isinstance(line, Rejected):
                yield line
                continue
            place = self.slice_place(file, encoding, line.number, line.offset, len(line.raw))
            yield SourceRow(
                text=line.text.removesuffix("\r"),
                label=labels[number - 1] if labels is not None else None,
                position=f"{file.key}:{line.number}",
                provenance={**place, "hash": raw_hash(line.raw)},
                extra={},
            )
        if labels is not None and number != len(labels):
            raise DataError(
                f"Texts and labels do not match: {len(labels)} labels, and text {number} "
                + ("has none" if number > len(labels) else "is the last"),
                where=self.place(file.location, self.labels_path),
                next_step="Give the labels file that belongs to this text file.",
            )

    def _read_labels(self) -> list[str | None]:
        path = Path(self.labels_path)
        with self.open_text(path) as (stream, _):
            return [self._name(line.strip(), number) for number, line in enumerate(stream, 1)]

    def _name(self, label: str, number: int) -> str | None:
        if not self.label_names or not label:
            return label or None
        if label.isdecimal() and int(label) < len(self.label_names):
            return self.label_names[int(label)]
        raise DataError(
            f"Label {label!r} is no index into the {len(self.label_names)} label names",
            where=self.place(self.labels_path, f"line {number}"),
            next_step=f"Name the labels 0 to {label} in order, or leave the label names empty."
            if label.isdecimal()
            else "Leave the label names empty where the file holds names.",
        )
