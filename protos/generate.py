"""Make the Python code of the wire contract anew, or say whether what is committed is still what the contract makes.

    python3 protos/generate.py            writes the code beside each .proto
    python3 protos/generate.py --check    writes nothing; exit code 1 where the committed code differs

The code is committed, so that nobody needs a protobuf compiler to run Lamina. It needs nothing but a Python with venv:
the compiler lives in an environment of its own, which is made on first use.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
TOOLS = PROTOS.parent / ".cache" / "protoc"

# Generated code refuses a runtime older than its generator, and the SDK goes into services that still need protobuf 6:
# so the generator is the oldest that we support (its code runs on protobuf >= 6.31.1 and grpcio >= 1.80), not the
# newest. Change it together with the floors of `dependencies` in pyproject.toml. An environment of its own, because its
# own pin (protobuf < 7) excludes what the tests run on.
REQUIREMENTS = ("grpcio-tools==1.80.0", "mypy-protobuf==5.1.0")

SUFFIXES = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py", "_pb2_grpc.pyi")


def tools() -> Path:
    """Return the `bin` folder of the environment that holds exactly REQUIREMENTS, made if it is absent or of others."""
    stamp = TOOLS / "requirements.txt"
    wanted = "\n".join(REQUIREMENTS) + "\n"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        venv.create(TOOLS, with_pip=True, clear=True)
        pip = (str(TOOLS / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check")
        subprocess.run([*pip, "install", *REQUIREMENTS], check=True)
        stamp.write_text(wanted, encoding="utf-8")  # last: a stamp vouches for a whole environment
    return TOOLS / "bin"


def generate(target: Path) -> None:
    """Write the code of every .proto below `target`, at the place of its .proto below `protos`."""
    bin_folder = tools()
    # The proto path is the import path: protoc writes `from lamina_protos.v1 import ...` from it. The type stubs are
    # mypy-protobuf's, for protoc's own leave the results of calls untyped.
    plugins = [f"--plugin={name}={bin_folder / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    outputs = [f"--python_out={target}", f"--grpc_python_out={target}"]
    stubs = [f"--mypy_out=quiet:{target}", f"--mypy_grpc_out=quiet:{target}"]
    sources = [str(path.relative_to(PROTOS)) for path in sorted(PROTOS.rglob("*.proto"))]
    compiler = (str(bin_folder / "python"), "-m", "grpc_tools.protoc", f"-I{PROTOS}")
    if subprocess.run([*compiler, *plugins, *outputs, *stubs, *sources], check=False, cwd=PROTOS).returncode:
        sys.exit("protoc refused the contract")


def generated(root: Path) -> dict[str, bytes]:
    """Return the generated files below `root` by their path from there."""
    files = (path for suffix in SUFFIXES for path in root.rglob(f"*{suffix}"))
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def differences() -> list[str]:
    """Name the generated files that are missing, left over, or not what the contract makes."""
    with tempfile.TemporaryDirectory(prefix="lamina-protos-") as folder:
        generate(Path(folder))
        fresh = generated(Path(folder))
    committed = generated(PROTOS)
    return sorted(name for name in fresh.keys() | committed.keys() if fresh.get(name) != committed.get(name))


def main() -> None:
    """Generate, or with `--check` compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the committed code differs")
    if not parser.parse_args().check:
        generate(PROTOS)
    elif stale := differences():
        sys.exit(f"Not what the .proto makes: {', '.join(stale)}. Run: make generate")


if __name__ == "__main__":
    main()
