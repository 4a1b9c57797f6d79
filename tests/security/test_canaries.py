"""Values, secrets, tokens, keys and passwords do not get out, through any verb and any failure.

They are random texts, and are searched afterwards in all that was printed, logged, raised and written.
"""

import asyncio
import io
import json
import logging
import os
import pickle
import re
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, make_url

import lamina
import lamina.bundle
from lamina.cli.app import app
from tests.client.sdk import Sdk, entered, listed, of
from tests.security.canaries import canary, found_in, found_under
from tests.security.closed import ClosedProcess, Secured
from tests.security.people import People, Person
from tests.security.secret_helpers import key_file
from tests.server.sessions import LISTENING, TELLING, Operator
from tests.support.server import ServerProcess

CONFIG, OTHER = "shop/prod", "shop/other"
VALUE, SECRET = canary("value"), canary("secret")
NAMES = app.list_commands(click.Context(app))
FILES = ("settings.yaml", "bundle.lamina", "edited.yaml")

VERBS: dict[str, list[list[str]]] = {
    "set": [
        [CONFIG, f"banner={VALUE}", "-m", "why"],
        [CONFIG, "--secret", f"password={SECRET}", "-m", "why"],
        [CONFIG, "--secret", f"password={SECRET}", "--base", "1"],
        [CONFIG, f"banner={VALUE}x", "--base", "1"],
        [CONFIG, f"timeout={VALUE}"],
        [CONFIG, f"bad:={{{VALUE}"],
    ],
    "get": [
        [CONFIG],
        [CONFIG, "-o", "json"],
        [CONFIG, "password"],
        [CONFIG, "nosuch"],
        [CONFIG, "--at", "99"],
        ["nosuch"],
    ],
    "show": [[CONFIG], [CONFIG, "99"]],
    "history": [[CONFIG, "banner"], [CONFIG, "password"], [CONFIG, "nosuch"]],
    "diff": [[CONFIG]],
    "log": [[CONFIG], ["nosuch"]],
    "blame": [[CONFIG]],
    "configs": [[], ["nosuch/"]],
    "ls": [[]],
    "status": [[]],
    "unset": [[CONFIG, "timeout"], [CONFIG, "nosuch"]],
    "export": [[CONFIG, FILES[0]], [CONFIG, FILES[1], "--history"], [CONFIG, "/nosuch/file"]],
    "import": [[CONFIG, FILES[0]], [CONFIG, "nosuch.yaml"]],
    "revert": [[CONFIG, "banner", "--to", "1"], [CONFIG, "banner", "--to", "99"]],
    "fork": [[CONFIG, OTHER], [CONFIG, OTHER], ["nosuch", OTHER]],
    "edit": [[CONFIG, "-m", "why"]],
    "watch": [[CONFIG, "--after", "0", "--exec", "false", "--stop-on-error"]],
    "exec": [[CONFIG, "banner", "password", "--", "/nosuch/program"], ["nosuch", "--", "true"]],
    "bisect": [[CONFIG, "1", "2", "--", "false"]],
    "help": [[], ["connection"]],
    "version": [[]],
    "completion": [["bash"]],
    "whoami": [[]],
    "access": [["list"], ["log"], ["check", "token:shop", CONFIG], ["grant", "token:shop", "reader", "x/**"]],
    "token": [["list"], ["create", "new", "--grant", "reader", "x/**"], ["revoke", "nosuch"], ["revoke", "new"]],
    "login": [["http://127.0.0.1:1/realm"]],
    "logout": [[]],
}
"""What is run of each verb of the command line: what succeeds with enough rights, and what fails with all."""


@contextmanager
def everything_logged() -> Iterator[io.StringIO]:
    """Collect all that any library logs, however little it matters."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield text
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def callers(people: People) -> dict[str, Person]:
    """Return people with each kind of token: good, with too few rights, expired, and unknown."""
    expired = people.token("late", expires=datetime.now(UTC) - timedelta(days=1))
    people.grant(expired, "admin", "**")
    return {
        "admin": people.admin("ada", reveal=True),
        "reader": people.reader("shop", f"{CONFIG}*"),
        "stranger": people.token("stranger"),
        "expired": expired,
        "unknown": Person(token=f"lamina_unknown0unknown_{canary('token')}"),
    }


def secret_of(person: Person) -> str:
    return person.token.split("_", 2)[2]


@pytest.mark.timeout(180)  # hundreds of commands, one after the other
def test_the_command_line_shows_no_token_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does anything that it or the server writes; and the server logs no value."""
    assert set(NAMES) <= VERBS.keys()
    people = People()
    persons = callers(people)
    key = key_file(tmp_path)
    hidden = [*(secret_of(person) for person in persons.values()), SECRET, key.read_text().strip()]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDITOR", f"sed -i s/{VALUE}/{VALUE}{VALUE}/")
    shown = io.StringIO()
    audit = tmp_path / "audit.jsonl"
    files: dict[str, Any] = {"LAMINA_SERVER_SECRET_KEY_FILE": str(key), "LAMINA_SERVER_AUDIT_FILE": str(audit)}
    url = f"sqlite:///{tmp_path}/lamina.db"
    with ClosedProcess(url, people, **files) as server, everything_logged() as logged:
        config = server.connect(persons["admin"]).config(CONFIG, create=True)
        for old in ("old", ""):
            config.update({"banner": f"{old}{VALUE}", "timeout": 30, "password": lamina.Secret(f"{SECRET}{old}")})
            config.commit("first settings")
        for name, person in persons.items():
            for way in ("file", "variable"):
                run_all(server, name, way, person, shown)
        text, log = shown.getvalue(), logged.getvalue()
        revealed = CliRunner(env={"LAMINA_TARGET": server.target, "LAMINA_TOKEN": persons["admin"].token}).invoke(
            app, ["get", CONFIG, "--reveal"], prog_name="lamina"
        )
    assert found_in(revealed.output, [SECRET]) == [SECRET]  # it would have been found
    assert text.count("exit 0") > len(VERBS)
    assert VALUE in text
    assert found_in(text, hidden) == []
    assert found_in(log, [*hidden, VALUE]) == []
    assert found_in(server.log + server.printed + audit.read_text(), [*hidden, VALUE]) == []
    assert '"revealed"' in audit.read_text()
    theirs = [key, *(tmp_path / f"{name}.token" for name in persons)]
    assert all(path.exists() for path in theirs)
    assert found_under(tmp_path, hidden, except_for=theirs) == []
    made = re.findall(r"^lamina_[a-z0-9]+_(\S+)$", text, re.MULTILINE)
    assert bool(made) == ("token" in NAMES)
    assert found_under(tmp_path, made) == []
    assert found_in(server.log + server.printed, made) == []


def run_all(server: ClosedProcess, name: str, way: str, person: Person, shown: io.StringIO) -> None:
    """Run all verbs as a person, who has the token in a file or in a variable; print all into `shown`."""
    token_file = Path(f"{name}.token")
    token_file.write_text(f"{person.token}\n")
    given = {"LAMINA_TOKEN_FILE": str(token_file)} if way == "file" else {"LAMINA_TOKEN": person.token}
    home = {"HOME": str(Path.cwd()), "LAMINA_CACHE_DIR": "cache", "LAMINA_TIMEOUT": "5"}
    environment = {"LAMINA_TARGET": server.target, **given, **home}
    for verb in NAMES:
        for arguments in VERBS[verb]:
            in_process = verb not in {"exec", "bisect", "edit", "watch"}  # which replace or start processes
            if in_process:
                runner = CliRunner(env=environment)
                done = runner.invoke(app, [verb, *arguments], prog_name="lamina")
                shown.write(f"{done.output}\nexit {done.exit_code}\n")
                if done.exception and not isinstance(done.exception, SystemExit):
                    shown.write("".join(traceback.format_exception(done.exception)))
            # A watch waits for a renewed token in a file, and a stranger's watch for a config that is not there.
            elif way == "variable" and not (verb == "watch" and name == "stranger"):
                program = [str(Path(sys.executable).with_name("lamina")), verb, *arguments]
                process = subprocess.run(
                    program, env={**os.environ, **environment}, capture_output=True, text=True, check=False
                )
                shown.write(f"{process.stdout}{process.stderr}\nexit {process.returncode}\n")
    assert shown.getvalue().count("Traceback") == 0


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_the_sdk_shows_no_token_and_no_secret(kind: str, tmp_path: Path) -> None:
    """Not in a repr, an error, a traceback with its local variables, a log, a pickle or a file."""
    people = People()
    persons = callers(people)
    key = key_file(tmp_path)
    hidden = [*(secret_of(person) for person in persons.values()), SECRET, key.read_text().strip()]
    audit = tmp_path / "audit.jsonl"
    files: dict[str, Any] = {"LAMINA_SERVER_SECRET_KEY_FILE": str(key), "LAMINA_SERVER_AUDIT_FILE": str(audit)}
    url = f"sqlite:///{tmp_path}/lamina.db"
    with ClosedProcess(url, people, **files) as server, everything_logged() as logged:
        shown = asyncio.run(seen_by_all(kind, server, persons.values(), tmp_path))
        log = logged.getvalue()
    assert sum("Traceback" in text for text in shown) > 3 * len(persons)
    assert sum("Secret" in text for text in shown) > len(persons)
    assert [text for text in shown if found_in(text, hidden)] == []
    assert found_in(log, hidden) == []
    assert found_under(tmp_path, hidden, except_for=[key]) == []


async def seen_by_all(kind: str, server: ClosedProcess, persons: Iterable[Person], folder: Path) -> list[str]:
    sdk = Sdk(kind)
    try:
        return [text for person in persons async for text in seen(sdk, server, person, folder)]
    finally:
        await sdk.close()


async def seen(sdk: Sdk, server: ClosedProcess, person: Person, folder: Path) -> AsyncIterator[str]:
    """Yield the reprs and the failures of the SDK's objects."""
    client = sdk.connect(server.target, token=person.token, cache_dir=str(folder / "cache"), timeout=5)
    for text in shapes(client):
        yield text
    verbs: list[Callable[[], Any]] = [
        lambda: client.config(CONFIG, create=True),
        lambda: client.config("nosuch"),
        lambda: listed(client.configs()),
        client.server_info,
    ]
    for verb in verbs:
        for text in await outcome_of(verb):
            yield text
    try:
        config = await of(client.config(CONFIG, create=True))
    except lamina.LaminaError:
        return
    config["banner"], config["password"] = VALUE, lamina.Secret(SECRET)
    for verb in (
        lambda: config["password"],
        lambda: config.commit("why"),
        config.refresh,
        lambda: config.at(99),
        lambda: listed(config.history("password")),
        lambda: config["password"],
        lambda: config["password"] == lamina.Secret("other"),
        lambda: json.dumps(config["password"]),
        lambda: f"{config['password']:>20} %s" % config["password"],
        lambda: logging.getLogger("users").warning("%s", config["password"]),
        config.to_dict,
        lambda: config.diff(0),
        lambda: config.fork(f"{CONFIG}-fork-{person.token_id}"),
        lambda: config.revert("banner", to=99),
        lambda: listed(config.watch(after=0, timeout=0.1)),
        lambda: lamina.bundle.export(config, folder / "bundle.lamina"),
        lambda: live(client),
        config.verify,
        lambda: config,
    ):
        for text in await outcome_of(verb):
            yield text


async def live(client: Any) -> str:
    following = await of(client.live(CONFIG))
    async with entered(following):
        return f"{following!r} {following}"


async def outcome_of(verb: Callable[[], Any]) -> list[str]:
    """Return what a verb of either client returns or raises; see `outcome`."""
    try:
        result = await of(verb())
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not show a token
        return told(error, capture_locals=True)
    return list(shapes(result))


def outcome(verb: Callable[[], Any], *, capture_locals: bool = True) -> Iterator[str]:
    """Yield what a verb returns or raises, with the local variables of every frame."""
    try:
        yield from shapes(verb())
    except Exception as error:  # noqa: BLE001 - whatever it is, it must not show a token
        yield from told(error, capture_locals=capture_locals)


def told(error: Exception, *, capture_locals: bool) -> list[str]:
    lines = traceback.TracebackException.from_exception(error, capture_locals=capture_locals).format()
    return ["".join(lines), *shapes(error)]


def shapes(thing: Any) -> Iterator[str]:
    """Yield an object as text in several ways, with what hangs on it."""
    yield from (repr(thing), str(thing), f"{thing}", repr(getattr(thing, "args", "")))
    try:
        yield repr(pickle.dumps(thing))
    except Exception as error:  # noqa: BLE001 - most objects refuse
        yield repr(error)


def test_what_is_given_in_place_of_its_file_is_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the command line, and not by the SDK: tokens, JWTs and keys look unlike paths."""
    body = canary("secret")
    token, jwt = f"lamina_abcdefghijkl_{body}", f"eyJhbGciOiJub25lIn0.eyJ{body}.{body}"
    pem = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
    shown: list[str] = []
    for given in (token, jwt, pem):
        for option, variable in (
            ("--token-file", "LAMINA_TOKEN_FILE"),
            ("--tls-ca", "LAMINA_TLS_CA"),
            ("--tls-cert", "LAMINA_TLS_CERT"),
            ("--tls-key", "LAMINA_TLS_KEY"),
        ):
            for arguments, environment in (([option, given], {}), ([], {variable: given})):
                runner = CliRunner(env={"LAMINA_TARGET": "localhost:1", "LAMINA_TIMEOUT": "0.1", **environment})
                done = runner.invoke(app, ["get", CONFIG, *arguments], prog_name="lamina")
                assert done.exit_code == 2, done.output
                shown.append(done.output)
            monkeypatch.setenv(variable, given)
            shown += outcome(lambda: lamina.connect("localhost:1"), capture_locals=False)
            monkeypatch.delenv(variable)
        shown += outcome(partial(lamina.TokenFile, given), capture_locals=False)
        shown += outcome(partial(lamina.TLS, ca=given), capture_locals=False)
    assert sum("Traceback" in text for text in shown) == 3 * (4 + 2)
    assert [text for text in shown if found_in(text, [body])] == []


def test_the_sdk_shows_no_private_key(tmp_path: Path) -> None:
    """Neither one that works nor one that belongs to another certificate or is damaged."""
    people = People()
    people.admin()
    shop, other = people.certificate("uri:spiffe://corp.example/shop"), people.certificate("dns:other.corp.example")
    assert shop.certificate is not None
    assert other.certificate is not None
    certificate, key = shop.certificate
    lines = [line for pem in (key, other.certificate[1]) for line in pem.decode().splitlines()[1:3]]
    url = f"sqlite:///{tmp_path}/lamina.db"
    with ClosedProcess(url, people, secured=Secured.MTLS) as server, everything_logged() as logged:
        verbs: list[Callable[[], Any]] = [
            lambda: server.connect(shop).config(CONFIG),
            lambda: server.connect(shop),
            partial(lamina.TLS, cert=certificate, key=other.certificate[1]),
            partial(lamina.TLS, cert=certificate, key=key[: len(key) // 2]),
            partial(lamina.TLS, cert=certificate, key=key.decode()),  # as if it were a path
        ]
        # Local variables would have the key: the caller's own, too.
        shown = [text for verb in verbs for text in outcome(verb, capture_locals=False)]
        log = logged.getvalue()
    assert sum("Traceback" in text for text in shown) == 4
    assert [text for text in shown if found_in(text, lines)] == []
    assert found_in(log + server.log + server.printed, lines) == []


def test_no_failure_of_the_server_shows_a_value_or_a_token() -> None:
    """Not the answer and not the log: bad requests, a broken store, bugs, and exceptions with values in their words."""
    value, token = canary("value"), f"lamina_abcdefghijkl_{canary('token')}"
    done = subprocess.run(
        [sys.executable, "-m", "tests.security.broken_server"],
        input=json.dumps([value, token]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    codes = set(done.stdout.splitlines()[-1].split())
    assert {"OK", "INVALID_ARGUMENT", "INTERNAL", "UNAUTHENTICATED", "FAILED_PRECONDITION"} <= codes
    assert '"bug"' in done.stderr
    assert found_in(done.stdout, [value, token]) == []
    assert found_in(done.stderr, [value, token]) == []


@pytest.fixture
def operator(postgres_url: str) -> Iterator[Operator]:
    """The operator of the cluster and of the test's database."""
    place = make_url(postgres_url)
    engine = create_engine(place.set(database="postgres"), isolation_level="AUTOCOMMIT")
    yield Operator(engine, str(place.database))
    engine.dispose()


@pytest.mark.postgres
def test_the_password_of_a_database_does_not_get_out(postgres_url: str, operator: Operator) -> None:
    """Not in the log and not in an error, when sessions are killed and refused."""
    password = canary("password")
    url = make_url(postgres_url).set(password=password).render_as_string(hide_password=False)
    with (
        ServerProcess(url) as server,
        lamina.connect(server.target, timeout=5) as client,
        everything_logged() as logged,
    ):
        config = client.config(CONFIG, create=True)
        config["banner"] = VALUE
        config.commit("why")
        operator.allow(is_allowed=False)
        for name in ("lamina-server", LISTENING, TELLING):
            operator.kill(name)
        config["banner"] = f"again {VALUE}"
        shown = "".join([*outcome(lambda: config.commit("why")), *outcome(lambda: client.config(CONFIG))])
        operator.allow(is_allowed=True)
        log = logged.getvalue()
    assert "UnavailableError" in shown
    assert found_in(shown, [password]) == []
    assert found_in(log + server.log + server.printed, [password, VALUE]) == []


@pytest.mark.postgres
@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE config_value ADD CONSTRAINT refuses_all CHECK (kind < 0) NOT VALID",
        "ALTER TABLE config_value RENAME COLUMN kind TO other",
        """CREATE FUNCTION cry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no %%', NEW; END $$;
        CREATE TRIGGER cry BEFORE INSERT ON config_value FOR EACH ROW EXECUTE FUNCTION cry()""",
    ],
    ids=["check", "column", "trigger"],
)
def test_no_row_that_the_database_quotes_gets_out(postgres_url: str, damage: str) -> None:
    """PostgreSQL's errors quote the whole row, and SQLAlchemy's the parameters."""
    engine = create_engine(make_url(postgres_url), isolation_level="AUTOCOMMIT")
    with ServerProcess(postgres_url) as server, lamina.connect(server.target, timeout=2) as client:
        config = client.config(CONFIG, create=True)
        config["banner"] = VALUE
        config.commit("why")
        with engine.connect() as connection:
            connection.exec_driver_sql(damage)
        config["banner"] = f"again {VALUE}"
        with pytest.raises(lamina.LaminaError) as refused:
            config.commit("why")
    engine.dispose()
    assert found_in(repr(refused.value), [VALUE]) == []
    assert "exception" in server.log
    assert found_in(server.log + server.printed, [VALUE]) == []
