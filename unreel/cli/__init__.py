"""The command line: each command parses its options, calls the library and prints."""

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the `unreel` command."""
    from unreel.cli.entry_point import main
    from unreel.cli.thread_waiting import choose_wait_policy

    choose_wait_policy()
    main(argv)
