import pytest

from tmkt import console


def test_brackets_in_a_table_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    console.table("[title]", ["what"], [["pip install 'tmkt[lava]'"], [None]])
    shown = capsys.readouterr().out
    assert "pip install 'tmkt[lava]'" in shown
    assert "[title]" in shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2.0, "2 J"), (1.75e-4, "175 µJ"), (6.1e-8, "61 nJ"), (3e-12, "3 pJ"), (None, None)],
)
def test_joules_have_a_prefix(value: float | None, shown: str | None) -> None:
    assert console.joules(value) == shown


def test_an_error_is_one_line_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    console.error("two\nlines")
    assert capsys.readouterr().err == "tmkt: two lines\n"
