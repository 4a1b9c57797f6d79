"""P16, as a property: any callers, any grants, any requests of any method.

- Everything in a reply, an error or a stream lies in what its caller may read.
- Everything that is written lies in what its caller may write.
- A caller without a right on a config sees, byte for byte, what it sees of a config that does not exist; and
  the database hears the same statements.
"""

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.rpc.handlers import SERVICE
from lamina_server.store.contract import Store
from lamina_server.store.memory import MemoryStore
from lamina_server.store.open import open_store
from tests.security.calls import Seen, see, settled, shown
from tests.security.closed import Closed, closed
from tests.security.people import People, Person
from tests.server.bare_client import DELETED, changes
from tests.support.statements import said

ACCESS = "_lamina/access"
NAMES = ("alpha/prod", "alpha/test", "beta/prod", "gamma/one/two", ACCESS)
ABSENT = {len(name): "q" * (len(name) - 2) + "/q" for name in NAMES}
PATTERNS = ("**", "alpha/**", "alpha/*", "*/prod", "beta/prod", "gamma/**", "gamma/*", "**/two", ACCESS, "_lamina/**")
ROLES = ("reader", "writer", "admin")
PRINCIPALS = ("ada", "bob", "eve")
SUBJECTS = (*(f"token:{name}" for name in PRINCIPALS), "group:team")
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""A failure is not shrunk: that takes minutes."""
WRITES = ("Commit", "RevertConfig", "ForkConfig")
NEW = ("alpha/new", "beta/new", "gamma/new")
READS = ("GetVersion", "ListVersions", "DiffVersions", "GetKeyHistory", "ListSecretKeys", "WatchKeyHistory")


@dataclass(frozen=True)
class Step:
    """One request: who makes it, of which method, about which configs, and numbers that choose the rest."""

    who: str
    method: str
    config: str
    target: str
    number: int
    request_id: str


STEPS = st.builds(
    Step,
    who=st.sampled_from(PRINCIPALS),
    method=st.sampled_from([*sorted(method.name for method in SERVICE.methods), *WRITES, *WRITES]),
    config=st.sampled_from(NAMES),
    target=st.sampled_from((*NEW, *NEW, *NAMES)),
    number=st.integers(0, 5),
    request_id=st.sampled_from(("one", "two", *"abcdefghij")),
)
GRANTS = st.dictionaries(
    st.tuples(st.sampled_from(SUBJECTS), st.sampled_from(PATTERNS)), st.sampled_from(ROLES), min_size=1, max_size=8
)


READINGS: Sequence[dict[str, Any]] = (
    {},
    {"version": 1},
    {"min_version": 2},
    {"min_version": 9, "view": pb.HEADER},
    {"time": Timestamp(seconds=2**32), "view": pb.BLAME},
    {"page_size": 1, "version": 2},
)


def _get_version(step: Step, config: str) -> pb.GetVersionRequest:
    return pb.GetVersionRequest(config=config, **READINGS[step.number])


def _diff(step: Step, config: str) -> pb.DiffVersionsRequest:
    return pb.DiffVersionsRequest(config=config, from_version=0, to_version=step.number or None)


def _watch(step: Step, config: str) -> pb.WatchKeyHistoryRequest:
    after = None if step.number > 3 else pb.Cursor(version=step.number)
    return pb.WatchKeyHistoryRequest(config=config, after=after)


def _commit(step: Step, config: str) -> pb.CommitRequest:
    return pb.CommitRequest(
        config=config,
        changes=changes({"own": step.number} if step.number else {f"key-{step.config}": DELETED}),
        base_version=step.number if step.number > 2 else None,
        validate_only=step.number == 1,
        request_id=step.request_id,
    )


def _revert(step: Step, config: str) -> pb.RevertConfigRequest:
    return pb.RevertConfigRequest(
        config=config, to_version=1, base_version=max(step.number, 2), request_id=step.request_id
    )


def _fork(step: Step, config: str) -> pb.ForkConfigRequest:
    version = step.number if step.number > 2 else None
    return pb.ForkConfigRequest(source=config, target=step.target, source_version=version, request_id=step.request_id)


REQUESTS: dict[str, Callable[[Step, str], Any]] = {
    "GetVersion": _get_version,
    "ListVersions": lambda step, config: pb.ListVersionsRequest(config=config, page_size=step.number),
    "DiffVersions": _diff,
    "GetKeyHistory": lambda step, config: pb.GetKeyHistoryRequest(config=config, key=f"key-{step.config}"),
    "ListSecretKeys": lambda _, config: pb.ListSecretKeysRequest(config=config),
    "WatchKeyHistory": _watch,
    "Commit": _commit,
    "RevertConfig": _revert,
    "ForkConfig": _fork,
    "ListConfigs": lambda step, config: pb.ListConfigsRequest(prefix=config[: 2 * step.number], page_size=step.number),
    "CheckAccess": lambda _, config: pb.CheckAccessRequest(principal="token:ada", groups=["group:team"], config=config),
    "WhoAmI": lambda _, __: pb.WhoAmIRequest(),
    "GetServerInfo": lambda _, __: pb.GetServerInfoRequest(),
}
"""Each method's request of a step about a config, perhaps another one than its own."""


class Oracle:
    """What each principal may do, by a look at all grants; and what is in each config."""

    def __init__(self, grants: dict[tuple[str, str], str], members: Sequence[str]) -> None:
        self._grants = grants
        self._members = members
        self.marks = {name: {mark(name)} for name in NAMES}

    def role(self, who: str, config: str) -> int:
        """Return 0 for no role, 1 for reader, 2 for writer, 3 for admin."""
        subjects = {f"token:{who}"} | ({"group:team"} if who in self._members else set())
        roles = [
            ROLES.index(role) + 1
            for (subject, pattern), role in self._grants.items()
            if subject in subjects and matches(pattern, config)
        ]
        best = max(roles, default=0)
        return 0 if config.startswith("_lamina/") and best < 3 else best

    def readable(self, who: str, among: Sequence[str]) -> list[str]:
        return [name for name in among if self.role(who, name) >= 1]


def matches(pattern: str, config: str) -> bool:
    """Compare slowly, character by character."""
    if not pattern:
        return not config
    if pattern.startswith("**"):
        return any(matches(pattern[2:], config[end:]) for end in range(len(config) + 1))
    if pattern[0] == "*":
        segment = len(config.partition("/")[0])
        return any(matches(pattern[1:], config[end:]) for end in range(segment + 1))
    return config[:1] == pattern[0] and matches(pattern[1:], config[1:])


def mark(config: str) -> str:
    """Return a text that only one config has in its keys, values and messages."""
    return f"mark-of-{config.replace('/', '-')}-end"


class World:
    """A closed server with the configs, and its callers."""

    def __init__(self, server: Closed, store: Store, people: dict[str, Person], oracle: Oracle) -> None:
        self._server = server
        self._store = store
        self._people = people
        self._oracle = oracle

    async def take(self, step: Step) -> None:
        """Make the request of a step, and check all that is promised."""
        request = REQUESTS[step.method](step, step.config)
        if self._is_forbidden(step):
            await self._compare(step)
        before = self._heads()
        seen = await self._see(step, request)
        after = self._heads()
        written = {name for name in after if after[name] != before.get(name)}
        assert all(self._oracle.role(step.who, name) >= 2 for name in written), written
        if step.method == "ForkConfig" and written:
            assert self._oracle.role(step.who, step.config) >= 1
            self._oracle.marks.setdefault(step.target, set()).update(self._oracle.marks[step.config])
        self._check(step, str(request), seen, after)

    def _is_forbidden(self, step: Step) -> bool:
        """Return whether the caller can see nothing of the config, and neither of the absent one in its place."""
        is_about_one = step.method not in {"ListConfigs", "WhoAmI", "GetServerInfo"}
        # That a write there needs the role admin is a rule of the name, which everybody may know.
        is_write_there = step.config == ACCESS and step.method in WRITES
        same = step.method in READS or self._oracle.role(step.who, ABSENT[len(step.config)]) == 0
        return is_about_one and same and not is_write_there and self._oracle.role(step.who, step.config) == 0

    async def _compare(self, step: Step) -> None:
        absent = ABSENT[len(step.config)]
        with said() as of_forbidden:
            one = await self._see(step, REQUESTS[step.method](step, step.config))
            await settled(self._server)
        with said() as of_absent:
            other = await self._see(step, REQUESTS[step.method](step, absent))
            await settled(self._server)
        assert one == other.renamed(absent, step.config)
        assert shown(of_forbidden, step.config) == shown(of_absent, absent)

    def _check(self, step: Step, request: str, seen: Seen, heads: dict[str, Any]) -> None:
        """Look for what the caller may not know in all that it sees."""
        readable = self._oracle.readable(step.who, list(heads))
        known = set().union(*(self._oracle.marks.get(name, set()) for name in readable))
        for name in NAMES:
            assert mark(name) not in seen or mark(name) in known, (step, name)
        sources = {head.source.config for name, head in heads.items() if name in readable and head.source}
        # A fork that has a second version still has a first one that names the source.
        sources |= {name for name in NAMES if known & self._oracle.marks[name]}
        # Everybody knows this name, and an admin of the access the names that are in grants.
        public = {ACCESS} | (set(PATTERNS) if ACCESS in readable else set())
        for name in heads.keys() - public:
            assert name not in seen or name in readable or name in sources or name in request, (step, name)

    async def _see(self, step: Step, request: Any) -> Seen:
        data = request.SerializeToString()
        return await see(self._server, self._people[step.who], f"lamina.v1.ConfigService/{step.method}", data)

    def _heads(self) -> dict[str, Any]:
        with self._store.read() as reading:
            return {each.name: each.head for each in reading.configs(prefix="", after="", limit=100)}


async def run(store: Store, grants: dict[tuple[str, str], str], members: list[str], steps: list[Step]) -> None:
    people = People()
    root = people.admin("root")
    persons = {name: people.token(name) for name in PRINCIPALS}
    for (subject, pattern), role in grants.items():
        people.grant(subject, role, pattern)
    people.group("team", [persons[name] for name in members])
    people.values["limits/token:marked"] = {"watches": 1}
    async with closed(store, people) as server:
        wire = server.wire(root)
        for name in NAMES[:-1]:
            for number in (1, 2):
                values = {f"key-{name}": f"{mark(name)} {number}", mark(name): number}
                await wire.commit(name, values, message=mark(name), request_id=f"{name} {number}")
        world = World(server, store, persons, Oracle(grants, members))
        for step in steps:
            await world.take(step)


@contextmanager
def memory() -> Iterator[Store]:
    yield MemoryStore()


@contextmanager
def sqlite() -> Iterator[Store]:
    with TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{Path(folder)}/lamina.db")
        yield store
        store.close()


@pytest.mark.parametrize("kind", [memory, sqlite])
@settings(max_examples=30, phases=PHASES)
@given(
    grants=GRANTS,
    members=st.lists(st.sampled_from(PRINCIPALS), unique=True),
    steps=st.lists(STEPS, min_size=10, max_size=30),
)
def test_what_is_seen_and_written_lies_in_what_may_be(
    kind: Any, grants: dict[tuple[str, str], str], members: list[str], steps: list[Step]
) -> None:
    with kind() as store:
        asyncio.run(run(store, grants, members, steps))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_oracle_agrees_with_a_regular_expression(pattern: str) -> None:
    """The oracle of this property is written otherwise than the server's."""
    expression = re.compile(re.escape(pattern).replace(r"\*\*", ".*").replace(r"\*", "[^/]*"))
    for name in (*NAMES, *ABSENT.values(), "alpha", "alpha/", "alpha/x/y"):
        assert matches(pattern, name) == bool(expression.fullmatch(name))
