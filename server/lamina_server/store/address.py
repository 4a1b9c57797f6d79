"""A database's address, taken apart: the only place that does so. Opens nothing.

    sqlite:///lamina.db             the file lamina.db in the working directory
    sqlite:////var/lib/lamina.db    the file /var/lib/lamina.db
    sqlite://                       memory, for as long as the server runs; so is sqlite:///:memory:
    postgresql://app@db/lamina      as libpq reads it, with libpq's options: ?sslmode=verify-full

Every part of an address counts: one with a part that would be ignored is refused, with the address that was
probably meant. No error quotes what may be a password: of an address that cannot be taken apart, nobody knows where
its password ends.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias
from urllib.parse import quote, unquote

MEMORY = ":memory:"

FIXED: Mapping[str, str] = MappingProxyType({"client_encoding": "utf8", "target_session_attrs": "primary"})
"""The options of PostgreSQL that the server's promises depend on."""

_CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
        "sslnegotiation": ("postgres", "direct"),
        "sslcertmode": ("disable", "allow", "require"),
        "gssencmode": ("disable", "prefer", "require"),
        "channel_binding": ("disable", "prefer", "require"),
        "load_balance_hosts": ("disable", "random"),
    }
)
"""The options of which libpq knows a few values. It takes no others, and says so only when it connects."""

PORT_MAX = 65_535
_FILE = re.compile(r"[\w./ -]+\.(db|sqlite3?)")
"""What is surely a file's path. A text without a suffix that databases have may be a password."""
_PATH = re.compile(r"[\w./ ~+%-]*")
"""A path that may be repeated. An address with other characters may be one of PostgreSQL, with a password."""
_CREDENTIALS = re.compile(r"/*[^/]*:.*@")

_FORMS = "write sqlite:///FILE or postgresql://USER@HOST/DATABASE"
_POSTGRESQL = {"postgresql", "postgres", "postgresql+psycopg"}
_QUOTED = "in a user, password, host or database write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and % as %25"
_NAME = r"[\w.~$ +%-]*"  # what needs no % in the name of a user or a database
_USER = re.compile(rf"//{_NAME}(:|$)")
_PLACE = re.compile(rf"(//|@)[\w.,:~%\[\]-]*(/{_NAME})?")


class DatabaseAddressError(Exception):
    """An address cannot be understood, or not all of it. The text says what to write; it quotes no password."""

    setting = "database"


@dataclass(frozen=True, slots=True)
class SqliteAddress:
    """A file, as it was named; in memory where the path is None."""

    path: Path | None

    def __str__(self) -> str:
        """Return where the data is, for people."""
        return "memory, for as long as this server runs" if self.path is None else str(self.path)


@dataclass(frozen=True, slots=True)
class PostgresqlAddress:
    """A PostgreSQL database: `parameters` are libpq's, by keyword, the password among them."""

    parameters: Mapping[str, str] = field(repr=False)

    def __str__(self) -> str:
        """Return host, port, database and user as a URL, as libpq completes them; never the password."""
        known = _with_defaults(self.parameters)
        hosts = (known.get("host") or known.get("hostaddr", "")).split(",")
        ports = known.get("port", "").split(",")
        ports = ports if len(ports) == len(hosts) else ports[:1] * len(hosts)
        user = known.get("user", "")
        names = {"database": known.get("dbname", user), "service": known.get("service", "")}
        options = [f"service={names['service']}"] if names["service"] else []
        if any(host.startswith(("/", "@")) for host in hosts):  # Unix sockets
            options += [f"host={','.join(hosts)}", f"port={','.join(ports)}"]
            places = ""
        else:
            names_of_hosts = [f"[{host}]" if ":" in host else host for host in hosts]  # IPv6
            pairs = zip(names_of_hosts, ports, strict=True)
            places = ",".join(f"{host}:{port}" if port else host for host, port in pairs)
        return f"postgresql://{user}@{places}/{names['database']}" + (f"?{'&'.join(options)}" if options else "")


Address: TypeAlias = SqliteAddress | PostgresqlAddress


def parse(url: str) -> Address:
    """Take an address apart.

    Raises DatabaseAddressError.
    """
    if not url:
        raise DatabaseAddressError(f"the database's address is empty: {_FORMS}")
    if url != url.strip() or not url.isprintable():
        text = "the database's address begins or ends with a space, or holds a line break"
        raise DatabaseAddressError(f"{text} or another unprintable character")
    if url[0] in "\"'":
        raise DatabaseAddressError("the database's address begins with a quotation mark: leave the quotation marks out")
    match = re.match(r"([A-Za-z][\w+.-]*):", url, re.ASCII)
    if match is None:
        raise DatabaseAddressError(f"the database's address is not a URL: {_path_as_url(url)}")
    scheme, rest = match[1].lower(), url[match.end() :]
    if scheme == "sqlite":
        return _sqlite(rest)
    if scheme in _POSTGRESQL:
        return _postgresql(rest)
    raise _unknown_scheme(scheme, rest)


def _unknown_scheme(scheme: str, rest: str) -> DatabaseAddressError:
    if scheme == "file":
        return DatabaseAddressError(f"an address begins with sqlite: instead of file: {_meant_by_uri(rest)}")
    if scheme == "sqlite3":
        return DatabaseAddressError("write sqlite: for sqlite3:")
    kind = scheme.partition("+")[0]
    if kind == "sqlite" or kind in _POSTGRESQL:
        return DatabaseAddressError(f"the server chooses the database's driver itself: write {kind}:// without one")
    if rest.startswith("//"):
        return DatabaseAddressError(f"{scheme!r} is not a database that is known here: {_FORMS}")
    return DatabaseAddressError(f"the database's address is not a URL: {_FORMS}")


def resolved(path: Path) -> Path:
    """Return a file's absolute path, with symbolic links followed.

    Raises DatabaseAddressError if the path is relative and the working directory was removed.
    """
    try:
        return Path(os.path.realpath(path))  # Path.resolve has no words for links in a circle
    except FileNotFoundError:
        text = f"the working directory does not exist any more, so {str(path)!r} names no file: write an absolute path"
        raise DatabaseAddressError(text) from None


def _path_as_url(text: str) -> str:
    """Return the URL of what looks like a file's path; it may be anything, so it is not repeated otherwise."""
    if text == MEMORY:
        return "write sqlite:// for a database in memory"
    return f"write {url_of_file(text)}" if _FILE.fullmatch(text) else _FORMS


def url_of_file(path: str) -> str:
    """Return the address of a SQLite file."""
    return f"sqlite:///{quote(path)}"


def _sqlite(rest: str) -> SqliteAddress:
    if not rest.startswith("//"):
        raise DatabaseAddressError(f"a SQLite address has two slashes and a third one before its file: {_meant(rest)}")
    place, question, options = rest[2:].partition("?")
    host, _, name = place.partition("/")
    if host != MEMORY and ("@" in host or ":" in host or _CREDENTIALS.match(name)):
        raise DatabaseAddressError("a SQLite address has no user, password, host or port: write sqlite:///FILE")
    if host:
        text = "a SQLite address with two slashes would make a host of the beginning of its path"
        raise DatabaseAddressError(f"{text}: {_meant(place)}")
    if name.startswith("file:"):
        meant = _meant_by_uri(f"{name.removeprefix('file:')}?{options}")
        raise DatabaseAddressError(f"a SQLite address holds no other address: {meant}")
    if question:
        otherwise = f", or {url_of_file(f'{unquote(name)}?{options}')} if the ? belongs to the file"
        is_name = _PATH.fullmatch(name) and _FILE.fullmatch(options)
        raise DatabaseAddressError(f"a SQLite address takes no options: {_meant(name)}{otherwise if is_name else ''}")
    if not place or name == MEMORY:
        return SqliteAddress(None)
    if not name:
        raise DatabaseAddressError(f"sqlite:/// names no file (is a variable empty?): {_meant(name)}")
    _check_name(name)
    decoded = _decoded(name)
    if decoded.rpartition("/")[2] in {"", ".", ".."}:
        raise DatabaseAddressError(f"the SQLite address names a folder: {_meant(name.rstrip('/') + '/lamina.db')}")
    return SqliteAddress(Path(decoded))


def _check_name(name: str) -> None:
    """Refuse a name that was hardly meant as it is. Percent-encoded, or after ./, each name is possible."""
    last = name.rpartition("/")[2]
    if name != name.strip():
        raise DatabaseAddressError("the file's name begins or ends with a space, which is written as %20")
    if re.search(r"\$[\w{]", name):
        text = "the SQLite address holds a variable, which no shell has replaced by its value"
        raise DatabaseAddressError(f"{text}: write the value, and a $ that belongs to the name as %24")
    if name.startswith("~"):
        text = "a ~ does not stand for a home folder in an address: write the whole path, which begins with sqlite:////"
        raise DatabaseAddressError(f"{text}, or {_meant('./' + name)}")
    if last == MEMORY:
        raise DatabaseAddressError(f"a database in memory has no folder: {_meant(MEMORY)}")
    if log := re.search(r"(?<=.)-(wal|shm|journal)$", last):
        text = "the SQLite address names a file that SQLite keeps beside a database"
        raise DatabaseAddressError(f"{text}: {_meant(name.removesuffix(log[0]))}")


def _meant_by_uri(rest: str) -> str:
    """Return what SQLite's own kind of address means; rest is what follows file:."""
    path, _, options = rest.partition("?")
    if "mode=memory" in options or path == MEMORY:
        return _meant(MEMORY)
    return _meant(re.sub(r"^//[^/]*(?=/)", "", path))


def _meant(name: str) -> str:
    if name in {"", "/"}:
        return "write sqlite:///lamina.db for a file, or sqlite:// for a database in memory"
    if name == MEMORY:
        return "write sqlite:// for a database in memory"
    return f"write sqlite:///{name if _PATH.fullmatch(name) else 'FILE'}"


def _decoded(name: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", name):
        raise DatabaseAddressError(f"a % in a file's name is written as %25: {_meant(quote(name))}")
    try:
        decoded = unquote(name, errors="strict")
    except UnicodeDecodeError:
        raise DatabaseAddressError("the file's name in the SQLite address is not UTF-8") from None
    if not decoded.isprintable():
        raise DatabaseAddressError("the file's name in the SQLite address holds a line break or the like")
    return decoded


def _postgresql(rest: str) -> PostgresqlAddress:
    from psycopg import ProgrammingError  # noqa: PLC0415 - a server on SQLite does not need the driver
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    if not rest.startswith("//"):
        raise DatabaseAddressError(f"a PostgreSQL address has two slashes: {_FORMS}")
    before, at, _ = rest.partition("@")
    has_user = at and "/" not in before[2:]
    if rest.count("@") > (1 if has_user else 0):
        raise DatabaseAddressError(f"the PostgreSQL address has an @ where none can be: {_QUOTED}")
    start = len(before) if has_user else 0
    place, _, query = rest[start:].partition("?")
    if not _PLACE.fullmatch(place) or (has_user and not _USER.match(before)):
        raise DatabaseAddressError(f"the PostgreSQL address has a character where none can be: {_QUOTED}")
    try:
        parameters = {name: str(value) for name, value in conninfo_to_dict(f"postgresql:{rest}").items()}
        said = Counter(list(conninfo_to_dict(f"postgresql:{rest[:start]}{place}")))
    except ProgrammingError as error:  # its words quote the address
        raise DatabaseAddressError(f"libpq does not understand the PostgreSQL address: {_why(error)}") from None
    said.update(option.partition("=")[0] for option in query.split("&") if option)
    _check_options(parameters, said)
    return PostgresqlAddress(MappingProxyType(parameters))


def _why(error: Exception) -> str:
    unknown = re.search(r'invalid URI query parameter: "(\w+)"', str(error))
    if not unknown:
        return _QUOTED
    from psycopg.pq import Conninfo  # noqa: PLC0415

    alike = get_close_matches(unknown[1].lower(), [each.keyword.decode() for each in Conninfo.get_defaults()], n=1)
    return f"it has an option that does not exist{f'; did you mean {alike[0]}?' if alike else ''}"


def _check_options(parameters: Mapping[str, str], said: Mapping[str, int]) -> None:
    """Refuse what libpq would overwrite, and what the server would; `said` counts how often each is given."""
    for name, count in said.items():
        if count > 1:
            several = ": write several hosts as host=ONE,OTHER" if name == "host" else ""
            raise DatabaseAddressError(f"the PostgreSQL address says {name} more than once{several}")
    for name, value in FIXED.items():
        if parameters.get(name, value).lower().replace("-8", "8") != value:
            raise DatabaseAddressError(f"the server needs {name}={value}: leave {name} out of the PostgreSQL address")
    for name, choices in _CHOICES.items():
        if parameters.get(name) and parameters[name] not in choices:
            known = f"{', '.join(choices[:-1])} or {choices[-1]}"
            raise DatabaseAddressError(f"{name} in the PostgreSQL address must be {known}")
    ports = [port for port in parameters.get("port", "").split(",") if port]
    if not all(re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= PORT_MAX for port in ports):
        raise DatabaseAddressError(f"the port in the PostgreSQL address is not a number up to {PORT_MAX}: {_QUOTED}")


def _with_defaults(parameters: Mapping[str, str]) -> dict[str, str]:
    """Add what libpq takes from its environment, or by default."""
    from psycopg.pq import Conninfo  # noqa: PLC0415

    if "service" in parameters:  # a file says the rest
        return dict(parameters)
    defaults = {each.keyword.decode(): each.val.decode() for each in Conninfo.get_defaults() if each.val is not None}
    return {**defaults, **parameters}
