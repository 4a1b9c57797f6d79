"""Builds a base image and the product's image with buildah, without a network registry of images.

The base has what the Dockerfile needs of `python:…-slim`: Debian's Python. Packages come from where apt and pip of this
machine get theirs.
"""

import configparser
import json
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "image"
BASE, IMAGE = "localhost/lamina-base", "localhost/lamina"
PACKAGES = "python3,python3-venv,ca-certificates"
_PATH = re.compile(r"(?:^|\s)(file://)?(/[^\s]+)")


@dataclass(frozen=True, slots=True)
class Image:
    """What an engine would run: the configuration, as the Dockerfile has it, and the size beyond the base."""

    name: str
    entrypoint: Sequence[str]
    command: Sequence[str]
    environment: Sequence[str]
    user: str
    folder: str
    volumes: Sequence[str]
    own_bytes: int


def build() -> Image:
    """Build the base, if it is not there from an earlier run, and then the image."""
    CACHE.mkdir(parents=True, exist_ok=True)
    if not _has(BASE):
        _build_base()
    config = CACHE / "pip.conf"
    config.write_text(_pip_config())
    mounts = [f"{config}:/etc/pip.conf:ro", *(f"{path}:{path}:ro" for path in _paths(config.read_text()))]
    volumes = [word for mount in mounts for word in ("--volume", mount)]
    _buildah("bud", "--pull-never", "--network", "host", "--build-arg", f"PYTHON={BASE}", *volumes, "-t", IMAGE, ".")
    return _described()


@contextmanager
def mounted(image: str) -> Iterator[Path]:
    """Make a container of an image, and give the folder that has its root."""
    container = _buildah("from", "--pull-never", image).strip()
    try:
        yield Path(_buildah("mount", container).strip())
    finally:
        _buildah("umount", container)
        _buildah("rm", container)


def _build_base() -> None:
    folder = CACHE / "base"
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines() if "=" in line
    )["VERSION_CODENAME"]
    found = _run("apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages")
    mirrors = [line.split()[0] for line in found.splitlines() if line.split()[1:] == [release]]
    options = ["--variant=minbase", f"--include={PACKAGES}"]
    subprocess.run(["debootstrap", *options, release, str(folder), mirrors[0]], check=True, stdout=subprocess.DEVNULL)
    container = _buildah("from", "scratch").strip()
    _buildah("add", "--quiet", container, str(folder), "/")
    _buildah("commit", "--quiet", container, BASE)
    _buildah("rm", container)
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def _described() -> Image:
    config = json.loads(_buildah("inspect", "--type", "image", IMAGE))["OCIv1"]["config"]
    with mounted(BASE) as base, mounted(IMAGE) as whole:
        own_bytes = _bytes_in(whole) - _bytes_in(base)
    return Image(
        IMAGE,
        entrypoint=config["Entrypoint"],
        command=config["Cmd"],
        environment=config["Env"],
        user=config["User"],
        folder=config["WorkingDir"],
        volumes=list(config["Volumes"]),
        own_bytes=own_bytes,
    )


def _bytes_in(folder: Path) -> int:
    return int(_run("du", "--summarize", "--bytes", "--one-file-system", str(folder)).split()[0])


def _pip_config() -> str:
    """Write what pip of this machine is configured with, by files and variables, as one file."""
    config = configparser.ConfigParser(interpolation=None)
    config["global"] = {}
    for line in _run("python3", "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.partition(".")
        if section in {"global", ":env:", "install"}:
            config["global"][option] = json.loads(f'"{value[1:-1]}"').replace("\n", "\n  ")
    with (CACHE / "pip.conf").open("w", encoding="utf-8") as file:
        config.write(file)
    return (CACHE / "pip.conf").read_text(encoding="utf-8")


def _paths(config: str) -> list[Path]:
    """Return the files and folders of this machine that a configuration names."""
    values = (line.partition("=")[2] or line for line in config.splitlines())
    found = [
        Path(path).parent if is_index else Path(path)  # an index names files beside its own folder
        for value in values
        for is_index, path in _PATH.findall(value)
    ]
    return [path for path in dict.fromkeys(found) if path.exists()]


def _has(image: str) -> bool:
    return image in _buildah("images", "--format", "{{.Name}}").split()


def _buildah(*arguments: str) -> Any:
    places = ("--root", str(CACHE / "storage"), "--runroot", str(CACHE / "run"))
    return _run("buildah", *places, *arguments, STORAGE_DRIVER="vfs", BUILDAH_ISOLATION="chroot")


def _run(*program: str, **environment: str) -> str:
    done = subprocess.run(
        program, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(program[:8])} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        )
    return done.stdout
