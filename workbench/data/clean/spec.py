"""What cleaning is told: a data set, and the setting of each rule."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from workbench.core.spec import ArtifactName, DatasetRef, Spec, option
from workbench.data.clean.checks import SHIPPED_CHECKS
from workbench.data.clean.repairs import LINE_RULES, REPAIRS
from workbench.data.rules.c4 import LINE_REASONS, C4Setting
from workbench.data.rules.contamination import CONTAMINATION_BOUND, ContaminationSetting
from workbench.data.rules.duplicate import REPETITION_RULES, DuplicateSetting
from workbench.data.rules.fineweb import FineWebSetting
from workbench.data.rules.gopher import GopherSetting
from workbench.data.rules.html_residue import HtmlSetting
from workbench.data.rules.language import LanguageSetting
from workbench.data.rules.length import LengthSetting
from workbench.data.rules.personal_data import PersonalDataSetting
from workbench.data.rules.repeated_passage import PASSAGE_RULES, RepeatedPassageSetting
from workbench.data.rules.spam import SpamSetting
from workbench.data.rules.unicode_repair import UnicodeSetting
from workbench.data.rules.user_rule import UserRuleSetting
from workbench.data.rules.whitespace import WhitespaceSetting


class CleanInput(Spec):
    """What is cleaned."""

    dataset: DatasetRef = option(
        title="Data set", help="The data set to clean.", group="Data"
    )  # fmt: skip
    name: ArtifactName | None = option(
        None, title="Name", group="Result",
        help="The name of the cleaned data set; empty: that of the input with -clean.",
    )  # fmt: skip
    protect: list[str] = option(
        [], title="Never drop from", group="Data",
        help="Sources whose records are repaired but never dropped, such as an official test set; "
        "what repeats one of them elsewhere goes instead.",
    )  # fmt: skip


# Forms show the fields of the last base first: read this list from below.
class CleanSpec(
    ContaminationSetting,
    DuplicateSetting,
    RepeatedPassageSetting,
    UserRuleSetting,
    FineWebSetting,
    C4Setting,
    GopherSetting,
    LanguageSetting,
    SpamSetting,
    LengthSetting,
    PersonalDataSetting,
    WhitespaceSetting,
    HtmlSetting,
    UnicodeSetting,
    CleanInput,
):
    """Which data set to clean, and the setting of each rule."""

    @model_validator(mode="after")
    def _own_rules_have_own_names(self) -> Self:
        repairs = {*REPAIRS, *LINE_RULES, *LINE_REASONS.values(), *PASSAGE_RULES.values()}
        checks = {*(check.rule for check in SHIPPED_CHECKS), CONTAMINATION_BOUND.rule}
        shipped = repairs | checks | {*REPETITION_RULES}
        for own in self.rules:
            if own.name in shipped:
                raise ValueError(f"there is a rule called {own.name!r} already; name yours anew")
        return self
