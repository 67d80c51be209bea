"""Files as sources see them: found, unpacked, dealt out to parts, and hashed."""

from __future__ import annotations

import hashlib
import io
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from workbench.core.errors import DataError, nearest_name
from workbench.core.known_hashes import hash_file_once
from workbench.core.spec import LocalPath, option
from workbench.data.sources.locations import (
    MatchedFile,
    Span,
    Storage,
    is_url,
    local_path,
    match_local,
    protocol_of,
)
from workbench.data.sources.network import cause_of
from workbench.data.sources.packed import UnpackBounds, open_member, unpacked, zip_members
from workbench.data.sources.secrets import only_references, without_literal_secret
from workbench.data.sources.source import (
    Part,
    Rejected,
    SourceRow,
    SourceSpec,
)

PART_BYTES = 1 << 26  # of files that are one durable part; also of one that is cut
_MOST_FILES = 1_000  # in one part
_LONGEST_MEGABYTES = 1_000  # of a record

FilePath = Annotated[
    LocalPath,
    Field(min_length=1),
    AfterValidator(local_path),
    AfterValidator(without_literal_secret),
]


class FileSource(SourceSpec):
    """The settings of every source that reads files; packed files are unpacked."""

    plans_anew: ClassVar[bool] = True

    path: FilePath = option(
        title="File", group="Source",
        help="A file, a pattern that matches several (reviews/*.csv), or either behind a URL "
        "(s3://bucket/reviews/*.csv); gzip, bzip2, xz, Zstandard and zip are unpacked.",
    )  # fmt: skip
    members: str = option(
        "*", title="Files in archives", group="Source", min_length=1,
        help="Pattern of the files to read in zip archives (*.csv).",
    )  # fmt: skip
    storage_options: Annotated[dict[str, str], AfterValidator(only_references)] = option(
        {}, title="Storage options", group="Source",
        help="Options of the URL's protocol, each as ${env:NAME}; they are looked up where the "
        "run runs and stored nowhere.",
    )  # fmt: skip
    max_unpacked_ratio: int = option(
        200, title="Bound on unpacking", group="Limits", unit="times", ge=1,
        help="A packed file that becomes more than this many times bigger is refused.",
    )  # fmt: skip
    max_unpacked_gigabytes: float = option(
        100.0, title="Bound on unpacked size", group="Limits", unit="GB", gt=0,
        help="A packed file that becomes bigger than this is refused.",
    )  # fmt: skip
    on_bad_file: Literal["stop", "reject"] = option(
        "stop", title="A bad file", group="Limits",
        help="What becomes of a file that is damaged or not as these settings say. stop: the run "
        "fails and names it; once it is mended the run goes on. reject: what could be read of it "
        "is kept, and a rejected row stands for the rest.",
    )  # fmt: skip
    _chosen: list[MatchedFile] | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if protocol_of(self.path) in ("http", "https"):
            raise ValueError("pages and files of web servers are read politely: use the kind web")
        if "::" in self.path:
            raise ValueError("a chain of protocols (::) is not read; name the files themselves")
        return self

    def files(self) -> list[MatchedFile]:
        """Return the files that ``path`` names, sorted; of the part that is being read, if one is.

        Raises:
            DataError: none is there; the nearest name in that folder is told.
        """
        if self._chosen is not None:
            return self._chosen
        found = (
            Storage(self.path, self.storage_options, self.place(self.path)).match()
            if is_url(self.path)
            else match_local(
                self.path, self.place(self.path), keep_bad=self.on_bad_file == "reject"
            )
        )
        if not found:
            raise self._no_file()
        return [member for file in found for member in self._members(file)]

    def read(self) -> Iterator[SourceRow | Rejected]:
        """Yield the rows of each file, in order; a bad file is an error or a rejected row."""
        for file in self.files():
            try:
                yield from self.read_file(file)
            except DataError as error:
                if self.on_bad_file == "stop":
                    raise
                yield self._rejected_file(file, error)

    def read_file(self, file: MatchedFile) -> Iterator[SourceRow | Rejected]:
        """Yield the rows of one file, of its span if it has one."""
        raise NotImplementedError

    def parts(self) -> list[Part]:
        """Return groups of files, cut where a file is big and its kind can be."""
        groups: list[list[MatchedFile]] = []
        sizes: list[int] = []
        for file in self.files():
            for piece, size in self._pieces(file):
                if groups and sizes[-1] + size <= PART_BYTES and len(groups[-1]) < _MOST_FILES:
                    groups[-1].append(piece)
                    sizes[-1] += size
                else:
                    groups.append([piece])
                    sizes.append(size)
        return [self.part_of(group) for group in groups]

    def part_of(self, files: Sequence[MatchedFile]) -> Part:
        """Return the part that consists of these files, as they are now."""
        return {"files": list(map(list, files)), "states": list(map(self._state, files))}

    def read_part(self, part: Part) -> Iterator[SourceRow | Rejected]:
        """Yield the rows of the files of one part.

        Raises:
            DataError: a file is not what it was when the parts were planned.
        """
        narrowed = self.model_copy()
        narrowed._chosen = [_file_from_json(values) for values in part["files"]]
        yield from narrowed.read()
        for file, state in zip(narrowed._chosen, part["states"], strict=True):
            if state and self._state(file) != state:
                raise DataError(
                    f"{file.name} was changed while it was read",
                    where=self.place(file.location),
                    next_step="Resume the run when it stays as it is: what has changed is read "
                    "anew.",
                )

    def _state(self, file: MatchedFile) -> str:
        """Return what changes when a file on this machine does; cheap, unlike a hash."""
        if is_url(file.location):
            return ""  # each file there is an object of its own, which is replaced as a whole
        try:
            known = Path(file.location).stat()
        except OSError:  # told when its turn comes
            return "gone"
        return f"{known.st_size} {known.st_mtime_ns}"

    def _pieces(self, file: MatchedFile) -> list[tuple[MatchedFile, int]]:
        try:
            return self.cut(file)
        except DataError:  # told when its turn comes
            if self.on_bad_file == "stop":
                raise
            return [(file, 0)]

    def _rejected_file(self, file: MatchedFile, error: DataError) -> Rejected:
        first_row = file.span.first_row if file.span else 1
        place = self.locate(file, file.encoding, bad_from_row=first_row)
        return Rejected(f"{file.key}:bad:{first_row}", place, f"{error.what} ({error.where})",
                        "bad_file", "", error.next_step)  # fmt: skip

    def cut(self, file: MatchedFile) -> list[tuple[MatchedFile, int]]:
        """Return the pieces of a file that can be read apart, each with its size in bytes."""
        return [(file, Path(file.location).stat().st_size if file.is_local else PART_BYTES)]

    def fingerprint(self) -> str | None:
        """Return the SHA-256 over the names and bytes of all matched files."""
        if not is_url(self.path):
            return hash_files([(f.key, Path(f.location)) for f in _without_members(self.files())])
        total = hashlib.sha256()
        for file in _without_members(self.files()):
            state = Storage(file.location, self.storage_options, self.place(self.path)).state()
            total.update(f"{file.key}\0{state}\n".encode())
        return total.hexdigest()

    @contextmanager
    def open_bytes(self, file: MatchedFile | Path) -> Iterator[io.BufferedReader]:
        """Open a file, unpacked; what goes wrong while reading becomes a DataError."""
        if isinstance(file, Path):
            file = MatchedFile(str(file), file.name)
        where = self.place(file.location, *([file.member] if file.member else []))
        if file.damage:
            raise DataError(
                file.damage, where=where, next_step="Copy the file again, or leave it out."
            )
        with ExitStack() as stack:
            try:
                stream = stack.enter_context(self._open_raw(file, where))
                if file.member:
                    stream, archive = open_member(stream, file.member, self._bounds, where)
                    stack.enter_context(archive)
                    stack.enter_context(stream)
                plain = unpacked(stream, self._bounds, file.name, where)
                yield stack.enter_context(plain)
            except OSError as error:
                raise DataError(
                    f"{file.name} cannot be read: {error.strerror or error}",
                    where=where,
                    next_step="Check that the file is there and may be read.",
                    cause=cause_of(error) if is_url(file.location) else None,
                ) from error

    @contextmanager
    def open_seekable(self, file: MatchedFile) -> Iterator[IO[bytes]]:
        """Open a file for reading here and there; what was packed is unpacked to disk first."""
        with self.open_bytes(file) as stream:
            if stream.seekable():
                yield stream
                return
            with tempfile.TemporaryFile() as copy:
                shutil.copyfileobj(stream, copy, PART_BYTES)
                copy.seek(0)
                yield copy

    def locate(
        self, file: MatchedFile, encoding: str = "", **position: object
    ) -> dict[str, object]:
        """Return the provenance of a record: file, position, and the encoding if not UTF-8."""
        member = {"member": file.member} if file.member else {}
        unusual = {} if encoding in ("", "utf-8", "utf-8-sig", "ascii") else {"encoding": encoding}
        storage = {"storage": self.storage_options} if self.storage_options else {}
        return {"uri": file.uri, **member, **position, **unusual, **storage}

    @classmethod
    def again(cls, provenance: Mapping[str, Any]) -> tuple[Self, MatchedFile]:
        """Return a source that can open the file which a record came from, and that file."""
        location = local_path(provenance["uri"])
        # The widest bounds that a source may have: it was read within its own.
        widest = {
            "max_unpacked_ratio": 1_000_000, "max_unpacked_gigabytes": 1e6,
            "max_record_megabytes": _LONGEST_MEGABYTES,
        }  # fmt: skip
        source = cls.model_validate({
            "kind": cls.model_fields["kind"].default, "name": "again", "path": location,
            "storage_options": provenance.get("storage", {}),
            **{name: most for name, most in widest.items() if name in cls.model_fields},
        })  # fmt: skip
        encoding = provenance.get("encoding", "utf-8")
        return source, MatchedFile(location, location, provenance.get("member", ""), encoding)

    @property
    def _bounds(self) -> UnpackBounds:
        return UnpackBounds(self.max_unpacked_ratio, int(self.max_unpacked_gigabytes * 1e9))

    def _open_raw(self, file: MatchedFile, where: str) -> io.BufferedReader:
        if is_url(file.location):
            return Storage(file.location, self.storage_options, where).open()
        return Path(file.location).open("rb")

    def _members(self, file: MatchedFile) -> list[MatchedFile]:
        if not file.location.lower().endswith(".zip"):
            return [file]
        where = self.place(file.location)
        try:
            with self._open_raw(file, where) as raw:
                names = zip_members(raw, self._bounds, file.name, where)
        except DataError as error:
            if self.on_bad_file == "stop":
                raise
            return [file._replace(damage=error.what)]
        found = [name for name in names if fnmatch(name, self.members)]
        if not found:
            raise DataError(f"No file in {file.name} matches {self.members!r}", where=where,
                            next_step=f"In it: {', '.join(names[:8]) or 'no files'}")  # fmt: skip
        return [file._replace(key=f"{file.key}/{name}", member=name) for name in found]

    def _no_file(self) -> DataError:
        if is_url(self.path):
            return DataError(f"Nothing is at {self.path}", where=self.place(self.path),
                             next_step="Check the URL or pattern.")  # fmt: skip
        path = Path(self.path)
        if path.is_dir():
            return DataError(f"{path} is a folder, not a file", where=self.place(path),
                             next_step=f"Name its files: {path}/*")  # fmt: skip
        folder = next(parent for parent in path.parents if parent.is_dir())
        near = nearest_name(path.name, [entry.name for entry in sorted(folder.iterdir())][:200])
        return DataError(f"No file is called {path}", where=self.place(path),
                         next_step=f"In {folder}: {near or 'no files'}")  # fmt: skip


def location_of(file: MatchedFile | Path) -> str:
    """Return where a file is, as people write it."""
    return file.location if isinstance(file, MatchedFile) else str(file)


def _file_from_json(values: Sequence[Any]) -> MatchedFile:
    location, key, member, encoding, span, damage = values
    return MatchedFile(location, key, member, encoding, Span(*span) if span else None, damage)


def _without_members(files: list[MatchedFile]) -> list[MatchedFile]:
    """Return each archive once in place of the files in it."""
    return list(dict.fromkeys(
        file._replace(key=file.key.removesuffix(f"/{file.member}"), member="", damage="")
        for file in files
    ))  # fmt: skip


def hash_files(files: Sequence[tuple[str, Path]]) -> str:
    """Return one SHA-256 over names and contents."""
    total = hashlib.sha256()
    for name, path in files:
        total.update(f"{name}\0{hash_file_once(path)}\n".encode())
    return total.hexdigest()
