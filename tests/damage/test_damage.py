"""A short run of tests/damage/run.py: no damaged file of any format ends in a traceback, a crash, a
hang of 10 s or a gigabyte.
"""

from pathlib import Path

from damage_run import Found, read_damaged
from readable_files import readable_files


def test_damaged_files_of_every_format_end_in_a_line(tmp_path: Path) -> None:
    found = Found()
    cases = readable_files(tmp_path / "files")
    read_damaged(cases, 200, 0, tmp_path / "kept", found)
    assert not found.faults, found.faults[0]
    assert found.files.keys() == {case.name for case in cases}
    ended = sum(found.ended.values(), start=found.ended.pop("atis"))
    assert ended["refused"] > 80
    assert ended["done"] > 50
