"""Errors that a user can cause and cure."""


class UserError(ValueError):
    """A fault in the user's files or settings.

    The message is one line: the file or setting, what was found, what was expected, what to do. The command line
    prints it without a traceback and exits with 1.
    """


class UsageError(UserError):
    """A fault in how a command was called (unknown key, wrong type, missing value); the exit code is 2."""
