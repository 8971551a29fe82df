"""Products in the vocabulary of schema.org and GoodRelations."""

import json

import pytest

from kg.ingest.pipeline import ingest
from kg.stores.open import open_store
from tests.kg.export.odd_store import MemoryHome

NAMESPACES = {
    "s": "https://schema.org/",
    "old": "http://schema.org/",
    "gr": "http://purl.org/goodrelations/v1#",
    "x": "http://x/",
}
PREFIXES = "".join(f"@prefix {name}: <{address}> .\n" for name, address in NAMESPACES.items())
MUG = {"@type": "Product", "sku": "M1", "name": "Red mug"}


class Catalogue:
    """A home with a store in memory, to ingest documents into."""

    def __init__(self, folder):
        self.folder = folder
        self.store = open_store("memory:")
        self.home = MemoryHome.of(folder / "home", self.store)

    def turtle(self, text, **options):
        return self._ingest("products.ttl", PREFIXES + text, **options)

    def json_ld(self, document, **options):
        return self._ingest("products.jsonld", json.dumps(document), **options)

    def _ingest(self, name, text, **options):
        (self.folder / name).write_text(text)
        return ingest(self.home, [self.folder / name], max_rejects=9, **options)

    def facts(self, item):
        return {each.property: each.value for each in self.store.item(item)[1]}  # type: ignore[index]


@pytest.fixture
def catalogue(tmp_path):
    return Catalogue(tmp_path)


def schema_org(**properties):
    return {"@context": "https://schema.org", **MUG, **properties}


def test_a_product_is_an_item(catalogue):
    report = catalogue.json_ld(
        schema_org(
            category="Home > Mugs", image=["https://x/1.jpg", "https://x/2.jpg"], color="red"
        )
    )
    item, _ = catalogue.store.item("M1")
    assert (item.title, item.category, len(item.images)) == ("Red mug", "Home > Mugs", 2)
    assert catalogue.facts("M1") == {"color": "red"}
    assert (report.mapping, report.read, report.stored) == ("schema-org", 1, 1)


def test_offers_are_flattened(catalogue):
    offer = {
        "@type": "Offer",
        "price": 19.9,
        "priceCurrency": "EUR",
        "availability": "https://schema.org/InStock",
    }
    catalogue.json_ld(schema_org(offers=offer))
    assert catalogue.facts("M1") == {
        "offers.price": "19.9",
        "offers.priceCurrency": "EUR",
        "offers.availability": "InStock",
    }


def test_a_brand_is_its_name_and_keeps_the_rest(catalogue):
    catalogue.json_ld(schema_org(brand={"@type": "Brand", "name": "Acme", "slogan": "Yes"}))
    assert catalogue.facts("M1") == {"brand": "Acme", "brand.slogan": "Yes"}


def test_additional_properties_have_their_own_names(catalogue):
    values = [
        {"@type": "PropertyValue", "name": "height", "value": 12, "unitText": "cm"},
        {"name": "wash", "value": ["hot", "cold"]},
    ]
    catalogue.json_ld(
        schema_org(additionalProperty=values, weight={"value": 300, "unitCode": "GRM"})
    )
    assert catalogue.facts("M1") == {"height": "12 cm", "wash": "cold hot", "weight": "300 g"}


@pytest.mark.parametrize("shape", ["one", "array", "graph", "late context"])
def test_documents_of_any_shape(catalogue, shape):
    one = schema_org()
    context = {"@context": one["@context"]}
    shapes = {
        "one": one,
        "array": [one],
        "graph": {**context, "@graph": [MUG]},
        "late context": {"@graph": [MUG], **context},
    }
    catalogue.json_ld(shapes[shape])
    assert catalogue.store.item("M1")[0].title == "Red mug"


def test_both_namespaces_of_schema_org_are_read(catalogue):
    catalogue.turtle(
        'x:a a s:Product ; s:name "A" . x:b a old:Product ; old:name "B" ; old:color "red" .'
    )
    assert catalogue.store.item("http://x/a")[0].title == "A"
    assert catalogue.facts("http://x/b") == {"color": "red"}


def test_good_relations(catalogue):
    catalogue.turtle(
        'x:p a gr:SomeItems ; gr:hasStockKeepingUnit "S1" ; gr:name "Mug" ; gr:category "Mugs" . '
        "x:o a gr:Offering ; gr:includes x:p ; gr:hasPriceSpecification ["
        '  gr:hasCurrency "EUR" ;'
        '  gr:hasCurrencyValue "12.50"^^<http://www.w3.org/2001/XMLSchema#float> ] .'
    )
    assert (catalogue.store.counts().items, catalogue.store.item("S1")[0].category) == (1, "Mugs")
    assert catalogue.facts("S1") == {"offers.price": "12.5", "offers.priceCurrency": "EUR"}


def test_an_offering_that_includes_nothing_is_a_product(catalogue):
    catalogue.turtle('x:o a gr:Offering ; gr:name "Haircut" .')
    assert catalogue.store.item("http://x/o")[0].title == "Haircut"


def test_texts_in_other_languages_are_kept_apart(catalogue):
    catalogue.turtle(
        'x:a a s:Product ; s:name "Becher"@de, "Mug"@en-GB ; s:color "red"@en, "rot"@de .'
    )
    assert catalogue.store.item("http://x/a")[0].title == "Mug"
    assert catalogue.facts("http://x/a") == {"name@de": "Becher", "color": "red", "color@de": "rot"}


def test_a_text_only_in_another_language_is_used(catalogue):
    catalogue.turtle('x:a a s:Product ; s:name "Stuhl"@de .')
    assert catalogue.store.item("http://x/a")[0].title == "Stuhl"


def test_cycles_of_nodes_are_not_followed(catalogue):
    catalogue.turtle(
        'x:a a s:Product ; s:name "A" ; s:brand x:b . x:b s:name "B" ; s:owns x:c . '
        'x:c s:name "C" ; s:ownedBy x:b, x:a .'
    )
    assert catalogue.facts("http://x/a")["brand"] == "B"


def test_a_product_of_a_product_is_an_item_of_its_own(catalogue):
    catalogue.turtle('x:a a s:Product ; s:isVariantOf x:b . x:b a s:ProductGroup ; s:name "B" .')
    assert catalogue.facts("http://x/a") == {"variant of": "http://x/b"}
    assert catalogue.store.item("http://x/b")[0].title == "B"


def test_variants_of_a_group_lead_to_it(catalogue):
    variants = [{"@type": "Product", "sku": sku, "name": f"Parka {sku}"} for sku in ("S", "M")]
    group = {"@context": "https://schema.org/", "@type": "ProductGroup", "productGroupID": "PK"}
    catalogue.json_ld({**group, "name": "Parka", "material": "Wool", "hasVariant": variants})
    assert catalogue.facts("PK") == {"material": "Wool"}
    assert [catalogue.facts(sku) for sku in ("S", "M")] == [
        {"variant of": "PK", "material": "Wool"}
    ] * 2


def test_products_of_gs1(catalogue):
    catalogue.turtle(
        "@prefix gs1: <https://ref.gs1.org/voc/> . "
        'x:a a gs1:Product ; gs1:gtin "04012345500018" ; '
        'gs1:productName "Oat Drink"@en, "Hafer"@de ; '
        'gs1:netContent [ a gs1:QuantitativeValue ; gs1:value "1.0" ; gs1:unitCode "LTR" ] .'
    )
    assert catalogue.store.item("04012345500018")[0].title == "Oat Drink"
    assert catalogue.facts("04012345500018") == {"netContent": "1.0 l", "productName@de": "Hafer"}


def test_a_product_without_an_id_is_rejected_with_its_reason(catalogue):
    report = catalogue.turtle('x:a a s:Product . [] a s:Product ; s:name "no id" .')
    assert (report.read, report.stored, report.rejected) == (2, 1, 1)
    with catalogue.home.ledger() as ledger:
        (row,) = ledger.rejects()
    assert "has no id: none of sku" in row.reason
    assert row.text == "no id"


def test_a_second_product_with_the_same_id_is_rejected(catalogue):
    report = catalogue.turtle(
        'x:a a s:Product ; s:sku "1" ; s:name "A" . x:b a s:Product ; s:sku "1" ; s:name "B" .'
    )
    assert (report.stored, report.rejected) == (1, 1)


def test_ingesting_it_again_adds_nothing(catalogue):
    catalogue.json_ld(schema_org(color="red", offers={"price": 1}))
    assert catalogue.json_ld(schema_org(color="red", offers={"price": 1})).new_statements == 0


def test_images_are_relative_to_the_file(catalogue):
    from PIL import Image

    Image.new("RGB", (4, 4)).save(catalogue.folder / "1.png")
    catalogue.turtle('x:a a s:Product ; s:image <1.png> . x:b a s:Product ; s:image "../1.png" .')
    assert catalogue.store.item("http://x/a")[0].images == (str(catalogue.folder / "1.png"),)
    assert catalogue.store.item("http://x/b")[0].images == ()


def test_an_image_may_be_an_object_with_its_address(catalogue):
    front = {"@type": "ImageObject", "name": "Front", "url": "https://x/1.jpg", "width": "9"}
    back = {"@type": "ImageObject", "contentUrl": "https://x/2.jpg", "thumbnailUrl": "https://x/s"}
    catalogue.json_ld(schema_org(image=[front, back]))
    assert catalogue.store.item("M1")[0].images == ("https://x/1.jpg", "https://x/2.jpg")
    assert "https://x/s" not in catalogue.facts("M1").values()
