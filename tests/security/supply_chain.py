"""What others get from us, and what it brings along: `make audit`.

    make audit                        # into dist/: the wheel, and the bill of materials; then the advisories
    make audit ARGS="--service osv"   # ask another advisory service; --osv-url URL asks a mirror of that one

The wheel is built twice, from this checkout and from its source distribution, and both must be the same bytes. The bill
of materials is CycloneDX: what `lamina[server,cli]` installs on this platform, with licences and the graph of
dependencies. Both work without a network. The advisories come from a service on the network: known vulnerabilities in
all versions of all locks, for any platform. It fails if it cannot ask, because silence is no good news.
"""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent.parent
DIST = ROOT / "dist"
LOCKS = ("requirements.lock", "tests/requirements.lock", "tests/benchmarks/requirements.lock")
PRODUCT, EXTRAS = "lamina", ("", "server", "cli")
SERVICES = ("pypi", "osv", "esms")


class AuditError(Exception):
    """Something is wrong with what others get, or could not be checked."""


def main() -> None:
    """Do all three, and exit with 1 if one of them fails."""
    parser = argparse.ArgumentParser(prog="make audit", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--service", choices=SERVICES, default=SERVICES[0], help="who is asked for advisories")
    parser.add_argument("--osv-url", metavar="URL", help="a mirror of the service osv")
    given = parser.parse_args()
    try:
        wheel = build_twice(DIST)
        print(f"{wheel.relative_to(ROOT)}: built twice, sha256 {sha256(wheel)}")
        materials = DIST / "lamina.cdx.json"
        bill = bill_of_materials()
        materials.write_text(json.dumps(bill, indent=2) + "\n", encoding="utf-8")
        print(f"{materials.relative_to(ROOT)}: {len(bill['components'])} packages")
        print(f"no known vulnerabilities in {ask_for_advisories(given.service, given.osv_url)} locked packages")
    except AuditError as error:
        sys.exit(f"make audit: {error}")


# --- the wheel --------------------------------------------------------------------------------------------------------


def build_twice(into: Path) -> Path:
    """Build the wheel in two ways; return its path. AuditError if they differ."""
    with tempfile.TemporaryDirectory() as folder:
        first = build(Path(folder), "--wheel")
        second = build(into)  # the source distribution, and from that the wheel
        if sha256(first) != sha256(second):
            raise AuditError(
                f"the wheel is not reproducible: from the checkout it has the sha256 {sha256(first)}, and from the "
                f"source distribution {sha256(second)}; is there a file that does not belong into a package?"
            )
    return second


def build(into: Path, *options: str, source: Path = ROOT, environment: Mapping[str, str] | None = None) -> Path:
    """Build the wheel with the locked hatchling, without a network; return its path.

    Files have hatchling's own constant date in it, so a date from the environment would be another wheel.
    """
    given = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    program = [sys.executable, "-m", "build", "--no-isolation", *options, "--outdir", str(into), str(source)]
    done = subprocess.run(program, env={**given, **(environment or {})}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AuditError(f"the wheel could not be built:\n{done.stdout}{done.stderr}")
    name: str = re.findall(r"\S+\.whl", done.stdout)[-1]
    return into / name


def sha256(file: Path) -> str:
    """Return the SHA-256 of a file, as `sha256sum` prints it."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


# --- the bill of materials --------------------------------------------------------------------------------------------


def bill_of_materials() -> dict[str, Any]:
    """Return what the product installs here, in CycloneDX, made from the environment, which has much more."""
    program = [
        *(sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", str(ROOT / "pyproject.toml")),
        *("--no-validate", "--output-reproducible", "--output-file", "-", sys.executable),
    ]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AuditError(f"no bill of materials could be made:\n{done.stderr}")
    bill: dict[str, Any] = json.loads(done.stdout)
    root = bill["metadata"]["component"]["bom-ref"]
    refs = {canonicalize_name(each["name"]): each["bom-ref"] for each in bill["components"]} | {PRODUCT: root}
    needs = installed()
    edges = {refs[name]: sorted(refs[each] for each in needed) for name, needed in needs.items()}
    bill["components"] = [each for each in bill["components"] if each["bom-ref"] in edges]
    bill["dependencies"] = [
        {"ref": ref, **({"dependsOn": needed} if needed else {})} for ref, needed in sorted(edges.items())
    ]
    return bill


def installed() -> dict[str, set[str]]:
    """Return what the product and each of its packages need, by names.

    cyclonedx-py cannot say this: to it, a package also needs all of its extras that happen to be there.
    """
    needs: dict[str, set[str]] = {}
    seen, left = {(PRODUCT, extra) for extra in EXTRAS}, [(PRODUCT, extra) for extra in EXTRAS]
    while left:
        name, extra = left.pop()
        needs.setdefault(name, set())
        for requirement in map(Requirement, _required(name, extra)):
            if not requirement.marker or requirement.marker.evaluate({"extra": extra}):
                needed = canonicalize_name(requirement.name)
                needs[name].add(needed)
                new = {(needed, each) for each in ("", *requirement.extras)} - seen
                seen |= new
                left += sorted(new)
    return needs


def _required(name: str, extra: str) -> Iterable[str]:
    if name != PRODUCT:
        return requires(name) or ()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: list[str] = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return found


# --- the advisories ---------------------------------------------------------------------------------------------------


def locked() -> list[list[str]]:
    """Return all locked packages for any platform, as `name==version`, in lists with one version of a package each."""
    text = "\n".join((ROOT / lock).read_text(encoding="utf-8") for lock in LOCKS)
    pinned = re.findall(r"^([a-z0-9-]+)(?:\[[a-z0-9,-]+\])?==([^ ;]+)", text, re.MULTILINE)
    versions: dict[str, list[str]] = {}
    for name, version in sorted(set(pinned)):
        versions.setdefault(name, []).append(f"{name}=={version}")
    most = max(len(each) for each in versions.values())
    return [[each[place] for each in versions.values() if place < len(each)] for place in range(most)]


def ask_for_advisories(service: str, osv_url: str | None = None) -> int:
    """Return how many packages have no known vulnerability. AuditError if one has, or if one could not be audited."""
    asked = locked()
    options = [f"--vulnerability-service={service}", *([f"--osv-url={osv_url}"] if osv_url else [])]
    judge([each for packages in asked for each in _audited(packages, service, options)], service)
    return sum(map(len, asked))


def _audited(packages: list[str], service: str, options: list[str]) -> list[dict[str, Any]]:
    """Return what pip-audit says about each package."""
    with tempfile.TemporaryDirectory() as folder:
        listed, answer = Path(folder) / "requirements.txt", Path(folder) / "answer.json"
        listed.write_text("\n".join(packages) + "\n", encoding="utf-8")
        program = [
            *(sys.executable, "-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner=off"),
            *(*options, "--format=json", f"--output={answer}", f"--requirement={listed}"),
        ]
        done = subprocess.run(program, capture_output=True, text=True, check=False)
        if not answer.exists():
            last = (done.stderr.splitlines() or ["it says nothing"])[-1]
            raise AuditError(
                f"nothing was audited, because the advisory service {service!r} did not answer: {last}\n"
                f"It needs the network. {_other(service)}"
            )
        dependencies: list[dict[str, Any]] = json.loads(answer.read_text(encoding="utf-8"))["dependencies"]
        return dependencies


def judge(found: list[dict[str, Any]], service: str) -> None:
    """Raise AuditError if a package is vulnerable, or was not audited: pip-audit calls that a success."""
    flaws = [
        f"  {each['name']} {each['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version'}"
        for each in found
        for flaw in each.get("vulns", ())
    ]
    if flaws:
        raise AuditError("\n".join(["known vulnerabilities in locked packages:", *flaws]))
    skipped = [each["name"] for each in found if "skip_reason" in each]
    if skipped:
        shown = ", ".join(skipped[:5]) + (", …" if len(skipped) > 5 else "")
        raise AuditError(
            f"{len(skipped)} of {len(found)} packages could not be audited, because the advisory service {service!r} "
            f"does not know them: {shown}\nPerhaps a mirror without advisories stands before it. {_other(service)}"
        )


def _other(service: str) -> str:
    other = next(each for each in SERVICES if each != service)
    return f'Another service: make audit ARGS="--service {other}"'


if __name__ == "__main__":
    main()
