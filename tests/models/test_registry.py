"""The catalogue."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

import keras_effvit
from keras_effvit import create_backbone, create_model, list_models, model_info
from keras_effvit.cli.models import model_table

README = Path(__file__).parents[2] / "README.md"


def test_holds_every_model_of_the_four_papers():
    assert set(list_models()) >= {
        *(f"sepvit_{size}" for size in ("lite", "tiny", "small", "base")),
        *("lvt", "lvt_large"),
        *(f"lightvit_{size}" for size in ("tiny", "small", "base")),
        *("efficientvit_base", "efficientvit_b0", "efficientvit_b1", "efficientvit_b2", "efficientvit_b3"),
    }


def test_patterns_match_whole_names():
    assert list_models("sepvit*") == ["sepvit_lite", "sepvit_tiny", "sepvit_small", "sepvit_base"]
    assert list_models("sepvit") == []
    assert list_models("*_base") == ["sepvit_base", "lightvit_base", "efficientvit_base"]


@pytest.mark.parametrize("create", [create_model, create_backbone, model_info])
def test_an_unknown_name_is_answered_with_the_known(create):
    with pytest.raises(ValueError, match=r"Unknown model. Expected one of \['sepvit_lite', .*Received: 'sepvit'"):
        create("sepvit")


def test_options_of_a_head_are_no_options_of_a_backbone():
    with pytest.raises(ValueError, match=r"SepViTLite\(\) got unexpected argument\(s\) \['classes'\]; valid: "):
        create_backbone("sepvit_lite", classes=10)


every_info = pytest.mark.xdist_group("infos")  # on one worker, where every model is built and counted once


@every_info
@pytest.mark.parametrize("name", list_models())
def test_facts_agree_with_the_papers_as_far_as_they_are_printed(name):
    """A wrong model is further off: the papers round to a tenth, and some count a little differently."""
    info = model_info(name)
    assert info.name == name
    assert info.input_shape == (224, 224, 3)
    assert info.licence
    signature = inspect.signature(getattr(keras_effvit, info.title))
    assert info.options == {option: signature.parameters[option].default for option in info.options}
    assert re.search(r"arXiv:\d{4}\.\d{5}", info.citation)
    paper, rounding = info.paper, 0.05
    if paper.params_m is not None and paper.gmacs is not None:
        # EfficientViT-Base is built without published code, and is 1.7 % larger.
        assert abs(info.params / 1e6 - paper.params_m) < rounding + 0.02 * paper.params_m
        # LightViT's authors leave out most products of the local attention: 5 %.
        assert abs(info.macs / 1e9 - paper.gmacs) < rounding + 0.05 * paper.gmacs
    with pytest.raises(dataclasses.FrozenInstanceError):
        info.params = 0  # type: ignore[misc]


@every_info
def test_moving_averages_are_told_apart():
    """Batch normalisation's moving averages are no parameters in the papers' sense."""
    info = model_info("efficientvit_b0")
    assert info.params == 3_410_008
    assert info.non_trainable_params > 0
    assert model_info("sepvit_lite").non_trainable_params == 0


@every_info
def test_the_readmes_table_is_what_the_package_counts():
    table = model_table([model_info(name) for name in list_models()])
    between = re.search(r"<!-- models -->\n(.*)\n<!-- /models -->", README.read_text(), re.DOTALL)
    assert between is not None
    assert between[1].strip() == table
