"""What made a result: command, code, versions, machine, data and date. Nothing of the environment, nothing secret."""
