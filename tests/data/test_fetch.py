"""Fetching entries by id, from a server on this machine: whole files only, nothing twice, failures named."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from bindrae.config import CleanSettings, IndexSettings
from bindrae.data import fetch
from bindrae.data.fetch import address_of, is_sound, place_of, record_of
from bindrae.data.index import run_index
from bindrae.data.layout import DataLayout
from bindrae.data.sheets import read_ids
from bindrae.data.stages import run_clean
from bindrae.data.storage import read_json, read_table, rejected_path, sha256_file, sidecar_path
from bindrae.errors import BindraeError
from complexes import peptide
from groups import group, write_cif


class Server:
    """Answers by file name; counts what it was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.truncated: set[str] = set()
        self.busy: Counter[str] = Counter()  # answers 503 this many times
        self.asked: Counter[str] = Counter()
        self.elsewhere: dict[str, str] = {}  # answers with a redirect
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rsplit("/", 1)[-1]
                outer.asked[name] += 1
                if outer.busy[name] > 0:
                    outer.busy[name] -= 1
                    self.send_error(503)
                    return
                if name in outer.elsewhere:
                    self.send_response(302)
                    self.send_header("Location", outer.elsewhere[name])
                    self.end_headers()
                    return
                if name not in outer.files:
                    self.send_error(404)
                    return
                body = outer.files[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if name in outer.truncated else body)
                self.close_connection = True

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/<id>.cif.gz"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "_PAUSE_SECONDS", 0.01)
    one = Server()
    yield one
    one.http.shutdown()
    one.http.server_close()


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    atoms = peptide("AFKDSWLEGH") + group("STI") + group("GOL", 301, centre=(5, 5, 30)) + group("ZN", 302)
    return write_cif(tmp_path_factory.mktemp("entry") / "a.cif.gz", atoms).read_bytes()


def index(tmp_path: Path, root: Path, server: Server, **settings: Any) -> DataLayout:
    data = DataLayout(tmp_path / "results" / "data")
    run_index(data, root, IndexSettings(layout="ids", structure_url=server.url, n_batches=2, **settings))
    return data


def rejections(data: DataLayout) -> dict[str, dict[str, str]]:
    return {row["id"]: row for row in read_table(rejected_path(data.entries)).to_pylist()}


def listed(tmp_path: Path, text: str) -> Path:
    (tmp_path / "ids.txt").write_text(text)
    return tmp_path / "ids.txt"


def test_entries_are_fetched_recorded_and_not_fetched_again(tmp_path: Path, server: Server, entry: bytes) -> None:
    for name in ("1aaa", "2bbb", "3ccc"):
        server.files[f"{name}.cif.gz"] = entry
    root = listed(tmp_path, "# kinases\n1AAA\n2bbb STI A 201  # imatinib\n\n3ccc STI\n")
    data = index(tmp_path, root, server)
    rows = {row["id"]: row for row in read_table(data.entries).to_pylist()}
    assert {i: row["ligand"] for i, row in rows.items()} == {
        "1AAA": ["hetatm:STI/A/201"],
        "2bbb": ["hetatm:STI/A/201"],
        "3ccc": ["hetatm:STI"],
    }
    path = Path(rows["1AAA"]["protein"])
    assert path == data.root / "downloads" / "aa" / "1aaa.cif.gz"
    assert path.read_bytes() == entry
    digest = hashlib.sha256(entry).hexdigest()
    assert read_json(record_of(path)) == {
        "url": server.url.replace("<id>", "1aaa"),
        "bytes": len(entry),
        "sha256": digest,
    }
    assert read_json(sidecar_path(data.entries))["counts"] == {"in": 3, "out": 3, "rejected": 0}
    assert {row["source"] for row in rows.values()} == {"ids.txt"}
    before, prints = data.entries.read_bytes(), data.batches.read_bytes()
    index(tmp_path, root, server)
    assert set(server.asked.values()) == {1}
    assert (data.entries.read_bytes(), data.batches.read_bytes()) == (before, prints)


def test_what_fails_is_a_rejected_row_and_nothing_half_is_kept(tmp_path: Path, server: Server, entry: bytes) -> None:
    plain = gzip.decompress(entry)
    server.files |= {
        "1aaa.cif.gz": entry,
        "3cut.cif.gz": entry,
        "4bad.cif.gz": entry[:200] + bytes([entry[200] ^ 255]) + entry[201:],
        "5sum.cif.gz": entry,
        "6web.cif.gz": gzip.compress(b"<html>not here</html>"),
        "7raw.cif.gz": plain,
        "8dry.cif.gz": gzip.compress(plain.replace(b"STI", b"GOL")),
    }
    server.truncated = {"3cut.cif.gz"}
    root = tmp_path / "ids.csv"
    ids = ["1aaa", "2not", "3cut", "4bad", "5sum", "6web", "7raw", "8dry"]
    pd.DataFrame({"id": ids, "sha256": ["", "", "", "", "0" * 64, "", "", ""]}).to_csv(root, index=False)
    data = index(tmp_path, root, server, download_attempts=2)
    assert read_table(data.entries)["id"].to_pylist() == ["1aaa"]
    found = rejections(data)
    assert {i: row["code"] for i, row in found.items()} == {
        **dict.fromkeys(ids[1:7], "download_failed"),
        "8dry": "ligand_not_in_file",
    }
    assert "404" in found["2not"]["message"]
    assert "gzip" in found["4bad"]["message"]
    assert "SHA-256" in found["5sum"]["message"]
    assert "html" in found["6web"]["message"]
    assert all("127.0.0.1" in found[i]["message"] and found[i]["stage"] == "index" for i in ids[1:7])
    assert server.asked["2not.cif.gz"] == 1, "asking again for what is not there is no use"
    assert server.asked["3cut.cif.gz"] == 2
    kept = sorted(p.name for p in (data.root / "downloads").rglob("*") if p.is_file())
    assert kept == ["1aaa.cif.gz", "1aaa.cif.gz.json", "8dry.cif.gz", "8dry.cif.gz.json"]
    # The server is mended: only what is missing is fetched.
    server.truncated = set()
    index(tmp_path, root, server, download_attempts=2)
    assert "3cut" in read_table(data.entries)["id"].to_pylist()
    assert server.asked["1aaa.cif.gz"] == 1


def test_what_was_fetched_is_cleaned_without_the_server(tmp_path: Path, server: Server, entry: bytes) -> None:
    server.files["1aaa.cif.gz"] = entry
    data = index(tmp_path, listed(tmp_path, "1aaa"), server)
    server.files.clear()
    (batch,) = read_table(data.entries)["batch"].to_pylist()
    run_clean(data.entries, batch, data.batch("clean", batch), CleanSettings())
    (row,) = read_table(data.batch("clean", batch)).to_pylist()
    assert (row["ligand_route"], row["n_residues"], len(row["ligand_element"])) == ("ccd", 10, 37)
    assert row["ligand_smiles"] == "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(-c2cccnc2)n1"


def test_a_busy_server_is_asked_again(tmp_path: Path, server: Server, entry: bytes) -> None:
    server.files["1aaa.cif.gz"] = entry
    server.busy["1aaa.cif.gz"] = 2
    data = index(tmp_path, listed(tmp_path, "1aaa STI"), server)
    assert read_table(data.entries)["id"].to_pylist() == ["1aaa"]
    assert server.asked["1aaa.cif.gz"] == 3


@pytest.mark.parametrize("damage", ["no record", "cut", "changed", "torn record", "leftovers"])
def test_an_interrupted_run_goes_on(tmp_path: Path, server: Server, entry: bytes, damage: str) -> None:
    for name in ("1aaa", "2bbb"):
        server.files[f"{name}.cif.gz"] = entry
    root = listed(tmp_path, "1aaa STI\n2bbb STI\n")
    data = index(tmp_path, root, server)
    whole = data.entries.read_bytes()
    path = data.root / "downloads" / "aa" / "1aaa.cif.gz"
    if damage == "no record":
        record_of(path).unlink()
    elif damage == "cut":
        path.write_bytes(entry[:-10])
    elif damage == "changed":
        path.write_bytes(entry[:-1] + bytes([entry[-1] ^ 1]))
    elif damage == "torn record":
        record_of(path).write_text("{")
    else:
        partial = data.root / "downloads" / fetch._PARTIAL
        partial.mkdir()
        (partial / "aa-1aaa.cif.gz").write_bytes(entry[:50])
        (partial / "tmpxyz").write_bytes(b"half")
    index(tmp_path, root, server)
    assert server.asked == {"1aaa.cif.gz": 1 if damage == "leftovers" else 2, "2bbb.cif.gz": 1}
    assert path.read_bytes() == entry
    assert is_sound(path, server.url.replace("<id>", "1aaa"), sha256_file(path))
    assert not (data.root / "downloads" / fetch._PARTIAL).exists()
    if damage == "leftovers":
        assert data.entries.read_bytes() == whole


def test_another_address_or_checksum_is_not_what_is_there(tmp_path: Path, server: Server, entry: bytes) -> None:
    server.files["1aaa.cif.gz"] = entry
    data = index(tmp_path, listed(tmp_path, "1aaa STI"), server)
    path = data.root / "downloads" / "aa" / "1aaa.cif.gz"
    address = server.url.replace("<id>", "1aaa")
    assert is_sound(path, address, None)
    assert not is_sound(path, address + "?", None)
    assert not is_sound(path, address, "0" * 64)


def test_a_redirect_is_followed_only_where_nobody_can_change_what_arrives(
    tmp_path: Path, server: Server, entry: bytes
) -> None:
    server.files["there.cif.gz"] = entry
    port = server.http.server_address[1]
    server.elsewhere = {
        "1aaa.cif.gz": "/there.cif.gz",
        "2bbb.cif.gz": "ftp://127.0.0.1/there.cif.gz",
        "3ccc.cif.gz": f"http://localhost:{port}/there.cif.gz",
        "4ddd.cif.gz": "file:///etc/passwd",
        "5eee.cif.gz": "/5eee.cif.gz",
    }
    data = index(tmp_path, listed(tmp_path, "1aaa STI\n2bbb\n3ccc\n4ddd\n5eee\n"), server, download_attempts=1)
    assert read_table(data.entries)["id"].to_pylist() == ["1aaa"]
    found = rejections(data)
    assert {row["code"] for row in found.values()} == {"download_failed"}
    for identifier, place in (("2bbb", "ftp://127.0.0.1"), ("3ccc", "http://localhost"), ("4ddd", "file://")):
        assert f"sends on to {place}" in found[identifier]["message"]
        assert "not followed" in found[identifier]["message"]
    assert "redirects" in found["5eee"]["message"], "not for ever"


def test_from_https_nothing_leads_to_plain_http() -> None:
    import requests

    answer = requests.Response()
    answer.status_code, answer.url = 301, "https://one.example/a"
    for there in ("https://two.example/a", "/b", "b"):
        answer.headers["location"] = there
        fetch._check_redirect(answer)
    for there in ("http://one.example/a", "HTTP://one.example/a", "ftp://one.example/a", "file:///a"):
        answer.headers["location"] = there
        with pytest.raises(ValueError, match="not followed"):
            fetch._check_redirect(answer)


def test_no_more_is_taken_than_a_structure_can_be(
    tmp_path: Path, server: Server, entry: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "MAX_BYTES", len(gzip.decompress(entry)))
    server.files = {
        "1aaa.cif.gz": entry,
        "2big.cif.gz": bytes(2 * len(gzip.decompress(entry))),
        "3gzb.cif.gz": gzip.compress(gzip.decompress(entry) + bytes(100_000)),
    }
    data = index(tmp_path, listed(tmp_path, "1aaa STI\n2big\n3gzb\n"), server, download_attempts=1)
    assert read_table(data.entries)["id"].to_pylist() == ["1aaa"]
    found = rejections(data)
    assert "bytes arrived" in found["2big"]["message"]
    assert "bytes once unpacked" in found["3gzb"]["message"]
    assert sorted(p.name for p in (data.root / "downloads").rglob("*.gz")) == ["1aaa.cif.gz"]


def test_no_server_at_all_is_told(tmp_path: Path, server: Server) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(BindraeError, match="all 1 complexes lack a file") as caught:
        index(tmp_path, listed(tmp_path, "1aaa STI"), server, download_attempts=1)
    assert "structure_url" in caught.value.hint


def test_no_folder_holds_more_than_a_few_thousand_files() -> None:
    letters = "0123456789abcdefghijklmnopqrstuvwxyz"
    ids = [f"1{a}{b}{c}" for a in letters for b in letters for c in letters]
    folders = Counter(place_of(Path("d"), "https://x/<id>.cif.gz", i).parent.name for i in ids)
    assert len(folders) == 36 * 36
    assert max(folders.values()) * 2 * 9 < 1000, "two files each, nine first characters"
    assert place_of(Path("d"), "https://x/<id>.cif", "pdb_00001ABC") == Path("d/ab/pdb_00001abc.cif")
    assert place_of(Path("d"), "https://x/get?entry=<id>", "1abc").name == "1abc.cif"
    assert address_of("https://x/<middle>/<ID>-<id>.cif", "1aBc") == "https://x/ab/1ABC-1abc.cif"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("1abc STI A 5 x\n", "line 1: more than four words"),
        ("\n\nkinase\n", "line 3: 'kinase' is not a PDB id"),
        ("1abc imatinib\n", "line 1"),
        ("1abc STI A five\n", "line 1"),
        ("1abc\n1ABC\n", "more than once: 1abc"),
        ("# nothing\n", "no complexes"),
    ],
)
def test_lists_that_cannot_be_are_refused(tmp_path: Path, server: Server, text: str, match: str) -> None:
    with pytest.raises(BindraeError, match=match):
        index(tmp_path, listed(tmp_path, text), server)
    assert not server.asked


def test_sheets_of_ids_may_name_ligands_and_checksums(tmp_path: Path) -> None:
    path = tmp_path / "ids.tsv"
    path.write_text(f"id\tligand\tsha256\n1abc\tSTI/A/201\t{'A' * 64}\npdb_00002abc\thetatm:STI\t\n3abc\t\t\n")
    one, two, three = read_ids(path)
    assert (one.ligand, one.sha256) == ("hetatm:STI/A/201", "a" * 64)
    assert (two.ligand, two.sha256) == ("hetatm:STI", None)
    assert (three.id, three.ligand) == ("3abc", None)
    for text, match in (("name\n1abc\n", "column id"), ("id,sha256\n1abc,5\n", "row 1: '5' is not a SHA-256")):
        other = tmp_path / "ids.csv"
        other.write_text(text)
        with pytest.raises(BindraeError, match=match):
            read_ids(other)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/<id>",
        "http://x/<id>",
        "http://127.0.0.1.evil.example/<id>",
        "file:///<id>",
        "https://x/all.cif",
        "https://x/<id>/<name>",
        "https://x/<id>{id}",
    ],
)
def test_addresses_that_cannot_be_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="structure_url"):
        IndexSettings(structure_url=url)
