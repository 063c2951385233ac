"""Errors meant for people: one line that says what is wrong, where, and what to do."""


class DerainError(Exception):
    """A job cannot go on. The text is shown to the user as it is; the command ends with exit code 1.

    Raise it with the cause chained (``raise DerainError(...) from error``) so that ``--debug`` can show it.
    """


class UsageError(DerainError):
    """What was asked for cannot be meant: a wrong option, name or combination. Exit code 2."""


class Made(DerainError):
    """What was to be made is there already."""


class BeingMade(DerainError):
    """Another run is making it."""


class NoMemory(DerainError):
    """The machine has not as much memory free as was needed. Once others have ended it may have."""
