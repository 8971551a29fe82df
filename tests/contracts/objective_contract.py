"""The contract of every loss function of an objective."""

import pytest
import torch


class ObjectiveContract:
    """A subclass gives ``inputs(count)``, tensors [count, ...], and ``loss(*inputs)``.

    The first of the tensors is the prediction. ``adds_up`` is False for a loss in which examples
    are each other's negatives.
    """

    adds_up = True

    def inputs(self, count):
        raise NotImplementedError

    def loss(self, *inputs):
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def _seed(self):
        torch.manual_seed(0)

    def test_it_is_a_finite_scalar(self):
        loss = self.loss(*self.inputs(6))
        assert loss.shape == ()
        assert loss.isfinite()

    def test_its_gradient_reaches_what_was_predicted(self):
        inputs = self.inputs(6)
        inputs[0].requires_grad_()
        self.loss(*inputs).backward()
        assert inputs[0].grad.isfinite().all()
        assert inputs[0].grad.abs().sum() > 0

    def test_it_is_a_mean_so_that_micro_batches_add_up(self):
        if not self.adds_up:
            pytest.skip("its examples are each other's negatives")
        inputs = self.inputs(6)
        parts = [
            self.loss(*(part[rows] for part in inputs)) * share
            for rows, share in ((slice(2), 2 / 6), (slice(2, 6), 4 / 6))
        ]
        torch.testing.assert_close(sum(parts), self.loss(*inputs))

    def test_low_precision_is_raised(self):
        inputs = [part.bfloat16() if part.is_floating_point() else part for part in self.inputs(6)]
        assert self.loss(*inputs).dtype == torch.float32
