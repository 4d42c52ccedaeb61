"""Official weights, from a server on loopback that behaves, and from servers that do not."""

import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

import keras_effvit
from keras_effvit import create_model
from keras_effvit.tasks import SegFormer, create_task, list_tasks
from keras_effvit.weights import official
from tests.parity import Fixture
from tests.torch_file import write_zip

FILE = "efficientvit_b0_r224.pt"


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    state = Fixture("efficientvit_b0").state_dict()
    return write_zip(tmp_path_factory.mktemp("server") / FILE, {"state_dict": state}).read_bytes()


@contextmanager
def server(answer, monkeypatch):
    """A mirror of the official files; `answer(handler)` writes each reply."""
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            answer(self)

        def log_message(self, *_):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    monkeypatch.setenv(official.MIRROR_VARIABLE, f"http://127.0.0.1:{httpd.server_port}/weights/")
    try:
        yield requests
    finally:
        httpd.shutdown()
        httpd.server_close()


def reply(handler, body, *, length=None, status=200):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return tmp_path / "models" / "keras_effvit"


def files(cache):
    return sorted(path.name for path in cache.iterdir()) if cache.exists() else []


def test_downloads_once_and_says_the_licence(content, cache, monkeypatch, capsys):
    with server(lambda handler: reply(handler, content), monkeypatch) as requests:
        model = keras_effvit.EfficientViTB0(weights="official")
        first = capsys.readouterr().out
        keras_effvit.EfficientViTB0(weights="official")
    assert requests == [f"/weights/{FILE}"]
    assert files(cache) == [FILE]
    assert "Downloading data" in first
    assert "licence Apache-2.0" in first
    expected = Fixture("efficientvit_b0").state_dict()["head.op_list.3.linear.bias"]
    np.testing.assert_array_equal(model.get_layer("head").bias, expected)


def test_the_size_it_was_trained_on(content, cache, monkeypatch):
    with server(lambda handler: reply(handler, content), monkeypatch) as requests:
        for side in (256, 288, 300):
            with pytest.raises(ValueError, match="do not fit"):  # it is B0's file that this server has
                keras_effvit.EfficientViTB1(weights="official", input_shape=(side, side, 3))
    assert requests == [f"/weights/efficientvit_b1_r{side}.pt" for side in (256, 288, 224)]


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (lambda h, c: reply(h, c[: len(c) // 2], length=len(c)), ConnectionError, "retrieval incomplete"),
        (lambda h, c: reply(h, c[: len(c) // 2]), ValueError, "What came from http.* is not usable"),
        (lambda h, c: reply(h, c, length=len(c) - 1000), ValueError, "is not usable"),
        (lambda h, c: reply(h, c, length=len(c) + 1000), ConnectionError, "retrieval incomplete"),
        (lambda h, c: reply(h, b"gone", status=404), ConnectionError, "404"),
        (lambda h, c: reply(h, b"<!DOCTYPE html><html>log in</html>"), ValueError, "a web page"),
        (lambda h, c: reply(h, b""), ValueError, "is empty"),
        (lambda h, c: h.wfile.write(b"nonsense\r\n\r\n"), ConnectionError, "Could not download"),
    ],
    ids=["cut", "cut and honest", "claims less", "claims more", "missing", "login page", "nothing", "no HTTP"],
)
def test_what_is_not_whole_is_not_kept(answer, error, message, content, cache, monkeypatch):
    with server(lambda handler: answer(handler, content), monkeypatch):
        with pytest.raises(error, match=message) as caught:
            keras_effvit.EfficientViTB0(weights="official")
        assert f"You can download https://huggingface.co/han-cai/efficientvit-cls/resolve/main/{FILE}" in str(
            caught.value
        )
        assert files(cache) == []
    with server(lambda handler: reply(handler, content), monkeypatch):
        keras_effvit.EfficientViTB0(weights="official")
    assert files(cache) == [FILE]


def test_a_slow_server_is_waited_for_and_a_silent_one_is_not(content, cache, monkeypatch):
    monkeypatch.setattr(official, "PATIENCE_S", 1.0)

    def slow(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        for start in range(0, len(content), len(content) // 4):
            time.sleep(0.4)
            handler.wfile.write(content[start : start + len(content) // 4])

    def silent(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:1000])
        handler.wfile.flush()
        time.sleep(5)

    with server(silent, monkeypatch), pytest.raises(ConnectionError, match="timed out"):
        keras_effvit.EfficientViTB0(weights="official")
    assert files(cache) == []
    with server(slow, monkeypatch):
        keras_effvit.EfficientViTB0(weights="official")


def test_a_killed_download_leaves_nothing_under_the_name(content, cache, tmp_path, monkeypatch):
    started = threading.Event()

    def half(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2])
        handler.wfile.flush()
        started.set()
        time.sleep(60)

    code = "import keras_effvit; keras_effvit.EfficientViTB0(weights='official')"
    with server(half, monkeypatch):
        process = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ), stderr=subprocess.DEVNULL)
        assert started.wait(120)
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert [name.endswith(".part") for name in files(cache)] == [True]
    with server(lambda handler: reply(handler, content), monkeypatch):
        keras_effvit.EfficientViTB0(weights="official")
    assert files(cache) == [FILE]


def test_lvt_needs_its_licence_accepted(cache, monkeypatch, tmp_path):
    body = write_zip(tmp_path / "lvt", {"state_dict": Fixture("lvt").state_dict()}).read_bytes()
    with server(lambda handler: reply(handler, body), monkeypatch) as requests:
        with pytest.raises(ValueError, match=r"non-commercial.*`accept_license=True`"):
            keras_effvit.LVT(weights="official")
        assert requests == []
        keras_effvit.LVT(weights="official", accept_license=True)
        keras_effvit.create_backbone("lvt", weights="official", accept_license=True)
    assert requests == ["/weights/lvt_imagenet.pth.tar"]


@pytest.mark.parametrize("name", ["sepvit_lite", "sepvit_base", "efficientvit_base", "lvt_large"])
def test_models_without_published_weights_say_what_to_do(name):
    with pytest.raises(ValueError, match=r'`weights="official"` of \w+: .*Train the model, or'):
        create_model(name, weights="official")


def test_a_mirror_must_be_a_web_server(monkeypatch, cache):
    monkeypatch.setenv(official.MIRROR_VARIABLE, "file:///etc")
    with pytest.raises(ValueError, match=r"must start with http:// or https://. Received: 'file:///etc'"):
        keras_effvit.EfficientViTB0(weights="official")


def test_every_model_has_official_weights_or_a_reason():
    for name in keras_effvit.list_models():
        reasons = {name, name.partition("_")[0]} & set(official.INSTEAD)
        assert (name in official.PUBLISHED) != bool(reasons), name


def test_a_segmenters_weights(cache, monkeypatch, tmp_path, capsys):
    name = "efficientvit_seg_b0_cityscapes"
    state = Fixture(name).state_dict()
    body = write_zip(tmp_path / name, {"state_dict": state}).read_bytes()
    with server(lambda handler: reply(handler, body), monkeypatch) as requests:
        model = create_task(name, weights="official", input_shape=(64, 64, 3), resize=False)
        assert "licence Apache-2.0" in capsys.readouterr().out
        with pytest.raises(ValueError, match=r"non-commercial.*`accept_license=True`"):
            create_task("lvt_segformer", weights="official")
    assert requests == [f"/weights/{name}.pt"]
    expected = state["head.output_ops.0.op_list.1.conv.bias"]
    np.testing.assert_array_equal(model.get_layer("classifier").bias, expected)


def test_dense_models_without_published_weights_say_what_to_do():
    with pytest.raises(ValueError, match=r"Train the model, give `weights` the path .* or take one of .*lvt_segformer"):
        create_task("efficientvit_det", weights="official")
    with pytest.raises(ValueError, match=r'`create_task\(name, weights="official"\)`'):
        SegFormer("efficientvit_b0", weights="official", input_shape=(64, 64, 3))


def test_published_dense_models_are_in_the_catalogue():
    assert set(official.PUBLISHED_TASKS) <= set(list_tasks())


def test_links_are_the_authors():
    classifiers = [file for files in official.PUBLISHED.values() for file in files.values()]
    for file in [*classifiers, *official.PUBLISHED_TASKS.values()]:
        assert file.url.startswith(
            ("https://github.com/hunto/", "https://huggingface.co/han-cai/", "https://livejohnshopkins-my.sharepoint")
        )
