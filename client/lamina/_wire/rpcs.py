"""The call table: for each method of the service its path and its message types, derived from the descriptor."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from lamina_protos.v1 import lamina_pb2 as pb

Request = TypeVar("Request")
Reply = TypeVar("Reply")


@dataclass(frozen=True, slots=True)
class Rpc(Generic[Request, Reply]):
    """One method of the service."""

    name: str
    path: str
    serialize: Callable[[Request], bytes]
    deserialize: Callable[[bytes], Reply]
    streaming: bool


_SERVICE: Final = pb.DESCRIPTOR.services_by_name["ConfigService"]


def _rpc(method: MethodDescriptor) -> Rpc[Any, Any]:
    return Rpc(
        name=method.name,
        path=f"/{_SERVICE.full_name}/{method.name}",
        serialize=GetMessageClass(method.input_type).SerializeToString,
        deserialize=GetMessageClass(method.output_type).FromString,
        streaming=method.server_streaming,
    )


RPCS: Final[Mapping[str, Rpc[Any, Any]]] = MappingProxyType(
    {method.name: _rpc(method) for method in _SERVICE.methods},
)

# The same by name and with types, which a type checker cannot find in a descriptor.
COMMIT: Final[Rpc[pb.CommitRequest, pb.CommitResponse]] = RPCS["Commit"]
GET_VERSION: Final[Rpc[pb.GetVersionRequest, pb.ConfigVersion]] = RPCS["GetVersion"]
LIST_VERSIONS: Final[Rpc[pb.ListVersionsRequest, pb.ListVersionsResponse]] = RPCS["ListVersions"]
DIFF_VERSIONS: Final[Rpc[pb.DiffVersionsRequest, pb.DiffVersionsResponse]] = RPCS["DiffVersions"]
GET_KEY_HISTORY: Final[Rpc[pb.GetKeyHistoryRequest, pb.KeyHistory]] = RPCS["GetKeyHistory"]
WATCH_KEY_HISTORY: Final[Rpc[pb.WatchKeyHistoryRequest, pb.WatchKeyHistoryResponse]] = RPCS["WatchKeyHistory"]
REVERT_CONFIG: Final[Rpc[pb.RevertConfigRequest, pb.CommitResponse]] = RPCS["RevertConfig"]
FORK_CONFIG: Final[Rpc[pb.ForkConfigRequest, pb.CommitResponse]] = RPCS["ForkConfig"]
GET_SERVER_INFO: Final[Rpc[pb.GetServerInfoRequest, pb.ServerInfo]] = RPCS["GetServerInfo"]
LIST_SECRET_KEYS: Final[Rpc[pb.ListSecretKeysRequest, pb.ListSecretKeysResponse]] = RPCS["ListSecretKeys"]
WHO_AM_I: Final[Rpc[pb.WhoAmIRequest, pb.WhoAmIResponse]] = RPCS["WhoAmI"]
CHECK_ACCESS: Final[Rpc[pb.CheckAccessRequest, pb.CheckAccessResponse]] = RPCS["CheckAccess"]
LIST_CONFIGS: Final[Rpc[pb.ListConfigsRequest, pb.ListConfigsResponse]] = RPCS["ListConfigs"]
