"""A client without our SDK: the stubs that grpc-tools generate from the .proto, used as they are."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1 import lamina_pb2_grpc


def test_commit_read_history_and_watch(target: str, config_name: str) -> None:
    with grpc.insecure_channel(target) as channel:
        stub = lamina_pb2_grpc.ConfigServiceStub(channel)
        first = stub.Commit(
            pb.CommitRequest(
                config=config_name,
                base_version=0,
                changes=[
                    pb.Change(key="x", value=pb.Value(int64=27)),
                    pb.Change(key="hosts", value=pb.Value(json='["h1", "h2"]')),
                ],
                message="create",
                request_id="bare-1",
            ),
            metadata=(("lamina-author", "bare"),),
        )
        assert (first.created, first.merged, first.version.version, first.version.author) == (True, False, 1, "bare")

        second = stub.Commit(
            pb.CommitRequest(
                config=config_name,
                base_version=1,
                base_hash=first.version.hash,
                changes=[pb.Change(key="x", deleted=True)],
                request_id="bare-2",
            )
        )
        read = stub.GetVersion(pb.GetVersionRequest(config=config_name))
        assert [(entry.key, entry.value.json, entry.origin_version) for entry in read.entries] == [
            ("hosts", '["h1","h2"]', 1)
        ]
        assert read.hash == second.version.hash

        history = stub.GetKeyHistory(pb.GetKeyHistoryRequest(config=config_name, key="x"))
        assert [(change.version, change.WhichOneof("change")) for change in history.changes] == [
            (1, "value"),
            (2, "deleted"),
        ]

        watch = stub.WatchKeyHistory(pb.WatchKeyHistoryRequest(config=config_name, after=pb.Cursor(version=0)))
        seen = [part.version.version for part in take(watch, 2)]
        assert seen == [1, 2]
        watch.cancel()


def take(watch: object, count: int) -> list[pb.VersionChanges]:
    parts: list[pb.VersionChanges] = []
    for message in watch:  # type: ignore[attr-defined]
        parts.extend(message.changes)
        if len(parts) >= count:
            return parts
    raise AssertionError("the watch ended by itself")


def test_an_error_carries_one_reason(target: str, config_name: str) -> None:
    with grpc.insecure_channel(target) as channel:
        stub = lamina_pb2_grpc.ConfigServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.GetVersion(pb.GetVersionRequest(config=config_name))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    trailers = {item.key: item.value for item in caught.value.trailing_metadata() or ()}
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    (packed,) = status.details
    assert packed.Unpack(info)
    assert (info.domain, info.reason) == ("lamina", "CONFIG_NOT_FOUND")


def test_a_fork_of_the_empty_map_keeps_its_source(target: str, config_name: str) -> None:
    """P8: version 0 has no hash, and is a source all the same; a retry gets the first answer to the letter."""
    with grpc.insecure_channel(target) as channel:
        stub = lamina_pb2_grpc.ConfigServiceStub(channel)
        change = pb.Change(key="x", value=pb.Value(int64=1))
        stub.Commit(pb.CommitRequest(config=config_name, changes=[change], request_id=f"{config_name} 1"))
        fork = pb.ForkConfigRequest(
            source=config_name, source_version=0, target=f"{config_name}/fork", request_id=f"{config_name} 2"
        )
        first = stub.ForkConfig(fork)
        assert first.version.source_config == config_name
        assert stub.ForkConfig(fork) == first
