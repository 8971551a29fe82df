"""A journal on an object store that two homes share."""

import shutil
from itertools import count
from pathlib import Path
from typing import Any

import obstore
import pytest

from kg.stores import journal as journal_module
from kg.stores import object_folder, shared_journal
from kg.stores.history import undo
from kg.stores.journal import LINK, Journal, changes_table
from kg.stores.journal_log import HEAD
from kg.stores.merge import Changes
from kg.stores.object_folder import ObjectFolder, checked_folder_url
from kg.stores.open import journaled_files
from kg.stores.shared_journal import TURN, SharedJournal, entry_name, exists, share
from kg.stores.tables import items_table, statements_table
from kg.stores.verification import verify_store
from schema.errors import (
    CatalographWarning,
    StoreDamagedError,
    StoreError,
    StoreUnavailableError,
    UsageError,
)
from schema.terms import Item, Provenance, Statement
from tests.contracts.journaled_contract import opened
from tests.contracts.rows import statement
from tests.contracts.store_contract import StoreContract
from tests.faults.object_store import faulty_store


class TestSharedLadybug(StoreContract):
    scheme = "ladybug"

    @pytest.fixture
    def empty_url(self, tmp_path, object_store):
        numbers = count()

        def new() -> str:
            folder = Path(tmp_path, f"graph{next(numbers)}")
            share(Journal(folder / "journal"), object_store.url)
            return f"ladybug:{folder}"

        return new


class Homes:
    """The stores of two homes, ``here`` and ``there``, that share a journal."""

    def __init__(self, folder: Path, place: str) -> None:
        self.folder = folder
        self.place = place
        self.here = f"ladybug:{folder / 'here'}"
        self.there = f"ladybug:{folder / 'there'}"
        for url in (self.here, self.there):
            share(self.copy(url), place)

    @staticmethod
    def copy(url: str) -> Journal:
        """Return the copy of the journal in a home."""
        return Journal(Path(url.partition(":")[2]) / "journal")

    def shared(self, url: str) -> SharedJournal:
        """Return the shared journal as a home sees it."""
        return SharedJournal(self.copy(url), self.place)

    @property
    def objects(self) -> ObjectFolder:
        """The objects of the journal."""
        return ObjectFolder(self.place)

    def problems(self, url: str) -> list[str]:
        """Return what `verify` finds in a home."""
        files = journaled_files(url)
        assert files is not None
        return verify_store(files).problems

    def hashes(self) -> set[str]:
        """Return the hashes of both graphs, as a reader sees them."""
        found = set()
        for url in (self.here, self.there):
            with opened(url, read_only=True) as store:
                found.add(store.content_hash())
        return found


@pytest.fixture
def homes(tmp_path, object_store):
    return Homes(tmp_path, object_store.url)


def put(url: str, *items: str, source: str = "", value: str = "red") -> None:
    """Put a statement about each item, a batch each."""
    with opened(url) as store:
        for item in items:
            put_into(store, item, source, value)


def put_into(store: Any, item: str, source: str = "", value: str = "red", run: str = "") -> None:
    """Put what a source says of an item."""
    rows = [Statement(item, "colour", value, provenance=Provenance(source))]
    store.put(None, statements_table(rows), replaces=source or None, run=run)


def values(store: Any, item: str) -> set[tuple[str, str]]:
    """Return what is said of an item, with the sources."""
    found = store.item(item)
    if found is None:
        return set()
    return {
        (each.value, reference.source)
        for each in found[1]
        for reference in [each.provenance, *(one.provenance for one in each.references)]
    }


def second(store: Any, monkeypatch: Any, write: Any) -> None:
    """Let another home write before the next commit of a store."""
    add = store._shared.add
    writes = [write]

    def late(batch: Any) -> int | None:
        while writes:
            writes.pop()()
        version: int | None = add(batch)
        return version

    monkeypatch.setattr(store._shared, "add", late)


def counted(monkeypatch: Any, owner: Any, name: str) -> list[Any]:
    """Return a list that gets longer with every call of a method."""
    function = getattr(owner, name)
    calls: list[Any] = []

    def called(*given: Any) -> Any:
        calls.append(given)
        return function(*given)

    monkeypatch.setattr(owner, name, called)
    return calls


# Following


def test_a_home_sees_what_the_other_has_written(homes):
    put(homes.here, "a", "b")
    with opened(homes.there, read_only=True) as there:
        assert there.counts().items == 2
        revision = there.revision()
    put(homes.there, "c")
    with opened(homes.here, read_only=True) as here:
        assert here.counts().items == 3
        assert here.version_at(revision) == 1
        assert [batch.version for batch in here.changes()] == [0, 1, 2]
    assert len(homes.hashes()) == 1


def test_a_writer_knows_the_history_before_it_opens_the_graph(homes):
    put(homes.here, "a")
    with opened(homes.there) as there:
        assert not there.is_empty()
        assert len(list(there.changes())) == 1


def test_readers_of_a_process_may_ask_now_and_then(homes, monkeypatch):
    put(homes.here, "a")
    opened(homes.there, read_only=True).close()
    monkeypatch.setattr(shared_journal._check_age, "seconds", 3600.0)
    asked = counted(monkeypatch, SharedJournal, "newest")
    for _ in range(3):
        opened(homes.there, read_only=True).close()
    assert len(asked) == 1
    # A writer asks all the same, and what it writes is seen at once.
    put(homes.here, "b")
    put(homes.there, "c")
    with opened(homes.there, read_only=True) as there:
        assert there.counts().items == 3


def test_a_reader_goes_on_with_its_graph_while_the_store_is_away(homes, monkeypatch):
    put(homes.here, "a")
    monkeypatch.setattr(object_folder, "MAX_RETRIES", 0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with (
        pytest.warns(CatalographWarning, match=r"reading version 0.*\(no connection\)"),
        opened(homes.here, read_only=True) as here,
    ):
        assert here.counts().items == 1
    with opened(homes.here) as here, pytest.raises(StoreUnavailableError) as raised:
        put_into(here, "b")
    assert "AWS_ENDPOINT_URL" in str(raised.value)
    assert "tests" not in str(raised.value).replace(str(homes.folder), "")


def test_what_is_refused_repeats_no_credentials(homes, monkeypatch):
    monkeypatch.setattr(object_folder, "MAX_RETRIES", 0)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "known-key-id")
    folder = ObjectFolder("s3://no-such-bucket/shop")
    for request in (
        lambda: folder.read("x"),
        lambda: folder.list(),
        lambda: folder.write("x", b""),
    ):
        with pytest.raises(
            StoreUnavailableError, match=r"NoSuchBucket\): make the bucket"
        ) as raised:
            request()
        assert "key" not in str(raised.value)


# Two writers


def test_of_two_first_writers_one_makes_the_table(homes, monkeypatch):
    with opened(homes.here) as here:
        assert here.is_empty()
        second(here, monkeypatch, lambda: put(homes.there, "a"))
        put_into(here, "b")
        assert here.followed == 1
        assert here.counts().items == 2
    assert len(homes.hashes()) == 1
    assert homes.shared(homes.here).check().problems == []


def test_the_second_write_is_worked_out_again(homes, monkeypatch):
    put(homes.here, "a", source="erp")
    with opened(homes.here) as here:
        here.counts()
        second(here, monkeypatch, lambda: put(homes.there, "a", source="shop", value="blue"))
        put_into(here, "a", "erp", "green")
        # Without the other's statement, the put would have left a graph of its own.
        assert values(here, "a") == {("green", "erp"), ("blue", "shop")}
    assert len(homes.hashes()) == 1


def test_of_one_source_the_later_write_counts(homes, monkeypatch):
    put(homes.here, "a", source="erp")
    with opened(homes.here) as here:
        here.counts()
        second(here, monkeypatch, lambda: put(homes.there, "a", source="erp", value="blue"))
        put_into(here, "a", "erp", "green")
        assert values(here, "a") == {("green", "erp")}


def test_a_write_that_changes_nothing_counts_after_the_others(homes):
    put(homes.here, "a", source="erp")
    with opened(homes.here) as here:
        here.counts()
        put(homes.there, "a", source="erp", value="blue")
        put_into(here, "a", "erp", "red")
        assert values(here, "a") == {("red", "erp")}


def test_a_write_about_other_items_is_not_worked_out_again(homes, monkeypatch):
    put(homes.here, "a")
    with opened(homes.here) as here:
        here.counts()
        second(here, monkeypatch, lambda: put(homes.there, "b"))
        prepared = counted(monkeypatch, here, "_put")
        put_into(here, "c")
        assert len(prepared) == 1
        assert here.counts().items == 3


def test_changes_as_they_are_do_not_overwrite_the_others(homes, monkeypatch):
    put(homes.here, "a")
    row = items_table([Item("a", "Mug")]).to_pylist()[0]
    with opened(homes.here) as here:
        here.counts()
        second(here, monkeypatch, lambda: put(homes.there, "a", value="blue"))
        with pytest.raises(StoreError, match=r"the same items.*run the command again"):
            here.append(changes_table(Changes(updated_items=[row])))
    with opened(homes.here) as here:
        here.counts()
        second(here, monkeypatch, lambda: put(homes.there, "b"))
        here.append(changes_table(Changes(updated_items=[row])))
        assert here.counts().items == 2
    assert len(homes.hashes()) == 1


def test_undoing_is_worked_out_again(homes, monkeypatch):
    with opened(homes.here) as here:
        put_into(here, "a", "erp", "red", run="first")
        second(here, monkeypatch, lambda: put(homes.there, "a", source="shop", value="blue"))
        undo(here, "first", "undoing")
        # The other home has described the item meanwhile, so that it stays.
        assert values(here, "a") == {("blue", "shop")}
    assert len(homes.hashes()) == 1


def test_a_home_that_loses_again_and_again_gets_a_turn(homes, monkeypatch):
    put(homes.here, "a")
    turns = []
    with opened(homes.here) as here:
        here.counts()
        add = here._shared.add
        losses = iter(range(4))

        def losing(batch: Any) -> int | None:
            turns.append(homes.objects.read(TURN) if exists(homes.objects, TURN) else b"")
            number = next(losses, None)
            if number is not None:
                put(homes.there, "a", value=f"colour {number}")
            version: int | None = add(batch)
            return version

        monkeypatch.setattr(here._shared, "add", losing)
        # Otherwise the other home would wait for the one that it is called by.
        monkeypatch.setattr(SharedJournal, "give_way", lambda self: None)
        put_into(here, "a", "erp", "green")
    assert [bool(turn) for turn in turns] == [False, False, False, True, True]
    assert homes.objects.read(TURN) == b""


def test_a_turn_that_is_not_given_back_is_waited_for_once(homes, monkeypatch):
    monkeypatch.setattr(shared_journal, "TURN_SECONDS", 0.1)
    homes.objects.write(TURN, b"a home that has ended")
    put(homes.here, "a")
    assert homes.objects.read(TURN) == b""


def test_a_writer_gives_up_after_some_tries(homes, monkeypatch):
    monkeypatch.setattr("kg.stores.journaled.COMMIT_TRIES", 2)
    with opened(homes.here) as here:
        here.counts()
        monkeypatch.setattr(here._shared, "add", lambda batch: None)
        with pytest.raises(StoreUnavailableError, match="2 times in a row other homes"):
            put_into(here, "a")


def test_a_listing_that_is_late_is_no_obstacle(homes, monkeypatch):
    put(homes.here, "a")
    with opened(homes.here) as here:
        here.counts()
        put(homes.there, "b")
        listed = here._shared.objects.list
        monkeypatch.setattr(
            here._shared.objects,
            "list",
            lambda *given, **names: [
                each for each in listed(*given, **names) if "1.json" not in each.name
            ],
        )
        put_into(here, "c")
        assert here.counts().items == 3


# Answers that are lost


def test_an_entry_whose_answer_was_lost_is_known(homes, monkeypatch):
    real = obstore.put

    def losing(*given: Any, **names: Any) -> Any:
        result = real(*given, **names)
        if names.get("mode") == "create":
            raise obstore.exceptions.GenericError("error sending request")
        return result

    with monkeypatch.context() as patch:
        patch.setattr(obstore, "put", losing)
        put(homes.here, "a", "b")
    with opened(homes.there, read_only=True) as there:
        assert [batch.version for batch in there.changes()] == [0, 1]


def test_an_object_that_is_not_there_is_created_again(homes, monkeypatch):
    real = obstore.put
    failures = [1, 2]

    def failing(*given: Any, **names: Any) -> Any:
        if failures:
            failures.pop()
            raise obstore.exceptions.GenericError("error sending request")
        return real(*given, **names)

    monkeypatch.setattr(obstore, "put", failing)
    assert homes.objects.create("x", b"1")
    assert not homes.objects.create("x", b"2")


# The head


def test_a_head_that_lags_is_no_damage_and_hides_none(homes, monkeypatch):
    put(homes.here, "a")
    with monkeypatch.context() as patch:
        patch.setattr(SharedJournal, "_advance_head", lambda *given: None)
        put(homes.here, "b", "c")
    check = homes.shared(homes.here).check()
    assert check.problems == []
    assert "2 versions behind" in check.notes[0]
    entry = homes.objects.read(entry_name(2))
    # The newest entry is lost, and the head does not know it: the home that wrote it does.
    homes.objects.delete(entry_name(2))
    assert "lacks version 2: put it back from" in homes.shared(homes.here).check().problems[0]
    with opened(homes.here) as here, pytest.raises(StoreDamagedError, match="lacks version 2"):
        put_into(here, "d")
    homes.objects.write(entry_name(2), entry)
    put(homes.there, "d")
    assert homes.shared(homes.here).check().notes[0].endswith("fetches them")
    assert b'"version": 3' in homes.objects.read(HEAD)


def test_the_head_never_goes_back(homes):
    put(homes.here, "a")
    early = homes.shared(homes.here)
    head = early.copy.log.end()
    put(homes.there, "b")
    early._advance_head(head)
    assert b'"version": 1' in homes.objects.read(HEAD)


def test_an_altered_head_is_found(homes):
    put(homes.here, "a", "b")
    homes.objects.write(HEAD, homes.objects.read(HEAD).replace(b"1", b"2", 1))
    assert f"{HEAD} is damaged" in homes.shared(homes.here).check().problems[0]


# Damage


def test_verify_finds_what_was_altered_in_the_store(homes):
    put(homes.here, "a", "b")
    names = [each.name for each in homes.objects.list() if "_probe" not in each.name]
    changed = [name for name in names if name != "_catalograph.json"]
    assert len(changed) == 5
    for name in changed:
        data = homes.objects.read(name)
        flipped = bytearray(data)
        flipped[len(data) // 2] ^= 1
        homes.objects.write(name, bytes(flipped))
        assert len(homes.shared(homes.here).check().problems) == 1, name
        homes.objects.delete(name)
        problems = homes.shared(homes.here).check().problems
        assert len(problems) == (name != HEAD), name
        assert homes.shared(homes.here).check(quick=True).problems == problems
        homes.objects.write(name, data)
    assert homes.problems(homes.here) == []


def test_an_entry_of_another_catalogue_is_not_followed(homes, tmp_path, object_store):
    other = Homes(tmp_path / "others", object_store.url)
    put(other.here, "x", "y")
    put(homes.here, "a")
    opened(homes.there, read_only=True).close()
    for each in other.objects.list():
        if each.name.endswith(".parquet") or each.name == entry_name(1):
            homes.objects.write(each.name, other.objects.read(each.name))
    with (
        opened(homes.there) as there,
        pytest.raises(StoreDamagedError, match="another catalogue"),
    ):
        there.counts()
    with pytest.warns(CatalographWarning, match="reading version 0"):
        opened(homes.there, read_only=True).close()


def test_a_damaged_copy_is_fetched_anew(homes):
    put(homes.here, "a", "b")
    path = homes.copy(homes.here).log.path(0)
    path.write_bytes(path.read_bytes().replace(b"catalograph", b"catalogrXph", 1))
    with (
        opened(homes.here) as here,
        pytest.raises(StoreDamagedError, match="`catalograph rebuild`"),
    ):
        here.put(None, statements_table([statement("c")]))
    with opened(homes.here) as here:
        with pytest.warns(CatalographWarning, match=r"fetched anew from s3://.*\.damaged-"):
            here.rebuild()
        assert here.counts().items == 2
    assert homes.copy(homes.here).verify() == []
    put(homes.here, "c")
    assert len(homes.hashes()) == 1


def test_a_damaged_copy_stays_if_the_store_cannot_replace_it(homes):
    put(homes.here, "a")
    copy = homes.copy(homes.here)
    (path,) = copy.folder.glob("*.parquet")
    path.write_bytes(b"")
    homes.objects.delete(path.name)
    with opened(homes.here) as here, pytest.raises(StoreDamagedError, match="lacks"):
        here.rebuild()
    assert (copy.folder / LINK).exists()
    assert not list(copy.folder.parent.glob("journal.*"))


def test_a_link_that_cannot_be_read_is_no_journal_of_its_own(homes):
    (homes.copy(homes.here).folder / LINK).write_text("{")
    with pytest.raises(StoreDamagedError, match=r"_shared\.json cannot be read"):
        opened(homes.here)


# Sharing


def test_a_journal_is_sent_and_read_back(tmp_path, object_store):
    url = f"ladybug:{tmp_path / 'own'}"
    put(url, "a", "b")
    place = object_store.url
    assert share(Homes.copy(url), place) == 2
    homes = Homes(tmp_path, place)
    put(homes.there, "c")
    with opened(url, read_only=True) as own, opened(homes.there, read_only=True) as there:
        assert own.content_hash() == there.content_hash()


def test_sending_goes_on_where_it_was_cut_off(tmp_path, object_store, monkeypatch):
    url = f"ladybug:{tmp_path / 'own'}"
    put(url, "a", "b")
    place = object_store.url
    create = ObjectFolder.create

    def cut_off(self: ObjectFolder, name: str, data: bytes) -> bool:
        if name == entry_name(1):
            raise StoreUnavailableError("cut off")
        return create(self, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectFolder, "create", cut_off)
        with pytest.raises(StoreUnavailableError):
            share(Homes.copy(url), place)
    # It is still the home's own; nobody else follows half of it.
    assert shared_journal.link_of(Homes.copy(url).folder) is None
    with pytest.raises(UsageError, match="not all there"):
        share(Journal(tmp_path / "new" / "journal"), place)
    assert share(Homes.copy(url), place) == 1
    assert SharedJournal(Homes.copy(url), place).check().problems == []


def test_a_log_with_gaps_is_not_followed(homes, tmp_path):
    put(homes.here, "a", "b", "c")
    homes.objects.delete(entry_name(1))
    with pytest.raises(StoreDamagedError, match="has gaps"):
        share(Journal(tmp_path / "new" / "journal"), homes.place)


def test_the_journal_of_another_catalogue_is_refused(homes, tmp_path):
    put(homes.here, "a")
    own = f"ladybug:{tmp_path / 'own'}"
    put(own, "a")
    with pytest.raises(UsageError, match="another catalogue"):
        share(Homes.copy(own), homes.place)
    with opened(own) as store:
        put_into(store, "b")
    assert shared_journal.link_of(Homes.copy(own).folder) is None


def test_a_copy_of_a_home_follows_again(homes, tmp_path):
    put(homes.here, "a")
    own = tmp_path / "own"
    shutil.copytree(tmp_path / "here", own)
    (own / "journal" / LINK).unlink()
    put(homes.here, "b")
    share(Journal(own / "journal"), homes.place)
    with opened(f"ladybug:{own}", read_only=True) as store:
        assert store.counts().items == 2


def test_a_store_that_lets_two_writers_write_the_same_is_refused(
    tmp_path, object_store, monkeypatch
):
    with faulty_store(object_store.endpoint, 0) as (store, address):
        store.rates.clear()
        store.forgets_conditions = True
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        with pytest.raises(UsageError, match="If-None-Match"):
            share(Journal(tmp_path / "journal"), object_store.url)


@pytest.mark.parametrize(
    "url",
    [
        "s3://b/x",
        "s3://bucket",
        "s3://bucket/..",
        "s3://u:p@bucket/x",
        "gs://bucket/x",
        "x",
        "s3://bucket/a b",
    ],
)
def test_what_is_no_url_is_refused_without_repeating_it(url):
    with pytest.raises(UsageError) as raised:
        checked_folder_url(url)
    assert "u:p" not in str(raised.value)


def test_columns_of_this_version_are_added_to_an_earlier_journal(homes, monkeypatch):
    schema = journal_module.JOURNAL_SCHEMA
    with monkeypatch.context() as patch:
        known = schema.remove(schema.get_field_index("at"))
        patch.setattr(journal_module, "JOURNAL_SCHEMA", known)
        patch.setattr(shared_journal, "JOURNAL_SCHEMA", known)
        rows = statements_table([statement()]).to_pylist()
        items = items_table([Item("a")]).to_pylist()
        changes = changes_table(Changes(items, new_statements=rows))
        homes.shared(homes.here).add(journal_module.Batch.of(changes))
    put(homes.there, "b")
    put(homes.here, "c")
    with opened(homes.here, read_only=True) as here:
        # The version in between has the new columns, and no rows.
        assert [batch.changes.num_rows > 0 for batch in here.changes()] == [True, False, True, True]
    assert len(homes.hashes()) == 1
