"""Sources that users write: one function that yields records, in a notebook cell or a file.

    @source
    def tickets(path: str = "/data/tickets.txt") -> Iterator[str]:  # yields texts
        for line in open(path):
            yield line

    @source(label_column="mood", is_constant=True)
    def diary(year: int = 2024) -> Iterator[dict]:  # or columns by name; one of them is the text
        yield {"text": f"It rained all through {year}.", "mood": "sad", "page": 1}

    IntegrateSpec(sources=[tickets, diary.set(year=2023).named("old-diary")])

The function travels to the workers as source text, in the Spec: it is part of the cache key and
stands in the lineage of what was made of its records.
"""

from __future__ import annotations

import hashlib
import inspect
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Annotated, Any, Literal, Self, overload

from pydantic import Field, model_validator

from workbench.core.errors import SpecError, StageError, WorkbenchError
from workbench.core.presets import offer
from workbench.core.spec import option
from workbench.core.user_code import PlainValue, UserCode, capture, refuse_unknown
from workbench.data.sources.jsonl import canonical
from workbench.data.sources.source import ColumnSource, Rejected, SourceRow, raw_hash


class UserSource(ColumnSource):
    """A function that yields records, as source text with its parameters."""

    kind: Literal["cell"] = option(
        "cell", title="Kind", help="A function of yours, written with @source.", group="Source"
    )  # fmt: skip
    function: Annotated[str, Field(pattern=r"^[A-Za-z_]\w{0,60}$")] = option(
        title="Function", help="The name of the function that yields the records.", group="Source"
    )  # fmt: skip
    code: str = option(
        title="Code", help="Python that defines the function.", group="Source"
    )  # fmt: skip
    parameters: dict[str, PlainValue] = option(
        {}, title="Parameters", group="Source",
        help="Values of the function's own parameters that differ from their defaults.",
    )  # fmt: skip
    is_constant: bool = option(
        False, title="Always the same", group="Source",
        help="The function yields the same records each time, so that a result may come from the "
        "cache. Off: it is called for each run.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _is_a_function(self) -> Self:
        self._user_code()  # refuses what cannot be its code
        return self

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call the function as it was written, to try it."""
        return self._user_code().load()(*arguments, **{**self.parameters, **named})

    def set(self, **parameters: PlainValue) -> UserSource:
        """Return the source with other values of the function's parameters.

        Raises:
            SpecError: the function has no such parameter; the nearest is told.
        """
        known = _own_parameters(self._user_code().load())
        refuse_unknown(self.function, parameters, known)
        return self._changed(parameters={**self.parameters, **parameters})

    def named(self, name: str) -> UserSource:
        """Return the source under another name, so that one function can be two sources."""
        return self._changed(name=name)

    def read(self) -> Iterator[SourceRow | Rejected]:
        """Yield one record for each text, or each mapping of columns, that the function yields.

        Raises:
            StageError: the function raised, or yielded something else; names the record.
        """
        place = {"uri": f"cell:{self.function}", "code": self._digest()[:16]}
        for number, cells in self._cells():
            provenance = {**place, "row": number}
            row = self.row(cells, f"{self.function}:{number}", provenance)
            if isinstance(row, SourceRow):
                provenance["hash"] = raw_hash(canonical(cells))
            yield row

    def fingerprint(self) -> str | None:
        """Return the hash of code and parameters; None where other records may come each time."""
        return self._digest() if self.is_constant else None

    def _cells(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        number = 0
        try:
            with closing(self._items()) as items:  # at once, with what the function holds open
                for item in items:
                    number += 1
                    yield number, self._named_cells(item, number)
        except WorkbenchError:
            raise
        except Exception as error:
            how = f"{type(error).__name__}: {error}"
            raise self._failed(number, how, traceback.format_exc()) from error

    def _items(self) -> Generator[Any, None, None]:
        made = self()
        if isinstance(made, str | bytes | Mapping) or not isinstance(made, Iterable):
            raise self._failed(0, f"it returned a {type(made).__name__}; write yield")
        yield from made

    def _named_cells(self, item: Any, number: int) -> Mapping[str, Any]:
        if isinstance(item, str):
            return {self.text_column: item}
        if isinstance(item, Mapping):
            return {str(name): _builtin(value) for name, value in item.items()}
        raise self._failed(
            number, f"record {number} is a {type(item).__name__}, neither a text nor a dict"
        )

    def _failed(self, number: int, how: str, detail: str = "") -> StageError:
        return StageError(
            f"The source {self.name} failed: {how}",
            where=self.place(f"function {self.function}", f"after {number} records"),
            next_step="Mend the function in its cell, try it by calling it, and submit again.",
            detail=detail,
        )

    def _changed(self, **values: Any) -> UserSource:
        return type(self).parse({**self.model_dump(), **values})

    def _user_code(self) -> UserCode:
        return UserCode(name=self.function, source=self.code)

    def _digest(self) -> str:
        text = canonical([self.function, self.code, self.parameters])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@overload
def source(function: Callable[..., Any], /) -> UserSource: ...
@overload
def source(**settings: Any) -> Callable[[Callable[..., Any]], UserSource]: ...
def source(function: Callable[..., Any] | None = None, /, **settings: Any) -> Any:
    """Declare a function that yields texts, or dicts of columns, as a source of records.

    Its parameters are settings and need defaults. ``settings`` are those of every source with
    columns: ``name`` (else the function's), ``text_column``, ``label_column``, ``labels``,
    ``language``, ``limit``, ``omit_columns``; and ``is_constant``.

    Raises:
        SpecError: the function cannot travel to a worker, or its name is that of a kind of source.
    """
    if function is None:
        return lambda written: _define(written, settings)
    return _define(function, settings)


def _define(function: Callable[..., Any], settings: Mapping[str, Any]) -> UserSource:
    from workbench.data.sources.kinds import source_kinds  # which lists this kind, too

    code = capture(function)
    _own_parameters(function)
    if code.name in {kind.model_fields["kind"].default for kind in source_kinds()}:
        raise SpecError(f"There is a kind of source called {code.name!r} already",
                        where=code.name, next_step="Call the function otherwise.")  # fmt: skip
    made = UserSource.parse({
        "name": code.name, "function": code.name, "code": code.source, **settings
    })  # fmt: skip
    offer(made.name, made)
    return made


def _own_parameters(function: Callable[..., Any]) -> list[str]:
    """Return the names of a function's parameters, which all need defaults."""
    parameters = inspect.signature(function).parameters.values()
    for parameter in parameters:
        if parameter.default is inspect.Parameter.empty:
            raise SpecError(
                f"{function.__name__} needs a default for {parameter.name!r}",
                where=function.__name__,
                next_step="Give it one: nobody passes a value where the function runs.",
            )
    return [parameter.name for parameter in parameters]


def _builtin(value: Any) -> Any:
    """Return a numpy number as Python's own."""
    is_number = type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0
    return value.item() if is_number else value
