"""Keep the settings of a running PostgreSQL and of this machine's kernel in Lamina, and see what changes.

    .venv/bin/python client/examples/machine_settings.py --postgres postgresql://localhost/postgres

Run it once, change something (`ALTER SYSTEM SET work_mem = '8MB'; SELECT pg_reload_conf();`), run it again: the second
run commits just what is different now, and prints it. Needs `psycopg` for PostgreSQL and `sysctl` for the kernel; takes
whichever of the two it is given or finds.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import lamina


def postgres_settings(url: str) -> dict[str, lamina.Value]:
    """Read every setting of a PostgreSQL server, as a new session would have it, with its own type."""
    import psycopg  # noqa: PLC0415 - the other half of the example works without it

    query = "SELECT name, COALESCE(reset_val, setting), vartype FROM pg_settings ORDER BY name"
    with psycopg.connect(url) as connection:
        return {name: _typed(text, vartype) for name, text, vartype in connection.execute(query)}


def kernel_settings() -> dict[str, lamina.Value]:
    """Read the kernel's settings as `sysctl -a` prints them: numbers as integers, several numbers as a list."""
    printed = subprocess.run(["sysctl", "-a"], check=False, capture_output=True, text=True).stdout  # noqa: S607
    settings: dict[str, lamina.Value] = {}
    for line in printed.splitlines():
        name, separator, text = line.partition(" = ")
        if separator:
            settings[name.strip()] = _number_or_text(text)
    return settings


def bring_up_to_date(cfg: lamina.Config, settings: Mapping[str, Any], message: str) -> lamina.Version:
    """Make a config equal to what was read, in one commit of what differs."""
    for key in cfg.keys() - settings.keys():
        del cfg[key]
    cfg.update(settings)  # setting an equal value is no change
    return cfg.commit(message)


def report(cfg: lamina.Config) -> None:
    """Print what the newest version changed, and how often those keys were changed before."""
    version = cfg.version
    print(f"{cfg.name} is at version {version} with {len(cfg)} settings")
    if version > 1:
        for key, change in cfg.diff(version - 1, version).items():
            print(f"  {key}: {change.old!r} -> {change.new!r} ({sum(1 for _ in cfg.history(key))} values so far)")


def _typed(text: str, vartype: str) -> lamina.Value:
    match vartype:
        case "bool":
            return text == "on"
        case "integer":
            return int(text)
        case "real":
            return float(text)
        case _:
            return text


def _number_or_text(text: str) -> lamina.Value:
    try:
        numbers = [int(word) for word in text.split()]
    except ValueError:
        return text
    if not numbers or any(number.bit_length() > 63 for number in numbers):  # noqa: PLR2004 - a signed 64-bit integer has no more
        return text
    return numbers[0] if len(numbers) == 1 else numbers


def main() -> None:
    """Commit what is set now, and report it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", help="the server's address; otherwise LAMINA_TARGET or localhost:7440")
    parser.add_argument("--postgres", metavar="URL", help="the PostgreSQL server to read")
    options = parser.parse_args()
    sources = {}
    if options.postgres:
        sources["machine/postgresql"] = postgres_settings(options.postgres)
    if shutil.which("sysctl"):
        sources["machine/sysctl"] = kernel_settings()
    if not sources:
        sys.exit("nothing to read: give --postgres URL, or install sysctl (Debian: apt install procps)")
    with lamina.connect(options.target) as client:
        for name, settings in sources.items():
            cfg = client.config(name, create=True)
            bring_up_to_date(cfg, settings, "as it is set now")
            report(cfg)


if __name__ == "__main__":
    main()
