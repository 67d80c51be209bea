"""Identity numbers and bank accounts: strict forms, ranges that were issued, check digits."""

from __future__ import annotations

import datetime
import re

# Characters of a whole IBAN by country, after SWIFT's IBAN registry.
_IBAN_CHARACTERS = {
    15: "NO", 16: "BE", 18: "DK FI FK FO GL NL SD", 19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK", 21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL", 24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST",
    26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA", 30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
}  # fmt: skip
_IBAN_FORMS = "|".join(
    rf"(?:{'|'.join(countries.split())})[0-9]{{2}}(?:[ -]?[0-9A-Z]){{{length - 4}}}"
    for length, countries in _IBAN_CHARACTERS.items()
)
IBAN = re.compile(rf"(?<![\w-])(?:{_IBAN_FORMS})(?![\w-])")
US_SSN = re.compile(r"(?<![\w.,-])(?<![0-9] )[0-9]{3}([ -])[0-9]{2}\1[0-9]{4}(?![\w-]|[ .,][0-9])")
CN_RESIDENT_ID = re.compile(r"(?<![\w.,-])[1-8][0-9]{16}[0-9Xx](?![\w-]|[.,][0-9])")
ES_DNI = re.compile(r"(?<![\w.,-])(?:[0-9]{8}|[XYZ]-?[0-9]{7})-?[A-Z](?![\w-])")
BR_CPF = re.compile(r"(?<![\w.,-])[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}(?![\w-]|[.,][0-9])")
UK_NINO = re.compile(
    r"(?<![\w-])(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
    r"( ?)[0-9]{2}\1[0-9]{2}\1[0-9]{2}\1[A-D](?![\w-])"
)

# Printed on sample cards and in advertisements: withdrawn, not anybody's.
_WITHDRAWN_SSNS = {"078051120", "219099999"}
# Provinces of GB/T 2260, the first two digits of a resident id.
_PROVINCES = {
    *range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55),
    *range(61, 66), 71, 81, 82, 83,
}  # fmt: skip
_RESIDENT_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_RESIDENT_CHECKS = "10X98765432"
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"


def is_iban(text: str) -> bool:
    """Whether an account number of a country's length has right check digits (ISO 13616)."""
    account = re.sub("[ -]", "", text)
    moved = "".join(str(int(character, 36)) for character in account[4:] + account[:4])
    return 2 <= int(account[2:4]) <= 98 and int(moved) % 97 == 1


def is_us_ssn(text: str) -> bool:
    """Whether a US social security number is in a range that is issued.

    Never issued: areas 000, 666 and 900 to 999, group 00, serial 0000.
    """
    digits = _digits_of(text)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    is_issued = area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"
    return is_issued and digits not in _WITHDRAWN_SSNS


def is_cn_resident_id(text: str) -> bool:
    """Whether province, day of birth and check digit of a Chinese resident id are right.

    The check is that of GB 11643-1999 (ISO 7064, MOD 11-2).
    """
    try:
        born = datetime.date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    weighed = sum(
        weight * int(digit) for weight, digit in zip(_RESIDENT_WEIGHTS, text[:17], strict=True)
    )
    is_checked = _RESIDENT_CHECKS[weighed % 11] == text[17].upper()
    return is_checked and 1850 <= born.year < 2100 and int(text[:2]) in _PROVINCES


def is_es_dni(text: str) -> bool:
    """Whether the letter of a Spanish DNI, or NIE of a foreigner, is right (modulo 23)."""
    plain = text.replace("-", "")
    number = int(plain[:-1].translate(str.maketrans("XYZ", "012")))
    return number > 0 and _DNI_LETTERS[number % 23] == plain[-1]


def is_br_cpf(text: str) -> bool:
    """Whether both check digits of a Brazilian CPF are right; 111.111.111-11 is nobody's."""
    digits = [int(digit) for digit in _digits_of(text)]
    checks = [
        sum(w * d for w, d in zip(range(n + 1, 1, -1), digits, strict=False)) * 10 % 11 % 10
        for n in (9, 10)
    ]
    return digits[9:] == checks and len(set(digits)) > 1


def is_uk_nino(text: str) -> bool:
    """Whether this is a UK national insurance number: its form alone, it has no check digit.

    Prefixes that HMRC never gives out are no part of the form.
    """
    return UK_NINO.fullmatch(text) is not None


def _digits_of(text: str) -> str:
    return "".join(character for character in text if character.isdecimal())
