"""Bytes as requests of every method: `python -m tests.security.fuzzing.requests -max_total_time=600` runs atheris.

Whatever comes, a parser returns a request or raises a refusal that the contract names, and takes less than a second.
"""

import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from google.protobuf.message_factory import GetMessageClass

from lamina_protos.v1 import lamina_pb2 as pb
from lamina_server.domain.errors import Reason, ServerError
from lamina_server.domain.planning import Author
from lamina_server.rpc.handlers import SERVICE, snake_case
from lamina_server.rpc.service import WRITES
from lamina_server.settings import Settings
from lamina_server.wire import error_details, parse

METHODS: Final = sorted(SERVICE.methods_by_name)
LIMIT_SECONDS: Final = 1.0
REFUSALS: Final = {
    Reason.BAD_REQUEST,
    Reason.BAD_CONFIG_NAME,
    Reason.BAD_KEY,
    Reason.BAD_VALUE,
    Reason.TOO_LARGE,
    Reason.TOO_MANY,
}
_SETTINGS: Final = Settings()
_AUTHOR: Final = Author("fuzzer")


def check(method: str, data: bytes) -> bool:
    """Parse bytes as a request of a method; return whether they are one."""
    function: Any = getattr(parse, snake_case(method))
    refusal: ServerError | None = None
    begun = time.thread_time()  # not the time of day, which goes on while a busy machine runs others
    try:
        if snake_case(method) in WRITES:
            function(data, _AUTHOR, _SETTINGS)
        else:
            function(data, _SETTINGS)
    except ServerError as error:
        refusal = error
    taken = time.thread_time() - begun
    assert taken < LIMIT_SECONDS, f"{method} took {taken:.1f} s for {len(data)} bytes"
    if refusal is not None:
        assert refusal.reason in REFUSALS, refusal.reason
        text = error_details.text(refusal)
        assert len(error_details.status(refusal, 3, text)) < error_details.TRAILERS_LIMIT_BYTES
    return refusal is None


def seeds() -> list[tuple[str, bytes]]:
    """Return a good request of each method, and some odd ones."""
    values = [
        pb.Value(json='{"a": [1, 2.5, "x", null]}'),
        pb.Value(double=0.5),
        pb.Value(string="ü"),
        pb.Value(bytes=b"\0"),
    ]
    changes = [pb.Change(key=f"k{number}", value=value) for number, value in enumerate(values)]
    changes += [pb.Change(key="gone", deleted=True), pb.Change(key="s", value=pb.Value(secret=pb.Secret(string="x")))]
    good: dict[str, Any] = {
        "Commit": pb.CommitRequest(config="a/b", request_id="r", base_version=1, changes=changes, read_keys=["z"]),
        "RevertConfig": pb.RevertConfigRequest(config="a/b", request_id="r", to_version=1, base_version=2),
        "ForkConfig": pb.ForkConfigRequest(source="a/b", target="c", request_id="r"),
        "GetVersion": pb.GetVersionRequest(config="a/b", keys=["x"], prefixes=["y/"], version=3),
        "WatchKeyHistory": pb.WatchKeyHistoryRequest(config="a/b", keys=["x"], after=pb.Cursor(version=1)),
        "GetKeyHistory": pb.GetKeyHistoryRequest(config="a/b", key="x"),
        "CheckAccess": pb.CheckAccessRequest(principal="token:a", config="a/b"),
    }
    found = []
    for name in METHODS:
        message = good.get(name)
        if message is None:
            message = GetMessageClass(SERVICE.methods_by_name[name].input_type)()
            if hasattr(message, "config"):
                message.config = "a/b"
        found.append((name, message.SerializeToString()))
    return found


def mutated(chance: random.Random, data: bytes) -> bytes:
    """Change some bytes of a request as they go wrong or are made to: other, missing, doubled, or inserted."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(found) + 1)
        match chance.randrange(5):
            case 0:
                found[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del found[at : at + chance.randint(1, 16)]
            case 2:
                found[at:at] = found[max(0, at - 16) : at] * chance.choice([1, 1, 1, 200])
            case 3:
                found[at:at] = chance.randbytes(chance.randint(1, 16))
            case _:
                found[at:at] = b"\xff" * chance.randint(1, 12)
    return bytes(found)


def one_input(data: bytes) -> None:
    """Check one input of atheris: its first byte names the method. Print an input that breaks the parser."""
    if data:
        method = METHODS[data[0] % len(METHODS)]
        try:
            check(method, data[1:])
        except BaseException:
            print(f"\nthe input, as a request of {method}: {data[1:]!r}", file=sys.stderr, flush=True)
            raise


def by_chance(seed: int, seconds: float) -> int:
    """Check mutated requests for a time; return how many. One seed repeats one series."""
    chance, known, count = random.Random(seed), seeds(), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        name, data = chance.choice(known)
        changed = mutated(chance, data)
        if check(name, changed) and chance.random() < 0.1 and len(changed) < 4096:
            known.append((name, changed))  # what is a request again is changed further
        count += 1
    return count


def main() -> None:
    import atheris  # noqa: PLC0415 - it exists for few versions of Python; `make fuzz` says so

    with tempfile.TemporaryDirectory() as folder:
        for number, (name, data) in enumerate(seeds()):
            (Path(folder) / str(number)).write_bytes(bytes([METHODS.index(name)]) + data)
        for module in (parse, sys.modules["lamina_server.wire.validation"], sys.modules["lamina_server.domain.values"]):
            for name, function in list(vars(module).items()):
                if getattr(function, "__module__", "") == module.__name__ and hasattr(function, "__code__"):
                    setattr(module, name, atheris.instrument_func(function))
        atheris.Setup([sys.argv[0], "-timeout=60", "-rss_limit_mb=1024", *sys.argv[1:], folder], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
