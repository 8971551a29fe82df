from typing import Any

import torch
from torch.nn import functional as F

from training.objectives.global_prediction import GlobalPredictor


def test_it_is_vtberts_equation_3():
    predictor: Any = GlobalPredictor(6, 10).double()
    node, positions = torch.randn(2, 4, 6, dtype=torch.float64).unbind(0)
    (first, _, _) = predictor.first
    (second, _, _) = predictor.second
    h_0 = torch.cat([node, positions], 1)
    h_1 = F.layer_norm(F.gelu(h_0 @ first.weight.T + first.bias), (6,))
    expected = F.layer_norm(F.gelu(h_1 @ second.weight.T + second.bias), (10,))
    torch.testing.assert_close(predictor(node, positions), expected)
