import io
import os
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmnet.data.tables import (
    inert,
    lines_of,
    read_table_file,
    subject_key,
    table_name,
    write_row,
    write_table,
)
from fmnet.errors import CohortError

COLUMNS = ("participant_id", "group")


@pytest.fixture
def write_text(tmp_path):
    def write(text, name="participants.tsv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(text.encode(encoding))
        return path

    return write


EXPECTED = {"participant_id": ["sub-01", "sub-02"], "group": ["FM", "HC"]}


@pytest.mark.parametrize(
    "text",
    [
        "participant_id\tgroup\nsub-01\tFM\nsub-02\tHC\n",
        "participant_id\tgroup\r\nsub-01\tFM\r\nsub-02\tHC\r\n",
        "participant_id\tgroup\nsub-01\tFM\nsub-02\tHC",
        "\ufeffparticipant_id\tgroup\nsub-01\tFM\nsub-02\tHC\n",
        " participant_id\tgroup \n sub-01\tFM \nsub-02 \t HC\n",
        "participant_id\tgroup\n\nsub-01\tFM\n\nsub-02\tHC\n\n",
        "participant_id\tgroup\rsub-01\tFM\rsub-02\tHC\r",
        "participant_id\tgroup\nsub-01\tFM\t\nsub-02\tHC\t\t\n",
        "participant_id\tgroup\t\nsub-01\tFM\t\nsub-02\tHC\n",
        "participant_id\tgroup\nsub-01\tFM\nsub-02\tHC\n\t\n \t \n",
    ],
    ids=[
        "plain",
        "windows",
        "no last newline",
        "byte-order mark",
        "blanks",
        "empty lines",
        "old macintosh",
        "tabs after the rows",
        "tab after the header",
        "rows without a value",
    ],
)
def test_reads_tabs(write_text, text):
    assert read_table_file(write_text(text), COLUMNS).to_dict("list") == EXPECTED


@pytest.mark.parametrize("name", ["participants.csv", "PARTICIPANTS.CSV"])
def test_reads_commas_from_csv(write_text, name):
    path = write_text("participant_id,group\nsub-01,FM\nsub-02,HC\n", name)
    assert read_table_file(path, COLUMNS).to_dict("list") == EXPECTED


def test_reads_quoted_fields_after_a_space(write_text):
    path = write_text('participant_id, group\n"sub-01", "F,M"\nsub-02,HC\n', "participants.csv")
    assert read_table_file(path, COLUMNS)["group"].tolist() == ["F,M", "HC"]


def test_rows_know_their_lines(write_text):
    path = write_text('participant_id\tgroup\n\nsub-01\t"F\nM"\nsub-02\tHC\n\nsub-03\tHC\n')
    table = read_table_file(path, COLUMNS)
    assert table_name(table) == path.name
    assert lines_of(table, table.index) == [4, 5, 7]
    assert lines_of(table, table.index[table["group"] == "HC"]) == [5, 7]


@pytest.mark.parametrize("missing", ["n/a", "N/A", "NA", "nan", "NaN", "", "  ", " n/a "])
def test_missing_values_become_empty(write_text, missing):
    table = read_table_file(write_text(f"participant_id\tgroup\nsub-01\t{missing}\n"), COLUMNS)
    assert table["group"].tolist() == [""]


def test_value_that_reads_like_a_missing_one_can_be_meant(write_text):
    path = write_text("participant_id\tgroup\nNA\tNA\nsub-02\tn/a\n")
    table = read_table_file(path, COLUMNS, {"group": ["FM", "NA"]})
    assert table.to_dict("list") == {"participant_id": ["", "sub-02"], "group": ["NA", ""]}


@pytest.mark.parametrize(
    "name",
    [
        "M\u00fc",
        "Mu\u0308",
        "\ufeffM\u00fc",
        "M\u200b\u00fc",
        "\u00a0M\u00fc\u202f",
        "M\u00ad\u00fc",
    ],
)
def test_spellings_that_look_alike_are_one(write_text, name):
    table = read_table_file(write_text(f"{name}\tpath\n{name}\t{name}\n"), ("M\u00fc",))
    assert list(table.columns) == ["M\u00fc", "path"]
    assert table["M\u00fc"].tolist() == ["M\u00fc"]
    assert table["path"].tolist() == [name.strip()]  # what it is called on the disk
    assert subject_key(f"sub-{name}") == "M\u00fc"


def test_short_row_is_filled_with_missing_values(write_text):
    text = "participant_id\tgroup\tage\nsub-01\tFM\t3\nsub-02\n"
    table = read_table_file(write_text(text), COLUMNS)
    assert table["group"].tolist() == ["FM", ""]
    assert table["age"].tolist() == ["3", ""]


@pytest.mark.parametrize("text", ["a\tgroup\tgroup\n1\t2\t3\n", "a\tgroup\t group \n1\n"])
def test_refuses_two_columns_of_one_name(write_text, text):
    expected = r"found several columns 'group'; accepted: a tab-sep.*to do: rename or remove all"
    with pytest.raises(CohortError, match=expected):
        read_table_file(write_text(text), ("a",))


def test_keeps_text_as_it_is(write_text):
    path = write_text("participant_id\tgroup\n001\t1\n1e5\tNone\n")
    table = read_table_file(path, COLUMNS)
    assert table.to_dict("list") == {"participant_id": ["001", "1e5"], "group": ["1", "None"]}


def test_header_alone_is_an_empty_table(write_text):
    table = read_table_file(write_text("participant_id\tgroup\n"), COLUMNS)
    assert list(table.columns) == list(COLUMNS)
    assert table.empty


def test_lists_columns_found_and_missing(write_text):
    path = write_text("subject\tdiagnosis\nsub-01\tFM\n")
    expected = (
        r"participants\.tsv: found columns 'subject', 'diagnosis'; .*'participant_id', 'group'"
        r".*add or rename: 'participant_id', 'group'"
    )
    with pytest.raises(CohortError, match=expected):
        read_table_file(path, COLUMNS)


@pytest.mark.parametrize(
    ("name", "separator", "found", "wanted"),
    [
        ("participants.tsv", ",", "comma", "tab"),
        ("participants.tsv", ";", "semicolon", "tab"),
        ("participants.csv", ";", "semicolon", "comma"),
        ("participants.csv", "\t", "tab", "comma"),
    ],
)
def test_names_the_separator_found_and_the_one_expected(write_text, name, separator, found, wanted):
    path = write_text(f"participant_id{separator}group\nsub-01{separator}FM\n", name)
    expected = (
        rf"{name}: found columns 'participant_id.+group', probably separated by {found}s; "
        rf"accepted: a {wanted}-separated table .*; to do: save it with {wanted}s"
    )
    with pytest.raises(CohortError, match=expected):
        read_table_file(path, COLUMNS)


def test_message_about_a_csv_speaks_of_commas(tmp_path):
    with pytest.raises(CohortError, match="found no such file; accepted: a comma-separated table"):
        read_table_file(tmp_path / "participants.csv", COLUMNS)


@pytest.mark.parametrize(
    "text",
    [
        "participant_id\tgroup\nsub-01\tFM\t\nsub-02\tHC\tcomment\n",
        "site\tparticipant_id\tgroup\nA\tsub-01\tFM\nA\tsub-02\tHC\t2\n",
        "participant_id\tgroup\t\nsub-01\tFM\t\nsub-02\tHC\tcomment\n",
    ],
)
def test_refuses_rows_longer_than_the_header(write_text, text):
    expected = r"participants\.tsv: found rows with more fields than the header in line 3; "
    with pytest.raises(CohortError, match=expected):
        read_table_file(write_text(text), COLUMNS)


@pytest.mark.parametrize("text", ["", "\n\n", "\t\n"])
def test_refuses_empty_file(write_text, text):
    with pytest.raises(CohortError, match=r"participants\.tsv: found an empty file; "):
        read_table_file(write_text(text), COLUMNS)


def test_refuses_missing_file(tmp_path):
    with pytest.raises(CohortError, match=r"participants\.tsv: found no such file"):
        read_table_file(tmp_path / "participants.tsv", COLUMNS)


def test_refuses_folder(tmp_path):
    with pytest.raises(CohortError, match=r"found a table that can't be read .*Is a directory"):
        read_table_file(tmp_path, COLUMNS)


def test_refuses_other_encoding(write_text):
    path = write_text("participant_id\tgroup\nsub-01\tFM\n", encoding="utf-16")
    with pytest.raises(CohortError, match=r"participants\.tsv: found a table in .*UTF-16"):
        read_table_file(path, COLUMNS)


def test_names_the_byte_that_is_no_utf_8(write_text):
    path = write_text("participant_id\tgroup\nsub-01\tFM\nsub-02\tM\u00fcde\n", encoding="latin-1")
    expected = r"another encoding than UTF-8 \(byte 0xfc in line 3\); .*'CSV UTF-8'"
    with pytest.raises(CohortError, match=expected):
        read_table_file(path, COLUMNS)


def test_file_names_are_bytes_of_any_encoding(write_text):
    path = write_text("participant_id\tpath\nsub-01\tm\u00fc.nii\n", encoding="latin-1")
    (name,) = read_table_file(path, ("path",))["path"]
    assert os.fsencode(name) == b"m\xfc.nii"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_refuses_nul_characters(write_text, encoding):
    text = "participant_id\tgroup\nsub-01\tF\0M\n"
    with pytest.raises(CohortError, match=r"found a NUL character in line [12]: "):
        read_table_file(write_text(text, encoding=encoding), COLUMNS)


def test_pipe_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "participants.tsv")
    with pytest.raises(CohortError, match=r"found a pipe, socket or device; accepted: a tab-sep"):
        read_table_file(tmp_path / "participants.tsv", COLUMNS)
    with pytest.raises(CohortError, match=r"/dev/zero: found a pipe, socket or device"):
        read_table_file(Path("/dev/zero"), COLUMNS)


def test_sparse_file_is_not_read(tmp_path):
    with (tmp_path / "participants.tsv").open("wb") as file:
        file.truncate(2**42)
    with pytest.raises(CohortError, match=r"found a file of 4,194,304 MiB; accepted: .* 64 MiB"):
        read_table_file(tmp_path / "participants.tsv", COLUMNS)


def test_wide_and_long_tables_are_refused_at_once(write_text):
    wide = "\t".join(f"column{number}" for number in range(100_000))
    with pytest.raises(CohortError, match=r"more than 10,000 columns in line 1; "):
        read_table_file(write_text(f"{wide}\n{wide}\n"), COLUMNS)
    with pytest.raises(CohortError, match=r"more than 100,000 lines; "):
        read_table_file(write_text("participant_id\tgroup\n" + "1\t2\n" * 1_000_000), COLUMNS)
    with pytest.raises(CohortError, match=r"more than 100,000 lines; "):
        read_table_file(write_text("participant_id\tgroup\n" + "\n" * 1_000_000), COLUMNS)
    assert len(read_table_file(write_text("a\n" + "1\n" * 101_000), (), max_lines=10**6)) == 101_000


def test_line_without_end_is_refused(write_text):
    with pytest.raises(CohortError, match=r"can't be read \(field larger than field limit"):
        read_table_file(write_text("participant_id\tgroup\n" + "x" * 5_000_000), COLUMNS)


def test_many_names_are_not_all_listed(write_text):
    header = "\t".join(f"column{number}" for number in range(100))
    with pytest.raises(CohortError, match=r"'column29' and 70 more; ") as caught:
        read_table_file(write_text(header + "\n"), COLUMNS)
    assert "column30" not in str(caught.value)


def test_refuses_quote_that_never_ends(write_text):
    path = write_text('participant_id\tgroup\tnote\nsub-01\tFM\t"left\nsub-02\tHC\tx\n')
    with pytest.raises(
        CohortError, match=r"participants\.tsv: found a table .*unexpected end of data"
    ):
        read_table_file(path, COLUMNS)


def test_writes_missing_values_as_bids_does(tmp_path):
    table = pd.DataFrame({"a": ["x", "", None], "b": [1 / 3, float("nan"), 2.0]})
    write_table(table, tmp_path / "out.tsv")
    written = (tmp_path / "out.tsv").read_text()
    assert written == "a\tb\nx\t0.333333333\nn/a\tn/a\nn/a\t2\n"


def test_writes_to_a_stream():
    stream = io.StringIO()
    write_table(pd.DataFrame({"a": ["x"]}), stream)
    assert stream.getvalue() == "a\nx\n"


cell = (
    st.text("abcXYZ019 .-_,;:'\"", max_size=8)
    .map(str.strip)
    .filter(lambda text: text not in {"NA", "nan", "NaN", "N/A"})
)


@given(cells=st.lists(st.tuples(cell, cell), min_size=1, max_size=6))
def test_what_is_written_reads_back(tmp_path_factory, cells):
    path = tmp_path_factory.mktemp("tables") / "table.tsv"
    table = pd.DataFrame(cells, columns=list(COLUMNS))
    write_table(table, path)
    assert read_table_file(path, COLUMNS).to_dict("list") == table.to_dict("list")


@pytest.mark.parametrize(
    ("participant_id", "key"),
    [("sub-01", "01"), ("01", "01"), ("sub-sub-1", "sub-1"), ("SUB-01", "01"), ("Sub-a", "a")],
)
def test_subject_key(participant_id, key):
    assert subject_key(participant_id) == key


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1+1", "'+1+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(1)", "'@SUM(1)"),
        (" =1", "' =1"),
        ("\t=1", r"'\t=1"),
        ("\uff1d1", "'\uff1d1"),
        ("-1.52", "-1.52"),
        ("+3e-5", "+3e-5"),
        ("sub-01", "sub-01"),
        ("a=b", "a=b"),
        ("", ""),
        ("\x1b[2J", r"\x1b[2J"),
    ],
)
def test_text_for_people_is_inert(cell, expected):
    assert inert(cell) == expected


def test_numbers_stay_numbers_in_tables_for_people():
    table = pd.DataFrame({"scan": ["=a", None], "score": [-1.52, None], "n": [1, -2]})
    text = io.StringIO()
    write_table(table, text, ",", for_people=True)
    assert text.getvalue() == "scan,score,n\n'=a,-1.52,1\nn/a,n/a,-2\n"


def test_tables_of_fmnet_itself_come_back_as_they_were(tmp_path):
    cells = ["=cmd", "-1", "+x", "@y", "m\u00fcller", "'quoted", "-1.5e-3"]
    write_table(pd.DataFrame({"id": cells, "n": range(len(cells))}), tmp_path / "t.tsv")
    assert read_table_file(tmp_path / "t.tsv", ("id",))["id"].tolist() == cells


def test_names_of_other_bytes_do_not_stop_a_table(tmp_path):
    write_table(pd.DataFrame({"files": ["m\udcfcller.nii"]}), tmp_path / "t.tsv")
    assert (tmp_path / "t.tsv").read_bytes() == b"files\nm\\udcfcller.nii\n"


@given(
    st.lists(
        st.none() | st.text() | st.floats(allow_infinity=False) | st.integers(-999, 999),
        min_size=2,
        max_size=5,
    ),
    st.sampled_from("\t,"),
)
def test_one_more_row_is_written_as_tables_are(cells, separator):
    as_table, as_row = io.StringIO(), io.StringIO()
    named = {str(at): [cell] for at, cell in enumerate(cells)}
    write_table(pd.DataFrame(named), as_table, separator, header=False, for_people=True)
    write_row(cells, as_row, separator)
    assert as_row.getvalue() == as_table.getvalue()
