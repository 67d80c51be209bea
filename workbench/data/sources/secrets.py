"""Secrets stand in Specs only by reference, ``${env:NAME}``; they are looked up for the work."""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, urlsplit

from workbench.core.errors import DataError, SpecError

_REFERENCE = re.compile(r"\$\{env:(\w+)\}")
_SECRET_PARAMETERS = {
    "password", "passwd", "pwd", "token", "secret", "sslpassword", "key", "sig", "signature",
    "access_token", "api_key", "apikey",
}  # fmt: skip


def without_literal_secret(url: str) -> str:
    """Return the URL if no secret is written out in it.

    Raises:
        SpecError: it holds one; past pydantic, whose own message would repeat it.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # no URL that could be read, such as a broken IPv6 host
        return url
    _, _, password = parts.netloc.rpartition("@")[0].partition(":")
    secrets = [password, *(v for k, v in parse_qsl(parts.query) if k.lower() in _SECRET_PARAMETERS)]
    if any(secret and not _REFERENCE.fullmatch(secret) for secret in secrets):
        raise SpecError(
            "The URL holds a password, and Specs are stored and shown",
            where="sources.url",
            next_step="Write ${env:NAME} in its place and set that variable where workers run.",
        )
    return url


def only_references(values: dict[str, str]) -> dict[str, str]:
    """Return the values if each is a reference to an environment variable.

    Raises:
        SpecError: one is written out; it is not repeated.
    """
    for name, value in values.items():
        if not _REFERENCE.fullmatch(value):
            raise SpecError(
                f"The option {name!r} is written out, and Specs are stored and shown",
                where=f"sources.storage_options.{name}",
                next_step="Write ${env:NAME} in its place and set that variable where workers run.",
            )
    return values


def look_up(text: str, where: str) -> str:
    """Return the text with every reference replaced by what it refers to.

    Raises:
        DataError: a variable is not set on this worker.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise DataError(f"The environment variable {match[1]} is not set on this worker",
                            where=where, next_step="Set it where workers run.")  # fmt: skip
        return os.environ[match[1]]

    return _REFERENCE.sub(value, text)


def masked(message: str, *texts: str) -> str:
    """Return the message with each secret that ``texts`` refer to replaced by its reference."""
    for name in (name for text in texts for name in _REFERENCE.findall(text)):
        if os.environ.get(name):
            message = message.replace(os.environ[name], f"${{env:{name}}}")
    return message
