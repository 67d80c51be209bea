"""A guard for ONNX files: a graph whose tensors lie in other files is refused unread.

External tensors name a path, which may point out of the package (``../../etc/...``) or to a file
that was swapped after the graph was hashed. The file is walked as plain protobuf records, so that
serving needs no ``onnx`` package. Source: onnx/onnx.proto (field numbers), protobuf encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from workbench.core.errors import DataError

# Which fields of a message hold which messages.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14  # of a tensor
_MOST_NESTED = 64


def read_onnx(path: Path) -> bytes:
    """Return the bytes of an ONNX file that refers to no other file.

    Raises:
        DataError: a tensor lies in another file, or the file is no ONNX graph.
    """
    content = path.read_bytes()
    try:
        external = _has_external(memoryview(content), "model", 0)
    except (IndexError, ValueError, RecursionError) as error:
        raise DataError(f"{path.name} is no ONNX graph", where=str(path),
                        next_step="Export the model again.") from error  # fmt: skip
    if external:
        raise DataError(
            f"{path.name} was refused: it keeps tensors in other files",
            where=str(path),
            next_step="Export it again as one file (external_data=False).",
        )
    return content


def _has_external(message: memoryview, kind: str, depth: int) -> bool:
    if depth > _MOST_NESTED:
        raise ValueError("nested too deep")
    children = _CHILDREN.get(kind, {})
    for field, value in _fields(message):
        if kind == "tensor":
            if field == _EXTERNAL_DATA or (field == _DATA_LOCATION and value != 0):
                return True
        elif field in children:
            if not isinstance(value, memoryview):
                raise ValueError(f"field {field} of {kind} is no message")
            if _has_external(value, children[field], depth + 1):
                return True
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value) of each record of a message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        wire = key & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if wire == 2:
            size, at = _varint(message, at)
        else:
            size = {1: 8, 5: 4}.get(wire, -1)
        if size < 0 or at + size > len(message):
            raise ValueError("a record is cut short or of an unknown type")
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
