"""A program that forks while it has a live with a callback, and prints the versions that each process received.

A new thread receives a version before `begin_thread` returns, as can happen on a busy machine.
"""

import os
import sys
import threading
import time
from collections.abc import Callable

import lamina
from lamina._grpc.sync.subscription import Subscription, begin_thread
from tests.client.live_helpers import lives_of

PARENT = os.getpid()


def begin_early(run: Callable[[], None], name: str) -> threading.Thread:
    thread, subscription = begin_thread(run, name), getattr(run, "__self__", None)
    if os.getpid() != PARENT and name == "lamina-live" and isinstance(subscription, Subscription):
        while subscription.tracker.entries.header.number < 2:
            time.sleep(0.01)
    return thread


def main(target: str) -> None:
    client = lamina.connect(target)
    cfg = client.config("app", create=True)
    cfg["x"] = 1
    cfg.commit()
    begun, reported = os.pipe()
    live = lives_of(client, begin_thread=begin_early).open("app", None)
    live.on_change(lambda version: os.write(reported, b"%d\n" % version.version))
    child = os.fork()
    if not child:
        sys.stdin.read()  # the child never reads the live
        os._exit(0)
    cfg["x"] = 2
    cfg.commit()
    found = b""
    while len(found) < 4:
        found += os.read(begun, 4)
    print(found.split())
    sys.stdin.close()


if __name__ == "__main__":
    main(sys.argv[1])
