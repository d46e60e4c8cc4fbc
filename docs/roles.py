"""Docstrings for the site: roles such as :func:`~package.name` become links where they can."""

from __future__ import annotations

import re

import griffe

_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`(~?)([\w.]+)`")
_LITERAL = re.compile(r"^(.*?)::$", re.MULTILINE)


class Roles(griffe.Extension):
    """Rewrites each docstring from reStructuredText, as far as it is used here, to Markdown."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Called once for each function, class, attribute and module."""
        if obj.docstring is None:
            return

        def link(role: re.Match[str]) -> str:
            short, name = role.groups()
            try:
                path = name if name.startswith(f"{obj.package.name}.") else obj.resolve(name)
            except griffe.NameResolutionError:
                return f"`{name}`"
            shown = name.rpartition(".")[2] if short else name
            return f'<autoref optional identifier="{path}"><code>{shown}</code></autoref>'

        text = _ROLE.sub(link, obj.docstring.value)
        obj.docstring.value = _LITERAL.sub(lambda end: f"{end[1]}:" if end[1] else "", text)
