"""Env files: Lamina, sh, bash and python-dotenv read them alike."""

import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.cli.formats import FormatError, dump, dump_upper, load, shell
from tests.support import absent

SECRET = "hunter2"
SHELLS = ("sh", "bash")
CHARACTERS = st.sampled_from(list("ab'\"\\ \t\n\r$`{}#~:;&=!*?[]()|<>%@-nrtuN0é日😀\x01\x1b\x7f\x85\xa0\u2028"))
TEXTS = st.text(CHARACTERS) | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def read_by_all(file: Path, names: list[str]) -> dict[str, dict[str, str | None]]:
    """Return the values of these names that each reader finds in a file."""
    found: dict[str, dict[str, str | None]] = {"python-dotenv": dotenv_values(file)}
    script = f". '{file}'\n" + "".join(f'printf "%s\\0" "${name}"\n' for name in names)
    for program in SHELLS:
        path = shutil.which(program) or absent(program, f"apt install {program}")
        out = subprocess.run([path, "-eu", "-c", script], capture_output=True, check=True, env={}).stdout
        found[program] = dict(zip(names, out.decode().split("\0")[:-1], strict=True))
    return found


def all_read(written: str, expected: dict[str, str]) -> None:
    """Assert that each reader, and `load`, finds the same values in a file."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "some.env"
        file.write_bytes(written.encode())
        assert load("env", file.read_bytes()) == expected
        assert read_by_all(file, list(expected)) == dict.fromkeys(("python-dotenv", *SHELLS), expected)


WRITTEN = {
    "": "''",
    "plain": "plain",
    "a b": "'a b'",
    "it's": '"it\'s"',
    'say "hi"': "'say \"hi\"'",
    "both ' and \"": '"both \' and \\""',
    "$HOME `id` $(id)": "'$HOME `id` $(id)'",
    "a\nb\n": "'a\nb\n'",
    r"C:\Users\me": r"'C:\Users\me'",
    r"\d+": r"'\d+'",
    r"it's \d+": r'''"it's \\d+"''',
    r"\\server\share": r'"\\\\server\\share"',
    "~/x": "'~/x'",
    "a;b|c&d": "'a;b|c&d'",
    "#": "'#'",
    "日本 😀": "'日本 😀'",
    "\x1b[0m": "'\x1b[0m'",
    '{"a": [1]}': "'{\"a\": [1]}'",
}


def test_every_reader_reads_what_is_written() -> None:
    entries = {f"V{index}": text for index, text in enumerate(WRITTEN)}
    written = dump("env", entries)
    assert written == "".join(f"V{index}={form}\n" for index, form in enumerate(WRITTEN.values()))
    all_read(written, entries)


@settings(max_examples=25)
@given(st.lists(TEXTS, max_size=40))
def test_every_reader_reads_any_text_that_is_written(texts: list[str]) -> None:
    entries = {f"V{index}": text for index, text in enumerate(texts) if is_written(text)}
    all_read(dump("env", entries), entries)


def is_written(text: str) -> bool:
    try:
        dump("env", {"A": text})
    except FormatError:
        return False
    return True


@pytest.mark.parametrize("text", ["${HOME}", "a\r\nb", "\r", "it's $5", "'`", "C:\\dir\\", "$\\\\"])
def test_a_text_that_readers_would_read_differently_is_not_written(text: str) -> None:
    with pytest.raises(FormatError, match="env cannot hold A: sh, bash and python-dotenv would not read") as refusal:
        dump("env", {"A": text})
    assert text not in str(refusal.value)
    assert (
        subprocess.run(["sh", "-c", shell({"A": text}) + 'printf %s "$A"'], capture_output=True, check=True).stdout
        == text.encode()
    )


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(["", "export ", " "]), st.text(CHARACTERS, max_size=12)), max_size=60))
def test_every_reader_reads_any_line_that_is_accepted(values: list[tuple[str, str]]) -> None:
    lines = [f"{begin}V{index}={text}\n" for index, (begin, text) in enumerate(values)]
    taken = [line for line in lines if is_taken(line)]
    written = "".join(taken).replace("\r\n", "\n")  # a shell would read the carriage return as text
    all_read(written, load("env", written.encode()))


def is_taken(line: str) -> bool:
    try:
        return bool(load("env", line.encode()))
    except FormatError:
        return False


TAKEN = r"""# settings
A=1 # one
B='x # y'
export  C=
 D="a \"b\" \\ c"
E='multi
line'
F=a#b
G=http://h:80/?q=*
H='C:\Users\me'
I="\d+"
J=#x
"""


def test_files_of_people_are_read() -> None:
    expected = {
        "A": "1", "B": "x # y", "C": "", "D": 'a "b" \\ c', "E": "multi\nline", "F": "a#b", "G": "http://h:80/?q=*",
        "H": r"C:\Users\me", "I": r"\d+", "J": "#x",
    }  # fmt: skip
    all_read(TAKEN, expected)
    assert load("env", TAKEN.replace("\n", "\r\n").encode()) == expected


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (r"A=C:\Users\me", "a shell would remove the backslash, and python-dotenv would keep it"),
        (r"A=\d+", "a shell would remove the backslash"),
        (r'A="-----BEGIN KEY-----\nMII"', r"\n is one character to python-dotenv, and two to a shell"),
        (r'A="\$HOME"', "a shell would remove the backslash before $"),
        ('A="a\\\nb"', "a shell would remove a backslash at the end of a line"),
        (r"A='a\\b'", "a shell would keep each backslash"),
        ("A='a\\'", "a shell would keep each backslash"),
        ('A="C:\\\\"', "python-dotenv before 1.2.3"),
        ("A='${HOME}'", "python-dotenv would expand ${ in single quotes too"),
        ("A=$HOME", "a shell would take $ for more than text"),
        ("A=`id`", "a shell would take ` for more"),
        ('A="$(id)"', "a shell would expand $"),
        ("A=~/x", "home directory"),
        ("A=/bin:~/bin", "home directory"),
        ("export A=*", "after export, a shell would take * for more"),
        ("A=a;reboot", "a shell would take ; for more"),
        ("A=x'y'z", "a shell would remove the quotes within the value"),
        ("A='x'y", "text follows the closing quote"),
        ("A='x'#y", "text follows the closing quote"),
        ("A= # why", "readers disagree whether a comment begins here"),
        ("A=x\xa0", "white space character"),
        ("A='x\ry'", "carriage return"),
        (f"A={SECRET} more", "a second word follows"),
        (f"A='{SECRET}", "a quote is not closed"),
        (f"A: {SECRET}", "not NAME=value"),
        (f"A = {SECRET}", "not NAME=value"),
        ("1A=x", "not NAME=value"),
        (SECRET, "not NAME=value"),
    ],
)
def test_a_line_that_readers_read_differently_is_refused_without_its_value(line: str, says: str) -> None:
    text = f"# a comment\n\nZ=1\n{line}\n"
    with pytest.raises(FormatError, match=rf"^line 4: (A: )?.*{re.escape(says)}") as refusal:
        load("env", text.encode())
    assert SECRET not in str(refusal.value)


def test_all_bad_lines_are_named_at_once() -> None:
    text = f'A=$HOME\nB=1\nC="{SECRET}\nD=2\nE="x"\nB=3\nF\n'
    with pytest.raises(FormatError) as refusal:
        load("env", text.encode())
    assert str(refusal.value).splitlines() == [
        "line 1: A: a shell would take $ for more than text: put the value in single quotes",
        "line 3: C: the quote is closed 2 lines below, and more text follows it",
        "line 6: B stands twice, first in line 2",
        "line 7: not NAME=value",
    ]
    with pytest.raises(FormatError, match=r"line 20: .*\nand 1,980 more lines$"):
        load("env", b"bad\n" * 2000)


def test_only_text_under_names_of_variables_is_exported() -> None:
    with pytest.raises(FormatError, match="env cannot hold bad: it is not text"):
        dump("env", {"bad": 1})
    with pytest.raises(FormatError, match="env cannot hold bad/name: it is no name"):
        dump("env", {"bad/name": SECRET})


ANYTHING: dict[str, Any] = {"db/host": "h1", "8080": True, "list": [1, {"a": "it's"}], "f": 1.5, "b": b"hi"}


def test_an_environment_has_every_value_as_text() -> None:
    assert shell(ANYTHING) == 'db_host=h1\n_8080=true\nlist="[1,{\\"a\\":\\"it\'s\\"}]"\nf=1.5\nb=aGk=\n'
    with pytest.raises(FormatError, match=re.escape("a.b and a/b would both be the variable a_b")):
        shell({"a.b": "1", "a/b": "2"})
    with pytest.raises(FormatError, match="cannot hold n"):
        shell({"n": None})


def test_names_can_be_put_in_upper_case() -> None:
    written = dump_upper(ANYTHING)
    expected = {"DB_HOST": "h1", "_8080": "true", "LIST": '[1,{"a":"it\'s"}]', "F": "1.5", "B": "aGk="}
    all_read(written, expected)
    assert shell(ANYTHING, upper=True) == written
    with pytest.raises(FormatError, match="A and a would both be the variable A"):
        dump_upper({"A": "1", "a": "2"})
    with pytest.raises(FormatError, match="env cannot hold price: "):
        dump_upper({"price": "it's $5"})


def test_a_key_without_a_usable_name_is_named() -> None:
    with pytest.raises(FormatError, match="env cannot hold 日本, 価格: no letter or digit of ASCII"):
        shell({"a": "1", "日本": "2", "価格": "3"})
    with pytest.raises(FormatError, match="env cannot hold _: no letter or digit"):
        shell({"_": "1"})
    with pytest.raises(FormatError, match=r"é{8} and 4 more: no letter"):
        shell({"é" * number: "1" for number in range(1, 13)})
