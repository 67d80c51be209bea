"""lingua on texts: what language it says of each, and its processor time.

``lingua_languages.py TEXTS OUT``: TEXTS has one JSON list of groups of texts. OUT gets the same
of ISO 639-1 codes, null where none is known. The last line printed is
``{"seconds": [of each group]}``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from lingua import LanguageDetectorBuilder


def main():
    builder = LanguageDetectorBuilder.from_all_languages()
    detector = builder.with_preloaded_language_models().build()
    answers, seconds = [], []
    for texts in json.loads(Path(sys.argv[1]).read_text()):
        start = time.process_time()
        found = [detector.detect_language_of(text) for text in texts]
        seconds.append(time.process_time() - start)
        answers.append([one and one.iso_code_639_1.name.lower() for one in found])
    Path(sys.argv[2]).write_text(json.dumps(answers))
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main()
