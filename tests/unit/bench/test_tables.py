"""What a benchmark found can be read, however many figures its rows have."""

from io import StringIO

from rich.console import Console

from bench.__main__ import tables


def printed(rows) -> str:
    console = Console(file=StringIO(), width=120)
    for table in tables(rows):
        console.print(table)
    return console.file.getvalue()


def test_rows_of_several_kinds_are_several_tables_that_fit() -> None:
    few = [{"library": f"library {i}", "near": i / 10} for i in range(3)]
    other = [{"library": "library 3", "style left": 0.25, "of": None}]
    text = printed([*few, *other])
    for word in ("library 0", "library 3", "near", "0.2", "style left", "0.25"):
        assert word in text
    assert "None" not in text


def test_rows_of_very_many_figures_lie_on_their_side() -> None:
    rows = [{f"figure number {i}": f"row {row} value {i}" for i in range(25)} for row in range(9)]
    text = printed(rows)
    for row in rows:
        for name, value in row.items():
            assert name in text
            assert value in text
