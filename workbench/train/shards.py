"""Tensors in shards: each rank writes the parts that it owns, and any layout of ranks reads them.

A shard file is a safetensors file whose header says where in the whole tensor each part begins, in
the words of torch's distributed checkpoints (``DCP_SHARDING_INFO``): their
``HuggingFaceStorageReader`` opens such a folder, too. Unlike there, nothing is pickled, and no rank
has to wait for another.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench.core.errors import DataError, StageError

if TYPE_CHECKING:
    import torch

Place = tuple[int, ...]

HEAD_TO_CUT = "head-to-cut.json"  # which weights lose their last rows when a model is finished
PART_OF_MODEL = "model-part-"  # how files begin that are merged into a model's weights

_SHARDING = "DCP_SHARDING_INFO"
_OFFSETS = "saved_offsets"
_SUFFIX = ".safetensors"
_KINDS = {"float32": "F32", "int64": "I64", "bfloat16": "BF16", "float16": "F16"}


class Shard(NamedTuple):
    """A block of a tensor: its values, the shape of the whole, and where in it the block begins."""

    name: str
    values: torch.Tensor
    shape: Place
    offset: Place


def whole(name: str, values: torch.Tensor) -> Shard:
    """Return a tensor as its only shard."""
    return Shard(name, values, tuple(values.shape), (0,) * values.ndim)


def write_shards(
    path: Path, shards: Iterable[Shard], metadata: Mapping[str, str] | None = None
) -> None:
    """Write shards into a file, without copying them; they must be contiguous and on the CPU."""
    header: dict[str, Any] = {}
    offsets: dict[str, Any] = {}
    arrays = []
    end = 0
    for shard in shards:
        array = shard.values.detach().numpy()
        header[shard.name] = {
            "dtype": _KINDS[str(array.dtype)], "shape": list(array.shape),
            "data_offsets": [end, end + array.nbytes],
        }  # fmt: skip
        offsets[shard.name] = {_OFFSETS: list(shard.offset)}
        arrays.append(array)
        end += array.nbytes
    header["__metadata__"] = {"format": "pt", _SHARDING: json.dumps(offsets), **(metadata or {})}
    told = json.dumps(header).encode()
    told += b" " * (-len(told) % 8)
    with path.open("wb") as file:
        file.write(len(told).to_bytes(8, "little") + told)
        for array in arrays:
            file.write(array.data.cast("B") if array.size else b"")


def read_shards(folder: Path, shards: Iterable[Shard]) -> None:
    """Fill shards with what any number of ranks have written into a folder.

    Raises:
        DataError: a file is cut off or no safetensors file.
        StageError: what was written is of another architecture.
    """
    with ExitStack() as stack:
        stored = _StoredShards(folder, stack, framework="pt")
        for shard in shards:
            found = stored.shape(shard.name)
            if found != shard.shape:
                told = f"is {_times(found)}" if found else "is not there"
                raise StageError(
                    f"The checkpoint is of another architecture: {shard.name} {told}, the model's "
                    f"is {_times(shard.shape)}",
                    where=str(folder),
                    next_step="Train anew: cancel the run and submit it again.",
                )
            stored.copy(shard)


def check_shards(folder: Path) -> None:
    """See that what ranks have written into a folder is whole, by the ends of its files.

    Raises:
        DataError: a file is cut off or no safetensors file.
    """
    with ExitStack() as stack:
        _StoredShards(folder, stack, framework="numpy")


def merge_shards(folder: Path, path: Path) -> None:
    """Make one plain safetensors file of the parts of a model in a folder, if there are any."""
    from safetensors.numpy import save_file

    parts = sorted(folder.glob(f"{PART_OF_MODEL}*{_SUFFIX}"))
    if not parts:
        return
    with ExitStack() as stack:
        stored = _StoredShards(folder, stack, framework="numpy")
        arrays = {name: stored.assemble(name) for name in stored.names()}
    save_file(arrays, path, metadata={"format": "pt"})
    for part in parts:
        part.unlink()


def cut_head(folder: Path, path: Path) -> None:
    """Take the rows of other label schemes away from a model's weights, if a file there says so."""
    from safetensors.numpy import load_file, save_file

    wish = folder / HEAD_TO_CUT
    if not wish.exists():
        return
    told = json.loads(wish.read_text())
    arrays = load_file(path)
    for name in told["names"]:
        arrays[name] = np.ascontiguousarray(arrays[name][: told["rows"]])
    save_file(arrays, path, metadata={"format": "pt"})
    wish.unlink()


class _StoredShards:
    """The shard files of a folder, opened."""

    def __init__(self, folder: Path, stack: ExitStack, framework: str) -> None:
        from safetensors import SafetensorError, safe_open

        self._folder = folder
        self._pieces: dict[str, list[tuple[Any, Place, Place]]] = defaultdict(list)
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            try:
                file = stack.enter_context(safe_open(path, framework=framework))
            except (SafetensorError, OSError) as error:
                raise DataError(f"{path.name} is cut off, or no safetensors file: {error}",
                                where=str(path),
                                next_step="Delete this checkpoint; the one before it is used "
                                "then.") from error  # fmt: skip
            offsets = json.loads((file.metadata() or {}).get(_SHARDING, "{}"))
            for name in file.keys():  # noqa: SIM118 - no mapping
                shape = tuple(file.get_slice(name).get_shape())
                offset = offsets.get(name, {}).get(_OFFSETS) or [0] * len(shape)
                self._pieces[name].append((file, shape, tuple(offset)))

    def names(self) -> list[str]:
        return sorted(self._pieces)

    def shape(self, name: str) -> Place | None:
        """Return the shape of a whole tensor; None if there is none of that name."""
        pieces = self._pieces.get(name)
        if pieces is None:
            return None
        ends = [
            [o + s for o, s in zip(offset, shape, strict=True)] for _, shape, offset in pieces
        ]  # fmt: skip
        return tuple(max(end) for end in zip(*ends, strict=True))

    def copy(self, shard: Shard) -> None:
        """Fill a shard from the pieces that it overlaps."""
        missing = shard.values.numel()
        for file, shape, offset in self._pieces[shard.name]:
            begin = [max(a, b) for a, b in zip(shard.offset, offset, strict=True)]
            end = [
                min(a + n, b + m)
                for a, n, b, m in zip(
                    shard.offset, shard.values.shape, offset, shape, strict=True
                )
            ]  # fmt: skip
            if any(b >= e for b, e in zip(begin, end, strict=True)):
                continue
            source = tuple(slice(b - o, e - o) for b, e, o in zip(begin, end, offset, strict=True))
            target = tuple(
                slice(b - o, e - o) for b, e, o in zip(begin, end, shard.offset, strict=True)
            )
            # A tensor without dimensions has no slices.
            part = file.get_slice(shard.name)[source] if source else file.get_tensor(shard.name)
            shard.values[target] = part.to(shard.values.device)
            missing -= part.numel()
        if missing:
            raise DataError(f"The checkpoint lacks {missing} numbers of {shard.name}",
                            where=str(self._folder),
                            next_step="Delete this checkpoint; the one before it is used "
                            "then.")  # fmt: skip

    def assemble(self, name: str) -> np.ndarray[Any, Any]:
        pieces = self._pieces[name]
        first: np.ndarray[Any, Any] = pieces[0][0].get_tensor(name)
        if len(pieces) == 1:
            return first
        shape = self.shape(name)
        assert shape is not None
        result: np.ndarray[Any, Any] = np.empty(shape, first.dtype)
        for file, sizes, offset in pieces:
            block = tuple(slice(o, o + n) for o, n in zip(offset, sizes, strict=True))
            result[block] = file.get_tensor(name)
        return result


def _times(shape: Place) -> str:
    return " x ".join(map(str, shape)) or "a single number"
