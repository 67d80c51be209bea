"""Data sets on the Hugging Face hub: their files at one commit, in the local cache."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from workbench.core.errors import ResourceError
from workbench.data.sources.network import cause_of

_COMMIT = re.compile(r"[0-9a-f]{40}")
CARD = "README.md"
_TIMEOUT_SECONDS = 30.0


class Commit(NamedTuple):
    """A data set at one commit, and the names of its files."""

    name: str
    revision: str
    files: list[str]

    def uri(self, file: str) -> str:
        """Return where a file of it is, for good."""
        return f"hf://datasets/{self.name}@{self.revision}/{file}"


def find_commit(name: str, revision: str) -> Commit:
    """Ask the hub for the commit that a branch or tag stands at, and its files.

    Raises:
        ResourceError: the hub cannot be reached, or has no such data set for us.
    """
    from huggingface_hub import HfApi

    with _telling(name):
        info = HfApi(endpoint=_endpoint()).dataset_info(
            name, revision=revision or None, timeout=_TIMEOUT_SECONDS
        )
    names = [item.rfilename for item in info.siblings or []]
    return Commit(name, str(info.sha), [n for n in names if ".." not in n.split("/")])


def pinned(revision: str) -> bool:
    """Whether a revision is a commit, which never moves."""
    return bool(_COMMIT.fullmatch(revision))


def download(commit: Commit, files: Sequence[str]) -> Path:
    """Return the folder in the local cache that holds these files of a commit.

    Raises:
        ResourceError: they are not there and the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    cached = _cached(commit, files)
    if cached is not None:
        return cached
    disable_progress_bars()  # a worker has nobody to show them to
    with _telling(commit.name):
        # glob signs in a file's name must not match other files
        patterns = [re.sub(r"([*?\[])", r"[\1]", name) for name in files]
        return Path(
            snapshot_download(
                commit.name, repo_type="dataset", revision=commit.revision,
                allow_patterns=patterns, endpoint=_endpoint(), max_workers=1,
            )
        )  # fmt: skip


def _cached(commit: Commit, files: Sequence[str]) -> Path | None:
    """Return the cache's folder of a commit if all these files are in it: nobody is asked."""
    from huggingface_hub import try_to_load_from_cache

    with _telling(commit.name):
        found = [
            try_to_load_from_cache(
                commit.name, name, revision=commit.revision, repo_type="dataset"
            )
            for name in files
        ]  # fmt: skip
    if not found or not all(isinstance(path, str) for path in found):
        return None
    return Path(str(found[0]).removesuffix(files[0]))


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


@contextmanager
def _telling(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the hub's library changes its network library, and so its errors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ResourceError(
            f"The data set {name} cannot be had from the hub: {reason}",
            where=f"hub, {name}",
            next_step="Check its name and the network; a private one needs HF_TOKEN where workers "
            "run. Or name a folder that holds it.",
            cause=cause_of(error),
        ) from error
