"""Whole Specs that this process offers by name, for the lists of forms: rules of a notebook.

A function that a cell declares as a rule becomes a Spec; here a form finds it, and hears of a new
one while it is shown.
"""

from __future__ import annotations

from collections.abc import Callable

from workbench.core.spec import Spec

_offered: dict[type[Spec], dict[str, Spec]] = {}
_watchers: list[Callable[[], None]] = []


def offer(name: str, spec: Spec) -> None:
    """Offer a Spec by name wherever a form lists Specs of its class; a later one replaces it."""
    _offered.setdefault(type(spec), {})[name] = spec
    tell_watchers()


def tell_watchers() -> None:
    """Have views look again at what a cell may have declared."""
    for told in _watchers:
        told()


def offered(spec_class: type[Spec]) -> dict[str, Spec]:
    """Return what is offered of a class, by name, oldest first."""
    return dict(_offered.get(spec_class, {}))


def watch(told: Callable[[], None]) -> Callable[[], None]:
    """Have ``told`` called after each declaration; return the function that ends this."""
    _watchers.append(told)
    return lambda: _watchers.remove(told) if told in _watchers else None
