"""Which database the catalog of a workspace is in: checked, recorded once, told without secrets.

A workspace remembers its database server in ``database.url``. Whoever starts the next daemon may
have another environment: without the record it would open an empty SQLite file instead, and all
runs and artifacts would seem to be gone.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from workbench.core.daemon_process import DATABASE_URL_FILE
from workbench.core.errors import ResourceError

_VARIABLE = "WORKBENCH_DATABASE"
_DRIVER = "postgresql+psycopg"
_SECRETS = ("password", "sslpassword")


def settle_database_url(root: Path, wanted: str | None) -> sa.URL:
    """Return where the catalog of the workspace at ``root`` is; ``wanted`` may be left out.

    What is recorded has no password: without ``wanted``, the server's own client library finds one
    in ``~/.pgpass`` or ``PGPASSWORD``.

    Raises:
        ResourceError: this is no URL of a database, or the workspace has its catalog elsewhere.
    """
    record, file = root / DATABASE_URL_FILE, root / "catalog.sqlite"
    recorded = record.read_text(encoding="utf-8").strip() if record.is_file() else ""
    if not wanted:
        return _parse(recorded or f"sqlite:///{file}")
    url = _parse(wanted)
    told = url_without_secrets(url)
    if recorded and told != recorded:
        raise _elsewhere(recorded, told, f"If the database itself has moved, delete {record}.")
    if not recorded and file.exists() and url.database != str(file):
        raise _elsewhere(str(file), told, f"Leave {_VARIABLE} out, or use another workspace.")
    return url


def record_database_url(root: Path, url: sa.URL) -> None:
    """Remember a database server, once it has answered; a file in the workspace needs no record."""
    told = url_without_secrets(url)
    if told == f"sqlite:///{root / 'catalog.sqlite'}":
        return
    partial = root / f"{DATABASE_URL_FILE}.partial"
    partial.write_text(f"{told}\n", encoding="utf-8")
    partial.replace(root / DATABASE_URL_FILE)


def url_without_secrets(url: sa.URL) -> str:
    """Return a URL that may be logged, shown and written down."""
    query = {name: value for name, value in url.query.items() if name not in _SECRETS}
    kept = sa.URL.create(  # URL.set takes no password for one that stays
        url.drivername, url.username, None, url.host, url.port, url.database, query
    )
    return kept.render_as_string(hide_password=False)


def _parse(text: str) -> sa.URL:
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        # Without its cause: that may quote a URL with its password.
        raise _no_database("This is no URL of a database") from None
    if url.drivername == "postgresql":
        url = url.set(drivername=_DRIVER)
    if url.drivername not in (_DRIVER, "sqlite", "sqlite+pysqlite"):
        raise _no_database(f"The catalog cannot be kept in {url.drivername!r:.60}")
    return url


def _no_database(what: str) -> ResourceError:
    return ResourceError(
        what,
        where=_VARIABLE,
        next_step=f"Set {_VARIABLE} to {_DRIVER}://USER@HOST/DATABASE, or leave it out.",
    )


def _elsewhere(recorded: str, wanted: str, next_step: str) -> ResourceError:
    return ResourceError(
        f"The catalog of this workspace is in {recorded}",
        where=f"{_VARIABLE}={wanted}",
        next_step=next_step,
    )
