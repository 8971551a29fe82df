import torch
from torch import nn

from training.objectives.gmlm import GlobalPieceHead, global_piece_loss
from training.objectives.gmrfr import GREY, PIXEL_SPREAD, global_patch_head, global_patch_loss


def test_pieces_are_scored_by_the_embedding_table():
    table = nn.Embedding(9, 6)
    head = GlobalPieceHead(table, 6)
    node = torch.randn(4, 6)
    positions = torch.randn(4, 6)
    target = torch.tensor([1, 8, 3, 3])
    log = (head.predictor(node, positions) @ table.weight.T).log_softmax(1)
    expected = -log[torch.arange(4), target].mean()
    torch.testing.assert_close(global_piece_loss(head, node, positions, target), expected)


def test_patches_are_compared_directly():
    head = global_patch_head(6, 12)
    node = torch.randn(4, 6)
    positions = torch.randn(4, 6)
    patches = torch.randn(4, 12)
    expected = (head(node, positions) - patches).square().sum(1).mean()
    torch.testing.assert_close(global_patch_loss(head, node, positions, patches), expected)


def test_predicted_patches_begin_at_grey():
    predicted = global_patch_head(32, 4000)(torch.randn(3, 32), torch.randn(3, 32))
    assert abs(predicted.mean() - GREY) < 0.02
    assert abs(predicted.std() - PIXEL_SPREAD) < 0.02


def test_the_loss_reaches_the_node_and_the_position():
    head = GlobalPieceHead(nn.Embedding(9, 6), 6)
    node = torch.randn(4, 6, requires_grad=True)
    positions = torch.randn(4, 6, requires_grad=True)
    global_piece_loss(head, node, positions, torch.zeros(4, dtype=torch.int64)).backward()
    assert all(part.grad is not None and part.grad.any() for part in (node, positions))
