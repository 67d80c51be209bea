"""Prompts of other tools: read into versions, and versions written for them.

Formats: templates of promptsource (YAML), of OpenPrompt (text, with a verbaliser as JSON), prompts
as Langfuse and MLflow keep them (JSON), and ``prompt.json``, our own. What a template does that is
not possible here is told of that prompt; the others of its file are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

from workbench.core.errors import DataError, SpecError
from workbench.prompts.verbaliser import Choice, FreeText, Verbaliser
from workbench.prompts.version import PromptVersion

Format = Literal["promptsource", "openprompt", "langfuse", "mlflow", "workbench"]
FORMATS: tuple[Format, ...] = ("promptsource", "openprompt", "langfuse", "mlflow", "workbench")

_NAME = re.compile(r"[^A-Za-z0-9._-]+")
_PART = "|||"  # between question and answer, and between answers, of promptsource
_PIECE = re.compile(r"\{([^{}]*)\}")  # of a template of OpenPrompt
_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")


class Imported(NamedTuple):
    """A prompt of another tool, as a version; or why it cannot be one."""

    name: str
    version: PromptVersion | None
    problem: str = ""


def read_prompts(
    path: Path, format: Format | None = None, verbaliser: Verbaliser | None = None
) -> list[Imported]:
    """Read the prompts in a file.

    Args:
        path: the file.
        format: whose it is; told from the file itself where not given.
        verbaliser: which answers there are, for formats that do not say; free text by default.

    Raises:
        DataError: the file cannot be read, or is of no known format.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The file cannot be read: {error}", where=str(path),
                        next_step="Name a text file with prompts.") from error  # fmt: skip
    content = _parsed(path, text, format)
    known = format or _told_format(path, content)
    reader = _READERS[known]
    made = []
    for name, values in reader(path, content):
        try:
            answers = values.pop("verbaliser", None) or verbaliser or FreeText()
            origin = f"{known}: {path.name}, {name}"
            version = PromptVersion.parse({"origin": origin, **values, "verbaliser": answers})
            made.append(Imported(_NAME.sub("-", name).strip("-.") or "prompt", version))
        except SpecError as error:
            made.append(Imported(name, None, error.what))
    if not made:
        raise DataError("The file holds no prompt", where=str(path),
                        next_step=f"Name a file of {', '.join(FORMATS)}.")  # fmt: skip
    return made


def write_prompt(name: str, version: PromptVersion, format: Format) -> str:
    """Return a version as the text of a file of another tool.

    Raises:
        SpecError: the format has no place for something of it.
    """
    if format == "workbench":
        content = version.model_dump(mode="json", include=set(PromptVersion.model_fields))
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    if version.examples is not None:
        raise SpecError(f"{format} has no place for examples that are chosen for each text",
                        where="format", next_step="Use the format workbench.")  # fmt: skip
    messages = [message.model_dump() for message in version.messages]
    answers = version.verbaliser.model_dump(mode="json")
    if format == "langfuse":
        content = {"name": name, "type": "chat", "prompt": messages, "labels": [], "tags": [],
                   "config": {"verbaliser": answers, **_decoding(version)}}  # fmt: skip
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    if format == "mlflow":
        content = {"name": name, "template": messages, "tags": {"verbaliser": json.dumps(answers)},
                   "model_config": _decoding(version)}  # fmt: skip
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    return _as_template(name, version, format)


def _decoding(version: PromptVersion) -> dict[str, Any]:
    kept = version.decoding
    return {"temperature": kept.temperature, "top_p": kept.top_p, "max_tokens": kept.max_tokens}


def _as_template(name: str, version: PromptVersion, format: Format) -> str:
    """Return a version as one template with its choices."""
    if len(version.messages) != 1 or not isinstance(version.verbaliser, Choice):
        raise SpecError(f"{format} has one message, whose answer is one label of several",
                        where="format", next_step="Use langfuse, mlflow or workbench.")  # fmt: skip
    (message,), options = version.messages, version.verbaliser.options()
    if format == "openprompt":
        placed = _VARIABLE.sub(
            lambda found: '{"mask"}' if found[1] == "mask" else
            '{"placeholder":"text_a"}' if found[1] == "text" else f'{{"meta":"{found[1]}"}}',
            message.content,
        )  # fmt: skip
        if "{{" in placed or "{%" in placed:
            raise SpecError("OpenPrompt has no filters, loops or conditions", where="format",
                            next_step="Use langfuse, mlflow or workbench.")  # fmt: skip
        words = json.dumps({o.label: list(o.words) for o in options}, ensure_ascii=False)
        return f"{placed}\n{words}\n"
    first = f" {_PART} ".join(option.words[0] for option in options)
    template = {"answer_choices": first, "id": version.content_hash[:32], "name": name,
                "jinja": f"{message.content} {_PART} {{{{ answer_choices[label] }}}}",
                "reference": "", "metadata": {"original_task": True}}  # fmt: skip
    return yaml.safe_dump({"templates": {template["id"]: template}}, allow_unicode=True)


# -- reading --------------------------------------------------------------------------------------


def _parsed(path: Path, text: str, format: Format | None) -> Any:
    """Return the values in a file: JSON, YAML, or lines."""
    try:
        if path.suffix == ".json" or format in ("langfuse", "mlflow", "workbench"):
            return json.loads(text)
        if path.suffix in (".yaml", ".yml") or format == "promptsource":
            return yaml.load(text, _Templates)  # noqa: S506 (a SafeLoader that knows more tags)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        first = " ".join(str(error).split())[:200]
        raise DataError(f"The file cannot be read: {first}", where=str(path),
                        next_step="Repair the file, or give its format.") from error  # fmt: skip
    return text.splitlines()


class _Templates(yaml.SafeLoader):
    """Reads the objects of promptsource as plain values."""


def _values_of(loader: yaml.SafeLoader, node: Any) -> dict[Any, Any]:
    return loader.construct_mapping(node, deep=True)


for _tag in ("DatasetTemplates", "Template", "TemplateMetadata"):
    _Templates.add_constructor(f"!{_tag}", _values_of)


def _told_format(path: Path, content: Any) -> Format:
    first = content[0] if isinstance(content, list) and content else content
    if isinstance(first, Mapping):
        if "templates" in first:
            return "promptsource"
        if "messages" in first and "verbaliser" in first:
            return "workbench"
        if "prompt" in first:
            return "langfuse"
        if "template" in first:
            return "mlflow"
    if isinstance(content, list) and any(_PIECE.search(str(line)) for line in content):
        return "openprompt"
    raise DataError("The file is of no known format", where=str(path),
                    next_step=f"Give the format: {', '.join(FORMATS)}.")  # fmt: skip


Read = Iterator[tuple[str, dict[str, Any]]]


def _each(content: Any) -> list[Mapping[str, Any]]:
    found = content if isinstance(content, list) else [content]
    return [item for item in found if isinstance(item, Mapping)]


def _workbench(path: Path, content: Any) -> Read:
    for item in _each(content):
        yield path.stem, {k: v for k, v in item.items() if k != "content_hash"}


def _langfuse(path: Path, content: Any) -> Read:
    for item in _each(content):
        config = item.get("config") or {}
        yield str(item.get("name", path.stem)), {
            "messages": _messages(item.get("prompt")), "verbaliser": config.get("verbaliser"),
            "decoding": _decoding_of(config),
        }  # fmt: skip


def _mlflow(path: Path, content: Any) -> Read:
    for item in _each(content):
        kept = (item.get("tags") or {}).get("verbaliser")
        yield str(item.get("name", path.stem)), {
            "messages": _messages(item.get("template")),
            "verbaliser": json.loads(kept) if isinstance(kept, str) else None,
            "decoding": _decoding_of(item.get("model_config") or {}),
        }  # fmt: skip


def _messages(told: Any) -> Any:
    return [{"role": "user", "content": told}] if isinstance(told, str) else told


def _decoding_of(config: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: config[name] for name in ("temperature", "top_p", "max_tokens") if name in config}
    return {name: value for name, value in kept.items() if value is not None}


def _promptsource(path: Path, content: Any) -> Read:
    for item in (content.get("templates") or {}).values():
        name = str(item.get("name") or item.get("id") or path.stem)
        question, _, _answer = str(item.get("jinja", "")).partition(_PART)
        choices = [part.strip() for part in str(item.get("answer_choices") or "").split(_PART)]
        text = re.sub(r"\banswer_choices\b", "options", question.strip())
        values: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
        if len([choice for choice in choices if choice]) > 1:
            values["verbaliser"] = {
                "kind": "choice", "words": {_label(choice): [choice] for choice in choices}
            }  # fmt: skip
        yield name, values


def _label(words: str) -> str:
    return words.replace("|", "/")


def _openprompt(path: Path, content: Sequence[str]) -> Read:
    answers = None
    beside = path.with_suffix(".json")
    lines = [line for line in content if line.strip()]
    if lines and lines[-1].lstrip().startswith("{") and _words_of(lines[-1]):
        answers = _words_of(lines.pop())
    elif beside.exists():
        answers = _words_of(beside.read_text(encoding="utf-8"))
    for number, line in enumerate(lines):
        name = path.stem if len(lines) == 1 else f"{path.stem}-{number + 1}"
        values: dict[str, Any] = {"messages": [{"role": "user", "content": _jinja(line)}]}
        if answers:
            values["verbaliser"] = {"kind": "choice", "words": answers}
        yield name, values


def _words_of(text: str) -> dict[str, list[str]] | None:
    try:
        told = json.loads(text)
    except ValueError:
        return None
    if not isinstance(told, dict) or not told:
        return None
    return {str(k): v if isinstance(v, list) else [v] for k, v in told.items()}


def _jinja(line: str) -> str:
    """Return a template of OpenPrompt as Jinja; what it has not becomes an error in there."""

    def placed(found: re.Match[str]) -> str:
        piece = found[1].strip()
        name = re.match(r'"(\w+)"\s*(?::\s*"([^"]*)")?', piece)
        if name is None:
            return found[0]
        if name[1] == "mask":
            return "{{ mask }}"
        if name[1] == "placeholder":
            return "{{ text }}" if name[2] == "text_a" else f"{{{{ {name[2]} }}}}"
        if name[1] == "meta":
            return f"{{{{ {name[2]} }}}}"
        return f"{{% {name[1]} %}}"  # soft tokens and the like: the template says what it is

    return _PIECE.sub(placed, line)


_READERS: dict[Format, Callable[[Path, Any], Read]] = {
    "promptsource": _promptsource, "openprompt": _openprompt, "langfuse": _langfuse,
    "mlflow": _mlflow, "workbench": _workbench,
}  # fmt: skip
