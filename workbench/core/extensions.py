"""What installed packages offer to the workbench: found by entry point, loaded on first use."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from workbench.core.errors import SpecError, WorkbenchError, nearest_name


@cache
def _entries(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def extension_names(group: str) -> list[str]:
    """Return the names that are offered in a group, shipped order first."""
    return list(_entries(group))


def load_extension(
    group: str, name: str, word: str, broken: type[WorkbenchError], attribute: str = ""
) -> Any:
    """Return what a name of a group stands for, or an attribute of that.

    Args:
        group: of entry points.
        name: within the group.
        word: for people, what the group has: ``stage``.
        broken: the error of a package that cannot be loaded.
        attribute: that counts.

    Raises:
        SpecError: there is no such name; the nearest one is told.
        WorkbenchError: of the kind ``broken``, or what the package itself says.
    """
    entries = _entries(group)
    if name not in entries:
        raise SpecError(f"There is no {word} {name!r}", where=word,
                        next_step=nearest_name(name, entries))  # fmt: skip
    try:
        loaded = entries[name].load()
        return getattr(loaded, attribute) if attribute else loaded
    except WorkbenchError:
        raise
    except Exception as error:
        raise broken(
            f"The {word} {name!r} cannot be loaded: {type(error).__name__}: {error}",
            where=entries[name].value,
            next_step="Mend or uninstall the package that offers it.",
        ) from error
