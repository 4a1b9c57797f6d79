"""Flags from a config, through OpenFeature's own SDK: its client, its events and its registry."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode, ProviderFatalError, ProviderNotReadyError
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagType, Reason
from openfeature.hook import HookContext
from openfeature.provider import Metadata, ProviderStatus
from openfeature.telemetry import TelemetryAttribute, create_evaluation_event

import lamina
from lamina.openfeature import LaminaProvider
from tests.client.live_helpers import SECONDS
from tests.support.server import ServerProcess

FLAGS = {
    "on": True,
    "text": "blue",
    "count": 3,
    "ratio": 0.5,
    "whole": 2,
    "hosts": ["a", "b"],
    "limits": {"cpu": 2},
    "none": None,
    "bytes": b"x",
}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with ServerProcess("sqlite://") as process:
        yield process


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    """Reset OpenFeature's registry, of which there is one for the whole process."""
    yield
    api.shutdown()


@pytest.fixture
def client(target: str) -> Iterator[lamina.Client]:
    with lamina.connect(target, author="ann") as client:
        yield client


@pytest.fixture
def cfg(client: lamina.Client, config_name: str) -> lamina.Config:
    """A config whose version 1 has the flags; version 2 has another count."""
    cfg = client.config(config_name, create=True)
    cfg |= FLAGS
    cfg.commit()
    cfg["count"] = 4
    cfg.commit()
    return cfg


@pytest.fixture
def flags(client: lamina.Client, cfg: lamina.Config) -> OpenFeatureClient:
    api.set_provider_and_wait(LaminaProvider(cfg.name, client=client))
    return api.get_client()


class EventRecorder:
    """Records the events of a kind, and waits for the next one."""

    def __init__(self, event: ProviderEvent) -> None:
        self.details: list[EventDetails] = []
        self._came = threading.Semaphore(0)
        api.add_handler(event, self)

    def __call__(self, details: EventDetails) -> None:
        self.details.append(details)
        self._came.release()

    def next(self) -> EventDetails:
        assert self._came.acquire(timeout=SECONDS)
        return self.details.pop(0)


def await_end(*names: str) -> None:
    """Wait for the threads of these names to end."""
    for thread in [each for each in threading.enumerate() if each.name in names]:
        thread.join(SECONDS)
        assert not thread.is_alive(), thread.name


ASKED: dict[type, str] = {
    bool: "boolean",
    str: "string",
    int: "integer",
    float: "float",
    dict: "object",
    list: "object",
}


async def evaluate(flags: OpenFeatureClient, flag: str, default: Any, kind: str) -> FlagEvaluationDetails[Any]:
    """Evaluate a flag with both APIs, which must agree."""
    found: FlagEvaluationDetails[Any] = getattr(flags, f"get_{kind}_details")(flag, default)
    assert await getattr(flags, f"get_{kind}_details_async")(flag, default) == found
    assert getattr(flags, f"get_{kind}_value")(flag, default) == found.value
    assert await getattr(flags, f"get_{kind}_value_async")(flag, default) == found.value
    return found


@pytest.mark.parametrize(
    ("flag", "kind", "default", "value"),
    [
        ("on", "boolean", False, True),
        ("text", "string", "red", "blue"),
        ("count", "integer", 0, 4),
        ("ratio", "float", 0.0, 0.5),
        ("whole", "float", 0.0, 2.0),
        ("hosts", "object", [], ["a", "b"]),
        ("limits", "object", {}, {"cpu": 2}),
    ],
)
async def test_a_flag_of_each_type(
    flags: OpenFeatureClient, cfg: lamina.Config, flag: str, kind: str, default: Any, value: Any
) -> None:
    found = await evaluate(flags, flag, default, kind)
    origin = 2 if flag == "count" else 1
    assert (found.value, type(found.value).__mro__[-2]) == (value, type(value).__mro__[-2])
    assert (found.reason, found.error_code, found.variant) == (Reason.STATIC, None, str(origin))
    metadata = {"flagSetId": cfg.name, "config": cfg.name, "version": 2, "origin": origin}
    assert found.flag_metadata == metadata


@pytest.mark.parametrize(
    ("flag", "wrong"),
    [
        ("on", {str: "a", int: 7, float: 0.1, dict: {}}),
        ("text", {bool: True, int: 7, float: 0.1, list: []}),
        ("count", {bool: True, str: "a", dict: {}}),
        ("ratio", {bool: True, str: "a", int: 7, list: []}),
        ("hosts", {bool: True, str: "a", int: 7, float: 0.1}),
        ("limits", {bool: True, str: "a", int: 7, float: 0.1}),
        ("none", {bool: True, str: "a", int: 7, float: 0.1, dict: {}}),
        ("bytes", {bool: True, str: "a", int: 7, float: 0.1, list: []}),
    ],
)
async def test_a_flag_of_another_type_is_the_default(
    flags: OpenFeatureClient, cfg: lamina.Config, flag: str, wrong: dict[type, Any]
) -> None:
    for kind, default in wrong.items():
        found = await evaluate(flags, flag, default, ASKED[kind])
        assert (found.value, found.error_code) == (default, ErrorCode.TYPE_MISMATCH), kind
        assert (found.reason, found.variant) == (Reason.ERROR, None)
        text = found.error_message or ""
        assert f"'{flag}' is of type" in text
        assert "blue" not in text


async def test_a_missing_flag_is_the_default(flags: OpenFeatureClient, cfg: lamina.Config) -> None:
    found = await evaluate(flags, "missing", 5, "integer")
    assert (found.value, found.reason, found.error_code) == (5, Reason.ERROR, ErrorCode.FLAG_NOT_FOUND)
    assert found.error_message == f"{cfg.name} has no key 'missing'"


def test_telemetry_has_the_flag_and_its_version(flags: OpenFeatureClient, cfg: lamina.Config) -> None:
    context = HookContext("on", FlagType.BOOLEAN, False, EvaluationContext(), provider_metadata=Metadata("Lamina"))
    event = create_evaluation_event(context, flags.get_boolean_details("on", False))
    assert event.attributes == {
        TelemetryAttribute.KEY: "on",
        TelemetryAttribute.EVALUATION_REASON: "static",
        TelemetryAttribute.VARIANT: "1",
        TelemetryAttribute.SET_ID: cfg.name,
        TelemetryAttribute.VERSION: 2,
        TelemetryAttribute.PROVIDER_NAME: "Lamina",
    }


def test_a_change_event_names_the_changed_flags(client: lamina.Client, cfg: lamina.Config) -> None:
    """With a prefix, changes of other settings make no event."""
    cfg |= {"flags/a": True, "flags/b": True, "pool": 1}
    cfg.commit()
    api.set_provider_and_wait(LaminaProvider(cfg.name, client=client, prefix="flags/"))
    flags = api.get_client()
    changed = EventRecorder(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED)
    cfg["pool"] = 2
    cfg.commit()
    cfg |= {"flags/a": False, "pool": 3}
    del cfg["flags/b"]
    version = cfg.commit()
    details = changed.next()
    assert (details.flags_changed, details.provider_name) == (["a", "b"], "Lamina")
    assert details.metadata == {"config": cfg.name, "version": version.number}
    assert changed.details == []
    assert flags.get_boolean_value("a", True) is False
    assert flags.get_boolean_details("b", True).error_code == ErrorCode.FLAG_NOT_FOUND
    assert flags.get_integer_details("pool", 0).error_code == ErrorCode.FLAG_NOT_FOUND


def test_a_pin_holds_the_version_of_the_flags(
    client: lamina.Client, cfg: lamina.Config, flags: OpenFeatureClient
) -> None:
    live = client.live(cfg.name)
    with live.pin():
        cfg["count"] = 5
        live.wait(cfg.commit(), SECONDS)
        found = flags.get_integer_details("count", 0)
        assert (found.value, found.variant, found.flag_metadata["version"]) == (4, "2", 2)
    found = flags.get_integer_details("count", 0)
    assert (found.value, found.variant, found.flag_metadata["version"]) == (5, "3", 3)


def test_the_provider_is_stale_without_a_server_and_ready_again(tmp_path: Path) -> None:
    with ServerProcess(f"sqlite:///{tmp_path / 'lamina.db'}") as server, lamina.connect(server.target) as client:
        cfg = client.config("flags", create=True)
        cfg["on"] = True
        cfg.commit()
        api.set_provider_and_wait(LaminaProvider("flags", client=client))
        flags = api.get_client()
        ready, stale = EventRecorder(ProviderEvent.PROVIDER_READY), EventRecorder(ProviderEvent.PROVIDER_STALE)
        assert ready.next().provider_name == "Lamina"  # sent at once, because it is ready
        server.kill()
        assert stale.next().message == "flags is STALE"
        found = flags.get_boolean_details("on", False)
        assert (found.value, found.reason, found.variant) == (True, Reason.STALE, "1")
        assert flags.get_provider_status() is ProviderStatus.STALE
        server.restart()
        ready.next()
        found = flags.get_boolean_details("on", False)
        assert (found.value, found.reason) == (True, Reason.STATIC)
        assert flags.get_provider_status() is ProviderStatus.READY
        errors = EventRecorder(ProviderEvent.PROVIDER_ERROR)
        server.kill()
        with ServerProcess("sqlite://", "--listen", server.target):  # a server without this config
            assert errors.next().error_code == ErrorCode.GENERAL
            found = flags.get_boolean_details("on", False)
            assert (found.value, found.reason, found.variant) == (True, Reason.STALE, "1")


def test_the_provider_is_ready_when_a_server_appears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a client of its own: `initialize` fails after the client's timeout, and it tries again in the background."""
    server = ServerProcess(f"sqlite:///{tmp_path / 'lamina.db'}")
    with server:
        with lamina.connect(server.target) as client:
            cfg = client.config("flags", create=True)
            cfg["on"] = True
            cfg.commit()
        server.kill()
        monkeypatch.setenv("LAMINA_TARGET", server.target)
        monkeypatch.setenv("LAMINA_TIMEOUT", "0.2")
        errors, ready = EventRecorder(ProviderEvent.PROVIDER_ERROR), EventRecorder(ProviderEvent.PROVIDER_READY)
        assert ready.next().provider_name != "Lamina"  # from the previous provider
        provider = LaminaProvider("flags")
        with pytest.raises(ProviderNotReadyError):
            api.set_provider_and_wait(provider)
        assert errors.next().error_code == ErrorCode.PROVIDER_NOT_READY
        flags = api.get_client()
        found = flags.get_boolean_details("on", False)
        assert (found.value, found.error_code) == (False, ErrorCode.PROVIDER_NOT_READY)
        server.restart()
        assert ready.next().provider_name == "Lamina"
        assert flags.get_boolean_value("on", False) is True
        api.clear_providers()
        await_end("lamina-live", "lamina-on-change", "lamina-openfeature")


def test_a_definite_error_is_fatal(client: lamina.Client) -> None:
    with pytest.raises(ProviderFatalError, match="cannot be read"):
        api.set_provider_and_wait(LaminaProvider("no name", client=client))
    flags = api.get_client()
    assert flags.get_provider_status() is ProviderStatus.FATAL
    assert flags.get_boolean_details("on", True).error_code == ErrorCode.PROVIDER_FATAL


def test_the_provider_is_ready_when_its_config_is_created(client: lamina.Client, config_name: str) -> None:
    ready = EventRecorder(ProviderEvent.PROVIDER_READY)
    assert ready.next().provider_name != "Lamina"  # from the previous provider
    with pytest.raises(ProviderNotReadyError, match="there is no config"):
        api.set_provider_and_wait(LaminaProvider(config_name, client=client))
    flags = api.get_client()
    assert flags.get_provider_status() is ProviderStatus.ERROR
    assert flags.get_boolean_details("on", True).error_code == ErrorCode.PROVIDER_NOT_READY
    cfg = client.config(config_name, create=True)
    cfg["on"] = False
    cfg.commit()
    assert ready.next().provider_name == "Lamina"
    assert flags.get_provider_status() is ProviderStatus.READY
    assert flags.get_boolean_value("on", True) is False


FORKING = """
import os, sys, threading
import lamina
from lamina.openfeature import LaminaProvider
from openfeature import api
from openfeature.event import ProviderEvent
from openfeature.exception import ProviderNotReadyError

client, name = lamina.connect(sys.argv[1]), sys.argv[2]
try:
    api.set_provider_and_wait(LaminaProvider(name, client=client))
except ProviderNotReadyError:
    pass
flags = api.get_client()
child = os.fork()
if not child:
    ready = threading.Event()
    api.add_handler(ProviderEvent.PROVIDER_READY, lambda _: ready.set())
    ready.clear()  # from the previous provider
    assert flags.get_boolean_value("on", False) is False
    mine = client.config(name, create=True)
    mine["on"] = True
    mine.commit()
    assert ready.wait(30)
    print(flags.get_boolean_value("on", False), flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
os._exit(0)
"""


def test_the_provider_works_in_a_forked_child(server: ServerProcess, config_name: str) -> None:
    """Also if there is no config yet when the process forks, as before a web server's workers."""
    program = [sys.executable, "-W", "ignore", "-c", FORKING, server.target, config_name]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "True\n", done.stderr


def test_the_config_replaces_the_default(client: lamina.Client, config_name: str) -> None:
    changed = EventRecorder(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED)
    default = {"on": True, "count": 3}
    api.set_provider_and_wait(LaminaProvider(config_name, client=client, default=default))
    flags = api.get_client()
    details = flags.get_integer_details("count", 0)
    assert (details.value, details.reason, details.variant) == (3, Reason.STALE, "0")
    cfg = client.config(config_name, create=True)
    cfg |= {"on": False, "count": 3}
    cfg.commit()
    assert changed.next().flags_changed == ["on"]
    details_of_on = flags.get_boolean_details("on", True)
    assert (details_of_on.value, details_of_on.variant) == (False, "1")
    with pytest.raises(TypeError, match="default= is a mapping"):
        LaminaProvider(config_name, client=client, default=3)  # type: ignore[arg-type]


def test_shutdown_ends_its_threads_and_leaves_the_client_open(client: lamina.Client, cfg: lamina.Config) -> None:
    provider = LaminaProvider(cfg.name, client=client)
    api.set_provider_and_wait(provider)
    api.clear_providers()
    await_end("lamina-live", "lamina-on-change", "lamina-openfeature")
    assert provider.resolve_boolean_details("on", False).error_code == ErrorCode.PROVIDER_NOT_READY
    assert client.config(cfg.name)["on"] is True
    # A provider can be set again.
    api.set_provider_and_wait(provider)
    assert api.get_client().get_boolean_value("on", False) is True
