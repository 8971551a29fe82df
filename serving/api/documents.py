"""The documents that the API takes and gives."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from schema.proposals import ProposalOrigin, ProposalState
from serving.api.parameters import MAX_ID

MAX_TEXT = 100_000
MAX_STATEMENTS = 5_000
MAX_LISTED = 1_000

MAX_NUMBER = (1 << 63) - 1

Number = Annotated[int, Field(ge=1, le=MAX_NUMBER)]
Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Value = Annotated[str, StringConstraints(min_length=1, max_length=10_000)]
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]


class Document(BaseModel):
    """A document that is taken: unknown fields are refused, since they are mistakes."""

    model_config = ConfigDict(extra="forbid")


class PropertyValueIn(Document):
    """A value of a property."""

    property: Name
    value: Value


class ItemIn(Document):
    """What one source says of an item; what it said before and does not say now is taken back."""

    title: Text | None = None
    description: Text | None = None
    category: Annotated[str, StringConstraints(max_length=2_000)] | None = Field(
        default=None, examples=["Home > Kitchen > Mugs"]
    )
    images: list[Annotated[str, StringConstraints(min_length=1, max_length=2_000)]] = Field(
        default_factory=list,
        max_length=50,
        description="Paths below the home's image folders, or addresses, which are not fetched",
    )
    statements: list[PropertyValueIn] = Field(default_factory=list, max_length=MAX_STATEMENTS)


class NewItemOfSource(ItemIn):
    """An item that is to be created."""

    id: Id


class StatementOut(BaseModel):
    """A statement about an item."""

    property: str
    value: str
    language: str | None
    rank: str
    confidence: float | None
    source: str
    sources: list[str]
    shown: bool | None = Field(
        default=None, description="Of what sources state differently: whether it is shown"
    )


class ReferenceOut(BaseModel):
    """What one of several sources says of an item."""

    source: str | None
    title: str | None
    description: str | None
    category: str | None
    images: list[str]


class ItemOut(BaseModel):
    """An item with all that is known of it."""

    id: str
    title: str | None
    description: str | None
    category: str | None
    images: list[str]
    source: str | None
    statements: list[StatementOut]
    references: list[ReferenceOut] = Field(default_factory=list)


class ItemPage(BaseModel):
    """A page of items."""

    items: list[ItemOut]
    next: str | None = Field(description="The cursor of the next page; null on the last one")
    count: int = Field(description="How many items there are on all pages")


class ItemWritten(BaseModel):
    """What a write changed."""

    id: str
    run: str = Field(description="`undo` takes this run back")
    created: bool
    changed: bool
    notes: list[str]


class ChangeOut(BaseModel):
    """A change of an item."""

    model_config = ConfigDict(extra="allow")

    at: str
    run: str
    source: str | None = None
    what: str
    before: Any = None
    after: Any = None
    rank: str | None = None


class RunChanged(BaseModel):
    """What taking a run back, or a deletion, changed."""

    run: str
    undone: str | None = None
    items: dict[str, int]
    statements: dict[str, int]
    proposals: int = 0


class CandidateOut(BaseModel):
    """A value with its calibrated probability."""

    value: str
    probability: float
    source: str = "vocabulary"
    span: tuple[int, int] | None = None


class CompletionOut(BaseModel):
    """The result for one cell, as `catalograph complete --out` writes it."""

    model_config = ConfigDict(extra="allow")

    item: str
    property: str
    candidates: list[CandidateOut]
    decision: Literal["fill", "review", "abstain"]
    evidence: dict[str, Any]
    proven: float | None = None
    reason: str | None = None
    another_value: float | None = None


class CompletionsOut(BaseModel):
    """The completed cells of an item."""

    item: str
    model: str
    completions: list[CompletionOut]
    not_asked: dict[str, int] = Field(description="Cells that are not asked, by the reason")
    notes: list[str]


class CompletionIn(Document):
    """What of a stored item is to be completed."""

    properties: list[Name] = Field(
        default_factory=list,
        max_length=200,
        description="Nothing stands for all that apply and that it lacks",
    )
    top_k: int = Field(default=5, ge=1, le=100)
    target_precision: float | None = Field(default=None, gt=0, lt=1)


class NewItemIn(CompletionIn):
    """An item that is not stored, of which any part may be missing."""

    id: Id = "new"
    title: Text | None = None
    description: Text | None = None
    category: Annotated[str, StringConstraints(max_length=2_000)] | None = None
    statements: list[PropertyValueIn] = Field(default_factory=list, max_length=MAX_STATEMENTS)


class StoredValue(BaseModel):
    """A stored value of a cell."""

    value: str
    rank: str
    source: str


class ProposalOut(BaseModel):
    """A proposal: a value for a cell, with its probability and evidence."""

    id: int
    item: str
    field: str = Field(description="The property")
    current: list[StoredValue] = Field(description="What is stored of it")
    proposed: list[str]
    replaces: list[str] = Field(description="The stored values in whose place they would be put")
    probability: float
    gain: float
    doubt: float
    candidates: list[CandidateOut]
    decision: str
    proven: float | None
    source: str = Field(description="What made it: a model, an audit, ...")
    model: str | None
    run: str
    status: str
    decided: list[str]
    reviewer: str | None
    created: str
    changed: str
    due: str | None
    skips: int
    evidence: dict[str, Any]
    etag: str = Field(description="For If-Match")


class ProposalStep(BaseModel):
    """A change of a proposal."""

    time: str
    run: str
    kind: str
    before: str
    after: str
    decided: list[str]
    reviewer: str | None


class ProposalDetail(ProposalOut):
    """A proposal with its item, what is stored of its cell, and its history."""

    title: str | None
    images: list[str]
    history: list[ProposalStep]


class ProposalPage(BaseModel):
    """A page of proposals."""

    proposals: list[ProposalOut]
    next: str | None
    count: int = Field(description="How many proposals the filter means")
    waiting: int = Field(description="Applied later, when their delay is over")
    due: int = Field(description="Could be applied by now")


class FilterIn(Document):
    """Which proposals are meant: each field that is given must match."""

    ids: list[Number] | None = Field(default=None, max_length=MAX_LISTED)
    item: Id | None = None
    property: Name | None = None
    value: Value | None = None
    run: Name | None = None
    model: Name | None = None
    states: list[ProposalState] | None = Field(default=None, max_length=10)
    origins: list[ProposalOrigin] | None = Field(default=None, max_length=10)
    min_probability: float | None = Field(default=None, ge=0, le=1)
    max_probability: float | None = Field(default=None, ge=0, le=1)


class BulkIn(Document):
    """A decision about all open proposals of a filter."""

    action: Literal["accept", "reject", "skip"]
    filter: FilterIn
    expected: int | None = Field(
        default=None,
        ge=0,
        description="How many proposals that shall be: if there are others by now, nothing is done",
    )


class EditIn(Document):
    """Other values than those proposed."""

    values: list[Value] = Field(min_length=1, max_length=100)


class DecisionOut(BaseModel):
    """What a decision changed."""

    run: str = Field(description="`undo` takes this run back")
    changed: int
    expired: int = Field(description="Could not be decided: other values are stored by now")


class RunOut(BaseModel):
    """A run that changed the catalogue or its proposals."""

    run: str
    kind: str
    started: str
    status: str
    reviewer: str | None = None
    undoes: str | None = None
    changes: dict[str, int] | None = Field(default=None, description="In the graph")


class RunPage(BaseModel):
    """A page of runs, the newest first."""

    runs: list[RunOut]
    next: str | None
    count: int


class HitOut(BaseModel):
    """An item that was found."""

    item: str
    score: float
    title: str | None
    category: str | None = None
    features: dict[str, float] | None = Field(
        default=None, description="What the score comes from, with `explain`"
    )
    by: dict[str, float] = Field(
        description="What it was ranked by: words and kinds of vectors, with how well it fits"
    )


class SearchOut(BaseModel):
    """What a search found."""

    hits: list[HitOut]
    corrected: dict[str, str] = Field(description="Words that no item has, as they were read")
    facets: dict[str, dict[str, int]] = Field(description="Counts of values, with `facets`")
    vectors: list[str] = Field(description="The vectors that were compared")
    stale: str = Field(description="Why the index is not up to date; empty if it is")


class MatchIn(Document):
    """A query and an item."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=1_000)]
    item: Id


class MatchOut(BaseModel):
    """The probability that an item matches a query."""

    item: str
    score: float
    title: str | None
    model: str


class QueryIn(Document):
    """A read-only query."""

    query: Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
    params: dict[str, Any] = Field(default_factory=dict)
    max_rows: int = Field(default=1_000, ge=1, le=10_000)


class QueryOut(BaseModel):
    """The answer to a query."""

    columns: list[str]
    rows: list[list[Any]]


class ModelIn(Document):
    """The model to serve."""

    name: Name | None = Field(default=None, description="Null for the champion, or else the newest")


class ModelOut(BaseModel):
    """The model that is served."""

    name: str | None
    ready: bool
    why: str = Field(description="Why it is not ready, or why a newer one is not served")
    loaded: str | None = None
    properties: list[str] = Field(default_factory=list)
    modalities: list[str] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)
    about: dict[str, Any] = Field(default_factory=dict)


class ModelSummary(BaseModel):
    """A model of the home. `name`, `versions` and `platform` are those of Open Inference."""

    name: str
    versions: list[str] = Field(description="When its folder was written")
    platform: Literal["catalograph"] = "catalograph"
    kind: str | None
    state: str
    problem: str | None = Field(description="Why it cannot be served")
    items: int | None = Field(description="How many it has learned from")
    properties: int | None
    held_out: dict[str, float] = Field(description="Figures of items left out in training")
    is_champion: bool
    is_served: bool


class Ready(BaseModel):
    """Whether a model answers."""

    name: str
    ready: bool


class StatementDetail(BaseModel):
    """A statement with all that is known of where it comes from."""

    property: str
    value: str
    language: str | None
    rank: str
    provenance: list[ProvenanceOut] = Field(description="Of each source, in order of arrival")


class ProvenanceOut(BaseModel):
    """Where a statement comes from."""

    rank: str
    source: str
    batch: str = Field(description="The run that wrote it")
    row: int | None = Field(description="The line of the source file")
    model: str | None
    confidence: float | None
    evidence: str | None
    reviewer: str | None
    time: str


class Health(BaseModel):
    """Whether the server can do its work."""

    status: Literal["live", "ready", "not ready"]
    checks: dict[str, str] = Field(default_factory=dict)
