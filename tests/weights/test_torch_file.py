"""The tests' own writer of PyTorch's files, held against files that PyTorch wrote."""

import numpy as np
import pytest

from keras_effvit.weights import read_torch
from tests.torch_file import FORMATS
from tests.weights.test_torch_reader import read


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", ["every_kind", "training"])
def test_what_is_written_reads_like_what_pytorch_wrote(name, kind, tmp_path):
    def plain(tree):
        """What the writer knows: dicts, arrays and numbers."""
        kept = {key: plain(value) if isinstance(value, dict) else value for key, value in tree.items()}
        return {key: value for key, value in kept.items() if isinstance(value, (dict, np.ndarray, int, float))}

    def assert_same(ours, theirs):
        assert list(ours) == list(theirs)
        for key, value in ours.items():
            if isinstance(value, dict):
                assert_same(value, theirs[key])
            else:
                assert np.asarray(value).dtype == np.asarray(theirs[key]).dtype
                np.testing.assert_array_equal(value, theirs[key])

    expected = plain(read(name, kind))
    assert_same(read_torch(FORMATS[kind](tmp_path / "w.pth", expected)), expected)
