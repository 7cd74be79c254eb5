"""The errors that the user can mend: the command line shows their message alone, in one line."""


class InputError(ValueError):
    """What the user gave (an option, a config value, a checkpoint, a file) is wrong."""


class TextError(InputError):
    """A prompt or a question that an LMM cannot take: it is too long, or has words that it does not know."""


class TokensError(InputError):
    """Visual tokens of a picture that an LMM cannot take: another one drew them."""


class LostProcessError(InputError):
    """One of several processes that train together was killed, or hangs."""


class RecordError(InputError):
    """A stage file is missing, damaged, or not what its schema says."""
