"""What other callers notice of an attack, and what it costs the server: `python -m tests.security.under_attack`.

    python -m tests.security.under_attack rapid_reset,ping_flood 5

For each kind, one line: the latencies of small reads before it (with a process that uses as much of the machine as the
attacker does) and during it, in milliseconds, the calls that failed, the server's memory in MiB, and the connections
that the server closed.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

import lamina
from lamina_protos.v1 import lamina_pb2 as pb
from lamina_protos.v1.lamina_pb2_grpc import ConfigServiceStub
from tests.security.attacks import FLOODS, HOLDS
from tests.support.server import ServerProcess

PAUSE_SECONDS = 0.002
CALL_SECONDS = 20.0
_SPIN = "import sys, time\nend = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass"


@dataclass(frozen=True)
class Noticed:
    """What one caller noticed: how long its calls took, in seconds, and how many failed."""

    seconds: list[float]
    failed: int

    def part(self, share: float) -> float:
        """Return the latency that this share of the calls did not exceed, in milliseconds."""
        return round(1_000 * sorted(self.seconds)[int(share * (len(self.seconds) - 1))], 2)


def memory_mib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024


def prepared(server: ServerProcess) -> int:
    """Write the config that is read, and return the server's port."""
    with lamina.connect(server.target, cache_dir="") as client:
        config = client.config("shop/prod", create=True)
        config["a"] = 1
        config.commit()
    return int(server.target.rpartition(":")[2])


def notice(port: int, seconds: float) -> Noticed:
    """Read again and again, on a connection of its own."""
    taken, failed, end = [], 0, time.monotonic() + seconds
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = ConfigServiceStub(channel)
        while time.monotonic() < end:
            begun = time.perf_counter()
            try:
                stub.GetVersion(pb.GetVersionRequest(config="shop/prod"), timeout=CALL_SECONDS)
            except grpc.RpcError:
                failed += 1
            taken.append(time.perf_counter() - begun)
            time.sleep(PAUSE_SECONDS)
    return Noticed(taken, failed)


def attacked(port: int, kind: str, seconds: float) -> tuple[Noticed, dict[str, Any]]:
    """Attack a server, and return what another caller notices meanwhile, and what the attacker says."""
    program = [sys.executable, "-m", "tests.security.attacks", kind, str(port), str(seconds)]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as process:
        noticed = notice(port, seconds)
        assert process.stdout is not None
        told: dict[str, Any] = json.loads(process.stdout.read())
    return noticed, told


def main() -> None:
    kinds = sys.argv[1].split(",") if len(sys.argv) > 1 else [*FLOODS, *HOLDS]
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 5.0
    with tempfile.TemporaryDirectory() as folder, ServerProcess(f"sqlite:///{folder}/lamina.db") as server:
        port = prepared(server)
        for kind in kinds:
            with subprocess.Popen([sys.executable, "-c", _SPIN, str(seconds)]):
                before = notice(port, seconds)
            first = memory_mib(server.pid)
            during, told = attacked(port, kind, seconds)
            print(
                f"{kind:18} p50 {before.part(0.5):7} -> {during.part(0.5):7}  p99 {before.part(0.99):7} -> "
                f"{during.part(0.99):7}  failed {during.failed}  memory {first} -> {memory_mib(server.pid)}  {told}",
                flush=True,
            )


if __name__ == "__main__":
    main()
