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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import NoReturn, TypeAlias

import structlog

from lamina_server.cli import streams
from lamina_server.cli.options import FAILED, INTERRUPTED
from lamina_server.cli.terminal import Terminal
from lamina_server.domain.record import record
from lamina_server.metrics.shared import Shared, shared
from lamina_server.rpc import transport
from lamina_server.rpc.transport import UnsafeError
from lamina_server.settings import Settings
from lamina_server.store import address
from lamina_server.store.address import SqliteAddress

FIRST_DELAY_SECONDS, LAST_DELAY_SECONDS = 0.2, 10.0
"""How long until a worker that has died is replaced: twice as long each time, until one has lived for the latter."""
KILL_SECONDS = 2.0
"""A worker ends within its grace by itself. After so much more time it is killed."""

Work: TypeAlias = Callable[[Settings, Callable[[str], None], Shared | None], int]
"""Serves with these settings, calls the function with the ready line, and returns the exit code."""

_READ_BYTES = 65_536
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

_log = structlog.get_logger(__name__)


def serve(settings: Settings, work: Work, tell: Callable[[str], None]) -> int:
    """Serve by several workers until a signal asks for the end; return the exit code.

    Raises UnsafeError or AddressError.
    """
    if isinstance(address.parse(settings.database), SqliteAddress):
        raise UnsafeError("a SQLite database is for one process: several workers need PostgreSQL", "workers")
    with transport.reserved(transport.parse(settings.listen)) as target, _shared_metrics(settings) as metrics:
        return _Workers(settings.model_copy(update={"listen": target}), work, tell, metrics).run()


@contextmanager
def _shared_metrics(settings: Settings) -> Iterator[Shared | None]:
    """Listen for scrapes, which the workers answer."""
    address = transport.parse_metrics(settings)
    if address is None:
        yield None
        return
    shown, sockets = transport.open_for_metrics(address)
    with ExitStack() as stack:
        try:
            metrics = stack.enter_context(shared(shown, sockets, address.path, settings.workers))
            transport.parse(f"unix:{metrics.path(settings.workers)}")  # it may be too long
        except (OSError, UnsafeError) as error:
            text = f"the metrics of several workers need a folder in TMPDIR for their sockets: {error}"
            raise UnsafeError(text, "metrics_listen") from None
        yield metrics


@record
class _Worker:
    """A process.

    number      from 0 on; that of a worker that has ended is given to the next
    says        the descriptor on which it will say that it is ready
    started_at  by a steady clock
    """

    pid: int
    number: int
    says: int
    started_at: float


class _Workers:
    def __init__(self, settings: Settings, work: Work, tell: Callable[[str], None], metrics: Shared | None) -> None:
        self._settings = settings
        self._work = work
        self._tell = tell
        self._metrics = metrics
        self._workers: dict[int, _Worker] = {}
        self._starting: dict[int, int] = {}  # the descriptor on which a worker will say that it is ready: its pid
        self._ready: set[int] = set()
        self._ready_line = b""
        self._is_told = False
        self._delay_seconds = FIRST_DELAY_SECONDS
        self._start_at = time.monotonic()
        self._kill_at: float | None = None
        self._stop: signal.Signals | None = None
        self._terminal = Terminal()
        self._exit_code = 0
        # A worker reads from it, and ends when this process has gone, however it went.
        self._alive, self._kept = os.pipe()
        self._woken, self._wakes = socket.socketpair()
        for end in (self._woken, self._wakes):
            os.set_blocking(end.fileno(), False)

    def run(self) -> int:
        gc.freeze()  # so that a collection in a worker does not copy the memory that they share
        is_under_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        for number in _SIGNALS:
            if number is not signal.SIGHUP or self._settings.audit_file or not is_under_nohup:
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
            return None if self._kill_at is None else max(self._kill_at - time.monotonic(), 0)
        is_missing = len(self._workers) < self._settings.workers and not self._is_first_starting
        return max(self._start_at - time.monotonic(), 0) if is_missing else None

    @property
    def _is_first_starting(self) -> bool:
        """Return whether the others wait: the first makes the tables, and the first admin."""
        return not self._ready_line and bool(self._workers)

    def _start_missing(self) -> None:
        if self._stop is not None:
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                self._kill_at = None
                _log.error("workers did not end within the grace: killed", pids=list(self._workers))
                self._send(signal.SIGKILL)
            return
        while len(self._workers) < self._settings.workers and time.monotonic() >= self._start_at:
            if self._is_first_starting:
                return
            self._start()

    def _start(self) -> None:
        streams.flush()
        try:
            says, told = os.pipe()
        except OSError as error:
            self._start_later(error)
            return
        number = min(set(range(self._settings.workers)) - {each.number for each in self._workers.values()})
        # Until it has its own handlers, a signal to the new process would reach this one through the shared socket.
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if not pid:
                self._become_worker(number, says, told, unblocked)
        except OSError as error:
            os.close(says)
            self._start_later(error)
        else:
            self._workers[pid] = _Worker(pid, number, says, time.monotonic())
            self._starting[says] = pid
        finally:
            os.close(told)
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)

    def _start_later(self, error: OSError | None = None) -> None:
        if error:
            _log.warning("a worker cannot be started", reason=error.strerror, others=len(self._workers))
        self._start_at = time.monotonic() + self._delay_seconds
        self._delay_seconds = min(2 * self._delay_seconds, LAST_DELAY_SECONDS)

    def _become_worker(self, number: int, says: int, told: int, unblocked: set[int | signal.Signals]) -> NoReturn:
        code = FAILED
        try:
            signal.set_wakeup_fd(-1)
            for each in _SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the process that started this one knows what it means
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
            for descriptor in (says, self._kept, *self._starting):
                os.close(descriptor)
            self._woken.close()
            self._wakes.close()
            _end_with(self._alive)

            def tell(text: str) -> None:
                os.write(told, text.encode())
                os.close(told)

            code = self._work(self._settings, tell, self._metrics and replace(self._metrics, number=number))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else FAILED
        except KeyboardInterrupt:
            code = INTERRUPTED
        except BaseException:  # noqa: BLE001 - nothing of the other process may run here
            sys.excepthook(*sys.exc_info())
        finally:
            streams.flush()
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
        elif number is signal.SIGHUP and self._settings.audit_file and not self._terminal.has_gone:
            self._send(number)  # they open the file anew
        elif self._stop is None:
            self._stop = number
            self._exit_code = 128 + number if number is signal.SIGINT else 0
            self._end_all()
        elif number is not signal.SIGHUP:  # a terminal that goes away sends it more than once
            self._exit_code = 128 + number
            self._send(signal.SIGKILL)

    def _end_all(self) -> None:
        self._kill_at = time.monotonic() + self._settings.stop_grace_seconds + KILL_SECONDS
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
        if worker.says in self._starting:  # it may have been ready just before
            self._hear(worker.says)
        if self._stop is not None:
            self._exit_code = self._exit_code or (FAILED if code == -signal.SIGKILL else max(code, 0))
            return
        was_ready = worker.pid in self._ready
        self._ready.discard(worker.pid)
        if not was_ready and not self._ready:  # none serves, and this one could not begin: it has said why
            self._stop, self._exit_code = signal.SIGTERM, code if code > 0 else FAILED
            self._end_all()
            return
        _log.warning("a worker has ended", pid=worker.pid, code=code, others=len(self._workers))
        if time.monotonic() - worker.started_at > LAST_DELAY_SECONDS:
            self._delay_seconds = FIRST_DELAY_SECONDS
        self._start_later()


def _end_with(alive: int) -> None:
    """Send this process SIGTERM when the other end of a pipe is closed."""
    import threading  # noqa: PLC0415 - the process that forks has none

    def wait() -> None:
        os.read(alive, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()
