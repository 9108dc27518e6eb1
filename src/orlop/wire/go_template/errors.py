"""What is wrong with a template, in the words of Go's text/template, which scripts look for."""

from __future__ import annotations

from orlop.lib.errors import InvalidArgument


class TemplateError(InvalidArgument):
    """The template does not parse, or cannot be executed on this value."""
