"""Addresses of databases: each part counts, or the address is refused with the one that was meant."""

import itertools
from pathlib import Path

import pytest

from lamina_server.app import describe_database
from lamina_server.settings import Settings
from lamina_server.store.address import DatabaseAddressError, PostgresqlAddress, SqliteAddress, parse

NO_FILE = "write sqlite:///lamina.db for a file, or sqlite:// for a database in memory"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///lamina.db", "lamina.db"),
        ("sqlite:///data/lamina.db", "data/lamina.db"),
        ("sqlite:////var/lib/lamina.db", "/var/lib/lamina.db"),
        ("sqlite:///a%3Fb%25c%C3%A9 d.db", "a?b%cé d.db"),
        ("sqlite:///a#b&c.db", "a#b&c.db"),
        ("SQLite:///lamina.db", "lamina.db"),
        ("sqlite:///lamina", "lamina"),
        ("sqlite:///../data/./lamina.db", "../data/lamina.db"),
        ("sqlite:///./~/lamina.db", "~/lamina.db"),
        ("sqlite:///%24HOME/%20lamina.db%20", "$HOME/ lamina.db "),
        ("sqlite:///%3Amemory%3A", ":memory:"),
        ("sqlite:///%66ile:lamina.db", "file:lamina.db"),
        ("sqlite:///lamina.db-old", "lamina.db-old"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
    ],
)
def test_a_file_or_memory(url: str, path: str | None) -> None:
    assert parse(url) == SqliteAddress(None if path is None else Path(path))


def test_a_relative_path_is_told_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nobody sees that a server has started in another working directory, with a new database there."""
    monkeypatch.chdir(tmp_path)
    assert describe_database(Settings(database="sqlite:///lamina.db")) == f"{tmp_path}/lamina.db"


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("", "is empty: write sqlite:///FILE or postgresql://USER@HOST/DATABASE"),
        ("sqlite:///", f"names no file (is a variable empty?): {NO_FILE}"),
        ("sqlite:", NO_FILE),
        ("sqlite:////", "names a folder: write sqlite:////lamina.db"),
        ("sqlite:///.", "names a folder: write sqlite:///./lamina.db"),
        ("sqlite:///data/..", "names a folder: write sqlite:///data/../lamina.db"),
        ("sqlite:///data/%2E", "names a folder: write sqlite:///data/%2E/lamina.db"),
        ("sqlite:///data%2F", "names a folder"),
        ("sqlite:///~/lamina.db", "which begins with sqlite:////, or write sqlite:///./~/lamina.db"),
        ("sqlite:///~ada/lamina.db", "a ~ does not stand for a home folder"),
        ("sqlite:///$DATA/lamina.db", "holds a variable, which no shell has replaced by its value"),
        ("sqlite:///${DATA:-.}/lamina.db", "a $ that belongs to the name as %24"),
        ("sqlite:////:memory:", "write sqlite:// for a database in memory"),
        ("sqlite:///data/:memory:", "write sqlite:// for a database in memory"),
        ("sqlite:///lamina.db-wal", "write sqlite:///lamina.db"),
        ("sqlite:///data/lamina.db-shm", "write sqlite:///data/lamina.db"),
        ("sqlite:///lamina.db-journal", "write sqlite:///lamina.db"),
        ("sqlite:/// lamina.db", "which is written as %20"),
        ("sqlite:///lamina.db ", "begins or ends with a space"),
        ("file:lamina.db", "instead of file: write sqlite:///lamina.db"),
        ("file:///var/lamina.db?mode=rwc", "write sqlite:////var/lamina.db"),
        ("file:lamina?mode=memory&cache=shared", "write sqlite:// for a database in memory"),
        ("sqlite:///file:lamina?mode=memory&uri=true", "write sqlite:// for a database in memory"),
        ("sqlite:///file:/var/lamina.db?uri=true", "holds no other address: write sqlite:////var/lamina.db"),
        ("sqlite:///file:lamina.db", "holds no other address: write sqlite:///lamina.db"),
        ("sqlite3:///lamina.db", "write sqlite: for sqlite3:"),
        ('"sqlite:///lamina.db"', "leave the quotation marks out"),
        ("'postgresql://ada:canary@db/lamina'", "leave the quotation marks out"),
        ("sqlite:///data/", "write sqlite:///data/lamina.db"),
        ("sqlite://lamina.db", "write sqlite:///lamina.db"),
        ("sqlite://data/lamina.db", "write sqlite:///data/lamina.db"),
        ("sqlite:lamina.db", "write sqlite:///lamina.db"),
        ("sqlite:/var/lamina.db", "write sqlite:////var/lamina.db"),
        ("sqlite://:memory:", "write sqlite:// for a database in memory"),
        (":memory:", "write sqlite:// for a database in memory"),
        ("lamina.db", "write sqlite:///lamina.db"),
        ("/var/lib/lamina.db", "write sqlite:////var/lib/lamina.db"),
        ("sqlite://ada:canary@host/lamina.db", "no user, password, host or port: write sqlite:///FILE"),
        ("sqlite://host:5432/lamina.db", "no user, password, host or port: write sqlite:///FILE"),
        (
            "sqlite:///dir/a?b.db",
            "write sqlite:///dir/a, or sqlite:///dir/a%3Fb.db if the ? belongs to the file",
        ),
        ("sqlite:///lamina.db?timeout=3", "takes no options: write sqlite:///lamina.db"),
        ("sqlite:///lamina.db?key=canary", "takes no options: write sqlite:///lamina.db"),
        ("sqlite:///lamina.db?", "takes no options: write sqlite:///lamina.db"),
        ("sqlite://?mode=memory", f"takes no options: {NO_FILE}"),
        ("sqlite:///100%.db", "write sqlite:///100%25.db"),
        ("sqlite:///%FF.db", "is not UTF-8"),
        ("sqlite:///a%0A.db", "holds a line break"),
        ("sqlite:///lamina.db\n", "begins or ends with a space, or holds a line break"),
        ("sqlite+pysqlite:///lamina.db", "write sqlite:// without one"),
        ("postgresql+asyncpg://ada:canary@db/lamina", "write postgresql:// without one"),
        ("mysql://ada:canary@db/lamina", "'mysql' is not a database that is known here: write sqlite:///FILE or"),
        ("host=db user=ada password=canary", "is not a URL: write sqlite:///FILE or"),
        ("postgresql:db/lamina", "has two slashes"),
        ("postgresql://ada:can@ary@db/lamina", "write @ as %40"),
        ("postgresql://ada:can/ary@db/lamina", "write @ as %40"),
        ("postgresql://ada:can/a?ry@db/lamina", "write @ as %40"),
        ("postgresql://ada:canary%@db/lamina", "and % as %25"),
        ("postgresql://ada:canary/lamina", "the port in the PostgreSQL address is not a number"),
        ("postgresql://db/lamina?timeout=3", "an option that does not exist; did you mean connect_timeout?"),
        ("postgresql://db:99999x/lamina", "the port in the PostgreSQL address is not a number up to 65535"),
        ("postgresql://db:123456/lamina", "the port in the PostgreSQL address is not a number up to 65535"),
        ("postgresql://db/lamina&sslmode=require", "has a character where none can be"),
        ("postgresql://ada,grace@db/lamina", "has a character where none can be"),
        ("sqlite:///ada:canary@db/lamina.db", "no user, password, host or port: write sqlite:///FILE"),
        ("postgresql://db/lamina?canary", "libpq does not understand"),
        (
            "postgresql://db/lamina?host=one&host=other",
            "says host more than once: write several hosts as host=ONE,OTHER",
        ),
        ("postgresql://db/lamina?host=other", "says host more than once"),
        ("postgresql://ada@db/lamina?sslmode=prefer&sslmode=require", "says sslmode more than once"),
        (
            "postgresql://db/lamina?sslmode=canary",
            "sslmode in the PostgreSQL address must be disable, allow, prefer, require, verify-ca or verify-full",
        ),
        (
            "postgresql://db/lamina?load_balance_hosts=canary",
            "load_balance_hosts in the PostgreSQL address must be disable or random",
        ),
        ("postgresql://db/lamina?target_session_attrs=any", "the server needs target_session_attrs=primary"),
        ("postgresql://db/lamina?client_encoding=latin1", "the server needs client_encoding=utf8"),
    ],
)
def test_an_ignored_part_is_refused_with_the_address_that_was_meant(url: str, meant: str) -> None:
    with pytest.raises(DatabaseAddressError) as refused:
        parse(url)
    assert meant in str(refused.value)
    assert "can" not in str(refused.value).replace("where none can be", "")


@pytest.mark.parametrize(
    ("url", "parameters", "shown"),
    [
        (
            "postgresql://ada:p%40ss?#@db:6000/lamina",
            {"user": "ada", "password": "p@ss?#", "host": "db", "port": "6000", "dbname": "lamina"},
            "postgresql://ada@db:6000/lamina",
        ),
        (
            "POSTGRES://ada@one,other:6000/lamina?sslmode=verify-full&options=-c%20search_path%3Dx",
            {
                "user": "ada",
                "host": "one,other",
                "port": ",6000",
                "dbname": "lamina",
                "sslmode": "verify-full",
                "options": "-c search_path=x",
            },
            "postgresql://ada@one,other:6000/lamina",
        ),
        (
            "postgresql+psycopg://ada@/lamina?host=%2Frun%2Fpg&client_encoding=UTF-8",
            {"user": "ada", "dbname": "lamina", "host": "/run/pg", "client_encoding": "UTF-8"},
            "postgresql://ada@/lamina?host=/run/pg&port=5432",
        ),
        (
            "postgresql://ada@/lamina?hostaddr=10.0.0.7",
            {"user": "ada", "dbname": "lamina", "hostaddr": "10.0.0.7"},
            "postgresql://ada@10.0.0.7:5432/lamina",
        ),
        (
            "postgresql://ada@[fd00::7]:6000/lamina",
            {"user": "ada", "host": "fd00::7", "port": "6000", "dbname": "lamina"},
            "postgresql://ada@[fd00::7]:6000/lamina",
        ),
        (
            "postgresql://?service=prod",
            {"service": "prod"},
            "postgresql://@/?service=prod",
        ),
    ],
)
def test_postgresql_as_libpq_reads_it(url: str, parameters: dict[str, str], shown: str) -> None:
    address = parse(url)
    assert isinstance(address, PostgresqlAddress)
    assert address.parameters == parameters
    assert str(address) == shown
    assert "p@ss" not in repr(address)


def test_parts_from_the_environment_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGHOST": "db", "PGPORT": "6000", "PGUSER": "ada", "PGPASSWORD": "canary"}.items():
        monkeypatch.setenv(name, value)
    assert str(parse("postgresql://")) == "postgresql://ada@db:6000/ada"


CANARY = ("Zq7xJ", "K9wVh")
"""The beginning and the end of a password. A character between them may take the address apart elsewhere."""
AROUND = (
    *(
        f"postgresql{rest}"
        for rest in (
            "://ada:{}@db/lamina",
            "://ada:{}@/lamina",
            "://ada:{}@db:54x/lamina",
            "://ada:{}@db/lamina?sslmode=odd",
            "://ada:{}@db/lamina?odd=1",
            ":/ada:{}@db/lamina",
            ":///ada:{}@db/lamina",
            ":////ada:{}@db/lamina",
            "://:{}@db/lamina",
            "://ada,{}@db/lamina",
            "://ada;{}@db/lamina",
            ":///ada:{}",
            "://db/lamina?password={}",
            "://db/lamina?password={}&sslmode=odd",
            "://db/lamina?password={}&password={}",
            "://db/lamina?passwort={}",
            "://db/lamina?{}",
            "://db/lamina?{}=1",
            "://db/lamina&password={}",
            "://db/lamina;password={}",
            "://db/lamina#{}",
            "://db#{}",
            "+asyncpg://ada:{}@db/lamina",
            "+{}://db/lamina",
            "//ada:{}@db/lamina",
        )
    ),
    "ada:{}@db/lamina",
    "//ada:{}@db/lamina",
    "{}",
    "{}:db",
    "host=db password={}",
    "mysql://ada:{}@db/lamina",
    "jdbc:postgresql://db/lamina?password={}",
    "'postgresql://ada:{}@db/lamina'",
    " postgresql://ada:{}@db/lamina",
    "postgresql://ada:{}@db/lamina\n",
    "sqlite://ada:{}@db/lamina.db",
    "sqlite:///ada:{}@db/lamina.db",
    "sqlite:ada:{}@db/lamina.db",
    "sqlite:/ada:{}@db/lamina.db",
    "sqlite:////ada:{}@db/lamina.db",
    "sqlite:///lamina.db?password={}",
    "sqlite:///lamina.db?{}",
    "sqlite://ada:{}",
)
BETWEEN = (*"@:/?#%&=[] \\'\"\n\t\0+,;{}|^`<é\udcff", "", "//", "@@", ":@", "%zz", "%00", "?a=b&")


def test_no_part_of_a_password_is_repeated() -> None:
    """Wherever it stands, and whatever the characters in it make of the address."""
    pieces = {part[at : at + 4].lower() for part in CANARY for at in range(len(part) - 3)}
    for form, character in itertools.product(AROUND, BETWEEN):
        url = form.replace("{}", character.join(CANARY))
        try:
            said = str(parse(url))
        except DatabaseAddressError as error:
            said = str(error)
        assert [piece for piece in pieces if piece in said.lower()] == [], ascii(url)
