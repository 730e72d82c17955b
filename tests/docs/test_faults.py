"""The page on faults names what the matrix tries, and shows a table that a whole run wrote."""

import re
from pathlib import Path

import pytest

from tests.faults.matrix import COMMANDS
from tests.faults.page import STORES, begin, end, with_table
from tests.kills.run import KINDS
from tests.support.breaking_proxy import Break

PAGE = (Path(__file__).parents[2] / "docs" / "faults.md").read_text("utf-8")


@pytest.mark.parametrize("store", STORES)
def test_each_store_has_a_table_of_every_fault_and_every_command(store: str) -> None:
    assert (len(Break), len(COMMANDS)) == (28, 11)
    table = PAGE.partition(begin(store))[2].partition(end(store))[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    assert rows[0][1:] == list(COMMANDS)
    assert [row[0] for row in rows[2:]] == [*Break]
    cells = [cell for row in rows[2:] for cell in row[1:]]
    assert len(cells) == 308
    assert all(re.fullmatch(r"same|·|-|[0-9]+", cell) for cell in cells)
    assert cells.count("same") > 100
    assert "WRONG" not in PAGE


@pytest.mark.parametrize("store", STORES)
def test_a_table_can_be_written_again_and_leaves_the_others(store: str) -> None:
    words = {(fault, name): "same result" for fault in Break for name in COMMANDS}
    once = with_table(PAGE, store, words, 3)
    assert with_table(once, store, words, 3) == once
    assert once.count("Seed 3: 308 cells; 308 same result.") == 1
    assert all(once.count(begin(each)) == once.count(end(each)) == 1 for each in STORES)


def test_the_text_names_the_commands_and_what_is_killed() -> None:
    before = PAGE.partition("<!-- table")[0]
    assert all(f"`{name}`" in before for name in COMMANDS)
    kills = PAGE.partition("## Kills")[2].partition("## ")[0]
    assert len(KINDS) == 7
    assert all(f"`{name.replace('import', 'env import')}`" in kills for name in KINDS if name not in {"create", "node"})
