"""The batch of a training step: the inputs of each pass over the model, and its targets."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from encoders.batch import ItemBatch, bucket_size
from encoders.knowledge import StringSizes
from fusion.link_prediction.own_candidates import OwnCandidates
from kg.message_flow import MessageFlow
from training.transfer import move_tensors

PLACES_STEP = 32
"""The number of listed tokens is padded to a multiple of it."""


@dataclass(frozen=True)
class Corruptions:
    """K corrupted statements for each of M hidden ones.

    - ``cell`` and ``candidate`` [M, K]: the cell and the value of each corrupted statement
    - ``possible`` [M, K]: False for a corruption that happens to be true, so is not a negative
    """

    cell: Tensor
    candidate: Tensor
    possible: Tensor


@dataclass(frozen=True)
class TrueAlternatives:
    """Further true values of the hidden statements' cells.

    In the filtered setting they do not count as negatives.
    ``statement`` and ``candidate`` [K]: candidate k is another true value of statement k's cell.
    """

    statement: Tensor
    candidate: Tensor


@dataclass(frozen=True)
class SoftmaxTargets:
    """Where the true values of M hidden statements are among the candidates of their cells.

    - ``own``: the candidates in play of each cell's property
    - ``target`` [M]: the column of each true value among those of its cell
    - ``alternative`` [K]: the column of each of the ``alternatives`` of the statements
    - ``log_weight`` [C']: what is added to the logits of the candidates in play because some stand
      for others that were not drawn; None if all are in play
    """

    own: OwnCandidates
    target: Tensor
    alternative: Tensor
    log_weight: Tensor | None


@dataclass(frozen=True)
class LinkTargets:
    """M statements that a message flow hides, to be predicted.

    - ``flow``: the cells and the known statements that reach them
    - ``cell`` and ``candidate`` [M]: the cell and the true value of each hidden statement
    - ``alternatives``: other true values of these cells
    - ``corrupted``: negatives to compare the statements with; None for a softmax over all values
    - ``softmax``: the values to compare the statements with; None for corrupted statements, and
      until the candidates of the batch are known
    """

    flow: MessageFlow
    cell: Tensor
    candidate: Tensor
    alternatives: TrueAlternatives
    corrupted: Corruptions | None = None
    softmax: SoftmaxTargets | None = None


@dataclass(frozen=True)
class ItemView:
    """The inputs of B items, and the statements to predict from them, if any objective does."""

    items: ItemBatch
    links: LinkTargets | None


@dataclass(frozen=True)
class TokenPlaces:
    """M tokens of a padded batch [B, L], by number: token l of row b is b * L + l.

    They are listed where the batch is made. On a GPU, finding the marked tokens of a mask waits for
    the device.

    - ``padded`` [M']: the tokens, ascending, and then the first one again, up to a multiple of 32:
      a CPU (oneDNN) prepares its matrix products again for every new shape
    - ``count``: M
    - ``length``: L
    """

    padded: Tensor
    count: int
    length: int

    @staticmethod
    def of(mask: Tensor) -> TokenPlaces:
        """Return the places that ``mask`` [B, L] marks."""
        places = mask.flatten().nonzero()[:, 0]
        count = places.numel()
        padding = places[:1].expand(bucket_size(count, PLACES_STEP) - count)
        return TokenPlaces(torch.cat([places, padding]), count, mask.shape[1])

    @property
    def flat(self) -> Tensor:
        """The number of each token [M]."""
        return self.padded[: self.count]

    @property
    def row(self) -> Tensor:
        """The row of each token [M]."""
        return self.flat // self.length

    @property
    def column(self) -> Tensor:
        """The place of each token in its row [M]."""
        return self.flat % self.length


@dataclass(frozen=True)
class MaskedTokens:
    """Title pieces and image patches that objectives predict.

    - ``pieces``: the places of M title pieces to predict; ``target`` [M]: what they are
    - ``patches``: the places of the patches or regions to predict
    - ``covered`` [B, P]: True for the patches or regions whose content is hidden (VT-BERT also
      predicts some that stay visible); None if there is no such patch
    """

    pieces: TokenPlaces
    target: Tensor
    patches: TokenPlaces
    covered: Tensor | None


@dataclass(frozen=True)
class TitlePairs:
    """VTM's pairs of title and image.

    ``complete`` [C] are the rows of the items that have both; ``matching`` [C] is True for those
    with their own title, not a swapped one.
    """

    complete: Tensor
    matching: Tensor


@dataclass(frozen=True)
class QueryPairs:
    """N matching pairs of query and item, then N non-matching ones: the same items, other queries.

    - ``query`` [2N, L]: word pieces of the queries; ``query_limit``: how many they are
    - ``items``: the N items
    - ``label`` [2N]: 1 if the pair matches
    - ``query_matches`` [N, G]: whether each query also matches the items of the other pairs, among
      the G matching pairs of all processes
    - ``item_matches`` [N, G]: whether each item also matches the queries of the other pairs
    - ``first``: the position of this process's first pair among the G
    - ``complete`` [C]: the numbers of the pairs, among 2N, whose item has a title and an image
    """

    query: Tensor
    query_limit: int
    items: ItemBatch
    label: Tensor
    query_matches: Tensor
    item_matches: Tensor
    first: int
    complete: Tensor


@dataclass(frozen=True)
class StepBatch:
    """A step's batch, or one of its micro-batches.

    A field that no objective of the stage needs is None.

    - ``items``: items with title and image; ``masked``: the tokens of theirs to predict;
      ``title_pairs``: which titles were swapped
    - ``items_without_image``: the same items without their images, with other statements hidden
    - ``candidates`` [C']: the ids of all values that are scored, ascending; ``strings``: the sizes
      of their names and of all properties' names
    - ``pairs``: pairs of query and item
    - ``counts``: for each objective, the number of examples that its loss is a mean over
    """

    items: ItemView | None = None
    masked: MaskedTokens | None = None
    title_pairs: TitlePairs | None = None
    items_without_image: ItemView | None = None
    candidates: Tensor | None = None
    strings: StringSizes | None = None
    pairs: QueryPairs | None = None
    counts: dict[str, float] = dataclasses.field(default_factory=dict)

    def to(self, device: torch.device) -> StepBatch:
        """Return the same batch on another device."""
        moved: StepBatch = move_tensors(self, device)
        return moved
