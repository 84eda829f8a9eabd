"""`python -m scheduler` is the command `t2f`."""

from scheduler.cli import main

main()
