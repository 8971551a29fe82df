import torch
from torch import nn

from fusion.heads import GlobalHeads
from training.objectives.gmlm import global_patch_loss, global_piece_loss


def test_pieces_go_through_the_table_and_patches_stand_as_they_are():
    table = nn.Embedding(9, 6)
    heads = GlobalHeads(table, 6, 12)
    node = torch.randn(4, 6)
    positions = torch.randn(4, 6)
    target = torch.tensor([1, 8, 3, 3])
    patches = torch.randn(4, 12)
    log = (heads.piece(node, positions) @ table.weight.T).log_softmax(1)
    torch.testing.assert_close(
        global_piece_loss(heads, node, positions, target), -log[torch.arange(4), target].mean()
    )
    expected = (heads.patch(node, positions) - patches).square().sum(1).mean()
    torch.testing.assert_close(global_patch_loss(heads, node, positions, patches), expected)


def test_the_loss_reaches_the_node_and_the_position():
    heads = GlobalHeads(nn.Embedding(9, 6), 6, 12)
    node = torch.randn(4, 6, requires_grad=True)
    positions = torch.randn(4, 6, requires_grad=True)
    global_piece_loss(heads, node, positions, torch.zeros(4, dtype=torch.int64)).backward()
    assert all(part.grad is not None and part.grad.any() for part in (node, positions))
