"""What is wrong with a parameter file."""

from __future__ import annotations


class ParameterError(ValueError):
    """A parameter file that can't be used; names the file, the line, what is wrong and what to do."""
