"""A function of a notebook cell as a Spec of its own: its source text, with its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from workbench.core.presets import offer
from workbench.core.spec import Spec, option
from workbench.core.user_code import PlainValue, UserCode, capture, refuse_unknown


class UserFunction(Spec):
    """A function as source text, with its settings; subclasses say what it is for."""

    # Returns the names of a function's settings; raises SpecError if it cannot be of this kind.
    settings_of: ClassVar[Callable[[Callable[..., Any]], list[str]]]

    name: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,60}$")] = option(
        title="Name", help="The function's name."
    )
    source: str = option(title="Code", help="Python that defines a function of that name.")
    parameters: dict[str, PlainValue] = option(
        {}, title="Parameters",
        help="Values of the function's own parameters that differ from their defaults.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _is_code(self) -> Self:
        UserCode(name=self.name, source=self.source)  # refuses what cannot be its code
        return self

    @classmethod
    def declare(cls, function: Callable[..., Any]) -> Self:
        """Return a function of a cell as a Spec, and offer it to the forms that list such.

        Raises:
            SpecError: the function is not of this kind, or uses what cannot travel.
        """
        code = capture(function)
        cls.settings_of(function)
        made = cls.parse({"name": code.name, "source": code.source})
        offer(made.name, made)
        return made

    def set(self, **parameters: PlainValue) -> Self:
        """Return it with other parameters.

        Raises:
            SpecError: the function has no such parameter; the nearest is told.
        """
        refuse_unknown(self.name, parameters, type(self).settings_of(self.load()))
        return self.model_copy(update={"parameters": {**self.parameters, **parameters}})

    def load(self) -> Callable[..., Any]:
        """Return the function itself.

        Raises:
            StageError: its code raised an error, for example at an import.
        """
        return UserCode(name=self.name, source=self.source).load()
