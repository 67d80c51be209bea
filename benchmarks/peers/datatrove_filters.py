"""datatrove's quality filters on a corpus: their decisions and their processor time.

``datatrove_filters.py CORPUS OUT [regex]``: CORPUS has one JSON string a line. OUT gets one JSON
list: for each text the reason of each family and of the chain, null where it is kept. With
``regex`` a regular expression takes the place of spaCy's tokenizer. The last line printed is
``{"seconds": {family: processor seconds}}``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import regex
from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)
from datatrove.utils import text as datatrove_text
from datatrove.utils import word_tokenizers
from loguru import logger

FAMILIES = {
    "gopher_repetition": [GopherRepetitionFilter],
    "gopher_quality": [GopherQualityFilter],
    "c4": [C4QualityFilter],
    "fineweb": [FineWebQualityFilter],
    "chain": [GopherRepetitionFilter, GopherQualityFilter, C4QualityFilter],
}


class RegexTokenizer(word_tokenizers.WordTokenizer):
    """Words and signs by one pattern, sentences at . ! ?: the cheapest that could stand in."""

    word = regex.compile(r"\w+|[^\w\s]")
    sentence = regex.compile(r"[^.!?]*[.!?]+\s*|[^.!?]+")

    def word_tokenize(self, text):
        return self.word.findall(text)

    def sent_tokenize(self, text):
        return [part for part in map(str.strip, self.sentence.findall(text)) if part]

    def span_tokenize(self, text):
        return [match.span() for match in self.sentence.finditer(text)]


def decide(texts, filters):
    """Return the reason for which each text is dropped, None where it is kept."""
    reasons = []
    for number, text in enumerate(texts):
        document, reason = Document(text=text, id=str(number)), None
        for one in filters:
            result = one.filter(document)
            if result is not True:
                reason = result[1]
                break
        reasons.append(reason)
    return reasons


def main():
    logger.remove()
    corpus, out, *tokenizer = sys.argv[1:]
    language = RegexTokenizer() if tokenizer == ["regex"] else "en"
    texts = [json.loads(line) for line in Path(corpus).read_text().splitlines()]
    word_tokenizers.load_word_tokenizer(language).word_tokenize("Load what is loaded once.")
    reasons, seconds = {}, {}
    for family, kinds in FAMILIES.items():
        if tokenizer and family != "chain":
            continue
        filters = [kind(language=language) for kind in kinds]
        datatrove_text.split_into_parts.cache_clear()
        start = time.process_time()
        reasons[family] = decide(texts, filters)
        seconds[family] = time.process_time() - start
    Path(out).write_text(json.dumps(reasons))
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
