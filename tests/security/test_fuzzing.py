"""The short form of fuzzing, with a seed: `make fuzz` is the long one."""

import threading
from pathlib import Path

from tests.security.fuzzing import frames, requests
from tests.security.under_attack import Noticed, memory_mib, notice, prepared
from tests.support.server import ServerProcess

SEED = 20_261_130
FUZZED_SECONDS = 4.0
CONVERSATIONS = 300
GROWTH_LIMIT_MIB = 150


def test_good_requests_are_good() -> None:
    """Otherwise their mutations would test nothing."""
    assert [name for name, data in requests.seeds() if not requests.check(name, data)] == []


def test_no_request_breaks_a_parser() -> None:
    """Only documented reasons, and nothing takes a second."""
    assert requests.by_chance(SEED, FUZZED_SECONDS) > 100


def test_no_frames_break_a_server(tmp_path: Path) -> None:
    """P15: only documented codes; the memory is bounded; another caller gets its answers meanwhile."""
    with ServerProcess(f"sqlite:///{tmp_path}/lamina.db") as server:
        port = prepared(server)
        first = memory_mib(server.pid)
        noticed: list[Noticed] = []
        caller = threading.Thread(target=lambda: noticed.append(notice(port, 3)))
        caller.start()
        frames.fuzz(port, examples=CONVERSATIONS, is_seeded=True)
        caller.join()
        assert noticed[0].failed == 0
        assert memory_mib(server.pid) - first < GROWTH_LIMIT_MIB
        assert '"bug"' not in server.log
