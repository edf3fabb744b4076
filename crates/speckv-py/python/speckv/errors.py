"""What `speckv` raises: one family, each with the next step that the command line would give."""

from __future__ import annotations

__all__ = ["ArgumentError", "Error", "FileError", "ModelError", "OrderError"]


class Error(Exception):
    """Something that `speckv` could not do. `message` says what was expected and what came, `hint`
    what to do next; `str()` shows both.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}"


class ArgumentError(Error, ValueError):
    """An argument outside its range, of another type or shape."""


class OrderError(Error, RuntimeError):
    """Calls out of order: a step begun twice, a closed sequence used."""


class ModelError(Error):
    """A model's file, or a pass of the model."""


class FileError(Error):
    """A file or folder that is no model: traces, records, weights of a predictor."""
