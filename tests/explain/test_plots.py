"""Pictures: what must be light is light, marks and windows are where they belong, and files are whole."""

import io
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image

from keras_effvit import layers
from keras_effvit.explain import Heatmap, attention, draw_attention, draw_heatmaps, last_of_every_kind, save
from keras_effvit.explain.attention_maps import ALL, AttentionMap
from keras_effvit.explain.attention_plots import PLACES
from keras_effvit.explain.plots import DPI, WIDTH, overlay

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def found(heat, **facts):
    usual = {"target": 1, "score": 2.0, "probability": 0.9, "method": "gradcam", "layer": "stage4", "pixels": PIXELS}
    return Heatmap(heat=heat.astype("float32"), raw=heat, **{**usual, **facts})


def spot(row, column):
    heat = np.zeros((40, 60))
    heat[row : row + 10, column : column + 10] = 1
    return heat


def picture(figure):
    """A figure as an array of pixels."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("RGB")).astype(int)


def panel(figure, number):
    """The pixels of a figure's panel, counted row by row."""
    pixels = picture(figure)
    axes = [each for part in figure.subfigs for each in part.axes][number]
    left, bottom, right, top = axes.get_window_extent().extents
    height = len(pixels)
    return pixels[round(height - top) : round(height - bottom), round(left) : round(right)]


def texts(figure):
    return [text.get_text() for part in figure.subfigs for text in (*part.texts, *(a.title for a in part.axes))]


def colourfulness(pixels):
    return (pixels.max(axis=-1) - pixels.min(axis=-1)).astype(float)


def test_where_there_is_no_heat_an_image_is_grey_and_darker():
    cold, hot = overlay(PIXELS, np.zeros((40, 60))), overlay(PIXELS, np.ones((40, 60)))
    assert colourfulness(cold).max() < 0.02
    assert cold.mean() < PIXELS.mean() / 255
    assert hot.mean() > cold.mean() + 0.3
    # Heat never hides all of the image, and no heat never all of its light.
    assert all(np.corrcoef(each.mean(-1).ravel(), PIXELS.mean(-1).ravel())[0, 1] > 0.8 for each in (cold, hot))


def test_more_heat_is_lighter():
    """In the colours alone, so that people of any colour vision and printers can read it."""
    ramp = np.tile(np.linspace(0, 1, 60), (40, 1))
    light = overlay(np.full((40, 60, 3), 90, np.uint8), ramp) @ [0.299, 0.587, 0.114]
    assert (np.diff(light[0]) > -1e-3).all()


def test_a_heat_map_lies_over_its_image():
    drawn = panel(draw_heatmaps(found(spot(0, 50))), 1).astype(float)
    light = drawn.sum(axis=-1)
    height, width = light.shape
    assert light[: height // 4, -width // 6 :].mean() > 1.5 * light[height // 2 :, : width // 2].mean()


def test_rows_begin_with_their_image_and_say_what_is_in_them():
    methods = ("gradcam", "scorecam", "saliency")
    heats = [found(spot(0, 0), method=method, layer=None if method == "saliency" else "stage4") for method in methods]
    figure = draw_heatmaps(heats, classes=["cat", "dog"])
    assert texts(figure) == ["what speaks for dog (90%), at stage4", "image", "Grad-CAM", "Score-CAM", "saliency"]
    rows = [[found(spot(0, 0), target=t), found(spot(9, 9), target=t, method="scorecam")] for t in (0, 1)]
    figure = draw_heatmaps(rows)
    assert texts(figure)[0] == "what speaks for class 0 (90%), at stage4"
    assert texts(figure)[4] == "what speaks for class 1 (90%), at stage4"
    figure = draw_heatmaps([[found(spot(0, 0), target=0), found(spot(0, 0), target=1)]])
    assert texts(figure) == ["at stage4", "image", "class 0 (90%)", "class 1 (90%)"]
    assert "finds nothing" in texts(draw_heatmaps(found(0 * spot(0, 0))))[-1]


@pytest.mark.parametrize("columns", [1, 3, 5])
def test_pictures_keep_their_shape(columns):
    heats = [found(spot(0, 0), method=method) for method in ("gradcam", "gradcam++", "scorecam", "saliency")][:columns]
    figure = draw_heatmaps(heats)
    height, width, _ = panel(figure, 0).shape
    assert width / height == pytest.approx(60 / 40, rel=0.03)
    assert picture(figure).shape[1] == round(WIDTH * DPI)


def test_a_file_is_whole_and_always_the_same(tmp_path):
    for name in ("one.png", "two.png"):
        assert save(draw_heatmaps(found(spot(0, 0))), tmp_path / name) == tmp_path / name
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert Image.open(tmp_path / "one.png").format == "PNG"
    with pytest.raises(OSError, match="nowhere"):
        save(draw_heatmaps(found(spot(0, 0))), tmp_path / "nowhere" / "x.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


def test_pyplot_and_its_settings_are_left_alone():
    import matplotlib

    before = dict(matplotlib.rcParams)
    backend = matplotlib.get_backend(auto_select=False)
    picture(draw_heatmaps(found(spot(0, 0))))
    assert dict(matplotlib.rcParams) == before
    assert matplotlib.get_backend(auto_select=False) == backend


# --- Attention.


def one_layer(layer, size=(8, 12), tokens=0, channels=16):
    image = keras.Input((*size, channels))
    given = [image] + ([layers.GlobalTokens(tokens)(image)] if tokens else [])
    model = keras.Model(image, layer(*given))
    x = np.random.default_rng(0).standard_normal((*size, channels)).astype("float32")
    maps = attention(model, x).items()
    return {name: replace(each, pixels=np.resize(PIXELS, (80, 120, 3))) for name, each in maps}


ATTENTIONS = {
    "sepvit": (layers.SeparableSelfAttention(2, 4, name="a"), 0),
    "sepvit, all": (layers.GroupedSelfAttention(2, name="a"), 0),
    "lightvit": (layers.LocalGlobalAttention(2, 4, name="a"), 10),
    "efficientvit": (layers.MultiScaleLinearAttention(8, name="a"), 0),
    "lvt, first": (layers.ConvolutionalSelfAttention(2, name="a"), 0),
    "lvt": (layers.RecursiveAtrousSelfAttention(2, reduction=2, name="a"), 0),
}


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_every_kind_is_drawn(kind):
    layer, tokens = ATTENTIONS[kind]
    maps = one_layer(layer, tokens=tokens)
    figure = draw_attention(maps.values())
    assert len(figure.subfigs) == len(maps)
    for part, each in zip(figure.subfigs, maps.values(), strict=True):
        drawn = tokens if each.kind in ("aggregation", "broadcast") else len(PLACES) + 2
        assert len(part.axes) == drawn
        assert part.texts[0].get_text().startswith("a: ")
    assert picture(figure).std() > 10


def attention_map(weights, **facts):
    usual = {"layer": "a", "kind": "global", "axes": ALL, "map": (4, 6), "grid": (4, 6), "side": None, "tokens": 0}
    return AttentionMap(**{**usual, **facts}, pixels=np.full((40, 60, 3), 90, np.uint8), values=(weights,))


def test_what_a_place_looks_at_is_light_and_the_place_is_marked():
    weights = np.zeros((1, 24, 24), np.float32)
    weights[:, :, 0] = 0.1
    weights[:, 3 * 6 + 5, 7] = 0.9  # the last pixel looks at row 1, column 1
    figure = draw_attention(attention_map(weights), places=[(0.99, 0.99)])
    assert texts(figure)[1:] == ["image", "max 90%", "from anywhere, max 10%"]
    drawn = panel(figure, 1)
    height, width, _ = drawn.shape
    light = drawn.sum(axis=-1).astype(float)
    lit = light[height // 4 + 3 : height // 2 - 3, width // 6 + 3 : width // 3 - 3]
    assert lit.min() > 1.4 * light[height // 2 + 3 : height // 2 + 20, 3:20].max()
    mark = np.abs(drawn - np.array([0x56, 0xB4, 0xE9])).sum(axis=-1) < 60
    rows, columns = np.nonzero(mark)
    assert rows.mean() == pytest.approx(height * 7 / 8, abs=3)
    assert columns.mean() == pytest.approx(width * 11 / 12, abs=3)


def test_a_window_is_outlined_as_far_as_it_is_in_the_image():
    weights = np.full((6, 1, 9, 9), 1 / 9, np.float32)
    facts = {"kind": "window", "axes": ("windows", "heads", "queries", "keys"), "grid": (2, 3), "side": 3}
    figure = draw_attention(attention_map(weights, map=(4, 8), **facts), places=[(0.99, 0.99)])
    outlines = [
        patch.get_path().transformed(patch.get_patch_transform()) for patch in figure.subfigs[0].axes[1].patches
    ]
    [box] = {tuple(np.round(np.array(outline.get_extents().extents) + 0.5, 3)) for outline in outlines}
    assert box == (45, 30, 60, 40)  # column 6 of 8, row 3 of 4, to the image's corner


def test_the_last_of_every_kind_that_has_something_to_look_at():
    maps = {
        "a/global": attention_map(np.zeros((1, 24, 24)), layer="first"),
        "b/global": attention_map(np.zeros((1, 24, 24)), layer="second"),
        "c/global": attention_map(np.zeros((1, 4, 4)), layer="third", map=(2, 2), grid=(2, 2)),
        "d/linear": attention_map(np.zeros((1, 4, 4)), layer="fourth", kind="linear", map=(2, 2), grid=(2, 2)),
    }
    assert [each.layer for each in last_of_every_kind(maps)] == ["second", "fourth"]


def test_mistakes():
    with pytest.raises(ValueError, match=r"Expected heat maps. Received: none"):
        draw_heatmaps([])
    with pytest.raises(ValueError, match=r"`classes` must have a name for every class to 1. Received: 1 names"):
        draw_heatmaps(found(spot(0, 0)), classes=["cat"])
    with pytest.raises(ValueError, match=r"Expected maps of attention. Received: none"):
        draw_attention([])
    with pytest.raises(ValueError, match=r"`places` must be shares .*Received: places=\[\(1.0, 0.5\)\]"):
        draw_attention(attention_map(np.zeros((1, 24, 24))), places=[(1.0, 0.5)])
