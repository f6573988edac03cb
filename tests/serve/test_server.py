"""The server lists, renders and compares runs, and answers nobody but the browser on this computer."""

import http.client
import json
import os
import re
import threading
from contextlib import contextmanager

import pytest
from sample_results import sample_result

from invariscope.report import write_report
from invariscope.serve import pages
from invariscope.serve.runs import Library
from invariscope.serve.server import HOST, Server

SCRIPT = "</script><img src=x onerror=alert(1)>"
SMALL = {"conv1": (4, 6, 6), "out": (10,)}


def small(name, **options):
    return sample_result(name, layers=SMALL, classes=False, curves=False, examples=False, **options)


@pytest.fixture
def folder(tmp_path):
    """A folder with two runs at different depths, one with a hostile name, and a damaged one."""
    runs = tmp_path / "runs"
    small("plain").save(runs / "plain")
    small(f"{SCRIPT}\x1b[2J\u202e", level=2.0).save(runs / "deep" / "er" / "rotated")
    small("cut").save(runs / "cut")
    path = runs / "cut" / "result.json"
    path.write_text(path.read_text()[:-100])
    (runs / ".hidden").mkdir()
    small("unfinished").save(runs / ".hidden" / "run")
    return runs


@contextmanager
def serving(*folders):
    with Server(folders, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server, path="/", *, method="GET", **headers):
    """Status, headers and body of one request."""
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=60)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): v for name, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode()
    finally:
        connection.close()


def keys(page):
    return re.findall(r'name="run" value="([0-9a-f]{16})"', page)


def test_the_index_lists_runs_at_any_depth_and_says_why_others_cannot_be_read(folder):
    with serving(folder) as server:
        status, headers, page = ask(server)
    assert status == 200
    assert len(keys(page)) == 2
    assert "runs/plain" in page
    assert "runs/deep/er/rotated" in page
    assert "mnist_subset" in page
    assert "2026-01-02 03:04" in page
    assert re.search(r"<dt>runs/cut</dt><dd>[^<]*truncated", page)
    assert "unfinished" not in page
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'sha256-")


def test_hostile_names_are_text_in_every_page(folder):
    with serving(folder) as server:
        index = ask(server)[2]
        report = ask(server, "/report?" + "&".join(f"run={key}" for key in keys(index)))[2]
    assert 'data-table="differences"' in report
    for page in (index, report):
        assert SCRIPT not in page
        assert "\x1b" not in page
        assert "\u202e" not in page
    assert "\\x1b[2J\\u202e" in index


def test_a_report_of_the_server_leads_back_to_the_list_and_a_file_does_not(folder, tmp_path):
    with serving(folder) as server:
        page = ask(server, f"/report?run={keys(ask(server)[2])[0]}")[2]
    assert '<a href="/">← All runs</a>' in page
    assert "All runs" not in write_report(small("plain"), tmp_path / "report.html").read_text()


def test_a_run_and_a_comparison_are_rendered_once_and_again_after_a_change(folder, monkeypatch):
    made = []

    def rendered(runs):
        made.append(len(runs))
        return pages.Page(" and ".join(run.name for run in runs).encode(), "")

    monkeypatch.setattr(pages, "_report", rendered)
    with serving(folder) as server:
        one, other = keys(ask(server)[2])
        first = [ask(server, f"/report?run={one}")[2] for _ in range(2)]
        assert len(set(first)) == 1
        assert ask(server, f"/report?run={one}&run={other}")[2].startswith(f"{first[0]} and ")
        assert made == [1, 2]
        small("plain", level=3.0).save(folder / "plain", overwrite=True)
        small("rotated", level=3.0).save(folder / "deep" / "er" / "rotated", overwrite=True)
        assert ask(server, f"/report?run={one}")[0] == 200
    assert made == [1, 2, 1]


def test_new_and_removed_runs_show_up_when_the_page_is_reloaded(folder):
    with serving(folder) as server:
        before = keys(ask(server)[2])
        small("new").save(folder / "new")
        (folder / "plain" / "result.json").unlink()
        after = keys(ask(server)[2])
        gone = (set(before) - set(after)).pop()
        status, _, page = ask(server, f"/report?run={gone}")
    assert len(set(after) - set(before)) == 1
    assert (status, "reload the list" in page) == (404, True)


def test_only_changed_files_are_read_again(folder, monkeypatch):
    from invariscope.serve import runs

    read = []
    inner = runs.load
    monkeypatch.setattr(
        runs, "load", lambda place, **options: read.append(place.name) or inner(place, **options)
    )
    library = Library([folder])
    library.runs()
    library.runs()
    assert sorted(read) == ["cut", "plain", "rotated"]
    small("plain", level=2.0).save(folder / "plain", overwrite=True)
    library.runs()
    assert sorted(read) == ["cut", "plain", "plain", "rotated"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nothing", 404),
        ("/../../etc/passwd", 404),
        ("/%2e%2e/%2e%2e/etc/passwd", 404),
        ("//etc/passwd", 404),
        ("/report?run=../../etc/passwd", 422),
        ("/report?run=0123456789abcdef", 404),
        ("/report", 422),
        ("/report?" + "&".join(["run=0"] * 200), 422),
        ("/favicon.ico", 204),
    ],
)
def test_other_addresses_lead_nowhere(path, status, folder):
    with serving(folder) as server:
        found, _, page = ask(server, path)
    assert found == status
    assert "root:" not in page


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "localhost:1", ""])
def test_a_request_that_names_another_host_is_refused(host, folder):
    with serving(folder) as server:
        status, _, page = ask(server, Host=host)
        assert (status, keys(page)) == (403, [])
        assert ask(server, Host=f"LOCALHOST:{server.server_port}")[0] == 200


def test_pages_of_other_sites_can_open_a_report_but_not_embed_it(folder):
    with serving(folder) as server:
        assert ask(server, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")[0] == 403
        assert ask(server, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200
        headers = ask(server)[1]
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_but_get_is_answered(method, folder):
    with serving(folder) as server:
        status, headers, _ = ask(server, method=method)
        assert (status, headers["Allow"]) == (405, "GET, HEAD")
        status, headers, page = ask(server, method="HEAD")
        assert (status, page) == (200, "")
        assert int(headers["Content-Length"]) > 1000


def test_a_bug_in_a_page_does_not_end_the_server(folder, monkeypatch, caplog):
    monkeypatch.setattr(pages, "_report", lambda runs: 1 / 0)
    with serving(folder) as server:
        key = keys(ask(server)[2])[0]
        status, _, page = ask(server, f"/report?run={key}")
        assert status == 500
        assert "ZeroDivisionError" not in page
        assert ask(server)[0] == 200
    assert "ZeroDivisionError" in caplog.text


def test_a_result_without_rows_and_odd_provenance_are_listed(tmp_path):
    result = small("odd")
    odd = {"model": {"label": 3}, "data": {"name": ["x"]}, "transform": {"family": None}, "created": 7}
    type(result)((), provenance=odd).save(tmp_path / "empty")
    with serving(tmp_path) as server:
        page = ask(server)[2]
        status, _, said = ask(server, f"/report?run={keys(page)[0]}")
    assert status == 422
    assert "has no rows to report" in said


def test_folders_ports_and_hosts_are_checked(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such folder: .*nowhere"):
        Server([tmp_path / "nowhere"], 0)
    with pytest.raises(ValueError, match="--port must be from 0"):
        Server([tmp_path], 65_536)
    with serving(tmp_path) as server:
        assert server.socket.getsockname()[0] == "127.0.0.1"
        with pytest.raises(OSError, match=r"cannot be used.*--port"):
            Server([tmp_path], server.server_port)
        assert "No results were found" in ask(server)[2]


@pytest.mark.skipif(os.name != "posix", reason="names of other systems are text")
def test_a_folder_whose_name_is_no_text_is_listed(tmp_path):
    place = os.fsencode(tmp_path) + b"/half\xff"
    small("plain").save(os.fsdecode(place))
    with serving(tmp_path) as server:
        page = ask(server)[2]
    assert "half\\udcff" in page
    json.dumps(page).encode("utf-8")
