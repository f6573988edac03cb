"""The self-contained HTML page: one file that opens offline and asks the network for nothing."""

from __future__ import annotations

from invariscope.report.page import write_report

__all__ = ["write_report"]
