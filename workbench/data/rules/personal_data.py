"""Personal data: mail addresses, phone numbers, IP addresses and card numbers."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from workbench.core.spec import Spec, option
from workbench.data.rules.rule import Columns, Judgement, as_mask, rewrite

# A look-alike is enough to look closer: an @ with a dot behind it, seven digits, or colons.
_SUSPICIOUS = r"\S@\S+\.\S|\d(?:[^0-9A-Za-z]{0,3}\d){6}|\d\.\d+\.\d+\.\d|[0-9A-Fa-f]*:[0-9A-Fa-f]*:"
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


class PersonalDataSetting(Spec):
    """What happens to personal data."""

    personal_data: Literal["redact", "drop", "keep"] = option(
        "redact", title="Personal data", group="Repair",
        help="Mail addresses, phone numbers (9 to 15 digits), IP addresses and card numbers: "
        "redact puts <mail>, <phone>, <ip>, <card> in their place, drop removes the record. The "
        "ledger keeps the original; guard it as you would the source.",
    )  # fmt: skip


def redact_personal_data(columns: Columns, setting: PersonalDataSetting) -> Judgement:
    """Redact personal data, or drop the records that hold some."""
    if setting.personal_data == "keep":
        return Judgement()
    redacted = rewrite(columns.text, _SUSPICIOUS, redact)
    if setting.personal_data == "redact":
        return Judgement(text=redacted)
    found = as_mask(pc.not_equal(redacted, columns.text))
    value = pa.array([", ".join(_placeholders(text)) for text in redacted.to_pylist()], pa.string())
    return Judgement(dropped=found, value=value, threshold="none")


def redact(text: str) -> str:
    """Put placeholders where personal data stands; surer patterns go first."""
    text = _MAIL.sub("<mail>", text)
    text = _IP4.sub(lambda match: _if_address(match[0]), text)
    text = _IP6.sub(lambda match: _if_address(match[0]), text)
    text = _CARD.sub(lambda match: "<card>" if is_card(match[0]) else match[0], text)
    return _PHONE.sub(lambda match: "<phone>" if _is_phone(match[0]) else match[0], text)


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


def _if_address(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return text
    return "<ip>" if any(character.isalnum() for character in text) else text


def _placeholders(text: str) -> list[str]:
    return sorted(set(re.findall(r"<(mail|phone|ip|card)>", text)))
