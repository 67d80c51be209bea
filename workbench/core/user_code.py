"""Functions written in a notebook cell, as source text that runs anywhere.

A cell's function is stored by its source, never as a pickle: the text can be read, it is part of
the Spec and so of the cache key and of the lineage, and nothing runs before a worker runs it. What
the function uses from the notebook comes along: imports, plain constants, patterns, and other
functions and classes of the notebook.
"""

from __future__ import annotations

import ast
import builtins
import dis
import hashlib
import inspect
import linecache
import re
import sys
import textwrap
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, model_validator

from workbench.core.errors import SpecError, StageError, nearest_name

_HEAD = "from __future__ import annotations\n"
_LONGEST_SOURCE = 100_000  # characters; it travels with the Spec


PlainValue = bool | int | float | str | None  # of a setting of a user's function


class UserCode(BaseModel):
    """A function's name and the source text of a small module that defines it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    source: str

    @model_validator(mode="after")
    def _defines_its_function(self) -> Self:
        if len(self.source) > _LONGEST_SOURCE:
            raise ValueError(f"the code of {self.name} is longer than {_LONGEST_SOURCE} characters")
        try:
            statements = ast.parse(self.source).body
        except SyntaxError as error:
            raise ValueError(f"the code of {self.name} is no Python: {error}") from error
        defined = [item.name for item in statements if isinstance(item, ast.FunctionDef)]
        if self.name not in defined:
            raise ValueError(f"the code defines no function {self.name}")
        return self

    def load(self) -> Callable[..., Any]:
        """Run the code and return its function; the same code is run once in a process.

        Raises:
            StageError: the code raised an error, for example at an import.
        """
        return _load(self.name, self.source)


@cache
def _load(name: str, source: str) -> Callable[..., Any]:
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    place = f"<{name} {digest}>"
    # So that a traceback shows the line.
    linecache.cache[place] = (len(source), None, source.splitlines(keepends=True), place)
    namespace: dict[str, Any] = {"__name__": f"workbench_user_code.{name}_{digest}"}
    try:
        exec(compile(source, place, "exec"), namespace)  # noqa: S102 (the user's own code)
    except Exception as error:
        raise StageError(
            f"The code of {name} cannot be loaded: {type(error).__name__}: {error}",
            where=name,
            next_step="Run its cell again; what it imports must be installed where workers run.",
        ) from error
    function: Callable[..., Any] = namespace[name]
    return function


def refuse_unknown(name: str, given: Iterable[str], known: Sequence[str]) -> None:
    """See that a function has the settings that are given.

    Raises:
        SpecError: it has no such parameter; the nearest is told.
    """
    for setting in given:
        if setting not in known:
            raise SpecError(f"{name} has no parameter {setting!r}", where=name,
                            next_step=nearest_name(setting, known))  # fmt: skip


def capture(function: Callable[..., Any]) -> UserCode:
    """Return a function as source text, with all that it uses from where it was written.

    Raises:
        SpecError: it has no source, or it uses something that cannot travel, which is named.
    """
    if not isinstance(function, types.FunctionType) or function.__name__ == "<lambda>":
        raise SpecError(
            f"{function!r} is no function with a name",
            where="user code",
            next_step="Write it with def.",
        )
    pieces: dict[str, str] = {}
    _collect(function, pieces)
    own = pieces.pop(function.__name__)
    # Imports first; the rest in the order in which it was needed.
    imports = sorted(text for text in pieces.values() if _is_import(text))
    others = [text for text in pieces.values() if not _is_import(text)]
    source = "\n".join([*imports, *others, own])
    return UserCode(name=function.__name__, source=_HEAD + source)


def _is_import(text: str) -> bool:
    return text.startswith(("import ", "from "))


def _collect(function: types.FunctionType, pieces: dict[str, str]) -> None:
    """Put the source of a function, after that of what it uses, into ``pieces`` by name."""
    text, node = _definition(function)
    pieces[function.__name__] = text  # already here, so that recursion ends
    for name in dict.fromkeys([*_globals_of(function.__code__), *_names_in_defaults(node)]):
        if name not in pieces and name in (known := _namespace(function)):
            _add(name, known[name], function, pieces)
    # After what it uses, as defaults are evaluated where it is defined.
    pieces[function.__name__] = pieces.pop(function.__name__)


def _collect_class(written: type, pieces: dict[str, str]) -> None:
    """Put the source of a class, after that of what it uses, into ``pieces`` by name."""
    methods = [
        found for found in map(_plain_function, vars(written).values())
        if found is not None and found.__qualname__.startswith(f"{written.__qualname__}.")
    ]  # fmt: skip
    if not methods:
        raise SpecError(
            f"The class {written.__name__} of the notebook has no method of its own, so that its "
            "source cannot be found",
            where=written.__name__,
            next_step="Define it inside the function that uses it.",
        )
    node, text = _class_definition(written, methods[0])
    pieces[written.__name__] = text  # already here, so that recursion ends
    used = [name for method in methods for name in _globals_of(method.__code__)]
    for name in dict.fromkeys([*_names_of_class_body(node), *used]):
        known = _namespace(methods[0])
        if name != "__class__" and name not in pieces and name in known:
            _add(name, known[name], methods[0], pieces)
    pieces[written.__name__] = pieces.pop(written.__name__)


def _plain_function(member: Any) -> types.FunctionType | None:
    member = getattr(member, "__func__", getattr(member, "fget", member))
    return member if isinstance(member, types.FunctionType) else None


def _class_definition(written: type, method: types.FunctionType) -> tuple[ast.ClassDef, str]:
    """Find a class by one of its methods: a notebook's classes know no file."""
    place = method.__code__
    text = "".join(linecache.getlines(place.co_filename))
    with suppress(SyntaxError):
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.ClassDef) or node.name != written.__name__:
                continue
            if node.lineno <= place.co_firstlineno <= (node.end_lineno or 0):
                first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
                lines = text.splitlines(keepends=True)[first - 1 : node.end_lineno]
                return node, textwrap.dedent("".join(lines)).rstrip() + "\n"
    raise SpecError(
        f"The source of {written.__name__} cannot be found",
        where=written.__name__,
        next_step="Define it in a cell of a notebook or in a file.",
    )


def _names_of_class_body(node: ast.ClassDef) -> Iterator[str]:
    """Yield the names that are looked up while a class is defined, not when its methods run."""
    waiting: list[ast.AST] = [*ast.iter_child_nodes(node)]
    while waiting:
        found = waiting.pop(0)
        if isinstance(found, ast.Name):
            yield found.id
        elif isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [*found.decorator_list, *found.args.defaults]
            waiting += [default for default in found.args.kw_defaults if default is not None]
        elif not isinstance(found, ast.Lambda):
            waiting += ast.iter_child_nodes(found)


def _namespace(function: types.FunctionType) -> dict[str, Any]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {**function.__globals__, **{name: cell.cell_contents for name, cell in cells}}


def _definition(function: types.FunctionType) -> tuple[str, ast.FunctionDef]:
    """Return the text of a function without its decorators, comments kept."""
    try:
        text = textwrap.dedent(inspect.getsource(function))
        node = ast.parse(text).body[0]
    except (OSError, TypeError, SyntaxError) as error:
        raise SpecError(
            f"The source of {function.__name__} cannot be found",
            where=function.__name__,
            next_step="Define it in a cell of a notebook or in a file.",
        ) from error
    if not isinstance(node, ast.FunctionDef):
        raise SpecError(f"{function.__name__} is no plain function", where=function.__name__,
                        next_step="Write it with def, not async def.")  # fmt: skip
    lines = text.splitlines(keepends=True)[node.lineno - 1 : node.end_lineno]
    return "".join(lines).rstrip() + "\n", node


def _globals_of(code: types.CodeType) -> Iterator[str]:
    """Yield the names that code, and the functions within it, look up outside of themselves."""
    yield from code.co_freevars
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from (name for name in _globals_of(constant) if name not in code.co_cellvars)


def _names_in_defaults(node: ast.FunctionDef) -> Iterator[str]:
    for default in (*node.args.defaults, *node.args.kw_defaults):
        if default is not None:
            yield from (n.id for n in ast.walk(default) if isinstance(n, ast.Name))


def _add(name: str, value: Any, user: types.FunctionType, pieces: dict[str, str]) -> None:
    """Add the line that gives ``name`` its value again."""
    if getattr(builtins, name, None) is value:
        return
    if isinstance(value, types.ModuleType):
        pieces[name] = f"import {value.__name__} as {name}\n"
    elif _is_neighbour(value, user) and value.__name__ == name:
        collect = _collect_class if isinstance(value, type) else _collect
        collect(value, pieces)
    elif _is_importable(value):
        pieces[name] = f"from {value.__module__} import {value.__qualname__} as {name}\n"
    elif isinstance(value, re.Pattern):
        pieces["re"] = "import re\n"
        pieces[name] = f"{name} = re.compile({value.pattern!r}, {int(value.flags)})\n"
    elif _is_plain(value):
        pieces[name] = f"{name} = {value!r}\n"
    else:
        raise SpecError(
            f"{user.__name__} uses {name!r}, a {type(value).__name__} of the notebook, which "
            "cannot travel to a worker",
            where=user.__name__,
            next_step=f"Make {name} inside the function, import it, or pass plain values as "
            "parameters with defaults.",
        )


def _is_neighbour(value: Any, user: types.FunctionType) -> bool:
    """Whether it was written beside its user: workers may not have that module."""
    is_code = isinstance(value, types.FunctionType | type)
    return is_code and value.__module__ == user.__module__


def _is_importable(value: Any) -> bool:
    """Whether a function or class is found again under its module and name."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not module or not name or module == "__main__" or not name.isidentifier():
        return False
    if not isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return False
    found = sys.modules.get(module)
    is_file = getattr(found, "__spec__", None) is not None
    return is_file and getattr(found, name, None) is value


def _is_plain(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
