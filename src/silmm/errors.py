"""The errors that the user can mend: the command line shows their message alone, in one line."""


class InputError(ValueError):
    """What the user gave (an option, a config value, a checkpoint, a file) is wrong."""


class RecordError(InputError):
    """A stage file is missing, damaged, or not what its schema says."""
