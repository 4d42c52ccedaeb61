"""The page: well-formed, alone in the world, and harmless whatever things are called."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_effvit.report.building import build
from keras_effvit.report.collect import Artifact, Damaged, Placed
from keras_effvit.report.page import Part, page
from keras_effvit.report.records import Device, Operator, Round, Run, Series
from keras_effvit.report.rows import rows
from tests.report.conftest import a_folder, a_run

VOID = {"meta", "br", "link", "img", "input", "hr"}
BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")


class Page(HTMLParser):
    """Checks that what opens closes, in order, and keeps what may lead away."""

    def __init__(self):
        super().__init__()
        self.open, self.words, self.attributes, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        raise AssertionError(f"HTML has no <{tag}/>")

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(html):
    found = Page()
    found.feed(html)
    found.close()
    assert found.open == []
    return found


def check_alone(html):
    """No script, no address, nothing fetched."""
    found = read(html)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(found.tags)
    for name, value in found.attributes:
        assert not name.startswith("on"), name
        assert name not in ("src", "srcset", "action", "formaction"), name
        if name.endswith("href"):
            assert value.startswith("#")
    styles = re.findall(r"<style>(.*?)</style>", html, re.S)
    assert len(styles) == 1
    assert not re.search(r"@import|url\((?!#)|//", styles[0])
    return found


def test_the_page_stands_alone(tmp_path):
    run = a_run(models=("sepvit_lite", "lvt"), threads=(1, 4), warnings=("The screen was off.",), reference=(8, 9))
    html = build(a_folder(tmp_path / "artifacts", run), tmp_path / "out").read_text()
    found = check_alone(html)
    ids = [value for name, value in found.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    for name, value in found.attributes:
        if name.endswith("href"):
            assert value[1:] in ids
    words = " ".join(found.words)
    for part in ("Google Pixel 8", "screen was off", "12.5 % slower", "1 damaged file left out", "latency-broken.json"):
        assert part in words
    assert words.count("BATCH_MATMUL") >= 2  # in a profile, and left out of a partition
    assert "2, 1 outside" in words


HOSTILE = ["<script>alert(1)</script>\"'>", "</style></svg><img src=x onerror=alert(1)>", "\x00\x1b[31m\ud800", "&lt;"]
texts = st.sampled_from(HOSTILE) | st.text(max_size=20)


@settings(deadline=None, max_examples=40)
@given(st.lists(texts, min_size=12, max_size=12))
def test_nothing_that_files_say_becomes_markup(names):
    a, b, c, d, e, f, g, h, i, j, k, m = names
    turn = Round(0, (1.0, 2.0), 1.0, 1.0, 1, None, 30.0)
    facts = {"model": b, "precision": c, "macs": 5, "partitions": 2, "outside": 1}
    series = Series(a, "0", 5, 1, (turn,), facts, (Operator(d, "builtin", 1, 5.0),))
    run = Run(Device(e, f, {g: [h, {i: j}], "soc": k}), m, {a: b}, (series,), (1.0, 2.0), (c,), d, None, e)
    artifacts = [
        Artifact(f, Path(a_path), "0", 5, {"model": g}, (Placed(h, i, None), Placed(j, k, 0))) for a_path in ("x", "y")
    ]
    waiting = Artifact(m, Path("z"), "1", None, {"partitions": b})
    part = Part(a, run, rows(run, artifacts=artifacts), None, ())
    html = page([part, part], [*artifacts, waiting], [Damaged(c, d)], title=e)
    html.encode()
    check_alone(html)


def test_nothing_to_report_is_said(tmp_path):
    (tmp_path / "artifacts").mkdir()
    html = build(tmp_path / "artifacts", tmp_path / "out").read_text()
    assert "nothing to report yet" in " ".join(check_alone(html).words)


@pytest.mark.skipif(BROWSER is None, reason="no chromium to look at the page with")
@pytest.mark.parametrize("width", [390, 768, 1280])
def test_a_browser_scrolls_the_page_in_one_direction_only(tmp_path, width):
    run = a_run(threads=(1, 4), warnings=("A very long warning. " * 20,), device=Device("phone", "x" * 150))
    html = build(a_folder(tmp_path / "artifacts", run), tmp_path / "out").read_text()
    frame = tmp_path / "frame.html"
    # A window cannot be as narrow as a phone, but a frame in it can.
    quoted = html.replace("&", "&amp;").replace('"', "&quot;")
    measure = "document.title = f.contentDocument.documentElement.scrollWidth"
    frame.write_text(
        f'<!DOCTYPE html><meta charset="utf-8"><body style="margin:0"><iframe id="f" width="{width}" height="900" '
        f'style="border:0" srcdoc="{quoted}" onload="{measure}"></iframe>'
    )
    command = [str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'user'}"]
    command += ["--window-size=1400,1000", "--hide-scrollbars", "--dump-dom", frame.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert re.search(rf"<title>{width}</title>", shown), re.findall(r"<title>\d*</title>", shown)
