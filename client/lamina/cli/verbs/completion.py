"""The verb `completion`, and the exchange with bash, zsh and fish when somebody presses Tab.

A script sends the words up to the cursor, raw as they were typed, and gets lines of `kind<Tab>candidate<Tab>help`. It
knows the shells; click and candidates.py know the candidates.
"""

import os
import re
from typing import Any, ClassVar, Final

import click
from click.shell_completion import CompletionItem, ShellComplete, add_completion_class, split_arg_string

from lamina.cli.arguments.options import Verb

_BASH: Final = r"""# completion of lamina for bash: eval "$(lamina completion bash)"
_lamina_complete() {
    local kind candidate help IFS=$'\t'
    COMPREPLY=()
    while read -r kind candidate help; do
        case $kind in
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            open) COMPREPLY+=("$candidate"); compopt -o nospace ;;
            plain) COMPREPLY+=("$candidate") ;;
        esac
    done < <(_LAMINA_COMPLETE=bash_complete _LAMINA_LINE="${COMP_LINE:0:COMP_POINT}" \
        _LAMINA_BREAKS="$COMP_WORDBREAKS" "${1/#\~/$HOME}" 2>/dev/null)
}
complete -o nosort -F _lamina_complete lamina
"""

_ZSH: Final = r"""#compdef lamina
# completion of lamina for zsh: eval "$(lamina completion zsh)", after compinit
_lamina_complete() {
    local kind candidate help
    local -a plain shown open
    while IFS=$'\t' read -r kind candidate help; do
        case $kind in
            file) _files ;;
            dir) _files -/ ;;
            open) open+=("$candidate") ;;
            plain) plain+=("$candidate"); shown+=("$candidate${help:+  -- $help}") ;;
        esac
    done < <(_LAMINA_COMPLETE=zsh_complete _LAMINA_LINE="${(pj:\n:)words[1,CURRENT]}" "${(Q)words[1]}" 2>/dev/null)
    (( $#plain )) && compadd -l -d shown -a plain
    (( $#open )) && compadd -S '' -a open
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _lamina_complete "$@"
else
    compdef _lamina_complete lamina
fi
"""

_FISH: Final = r"""# completion of lamina for fish: lamina completion fish | source
function __lamina_complete
    set -l words (commandline -opc) (commandline -ct)
    set -lx _LAMINA_COMPLETE fish_complete
    set -lx _LAMINA_LINE (string join \n -- $words | string collect --no-trim-newlines)
    for line in ($words[1] 2>/dev/null)
        set -l parts (string split \t -- $line)
        switch "$parts[1]"
            case ''
                continue
            case file
                __fish_complete_path (commandline -ct)
            case dir
                __fish_complete_directories (commandline -ct)
            case '*'
                printf '%s\t%s\n' $parts[2] $parts[3]
        end
    end
end
complete --command lamina --no-files --arguments '(__lamina_complete)'
"""


class _Shell(ShellComplete):
    """Common to the three shells."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the cursor's word, and that word, as the program would receive them."""
        words = [" ".join(split_arg_string(word)) for word in self.typed()]
        return words[1:-1], words[-1]

    def typed(self) -> list[str]:
        """Return the words as they were typed."""
        return os.environ["_LAMINA_LINE"].split("\n")

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Write a line; a candidate that ends in a separator is `open`: no space follows it."""
        kind = "open" if item.type == "plain" and item.value.endswith("=") else item.type
        return f"{kind}\t{self.quoted(item.value)}\t{' '.join((item.help or '').split())}"

    def quoted(self, candidate: str) -> str:
        """Write a candidate in the shell's form."""
        return candidate


class Bash(_Shell):
    """Bash gives its functions words that it broke at `:` and `=`, and inserts what they return as it is."""

    name: ClassVar[str] = "bash"
    source_template: ClassVar[str] = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Break the line as a shell breaks it."""
        line = os.environ["_LAMINA_LINE"]
        words = split_arg_string(line)
        if line[-1:].isspace() and split_arg_string(line + "x") != [*words[:-1], words[-1] + "x"]:
            words.append("")
        return words[1:-1], words[-1]

    def quoted(self, candidate: str) -> str:
        """Put backslashes before bash's special characters, and leave out the part that bash has already."""
        typed = _last_word(os.environ["_LAMINA_LINE"])
        if typed[:1] in {"'", '"'}:
            return candidate
        written = "".join(c if c.isalnum() or c in "_@%+=:,./-" or not c.isascii() else f"\\{c}" for c in candidate)
        breaks = set(os.environ.get("_LAMINA_BREAKS", "")) - set("\\'\"")
        there = re.sub(r"\\.", "__", typed)  # a backslash keeps the next character in the word
        return written[max((there.rfind(character) + 1 for character in breaks), default=0) :]


class Zsh(_Shell):
    """Zsh quotes what it inserts by itself."""

    name: ClassVar[str] = "zsh"
    source_template: ClassVar[str] = _ZSH


class Fish(_Shell):
    """Fish quotes too, and adds no space after a separator. Its `string join` adds a line end to its output."""

    name: ClassVar[str] = "fish"
    source_template: ClassVar[str] = _FISH

    def typed(self) -> list[str]:
        """Remove the line end."""
        return os.environ["_LAMINA_LINE"].removesuffix("\n").split("\n")


SHELLS: Final = {shell.name: shell for shell in (Bash, Zsh, Fish)}
for _shell in SHELLS.values():
    add_completion_class(_shell)


@click.command("completion", cls=Verb, outputs=("text",))
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion_verb(shell: str) -> None:
    r"""Print the script that completes verbs, options, configs and keys.

    \b
    bash   eval "$(lamina completion bash)"        in ~/.bashrc
    zsh    eval "$(lamina completion zsh)"         in ~/.zshrc, after compinit
    fish   lamina completion fish | source         in ~/.config/fish/config.fish
    """
    print(SHELLS[shell].source_template, end="")


def _last_word(line: str) -> str:
    """Return the word at the cursor as it was typed: from the last space that is neither quoted nor escaped."""
    start = 0
    quote = ""
    escaped = False
    for position, character in enumerate(line):
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character.isspace():
            start = position + 1
    return line[start:]
