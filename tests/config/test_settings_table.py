"""A setting is one field of the table: what it is called, its type, its kind and its default agree."""

from __future__ import annotations

from dataclasses import fields

import pytest

from asynccache.config import Settings
from asynccache.config.settings import ROWS
from asynccache.node.setting import Setting
from asynccache.node.settings_table import SettingFields

TYPES = {
    "text": "str",
    "path": "Path",
    "flag": "bool",
    "whole": "int",
    "number": "float",
    "texts": "list[str]",
    "map": "Mapping[str, Any]",
    "map of texts": "Mapping[str, str]",
    "map of lists": "Mapping[str, list[str]]",
    "map of maps": "Mapping[str, dict[str, str]]",
}
"""Kind of a row -> type of its values."""


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_a_settings_type_is_that_of_what_its_row_reads(row: Setting) -> None:
    type_text = SettingFields.__annotations__[row.name]
    assert type_text.removesuffix(" | None") == TYPES[row.kind]
    if not callable(row.default):  # functions look at variables, and may find nothing
        assert type_text.endswith(" | None") == (row.default is None)


def test_the_fields_of_settings_are_those_of_the_table_and_whether_the_root_was_derived() -> None:
    assert [field.name for field in fields(Settings)] == [*ROWS, "root_is_derived"]
    assert {field.name: field.type for field in fields(Settings)}.items() >= SettingFields.__annotations__.items()
