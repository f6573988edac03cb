"""Self-contained HTML reports: one file that opens offline and makes no network requests.

    iv.report([plain, rotated], "report.html")

The package itself is callable, so that `iv.report` is both the function and the package.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from invariscope.report.page import write_report

__all__ = ["report", "write_report"]

report = write_report  # `iv.report` for type checkers


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        return write_report(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
