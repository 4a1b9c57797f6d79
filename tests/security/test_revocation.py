"""Open watches end when their caller loses the right to them, or when their credential ends."""

import asyncio
import gc
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, cast

import grpc
import pytest
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.access.authentication import Authentication
from lamina_server.access.issuers import Issuers
from lamina_server.access.live import LiveAccess
from lamina_server.audit.audit import NO_CALL
from lamina_server.commits.clock import system_now_us
from lamina_server.domain.errors import Reason, ServerError
from lamina_server.metrics.recorder import Recorder
from lamina_server.rpc.deadlines import Deadlines
from lamina_server.rpc.decision import Decision
from lamina_server.rpc.handlers import SERVICE
from lamina_server.rpc.permissions import Permissions
from lamina_server.rpc.rates import BURST_SECONDS, NO_LIMITS
from lamina_server.rpc.revocation import Revocation
from lamina_server.rpc.service import Call
from lamina_server.rpc.watch.in_flight import Send
from lamina_server.settings import Settings
from lamina_server.store.memory import MemoryStore
from lamina_server.wire import parse
from tests.security.calls import access_of, change
from tests.security.closed import Closed, closed
from tests.security.people import People, Person
from tests.server.bare_client import Refusal, Watching, refusal

CONFIG = "shop/prod"
SECOND = 1.0


async def ended(watch: Watching) -> Refusal:
    """Wait for the end of a watch that gets nothing before it."""
    return await asyncio.wait_for(refusal(watch.message()), 10)


async def begun(server: Closed, person: Person, config: str = CONFIG) -> Watching:
    """Begin a watch, and wait until it has reached the head."""
    watch = server.wire(person).watch(config)
    await watch.bookmark()
    return watch


@pytest.mark.parametrize(
    ("revoked", "code", "reason"),
    [
        ("grant", "PERMISSION_DENIED", "NOT_ALLOWED"),
        ("group", "PERMISSION_DENIED", "NOT_ALLOWED"),
        ("token", "UNAUTHENTICATED", "BAD_CREDENTIALS"),
    ],
)
async def test_a_revocation_ends_the_watches_that_it_concerns(revoked: str, code: str, reason: str) -> None:
    """Within a second; others go on, and the caller's watches of other configs too, if the token is still valid."""
    people = People()
    admin, ada, bob = people.admin(), people.token("ada"), people.reader("bob", "**")
    grant = people.grant("group:team", "reader", "shop/**")
    group = people.group("team", [ada])
    people.grant(ada, "reader", "pay/**")
    changes: dict[str, dict[str, Any]] = {
        "grant": {grant: None},
        "group": {group: []},
        "token": {f"tokens/{ada.token_id}": None},
    }
    changed = changes[revoked]
    async with closed(MemoryStore(), people) as server:
        await server.wire(admin).commit(CONFIG, {"a": 1})
        await server.wire(admin).commit("pay/prod", {"a": 1})
        watches = [await begun(server, ada) for _ in range(3)]
        others = [await begun(server, bob), await begun(server, ada, "pay/prod")]
        started = time.monotonic()
        await change(server, people, changed, admin)
        for watch in watches:
            refused = await ended(watch)
            assert (refused.code.name, refused.reason) == (code, reason)
        assert time.monotonic() - started < SECOND
        await server.wire(admin).commit(CONFIG, {"a": 2})
        await server.wire(admin).commit("pay/prod", {"a": 2})
        assert await others[0].numbers(2) == [2]
        if revoked == "token":
            assert (await ended(others[1])).reason == reason
        else:
            assert await others[1].numbers(2) == [2]


async def test_a_watch_that_became_forbidden_sends_no_more_versions() -> None:
    """Not even one that is committed before the watch was decided anew: nobody calls the listeners here."""
    people = People()
    admin, ada = people.admin(), people.reader("ada", "shop/**")
    async with closed(MemoryStore(), people) as server:
        await server.wire(admin).commit(CONFIG, {"a": 1})
        watches = [await begun(server, ada) for _ in range(5)]
        people.values["grants/token:ada shop/**"] = None
        server.application.access.current = access_of(people, version=2)
        await server.wire(admin).commit(CONFIG, {"a": 2})
        for watch in watches:
            assert (await ended(watch)).reason == "NOT_ALLOWED"


async def test_a_watch_ends_with_its_credential() -> None:
    people = People()
    admin = people.admin()
    ada = people.token("ada", expires=datetime.now(UTC) + timedelta(seconds=0.8))
    late = people.token("late", expires=datetime.now(UTC) + timedelta(days=10_000))
    for person in (ada, late):
        people.grant(person, "reader", "shop/**")
    async with closed(MemoryStore(), people) as server:
        await server.wire(admin).commit(CONFIG, {"a": 1})
        watch, other = await begun(server, ada), await begun(server, late)
        refused = await ended(watch)
        assert (refused.code.name, refused.reason) == ("UNAUTHENTICATED", "BAD_CREDENTIALS")
        assert "expired" in refused.text
        await server.wire(admin).commit(CONFIG, {"a": 2})
        assert await other.numbers(2) == [2]


@pytest.mark.parametrize("method", ["GetVersion", "WatchKeyHistory"])
async def test_a_request_that_comes_after_the_revocation_is_refused(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call whose caller was found does not keep that caller until its request comes."""
    people = People()
    admin, ada = people.admin(), people.reader("ada", "shop/**")
    was_found, begin = asyncio.Event(), Deadlines.begin

    def found(deadlines: Deadlines, task: "asyncio.Task[Any]") -> None:
        begin(deadlines, task)
        was_found.set()

    async with closed(MemoryStore(), people) as server:
        await server.wire(admin).commit(CONFIG, {"a": 1})
        async with grpc.aio.insecure_channel(server.target) as channel:
            monkeypatch.setattr(Deadlines, "begin", found)
            call: Any = channel.stream_stream(f"/{SERVICE.full_name}/{method}")(metadata=ada.metadata)
            await was_found.wait()
            await server.change({f"tokens/{ada.token_id}": None}, by=admin)
            await call.write(pb.GetVersionRequest(config=CONFIG).SerializeToString())
            await call.done_writing()
            refused = await asyncio.wait_for(refusal(call.read()), 10)
            assert (refused.code.name, refused.reason) == ("UNAUTHENTICATED", "BAD_CREDENTIALS")


async def test_reflection_ends_with_its_credential_and_its_requests_are_counted() -> None:
    people = People()
    admin, ada, bob = people.admin(), people.token("ada"), people.token("bob")
    people.values["limits/token:bob"] = {"calls_per_second": 1}
    path, request = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", ServerReflectionRequest()

    async def ask(stream: Any) -> bytes:
        await stream.write(request.SerializeToString())
        return bytes(await stream.read())

    async def flood(stream: Any) -> None:
        for _ in range(100 * BURST_SECONDS):
            await ask(stream)

    request.list_services = "*"
    async with closed(MemoryStore(), people) as server:
        streams: list[Any] = [server.channel().stream_stream(path)(metadata=each.metadata) for each in (ada, bob)]
        for stream in streams:
            assert SERVICE.full_name.encode() in await ask(stream)
        await server.change({f"tokens/{ada.token_id}": None}, by=admin)
        assert (await refusal(ask(streams[0]))).reason == "BAD_CREDENTIALS"
        assert (await refusal(flood(streams[1]))).reason == "TOO_MANY"


@pytest.mark.parametrize("changed", [{"name": "bob"}, {"expires": "2999-01-01T00:00:00Z"}])
async def test_a_watch_ends_when_its_token_has_another_name_or_end(changed: dict[str, str]) -> None:
    """Otherwise it would reveal by the rights of the old name, or go on after the new end."""
    people = People()
    admin, ada = people.admin(), people.reader("ada", "shop/**")
    people.grant("token:bob", "reader", "shop/**")
    key = f"tokens/{ada.token_id}"
    async with closed(MemoryStore(), people) as server:
        await server.wire(admin).commit(CONFIG, {"a": 1})
        watch = await begun(server, ada)
        await server.change({key: people.values[key] | changed}, by=admin)
        refused = await ended(watch)
        assert (refused.code.name, refused.reason) == ("UNAVAILABLE", "TOO_SLOW")
        assert await server.wire(ada).watch(CONFIG, after=0).numbers(1) == [1]


async def test_a_watch_of_a_forbidden_config_waits_until_it_may_be_read() -> None:
    """As a watch of an absent config waits for version 1. Then it is asked to begin again, and misses nothing."""
    people = People()
    admin, ada = people.admin(), people.token("ada")
    async with closed(MemoryStore(), people) as server:
        await server.wire(admin).commit(CONFIG, {"a": 1})
        forbidden, absent = await begun(server, ada), await begun(server, ada, "shop/absent")
        await server.wire(admin).commit(CONFIG, {"a": 2})
        await change(server, people, {"grants/token:ada shop/prod": {"role": "reader"}}, admin)
        refused = await ended(forbidden)
        assert (refused.code.name, refused.reason) == ("UNAVAILABLE", "TOO_SLOW")
        assert "watch again after your cursor" in refused.text
        assert await server.wire(ada).watch(CONFIG, after=0).numbers(2) == [1, 2]
        await change(server, people, {"grants/token:ada shop/**": {"role": "reader"}}, admin)
        assert (await ended(absent)).code.name == "UNAVAILABLE"


async def test_a_right_that_stays_disturbs_no_watch() -> None:
    """Other grants, another role and another token of the same principal are no reason to end it."""
    people = People()
    admin, ada = people.admin(), people.reader("ada", "shop/**")
    async with closed(MemoryStore(), people) as server:
        await server.wire(admin).commit(CONFIG, {"a": 1})
        watch = await begun(server, ada)
        await change(server, people, {"grants/token:ada shop/**": {"role": "writer"}}, admin)
        await change(server, people, {"grants/token:ada **": {"role": "reader"}}, admin)
        await change(server, people, {"grants/token:ada shop/**": None}, admin)
        await server.wire(admin).commit(CONFIG, {"a": 2})
        assert await watch.numbers(2) == [2]


async def test_an_error_while_a_watch_is_decided_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not known that the caller may go on."""
    people = People()
    admin, ada = people.admin(), people.reader("ada", "shop/**")
    async with closed(MemoryStore(), people) as server:
        await server.wire(admin).commit(CONFIG, {"a": 1})
        watch = await begun(server, ada)

        def fail(*_: Any) -> Any:
            raise ServerError(Reason.STORE_UNAVAILABLE, "nobody knows")

        monkeypatch.setattr("lamina_server.access.tokens.find", fail)
        server.application.access.swap(access_of(people, version=2))
        assert (await ended(watch)).text == "nobody knows"


async def test_ten_thousand_watches_are_decided_anew_within_a_second() -> None:
    """A little at a time: the event loop serves other calls in between."""
    people = People()
    readers = [people.reader(f"reader-{number}", "shop/**") for number in range(100)]
    live = LiveAccess(is_open=False)
    live.swap(access_of(people, version=1))
    issuers = Issuers(live, now_us=system_now_us)
    authentication, permissions = Authentication(live, issuers, now_us=system_now_us), Permissions(live)
    revocation = Revocation(live, now_us=system_now_us)
    request = parse.watch_key_history(pb.WatchKeyHistoryRequest(config=CONFIG).SerializeToString(), Settings())
    method = "lamina.v1.ConfigService/WatchKeyHistory"
    reasons: Counter[str] = Counter()

    async def watch(person: Person) -> None:
        find = partial(authentication.caller, person.metadata)
        call = Call(caller := await find(), live.current, "ipv4:127.0.0.1:1", NO_CALL, NO_LIMITS)
        decision = Decision(
            authentication, permissions, find, method=method, parsed=request, call=call, recorder=Recorder()
        )
        await decision.decide()
        try:
            with revocation.watched(decision, caller, cast("Send", None)):
                await asyncio.Event().wait()
        except ServerError as error:
            reasons[f"{error.reason} {caller.principal}"] += 1

    tasks = [asyncio.create_task(watch(person)) for person in readers for _ in range(100)]
    await asyncio.sleep(0)
    people.values["grants/token:reader-7 shop/**"] = None
    del people.values[f"tokens/{readers[99].token_id}"]
    gc.freeze()  # the objects of all other tests are not the server's: to look through them takes a quarter of a second
    started, longest_turn = time.thread_time(), 0.0  # other processes do not count
    live.swap(access_of(people, version=2))
    while reasons.total() < 200:
        turn = time.thread_time()
        await asyncio.sleep(0)
        longest_turn = max(longest_turn, time.thread_time() - turn)
    taken = time.thread_time() - started
    gc.unfreeze()
    assert taken < SECOND
    assert longest_turn < SECOND / 4
    assert reasons == {"NOT_ALLOWED token:reader-7": 100, "BAD_CREDENTIALS token:reader-99": 100}
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
