"""`snapstone completion`: print a shell completion script."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from snapstone.cli.outcome import Exit
from snapstone.cli.remote import add_command

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

SHELLS: Final = ("bash", "zsh", "fish")

_DESCRIPTION: Final = """\
Print a script that makes a shell complete snapstone's commands, options, snapshot IDs and file names.

To install it permanently:

  bash   snapstone completion bash > ~/.local/share/bash-completion/completions/snapstone
  zsh    snapstone completion zsh > ~/.zfunc/_snapstone     (a directory in $fpath, before compinit)
  fish   snapstone completion fish > ~/.config/fish/completions/snapstone.fish

For the current shell only: eval "$(snapstone completion bash)"
"""


def register(subparsers: Subparsers) -> None:
    """Add the command to the command line."""
    parser = add_command(subparsers, "completion", "print a shell completion script", run, _DESCRIPTION)
    parser.add_argument("shell", metavar="SHELL", choices=SHELLS, help="bash, zsh or fish")


def run(options: argparse.Namespace) -> Exit:
    """Print it."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["snapstone"], shell=options.shell))
    return Exit.DONE
