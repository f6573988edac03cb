"""Convert formulas from reStructuredText to TeX, and to MathML, which browsers render without a script."""

from __future__ import annotations

import html
import re
import textwrap

import latex2mathml.converter

_DIRECTIVE = re.compile(
    r"^(?P<indent>[ \t]*)\.\. math::(?P<first>[^\n]*)"
    r"(?P<rest>(?:\n(?:(?P=indent)[ \t]+[^\n]*|[ \t]*(?=\n)))*)",
    re.M,
)
_ROLE = re.compile(r":(?:class|func|meth|mod|math|data|attr|py:\w+):`~?(?P<name>[^`]+)`")
_PROMPTS = re.compile(r"^(?P<indent>[ \t]*)>>> [^\n]*(?:\n[ \t]*[^\s][^\n]*)*", re.M)
_SECTION = re.compile(r"(?<=[^\n])\n(?=(?:Reading|Args|Attributes|Raises|Returns|Yields|Source):\n[ \t]+\S)")
_RENDERED = re.compile(r'<(?P<tag>div|span) class="arithmatex">(?P<tex>.*?)</(?P=tag)>', re.S)
_DELIMITERS = re.compile(r"^\s*\\[\[(]|\\[\])]\s*$")


def markdown_of(docstring: str) -> str:
    """Convert a docstring to Markdown: formulas in dollar signs, roles as code, doctests in fences."""
    text = _DIRECTIVE.sub(_display, docstring)
    text = _ROLE.sub(lambda role: f"`{role['name']}`", text)
    text = _SECTION.sub("\n\n", text)
    return _PROMPTS.sub(_fenced, text)


def _display(directive: re.Match[str]) -> str:
    body = "\n".join([directive["first"].strip(), textwrap.dedent(directive["rest"].lstrip("\n"))])
    lines = [line.strip() for line in body.strip().splitlines() if line.strip()]
    indent = directive["indent"]
    return "\n".join(indent + line for line in ["$$", *lines, "$$\n"])


def _fenced(prompts: re.Match[str]) -> str:
    indent = prompts["indent"]
    return f"{indent}```pycon\n{prompts[0]}\n{indent}```"


def with_mathml(page: str) -> str:
    """Replace each TeX formula of a page by MathML, with the TeX as its title."""
    return _RENDERED.sub(_mathml, page)


def _mathml(found: re.Match[str]) -> str:
    tex = html.unescape(_DELIMITERS.sub("", _DELIMITERS.sub("", found["tex"], count=1))).strip()
    display = "block" if found["tag"] == "div" else "inline"
    drawn = latex2mathml.converter.convert(tex, display=display)
    return f'<{found["tag"]} class="formula" title="{html.escape(tex)}">{drawn}</{found["tag"]}>'
