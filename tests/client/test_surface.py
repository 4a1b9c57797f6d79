"""The public names: both clients have the same names with the same signatures."""

import copy
import inspect
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lamina
from lamina import aio, sync
from lamina._grpc.aio import reader as aio_verbs
from lamina._wire import rpcs
from lamina_protos.v1 import lamina_pb2 as pb
from tests.support.bundles import history, packed


def test_the_public_names_are_sorted_and_can_be_imported() -> None:
    assert set(lamina.__all__) <= set(dir(lamina))
    assert all(getattr(lamina, name) is not None for name in lamina.__all__)
    with pytest.raises(AttributeError, match="'lamina' has no attribute 'conect'"):
        _ = lamina.conect  # type: ignore[attr-defined]
    assert lamina.__all__ == sorted(lamina.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert aio.__all__ == sync.__all__


def test_importing_it_loads_neither_grpc_nor_protobuf() -> None:
    """They are loaded when they are needed. A client that is not used is never loaded."""
    assert loaded("import lamina") == []
    assert loaded("import lamina; lamina.MISSING, lamina.NotFoundError") == []
    assert loaded("import lamina; lamina.connect") == ["grpc", "google.protobuf"]
    assert loaded("import lamina; lamina.aio.connect") == ["grpc", "google.protobuf", "lamina.aio"]


def test_a_bundle_is_read_without_grpc(tmp_path: Path) -> None:
    """No server is asked. Only `export`, which asks one, loads gRPC."""
    path = tmp_path / "app.lamina"
    path.write_bytes(packed(history([{"x": 27}, {"x": 28}])))
    read = f"import lamina; app = lamina.open({str(path)!r}); app.verify(); assert app.at(1)['x'] == 27"
    assert loaded(read) == ["google.protobuf"]
    assert loaded(f"{read}; from lamina.bundle import export") == ["grpc", "google.protobuf"]


def loaded(statements: str) -> list[str]:
    """Return which of the large modules a new process has loaded after some statements."""
    large = ["grpc", "google.protobuf", "lamina.aio"]
    program = f"{statements}; import sys; print(*[name for name in {large} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return ended.stdout.split()


# The only names that differ: how an object is entered, and how it is iterated over.
ALIKE = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}


def members(kind: type) -> dict[str, Any]:
    own = {name: member for name, member in vars(kind).items() if not name.startswith("_") or name.startswith("__")}
    ignored = {"__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__firstlineno__"}
    return {ALIKE.get(name, name): member for name, member in own.items() if name not in ignored}


@pytest.mark.parametrize("name", ["Client", "Config", "Live", "Reader", "Watch"])
def test_both_clients_have_the_same_members(name: str) -> None:
    threads, tasks = members(getattr(sync, name)), members(getattr(aio, name))
    assert threads.keys() == tasks.keys()
    for member in threads:
        one, other = threads[member], tasks[member]
        assert type(one) is type(other)
        if inspect.isfunction(one) and member != "__init__":
            assert parameters(one) == parameters(other), member
            assert inspect.getdoc(one) is None or inspect.getdoc(other) is not None


def test_connect_is_the_same() -> None:
    assert parameters(sync.connect) == parameters(aio.connect)


def parameters(function: Any) -> list[tuple[str, Any, Any, Any]]:
    signature = inspect.signature(inspect.unwrap(function))
    return [(one.name, one.kind, one.default, one.annotation) for one in signature.parameters.values()]


AWAITED = {
    "carried",
    "config",
    "live",
    "server_info",
    "whoami",
    "check_access",
    "wait",
    "commit",
    "refresh",
    "at",
    "diff",
    "blame",
    "revert",
    "fork",
    "transact",
    "verify",
    "close",
}


def test_these_methods_are_awaited() -> None:
    found = set()
    for kind in (aio.Client, aio.Config, aio.Live, aio_verbs.Reader, aio.Watch):
        found |= {name for name, member in members(kind).items() if inspect.iscoroutinefunction(member)}
    assert found - {"__enter__", "__exit__", "__next__"} == AWAITED


def test_every_verb_of_the_wire_has_a_typed_call() -> None:
    assert set(rpcs.RPCS) == {method.name for method in pb.DESCRIPTOR.services_by_name["ConfigService"].methods}
    named = {rpc.name for rpc in vars(rpcs).values() if isinstance(rpc, rpcs.Rpc)}
    assert named == set(rpcs.RPCS)
    assert [rpc.name for rpc in rpcs.RPCS.values() if rpc.streaming] == ["WatchKeyHistory"]
    assert rpcs.COMMIT.path == "/lamina.v1.ConfigService/Commit"
    assert rpcs.COMMIT.deserialize(pb.CommitResponse(created=True).SerializeToString()).created


def test_missing_stays_one_object_in_copies_and_pickles() -> None:
    assert repr(lamina.MISSING) == "lamina.MISSING"
    assert not lamina.MISSING
    assert copy.deepcopy(lamina.MISSING) is lamina.MISSING
    assert pickle.loads(pickle.dumps(lamina.MISSING)) is lamina.MISSING
