"""What the commands print of a check, or of an upgrade, of a database."""

import gc
import sys
from typing import TYPE_CHECKING

import click

from lamina_server.cli.streams import say
from lamina_server.store.contract import Upgrade

if TYPE_CHECKING:
    from lamina_server.store.verify.walk import Verification


def upgraded(upgrade: Upgrade | None) -> str:
    """Return what follows the name of a database that was upgraded; nothing if it was not."""
    if upgrade is None:
        return ""
    backup = f", with a backup from before it in {upgrade.backup}" if upgrade.backup else ""
    return f", upgraded from schema {upgrade.before} to {upgrade.after}{backup}"


def report(verification: "Verification") -> bool:
    """Print each finding at once, with a progress bar on a terminal. Return whether anything is broken."""
    broken = False
    gc.disable()  # millions of rows and no reference cycle: searching for cycles would take a third of the time
    is_for_people = sys.stderr.isatty()
    with click.progressbar(
        length=verification.total(), label="verifying", file=sys.stderr, hidden=not is_for_people
    ) as bar:
        for finding in verification.findings(bar.update):
            broken = broken or finding.breaks
            if is_for_people:
                click.echo(err=True)  # below the bar
            say(f"{'broken' if finding.breaks else 'warning'}: {finding}")
    gc.enable()
    return broken
