"""The one error of this package, meant for people."""

from __future__ import annotations


class ModelError(ValueError):
    """A model, its weights, its state or a frame given to it cannot be used.

    The text is one line that says what is wrong, where, and what to do; it is shown to the user as it is.
    Raise it with the cause chained (``raise ModelError(...) from error``).
    """
