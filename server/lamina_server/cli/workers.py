"""Several processes that serve one address: this one starts them, replaces those that die, and ends them together.

Each worker is a whole server, forked before anything of gRPC or the database has begun. This process serves nothing: it
keeps the port, so that no other program takes it, and has no thread, so that it can fork at any time.
"""

import gc
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import NoReturn, TypeAlias

import structlog

from lamina_server.domain.record import record
from lamina_server.rpc import transport
from lamina_server.rpc.transport import UnsafeError
from lamina_server.settings import Settings
from lamina_server.store import address
from lamina_server.store.address import SqliteAddress

FIRST_DELAY_SECONDS, LAST_DELAY_SECONDS = 0.2, 10.0
"""How long until a worker that has died is replaced: twice as long each time, until one has lived for the latter."""
KILL_SECONDS = 2.0
"""A worker ends within its grace by itself. After so much more time it is killed."""

Work: TypeAlias = Callable[[Settings, Callable[[str], None]], int]
"""Serves with these settings, calls the function with the ready line, and returns the exit code."""

_READ_BYTES = 65_536
_ENDS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_log = structlog.get_logger(__name__)


def serve(settings: Settings, work: Work, tell: Callable[[str], None]) -> int:
    """Serve by several workers until a signal asks for the end; return the exit code.

    Raises UnsafeError or AddressError.
    """
    if isinstance(address.parse(settings.database), SqliteAddress):
        raise UnsafeError("a SQLite database is for one process: several workers need PostgreSQL", "workers")
    with transport.reserved(transport.parse(settings.listen)) as target:
        return _Workers(settings.model_copy(update={"listen": target}), work, tell).run()


@record
class _Worker:
    """A process, and when it was started by a steady clock."""

    pid: int
    started_at: float


class _Workers:
    def __init__(self, settings: Settings, work: Work, tell: Callable[[str], None]) -> None:
        self._settings = settings
        self._work = work
        self._tell = tell
        self._workers: dict[int, _Worker] = {}
        self._starting: dict[int, int] = {}  # the descriptor on which a worker will say that it is ready: its pid
        self._ready: set[int] = set()
        self._ready_line = b""
        self._is_told = False
        self._delay_seconds = FIRST_DELAY_SECONDS
        self._start_at = time.monotonic()
        self._stop: signal.Signals | None = None
        self._exit_code = 0
        # A worker reads from it, and ends when this process has gone, however it went.
        self._alive, self._kept = os.pipe()
        self._woken, self._wakes = socket.socketpair()
        for end in (self._woken, self._wakes):
            os.set_blocking(end.fileno(), False)

    def run(self) -> int:
        gc.freeze()  # so that a collection in a worker does not copy the memory that they share
        for number in (*_ENDS, signal.SIGCHLD):
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        while self._stop is None or self._workers:
            self._start_missing()
            readable, _, _ = select.select([self._woken.fileno(), *self._starting], [], [], self._wait_seconds())
            for received in self._signals() if self._woken.fileno() in readable else b"":
                self._receive(signal.Signals(received))
            for says in list(self._starting):
                if says in readable:
                    self._hear(says)
        return self._exit_code

    def _signals(self) -> bytes:
        try:
            return self._woken.recv(_READ_BYTES)
        except BlockingIOError:
            return b""

    def _wait_seconds(self) -> float | None:
        if self._stop is not None:
            return max(self._start_at - time.monotonic(), 0)  # until those that are left are killed
        is_missing = len(self._workers) < self._settings.workers and not self._is_first_starting
        return max(self._start_at - time.monotonic(), 0) if is_missing else None

    @property
    def _is_first_starting(self) -> bool:
        """Return whether the others wait: the first makes the tables, and the first admin."""
        return not self._ready_line and bool(self._workers)

    def _start_missing(self) -> None:
        if self._stop is not None:
            if time.monotonic() >= self._start_at:
                self._send(signal.SIGKILL)
            return
        while len(self._workers) < self._settings.workers and time.monotonic() >= self._start_at:
            if self._is_first_starting:
                return
            self._start()

    def _start(self) -> None:
        says, told = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            self._become_worker(says, told)
        os.close(told)
        self._workers[pid] = _Worker(pid, time.monotonic())
        self._starting[says] = pid

    def _become_worker(self, says: int, told: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (*_ENDS, signal.SIGCHLD):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, signal.default_int_handler if number is signal.SIGINT else signal.SIG_DFL)
            os.setpgid(0, 0)  # Ctrl-C is for the process that started this one
            for descriptor in (says, self._kept, *self._starting):
                os.close(descriptor)
            self._woken.close()
            self._wakes.close()
            _end_with(self._alive)

            def tell(text: str) -> None:
                os.write(told, text.encode())
                os.close(told)

            code = self._work(self._settings, tell)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except KeyboardInterrupt:
            code = 130
        except BaseException:  # noqa: BLE001 - nothing of the other process may run here
            sys.excepthook(*sys.exc_info())
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)

    def _hear(self, says: int) -> None:
        text = os.read(says, _READ_BYTES)
        os.close(says)
        pid = self._starting.pop(says)
        if not text:  # it has ended
            return
        self._ready.add(pid)
        self._ready_line = self._ready_line or text
        if not self._is_told and len(self._ready) == self._settings.workers:
            self._is_told = True
            self._tell(self._ready_line.decode())

    def _receive(self, number: signal.Signals) -> None:
        if number is signal.SIGCHLD:
            self._reap()
        elif number is signal.SIGHUP and (self._settings.audit_file or self._stop is not None):
            self._send(number)
        elif self._stop is None:
            self._stop = number
            self._exit_code = 128 + number if number is signal.SIGINT else 0
            self._end_all()
        else:
            self._exit_code = 128 + number
            self._send(signal.SIGKILL)

    def _end_all(self) -> None:
        self._start_at = time.monotonic() + self._settings.stop_grace_seconds + KILL_SECONDS
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        for pid in self._workers:
            os.kill(pid, number)  # not reaped yet, so it is no other process

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            if worker := self._workers.pop(pid, None):
                self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: _Worker, code: int) -> None:
        if self._stop is not None:
            self._exit_code = self._exit_code or max(code, 0)
            return
        was_ready = worker.pid in self._ready
        self._ready.discard(worker.pid)
        if not was_ready and not self._ready:  # none serves, and this one could not begin: it has said why
            self._stop, self._exit_code = signal.SIGTERM, code if code > 0 else 1
            self._end_all()
            return
        _log.warning("a worker has ended", pid=worker.pid, code=code, others=len(self._workers))
        if time.monotonic() - worker.started_at > LAST_DELAY_SECONDS:
            self._delay_seconds = FIRST_DELAY_SECONDS
        self._start_at = time.monotonic() + self._delay_seconds
        self._delay_seconds = min(2 * self._delay_seconds, LAST_DELAY_SECONDS)


def _end_with(alive: int) -> None:
    """Send this process SIGTERM when the other end of a pipe is closed."""
    import threading  # noqa: PLC0415 - the process that forks has none

    def wait() -> None:
        os.read(alive, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()
