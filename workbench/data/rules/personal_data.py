"""Personal data: addresses, phone, card and account numbers, and identity numbers in texts."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection
from functools import cache
from typing import Literal, NamedTuple, get_args

import pyarrow as pa
import pyarrow.compute as pc

from workbench.core.spec import Spec, option
from workbench.data.rules import identity_numbers as identity
from workbench.data.rules.rule import Columns, Judgement, as_mask, rewrite

Kind = Literal[
    "mail", "phone", "ip", "card",
    "iban", "us_ssn", "cn_resident_id", "es_dni", "br_cpf", "uk_nino",
]  # fmt: skip
KINDS: tuple[Kind, ...] = get_args(Kind)
EVERYWHERE: tuple[Kind, ...] = ("mail", "phone", "ip", "card")  # identity numbers are a country's

_MAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}(?![\w-])")
_IP4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)")
_IP6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:)[0-9A-Fa-f:]{3,39}(?![\w:])")
_CARD = re.compile(r"(?<![\w.,-])\d(?:[ -]?\d){12,18}(?![\w]|[.,-]\d)")
# Issuers' prefixes and lengths (ISO/IEC 7812): of other numbers one in ten has a right check digit.
_ISSUED = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|35\d{14}|6(?:011|4[4-9]\d|5\d\d)\d{12}|62\d{14,17}"
)
_PHONE = re.compile(
    r"(?<![\w.,/:$€£#-])(?<!\d[ .-])(?:"
    r"(?:\+|00)\d{1,3}(?:[ .-]?\(?\d{1,8}\)?){1,6}"  # +49 (0)30 901820
    r"|\(\d{1,5}\)[ .-]?\d{1,8}(?:[ .-]\d{2,5}){0,4}"  # (212) 555-0123
    r"|\d{1,5}(?:[ .-]\d{2,5}){1,5}"  # 020 7946 0958
    r"|1[3-9]\d{9}"  # mobile phones in China; other bare digits are mostly other numbers
    r")(?![\w]|[.,:/-]\d|-X\b|%)"  # -X ends an ISBN
)
_DATE = re.compile(r"(?:\d{4}([ .-])\d{1,2}\1\d{1,2}|\d{1,2}([ .-])\d{1,2}\2\d{4})(?: \d{1,2})?")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:[ .]\d{3})+")
_FEWEST_DIGITS, _MOST_DIGITS = 9, 15  # E.164 has at most 15


class PersonalData(NamedTuple):
    """One piece of personal data: ``text[start:end]``, in characters."""

    kind: Kind
    start: int
    end: int


class PersonalDataSetting(Spec):
    """What happens to personal data."""

    personal_data: Literal["redact", "drop", "keep"] = option(
        "redact", title="Personal data", group="Repair",
        help="Mail addresses, phone numbers (9 to 15 digits), IP addresses and card numbers: "
        "redact puts <mail>, <phone>, <ip>, <card> in their place, drop removes the record. "
        "The data set from before cleaning has the original still, and undo takes it from there: "
        "delete that when nobody may read it.",
    )  # fmt: skip
    personal_data_kinds: list[Kind] = option(
        [*EVERYWHERE], title="Kinds of personal data", group="Repair", min_length=1,
        help="Which kinds are looked for: mail, phone, ip, card, iban (accounts), and identity "
        "numbers us_ssn, cn_resident_id, es_dni (also NIE), br_cpf, uk_nino. A number counts only "
        "with a right check digit, or in a form and range that is given out.",
    )  # fmt: skip


def redact_personal_data(columns: Columns, setting: PersonalDataSetting) -> Judgement:
    """Redact personal data, or drop the records that hold some."""
    if setting.personal_data == "keep":
        return Judgement()
    kinds = frozenset(setting.personal_data_kinds)
    redacted = rewrite(columns.text, _suspicious(kinds), lambda text: redact(text, kinds))
    if setting.personal_data == "redact":
        return Judgement(text=redacted)
    found = as_mask(pc.not_equal(redacted, columns.text))
    value = pa.array([", ".join(_placeholders(text)) for text in redacted.to_pylist()], pa.string())
    return Judgement(dropped=found, value=value, threshold="none")


def redact(text: str, kinds: Collection[Kind] = EVERYWHERE) -> str:
    """Put placeholders such as <mail> where personal data of some kinds stands."""
    pieces, done = [], 0
    for found in find_personal_data(text, kinds):
        pieces += [text[done : found.start], f"<{found.kind}>"]
        done = found.end
    return "".join([*pieces, text[done:]])


def find_personal_data(text: str, kinds: Collection[Kind] = KINDS) -> list[PersonalData]:
    """Return where personal data stands, from left to right; spans never overlap.

    Surer kinds are looked for first, and what they found is no part of another one.
    """
    spans = []
    for detector in _detectors(frozenset(kinds)):
        matches = [m for m in detector.form.finditer(text) if detector.is_right(m[0])]
        if matches:
            spans += [PersonalData(detector.kind, *match.span()) for match in matches]
            text = _hide(text, matches)
    return sorted(spans, key=lambda span: span.start)


def _hide(text: str, matches: list[re.Match[str]]) -> str:
    """Put a character that is part of no form wherever something was found."""
    pieces, done = [], 0
    for match in matches:
        pieces += [text[done : match.start()], "<" * (match.end() - match.start())]
        done = match.end()
    return "".join([*pieces, text[done:]])


def is_card(number: str) -> bool:
    """Whether an issuer gives out such card numbers and the check digit (Luhn) is right."""
    digits = [int(digit) for digit in number if digit.isdecimal()]
    return bool(_ISSUED.fullmatch("".join(map(str, digits)))) and _passes_luhn(digits)


def _passes_luhn(digits: list[int]) -> bool:
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[::-2]) + sum(doubled)) % 10 == 0


def _is_phone(text: str) -> bool:
    num_digits = sum(character.isdecimal() for character in text)
    is_other = _DATE.fullmatch(text) or _THOUSANDS.fullmatch(text)
    return _FEWEST_DIGITS <= num_digits <= _MOST_DIGITS and not is_other


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(character.isalnum() for character in text)


class _Detector(NamedTuple):
    """How one kind is found: a look-alike in a text, its form, and what makes it right."""

    kind: Kind
    look_alike: str  # RE2: enough to look closer, and cheap
    form: re.Pattern[str]
    is_right: Callable[[str], bool]


_SEVEN_DIGITS = r"\d(?:[^0-9A-Za-z]{0,3}\d){6}"
# Surer kinds first: what looks like a phone number can be a part of all others.
_DETECTORS = (
    _Detector("mail", r"\S@\S+\.\S", _MAIL, lambda _: True),
    _Detector("iban", r"[A-Z]{2}\d{2}[ -]?[0-9A-Z]", identity.IBAN, identity.is_iban),
    _Detector("ip", r"\d\.\d+\.\d+\.\d", _IP4, _is_address),
    _Detector("ip", r"[0-9A-Fa-f]*:[0-9A-Fa-f]*:", _IP6, _is_address),
    _Detector("cn_resident_id", r"\d{17}[0-9Xx]", identity.CN_RESIDENT_ID,
              identity.is_cn_resident_id),
    _Detector("us_ssn", r"\d{3}[ -]\d{2}[ -]\d{4}", identity.US_SSN, identity.is_us_ssn),
    _Detector("br_cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}", identity.BR_CPF, identity.is_br_cpf),
    _Detector("es_dni", r"\d{7}-?[A-Z]", identity.ES_DNI, identity.is_es_dni),
    _Detector("uk_nino", r"[A-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]", identity.UK_NINO,
              identity.is_uk_nino),
    _Detector("card", _SEVEN_DIGITS, _CARD, is_card),
    _Detector("phone", _SEVEN_DIGITS, _PHONE, _is_phone),
)  # fmt: skip


@cache
def _detectors(kinds: frozenset[Kind]) -> tuple[_Detector, ...]:
    return tuple(detector for detector in _DETECTORS if detector.kind in kinds)


@cache
def _suspicious(kinds: frozenset[Kind]) -> str:
    """Return what a text must hold to be looked at for some kinds."""
    return "|".join({detector.look_alike: None for detector in _detectors(kinds)})


def _placeholders(text: str) -> list[str]:
    return sorted(set(re.findall(rf"<({'|'.join(KINDS)})>", text)))
