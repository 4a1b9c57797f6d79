"""`python -m lamina.cli`: the same command, for a Python whose scripts are not on the PATH."""

from lamina.cli import main

main()
