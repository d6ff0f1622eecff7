"""`python -m unreel`."""

from unreel.cli import main

main()
