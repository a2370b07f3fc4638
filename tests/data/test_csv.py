from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emc.data import DATA, load
from emc.errors import DataError, SpecError

# Adult as UCI writes it: a space after each comma, ? for missing, a blank last line.
ADULT = """age, workclass, fnlwgt, sex , Salary
39, State-gov, 77516, Male, <=50K
50, ?, 83311, Male, >50K
38, Private, 215646, Female, <=50K
38, Private, 1, Female, >50K
50, ?, 2, Male, >50K

"""

CREDIT = """ID,LIMIT_BAL,SEX,PAY_0,class
1,20000,2,2,1
2,120000,2,-1,1
3,90000,1,0,0
4,20000,2,2,1
"""


def write(tmp_path: Path, text: str, name: str = "table.csv") -> str:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return str(path)


def test_adult_like(tmp_path: Path) -> None:
    path = write(tmp_path, ADULT, "adult.csv")
    pool = load(f"csv:path={path},target=Salary")
    assert pool.facts.name == "adult"
    assert pool.facts.classes == ("<=50K", ">50K")
    # age, workclass (Private, State-gov, missing), fnlwgt, sex (2)
    assert pool.facts.shape == (7,)
    assert pool.facts.missing_filled == 2
    assert (pool.facts.rows, pool.facts.repeats, pool.facts.conflicts) == (5, 0, 0)


def test_repeats_and_conflicts_are_counted_on_what_is_left(tmp_path: Path) -> None:
    path = write(tmp_path, ADULT)
    dropped = load(f"csv:path={path},target=Salary,drop=fnlwgt")
    assert (dropped.facts.rows, dropped.facts.repeats, dropped.facts.conflicts) == (3, 2, 1)
    assert dropped.y.tolist() == [0, 1, 0]
    assert dropped.facts.notes == ("columns dropped by the user: fnlwgt",)
    kept = load(f"csv:path={path},target=Salary,drop=fnlwgt", duplicates="keep")
    assert (kept.facts.rows, kept.facts.repeats, kept.facts.conflicts) == (5, 2, 1)
    assert kept.group.tolist() == [0, 1, 2, 2, 1]


def test_credit_like_codes_are_numbers(tmp_path: Path) -> None:
    pool = load(f"csv:path={write(tmp_path, CREDIT)},target=class,drop=ID|PAY_0")
    assert pool.facts.shape == (2,)
    assert (pool.facts.rows, pool.facts.repeats, pool.facts.conflicts) == (3, 1, 0)
    np.testing.assert_allclose(sorted(pool.X[:, 1].tolist()), np.array([-3, 1, 1]) / np.sqrt(3), rtol=1e-6)


@pytest.mark.parametrize("ending", ["", "\n", "\n\n", "\n   \n", "\n,,,,\n", "\r\n\r\n"])
def test_a_blank_last_line_is_no_row(tmp_path: Path, ending: str) -> None:
    assert DATA.build(f"csv:path={write(tmp_path, CREDIT.strip() + ending)},target=class").X.shape == (4, 4)


@pytest.mark.parametrize("missing", ["", "?", " ? ", "NA", "nan", "NULL", "  "])
def test_missing_numbers_in_any_form(tmp_path: Path, missing: str) -> None:
    path = write(tmp_path, f"a,y\n1,p\n{missing},q\n5,p\n")
    raw = DATA.build(f"csv:path={path},target=y")
    assert raw.X.shape == (3, 2)
    assert raw.X[:, 1].tolist() == [0, 1, 0]
    assert raw.missing_filled == 1


def test_texts_are_stripped_and_none_is_a_category(tmp_path: Path) -> None:
    path = write(tmp_path, "a,y\n x ,p\nx,q\nNone,p \n")
    raw = DATA.build(f"csv:path={path},target=y")
    assert raw.X.tolist() == [[0, 1], [0, 1], [1, 0]]
    assert raw.classes == ("p", "q")


def test_other_delimiters_byte_order_marks_and_quotes(tmp_path: Path) -> None:
    path = write(tmp_path, '\ufeffa;y\n1;"p;1"\n2;q\n')
    assert DATA.build(f"csv:path={path},target=y,delimiter=;").classes == ("p;1", "q")
    assert DATA.build(f"csv:path={path},delimiter=;,target=a").classes == ("1", "2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"needs a header and rows .*No columns to parse"),
        ("a,y\n", r"must have rows below its header, got none"),
        ("a,y\n\n,\n", r"must have rows below its header, got none"),
        ("a,y\n1,p\n1,2,3\n", r"as many fields.*Expected 2 fields in line 3, saw 3"),
        ("a,y\n1,2,p\n1,2,q\n", r"as many fields as its header, got more of them"),
        ("a,a ,y\n1,2,p\n3,4,q\n", r'different names, got "a" twice'),
        ("a,y\n1,p\n2,\n3,q\n", r'got 1 of 3 rows without one in column "y"; remove those rows'),
        ("a,y\n1,p\ninf,q\n", r'numbers must be finite, got 1 infinite values in column "a"'),
        ("a,y\n1,p\n2,p\n", r"must have at least 2 classes, got 1; check the target"),
        ("a,y\n1,p\n1,q\n", r"at least one column that varies"),
        ("b,Y\n1,p\n2,q\n", r'no column "y" for a target; did you mean "Y"\?|known are Y, b'),
        ("a,y\n" + "".join(f"{i},{i / 7}\n" for i in range(50)), r'a target holds classes, got column "y"'),
    ],
)
def test_mistakes_get_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        load(f"csv:path={write(tmp_path, text)},target=y")
    assert "\n" not in str(caught.value)


def test_options_that_do_not_fit(tmp_path: Path) -> None:
    path = write(tmp_path, CREDIT)
    with pytest.raises(DataError, match=r'no column "id" to drop; did you mean "ID"\?'):
        load(f"csv:path={path},target=class,drop=id")
    with pytest.raises(DataError, match='target must be kept, got "class" in drop'):
        load(f"csv:path={path},target=class,drop=class")
    with pytest.raises(SpecError, match="data csv takes delimiter as one character"):
        load(f"csv:path={path},target=class,delimiter=ab")
    with pytest.raises(SpecError, match="dataset csv needs target"):
        load(f"csv:path={path}")


def test_missing_file_folder_and_bytes_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs a file, got /.*/nowhere\.csv, which does not exist; correct path"):
        load("csv:path=nowhere.csv,target=y")
    with pytest.raises(DataError, match="which is a folder"):
        load(f"csv:path={tmp_path},target=y")
    (tmp_path / "binary.csv").write_bytes(bytes(range(128, 256)) * 4)
    with pytest.raises(DataError, match=r"in UTF-8, got .*correct the file"):
        load(f"csv:path={tmp_path / 'binary.csv'},target=y")
