"""protos/HASHING.md says what both ends hash: its program, its figures, the server's code and the SDK's agree."""

import re
import subprocess
import sys
from pathlib import Path

from lamina._mapping.values import Stored
from lamina._wire import hashing as sdk
from lamina.records import MISSING, Missing
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain.planning import Author, MapLimits, Plan, plan
from lamina_server.domain.records import Change
from lamina_server.domain.values import Kind, Value

PAGE = Path(__file__).parents[2] / "protos" / "HASHING.md"
CONFIG = "payments/prod"
LIMITS = MapLimits(keys=10, size_bytes=1 << 20)
FIRST, MINUTE = 1_700_000_000_000_000, 60_000_000

COMMITS: tuple[tuple[str, str, dict[str, Value | None]], ...] = (
    ("ada", "start", {"x": Value.of_integer(27), "y": Value.of_integer(450)}),
    ("ada", "raise x", {"x": Value.of_integer(28)}),
    ("grace", "y is not used", {"y": None}),
)


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(found)


def printed() -> tuple[list[str], list[str]]:
    """Return the digests and the hashes that the page shows."""
    return re.findall(r"digest ([0-9a-f]{64})", block("text")), re.findall(r"hash   ([0-9a-f]{64})", block("text"))


def planned() -> list[Plan]:
    """Commit the same with the server's own code."""
    plans: list[Plan] = []
    values: dict[str, Value] = {}
    for number, (author, message, content) in enumerate(COMMITS, start=1):
        made = plan(
            [Change(key, value) for key, value in content.items()],
            config=CONFIG,
            head=plans[-1].version if plans else None,
            values=values,
            author=Author(author),
            message=message,
            now_us=FIRST + (number - 1) * MINUTE,
            limits=LIMITS,
        )
        plans.append(made)
        values |= {key: value for key, value in content.items() if value is not None}
    return plans


def test_the_program_prints_what_the_page_shows() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block("python")], capture_output=True, text=True, check=True
    )
    assert done.stdout == block("text")


def test_the_server_makes_the_same() -> None:
    digests, hashes = printed()
    assert [value.digest.hex() for made in planned() for value in made.values] == digests
    assert [made.version.hash.hex() for made in planned()] == hashes


def test_the_sdk_makes_the_same() -> None:
    """P5: by code of its own, from the wire's messages."""
    digests, hashes = printed()
    found: list[str] = []
    parent_hash = sdk.NO_PARENT
    for made, expected in zip(planned(), hashes, strict=True):
        version = made.version
        header = pb.ConfigVersion(
            config=CONFIG,
            version=version.number,
            author=version.author,
            message=version.message,
            key_count=version.key_count,
        )
        header.commit_time.FromMicroseconds(version.commit_time_us)
        own = [sdk.value_digest(CONFIG, version.number, value.key, stored(value.value)) for value in made.values]
        found += [each.hex() for each in own]
        parent_hash = sdk.version_hash(header, parent_hash, own)
        assert parent_hash.hex() == expected
    assert found == digests


def stored(value: Value | None) -> Stored | Missing:
    if value is None:
        return MISSING
    assert isinstance(value.data, int)
    return Stored("int64", value.data)


def test_the_page_names_every_kind() -> None:
    table = dict(re.findall(r"^\| `([A-Z0-9]+)` \| `([a-z0-9]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert list(table) == [kind.name for kind in Kind]
    assert list(table.values()) == [field.name for field in pb.Value.DESCRIPTOR.fields]
    assert {name: kind for kind, name in sdk._KINDS.items()} == table
