"""`python -m invariscope.cli` runs the command line."""

from __future__ import annotations

from invariscope.cli import main

if __name__ == "__main__":
    main()
