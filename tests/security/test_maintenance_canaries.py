"""What maintains a database, and moves configs between databases, shows no value, no secret and no key."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, text

import lamina
from lamina_server.cli.main import main
from tests.cli.running import InProcess
from tests.security.canaries import canary, found_in, found_under
from tests.security.secret_helpers import key_file
from tests.security.test_canaries import outcome
from tests.support.server import ServerProcess

CONFIG = "shop/prod"
VALUE, SECRET = canary("value"), canary("secret")


class Place:
    """A database with secrets that no server uses, and the bundle of its config."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = key_file(folder)
        self.bundle = folder / "shop.lamina"
        self.shown = ""
        with ServerProcess(self.url("lamina"), "--secret-key-file", str(self.key)) as server:
            cli = InProcess(server.target)
            for number in range(3):
                password = f"password={SECRET}{number}"
                self.shown += cli.out("set", CONFIG, f"banner={VALUE}{number}", "--secret", password, "--create")
            self.shown += cli("export", CONFIG, str(self.bundle), "--history").output
        self.shown += server.log

    def url(self, name: str) -> str:
        return f"sqlite:///{self.folder}/{name}.db"

    def run(self, *arguments: object, database: str = "lamina", code: int = 0) -> Result:
        done = CliRunner().invoke(main, [*map(str, arguments), "--database", self.url(database)])
        assert done.exit_code == code, done.output
        self.shown += done.output
        return done


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_commands_of_a_database_show_no_value_and_no_secret(place: Place) -> None:
    """Those that succeed, those that are refused, and those that meet damage."""
    other, key = key_file(place.folder, "other.key"), ("--secret-key-file", place.key)
    place.run("verify")
    place.run("migrate")
    place.run("backup", place.folder / "copy.db")
    place.run("restore", place.bundle, database="new", code=2)
    place.run("restore", place.bundle, "--secret-key-file", other, database="new", code=2)
    place.run("restore", place.bundle, *key, database="new")
    content = place.bundle.read_bytes()
    damaged = place.folder / "damaged.lamina"
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 0x41]) + content[middle + 1 :]
    for bad in (changed, *(content[:end] for end in range(1, len(content), len(content) // 10))):
        damaged.write_bytes(bad)
        place.run("restore", damaged, *key, database="third", code=1)
    place.run("keys", "rotate", "--secret-key-file", other, code=1)
    place.run("keys", "rotate", *key, "--new-secret-key-file", other)
    place.run("access", "reset", "--admin", "cert:spiffe://corp.example/ops", database="new")
    engine = create_engine(place.url("lamina"))
    with engine.begin() as connection:
        connection.execute(text("DROP TRIGGER config_value_no_update"))
        connection.execute(text("UPDATE config_value SET string_value = 'x' || string_value WHERE kind = 4"))
        connection.execute(text("UPDATE config_value SET bytes_value = substr(bytes_value, 2) WHERE kind = 7"))
    engine.dispose()
    assert "broken" in place.run("verify", code=1).output
    keys = [path.read_text().strip() for path in (place.key, other)]
    assert found_in(place.shown, [SECRET, VALUE, *keys]) == []
    assert found_under(place.folder, [SECRET, *keys], except_for=[place.key, other]) == []
    assert found_under(place.folder, [VALUE]) != [], "it would have been found"


def test_a_bundle_shows_no_secret(place: Place) -> None:
    with lamina.open(place.bundle) as bundle:
        verbs = (
            lambda: bundle,
            bundle.verify,
            bundle.to_dict,
            lambda: bundle["password"],
            bundle["password"].reveal,
            lambda: list(bundle.history("password")),
            lambda: list(bundle.log()),
            lambda: bundle.diff(1, 3),
            bundle.blame,
            lambda: bundle.at(99),
            lambda: bundle["nosuch"],
        )
        shown = [text for verb in verbs for text in outcome(verb)]
    assert sum("Traceback" in text for text in shown) >= 3
    assert [text for text in shown if found_in(text, [SECRET, place.key.read_text().strip()])] == []
