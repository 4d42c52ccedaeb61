"""Why a model decides: heat over the image, and what attention looked at."""

from keras_effvit.explain.attention_maps import AttentionMap, attention
from keras_effvit.explain.attention_plots import draw_attention, last_of_every_kind
from keras_effvit.explain.gradcam import METHODS, OF_PIXELS, Heatmap, heatmap, map_layers
from keras_effvit.explain.plots import draw_heatmaps, save

__all__ = [
    "METHODS",
    "OF_PIXELS",
    "AttentionMap",
    "Heatmap",
    "attention",
    "draw_attention",
    "draw_heatmaps",
    "heatmap",
    "last_of_every_kind",
    "map_layers",
    "save",
]
