"""Which provider a workspace's pool has: chosen once, kept in a file of the workspace."""

from __future__ import annotations

from pathlib import Path

import yaml

from workbench.core.disk import write_private
from workbench.core.errors import ResourceError, SpecError
from workbench.core.extensions import extension_names, load_extension
from workbench.pool.providers.local import LocalPool
from workbench.pool.providers.provider import PoolSpec

PROVIDER_GROUP = "workbench.providers"
_FILE = "pool.yaml"  # in the workspace


def provider_names() -> list[str]:
    """Return the names of all installed providers."""
    return extension_names(PROVIDER_GROUP)


def load_provider(name: str) -> type[PoolSpec]:
    """Return a provider's Spec.

    Raises:
        SpecError: no provider has that name; the nearest one is told.
        ResourceError: the package that offers it is broken.
    """
    found: type[PoolSpec] = load_extension(PROVIDER_GROUP, name, "provider", ResourceError)
    return found


def provider_of(spec: PoolSpec) -> str:
    """Return the name of a Spec's provider.

    Raises:
        SpecError: it has none.
    """
    for name in provider_names():
        if load_provider(name) is type(spec):
            return name
    raise SpecError(
        f"No provider takes a {type(spec).__name__}",
        where="pool",
        next_step="Offer it by an entry point of the group workbench.providers.",
    )


def read_pool(root: Path) -> PoolSpec:
    """Return what the pool of a workspace is made of: this host, unless another was chosen.

    Raises:
        SpecError: the workspace's file of it cannot be understood.
    """
    path = root / _FILE
    if not path.exists():
        return LocalPool()
    try:
        values = dict(yaml.safe_load(path.read_text()))
        spec = load_provider(values.pop("provider"))
    except (yaml.YAMLError, TypeError, ValueError, LookupError) as error:
        raise SpecError(
            f"The file of the pool is no table with a provider: {error}",
            where=str(path),
            next_step="Choose the pool anew: workbench pool use --help",
        ) from error
    return spec.parse(values)


def write_pool(root: Path, spec: PoolSpec) -> None:
    """Keep what the pool of a workspace shall be made of."""
    root.mkdir(parents=True, exist_ok=True)
    values = {"provider": provider_of(spec), **spec.model_dump(mode="json", exclude_defaults=True)}
    write_private(root / _FILE, yaml.safe_dump(values, sort_keys=False))
