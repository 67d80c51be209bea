"""Packed files (gzip, bzip2, xz, Zstandard, zip), unpacked within bounds: no bomb goes off."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, Any, NamedTuple

from workbench.core.errors import DataError

_BUFFER_BYTES = 1 << 20
_HARMLESS_BYTES = 1 << 26  # what unpacks to less than this may have any ratio
_ZSTANDARD = b"\x28\xb5\x2f\xfd"


class UnpackBounds(NamedTuple):
    """How much bigger a file may become, and how big."""

    ratio: int
    num_bytes: int


def unpacked(
    raw: io.BufferedReader, bounds: UnpackBounds, name: str, where: str
) -> io.BufferedReader:
    """Return the stream unpacked, told by its first bytes; a plain one is returned as it is.

    Reading raises a DataError where the file is damaged or passes the bounds.
    """
    head = raw.peek(10)[:10]
    for form, is_form, opener in _FORMS:
        if is_form(head):
            reader = _Unpacked(opener(raw), raw.tell, bounds, (f"{form} file", name, where))
            return io.BufferedReader(reader, _BUFFER_BYTES)
    return raw


def _open_gzip(raw: IO[bytes]) -> Any:
    import gzip

    return gzip.GzipFile(fileobj=raw)


def _open_bzip2(raw: IO[bytes]) -> Any:
    import bz2

    return bz2.BZ2File(raw)


def _open_xz(raw: IO[bytes]) -> Any:
    import lzma

    return lzma.LZMAFile(raw)


def _open_zstandard(raw: IO[bytes]) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(pa.PythonFile(raw, mode="r"), "zstd")


_Form = tuple[str, Callable[[bytes], bool], Callable[[IO[bytes]], Any]]
_FORMS: tuple[_Form, ...] = (
    ("gzip", lambda head: head[:2] == b"\x1f\x8b", _open_gzip),
    ("bzip2", lambda head: head[:3] == b"BZh" and head[4:] == b"1AY&SY", _open_bzip2),
    ("xz", lambda head: head[:6] == b"\xfd7zXZ\0", _open_xz),
    ("Zstandard", lambda head: head[:4] == _ZSTANDARD, _open_zstandard),
)


class _Unpacked(io.RawIOBase):
    """A stream that counts what it gives against what it takes."""

    def __init__(
        self,
        stream: Any,
        taken: Callable[[], int],
        bounds: UnpackBounds,
        names: tuple[str, str, str],
    ) -> None:
        self._stream, self._taken, self._bounds = stream, taken, bounds
        self._form, self._name, self._where = names
        self._given = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._given

    def readinto(self, buffer: Any) -> int:
        try:
            chunk = self._stream.read(len(buffer))
        except DataError:
            raise
        except _damage() as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DataError(f"{self._name} is a damaged {self._form}: {reason}", where=self._where,
                            next_step="Copy the file again.") from error  # fmt: skip
        buffer[: len(chunk)] = chunk
        self._given += len(chunk)
        self._check()
        return len(chunk)

    def _check(self) -> None:
        if self._given > self._bounds.num_bytes:
            raise too_big(self._name, f"more than {self._bounds.num_bytes:,} bytes", self._where)
        if self._given > max(_HARMLESS_BYTES, self._bounds.ratio * max(1, self._taken())):
            raise too_big(self._name, f"over {self._bounds.ratio} times its size", self._where)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _damage() -> tuple[type[Exception], ...]:
    """Return what unpackers raise: an EOFError or OSError of theirs, or their own kinds."""
    import lzma

    import pyarrow as pa

    return (
        EOFError, OSError, ValueError, KeyError, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
        NotImplementedError, RuntimeError, pa.ArrowException,
    )  # fmt: skip


def too_big(name: str, how: str, where: str) -> DataError:
    """Return the error of a packed file that unpacks to more than its bounds."""
    return DataError(
        f"{name} unpacks to {how}: it may be a bomb",
        where=where,
        next_step="If the file is as it should be, raise the bounds for unpacking.",
    )


def zip_members(raw: IO[bytes], bounds: UnpackBounds, name: str, where: str) -> list[str]:
    """Return the files in a zip archive, sorted, without folders and hidden ones.

    Raises:
        DataError: it is damaged, locked, or says of itself that it passes the bounds.
    """
    try:
        with zipfile.ZipFile(raw) as archive:
            members = [info for info in archive.infolist() if not _is_left_out(info)]
            size = raw.seek(0, io.SEEK_END)
    except _damage() as error:
        raise DataError(f"{name} is a damaged zip file: {error}", where=where,
                        next_step="Copy the file again.") from error  # fmt: skip
    total = sum(info.file_size for info in members)
    # Members that overlap, the trick of small archives without end, are packed bigger than all.
    if sum(info.compress_size for info in members) > size:
        raise too_big(name, "members that overlap", where)
    if total > bounds.num_bytes:
        raise too_big(name, f"{total:,} bytes", where)
    if total > max(_HARMLESS_BYTES, bounds.ratio * size):
        raise too_big(name, f"over {bounds.ratio} times its size", where)
    if any(info.flag_bits & 1 for info in members):
        raise DataError(f"{name} is locked with a password", where=where,
                        next_step="Unpack it and name its files.")  # fmt: skip
    return sorted({info.filename for info in members})


def _is_left_out(info: zipfile.ZipInfo) -> bool:
    parts = info.filename.split("/")
    is_folder = parts[-1] == ""  # so is a name that is empty, which ZipInfo.is_dir breaks on
    return is_folder or parts[0] == "__MACOSX" or parts[-1].startswith(".")


def open_member(
    raw: IO[bytes], member: str, bounds: UnpackBounds, where: str
) -> tuple[io.BufferedReader, zipfile.ZipFile]:
    """Return one member's stream, still packed if it was so before, and its archive to close."""
    try:
        archive = zipfile.ZipFile(raw)
        info, stream = archive.getinfo(member), archive.open(member)
    except _damage() as error:
        raise DataError(f"{member} cannot be read from its zip file: {error}", where=where,
                        next_step="Copy the file again.") from error  # fmt: skip
    names = ("zip file", member, where)
    reader = _Unpacked(stream, lambda: info.compress_size, bounds, names)
    return io.BufferedReader(reader, _BUFFER_BYTES), archive
