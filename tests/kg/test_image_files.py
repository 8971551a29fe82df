"""The gate: which images of a store are read, whichever way their paths came there."""

import json
import os
import threading

import pytest
from PIL import Image

from kg.export.write import export
from kg.home import Home
from kg.image_files import ImageFiles, UnreadableImages, read_own_image
from kg.ingest.pipeline import ingest
from kg.stores.copying import copy_store
from kg.stores.open import open_store
from kg.stores.tables import items_table
from schema.errors import HomeNotFoundError, ImageRefusedError, SourceNotFoundError, UsageError
from schema.iris import PREFIXES
from schema.terms import Item

HEAD = "".join(f"@prefix {name}: <{address}> .\n" for name, address in PREFIXES.items())
READABLE = ["photos/a.png", "photos/./a.png", "photos//a.png", "photos/deep/a.png"]
REFUSED = [
    "secret.png",
    "photos/../secret.png",
    "photos/deep/../a.png",
    "photos/link.png",
    "photos/linked/secret.png",
    "photos/pipe.png",
    "photos/text.png",
    "photos",
    "photosecret.png",
]


@pytest.fixture
def folder(tmp_path):
    """Photos, a secret beside them, and ways that lead to it."""
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for name in ("photos/a.png", "photos/deep/a.png", "secret.png", "photosecret.png"):
        Image.new("RGB", (4, 4), "red").save(tmp_path / name)
    (tmp_path / "photos" / "link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "photos" / "linked").symlink_to(tmp_path)
    (tmp_path / "photos" / "text.png").write_text("secret")
    os.mkfifo(tmp_path / "photos" / "pipe.png")
    return tmp_path


@pytest.fixture
def home(folder):
    return Home.open(folder / "home", create=True)


def readable(files, images):
    return [image for image in images if files.pixels(str(image), 4) is not None]


def test_only_images_below_the_folders_are_read(folder):
    files = ImageFiles([folder / "photos"])
    images = [f"{folder}/{name}" for name in READABLE]
    assert readable(files, images) == images
    refused = [f"{folder}/{name}" for name in REFUSED]
    outside = ["/etc/passwd", "a.png", "", "/", "file:///etc/passwd", "/dev/zero", "\ud800", "a\0b"]
    assert readable(files, [*refused, *outside]) == []
    assert set(files.failures) == {*refused, *outside}
    assert readable(ImageFiles([]), images) == []


def test_any_folder_may_be_allowed(folder):
    assert readable(ImageFiles(["/"]), [folder / "secret.png"])
    assert readable(ImageFiles([f"{folder}/"]), [folder / "secret.png"])


def test_an_image_that_the_user_names_may_be_anywhere(folder):
    assert read_own_image(folder / "photos" / "link.png").startswith(b"\x89PNG")
    with pytest.raises(ImageRefusedError, match="pipe"):
        read_own_image(folder / "photos" / "pipe.png")
    with pytest.raises(ImageRefusedError, match="does not exist"):
        read_own_image(folder / "none.png")


def test_the_line_about_unreadable_images_says_how_to_go_on(folder):
    files = ImageFiles([folder / "photos"])
    images = [f"{folder}/photos/{name}.png" for name in ("none", "gone", "a")]
    unreadable = files.unreadable([*images, images[0], None, "https://x.org/1.png"])
    assert (unreadable.total, len(unreadable.failures), unreadable.all) == (3, 2, False)
    assert str(unreadable) == (
        f"2 of 3 images cannot be read any more, such as {images[0]}, which does not exist: "
        "mount their disk or put their folder back, or load them again with "
        "`catalograph ingest SRC --images DIR`"
    )
    line = str(files.unreadable([*images, "/etc/passwd"]))
    assert "3 of 4 images" in line
    assert f"2 such as {images[0]}, which does not exist" in line
    assert "1 such as /etc/passwd, which is outside" in line
    assert "`catalograph init --images DIR`" in line


def test_no_images_are_not_unreadable(folder):
    files = ImageFiles([folder])
    for images in ([], [None, "https://x.org/1.png"], [f"{folder}/photos/a.png"]):
        assert not files.unreadable(images)
        assert not files.unreadable(images).all
    assert not UnreadableImages(0, {}).all


# A home


def images_of(store):
    return {row["id"]: row["images"] for batch in store.items() for row in batch.to_pylist()}


def stored(home):
    with home.store(read_only=True) as store:
        return images_of(store)


def write_feed(folder, format, images):
    """Write a feed in a folder of its own, of items with these images; return its path."""
    path = folder / "feed" / f"feed.{format}"
    path.parent.mkdir(exist_ok=True)
    ids = range(len(images))
    if format == "csv":
        rows = [f"{number},a,{image}" for number, image in zip(ids, images, strict=True)]
        path.write_text("\n".join(["id,title,image", *rows]))
    elif format == "jsonl":
        rows = [
            json.dumps({"id": str(n), "image": image}) for n, image in zip(ids, images, strict=True)
        ]
        path.write_text("\n".join(rows))
    elif format == "native.ttl":
        items = (
            f'item:{number} a schema:Product ; schema:identifier "{number}" ; '
            f'schema:image "{image}" .'
            for number, image in zip(ids, images, strict=True)
        )
        path.write_text(HEAD + "\n".join(items))
    elif format == "ttl":
        items = (
            f'<http://x/{number}> a schema:Product ; schema:sku "{number}" ; '
            f'schema:image "{image}" .'
            for number, image in zip(ids, images, strict=True)
        )
        path.write_text(HEAD + "\n".join(items))
    else:
        graph = [
            {"@type": "Product", "sku": str(number), "image": image}
            for number, image in zip(ids, images, strict=True)
        ]
        path.write_text(json.dumps({"@context": "https://schema.org", "@graph": graph}))
    return path


FEEDS = ["csv", "jsonl", "native.ttl", "ttl", "jsonld"]


@pytest.mark.parametrize("format", FEEDS)
def test_every_feed_passes_the_same_gate(folder, home, format):
    good = [f"{folder}/photos/a.png", "https://x.org/1.png"]
    bad = [f"{folder}/{name}" for name in REFUSED]
    report = ingest(home, [write_feed(folder, format, good + bad)], images=folder / "photos")
    found = stored(home)
    assert [found["0"], found["1"]] == [[good[0]], [good[1]]]
    assert not any(found[str(number)] for number in range(2, 2 + len(bad)))
    assert report.images == 1
    assert any("images were refused" in note for note in report.notes)


@pytest.mark.parametrize("format", FEEDS)
def test_without_a_folder_nothing_outside_the_source_s_is_stored(folder, home, format):
    report = ingest(home, [write_feed(folder, format, [f"{folder}/secret.png", "/dev/zero"])])
    assert not any(stored(home).values())
    assert any("image" in note for note in report.notes)
    assert home.image_folders() == []


def test_images_of_catalograph_s_own_rdf_need_a_folder(folder, home):
    """Their paths are those of the machine that wrote it, so none is guessed."""
    path = write_feed(folder, "native.ttl", [f"{folder}/photos/a.png"] * 2)
    report = ingest(home, [path])
    assert report.images == 0
    assert "2 images were left out: give their folder with --images" in report.notes[0]
    assert ingest(home, [path], images=folder / "photos").images == 2
    assert stored(home) == {"0": [f"{folder}/photos/a.png"], "1": [f"{folder}/photos/a.png"]}


@pytest.mark.parametrize("images", [["https://x.org/\ud800.png"], [1], {}, [[]], None])
def test_a_list_of_images_that_is_none_of_texts_is_a_rejected_row(folder, home, images):
    listed = json.dumps(json.dumps(images))
    item = f'item:1 a schema:Product ; schema:identifier "1" ; cg:images {listed} .'
    (folder / "feed.ttl").write_text(HEAD + item)
    report = ingest(home, [folder / "feed.ttl"], max_rejects="100%")
    assert (report.read, report.rejected) == (1, 1)
    assert "no list of texts" in report.first_rejects[0].reason


def test_an_export_is_restored_with_its_images(folder, home):
    path = write_feed(folder, "csv", [f"{folder}/photos/a.png", "https://x.org/1.png"])
    ingest(home, [path], images=folder / "photos")
    with home.store(read_only=True) as store:
        export(store, "nq", folder / "out.nq")
    other = Home.open(folder / "other", create=True)
    ingest(other, [folder / "out.nq"], images=folder / "photos")
    assert stored(other) == stored(home)


def test_loading_an_export_without_its_images_removes_none(folder, home):
    path = write_feed(folder, "csv", [f"{folder}/photos/a.png"])
    ingest(home, [path], images=folder / "photos")
    with home.store(read_only=True) as store:
        export(store, "nq", folder / "out.nq")
    ingest(home, [folder / "out.nq"])
    assert stored(home) == {"0": [f"{folder}/photos/a.png"]}


def test_a_linked_folder_of_images_beside_the_source_is_refused(folder, home):
    """A supplier's archive may bring the link along, and ids that are names of files behind it."""
    shop = folder / "shop"
    shop.mkdir()
    (shop / "items.csv").write_text("id,title\nsecret,a\n")
    (shop / "images").symlink_to(folder)
    report = ingest(home, [shop / "items.csv"])
    assert stored(home) == {"secret": []}
    assert any("symbolic link" in note for note in report.notes)
    # The user may say that it is meant.
    assert ingest(home, [shop / "items.csv"], images=shop / "images").images == 1


def test_images_put_by_a_program_are_read_from_allowed_folders_only(folder, home):
    image = f"{folder}/photos/a.png"
    with home.store() as store:
        store.put(items_table([Item("1", images=(image,))]), None)
    assert readable(home.image_files(), [image]) == []
    home.allow_images([folder / "photos"])
    assert readable(home.image_files(), [image, folder / "secret.png"]) == [image]


def test_images_of_a_copied_store_are_read_from_allowed_folders_only(folder, home):
    with open_store("memory:") as source, home.store() as target:
        source.put(items_table([Item("1", images=(f"{folder}/secret.png",))]), None)
        copy_store(source, target)
    assert readable(home.image_files(), stored(home)["1"]) == []


def test_an_ingest_allows_the_folders_that_it_found_images_in(folder, home):
    path = write_feed(folder, "csv", ["a.png"])
    ingest(home, [path], images=folder / "photos", dry_run=True)
    ingest(home, [path])
    assert home.image_folders() == []
    ingest(home, [path], images=folder / "photos")
    assert Home.open(home.path).image_folders() == [str(folder / "photos")]
    home.set_default_store("memory:")
    assert home.image_folders() == [str(folder / "photos")]


def test_a_folder_may_be_given_by_a_link(folder, home):
    (folder / "link").symlink_to(folder / "photos")
    home.allow_images([folder / "link"])
    images = [f"{folder}/link/a.png", f"{folder}/photos/a.png"]
    assert readable(home.image_files(), images) == images


def test_a_folder_that_moved_may_be_replaced_by_a_link(folder, home):
    home.allow_images([folder / "photos"])
    (folder / "photos").rename(folder / "moved")
    image = f"{folder}/photos/a.png"
    assert home.image_files().unreadable([image]).all
    (folder / "photos").symlink_to(folder / "moved")
    assert readable(home.image_files(), [image])


def test_a_folder_within_an_allowed_one_may_be_replaced_by_a_link(folder, home):
    home.allow_images([folder])
    (folder / "photos").rename(folder / "moved")
    (folder / "photos").symlink_to(folder / "moved")
    image = f"{folder}/photos/a.png"
    refused = str(home.image_files().unreadable([image]))
    assert "reached through a symbolic link" in refused
    assert "`catalograph init --images DIR`" in refused
    home.allow_images([folder / "photos"])
    assert readable(home.image_files(), [image])


def test_what_cannot_be_read_is_known_without_reading(folder):
    files = ImageFiles([folder / "photos"])
    for name in REFUSED:
        # What is in a file is seen when it is read.
        if name != "photos/text.png":
            assert files.status(f"{folder}/{name}") is None
    assert set(files.failures) == {f"{folder}/{name}" for name in REFUSED} - {
        f"{folder}/photos/text.png"
    }
    status = files.status(f"{folder}/photos/a.png")
    assert status is not None
    assert status.st_size > 0


def test_a_home_of_before_reads_the_images_beside_its_sources(folder, home):
    shop = folder / "shop"
    shop.mkdir()
    (folder / "photos").rename(shop / "photos")
    (shop / "items.csv").write_text("id,title,image\n1,a,photos/a.png\n")
    ingest(home, [shop / "items.csv"])
    (home.path / "home.toml").write_text("format = 1\n")
    image = f"{shop}/photos/a.png"
    assert readable(home.image_files(), [image, folder / "secret.png"]) == [image]
    # They remain allowed when others are added.
    (folder / "more").mkdir()
    home.allow_images([folder / "more"])
    assert home.image_folders() == [str(shop), str(folder / "more")]


def test_a_home_of_before_without_sources_reads_no_image(folder, home):
    (home.path / "home.toml").write_text("format = 1\n")
    assert home.image_folders() == []


@pytest.mark.parametrize("value", ['"/photos"', "[1]", "{}"])
def test_folders_that_were_spelt_wrongly_by_hand_are_an_error(home, value):
    (home.path / "home.toml").write_text(f"format = 1\nimage_folders = {value}\n")
    with pytest.raises(HomeNotFoundError, match="write a list of folders"):
        home.image_folders()


def test_a_folder_to_allow_must_exist(home):
    with pytest.raises(SourceNotFoundError, match="check --images"):
        home.allow_images([home.path / "none"])


def test_a_folder_whose_name_is_no_text_is_refused(folder, home):
    name = os.fsdecode(os.fsencode(folder) + b"/\xff")
    (folder / "photos").rename(name)
    with pytest.raises(UsageError, match="not UTF-8"):
        home.allow_images([name])
    report = ingest(home, [write_feed(folder, "csv", ["a.png"])], images=name)
    assert (report.stored, report.images) == (1, 0)
    assert any("not UTF-8" in note for note in report.notes)


def test_folders_that_are_added_at_once_are_all_kept(folder, home):
    names = [str(folder / str(number)) for number in range(8)]
    for name in names:
        (folder / name).mkdir()
    threads = [threading.Thread(target=home.allow_images, args=([name],)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(home.image_folders()) == names
