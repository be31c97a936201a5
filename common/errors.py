"""The three errors that reach a user as one line: bad input, an unusable checkpoint, a wrong configuration."""

from __future__ import annotations


class InputError(RuntimeError):
    """Something that the user gave cannot be used. The message names it and says what was expected."""


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, or does not fit the model. The message names the file."""


class ConfigurationError(ValueError):
    """The configuration does not fit. The message names every key that is wrong, one per line."""
