"""The verb that runs a command with the map as its environment: exec. restarting.py keeps it running."""

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import click

import lamina
from lamina.cli.arguments.options import POINT, Seconds, Verb, chosen
from lamina.cli.candidates import COMMAND, CONFIG
from lamina.cli.errors import Refusal, explain, tell
from lamina.cli.formats.env import EnvFileError
from lamina.cli.processes.environment import laid_over, room_for, variables
from lamina.cli.processes.restart_policy import RestartPolicy
from lamina.cli.processes.supervisor import Plan, Supervisor, end_as, not_started
from lamina.cli.session import connected

_PREFIX: Final = "LAMINA_EXEC_"
_AGAIN_SECONDS: Final = 5.0
"""So long after a definite error the config is asked for again: somebody must mend what it tells first."""
_END_SECONDS: Final = 1.0
"""So long the thread that follows is waited for: it is told to end by then, which takes milliseconds to be seen."""
_NEVER: Final = 2**63 - 1
"""No version comes to have this number: who waits for it waits for the end."""
_DAY_SECONDS: Final = 86400.0
_SECONDS: Final = Seconds(min=0, max=_DAY_SECONDS)
_RESTORED: Final = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores these, and a program would inherit that."""
_OF_RESTART: Final = {"number": "--signal", "grace": "--grace", "jitter": "--jitter"}


class _SignalType(click.ParamType[int]):
    """A signal by its name, with SIG or without, or by its number."""

    name = "SIGNAL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Find the signal."""
        text = str(value).upper()
        try:
            return signal.Signals(int(text)) if text.isdigit() else signal.Signals[f"SIG{text.removeprefix('SIG')}"]
        except (KeyError, ValueError):
            return self.fail(f"there is no signal {value}", param, ctx)


@click.command("exec", cls=Verb, outputs=("text",))
@click.argument("config", type=CONFIG)
@click.argument("command", metavar="-- CMD...", nargs=-1, required=True, type=COMMAND)
@click.option("--at", "point", type=POINT, help="With the map as it was then [now].")
@click.option("--restart", is_flag=True, help="Follow the config, and restart the command when its map changes.")
@click.option("--signal", "number", type=_SignalType(), help="With --restart: what asks the command to end [TERM].")
@click.option("--grace", type=_SECONDS, metavar="SECONDS", help="With --restart: when it is killed then [10].")
@click.option("--jitter", type=_SECONDS, metavar="SECONDS", help="With --restart: wait up to so long before it [0].")
@click.pass_context
def exec_verb(
    ctx: click.Context,
    config: str,
    command: tuple[str, ...],
    point: int | datetime | None,
    *,
    restart: bool,
    number: int | None,
    grace: float | None,
    jitter: float | None,
) -> None:
    """Run a command with the map as environment, instead of this one.

    The variables are those of get -o env, over this process's own; LAMINA_EXEC_CONFIG and LAMINA_EXEC_VERSION tell what
    they are of. Signals and the exit code are the command's own; 126 if it does not start, 127 if there is none.

    If no server answers within --timeout, it is the map of the last time, from the file in LAMINA_CACHE_DIR.

    With --restart, this process stays above the command, and restarts it when a version changes what its environment
    holds: it sends the command, and all that it started, SIGTERM, after the grace SIGKILL, and starts it with the
    newest map. Signals are passed on, and it ends when the command ends by itself, with its exit code.
    """
    chosen(ctx).output(("text",))
    if not command[0]:
        raise click.UsageError("CMD is empty")
    if not restart:
        for name, option in _OF_RESTART.items():
            if ctx.params[name] is not None:
                raise click.UsageError(f"{option} is for --restart")
        with connected(ctx) as client:
            shown = _newest(client, config) if point is None else client.config(config).at(point)
        _become(command, _plan(shown, command))
    if point is not None:
        raise click.UsageError("--restart follows the head: --at is not for it")
    supervisor = _supervisor(number or signal.SIGTERM, 10 if grace is None else grace, jitter or 0)
    ctx.exit(end_as(_kept(ctx, config, command, supervisor)))


def _newest(client: lamina.Client, config: str) -> lamina.Snapshot:
    """Give the newest version, where no server answers that of the last-known-good file."""
    with client.live(config) as live:
        return live.current


def _supervisor(number: int, grace: float, jitter: float) -> "Callable[[Plan], RestartPolicy[Plan]]":
    def make(plan: Plan) -> RestartPolicy[Plan]:
        spread = random.SystemRandom()  # of its own for each process, even of those that were forked from one
        return RestartPolicy(plan, number=number, grace_seconds=grace, jitter=lambda: spread.uniform(0, jitter))

    return make


def _kept(
    ctx: click.Context, config: str, command: Sequence[str], supervisor: "Callable[[Plan], RestartPolicy[Plan]]"
) -> int:
    with connected(ctx) as client:
        following = _Following(ctx, client, config, command)
        keeper = Supervisor(command, supervisor(following.plan()))
        following.start(keeper.changed)
        try:
            return keeper.run()
        finally:
            following.close()


class _Following:
    """Follows the config on a thread of its own. Whatever the server answers, the command runs on."""

    def __init__(self, ctx: click.Context, client: lamina.Client, config: str, command: Sequence[str]) -> None:
        self._ctx, self._client, self._command = ctx, client, command
        self._live = client.live(config)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._told = ""

    def plan(self) -> Plan:
        """Give what there is now as a plan."""
        return _plan(self._live.current, self._command)

    def start(self, changed: Callable[[Plan], None]) -> None:
        """Follow from there; `changed` gets each plan."""
        self._changed = changed
        self._thread = threading.Thread(target=self._run, name="lamina-follow", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._over.set()
        self._client.close()
        self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        self._until_refused(self._follow)
        while not self._over.wait(_AGAIN_SECONDS):
            self._until_refused(self._begin_again)

    def _until_refused(self, follow: Callable[[], None]) -> None:
        """Follow until the server refuses it for good, as after a restored backup, or with a token that is spent."""
        try:
            follow()
        except lamina.LaminaError as error:
            text = explain(error, self._client.target)
            self._tell_once(f"{text}; the command runs on, and {self._live.name} is asked for again")

    def _begin_again(self) -> None:
        """Read the head anew, by another client: this one has seen a past that may not be there any more."""
        with connected(self._ctx) as client:
            self._client = client
            if self._over.is_set():  # before it could be seen that there is another client to close
                return
            self._live = client.live(self._live.name)
            self._follow()

    def _follow(self) -> None:
        self._live.on_change(lambda _: self._take())
        self._take()  # what came before the function was there
        self._live.wait(_NEVER, threading.TIMEOUT_MAX)

    def _take(self) -> None:
        with self._lock:  # or what is shown now could be overtaken by what was shown before
            current = self._live.current
            try:
                plan = _plan(current, self._command)
            except Refusal as refusal:
                self._tell_once(f"version {current.version}: {refusal}; the command runs on with the version it has")
                return
            self._told = ""
            self._changed(plan)

    def _tell_once(self, text: str) -> None:
        if text != self._told and not self._over.is_set():
            tell(text)
        self._told = text


def _plan(shown: lamina.Snapshot, command: Sequence[str]) -> Plan:
    try:
        found = variables(shown.to_dict())
    except EnvFileError as error:
        raise Refusal(str(error)) from None
    environment = laid_over(found | {f"{_PREFIX}CONFIG": shown.config, f"{_PREFIX}VERSION": str(shown.version)})
    if not room_for(environment, command):
        raise Refusal(f"env cannot hold {shown.config}: as a whole it is longer than the system takes")
    return Plan(found, shown.version, environment)


def _become(command: Sequence[str], plan: Plan) -> None:
    """Let the command take this process's place."""
    sys.stdout.flush()
    for number in _RESTORED:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), plan.environment)  # noqa: S606 - the user's own command
    except OSError as error:
        raise not_started(command, error) from None
