"""Text files that are one record each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from workbench.core.spec import option
from workbench.data.sources.encoding import reason_of
from workbench.data.sources.locations import MatchedFile
from workbench.data.sources.source import RAW_CHARACTERS, Rejected, SourceRow, raw_hash
from workbench.data.sources.text_files import TextFileSource


class TextsSource(TextFileSource):
    """One text a file."""

    kind: Literal["texts"] = option(
        "texts", title="Kind", help="One text a file.", group="Source"
    )  # fmt: skip
    folder_is_label: bool = option(
        False, title="Folder is the label", group="Labels",
        help="Take the name of the folder that a file lies in as its label.",
    )  # fmt: skip

    def read_file(self, file: MatchedFile) -> Iterator[SourceRow | Rejected]:
        """Yield the one record of a file."""
        yield self._record_of(file)

    def _record_of(self, file: MatchedFile) -> SourceRow | Rejected:
        with self.open_bytes(file) as stream:
            raw = stream.read(self.max_record_bytes + 1)
        if len(raw) > self.max_record_bytes:
            return Rejected(file.key, self.locate(file), f"{file.name} is longer than a record "
                            "may be", "too_long", "", "Raise the longest record.")  # fmt: skip
        encoding = self.encoding_of(file)
        beginning = raw[:RAW_CHARACTERS].decode(errors="replace")
        try:
            text = raw.decode("utf-8-sig" if encoding == "utf-8" else encoding)
        except UnicodeError as error:
            return Rejected(
                file.key, self.locate(file), f"{file.name} is not {encoding}, {reason_of(error)}",
                "wrong_encoding", beginning,
                "Leave the encoding empty to have it found out, or name the right one.",
            )  # fmt: skip
        if "\0" in text:
            return Rejected(file.key, self.locate(file), f"{file.name} holds a NUL byte, which no "
                            "text has", "nul_byte", beginning, "Remove it.")  # fmt: skip
        label = file.key.split("/")[-2] if self.folder_is_label and "/" in file.key else None
        place = self.locate(file, encoding, hash=raw_hash(raw))
        return SourceRow(text, label, file.key, place, {})
