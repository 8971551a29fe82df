"""index, search and similar with vectors of images and of networks, on a small catalogue."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from cli import main
from serving.search.settings import FILE, EncoderFolders
from tests.commands.conftest import Call, assert_fails
from tests.commands.test_docs import documented_keys
from tests.serving.search.made import save_network

COLOURS = ("red", "blue", "green", "black", "orange", "purple")
UNSEEN = ("white", "grey")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home, its sources, and two networks, one of them of VT-BERT's kind."""
    folder = tmp_path_factory.mktemp("vectors")
    (folder / "images").mkdir()
    rows = ["id,title,colour,image"]
    for number, colour in enumerate((*COLOURS, *UNSEEN)):
        image = f"images/{number}.png"
        if colour in COLOURS:
            drawn = Image.new("RGB", (48, 48), "white")
            drawn.paste(Image.new("RGB", (20 + number, 30), colour), (10, 10))
            drawn.save(folder / image)
        rows.append(f"P{number},{colour} mug,{colour},{image if colour in COLOURS else ''}")
    (folder / "items.csv").write_text("\n".join(rows))
    assert main(["--home", str(folder / "home"), "ingest", str(folder / "items.csv")]) == 0
    save_network(folder / "home" / "models" / "joint", "joint", ["lpm", "contrastive"])
    save_network(folder / "home" / "models" / "vtbert", "vtbert", ["mlm"])
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the home's folder, with images that are found where they are."""
    shutil.copytree(trained / "home", tmp_path / "home")
    return trained


@pytest.fixture
def run(call: Call, folder: Path, tmp_path: Path) -> Call:
    """Call a command in the copy of the home."""
    return lambda *args: call("--home", tmp_path / "home", *args)


def test_an_image_is_searched_for_without_any_model(run: Call, folder: Path) -> None:
    report = run("index", "--image-encoder", "built-in", "--json").json
    assert set(report) == documented_keys("index")
    assert report["vectors"]["image"] == {
        "items": len(COLOURS), "width": 256, "method": "flat", "recall": 1.0,
    }  # fmt: skip
    assert report["encoded"] == len(COLOURS)
    assert run("index", "--json").json["encoded"] == 0

    item, file = "P1", folder / "images" / "1.png"
    result = run("search", "--image", file, "--json").json
    assert [set(hit) for hit in result] == [documented_keys("search")] * len(COLOURS)
    assert (result[0]["item"], result[0]["by"]["image"]) == (item, 1)
    both = run("search", "mug", "--image", file, "--explain", "--json").json
    assert any(set(hit["by"]) == {"words", "image"} for hit in both)
    assert "image" in both[0]["features"]
    alike = run("similar", item, "--by", "image", "--json").json
    assert [set(hit) for hit in alike] == [documented_keys("similar")] * len(alike)
    assert all(set(hit["by"]) == {"image"} for hit in alike)
    assert "image: vectors of" in run("index").out


def test_images_that_cannot_be_searched_for_are_refused_in_one_line(
    run: Call, folder: Path, tmp_path: Path
) -> None:
    file = folder / "images" / "1.png"
    assert run("index").code == 0
    assert_fails(run("search", "--image", file), 2, "built-in")
    assert_fails(run("search"), 2, "--image FILE")
    assert run("index", "--image-encoder", "built-in").code == 0
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "half.png").write_bytes(file.read_bytes()[:60])
    for name in ("none.png", "text.png", "half.png", "."):
        assert_fails(run("search", "--image", tmp_path / name), 2, str(tmp_path / name))
    assert_fails(run("search", "mug", "--image", file, "--words-only"), 2, "--words-only")
    assert_fails(run("index", "--image-encoder", tmp_path), 1, "config.json")
    assert_fails(run("index", "--image-encoder", "x", "--no-image-encoder"), 2, "exclude")


def test_item_nodes_and_queries_of_a_network(run: Call, folder: Path, tmp_path: Path) -> None:
    report = run("index", "--model", "joint", "--json").json
    assert set(report["vectors"]) == {"node", "image", "match"}
    assert report["vectors"]["node"]["items"] == report["items"]
    item, file = "P1", folder / "images" / "1.png"
    nodes = run("similar", item, "--by", "node", "--json").json
    assert all(set(hit["by"]) == {"node"} for hit in nodes)
    assert nodes[0]["score"] >= nodes[-1]["score"]
    everything = run("similar", item, "--json").json
    assert any(set(hit["by"]) == {"words", "image", "node"} for hit in everything)
    texts = run("search", "mug", "--json").json
    assert any(set(hit["by"]) == {"words", "match"} for hit in texts)
    by_words = run("search", "mug", "--words-only", "--json").json
    assert all(set(hit["by"]) == {"words"} for hit in by_words)
    by_image = run("search", "--image", file, "--json").json
    assert by_image[0]["by"]["image"] > 0.999

    # Another model of the same name makes other vectors, which is said.
    home = tmp_path / "home"
    shutil.rmtree(home / "models" / "joint")
    shutil.copytree(home / "models" / "vtbert", home / "models" / "joint")
    stale = run("search", "--image", file)
    assert "model" in stale.err
    assert "changed" in stale.err
    assert_fails(stale, 2, "--image-encoder")
    report = run("index", "--json").json
    assert set(report["vectors"]) == {
        "global embedding", "title embedding", "image embedding", "image",
    }  # fmt: skip
    assert run("search", "--image", file, "--json").json[0]["by"]["image"] > 0.999
    assert "node" in run("similar", item, "--by", "node", "--json").json[0]["by"]

    assert run("index", "--no-model", "--json").json["vectors"] == {}
    assert EncoderFolders.read(home / "search") == EncoderFolders()
    assert not (home / "search" / FILE).exists()
    assert_fails(run("similar", item, "--by", "node"), 2, "--model M")


def test_what_has_changed_since_the_vectors_were_made_is_counted(
    run: Call, folder: Path, tmp_path: Path
) -> None:
    assert run("index", "--model", "vtbert", "--image-encoder", "built-in").code == 0
    (tmp_path / "more.csv").write_text("id,title\nNEW1,Yellow mug\nNEW2,Yellow lamp\n")
    assert run("ingest", tmp_path / "more.csv").code == 0
    found = run("search", "yellow mug", "--json")
    assert found.json[0]["item"] == "NEW1"
    result = run("similar", "NEW1", "--json")
    assert "2 items are new or have changed" not in result.err  # none of its vectors were compared
    assert "warning: 2 items are new or have changed" in run("similar", "P1").err
    # Neither has an image.
    report = run("index", "--json").json
    assert report["encoded"] == 2
    assert report["vectors"]["title embedding"]["items"] == report["items"]
    assert "warning" not in run("similar", "P1").err
