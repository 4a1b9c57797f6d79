"""`lamina edit`: a script stands for the editor and its user."""

import json
import re
import shlex
import signal
import stat
import sys
from pathlib import Path

import pytest

import lamina
from lamina.cli.verbs import edit
from tests.cli.running import LAMINA, InProcess, Terminal, conflict_line

SEEN = """
import os, pathlib, sys
*arguments, path = sys.argv[1:]
file = pathlib.Path(path)
"""


class Editor:
    """Writes scripts that stand for editors, and has the temporary folder in which files are edited."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tmp"
        self.folder.mkdir()
        self._script = folder / "the editor.py"

    def __call__(self, *lines: str, arguments: str = "") -> dict[str, str]:
        """Return the environment in which these lines are the editor; they have `file` and `arguments`."""
        self._script.write_text("\n".join([SEEN, *lines]), encoding="utf-8")
        command = f"{sys.executable} {shlex.quote(str(self._script))} {arguments}"
        return {"EDITOR": command, "VISUAL": "", "TMPDIR": str(self.folder)}

    def replacing(self, old: str, new: str) -> dict[str, str]:
        return self(
            "text = file.read_text()",
            f"assert {old!r} in text, text",
            f"file.write_text(text.replace({old!r}, {new!r}))",
        )

    @property
    def kept(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    """An editor whose scripts return at once and count as editors that have waited."""
    monkeypatch.setattr(edit, "AT_ONCE_SECONDS", 0.0)
    made = Editor(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(made.folder))
    return made


def resume_line(said: str) -> list[str]:
    """Return the arguments of the printed line that resumes the edit."""
    (line,) = re.findall(r"^(?:lamina: )?to go on with what was edited: lamina (.*)$", said, re.MULTILINE)
    return shlex.split(line)


@pytest.mark.parametrize("form", ["yaml", "toml"])
def test_changes_in_the_editor_are_committed(cli: InProcess, shop: lamina.Config, editor: Editor, form: str) -> None:
    """It is one version with the differences: one key set, one new, one deleted; and the file is removed."""
    del shop["none"], shop["blob"]
    shop.commit()
    old, new = {
        "yaml": ("timeout: 45", "timeout: 60\nmotd: hi"),
        "toml": ("timeout = 45", 'timeout = 60\nmotd = "hi"'),
    }[form]
    taken = {"yaml": "'ratio: 0.5'", "toml": "'ratio = 0.5'"}[form]
    lines = (f"text = file.read_text().replace({old!r}, {new!r}).replace({taken}, '')", "file.write_text(text)")
    out = cli.out("edit", shop.name, "--format", form, "-m", "by hand", **editor(*lines))
    assert f"{shop.name} is now version 4 (1 added, 1 changed, 1 deleted)\nundo: lamina revert {shop.name} " in out
    assert {key: change.new for key, change in shop.diff(3, 4).items()} == {
        "timeout": 60,
        "motd": "hi",
        "ratio": lamina.MISSING,
    }
    version = next(shop.log(limit=1))
    assert (version.message, version.author, version.change_count) == ("by hand", "ada", 3)
    assert list(editor.folder.iterdir()) == []


def test_the_editor_is_chosen_and_its_file_is_private(
    cli: InProcess, shop: lamina.Config, editor: Editor, tmp_path: Path
) -> None:
    """VISUAL wins over EDITOR. Only the user can read the file, and files beside it are removed too."""
    seen = tmp_path / "seen"
    environment = editor(
        "modes = [path.stat().st_mode & 0o777 for path in (file, file.parent)]",
        f"pathlib.Path({str(seen)!r}).write_text(repr([arguments, file.name, modes, file.read_text()]))",
        "file.with_name('.swap').touch()",
        arguments="--wait 'a b'",
    )
    environment |= {"VISUAL": environment["EDITOR"], "EDITOR": "false"}
    assert cli.out("edit", shop.name, **environment) == f"nothing to change: {shop.name} stays at version 2\n"
    arguments, name, modes, text = eval(seen.read_text(encoding="utf-8"))
    assert (arguments, modes) == (["--wait", "a b"], [0o600, 0o700])
    assert name == f"{shop.name.rpartition('/')[2]}.yaml"
    head, comments, body = text.split("\n", 2)
    assert head.startswith(f"# {shop.name} version 2: ")
    assert comments.startswith("# Comments are not kept")
    assert body == cli.out("export", shop.name)
    assert list(editor.folder.iterdir()) == []


@pytest.mark.parametrize("form", ["yaml", "toml"])
def test_unchanged_values_keep_their_types(
    cli: InProcess, client: lamina.Client, config_name: str, editor: Editor, form: str
) -> None:
    """A value that was not edited keeps its type."""
    cfg = client.config(config_name, create=True)
    cfg |= {"a": 1, "b": 1.0, "c": True, "d": "1", "e": 2**63 - 1, "f": -(2**63), "g": 1e300, "h": 5e-324, "i": "no"}
    cfg |= {"j": [], "k": {}, "l": {"x": [{"y": 1.0}]}, "m": "a\r\nb\n", "n": "2026-11-23", "o": " x\u2028"}
    if form == "yaml":
        cfg |= {"p": None, "q": b"", "r": b"\x00\xff", "s": [None]}
    cfg.commit()
    environment = editor("file.write_text(file.read_text() + '\\n')")
    assert "nothing to change" in cli.out("edit", config_name, "--format", form, **environment)


def test_no_editor_is_opened_for_values_that_toml_cannot_hold(
    cli: InProcess, shop: lamina.Config, editor: Editor
) -> None:
    said = cli("edit", shop.name, "--format", "toml", code=1, **editor("raise SystemExit('opened')")).stderr
    assert said == "lamina: TOML cannot hold blob: it is bytes (YAML can); --format yaml\n"
    assert list(editor.folder.iterdir()) == []


def test_changes_of_others_during_the_edit_stay(
    cli: InProcess, client: lamina.Client, shop: lamina.Config, editor: Editor, target: str
) -> None:
    meanwhile = f"import subprocess; subprocess.run([{str(LAMINA)!r}, 'set', {shop.name!r}, 'motd=hi'], check=True)"
    lines = (meanwhile, "file.write_text(file.read_text().replace('timeout: 45', 'timeout: 60'))")
    cli("edit", shop.name, code=0, **editor(*lines))
    head = client.config(shop.name)
    assert (head.version, head["motd"], head["timeout"]) == (4, "hi", 60)


def test_a_conflict_keeps_the_file(
    cli: InProcess, client: lamina.Client, shop: lamina.Config, editor: Editor, target: str
) -> None:
    meanwhile = f"import subprocess; subprocess.run([{str(LAMINA)!r}, 'set', {shop.name!r}, 'timeout:=90'], check=True)"
    lines = (meanwhile, "file.write_text(file.read_text().replace('timeout: 45', 'timeout: 60') + 'motd: hi\\n')")
    conflict = cli("edit", shop.name, "-m", "it's slow", code=3, **editor(*lines))
    said = conflict.stderr
    assert conflict_line(conflict, "timeout") == "  timeout  45    90      60     ada in version 3"
    (kept,) = editor.kept
    assert "timeout: 60" in kept.read_text(encoding="utf-8")
    again = resume_line(said)
    assert again == ["edit", shop.name, "--resume", str(kept), "--base", "2", "-m", "it's slow"]
    assert resume_line(cli(*again, code=3, **editor()).stderr) == again
    cli(*again, code=0, **editor.replacing("timeout: 60", "timeout: 90"))  # their value is the new base
    head = client.config(shop.name)
    assert (head.version, head["motd"], head["timeout"]) == (4, "hi", 90)
    assert next(head.log(limit=1)).message == "it's slow"
    assert list(editor.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("timeout: 45\nhosts: [h1\n", "line 2: a bracket is not closed"),
        ("a: 1\nb: 2026-11-23\n", "line 2: b: a date is no value: quote it to make it text"),
        ("a: 18446744073709551616\n", "a"),
        ("- a\n", "the file holds no map of keys to values at its top level"),
        ("# nothing\n\n", "nothing was written: the file is empty"),
        ('"": 1\n', "key"),
    ],
)
def test_a_file_that_is_no_map_is_kept(
    cli: InProcess, shop: lamina.Config, editor: Editor, text: str, reason: str
) -> None:
    said = cli("edit", shop.name, code=2, **editor(f"file.write_text({text!r})")).stderr
    (kept,) = editor.kept
    assert said.startswith(f"lamina: {kept}: ")
    assert reason in said.splitlines()[0].partition(f"{kept}: ")[2]
    assert kept.read_text(encoding="utf-8") == text
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    again = resume_line(said)
    assert "is now version 3" in cli.out(*again, **editor("file.write_text('timeout: 60')"))
    assert list(editor.folder.iterdir()) == []


def test_an_editor_that_fails_writes_nothing(cli: InProcess, shop: lamina.Config, editor: Editor) -> None:
    said = cli("edit", shop.name, code=1, **editor("raise SystemExit(3)")).stderr
    assert re.fullmatch(r"lamina: nothing was written: \S+ exited with 3\n", said)
    assert list(editor.folder.iterdir()) == []
    said = cli("edit", shop.name, code=1, **editor("file.write_text('timeout: 1')", "raise SystemExit(3)")).stderr
    assert resume_line(said)[:4] == ["edit", shop.name, "--resume", str(editor.kept[0])]
    # Resumed and given up again without a change: the earlier text is still in the file.
    assert resume_line(cli(*resume_line(said), code=1, **editor("raise SystemExit(3)")).stderr) == resume_line(said)
    assert editor.kept[0].read_text(encoding="utf-8") == "timeout: 1"
    assert cli("edit", shop.name, code=1, **editor("file.unlink()")).stderr.startswith("lamina: nothing was written: ")
    before = editor.kept
    (no_program := editor.folder / "no program").touch(mode=0o755)
    no_program.write_bytes(b"\0")
    said = cli("edit", shop.name, code=1, EDITOR=shlex.quote(str(no_program)), VISUAL="").stderr
    assert said == f"lamina: nothing was written: {no_program} does not start: Exec format error\n"
    assert set(editor.kept) == {*before, no_program}
    for missing in ("no-such-editor --x", "'"):
        assert "set EDITOR" in cli("edit", shop.name, code=1, EDITOR=missing, VISUAL="").stderr
    assert shop.version == next(shop.log(limit=1)).number


def test_an_editor_that_returns_at_once_gets_a_hint(
    cli: InProcess, shop: lamina.Config, editor: Editor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its window may still be open, and what is saved there must not be lost."""
    monkeypatch.setattr(edit, "AT_ONCE_SECONDS", 60.0)
    said = cli("edit", shop.name, code=1, EDITOR="true", VISUAL="").stderr
    assert "returned at once" in said
    assert "--wait" in said
    (file,) = editor.kept
    file.write_text(file.read_text().replace("timeout: 45", "timeout: 50"))
    assert "is now version 3" in cli.out(*resume_line(said), EDITOR="true", VISUAL="")
    assert list(editor.folder.iterdir()) == []


def test_the_shell_runs_the_editor_as_it_does_for_git(
    cli: InProcess, shop: lamina.Config, editor: Editor, tmp_path: Path
) -> None:
    environment = editor("file.write_text(file.read_text().replace('45', os.environ['WISH']))")
    command = f"WISH=51 {environment['EDITOR']}"
    assert "is now version 3" in cli.out("edit", shop.name, **{**environment, "EDITOR": command})
    assert "is not there" in cli("edit", shop.name, code=1, EDITOR="WISH=1 /no/such/editor", VISUAL="").stderr
    assert "there is no editor nowhere" in cli("edit", shop.name, code=1, EDITOR="nowhere", VISUAL="").stderr


def test_a_dry_run_shows_the_diff_and_keeps_the_file(cli: InProcess, shop: lamina.Config, editor: Editor) -> None:
    result = cli(
        "edit", shop.name, "--dry-run", "--exit-code", code=1, **editor.replacing("timeout: 45", "timeout: 60")
    )
    assert result.stdout == "~ timeout  45 → 60\n"
    again = resume_line(result.stderr)
    assert "is now version 3 (1 changed)" in cli.out(*again, **editor())
    assert cli.out("edit", shop.name, "--dry-run", **editor()) == ""
    assert list(editor.folder.iterdir()) == []


def test_edit_can_create_a_config(cli: InProcess, client: lamina.Client, config_name: str, editor: Editor) -> None:
    assert "--create makes it" in cli("edit", config_name, code=4, **editor()).stderr
    assert "nothing to change" in cli.out("edit", config_name, "--create", **editor())
    add = editor("file.write_text(file.read_text() + 'a: 1\\n')")
    assert f"{config_name} is now version 1 (1 added)" in cli.out("edit", config_name, "--create", **add)
    assert client.config(config_name) == {"a": 1}


def test_an_older_version_can_be_edited(
    cli: InProcess, client: lamina.Client, shop: lamina.Config, editor: Editor
) -> None:
    """The older version is edited, and a key that others changed since is a conflict."""
    cli("edit", shop.name, "--base", "1", code=3, **editor.replacing("timeout: 30", "timeout: 31"))
    cli("edit", shop.name, "--base", "1", code=0, **editor.replacing("ratio: 0.5", "ratio: 0.6"))
    head = client.config(shop.name)
    assert (head["ratio"], head["timeout"]) == (0.6, 45)


def test_bad_options_are_refused(cli: InProcess, shop: lamina.Config, editor: Editor, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text("{}", encoding="utf-8")
    assert "--base" in cli("edit", shop.name, "--resume", str(file), code=2, **editor()).stderr
    cli("edit", shop.name, "--resume", str(file), "--base", "2", code=2, **editor())
    cli("edit", shop.name, "--resume", str(tmp_path / "none.yaml"), "--base", "2", code=2, **editor())
    cli("edit", shop.name, "--format", "json", code=2, **editor())


def test_a_file_given_by_the_user_stays(cli: InProcess, shop: lamina.Config, editor: Editor, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("timeout = 60\n", encoding="utf-8")
    output = cli.out("edit", shop.name, "--resume", str(file), "--base", "2", "-o", "json", **editor())
    assert json.loads(output)["change_count"] == len(shop)
    assert file.exists()


def test_the_editor_handles_ctrl_c(target: str, shop: lamina.Config, editor: Editor) -> None:
    environment = editor(
        "import signal",
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})",
        "print('opened', flush=True)",
        "signal.sigwait({signal.SIGINT})",
        "file.write_text('timeout: 60')",
    )
    with Terminal(LAMINA, "edit", shop.name, target=target, **environment) as terminal:
        terminal.until("opened")
        terminal.press("\x03")
        terminal.until("is now version 3")
        assert terminal.wait() == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
