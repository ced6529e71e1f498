"""The exceptions of the library: one root, one subclass per kind of fault."""


class ResidualSSLError(Exception):
    """Root of every error that the library raises on purpose.

    The message names the argument or configuration key, what came, what was expected and what to do.
    """


class InvalidInputError(ResidualSSLError, ValueError):
    """A tensor or an argument that a function cannot work with."""


class ConfigError(ResidualSSLError, ValueError):
    """A configuration that cannot be built; the message lists every fault found."""


class DataError(ResidualSSLError, ValueError):
    """An image, a mask, a split or a dataset that contradicts its specification.

    Attributes:
        kind: of fault, a word or two, where one file is at fault: ``"truncated"``, ``"size"``, ``"ids"`` …; else empty.
    """

    def __init__(self, message: str = "", kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class MissingDataError(ResidualSSLError, FileNotFoundError):
    """A file or a folder that is needed and is not there."""

    # OSError formats its arguments itself; the message alone is wanted.
    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class MissingPackageError(ResidualSSLError, ImportError):
    """An optional package that is needed and is not installed; the message names the extra that has it."""


class CheckpointError(ResidualSSLError, ValueError):
    """A checkpoint that cannot be read or does not fit the model."""


class NotFittedError(ResidualSSLError, RuntimeError):
    """A selector that learns from labelled predictions was used before it had."""


class IncompleteError(ResidualSSLError):
    """Some of several inputs failed; the message names them, and the work on all others is done."""


class ResidualSSLWarning(UserWarning):
    """Something that the library worked around; the message says what and how."""
