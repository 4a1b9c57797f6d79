"""The verb that runs a command with the map as its environment: exec. processes/supervisor.py keeps it running."""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import click

import lamina
from lamina.cli import formats
from lamina.cli.arguments.options import POINT, Seconds, Verb, chosen
from lamina.cli.candidates import COMMAND, CONFIG
from lamina.cli.errors import Refusal, exit_code, explain, tell
from lamina.cli.formats.env import EnvFileError
from lamina.cli.output.screen import emit
from lamina.cli.output.secrets import contents, masked
from lamina.cli.processes.environment import laid_over, room_for, variables
from lamina.cli.processes.restart_policy import RestartPolicy
from lamina.cli.processes.supervisor import Plan, Supervisor, end_as, not_started
from lamina.cli.selection import prefix_option, selected, upper_option
from lamina.cli.session import connected

_PREFIX: Final = "LAMINA_EXEC_"
_COMMAND_WORDS: Final = "lamina.cli.exec.command_words"
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0
"""The pauses before the config is read again after a definite error, which somebody must solve first."""
_END_SECONDS: Final = 1.0
"""The thread that follows the config has this long to end; it needs milliseconds."""
_NEVER: Final = 2**63 - 1
"""No version has this number: a wait for it lasts until the end."""
_DAY_SECONDS: Final = 86400
_SECONDS: Final = Seconds(most=_DAY_SECONDS)
_RESTORED: Final = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores these signals, and the command would inherit that."""
_OF_RESTART: Final = {"number": "--signal", "grace": "--grace", "jitter": "--jitter"}


class _ExecVerb(Verb):
    """Counts the words after the first `--`: they are the command, and those before it are keys."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments."""
        if "--" in args:
            ctx.meta[_COMMAND_WORDS] = len(args) - args.index("--") - 1
        return super().parse_args(ctx, args)


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


@dataclass(frozen=True, slots=True)
class _Environment:
    """The keys of a map that become a command's environment, and the command."""

    command: tuple[str, ...]
    keys: tuple[str, ...]
    prefixes: tuple[str, ...]
    upper: bool

    def plan(self, shown: lamina.Snapshot) -> Plan:
        """Return the plan for the command. Raise Refusal if this map cannot be its environment."""
        try:
            found = variables(contents(selected(shown, self.keys, self.prefixes)), upper=self.upper)
        except EnvFileError as error:
            raise Refusal(str(error)) from None
        except lamina.LaminaError as error:
            raise Refusal(str(error), exit_code(error)) from None
        environment = laid_over(found | {f"{_PREFIX}CONFIG": shown.config, f"{_PREFIX}VERSION": str(shown.version)})
        if not room_for(environment, self.command):
            raise Refusal(f"env cannot hold {shown.config}: as a whole it is longer than the system takes")
        return Plan(found, shown.version, environment)

    def show(self, shown: lamina.Snapshot) -> None:
        """Print the variables of the map. A secret is a comment: what is printed may be read by a shell."""
        try:
            emit(formats.shell(masked(selected(shown, self.keys, self.prefixes)), upper=self.upper))
        except formats.FormatError as error:
            raise Refusal(str(error)) from None


@click.command("exec", cls=_ExecVerb, outputs=("text",))
@click.argument("config", type=CONFIG)
@click.argument("words", metavar="[KEY]... -- CMD...", nargs=-1, type=COMMAND)
@prefix_option
@upper_option
@click.option("--at", "point", type=POINT, help="The map as it was then [now].")
@click.option("--dry-run", is_flag=True, help="Start nothing; print the variables. It needs no CMD.")
@click.option("--restart", is_flag=True, help="Restart the command when its environment changes.")
@click.option("--signal", "number", type=_SignalType(), help="With --restart: asks CMD to end [TERM].")
@click.option("--grace", type=_SECONDS, metavar="SECONDS", help="With --restart: then kill it, in a day at most [10].")
@click.option(
    "--jitter", type=_SECONDS, metavar="SECONDS", help="With --restart: wait up to so long, a day at most [0]."
)
@click.pass_context
def exec_verb(
    ctx: click.Context,
    config: str,
    words: tuple[str, ...],
    prefixes: tuple[str, ...],
    point: int | datetime | None,
    *,
    upper: bool,
    dry_run: bool,
    restart: bool,
    number: int | None,
    grace: float | None,
    jitter: float | None,
) -> None:
    """Run a command in place of this process, with the map, or some of its keys, as environment: db/host is db_host.

    Secrets are in the clear. If no server answers, the map is that of the last time, if it has no secrets. Exit code
    126 means that CMD does not start, 127 that there is none.

    --restart also ends all that CMD has started, and passes signals on.
    """
    chosen(ctx).output(("text",))
    named = max(len(words) - ctx.meta.get(_COMMAND_WORDS, len(words)), 0)
    keys, command = words[:named], words[named:]
    if not (command and command[0]) and not dry_run:
        raise click.UsageError("CMD is missing: write it after --" if not command else "CMD is empty")
    wanted = _Environment(command, keys, prefixes, upper)
    if dry_run:
        with connected(ctx) as client:
            wanted.show(client.config(config).at(point) if point is not None else _newest(client, config))
        return
    if not restart:
        for name, option in _OF_RESTART.items():
            if ctx.params[name] is not None:
                raise click.UsageError(f"{option} is for --restart")
        with connected(ctx) as client:
            shown = _newest(client, config) if point is None else client.config(config).at(point)
        _become(command, wanted.plan(shown))
    if point is not None:
        raise click.UsageError("--restart follows the head: --at is not for it")
    policy = _policy(number or signal.SIGTERM, 10 if grace is None else grace, jitter or 0)
    ctx.exit(end_as(_supervise(ctx, config, wanted, policy)))


def _newest(client: lamina.Client, config: str) -> lamina.Snapshot:
    """Return the newest version; if no server answers, the version in the last-known-good file."""
    with client.live(config) as live:
        return live.current


def _policy(number: int, grace: float, jitter: float) -> "Callable[[Plan], RestartPolicy[Plan]]":
    def make(plan: Plan) -> RestartPolicy[Plan]:
        spread = random.SystemRandom()  # forked processes must not have the same random numbers
        return RestartPolicy(plan, number=number, grace_seconds=grace, jitter=lambda: spread.uniform(0, jitter))

    return make


def _supervise(
    ctx: click.Context, config: str, wanted: _Environment, policy: "Callable[[Plan], RestartPolicy[Plan]]"
) -> int:
    """Run the command until it ends for good; return its exit code, or minus the number of a signal."""
    with connected(ctx) as client:
        following = _Following(ctx, client, config, wanted)
        supervisor = Supervisor(wanted.command, policy(following.plan()))
        following.start(supervisor.changed)
        try:
            return supervisor.run()
        finally:
            following.close()


class _Following:
    """Follows the config on its own thread. The command continues, whatever the server answers."""

    def __init__(self, ctx: click.Context, client: lamina.Client, config: str, wanted: _Environment) -> None:
        self._ctx, self._client, self._wanted = ctx, client, wanted
        self._live = client.live(config)
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._told = ""

    def plan(self) -> Plan:
        """Return the plan of the newest map."""
        return self._wanted.plan(self._live.current)

    def start(self, changed: Callable[[Plan], None]) -> None:
        """Start following; call `changed` with each new plan."""
        self._changed = changed
        self._thread = threading.Thread(target=self._run, name="lamina-follow", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._over.set()
        self._client.close()
        self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        self._until_refused(self._follow)
        pause = _FIRST_PAUSE_SECONDS
        while not self._over.wait(pause):
            begun = time.monotonic()
            self._until_refused(self._begin_again)
            lasted = time.monotonic() - begun
            pause = _FIRST_PAUSE_SECONDS if lasted > _LONGEST_PAUSE_SECONDS else min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _until_refused(self, follow: Callable[[], None]) -> None:
        """Follow until a definite error, as after a restored backup or with an expired token."""
        try:
            follow()
        except lamina.LaminaError as error:
            text = explain(error)
            self._tell_once(f"{text}; the command runs on, and {self._live.name} is asked for again")

    def _begin_again(self) -> None:
        """Read the head with a new client: the old one has seen versions that the server may have lost."""
        with connected(self._ctx) as client:
            self._client = client
            if self._over.is_set():  # `close` may have run already, and has closed only the earlier client
                return
            self._live = client.live(self._live.name)
            self._follow()

    def _follow(self) -> None:
        self._live.on_change(lambda _: self._take())
        self._take()  # a version may have arrived before `on_change` was registered
        self._live.wait(_NEVER, threading.TIMEOUT_MAX)

    def _take(self) -> None:
        with self._lock:  # otherwise an older map could overtake a newer one
            current = self._live.current
            try:
                plan = self._wanted.plan(current)
            except Refusal as refusal:
                self._tell_once(f"version {current.version}: {refusal}; the command runs on with the version it has")
                return
            self._told = ""
            self._changed(plan)

    def _tell_once(self, text: str) -> None:
        if text != self._told and not self._over.is_set():
            tell(text)
        self._told = text


def _become(command: Sequence[str], plan: Plan) -> None:
    """Replace this process by the command."""
    sys.stdout.flush()
    for number in _RESTORED:
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), plan.environment)  # noqa: S606 - the user's own command
    except OSError as error:
        raise not_started(command, error) from None
