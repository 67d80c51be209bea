"""A prompt put to records: its messages filled in, a scorer asked, its answers read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workbench.core.artifact import Artifact
from workbench.core.context import RunContext
from workbench.core.errors import BugError, SpecError
from workbench.data.records import read_records
from workbench.models.embed import Embedder
from workbench.models.resolve import resolve_model
from workbench.prompts.cells import Cells, cell_key
from workbench.prompts.examples import Chooser, Example, Pool, needs_vectors
from workbench.prompts.probabilities import CONTENT_FREE, prior_of, probabilities
from workbench.prompts.scorers.scorer import Scorer, ScorerSpec, Weights, Written
from workbench.prompts.verbaliser import WEIGHED, Option, Spans
from workbench.prompts.version import Messages, PromptVersion
from workbench.tasks.labelled_rows import read_labelled
from workbench.tasks.predictions import PREDICTED_LABEL, Scores, with_predictions

ANSWER = "answer"  # the column of what a scorer wrote, or of the pieces or values read from it
_CHUNK = 256  # records per durable part
_EXTRA = "extra"


@dataclass(frozen=True)
class Answered:
    """Records with their answers, and how many have none."""

    table: pa.Table
    num_unreadable: int


class Questioner:
    """One prompt version and one scorer, over the records of one run."""

    def __init__(self, version: PromptVersion, spec: ScorerSpec, run: RunContext) -> None:
        """Check that the two go together.

        Raises:
            SpecError: the prompt needs an answer that the scorer cannot give.
        """
        self._version = version
        self._spec = spec
        self._run = run
        verbaliser = version.verbaliser
        has_options = isinstance(verbaliser, WEIGHED)
        self.is_weighed = has_options and spec.weighs
        if not self.is_weighed and not spec.writes and not (has_options and spec.decides):
            raise SpecError(
                f"A scorer of kind {spec.kind} cannot write, and answers of kind "
                f"{verbaliser.kind} are written",
                where="scorer",
                next_step="Use a scorer that writes (causal, endpoint, cell), or a verbaliser of "
                "kind choice, score or yes_no.",
            )
        calibration = verbaliser.calibration if isinstance(verbaliser, WEIGHED) else "none"
        can_calibrate = self.is_weighed or (spec.decides and calibration == "batch")
        if calibration != "none" and not can_calibrate:
            raise SpecError(
                f"Answers of this scorer cannot be calibrated by {calibration}",
                where="verbaliser.calibration",
                next_step="Use none, or a scorer that weighs answers (embedding, causal, cloze).",
            )

    def answer(self, records: pa.Table, where: str) -> Answered:
        """Answer all records, in durable parts.

        Raises:
            DataError: a column that the prompt shows is not there.
            WorkbenchError: the scorer failed.
        """
        rows = _values(records)
        self._version.check_columns(sorted(rows[0]) if rows else [], where)
        if self.is_weighed:
            return self._weighed(records, rows)
        return self._written(records, rows)

    # -- answers with probabilities -----------------------------------------------------------

    def _weighed(self, records: pa.Table, rows: list[dict[str, Any]]) -> Answered:
        verbaliser: Any = self._version.verbaliser
        weights = np.concatenate([*self._weights(rows)])
        prior = None
        if verbaliser.calibration == "batch":
            prior = prior_of(weights, verbaliser.temperature)
        elif verbaliser.calibration == "contextual":
            names = ["text", *self._version.variables]
            free = [dict.fromkeys(names, words) for words in CONTENT_FREE]
            free_weights = self._scorer.weigh(self._messages(free), verbaliser.options())
            prior = prior_of(free_weights, verbaliser.temperature)
        scores = probabilities(weights, verbaliser.temperature, prior)
        table = with_predictions(records, self._version.labels, scores, verbaliser.abstain_below)
        return Answered(table, 0)

    def _weights(self, rows: list[dict[str, Any]]) -> Iterator[Weights]:
        options = self._version.verbaliser.options()  # type: ignore[union-attr]
        for start, chunk in self._chunks(rows):

            def write(folder: Path, chunk: list[dict[str, Any]] = chunk) -> None:
                weights = self._scorer.weigh(self._messages(chunk), options)
                np.save(folder / "weights.npy", weights, allow_pickle=False)

            folder = self._run.checkpoint(f"weights-{start // _CHUNK:05d}", write)
            yield np.load(folder / "weights.npy", allow_pickle=False)
            self._run.progress(start + len(chunk), len(rows), "records")

    # -- answers in words ---------------------------------------------------------------------

    def _written(self, records: pa.Table, rows: list[dict[str, Any]]) -> Answered:
        verbaliser: Any = self._version.verbaliser
        written = self._texts(rows)
        if isinstance(verbaliser, WEIGHED):
            return self._labelled(records, written)
        texts = records["text"].to_pylist()
        found = [
            None if answer.text is None
            else verbaliser.read(answer.text, text) if isinstance(verbaliser, Spans)
            else verbaliser.read(answer.text)
            for answer, text in zip(written, texts, strict=True)
        ]  # fmt: skip
        told = [
            value
            if value is None or isinstance(value, str)
            else json.dumps(value, ensure_ascii=False)
            for value in found
        ]
        return Answered(_with(records, ANSWER, told), found.count(None))

    def _labelled(self, records: pa.Table, written: Sequence[Written]) -> Answered:
        """Return records with the labels that answers in words say."""
        verbaliser: Any = self._version.verbaliser
        table = records
        if written and all(answer.weights is not None for answer in written):
            weights = np.asarray([answer.weights for answer in written], np.float32)
            prior = None
            if verbaliser.calibration == "batch":
                prior = prior_of(weights, verbaliser.temperature)
            scores = probabilities(weights, verbaliser.temperature, prior)
            table = with_predictions(
                records, self._version.labels, scores, verbaliser.abstain_below
            )
            return Answered(_with(table, ANSWER, [answer.text for answer in written]), 0)
        read = [None if a.text is None else verbaliser.read(a.text) for a in written]
        table = with_predictions(records, self._version.labels, self._certain(read))
        column = table.schema.get_field_index(PREDICTED_LABEL)
        table = table.set_column(column, PREDICTED_LABEL, pa.array(read, pa.string()))
        table = _with(table, ANSWER, [answer.text for answer in written])
        return Answered(table, read.count(None))

    def _texts(self, rows: list[dict[str, Any]]) -> list[Written]:
        """Return the answer to each record; equal prompts are asked once."""
        asked = [messages for _, chunk in self._chunks(rows) for messages in self._messages(chunk)]
        keys = [cell_key(self._version, self._spec, messages) for messages in asked]
        options = self._options()
        with Cells(self._run.folder, self._run.term) as cells:
            missing = {k: m for k, m in zip(keys, asked, strict=True) if k not in cells}
            self._tell_cost(list(missing.values()))
            waiting = list(missing)
            answers = self._scorer.write(
                self._while_wanted(missing.values(), cells), options, self._version.decoding
            ) if missing else iter(())  # fmt: skip
            num_known = len(rows) - len(missing)
            for num_done, (number, written) in enumerate(answers, num_known + 1):
                cells.keep(waiting[number], written)
                self._run.progress(num_done, len(rows), "records")
            self._run.stop_if_asked()
            if not all(key in cells for key in missing):
                raise self._spec.over_budget(*cells.used) or BugError("A prompt has no answer")
            return [cells[key] for key in keys]

    def _options(self) -> list[Option]:
        verbaliser = self._version.verbaliser
        return verbaliser.options() if isinstance(verbaliser, WEIGHED) else []

    def _while_wanted(self, prompts: Iterable[Messages], cells: Cells) -> Iterator[Messages]:
        """Yield prompts until the run shall stop, or the budget is used up.

        What is on its way then is still kept.
        """
        for prompt in prompts:
            if self._run.should_pause or self._run.cancelled:
                return
            if self._spec.over_budget(*cells.used) is not None:
                return
            yield prompt

    def _tell_cost(self, prompts: Sequence[Messages]) -> None:
        characters = sum(len(message.content) for prompt in prompts for message in prompt)
        told = self._spec.check_budget(len(prompts), characters, self._version.decoding)
        if told:
            self._run.log(told)

    def _certain(self, read: Sequence[str | None]) -> Scores:
        """Return probabilities of answers in words: 1 for the label that was said, if one was."""
        labels = self._version.labels
        scores = np.full((len(read), len(labels)), 1 / len(labels), np.float32)
        for row, label in enumerate(read):
            if label is not None:
                scores[row] = 0.0
                scores[row, labels.index(label)] = 1.0
        return scores

    # -- what is asked ------------------------------------------------------------------------

    def _chunks(self, rows: list[dict[str, Any]]) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        for start in range(0, len(rows), _CHUNK):
            self._run.stop_if_asked()
            yield start, rows[start : start + _CHUNK]

    def _messages(self, rows: list[dict[str, Any]]) -> list[Messages]:
        examples = self._version.examples
        if examples is None:
            return [self._filled(row) for row in rows]
        chosen = self._chooser.choose([str(row["text"]) for row in rows], examples.size)
        return [self._filled(row, shown) for row, shown in zip(rows, chosen, strict=True)]

    def _filled(self, row: Mapping[str, Any], examples: Sequence[Example] = ()) -> Messages:
        gap = self._spec.gap
        if gap:  # which no text may bring along
            row = {k: v.replace(gap, "") if isinstance(v, str) else v for k, v in row.items()}
        return self._version.fill(row, examples, gap)

    @cached_property
    def _scorer(self) -> Scorer:
        """The scorer, loaded when first asked: a resumed run may have all its parts."""
        return self._spec.open(self._find, self._run.threads_per_worker)

    @cached_property
    def _chooser(self) -> Chooser:
        examples: Any = self._version.examples
        dataset = self._run.open(examples.dataset)
        labels = self._version.labels
        if not isinstance(self._version.verbaliser, WEIGHED):  # what is shown is written, too
            labels = [text for text in _column(dataset, "label") if text is not None]
        known = read_labelled(dataset, labels)
        embed: Any = None
        if needs_vectors(examples):
            threads = self._run.threads_per_worker
            embed = Embedder(self._find(examples.model), num_threads=threads).embed
        chooser: Chooser = examples.chooser(Pool(known.ids, known.texts, known.truth), embed)
        return chooser

    def _find(self, name: str) -> Path:
        return self._run.open(name).path if "@" in name else resolve_model(name)


def _column(dataset: Artifact, name: str) -> list[Any]:
    values: list[Any] = pc.unique(read_records(dataset, [name])[name]).to_pylist()
    return values


def _values(records: pa.Table) -> list[dict[str, Any]]:
    """Return what each record gives to templates: its columns, and what stands in ``extra``.

    What a record does not have is None, which a template writes as nothing.
    """
    rows = []
    for row in records.to_pylist():
        extra = row.pop(_EXTRA, None)
        rows.append({**(json.loads(extra) if extra else {}), **row})
    names = dict.fromkeys(name for row in rows for name in row)
    return [{**dict.fromkeys(names), **row} for row in rows]


def _with(table: pa.Table, name: str, values: Sequence[str | None]) -> pa.Table:
    kept = table.drop_columns([name]) if name in table.column_names else table
    return kept.append_column(name, pa.array(values, pa.string()))
