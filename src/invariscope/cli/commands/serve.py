"""`invariscope serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from invariscope.cli.console import notice, show_line
from invariscope.cli.errors import Debug, command
from invariscope.cli.options import opt


@command
def serve(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUNS...", help="Folders that contain runs, at any depth.", show_default=False
        ),
    ],
    port: Annotated[int, opt("Port of the server; 0 for any free port.", "INT")] = 8642,
    debug: Debug = False,
) -> None:
    """Start a local web server to browse and compare all runs in some folders.

    Prints the address to open, which is accessible only from this computer. Results that cannot be read are
    listed with the reason. Reload the page to see new results. Ctrl-C stops the server.

    Examples:

        invariscope serve runs
        invariscope serve runs old/runs --port 0
    """
    from invariscope.serve.server import Server

    with Server(folders, port) as server:
        show_line(server.url)
        notice("Press Ctrl-C to stop the server.")
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            notice("The server has stopped.")
