"""What a network reads of items for the vectors of an index, and of a query's image."""

from __future__ import annotations

import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.nn import functional as F

from fusion.inference.featurizer import ItemInput
from fusion.inference.item_encoder import NO_ITEM, NetworkEncoder, TaskInput
from fusion.inference.scorer import CellScorer
from kg.image_decoding import letterboxed
from kg.image_files import ImageFiles
from serving.items import CatalogImage
from serving.search.item_sources import ImageSource, NetworkSource, NetworkVectors
from serving.search.parts import EMBEDDINGS, Part
from tests.serving.search.made import save_network
from tests.serving.search.test_image_search import ColourEncoder


@pytest.fixture(scope="module")
def scorers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CellScorer]:
    folder = tmp_path_factory.mktemp("networks")
    for name, terms in (("joint", ["lpm", "contrastive"]), ("vtbert", ["mlm"])):
        save_network(folder / name, name, terms)
    return {name: CellScorer.load(folder / name) for name in ("joint", "vtbert")}


@pytest.fixture
def items(tmp_path: Path) -> list[ItemInput]:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    (tmp_path / "damaged.png").write_bytes((tmp_path / "red.png").read_bytes()[:60])
    files = ImageFiles([tmp_path])
    return [
        ItemInput("1", "red mug", CatalogImage(str(tmp_path / "red.png"), files)),
        ItemInput("2", "blue lamp", known=(("colour", "blue"),)),
        ItemInput("3"),
        ItemInput("4", "steel", CatalogImage(str(tmp_path / "damaged.png"), files)),
    ]


def source_of(scorer: CellScorer, items: list[ItemInput], **options: bool) -> NetworkSource:
    return NetworkSource(NetworkVectors(scorer, **options), items)  # type: ignore[arg-type]


def test_item_nodes_are_those_of_the_network(
    scorers: dict[str, CellScorer], items: list[ItemInput]
) -> None:
    scorer = scorers["joint"]
    source = source_of(scorer, items)
    assert set(source.parts) == {Part.NODE, Part.IMAGE, Part.MATCH}
    found = source.encode([0, 1])
    nodes = NetworkEncoder(scorer).encode([TaskInput(item) for item in items[:2]])
    expected = F.normalize(nodes, dim=1).numpy()
    assert np.stack([each for each in found[Part.NODE] if each is not None]) == pytest.approx(
        expected, abs=0.02
    )
    assert found[Part.IMAGE][1] is None
    assert source_of(scorer, items, with_images=False).parts == (Part.NODE, Part.MATCH)


def test_of_vtbert_the_three_embeddings_are_taken(
    scorers: dict[str, CellScorer], items: list[ItemInput]
) -> None:
    source = source_of(scorers["vtbert"], items)
    assert source.parts == (*EMBEDDINGS, Part.IMAGE)
    states = NetworkEncoder(scorers["vtbert"]).states(items[:1])
    found = source.encode([0])
    for part, expected in zip(
        EMBEDDINGS,
        (states.global_embedding, states.text_embedding, states.image_embedding),
        strict=True,
    ):
        unit = F.normalize(expected.float(), dim=1)[0].numpy()
        assert found[part][0] == pytest.approx(unit, abs=0.02)


def test_the_image_of_a_query_is_read_as_that_of_an_item(
    scorers: dict[str, CellScorer], items: list[ItemInput], tmp_path: Path
) -> None:
    data = (tmp_path / "red.png").read_bytes()
    for scorer in scorers.values():
        network = NetworkVectors(scorer)
        (vector,) = network.of_image(data).values()
        own = source_of(scorer, items).encode([0])[Part.IMAGE][0]
        assert vector == pytest.approx(own, abs=0.02)
        pixels = letterboxed(data, scorer.config.image_size)
        # A title makes no difference to it.
        renamed = [replace(NO_ITEM, title="blue lamp", image=pixels)]
        again = NetworkSource(network, renamed).encode([0])  # type: ignore[arg-type]
        assert again[Part.IMAGE][0] == pytest.approx(own, abs=0.02)


def test_only_a_network_that_was_trained_to_embeds_queries(
    scorers: dict[str, CellScorer],
) -> None:
    vector = NetworkVectors(scorers["joint"]).of_text("red mug")[Part.MATCH]
    assert float(np.linalg.norm(vector)) == pytest.approx(1, abs=0.01)
    assert NetworkVectors(scorers["vtbert"]).of_text("red mug") == {}


def test_a_hash_changes_with_what_is_read_and_with_nothing_else(
    scorers: dict[str, CellScorer], items: list[ItemInput], tmp_path: Path
) -> None:
    def digests() -> list[bytes | None]:
        return list(source_of(scorers["joint"], items).digests())

    before = digests()
    assert before[2] is None
    assert len(set(before)) == 4
    items[0] = replace(items[0], description="It is not read.", category=("Mugs",))
    assert digests() == before
    items[1] = replace(items[1], known=(("colour", "red"),))
    assert [one == other for one, other in zip(digests(), before, strict=True)] == [
        True, False, True, True,
    ]  # fmt: skip
    os.utime(tmp_path / "red.png", ns=(1, 1))
    assert digests()[0] != before[0]


def test_an_image_that_cannot_be_read_has_no_vector(
    scorers: dict[str, CellScorer], items: list[ItemInput]
) -> None:
    found = source_of(scorers["joint"], items).encode([3])
    assert found[Part.IMAGE] == [None]
    assert found[Part.NODE][0] is not None
    images = ImageSource(ColourEncoder(), items)  # type: ignore[arg-type]
    assert [each is None for each in images.digests()] == [False, True, True, False]
    vectors = images.encode([0, 3])[Part.IMAGE]
    assert vectors[1] is None
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(stream, "PNG")
    expected = ColourEncoder().encode(letterboxed(stream.getvalue(), 8)[None])[0]
    assert vectors[0] is not None
    assert float(vectors[0] @ expected) > 0.9
