"""`unreel classify train` and `unreel classify apply`."""

from unreel.cli.classification.apply_classifier import apply_classifier_command
from unreel.cli.classification.train_classifier import train_classifier_command
from unreel.errors import unknown_name_error

USAGE = """usage: unreel classify train RUN LABELS --out CLASSIFIER   learn classes from labelled videos, a CSV or marks
       unreel classify apply CLASSIFIER FOLDER --out CSV   say what videos show: seconds, class, probability

`unreel classify train --help` and `unreel classify apply --help` list the options."""
COMMANDS = {"train": train_classifier_command, "apply": apply_classifier_command}


def classify_command(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    if args[0] not in COMMANDS:
        raise unknown_name_error("command", f"classify {args[0]}", [f"classify {name}" for name in COMMANDS])
    return COMMANDS[args[0]](args[1:])
