"""The long form of fuzzing, for `make fuzz`: request bytes by atheris, and then HTTP/2 frames against a server."""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec

from tests.security.fuzzing import frames, requests
from tests.security.under_attack import memory_mib, notice, prepared
from tests.support.server import ServerProcess

SLOWER_LIMIT = 2.0


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


def _fuzz_beside(port: int) -> None:
    os.nice(19)  # so that others wait for the server, and not for this process, where there are few cores
    frames.fuzz(port, examples=2_000, is_seeded=False)


def fuzz_frames(seconds: float) -> None:
    """Try conversations in rounds, in a process of their own, and look meanwhile at what others notice."""
    end = time.monotonic() + seconds
    ratios = []
    with tempfile.TemporaryDirectory() as folder, ServerProcess(f"sqlite:///{folder}/lamina.db") as server:
        port = prepared(server)
        first = memory_mib(server.pid)
        while time.monotonic() < end:
            before = notice(port, 2)
            fuzzing = multiprocessing.Process(target=_fuzz_beside, args=(port,))
            fuzzing.start()
            during = notice(port, 2)
            fuzzing.join()
            ratios.append(during.part(0.99) / before.part(0.99))
            print(
                f"memory {first} -> {memory_mib(server.pid)} MiB,"
                f" p99 of others {before.part(0.99)} -> {during.part(0.99)} ms"
            )
            if fuzzing.exitcode or during.failed or '"bug"' in server.log or memory_mib(server.pid) > first + 400:
                sys.exit(f"the server did not stand it:\n{server.log}")
    print(f"p99 of others: {statistics.median(ratios):.2f} times as long (the median of {len(ratios)} rounds)")
    if statistics.median(ratios) > SLOWER_LIMIT:
        sys.exit(f"others waited more than {SLOWER_LIMIT} times as long")


if __name__ == "__main__":
    main()
