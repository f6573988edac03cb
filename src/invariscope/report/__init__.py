"""The self-contained HTML page: one file that opens offline and asks the network for nothing.

    iv.report([plain, rotated], "report.html")

The package itself can be called, so that `iv.report` is the function and still holds its parts.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from invariscope.report.page import write_report

__all__ = ["report", "write_report"]

report = write_report  # what type checkers know as `iv.report`


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> Any:
        return write_report(*args, **options)


sys.modules[__name__].__class__ = _CallablePackage
