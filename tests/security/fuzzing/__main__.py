"""The long form of fuzzing, for `make fuzz`: request bytes by atheris, and then HTTP/2 frames against a server."""

import argparse
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec

from tests.security.fuzzing import frames, requests
from tests.security.under_attack import memory_mib, notice, prepared
from tests.support.server import ServerProcess


def main() -> None:
    """Fuzz for a time, and exit with 1 at the first failure."""
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=")
    parser.add_argument("--seconds", type=float, default=600, help="for each of the two (default: 600)")
    parser.add_argument("--only", choices=["requests", "frames"], help="one of the two")
    arguments = parser.parse_args()
    if arguments.only != "frames":
        fuzz_requests(arguments.seconds)
    if arguments.only != "requests":
        fuzz_frames(arguments.seconds)


def fuzz_requests(seconds: float) -> None:
    """Run atheris; without it (there is none for this Python or machine), mutated requests."""
    if find_spec("atheris") is None:
        seed = time.time_ns()
        print(f"no atheris here: mutated requests, with the seed {seed}")
        print(f"{requests.by_chance(seed, seconds):,} requests")
        return
    program = [sys.executable, "-m", "tests.security.fuzzing.requests", f"-max_total_time={int(seconds)}"]
    if subprocess.run([*program, "-print_final_stats=1"], check=False).returncode:
        sys.exit("a request has broken a parser; the input is shown above")


def fuzz_frames(seconds: float) -> None:
    """Try conversations in rounds, and look at the server after each."""
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder, ServerProcess(f"sqlite:///{folder}/lamina.db") as server:
        port = prepared(server)
        first, before = memory_mib(server.pid), notice(port, 2)
        while time.monotonic() < end:
            frames.fuzz(port, examples=2_000, is_seeded=False)
            after = notice(port, 1)
            print(f"memory {first} -> {memory_mib(server.pid)} MiB, p99 {before.part(0.99)} -> {after.part(0.99)} ms")
            if after.failed or '"bug"' in server.log or memory_mib(server.pid) > first + 400:
                sys.exit(f"the server did not stand it:\n{server.log}")


if __name__ == "__main__":
    main()
