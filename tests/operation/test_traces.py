"""Spans of OpenTelemetry, as a collector receives them: of the clients' calls, the server's, and of transactions."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import lamina
from tests.client.sdk import Sdk, of
from tests.operation.collector import Collector, attributes, collecting
from tests.support.server import ServerProcess

SERVICE = "lamina.v1.ConfigService/"


class Program:
    """A program that uses OpenTelemetry: its provider, and the spans that it has ended."""

    def __init__(self) -> None:
        self.provider = TracerProvider(shutdown_on_exit=False)
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("a program")

    def calls(self, method: str) -> list[Any]:
        return [span for span in self._exporter.get_finished_spans() if span.name == SERVICE + method]


def named(spans: list[Span], name: str) -> list[Span]:
    return [span for span in spans if span.name == name]


@pytest.fixture
def program() -> Program:
    return Program()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def server(collector: Collector) -> Iterator[ServerProcess]:
    with ServerProcess("sqlite://", **collector.environment) as server:
        yield server


@pytest.fixture(params=["sync", "aio"])
async def sdk(request: pytest.FixtureRequest) -> AsyncIterator[Sdk]:
    sdk = Sdk(request.param)
    yield sdk
    await sdk.close()


async def test_the_server_continues_the_trace_of_a_program(
    sdk: Sdk, program: Program, server: ServerProcess, collector: Collector
) -> None:
    client = sdk.connect(server.target, tracer_provider=program.provider)
    with program.tracer.start_as_current_span("a request") as outer:
        config = await of(client.config("shop/prod", create=True))
        config["timeout"] = 30
        await of(config.commit())
    spans = collector.until(lambda spans: named(spans, "transaction") and named(spans, SERVICE + "Commit"))
    (ours,) = program.calls("Commit")
    (theirs,) = named(spans, SERVICE + "Commit")
    assert ours.parent.span_id == outer.get_span_context().span_id
    assert int.from_bytes(theirs.trace_id) == ours.context.trace_id == outer.get_span_context().trace_id
    assert int.from_bytes(theirs.parent_span_id) == ours.context.span_id
    assert (ours.kind.name, theirs.kind) == ("CLIENT", Span.SPAN_KIND_SERVER)
    shared = {"rpc.system.name": "grpc", "rpc.method": SERVICE + "Commit", "rpc.response.status_code": "OK"}
    host, _, port = server.target.rpartition(":")
    assert attributes(theirs) == {**shared, "lamina.config": "shop/prod"}
    assert dict(ours.attributes) == {
        **shared,
        "lamina.config": "shop/prod",
        "server.address": host,
        "server.port": int(port),
    }
    for part in ("queue", "transaction"):
        (span,) = named(spans, part)
        assert (span.trace_id, span.parent_span_id) == (theirs.trace_id, theirs.span_id)
    assert collector.resources[0]["service.name"] == "lamina-server"


async def test_an_error_has_its_code_and_reason_and_none_of_its_words(
    sdk: Sdk, program: Program, server: ServerProcess, collector: Collector
) -> None:
    client = sdk.connect(server.target, tracer_provider=program.provider)
    with pytest.raises(lamina.NotFoundError):
        await of(client.config("not/there"))
    (theirs,) = named(collector.until(lambda spans: spans), SERVICE + "GetVersion")
    (ours,) = program.calls("GetVersion")
    assert attributes(theirs)["rpc.response.status_code"] == "NOT_FOUND"
    assert attributes(theirs)["lamina.reason"] == "CONFIG_NOT_FOUND"
    assert theirs.status.code == Status.STATUS_CODE_UNSET, "the caller's mistake is no error of the server"
    assert (ours.status.status_code.name, ours.attributes["error.type"]) == ("ERROR", "NOT_FOUND")
    assert (len(theirs.events), theirs.status.message) == (0, "")
    assert (len(ours.events), ours.status.description) == (0, None)


async def test_a_watch_has_one_span_of_a_trace_of_its_own(
    sdk: Sdk, program: Program, server: ServerProcess, collector: Collector
) -> None:
    client = sdk.connect(server.target, tracer_provider=program.provider)
    config = await of(client.config("shop/prod", create=True))
    config["timeout"] = 30
    await of(config.commit())
    with program.tracer.start_as_current_span("a request") as outer:
        watch = config.watch(after=0)
        await of(anext(watch) if sdk.kind == "aio" else next(watch))
    await of(watch.close())
    (ours,) = program.calls("WatchKeyHistory")
    assert ours.parent is None
    assert [link.context.span_id for link in ours.links] == [outer.get_span_context().span_id]
    assert ours.attributes["rpc.response.status_code"] == "CANCELLED"
    assert ours.status.status_code.name == "UNSET"
    (theirs,) = named(
        collector.until(lambda spans: named(spans, SERVICE + "WatchKeyHistory")), SERVICE + "WatchKeyHistory"
    )
    assert int.from_bytes(theirs.parent_span_id) == ours.context.span_id
    assert len(theirs.events) == 0


def test_the_commits_of_a_batch_and_their_transaction_are_linked_both_ways(
    server: ServerProcess, collector: Collector
) -> None:
    async def commit_many() -> None:
        async with lamina.aio.connect(server.target) as client:
            configs = [await client.config(f"shop/{number}", create=True) for number in range(16)]
            for config in configs:
                config["timeout"] = 30
            await asyncio.gather(*(config.commit() for config in configs))

    asyncio.run(commit_many())
    # A transaction may end, and be sent, after the calls that it has answered.
    spans = collector.until(
        lambda spans: (
            len(calls := named(spans, SERVICE + "Commit")) == len(named(spans, "queue")) == 16
            and {link.span_id for call in calls for link in call.links}
            <= {span.span_id for span in named(spans, "transaction")}
        )
    )
    commits = {span.span_id: span for span in named(spans, SERVICE + "Commit")}
    batches = {span.span_id: span for span in named(spans, "transaction")}
    assert len(named(spans, "queue")) == 16
    assert len({span.trace_id for span in commits.values()}) == 16, "each has a trace of its own"
    forward = {(commit.span_id, link.span_id) for commit in commits.values() for link in commit.links}
    back = {(link.span_id, batch.span_id) for batch in batches.values() for link in batch.links}
    assert forward == back
    assert {commit for commit, _ in forward} == set(commits)
    assert {batch for _, batch in forward} == set(batches)
    sizes = [len(batch.links) for batch in batches.values()]
    assert sizes == [attributes(batch)["lamina.batch.commands"] for batch in batches.values()]
    assert max(sizes) > 1
    assert all(batch.parent_span_id in commits for batch in batches.values())


def test_a_caller_that_leaves_ends_the_spans_of_its_commit(tmp_path: Path, collector: Collector) -> None:
    import sqlite3  # noqa: PLC0415 - the other program

    path = tmp_path / "lamina.db"
    with ServerProcess(f"sqlite:///{path}", **collector.environment) as server:
        with lamina.connect(server.target) as client:
            config = client.config("shop/prod", create=True)
            config["timeout"] = 30
            config.commit()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with lamina.connect(server.target, timeout=0.3) as client, suppress(lamina.LaminaError):
            config = client.config("shop/prod")
            config["timeout"] = 31
            config.commit()
        other.execute("ROLLBACK")
        other.close()

        def has_left(spans: list[Span]) -> bool:
            commits = named(spans, SERVICE + "Commit")
            codes = {attributes(span)["rpc.response.status_code"] for span in commits}
            return codes >= {"OK", "CANCELLED"} and len(named(spans, "queue")) == len(commits)

        collector.until(has_left)
        assert "ended span" not in server.log


def test_a_line_of_the_log_has_the_ids_of_its_trace(collector: Collector) -> None:
    """As an example, that of a call whose request does not come."""
    with ServerProcess("sqlite://", LAMINA_SERVER_RECEIVE_LIMIT_SECONDS="0.2", **collector.environment) as server:
        trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
        silent = threading.Event()

        def requests() -> Iterator[bytes]:
            silent.wait(20)
            yield b""

        with grpc.insecure_channel(server.target) as channel:
            call: Any = channel.stream_unary(f"/{SERVICE}GetVersion")
            with pytest.raises(grpc.RpcError):
                call(requests(), metadata=(("traceparent", f"00-{trace}-{parent}-01"),))
        silent.set()
        server.until_logged("call given up")
        (span,) = named(collector.until(lambda spans: spans), SERVICE + "GetVersion")
        lines = [json.loads(line) for line in server.log.splitlines()]
    (given_up,) = [line for line in lines if line["event"] == "call given up"]
    assert (given_up["trace_id"], given_up["span_id"]) == (trace, span.span_id.hex())
    assert span.trace_id.hex() == trace
    assert [line["event"] for line in lines if "trace_id" in line] == ["call given up"]


def test_headers_that_are_no_trace_break_no_call_and_are_not_logged(collector: Collector) -> None:
    valid = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    hostile = [
        *[(("traceparent", value),) for value in ("", "quoted", "0" * 4000, f"{valid}-quoted", f"ff{valid[2:]}")],
        *[(("traceparent", valid), ("tracestate", value)) for value in ("quoted", "=" * 4000, "quoted= ," * 400)],
        (("traceparent", valid), ("tracestate", ",".join(f"k{number}=quoted" for number in range(300)))),
        (("traceparent", valid),) * 20,
    ]
    with ServerProcess("sqlite://", **collector.environment) as server:
        with grpc.insecure_channel(server.target) as channel:
            call: Any = channel.unary_unary(f"/{SERVICE}GetServerInfo")
            for headers in hostile:
                assert call(b"", metadata=headers, timeout=20)
        collector.until(lambda spans: len(named(spans, SERVICE + "GetServerInfo")) >= len(hostile))
        lines = server.log
    assert "quoted" not in lines
    assert "====" not in lines
    assert "opentelemetry" not in lines


def test_no_secret_gets_into_a_span_or_the_log(tmp_path: Path, program: Program, collector: Collector) -> None:
    canary = "canary-3f9c1e"
    key_file = tmp_path / "outer"
    key_file.write_text("a2V5LWtleS1rZXkta2V5LWtleS1rZXkta2V5LWtleS0=")
    key_file.chmod(0o600)
    environment = {
        **collector.environment,
        "OTEL_EXPORTER_OTLP_HEADERS": f"x-token={canary}-header,{canary}",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prod",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS": "process",
    }
    with ServerProcess("sqlite://", "--secret-key-file", str(key_file), **environment) as server:
        with (
            lamina.connect(
                server.target, token=lambda: f"lamina_{canary}_token", tracer_provider=program.provider
            ) as client,
            suppress(lamina.LaminaError),
        ):
            client.config("shop/prod", create=True)
        with lamina.connect(server.target, author=f"{canary}-author", tracer_provider=program.provider) as client:
            config = client.config("shop/prod", create=True)
            config[f"{canary}-key"] = f"{canary}-value"
            config["password"] = lamina.Secret(f"{canary}-secret")
            config.commit(f"{canary}-message")
            other = client.config("shop/prod")
            config[f"{canary}-key"] = f"{canary}-mine"
            config.commit()
            other[f"{canary}-key"] = f"{canary}-theirs"
            with pytest.raises(lamina.ConflictError):
                other.commit()
            list(config.history(f"{canary}-key"))
            config.revert(to=1)
        with grpc.insecure_channel(server.target) as channel:
            for path in (f"/{SERVICE}{canary}-method", f"/{SERVICE}Commit"):
                call: Any = channel.unary_unary(path)
                with pytest.raises(grpc.RpcError):
                    call(canary.encode(), metadata=(("x-canary", canary),))
        spans = collector.until(lambda spans: named(spans, SERVICE + "RevertConfig") and named(spans, "grpc"))
        assert canary not in server.log
    assert attributes(named(spans, "grpc")[0])["rpc.method"] == "_OTHER"
    assert collector.headers["x-token"] == f"{canary}-header", "the variables of the library count"
    assert collector.resources[0]["deployment.environment.name"] == "prod"
    assert canary.encode() not in collector.raw
    assert len(program.calls("RevertConfig")) == 1
    assert canary not in "".join(
        span.to_json() for method in ("Commit", "GetVersion") for span in program.calls(method)
    )


def test_a_collector_that_is_away_delays_nothing_and_has_one_line(collector: Collector) -> None:
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:canary-password@localhost:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    with ServerProcess("sqlite://", **{**collector.environment, **away}) as server:
        with lamina.connect(server.target) as client:
            client.config("shop/prod", create=True)
        server.until_logged("traces not exported")
        assert server.log.count("traces not exported") == 1
        with lamina.connect(server.target) as client:
            client.config("shop/prod", create=True)
        server.stop()
        assert "canary-password" not in server.log


def test_the_sampler_of_the_library_counts(collector: Collector) -> None:
    """A trace that the caller does not record is not recorded here, nor is the transaction of its commit."""
    environment = {**collector.environment, "OTEL_TRACES_SAMPLER": "parentbased_always_off"}
    recorded = Program()
    with ServerProcess("sqlite://", **environment) as server:
        for provider in (None, recorded.provider):
            with lamina.connect(server.target, tracer_provider=provider) as client:
                config = client.config("shop/prod", create=True)
                config["timeout"] = 30 if provider is None else 31
                config.commit()
        spans = collector.until(lambda spans: named(spans, SERVICE + "Commit") and named(spans, "transaction"))
    ids = {span.context.trace_id for method in ("Commit", "GetVersion") for span in recorded.calls(method)}
    assert {int.from_bytes(span.trace_id) for span in spans} <= ids


@pytest.mark.parametrize(
    ("blocked", "environment", "words"),
    [
        (True, {}, "OpenTelemetry is not installed: pip install 'lamina[otel]' installs it"),
        (False, {"OTEL_EXPORTER_OTLP_COMPRESSION": "canary"}, "OpenTelemetry refuses one of its variables"),
    ],
)
def test_traces_that_cannot_be_turned_on_are_refused(
    tmp_path: Path, blocked: bool, environment: dict[str, str], words: str
) -> None:
    block = "sys.modules['opentelemetry.sdk'] = None; " if blocked else ""
    program = f"import sys; {block}from lamina_server.cli.main import main; main()"
    database = tmp_path / "lamina.db"
    done = subprocess.run(
        [sys.executable, "-c", program, "serve", "--database", f"sqlite:///{database}", "--traces"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2
    assert f"lamina-server: --traces: {words}" in done.stderr
    assert "canary" not in done.stderr
    assert not database.exists()


def test_without_traces_neither_side_imports_the_library() -> None:
    text = (
        "import sys, lamina; from lamina_server.app import Application; from lamina_server.cli.main import main; "
        "lamina.connect('localhost:1').close(); print('opentelemetry' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
