"""Stop words: function words that running text of a language can hardly do without.

English has those of Gopher (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1). Chinese, Japanese
and Korean have single characters, as each of theirs is counted as one word.
"""

from __future__ import annotations

STOP_WORDS: dict[str, tuple[str, ...]] = {
    language: tuple(words.split())
    for language, words in {
        "en": "the be to of and that have with",
        "ar": "في من على إلى أن هذا هذه التي الذي لا ما كان عن مع هو هي",
        "bg": "и в на да се за не от е по че с като това",
        "bn": "এই এবং করে থেকে না যে তার হয় জন্য ও একটি",
        "ca": "de la que i el en a les per un no amb és",
        "cs": "a se v na je že to s z do o i jako ale by",
        "da": "og i at det er en til på som af for med ikke den de",
        "de": "der die und in den von zu das mit sich ist nicht ein auf für",
        "el": "και το να του η της με που την από για είναι στο δεν",
        "es": "de la que el en y a los se del las un por con no",
        "et": "ja on ei et see kui oma ka mis aga oli",
        "fa": "و در به از که این را با است برای آن یک خود تا",
        "fi": "ja on ei että se oli hän mutta joka myös kun niin kuin ovat",
        "fr": "de la le et les des en un du une que est pour qui dans",
        "he": "של את על לא הוא זה עם כי גם היא אני אל או יש",
        "hi": "के में है की और से का को पर यह नहीं ने एक हैं",
        "hr": "i u je se na da su za od s a kao nije što",
        "hu": "a az és hogy nem is egy ez de volt meg csak",
        "id": "yang dan di dengan untuk ini itu dari pada tidak dalam akan adalah ke",
        "it": "di e che la il un per in non una con del sono le si",
        "ja": "の に は を が と で て も た な し か",
        "ko": "이 는 의 을 에 은 가 를 로 도 고 다 한",
        "lt": "ir kad į iš su ne tai buvo yra bet kaip apie",
        "lv": "un ir no ar ka uz par tas nav bet kas bija",
        "nl": "de van het een en in is dat op te zijn met voor niet die",
        "no": "og i det er på som en til av for at med ikke den de",
        "pl": "i w na z do się nie że to jest o jak ale od za",
        "pt": "de a o que e do da em um para com não uma os no",
        "ro": "de și în a la cu pe nu este că din un o care",
        "ru": "и в на не что с по как это к из он за от для",
        "sk": "a v na sa je že to s z do o ako ale by",
        "sl": "in v je na se za da so z ki ne pa tudi",
        "sr": "и у је да се на за су од не као што са",
        "sv": "och i att det som en på är av för med till den inte om",
        "tr": "ve bir bu için ile de da ne gibi çok daha olarak olan ama",
        "uk": "і в на не що з у як це до та за від але для",
        "vi": "và của là có không được cho một trong với các người này đã",
        "zh": "的 是 了 在 和 有 不 我 这 這 人 他 也 就",
    }.items()
}
