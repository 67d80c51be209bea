"""Which personal data is found where, and which look-alikes are not."""

from __future__ import annotations

import re
import string
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.core.errors import SpecError
from workbench.data.clean.spec import CleanSpec
from workbench.data.rules import identity_numbers as identity
from workbench.data.rules.personal_data import (
    EVERYWHERE,
    KINDS,
    Kind,
    PersonalData,
    find_personal_data,
    redact,
    redact_personal_data,
)
from workbench.data.rules.rule import Columns
from workbench.data.tokens import as_texts

FORMS = st.sampled_from([
    "a.b@example.org", "192.168.0.1", "2001:db8::1", "::1.2.3.4", "4111 1111 1111 1111",
    "+49 30 901820", "(212) 555-0123", "DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432",
    "123-45-6789", "11010519491231002X", "12345678Z", "X1234567L", "529.982.247-25",
    "AB 12 34 56 C", "v1.2.3.4", "2016-07-08 12:30:45", "ISBN 978-3-16-148410-0", "$1,000,000",
])  # fmt: skip
BETWEEN = st.sampled_from([" ", "-", ".", "x", "7", "<", ">", "\n", "é"])
TEXTS = st.lists(FORMS | BETWEEN, max_size=6).map("".join) | st.from_regex(
    r"[0-9 .()+@:a-fA-DX-Z<>-]{0,40}", fullmatch=True
)


def applied(texts: list[str], **setting: Any) -> list[str]:
    """Return the texts after the rule, gate and all."""
    columns = Columns(as_texts(pa.array(texts)), pa.nulls(len(texts), pa.string()))
    judged = redact_personal_data(columns, CleanSpec(dataset="x", **setting))
    assert judged.text is not None
    return judged.text.to_pylist()  # type: ignore[no-any-return]


# -- laws -----------------------------------------------------------------------------------------


@given(text=TEXTS, kinds=st.sets(st.sampled_from(KINDS)))
def test_spans_stand_apart_and_redacting_replaces_just_them(text: str, kinds: set[Kind]) -> None:
    spans = find_personal_data(text, kinds)
    assert {span.kind for span in spans} <= kinds
    edges = [edge for span in spans for edge in (span.start, span.end)]
    assert edges == sorted(edges)
    assert all(span.start < span.end <= len(text) for span in spans)
    backwards = text
    for kind, start, end in reversed(spans):
        backwards = f"{backwards[:start]}<{kind}>{backwards[end:]}"
    assert redact(text, kinds) == backwards


@given(
    text=st.lists(FORMS, max_size=6).map(" and ".join),
    kinds=st.sets(st.sampled_from(KINDS), min_size=1),
)
def test_redacting_any_kinds_twice_is_redacting_once(text: str, kinds: set[Kind]) -> None:
    once = redact(text, kinds)
    assert redact(once, kinds) == once


@given(texts=st.lists(TEXTS, max_size=5), kinds=st.sets(st.sampled_from(KINDS), min_size=1))
def test_the_gate_skips_no_text_that_holds_personal_data(
    texts: list[str], kinds: set[Kind]
) -> None:
    setting = sorted(kinds)
    assert applied(texts, personal_data_kinds=setting) == [redact(text, kinds) for text in texts]


@given(account=st.text(string.digits, min_size=18, max_size=18), place=st.integers(4, 21),
       other=st.integers(1, 9))  # fmt: skip
def test_an_iban_has_one_check_and_each_wrong_digit_breaks_it(
    account: str, place: int, other: int
) -> None:
    check = 98 - int(f"{account}131400") % 97  # D is 13, E is 14
    iban = f"DE{check:02}{account}"
    assert identity.is_iban(iban)
    wrong = f"{iban[:place]}{(int(iban[place]) + other) % 10}{iban[place + 1 :]}"
    assert not identity.is_iban(wrong)


@given(number=st.integers(1, 99_999_999))
def test_a_dni_number_has_one_right_letter(number: int) -> None:
    right = [
        letter for letter in string.ascii_uppercase if identity.is_es_dni(f"{number:08}{letter}")
    ]
    assert right == ["TRWAGMYFPDXBNJZSQVHLCKE"[number % 23]]


@given(number=st.integers(0, 999_999_999))
def test_a_cpf_number_has_one_pair_of_check_digits(number: int) -> None:
    right = [check for check in range(100) if identity.is_br_cpf(f"{number:09}{check:02}")]
    assert len(right) == (0 if len(set(f"{number:09}")) == 1 else 1)


@given(born=st.dates(), order=st.integers(0, 999))
def test_a_resident_id_has_one_check_digit_if_born_in_a_known_time(born: Any, order: int) -> None:
    number = f"110105{born:%Y%m%d}".replace(f"{born:%Y}", f"{born.year:04}", 1) + f"{order:03}"
    right = [check for check in "0123456789X" if identity.is_cn_resident_id(number + check)]
    assert len(right) == (1850 <= born.year < 2100)


# -- examples -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("to DE89 3704 0044 0532 0130 00 please", "to <iban> please"),
        ("GB82WEST12345698765432, FR14 2004 1010 0505 0001 3M02 606.", "<iban>, <iban>."),
        ("NO93 8601 1117 947 and MT84MALT011000012345MTLCAST001S", "<iban> and <iban>"),
        ("SSN 536-90-4399 or 536 90 4399", "SSN <us_ssn> or <us_ssn>"),
        ("身份证11010519491231002X，", "身份证11010519491231002X，"),  # glued to a letter of a word
        ("身份证: 11010519491231002X，谢谢", "身份证: <cn_resident_id>，谢谢"),
        ("DNI 12345678Z, 12345678-Z; NIE X1234567L, X-1234567-L",
         "DNI <es_dni>, <es_dni>; NIE <es_dni>, <es_dni>"),
        ("CPF 529.982.247-25.", "CPF <br_cpf>."),
        ("NINO AB 12 34 56 C, AB123456C", "NINO <uk_nino>, <uk_nino>"),
        ("a@b.example, 192.168.0.1, +49 30 901820", "<mail>, <ip>, <phone>"),
    ],
)  # fmt: skip
def test_every_kind_is_found_and_named(text: str, redacted: str) -> None:
    assert applied([text], personal_data_kinds=[*KINDS]) == [redacted]


@pytest.mark.parametrize(
    "text",
    [
        "version 1.2.3, v10.0.19045.3693b, kernel 6.8.0-45",
        "2024-02-29 23:59:59, 20240229T235959, 08.07.2016, 1700000000",
        "$1,000,000.00, 12.345.678,90 EUR, 1 200 300 400",
        "ISBN 0-306-40615-2x, ISBN 964-6264-28-X",
        "order 729837492837492, invoice 100200300400500",
        "DE89 3704 0044 0532 0130 01x, IT12 NOT AN ACCOUNT AT ALL",
        "000-12-3456x, part AB12CD34",
        "12345678A, X1234567A, 12345678-Q",
        "BG123456A, GB123456B, TN123456C, AB123456E, DA123456A, ZZ123456D",
        "commit 9f86d081884c7d659a2feaa0c55ad015, b1946ac92492d234",
        "uuid 123e4567-e89b-12d3-a456-426614174000",
        "110105194912310021, 990105194912310026, 110105194902310022",
    ],
)
def test_look_alikes_stay(text: str) -> None:
    assert find_personal_data(text) == []


@pytest.mark.parametrize(
    "number",
    [
        "000-12-3456", "666-12-3456", "900-12-3456", "987-65-4320", "536-00-4399", "536-90-0000",
        "078-05-1120", "219-09-9999", "536-90 4399", "1536-90-4399", "536-90-43990",
        "536-90-4399-1",
    ],
)  # fmt: skip
def test_social_security_numbers_that_are_never_issued_stay(number: str) -> None:
    assert find_personal_data(number, {"us_ssn"}) == []


@pytest.mark.parametrize("number", ["111.111.111-11", "529.982.247-26", "529.982.247-2"])
def test_taxpayer_numbers_with_a_wrong_check_stay(number: str) -> None:
    assert find_personal_data(number, {"br_cpf"}) == []


def test_spans_count_characters() -> None:
    text = "schön: a@b.example 😂 DE89370400440532013000"
    assert find_personal_data(text) == [
        PersonalData("mail", 7, 18), PersonalData("iban", 21, 43),
    ]  # fmt: skip


def test_unless_told_otherwise_identity_numbers_of_one_country_stay() -> None:
    text = "12345678Z, AB123456C, GB82WEST12345698765432, 11010519491231002X, a@b.example"
    assert applied([text]) == [text.replace("a@b.example", "<mail>")]
    assert CleanSpec(dataset="x").personal_data_kinds == [*EVERYWHERE]


def test_kinds_that_are_not_wanted_stay() -> None:
    text = "a@b.example, 192.168.0.1, +49 30 901820"
    assert applied([text], personal_data_kinds=["ip"]) == ["a@b.example, <ip>, +49 30 901820"]


def test_a_record_is_dropped_for_the_kinds_that_are_wanted() -> None:
    columns = Columns(as_texts(pa.array(["12345678Z", "a@b.example"])), pa.nulls(2, pa.string()))
    spec = CleanSpec(dataset="x", personal_data="drop", personal_data_kinds=["es_dni"])
    judged = redact_personal_data(columns, spec)
    assert judged.dropped is not None
    assert judged.dropped.tolist() == [True, False]
    assert judged.value == pa.array(["es_dni", ""])


@pytest.mark.parametrize("kinds", [[], ["mial"]])
def test_no_kind_and_an_unknown_one_are_refused(kinds: list[str]) -> None:
    with pytest.raises(SpecError, match=re.escape("personal_data_kinds")):
        CleanSpec.parse({"dataset": "x", "personal_data_kinds": kinds})


def test_the_guide_says_of_every_kind_what_must_be_right() -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/clean-text.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^- `(\w+)`: ", guide, re.M)) == KINDS
