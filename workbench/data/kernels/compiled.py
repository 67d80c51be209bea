"""How kernels are compiled: on first use, without the interpreter lock, and kept on disk.

Numba keeps what Python calls (``entry``) beside the module, or in ``NUMBA_CACHE_DIR``, or in the
user's cache folder where packages are read-only; what only kernels call is compiled into it. Kept
code belongs to the sources of all kernels of its folder as they are: an edit compiles anew.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba  # noqa: TID253 (loaded when texts are measured)
from numba import types  # noqa: TID253
from numba.extending import intrinsic  # noqa: TID253

Function = TypeVar("Function", bound=Callable[..., Any])

_compile: Any = numba.njit
# Division by zero gives NaN, as in NumPy: a text without words has no mean word length.
_ENTRY: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
_INNER: dict[str, Any] = {**_ENTRY, "no_cpython_wrapper": True}
# Arrays belong to the entry for as long as it runs. Counting references to them at each call and
# slice takes four fifths of the time of kernels as small as these.
_UNCOUNTED: dict[str, Any] = {**_INNER, "_nrt": False}


def kernel(function: Function) -> Function:
    """Compile a function that only other kernels call; it may slice arrays, but make none."""
    compiled: Function = _compile(**_UNCOUNTED)(function)
    return compiled


def allocator(function: Function) -> Function:
    """Compile a function that makes arrays for an entry."""
    compiled: Function = _compile(**_INNER)(function)
    return compiled


def entry(function: Function) -> Function:
    """Compile a function that Python calls, and keep it for the next process."""
    try:
        compiled: Any = _compile(cache=True, **_ENTRY)(function)
    except RuntimeError:  # no folder can be written: each process compiles for itself
        warnings.warn("compiled kernels cannot be kept: set NUMBA_CACHE_DIR", stacklevel=2)
        compiled = _compile(**_ENTRY)(function)
    else:
        # Numba stamps kept code with the file of the entry alone, and would go on using it after
        # an edit of a kernel that the entry calls.
        folder = Path(function.__code__.co_filename).parent
        compiled._cache._cache_file._source_stamp = _stamp(folder)
    kept: Function = compiled
    return kept


@cache
def _stamp(folder: Path) -> str:
    """Return a hash of all that is compiled in a folder, and of how."""
    sources = [Path(__file__), *sorted(folder.glob("*.py"))]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()


def _generate_load(_context: Any, text: Any, at: Any) -> Any:
    from llvmlite import ir  # type: ignore[import-untyped]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(array.data, [arguments[1]])
        return builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(text, types.intp), generate


_load_eight_bytes: Any = intrinsic(_generate_load)


# Returns the bytes text[at : at + 8] as one uint64; the caller keeps it inside the text.
load_eight_bytes: Any = _load_eight_bytes
