"""What a folder in the style of Hugging Face data sets holds: splits, their files, label names.

Told from names and from the data set card alone; code that lies in such a folder is never run.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml

from workbench.core.errors import DataError, nearest_name

# Which kind of source reads a file, by its suffix; of files in several forms, those of the
# commonest are the data, and of equally common ones the first here.
FORMS = {
    ".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow", ".jsonl": "jsonl",
    ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "csv", ".txt": "lines",
}  # fmt: skip
_PACKED = {".gz", ".bz2", ".xz", ".zst"}
# What splits are called in names of files and folders; a word of its own in the name.
_SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_NUMBERED = re.compile(r"(\w+(?:\.\w+)*)-\d{5}-of-\d{5}\b")  # train-00000-of-00002.parquet
_NO_DATA = {"dataset_infos.json", "dataset_info.json", "dataset_dict.json", "state.json"}
_MOST_CARD_BYTES = 1 << 20


class Split(NamedTuple):
    """One split: its files, relative to the folder, in order; and label names by column."""

    name: str
    files: list[str]
    label_names: dict[str, list[str]]


def form_of(name: str) -> str:
    """Return the kind of source that reads a file; empty if none does."""
    return FORMS.get(_suffix(name), "")


def _suffix(name: str) -> str:
    suffixes = [suffix.lower() for suffix in PurePosixPath(name).suffixes]
    while suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


# -- what save_to_disk wrote ----------------------------------------------------------------------


def saved_splits(root: Path, place: str) -> list[Split] | None:
    """Return the splits of a folder that ``save_to_disk`` wrote; None if it is no such folder.

    Raises:
        DataError: its description is damaged, or it holds only a choice of its rows.
    """
    dictionary = root / "dataset_dict.json"
    if not dictionary.is_file():
        return [_saved_split(root, "", place)] if (root / "state.json").is_file() else None
    names = _read_json(dictionary, place).get("splits")
    if not isinstance(names, list) or not all(_is_plain_name(name) for name in names):
        raise _not_saved("dataset_dict.json", "no list of splits", place)
    return [_saved_split(root, name, place) for name in names]


def _saved_split(root: Path, name: str, place: str) -> Split:
    state = _read_json(root / name / "state.json", place)
    info = root / name / "dataset_info.json"
    features = _read_json(info, place).get("features") if info.is_file() else {}
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise DataError("The folder holds a choice of its rows beside the rows", where=place,
                        next_step="Save it again after flatten_indices().")  # fmt: skip
    try:
        files = [str(PurePosixPath(name) / file["filename"]) for file in state["_data_files"]]
    except (KeyError, TypeError) as error:
        raise _not_saved(f"{name}/state.json", f"no {error}", place) from error
    split = name or str(state.get("_split") or "train")
    return Split(split, files, label_names(features))


def _is_plain_name(name: object) -> bool:
    return isinstance(name, str) and bool(re.fullmatch(r"\w[\w.-]*", name))


def _not_saved(name: str, why: str, place: str) -> DataError:
    return DataError(f"{name} is not what save_to_disk writes: {why}", where=place,
                     next_step="Save the data set again.")  # fmt: skip


def _read_json(path: Path, place: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _not_saved(path.name, str(error), place) from error
    return value if isinstance(value, dict) else {}


# -- a folder with a card, or with names that speak -----------------------------------------------


def find_splits(names: Sequence[str], card: str, configuration: str, place: str) -> list[Split]:
    """Return the splits of a folder with these files and this card.

    Raises:
        DataError: the card names no such configuration, or several and none was chosen; or no
            file is data.
    """
    head = read_card(card, place)
    chosen = _choose(head.get("configs"), configuration, place)
    config = str(chosen.get("config_name", configuration))
    infos = _entries(head.get("dataset_info"))
    info = infos.get(config, next(iter(infos.values())) if len(infos) == 1 else {})
    labels = label_names(info.get("features"))
    data = _data_files(names, str(chosen.get("data_dir") or ""))
    listed = _by_card(data, chosen["data_files"]) if chosen.get("data_files") else {}
    by_split = _of_one_form(listed or _by_name(data))
    if not by_split:
        raise DataError(
            "No file in it is data that can be read"
            + (": code that would load it is not run" if _has_code(names) else ""),
            where=place,
            next_step="Use a data set of Parquet, Arrow, CSV or JSON files.",
        )
    return [Split(split, files, labels) for split, files in by_split.items()]


def read_card(card: str, place: str = "") -> dict[str, Any]:
    """Return the facts at the head of a data set card, none where it has no head.

    Raises:
        DataError: the head is there but cannot be read.
    """
    match = re.match(r"\ufeff?---\s*\n(.*?)\n---", card[:_MOST_CARD_BYTES], re.DOTALL)
    try:
        head = yaml.load(match[1], _PlainLoader) if match else {}  # noqa: S506 (a safe one)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"The head of its card cannot be read: {' '.join(str(error).split())}",
                        where=place,
                        next_step="Mend the YAML at the top of README.md, or remove it.",
                        ) from error  # fmt: skip
    return head if isinstance(head, dict) else {}


class _PlainLoader(yaml.SafeLoader):
    """Refuses parts that stand for others, by which a short text becomes one without end."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise ValueError("it refers to a part of itself (*)")
        return super().compose_node(parent, index)


def label_names(features: object) -> dict[str, list[str]]:
    """Return the names of each label column, in either form that such features are written in."""
    found: dict[str, list[str]] = {}
    if isinstance(features, Mapping):
        for column, feature in features.items():
            if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel":
                found[str(column)] = _in_order(feature.get("names"))
    elif isinstance(features, list):
        for feature in features:
            dtype = feature.get("dtype") if isinstance(feature, Mapping) else None
            if isinstance(dtype, Mapping) and isinstance(dtype.get("class_label"), Mapping):
                found[str(feature.get("name"))] = _in_order(dtype["class_label"].get("names"))
    return {column: names for column, names in found.items() if names}


def _in_order(names: object) -> list[str]:
    if isinstance(names, Mapping):
        numbered = {str(key): str(name) for key, name in names.items()}
        return [numbered[str(n)] for n in range(len(numbered)) if str(n) in numbered]
    return [str(name) for name in names] if isinstance(names, list) else []


def _entries(entries: object) -> dict[str, dict[str, Any]]:
    """Return a card's entries by the name of their configuration."""
    listed = entries if isinstance(entries, list) else [entries]
    return {
        str(entry.get("config_name", "default")): entry
        for entry in listed
        if isinstance(entry, dict)
    }


def _choose(entries: object, configuration: str, place: str) -> dict[str, Any]:
    """Return the entry of a configuration: the named one, else the default, else the only one."""
    known = _entries(entries)
    if configuration in known:
        return known[configuration]
    if configuration:
        raise DataError(f"There is no configuration {configuration!r}", where=place,
                        next_step=nearest_name(configuration, known) or "Leave it empty.",
                        )  # fmt: skip
    marked = [entry for entry in known.values() if entry.get("default")]
    default = [*marked, *([known["default"]] if "default" in known else [])]
    if default or len(known) <= 1:
        return next(iter([*default, *known.values()]), {})
    raise DataError("The card names several configurations, and none was chosen", where=place,
                    next_step=f"Choose one: {', '.join(sorted(known))}")  # fmt: skip


def _data_files(names: Sequence[str], folder: str) -> list[str]:
    """Return the files that may be data, sorted; in a folder of theirs, if one is named."""
    prefix = f"{folder.removeprefix('./').strip('/')}/" if folder.strip("./") else ""
    return sorted(
        name
        for name in names
        if form_of(name)
        and name.startswith(prefix)
        and PurePosixPath(name).name not in _NO_DATA
        and not any(part.startswith((".", "__")) for part in name.split("/"))
    )


def _of_one_form(by_split: dict[str, list[str]]) -> dict[str, list[str]]:
    """Keep the files of the commonest form: of a table and its description, the table."""
    forms = list(dict.fromkeys(FORMS.values()))
    counts = Counter(form_of(name) for files in by_split.values() for name in files)
    best = max(counts, key=lambda form: (counts[form], -forms.index(form)), default="")
    kept = {
        split: [name for name in files if form_of(name) == best]
        for split, files in by_split.items()
    }
    return {split: files for split, files in kept.items() if files}


def _by_card(data: Sequence[str], data_files: object) -> dict[str, list[str]]:
    """Return the files of each split that a card lists by path or pattern."""
    found: dict[str, list[str]] = {}
    for entry in data_files if isinstance(data_files, list) else [data_files]:
        named: Mapping[Any, Any] = entry if isinstance(entry, Mapping) else {"path": entry}
        paths = named.get("path")
        for pattern in paths if isinstance(paths, list) else [paths]:
            if isinstance(pattern, str):
                split = found.setdefault(str(named.get("split", "train")), [])
                split += filter(_pattern(pattern).fullmatch, data)
    return {split: list(dict.fromkeys(files)) for split, files in found.items() if files}


def _pattern(glob: str) -> re.Pattern[str]:
    """Return a pattern of paths as an expression: * stays in a folder, ** does not."""
    signs = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*+|\?)", glob.removeprefix("./"))
    return re.compile("".join(signs.get(p, ".*" if p[:1] == "*" else re.escape(p)) for p in pieces))


def _by_name(data: Sequence[str]) -> dict[str, list[str]]:
    """Return the files of each split told by their names; all are train if no name tells."""
    numbered: dict[str, list[str]] = {}
    found: dict[str, list[str]] = {}
    for name in data:
        if match := _NUMBERED.match(PurePosixPath(name).name):
            numbered.setdefault(match[1], []).append(name)
        words = set(re.split(r"[^a-z]+", name.lower()))
        split = next((s for s, known in _SPLIT_WORDS.items() if words & set(known)), "")
        found.setdefault(split, []).append(name)
    if numbered:
        return {split: numbered[split] for split in sorted(numbered, key=_rank)}
    told = {split: found[split] for split in _SPLIT_WORDS if split in found}
    return told or ({"train": found[""]} if found else {})


def _rank(split: str) -> tuple[int, str]:
    known = list(_SPLIT_WORDS)
    return (known.index(split) if split in known else len(known), split)


def _has_code(names: Sequence[str]) -> bool:
    return any(name.endswith(".py") for name in names)
