"""`invariscope serve` prints its address, and ends with Ctrl-C."""

import os
import signal
import subprocess
import sys
from urllib.request import ProxyHandler, build_opener

import pytest


@pytest.mark.skipif(os.name != "posix", reason="signals of other systems differ")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_the_server_prints_its_address_and_ends_cleanly(number, code, finished):
    run = finished("runs/plain")
    words = [sys.executable, "-m", "invariscope.cli", "serve", str(run.parent), "--port", "0"]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, **options, start_new_session=True) as process:
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")
            # Directly, not through a proxy that the environment may name.
            page = build_opener(ProxyHandler({})).open(url, timeout=60).read().decode()
            assert "runs/plain" in page
            process.send_signal(number)
            assert process.wait(60) == code
            assert "Traceback" not in process.stderr.read()
        finally:
            process.kill()


def test_a_folder_that_does_not_exist_is_one_line(fails):
    assert "no such folder: nowhere" in fails("serve", "nowhere")
    assert "--port must be" in fails("serve", ".", "--port", "70000")
