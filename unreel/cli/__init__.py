"""The command line: each command parses its options, calls the library and prints."""

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the `unreel` command."""
    from unreel.cli.entry_point import main

    main(argv)
