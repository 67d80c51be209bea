"""Secrets stand in Specs only by reference, ``${env:NAME}``; they are looked up for the work."""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, quote

from workbench.core.errors import DataError, SpecError

REFERENCE = re.compile(r"\$\{env:(\w+)\}")
# Databases take any sign but @ into a password, web servers no slash: there a port may come first.
_PASSWORD = re.compile(r"(?:https?://[^:/@]*:([^@/]*)|(?!https?://)[\w+.-]+://[^:/@]*:([^@]*))@")
_SECRET_PARAMETERS = {
    "password", "passwd", "pwd", "token", "secret", "sslpassword", "key", "sig", "signature",
    "access_token", "api_key", "apikey", "accountkey", "sharedaccesskey",
}  # fmt: skip
_BARE_REFERENCE = "${env}"  # without the signs that part a URL
# A setting within a setting, as in odbc_connect=DRIVER=...;UID=...;PWD=...
_INNER_SETTING = re.compile(r"(?:^|[;,\s])\s*(\w+)\s*=\s*([^;,\s]*)")


def without_literal_secret(url: str) -> str:
    """Return the URL if no secret is written out in it.

    Raises:
        SpecError: it holds one; past pydantic, whose own message would repeat it.
    """
    password = _PASSWORD.match(REFERENCE.sub(_BARE_REFERENCE, url))
    settings = parse_qsl(url.partition("?")[2], keep_blank_values=True)
    inner = [setting for _, value in settings for setting in _INNER_SETTING.findall(value)]
    secrets = [
        *(password.groups("") if password else ()),
        *(value for name, value in [*settings, *inner] if name.lower() in _SECRET_PARAMETERS),
    ]
    if any(REFERENCE.sub("", secret).replace(_BARE_REFERENCE, "") for secret in secrets):
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
        if not REFERENCE.fullmatch(value):
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

    return REFERENCE.sub(value, text)


def masked(message: str, *texts: str) -> str:
    """Return the message with each secret that ``texts`` refer to replaced by its reference."""
    for name in (name for text in texts for name in REFERENCE.findall(text)):
        if value := os.environ.get(name):
            for written in (value, quote(value, safe="")):
                message = message.replace(written, f"${{env:{name}}}")
    return message
