"""What a phone needs: out of packages of other people's making, over a network that fails in every way."""

import hashlib
import http.server
import io
import shutil
import subprocess
import tarfile
import threading
import urllib.request
import zipfile
from contextlib import contextmanager, suppress
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.device import assets, downloads
from keras_effvit.device.downloads import Member, Package, cache_folder, unpacked
from keras_effvit.device.errors import AssetsMissing, Damaged
from keras_effvit.device.unpacking import from_deb, from_wheel, read_ar

LIBC = bytes(range(256)) * 300


def make_ar(members):
    content = b"!<arch>\n"
    for name, value in members.items():
        content += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(value):<10}".encode() + b"`\n" + value
        content += b"\n" * (len(value) % 2)
    return content


def make_deb(files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as archive:
        for name, value in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(value, str):
                info.type, info.linkname = tarfile.SYMTYPE, value
            else:
                info.size = len(value)
            archive.addfile(info, None if isinstance(value, str) else io.BytesIO(value))
    return make_ar({"debian-binary": b"2.0\n", "control.tar.xz": b"x", "data.tar.xz": data.getvalue()})


def make_wheel(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in files.items():
            archive.writestr(name, value)
    return content.getvalue()


DEB = make_deb({"./lib/libc.so.6": LIBC, "./lib/link.so": "libc.so.6"})
WHEEL = make_wheel({"ai_edge_litert/libLiteRt.so": LIBC[::-1]})


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@given(st.dictionaries(st.text("abc.-_", min_size=1, max_size=15), st.binary(max_size=300), max_size=5))
def test_members_of_archives(members):
    assert read_ar(make_ar(members)) == members


@pytest.mark.skipif(not shutil.which("ar"), reason="binutils is not installed")
def test_archives_of_binutils(tmp_path):
    for name, content in (("one", b"odd"), ("two.txt", b"even")):
        (tmp_path / name).write_bytes(content)
    subprocess.run(["ar", "rc", "x.a", "one", "two.txt"], cwd=tmp_path, check=True)
    members = read_ar((tmp_path / "x.a").read_bytes())
    assert (members["one"], members["two.txt"]) == (b"odd", b"even")


damage = st.tuples(st.integers(0, len(DEB) - 1), st.integers(0, 255))


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda content: b"!<arch>\n" + content))
def test_garbage_is_no_archive(content):
    with suppress(Damaged):
        read_ar(content)
    for read in (from_deb, from_wheel):
        with pytest.raises(Damaged):
            read(content, "x", 10)


@settings(max_examples=200)
@given(st.lists(damage, max_size=3), st.integers(0, len(DEB)))
def test_damaged_packages_give_the_file_or_an_error(changes, length):
    content = bytearray(DEB)
    for position, value in changes:
        content[position] = value
    with suppress(Damaged):
        assert len(from_deb(bytes(content[:length]), "./lib/libc.so.6", len(LIBC))) <= len(LIBC)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, len(WHEEL) - 1), st.integers(0, 255)), max_size=3), st.integers(0, len(WHEEL)))
def test_damaged_wheels_give_the_file_or_an_error(changes, length):
    content = bytearray(WHEEL)
    for position, value in changes:
        content[position] = value
    with suppress(Damaged):
        assert len(from_wheel(bytes(content[:length]), "ai_edge_litert/libLiteRt.so", len(LIBC))) <= len(LIBC)


def test_only_plain_files_of_the_right_size_come_out():
    assert from_deb(DEB, "./lib/libc.so.6", len(LIBC)) == LIBC
    for name, most in (("./lib/libc.so.6", len(LIBC) - 1), ("./lib/link.so", 10**6), ("./none", 10**6)):
        with pytest.raises(Damaged, match=name):
            from_deb(DEB, name, most)
    with pytest.raises(Damaged, match="up to 5 bytes"):
        from_wheel(WHEEL, "ai_edge_litert/libLiteRt.so", 5)
    with pytest.raises(Damaged, match=r"data\.tar\.xz"):
        from_deb(make_ar({"debian-binary": b""}), "x", 1)


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `pages` by path, or by whole URL when it is used as a proxy."""

    pages: ClassVar[dict[str, bytes]]
    asked: ClassVar[list[str]]

    def do_GET(self):
        self.asked.append(self.path)
        page = self.pages.get(self.path)
        self.send_response(200 if page is not None else 404)
        self.send_header("Content-Length", str(len(page or b"")))
        self.end_headers()
        self.wfile.write((page or b"")[: -10 if "cut" in self.path else None])

    def log_message(self, format, *args):
        pass


@contextmanager
def serving(pages):
    handler = type("Handler", (Server,), {"pages": pages, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", handler.asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in ("KERAS_EFFVIT_DEBIAN_MIRROR", "PIP_INDEX_URL", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def deb(*urls):
    member = Member("./lib/libc.so.6", len(LIBC), sha256(LIBC))
    return Package(urls, len(DEB), sha256(DEB), {"libc.so.6": member})


def wheel(*urls):
    member = Member("ai_edge_litert/libLiteRt.so", len(LIBC), sha256(LIBC[::-1]))
    return Package(urls, len(WHEEL), sha256(WHEEL), {"libLiteRt.so": member})


def test_what_is_fetched_once_is_there(tmp_path):
    told = []
    with serving({"/a/libc.deb": DEB, "/x.whl": WHEEL}) as (url, asked):
        packages = (deb(f"{url}/a/libc.deb"), wheel(f"{url}/x.whl"))
        folder = unpacked(packages, tmp_path / "cache", lambda *each: told.append(each))
        assert unpacked(packages, tmp_path / "cache") == folder
        assert asked == ["/a/libc.deb", "/x.whl"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "libc.so.6": LIBC, "libLiteRt.so": LIBC[::-1]
    }  # fmt: skip
    assert ("libc.deb", len(DEB), len(DEB)) in told
    rest = {path.name for path in (tmp_path / "cache").rglob("*")} - {folder.name, "libc.so.6", "libLiteRt.so"}
    assert rest == {"downloads"}


@pytest.mark.parametrize(
    "answer", [b"", DEB[:-1], DEB + b"x", b"<html>log in to this network</html>", DEB[::-1], None], ids=range(6)
)
def test_the_next_address_is_tried(answer, tmp_path):
    pages = {"/good/libc.deb": DEB, "/cut/libc.deb": DEB} | ({"/bad/libc.deb": answer} if answer is not None else {})
    with serving(pages) as (url, asked):
        package = deb(f"{url}/bad/libc.deb", f"{url}/cut/libc.deb", f"{url}/good/libc.deb")
        folder = unpacked((package,), tmp_path)
    assert (folder / "libc.so.6").read_bytes() == LIBC
    assert len(asked) == 3


def test_without_network_it_says_what_to_fetch(tmp_path):
    with serving({}) as (url, _):
        pass  # nobody listens there any more
    package = deb(f"{url}/libc.deb")
    with pytest.raises(AssetsMissing, match=r"libc\.deb: .*(refused|111)") as raised:
        unpacked((package,), tmp_path)
    assert f"put the file libc.deb into {tmp_path / 'downloads'}" in raised.value.fix
    (tmp_path / "downloads" / "libc.deb").write_bytes(b"something else")
    with pytest.raises(AssetsMissing):
        unpacked((package,), tmp_path)
    (tmp_path / "downloads" / "libc.deb").write_bytes(DEB)
    assert (unpacked((package,), tmp_path) / "libc.so.6").read_bytes() == LIBC


@pytest.mark.parametrize("damaged", ["missing", "changed"])
def test_a_damaged_cache_is_made_anew(damaged, tmp_path):
    with serving({"/libc.deb": DEB}) as (url, asked):
        path = unpacked((deb(f"{url}/libc.deb"),), tmp_path) / "libc.so.6"
        path.unlink() if damaged == "missing" else path.write_bytes(LIBC[::-1])
        unpacked((deb(f"{url}/libc.deb"),), tmp_path)
        assert len(asked) == 2
    assert path.read_bytes() == LIBC


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AssetsMissing, match=r"KERAS_EFFVIT_CACHE"):
        unpacked((deb("http://127.0.0.1:9/libc.deb"),), tmp_path / "file" / "cache")


def test_several_at_once_get_the_same(tmp_path):
    with serving({"/libc.deb": DEB}) as (url, _):
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(unpacked((deb(f"{url}/libc.deb"),), tmp_path)))
            for _ in range(6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1


def test_mirrors_and_indexes_of_ones_own(tmp_path, monkeypatch):
    name = "ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_aarch64.whl"
    page = f'<a href="../../files/{name}#sha256=0">{name}</a>'.encode()
    pages = {"/mirror/pool/libc.deb": DEB, "/simple/ai-edge-litert/": page, f"/files/{name}": WHEEL}
    with serving(pages) as (url, asked):
        monkeypatch.setenv("KERAS_EFFVIT_DEBIAN_MIRROR", f"{url}/mirror/")
        monkeypatch.setenv("PIP_INDEX_URL", f"{url}/simple")
        unpacked((deb("{debian}/pool/libc.deb"), wheel(f"http://127.0.0.1:9/{name}")), tmp_path)
    assert sorted(asked) == sorted(pages)


def test_an_index_without_the_wheel_is_passed_over(tmp_path, monkeypatch):
    with serving({"/x.whl": WHEEL, "/simple/ai-edge-litert/": b"nothing"}) as (url, _):
        monkeypatch.setenv("PIP_INDEX_URL", f"{url}/simple/")
        unpacked((wheel(f"{url}/x.whl"),), tmp_path)


def test_proxies_are_used(tmp_path, monkeypatch):
    with serving({"http://deb.example/libc.deb": DEB}) as (url, asked):
        monkeypatch.setenv("http_proxy", url)
        unpacked((deb("http://deb.example/libc.deb"),), tmp_path)
    assert asked == ["http://deb.example/libc.deb"]


def test_where_things_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_EFFVIT_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    assert cache_folder(tmp_path / "x") == tmp_path / "x"
    monkeypatch.delenv("KERAS_EFFVIT_CACHE")
    assert cache_folder().parts[-2:] == (".cache", "keras_effvit")


def test_the_real_ones(capsys):
    """Over the network the first time; out of the cache of whoever runs this after that."""
    try:
        folder = assets.assets()
    except AssetsMissing as error:
        pytest.skip(str(error))
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "ld-linux-aarch64.so.1",
        "libc.so.6",
        "libm.so.6",
        "libgcc_s.so.1",
        "libstdc++.so.6",
        "libLiteRt.so",
    }
    for path in folder.iterdir():
        assert path.read_bytes()[:5] == b"\x7fELF\x02"
        assert path.read_bytes()[18:20] == b"\xb7\x00"  # aarch64
    assert assets.phone_litert_version() == "2.3.0"


def test_all_addresses_are_well_formed():
    packages = (*assets._C_LIBRARIES, *assets._LITERT.values())
    for package in packages:
        for url in package.urls:
            urllib.request.Request(url.format(debian=downloads.DEBIAN))
        assert package.name.endswith((".deb", ".whl"))
        assert len(package.sha256) == 64
