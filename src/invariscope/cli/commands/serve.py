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
    port: Annotated[int, opt("Port of the server; 0 for any free one.", "INT")] = 8642,
    debug: Debug = False,
) -> None:
    """List all runs in some folders in the browser, open their reports and compare them.

    Prints the address to open; only programs on this computer can reach it. Results that cannot be read are
    listed with the reason. New results appear when the page is reloaded. Ctrl-C ends the server.

    Examples:

        invariscope serve runs
        invariscope serve runs old/runs --port 0
    """
    from invariscope.serve.server import Server

    with Server(folders, port) as server:
        show_line(server.url)
        notice("Ctrl-C ends the server.")
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            notice("The server has ended.")
