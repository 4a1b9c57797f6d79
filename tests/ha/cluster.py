"""Three PostgreSQL with Patroni, one etcd and one HAProxy as processes of this machine, in a folder of their own.

Nobody ends them one by one when this process dies: run it in a namespace of processes (see __main__.py).
"""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psycopg

from tests.ha import page
from tests.support.postgres import children, find_bindir, unprivileged

NAMES = ("one", "two", "three")
HOST = "127.0.0.1"
LIMIT_SECONDS = 120.0
"""How long the cluster may take to be whole again: a leader that was killed is rewound, or copied."""
POLL_SECONDS = 0.1
ASK_SECONDS = 1.0


@dataclass(slots=True)
class Node:
    """One PostgreSQL and the Patroni that runs it; both die and freeze together, as on one machine."""

    name: str
    folder: Path
    port: int
    rest: int
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def data(self) -> Path:
        """Where the database's files are."""
        return self.folder / "data"

    def ask(self, path: str) -> Any:
        """Return what Patroni answers, or None if it does not, or says no."""
        with suppress(OSError, ValueError), urllib.request.urlopen(self._url(path), timeout=ASK_SECONDS) as reply:
            return json.load(reply)
        return None

    def leads(self) -> bool:
        """Return whether this is the leader, by the lock in etcd."""
        return self.ask("primary") is not None

    def processes(self) -> list[int]:
        """Return Patroni, the postmaster and its children, in this order."""
        assert self.process is not None
        postmaster = int((self.data / "postmaster.pid").read_text(encoding="ascii").split()[0])
        return [self.process.pid, postmaster, *children(postmaster)]

    def senders(self) -> list[int]:
        """Return the processes that send the log to standbys."""
        with self.connect() as connection:
            rows = connection.execute("SELECT pid FROM pg_stat_replication").fetchall()
        return [pid for (pid,) in rows]

    def connect(self) -> psycopg.Connection[Any]:
        """Connect as a superuser."""
        return psycopg.connect(host=HOST, port=self.port, user="postgres", dbname="postgres", autocommit=True)

    def freeze(self) -> list[int]:
        """Freeze all processes, Patroni first, so that nothing replaces what is frozen; return them."""
        frozen = self.processes()
        send(frozen, signal.SIGSTOP)
        late = [pid for pid in children(frozen[1]) if pid not in frozen]
        send(late, signal.SIGSTOP)
        return [*frozen, *late]

    def kill(self) -> None:
        """Kill all processes at once, as the loss of a machine would."""
        send(self.freeze(), signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def _url(self, path: str) -> str:
        return f"http://{HOST}:{self.rest}/{path}"


def send(processes: Sequence[int], number: int) -> None:
    """Send a signal to each of these processes that is still there."""
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


class Cluster:
    """The running cluster: `with Cluster(folder, synchronous=True) as cluster:` has it whole."""

    def __init__(self, folder: Path, *, synchronous: bool) -> None:
        self.synchronous = synchronous
        self._folder = folder
        self._account = unprivileged(folder)
        ports = _free_ports(3 + 2 * len(NAMES))
        self._etcd, self._peers, self._haproxy = ports[:3]
        self.nodes = [
            Node(name, self._own(name), ports[3 + 2 * number], ports[4 + 2 * number])
            for number, name in enumerate(NAMES)
        ]
        self._others: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self._start_etcd()
            for node in self.nodes:
                self.start(node)
            self.until_whole()
            with self.leader().connect() as connection:
                connection.execute("CREATE ROLE lamina LOGIN")
                connection.execute("CREATE DATABASE lamina OWNER lamina")
            self._start_haproxy()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for node in self.nodes:
            if node.process is not None:
                with suppress(FileNotFoundError):
                    node.kill()
                node.process.kill()
                node.process.wait()
        for process in self._others:
            process.kill()
            process.wait()

    @property
    def url(self) -> str:
        """The database's address, through HAProxy."""
        return f"postgresql+psycopg://lamina@{HOST}:{self._haproxy}/lamina"

    @property
    def all_hosts(self) -> str:
        """The database's address without HAProxy."""
        return f"postgresql://lamina@{','.join(f'{HOST}:{node.port}' for node in self.nodes)}/lamina"

    def start(self, node: Node) -> None:
        """Start Patroni, which starts PostgreSQL."""
        places = {
            "NAME": node.name,
            "REST": f"{HOST}:{node.rest}",
            "ETCD": f"{HOST}:{self._etcd}",
            "POSTGRESQL": f"{HOST}:{node.port}",
            "PROGRAMS": str(find_bindir()),
            "DATA": str(node.data),
            "PGPASS": str(node.folder / "pgpass"),
            "SOCKETS": str(node.folder),
        }
        settings = node.folder / "patroni.yml"
        settings.write_text(page.patroni(places, synchronous=self.synchronous), encoding="utf-8")
        node.process = self._run(node.name, "patroni", str(settings))

    def leader(self) -> Node:
        """Wait until there is a leader, and return it."""
        until("a leader", lambda: any(node.leads() for node in self.nodes))
        return next(node for node in self.nodes if node.leads())

    def until_led_by_another(self, old: Node) -> None:
        """Wait until another node than this one leads."""
        others = [node for node in self.nodes if node is not old]
        until("another leader", lambda: any(node.leads() for node in others))

    def until_whole(self) -> None:
        """Wait until all nodes are up, and those that the leader waits for follow it."""
        until("a whole cluster", self._whole)

    def _whole(self) -> bool:
        answers = [node.ask("cluster") for node in self.nodes]
        if not all(answers):
            return False
        members = answers[0]["members"]
        roles = [member["role"] for member in members]
        timelines = {member.get("timeline") for member in members}
        return (
            len(members) == len(NAMES)
            and roles.count("leader") == 1
            and roles.count("sync_standby") == int(self.synchronous)
            and len(timelines) == 1
            and all(member["state"] in {"running", "streaming"} for member in members)
        )

    def _start_etcd(self) -> None:
        client, peers = f"http://{HOST}:{self._etcd}", f"http://{HOST}:{self._peers}"
        self._others.append(
            self._run(
                "etcd",
                *("etcd", "--name", "one", "--data-dir", str(self._own("etcd") / "data")),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
                *("--initial-cluster", f"one={peers}"),
            )
        )
        until("etcd", lambda: listens(self._etcd))

    def _start_haproxy(self) -> None:
        places = {"HAPROXY": f"{HOST}:{self._haproxy}"}
        for node in self.nodes:
            name = node.name.upper()
            places[f"POSTGRESQL_{name}"] = f"{HOST}:{node.port}"
            places[f"HOST_{name}"], places[f"PORT_{name}"] = HOST, str(node.rest)
        settings = self._folder / "haproxy.cfg"
        settings.write_text(page.haproxy(places), encoding="utf-8")
        self._others.append(self._run("haproxy", "haproxy", "-db", "-f", str(settings)))
        until("HAProxy to reach the leader", self._answers)

    def _answers(self) -> bool:
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.url.replace("+psycopg", ""), connect_timeout=2).close()
            return True
        return False

    def _own(self, name: str) -> Path:
        """Make a folder for the account that programs run as."""
        folder = self._folder / name
        folder.mkdir(mode=0o700)
        unprivileged(folder)
        return folder

    def _run(self, log: str, *program: str) -> subprocess.Popen[bytes]:
        environment = {"PATH": f"{os.environ['PATH']}:/usr/sbin", "HOME": str(self._folder), "LC_ALL": "C.UTF-8"}
        with (self._folder / f"{log}.log").open("ab") as output:
            process: subprocess.Popen[bytes] = subprocess.Popen(
                program, stdout=output, stderr=subprocess.STDOUT, env=environment, cwd=self._folder, **self._account
            )
        return process


def until(what: str, happened: Callable[[], bool]) -> None:
    """Wait for something that nothing tells of; raise TimeoutError if it does not happen."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {LIMIT_SECONDS:.0f} s for {what}")
        time.sleep(POLL_SECONDS)


def listens(port: int) -> bool:
    """Return whether somebody listens at a port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody uses."""
    with _bound(count) as sockets:
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def _bound(count: int) -> Iterator[list[socket.socket]]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((HOST, 0))
        yield sockets
    finally:
        for one in sockets:
            one.close()
