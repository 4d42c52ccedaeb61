"""What is counted in a file, against what is counted in the Keras model it came from."""

import pytest

from keras_effvit import lite
from keras_effvit.models.macs import count_macs
from keras_effvit.report.costs import count_costs
from tests.lite.conftest import converted, model_of


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_work_and_size_are_the_models(precision):
    model = model_of("efficientvit_b0", 64)
    costs = count_costs(lite.inspect(converted("efficientvit_b0", precision, 64).content).to_json())
    assert costs["macs"] == pytest.approx(count_macs(model), rel=0.01)
    # Batch normalisation is folded away; what else is stored are constants of attention and quantisation.
    assert costs["params"] == pytest.approx(model.count_params(), rel=0.02)


@pytest.mark.parametrize("sizes", [((2, 3, 5, 7), (2, 3, 7, 4), (2, 3, 5, 4)), ((6, 7, 5), (6, 4, 7), (6, 5, 4))])
def test_a_matmul_whichever_way_round(sizes):
    b = 6
    operator = {"name": "BATCH_MATMUL", "inputs": [0, 1], "outputs": [2]}
    tensors = [{"shape": shape, "type": "FLOAT32", "bytes": 0} for shape in sizes]
    assert count_costs({"operators": [operator], "tensors": tensors}) == {"params": 0, "macs": b * 5 * 7 * 4}
