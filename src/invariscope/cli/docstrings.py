"""Docstrings rendered for the terminal."""

from __future__ import annotations

import inspect
import re
import unicodedata
from collections.abc import Iterable

from rich.markdown import Markdown

_SYMBOLS = {
    "langle": "⟨", "rangle": "⟩", "sum": "Σ", "sqrt": "√", "cdot": "·", "times": "×", "circ": "∘",
    "infty": "∞", "ne": "≠", "le": "≤", "ge": "≥", "approx": "≈", "in": "∈", "to": "→", "mapsto": "↦",
    "nabla": "∇", "pm": "±", "alpha": "α", "delta": "δ", "Delta": "Δ", "epsilon": "ε", "varepsilon": "ε",
    "eta": "η", "theta": "θ", "lambda": "λ", "mu": "μ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ",
    "phi": "φ", "ldots": "…", "dots": "…", "cdots": "…", "quad": "  ", "qquad": "   ", "left": "",
    "right": "", "mathrm": "", "text": "", "operatorname": "", "mathbf": "", "mathcal": "",
    "begin{pmatrix}": "[", "end{pmatrix}": "]", "|": "‖", "\\": "; ", ",": " ", ";": " ", " ": " ", "!": "",
    "{": "{", "}": "}",
}  # fmt: skip
_ACCENTS = {"hat": "\u0302", "bar": "\u0304", "tilde": "\u0303"}
_COMMAND = re.compile(r"\\((?:begin|end)\{pmatrix\}|[A-Za-z]+|[^A-Za-z])")
_ACCENT = re.compile(r"\\(hat|bar|tilde)\s*(?:\{(\w)\}|(\w))")
_FRACTION = re.compile(r"\\t?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_GROUP = re.compile(r"([_^])?\{([^{}]*)\}")
_FORMULA = re.compile(r"^\.\. math::[ \t]*(?P<first>.*)(?P<more>(?:\n[ \t]+\S.*|\n(?=\n[ \t]+\S))*)", re.M)
_SECTION = re.compile(r"^(Reading|Args|Returns|Raises|Source|Yields):[ \t]*$", re.M)
_ENTRY = re.compile(r"^    (?P<names>\w[\w, *]*): ", re.M)
_DOCTEST = re.compile(r"^>>> .*\n?(?:^(?!\s*$).*\n?)*", re.M)
_ROLE = re.compile(r":[a-z:]+:`~?([^`]+)`")
_TITLES = {"Args": "Options", "Raises": "Errors"}


def page(text: str) -> Markdown:
    """Convert a docstring to Markdown with plain-text formulas and section titles, and without doctests."""
    plain = _ROLE.sub(r"`\1`", _DOCTEST.sub("", text))
    head, *parts = _SECTION.split(plain)
    sections = zip(parts[::2], parts[1::2], strict=True)
    return Markdown(_FORMULA.sub(_formula, head) + "".join(_section(*section) for section in sections))


def documented(cls: type, base: type) -> str:
    """Return the docstring of a class, including options inherited from classes between it and `base`."""
    text = inspect.getdoc(cls) or ""
    entries = [entry for parent in _between(cls, base) for entry in _entries(inspect.getdoc(parent) or "")]
    described = set(re.findall(r"\w+", " ".join(match["names"] for match in _ENTRY.finditer(text))))
    more = [entry for entry in entries if entry.split(":")[0].strip() not in described]
    return _with_options(text, more) if more else text


def _between(cls: type, base: type) -> Iterable[type]:
    return (parent for parent in cls.__mro__[1:] if issubclass(parent, base) and parent is not base)


def _entries(text: str) -> list[str]:
    _, *parts = _SECTION.split(text)
    body = dict(zip(parts[::2], parts[1::2], strict=True)).get("Args", "").strip("\n")
    return [entry.rstrip() for entry in re.split(r"\n(?=    \w)", body) if entry.strip()]


def _with_options(text: str, entries: list[str]) -> str:
    added = "\n".join(entries) + "\n"
    if "\nArgs:\n" in text:
        return text.replace("\nArgs:\n", f"\nArgs:\n{added}", 1)
    head, *rest = re.split(r"(?=^(?:Returns|Raises|Source):)", text, maxsplit=1, flags=re.M)
    return f"{head.rstrip()}\n\nArgs:\n{added}\n{''.join(rest)}"


def plain_math(latex: str) -> str:
    """Convert a LaTeX formula to plain characters on one line.

    >>> plain_math(r"TV_u = \\langle \\mathrm{Var}_j\\, a_u(t_j x_i) \\rangle_i")
    'TV_u = ⟨ Var_j a_u(t_j x_i) ⟩_i'
    >>> plain_math(r"\\frac{TV_u}{SV_u} = \\frac{\\mathrm{Var} a}{R_{-\\theta}}")
    'TV_u / SV_u = (Var a) / R_(-θ)'
    """
    text = _ACCENT.sub(lambda match: (match[2] or match[3]) + _ACCENTS[match[1]], latex)
    text = _COMMAND.sub(lambda match: match[0] if "frac" in match[1] else _symbol(match[1]), text)
    while (opened := _GROUP.sub(_group, _FRACTION.sub(_fraction, text))) != text:
        text = opened
    tight = re.sub(r" +([_^)])", r"\1", " ".join(text.split()))
    return unicodedata.normalize("NFC", tight)


def _symbol(name: str) -> str:
    return _SYMBOLS.get(name, f"{name} ")


def _fraction(match: re.Match[str]) -> str:
    above, below = match[1].strip(), match[2].strip()
    return " / ".join(f"({part})" if " " in part else part for part in (above, below))


def _group(match: re.Match[str]) -> str:
    if match.string[: match.start()].rstrip().endswith(("frac", "}")) and not match[1]:
        return match[0]  # an argument of a fraction; fractions are replaced first
    bare = not match[1] or match[2].isalnum() or (match[2].startswith("(") and match[2].endswith(")"))
    return (match[1] or "") + (match[2] if bare else f"({match[2]})")


def _formula(match: re.Match[str]) -> str:
    return f"\n    {plain_math(match['first'] + ' ' + match['more'])}\n"


def _section(name: str, body: str) -> str:
    """Return a section with its title: a list of entries for options and errors, otherwise paragraphs."""
    title = f"\n\n**{_TITLES.get(name, name)}**\n\n"
    if name not in _TITLES:
        return title + "\n\n".join(" ".join(part.split()) for part in body.strip().split("\n\n")) + "\n"
    entries = _ENTRY.sub(lambda match: f"- `{match['names']}`: ", body.strip("\n"))
    lines = (re.sub(r"^ {4}(?=\S)|^ {4}(?= )", "", line) for line in entries.split("\n"))
    return title + "\n".join(lines) + "\n"
