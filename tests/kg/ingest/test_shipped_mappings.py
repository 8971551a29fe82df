"""Each shipped mapping on a small file in its documented format."""

from collections import Counter
from pathlib import Path

import pytest

from schema.mapping import Head, guess_mapping, shipped_mappings
from tests.kg.ingest.mapped import apply_table, shipped, shipped_records


def cells(*rows):
    """Return the header and the rows of a table; the first row has all columns, some empty."""
    header = list(rows[0])
    return header, [[row.get(name) or None for name in header] for row in rows]


def test_shopify():
    made = shipped(
        "shopify",
        *cells(
            {
                "Handle": "shirt",
                "Title": "Shirt",
                "Body (HTML)": "<p>Cool</p>",
                "Vendor": "Nord",
                "Product Category": "Apparel > Shirts",
                "Type": "Shirt",
                "Tags": "summer, linen",
                "Published": "TRUE",
                "Option1 Name": "Size",
                "Option1 Value": "S",
                "Variant SKU": "S-1",
                "Variant Grams": "210",
                "Variant Price": "49.90",
                "Image Src": "https://x/1.jpg",
                "Image Position": "1",
                "Variant Image": "",
                "Status": "active",
                "Fabric (product.metafields.custom.fabric)": "linen; cotton",
            },
            {
                "Handle": "shirt",
                "Option1 Value": "M",
                "Variant Grams": "220",
                "Image Src": "https://x/2.jpg",
                "Image Position": "2",
                "Variant Image": "https://x/m.jpg",
            },
            {
                "Handle": "shirt",
                "Image Src": "https://x/3.jpg",
                "Image Position": "3",
            },
            {
                "Handle": "mug",
                "Title": "Mug",
                "Product Category": "Home > Mugs",
                "Type": "Mug",
                "Published": "TRUE",
                "Option1 Name": "Title",
                "Option1 Value": "Default Title",
                "Variant SKU": "M-1",
                "Variant Grams": "340",
                "Variant Price": "12",
                "Image Src": "https://x/4.jpg",
                "Image Position": "1",
                "Status": "draft",
            },
        ),
    )
    assert sorted(made.items) == ["S-1", "mug", "shirt", "shirt/M"]
    assert made.items["shirt"] == {
        "title": "Shirt",
        "description": "Cool",
        "category": "Apparel > Shirts",
        "images": [f"https://x/{n}.jpg" for n in (1, 2, 3)],
    }
    assert made.items["shirt/M"]["images"] == ["https://x/m.jpg"]
    assert made.values("shirt")["Tags"] == ["linen", "summer"]
    assert made.values("shirt")["Fabric"] == ["cotton", "linen"]
    assert made.values("S-1") == {
        "variant of": "shirt",
        "Size": "S",
        "SKU": "S-1",
        "Weight": "210 g",
        "Price": "49.90",
    }
    assert made.values("mug") == {
        "SKU": "M-1",
        "Weight": "340 g",
        "Price": "12",
        "Type": "Mug",
        "Published": "TRUE",
        "Status": "draft",
    }


def test_shopify_json():
    product = {
        "id": 1,
        "title": "Shirt",
        "handle": "shirt",
        "body_html": "<p>Cool</p>",
        "vendor": "Nord",
        "product_type": "Shirts",
        "tags": ["summer", "linen"],
        "published_at": "2024-01-01",
        "variants": [
            {"id": 11, "sku": "S-1", "title": "S", "option1": "S", "price": "9", "grams": 210},
            {"id": 12, "sku": "", "title": "M", "option1": "M", "price": "9"},
        ],
        "images": [{"id": 5, "src": "https://x/1.jpg", "width": 9}, {"src": "https://x/2.jpg"}],
        "options": [{"name": "Size", "position": 1, "values": ["S", "M"]}],
    }
    made = shipped_records("shopify-json", [product])
    assert sorted(made.items) == ["12", "S-1", "shirt"]
    assert made.items["shirt"]["images"] == ["https://x/1.jpg", "https://x/2.jpg"]
    assert made.values("shirt") == {"id": "1", "vendor": "Nord", "tags": ["linen", "summer"]}
    assert made.values("S-1") == {
        "variant of": "shirt",
        "Size": "S",
        "price": "9",
        "weight": "210 g",
        "sku": "S-1",
        "id": "11",
    }


def test_woocommerce():
    made = shipped(
        "woocommerce",
        *cells(
            {
                "ID": "44",
                "Type": "variable",
                "SKU": "hoodie",
                "Name": "Hoodie",
                "Published": "1",
                "Is featured?": "0",
                "Short description": "",
                "Description": "Warm",
                "In stock?": "1",
                "Weight (kg)": "0.5",
                "Regular price": "",
                "Categories": "Clothing > Hoodies, Sale",
                "Tags": "new, warm",
                "Images": "https://x/1.jpg, https://x/2.jpg",
                "Parent": "",
                "Position": "0",
                "Attribute 1 name": "Color",
                "Attribute 1 value(s)": 'Blue, "Black, matt"',
                "Attribute 1 visible": "1",
                "Attribute 1 global": "1",
                "Meta: _x": "z",
            },
            {
                "ID": "61",
                "Type": "variation",
                "SKU": "hoodie-blue",
                "Name": "Hoodie - Blue",
                "Published": "1",
                "Is featured?": "0",
                "In stock?": "1",
                "Regular price": "45",
                "Images": "https://x/3.jpg",
                "Parent": "id:44",
                "Position": "1",
                "Attribute 1 name": "Color",
                "Attribute 1 value(s)": "Blue",
                "Attribute 1 global": "1",
            },
            {
                "ID": "70",
                "Type": "simple",
                "Name": "Beanie",
                "Published": "1",
                "Is featured?": "1",
                "Short description": "Knitted",
                "In stock?": "1",
                "Weight (kg)": "0.2",
                "Regular price": "18",
                "Categories": "Clothing > Hats",
                "Position": "0",
            },
        ),
    )
    assert sorted(made.items) == ["70", "hoodie", "hoodie-blue"]
    assert made.items["hoodie"] == {
        "title": "Hoodie",
        "description": "Warm",
        "category": "Clothing > Hoodies",
        "images": ["https://x/1.jpg", "https://x/2.jpg"],
    }
    values = made.values("hoodie")
    assert values["Color"] == ["Black, matt", "Blue"]
    assert (values["Weight"], values["Categories"], values["Tags"]) == (
        "0.5 kg",
        "Sale",
        ["new", "warm"],
    )
    assert made.values("hoodie-blue")["variant of"] == "hoodie"


def test_magento():
    made = shipped(
        "magento",
        *cells(
            {
                "sku": "M",
                "store_view_code": "",
                "attribute_set_code": "Top",
                "product_type": "configurable",
                "categories": "Default/Men/Tops,Default/Sale",
                "name": "Fleece",
                "description": "<p>Warm</p>",
                "weight": "0.6",
                "price": "59",
                "base_image": "/m/1.jpg",
                "additional_images": "https://x/2.jpg,https://x/3.jpg",
                "additional_attributes": "climate=Cold|Cool,pattern=Solid, quiet",
                "configurable_variations": "sku=M-S,size=S|sku=M-L,size=L",
                "qty": "0",
            },
            {
                "sku": "M",
                "store_view_code": "de",
                "name": "Fleecejacke",
            },
            {
                "sku": "M-S",
                "store_view_code": "default",
                "attribute_set_code": "Top",
                "product_type": "simple",
                "categories": "Default/Men/Tops",
                "name": "Fleece S",
                "weight": "0.6",
                "price": "59",
                "additional_attributes": "color=Black,size=S",
                "qty": "14",
            },
        ),
    )
    assert sorted(made.items) == ["M", "M-L", "M-S"]
    assert (made.items["M"]["title"], made.items["M"]["category"]) == (
        "Fleece",
        "Default > Men > Tops",
    )
    assert made.items["M"]["images"] == ["https://x/2.jpg", "https://x/3.jpg"]
    values = made.values("M")
    assert (values["climate"], values["pattern"]) == (["Cold", "Cool"], "Solid, quiet")
    assert values["categories"] == "Default > Sale"
    assert made.items["M-S"]["title"] == "Fleece S"
    assert (made.values("M-S")["size"], made.values("M-S")["variant of"]) == ("S", "M")
    assert made.values("M-L") == {"size": "L", "variant of": "M"}
    assert Counter(made.languages.values()) == {"de": 1}


def test_akeneo():
    made = shipped(
        "akeneo",
        *cells(
            {
                "sku": "TS",
                "categories": "goodies,tshirts",
                "enabled": "1",
                "family": "shirts",
                "description-de_DE-print": "<p>Weich</p>",
                "description-en_US-web": "<p>Soft</p>",
                "name-de_DE": "Hemd",
                "name-en_US": "Tee",
                "picture": "https://x/1.jpg",
                "price-EUR": "10.00",
                "weight": "0.18",
                "weight-unit": "KILOGRAM",
                "materials": "cotton,elastane",
                "X_SELL-products": "MUG,TS-2",
                "parent": "TS-M",
            },
            {
                "sku": "MUG",
                "categories": "goodies",
                "enabled": "0",
                "family": "mugs",
                "name-de_DE": "Tasse",
                "price-EUR": "5.00",
                "weight": "340",
                "weight-unit": "GRAM",
                "materials": "ceramic",
            },
        ),
    )
    assert made.items["TS"] == {
        "title": "Tee",
        "description": "Soft",
        "category": "goodies",
        "images": ["https://x/1.jpg"],
    }
    assert made.items["MUG"]["title"] == "Tasse"
    values = made.values("TS")
    assert (values["weight"], values["materials"]) == ("0.18 kg", ["cotton", "elastane"])
    assert (values["categories"], values["variant of"]) == ("tshirts", "TS-M")
    assert values["X_SELL-products"] == ["MUG", "TS-2"]
    assert Counter(made.languages.values()) == {"de-DE": 2}


def test_amazon_flat_file():
    made = shipped(
        "amazon-flat-file",
        *cells(
            {
                "feed_product_type": "shirt",
                "item_sku": "P",
                "item_name": "Shirt",
                "brand_name": "Nord",
                "main_image_url": "https://x/1.jpg",
                "other_image_url1": "",
                "parent_child": "Parent",
                "parent_sku": "",
                "bullet_point1": "",
                "bullet_point2": "",
                "item_weight": "",
                "item_weight_unit_of_measure": "",
                "update_delete": "Update",
            },
            {
                "feed_product_type": "shirt",
                "item_sku": "P-S",
                "item_name": "Shirt S",
                "brand_name": "Nord",
                "main_image_url": "https://x/1.jpg",
                "other_image_url1": "https://x/2.jpg",
                "parent_child": "Child",
                "parent_sku": "P",
                "bullet_point1": "Cool",
                "bullet_point2": "Soft, light",
                "item_weight": "210",
                "item_weight_unit_of_measure": "GR",
            },
        ),
    )
    assert made.items["P-S"] == {
        "title": "Shirt S",
        "category": "shirt",
        "images": ["https://x/1.jpg", "https://x/2.jpg"],
    }
    assert made.values("P-S") == {
        "brand_name": "Nord",
        "parent_child": "Child",
        "variant of": "P",
        "bullet_point": ["Cool", "Soft, light"],
        "item_weight": "210 GR",
    }


def test_google_merchant_text():
    made = shipped(
        "google-merchant",
        *cells(
            {
                "id": "TV",
                "title": "Monitor, black",
                "description": "Flat",
                "link": "https://x/tv",
                "image_link": "https://x/1.jpg",
                "additional_image_link": "https://x/2.jpg,https://x/3.jpg",
                "price": "159.00 EUR",
                "google_product_category": "166",
                "product_type": "Home > Screens",
                "color": "black/white",
                "item_group_id": "G",
                "product_detail": "Display:Resolution:1920x1080,:Panel:IPS",
                "gtin": "04012345200010",
            },
        ),
    )
    assert made.items["TV"] == {
        "title": "Monitor, black",
        "description": "Flat",
        "category": "Home > Screens",
        "images": [f"https://x/{n}.jpg" for n in (1, 2, 3)],
    }
    assert made.values("TV") == {
        "price": "159.00 EUR",
        "color": ["black", "white"],
        "Display Resolution": "1920x1080",
        "Panel": "IPS",
        "variant of": "G",
        "gtin": "04012345200010",
        "google_product_category": "166",
    }


def test_google_merchant_xml():
    item = {
        "id": "TV",
        "title": "Monitor",
        "description": "<b>Flat</b>",
        "link": {"@href": "https://x/tv", "@rel": "alternate"},
        "image_link": "https://x/1.jpg",
        "additional_image_link": ["https://x/2.jpg", "https://x/3.jpg"],
        "price": "159.00 EUR",
        "shipping": {"country": "DE", "price": "4.95 EUR"},
        "product_detail": [
            {"section_name": "Display", "attribute_name": "Panel", "attribute_value": "IPS"}
        ],
    }
    made = shipped_records("google-merchant", [item])
    assert made.items["TV"]["images"] == [f"https://x/{n}.jpg" for n in (1, 2, 3)]
    assert made.values("TV") == {
        "price": "159.00 EUR",
        "Panel": "IPS",
        "shipping.country": "DE",
        "shipping.price": "4.95 EUR",
    }


def test_google_merchant_atom_has_the_ids_of_products_beside_those_of_entries():
    item = {
        "id": "tag:shop,2024:1",
        "g:id": "M1",
        "title": "Mug",
        "link": {"@href": "https://x/1"},
        "g:link": "https://x/1",
        "image_link": "https://x/1.jpg",
        "price": "3.00 EUR",
    }
    made = shipped_records("google-merchant", [item, {**item, "id": "tag:2", "g:id": "M2"}])
    assert list(made.items) == ["M1", "M2"]
    assert made.items["M1"]["title"] == "Mug"
    assert made.values("M1") == {"price": "3.00 EUR", "id": "tag:shop,2024:1"}


def test_open_food_facts_table():
    made = shipped(
        "open-food-facts",
        *cells(
            {
                "code": "0000010",
                "url": "http://f/1",
                "creator": "me",
                "created_t": "160",
                "last_modified_datetime": "2024",
                "product_name": "Crème",
                "quantity": "125 g",
                "brands": "Laiterie, Bleue",
                "categories": "Desserts,Crèmes",
                "categories_tags": "en:desserts",
                "labels": "Bio,Sans gluten",
                "countries_en": "France",
                "image_url": "http://x/1.jpg",
                "image_small_url": "http://x/1s.jpg",
                "sugars_100g": "15.2",
            },
        ),
    )
    assert made.items["0000010"] == {
        "title": "Crème",
        "category": "Desserts > Crèmes",
        "images": ["http://x/1.jpg"],
    }
    assert made.values("0000010") == {
        "quantity": "125 g",
        "brands": ["Bleue", "Laiterie"],
        "labels": ["Bio", "Sans gluten"],
        "countries_en": "France",
        "sugars_100g": "15.2",
    }
    assert {"created_t", "image_small_url"} <= set(made.left_out.columns)


def test_open_food_facts_records():
    food = {
        "_id": "10",
        "code": "10",
        "product_name": "Crème",
        "product_name_en": "Cream",
        "categories": "Desserts,Crèmes",
        "nutriments": {"sugars_100g": 15.2, "sugars_unit": "g"},
        "images": {"1": {"sizes": {"100": {"h": 75, "w": 100}}, "uploader": "a"}},
        "ingredients": [{"id": "en:milk", "percent_estimate": 80.5}],
        "image_url": "http://x/1.jpg",
        "last_modified_t": 160,
    }
    made = shipped_records("open-food-facts", [food])
    assert made.items["10"] == {
        "title": "Cream",
        "category": "Desserts > Crèmes",
        "images": ["http://x/1.jpg"],
    }
    assert made.values("10") == {
        "product_name": "Crème",
        "sugars_100g": "15.2",
        "sugars_unit": "g",
    }


def test_wands():
    made = shipped(
        "wands",
        *cells(
            {
                "product_id": "0",
                "product_name": "oak bed",
                "product_class": "Beds",
                "category hierarchy": "Furniture / Beds & Headboards / Beds",
                "product_description": "A bed",
                "product_features": "width:64.7|style : modern|see : https://x/y",
                "rating_count": "15.0",
            },
            {
                "product_id": "1",
                "product_name": "jar",
                "category hierarchy": "Kitchen",
                "product_description": " ",
                "product_features": "material : glass|material : cork",
            },
        ),
    )
    assert made.items["0"]["category"] == "Furniture > Beds & Headboards > Beds"
    assert made.values("0") == {
        "product_class": "Beds",
        "width": "64.7",
        "style": "modern",
        "see": "https://x/y",
        "rating_count": "15.0",
    }
    assert made.values("1") == {"material": ["cork", "glass"]}


def test_esci():
    header = [
        "product_id",
        "product_title",
        "product_description",
        "product_bullet_point",
        "product_brand",
        "product_color",
        "product_locale",
    ]
    made = shipped(
        "esci",
        header,
        [
            ["B1", "Lámpara", None, "Regulable", "Lumo", "Blanco", "es"],
            ["B1", "Lamp", "<p>Bright</p>", "Dimmable\nUSB port", "Lumo", "White", "us"],
            ["B2", "机", None, None, None, None, "jp"],
        ],
    )
    assert [made.items[id]["title"] for id in ("B1", "B2")] == ["Lamp", "机"]
    assert made.values("B1") == {
        "bullet_point": ["Dimmable", "USB port"],
        "brand": "Lumo",
        "color": "White",
    }
    assert (made.read, made.stored, made.rejects) == (3, 3, {})


def test_amazon_berkeley_objects():
    sofa = {
        "brand": [{"language_tag": "en_US", "value": "Polsterei"}],
        "bullet_point": [{"language_tag": "en_US", "value": text} for text in ("Oak", "Soft")],
        "color": [{"language_tag": "en_US", "standardized_values": ["Grey"], "value": "Stone"}],
        "item_id": "B1",
        "item_name": [
            {"language_tag": "de_DE", "value": "Dreisitzer"},
            {"language_tag": "en_US", "value": "Sofa"},
        ],
        "item_weight": [
            {
                "normalized_value": {"unit": "pounds", "value": 99.2},
                "unit": "kilograms",
                "value": 45.0,
            }
        ],
        "item_dimensions": {
            "height": {
                "normalized_value": {"unit": "inches", "value": 33.5},
                "unit": "centimeters",
                "value": 85,
            }
        },
        "main_image_id": "81a",
        "product_type": [{"value": "SOFA"}],
        "node": [{"node_id": 3, "node_name": "/Categories/Living Room/Sofas"}],
        "marketplace": "Amazon",
    }
    shoe = {
        "item_id": "B2",
        "item_name": [{"language_tag": "en_IN", "value": "Shoe"}],
        "product_type": [{"value": "SHOES"}],
    }
    made = shipped_records("amazon-berkeley-objects", [sofa, shoe])
    assert made.items["B1"]["title"] == "Sofa"
    assert made.items["B1"]["category"] == "Categories > Living Room > Sofas"
    assert (made.items["B2"]["title"], made.items["B2"]["category"]) == ("Shoe", "SHOES")
    assert made.values("B1") == {
        "brand": "Polsterei",
        "bullet_point": ["Oak", "Soft"],
        "color": "Stone",
        "item_weight": "45 kilograms",
        "height": "85 centimeters",
        "product_type": "SOFA",
    }
    assert Counter(made.languages.values()) == {"de-DE": 1}


def test_icecat():
    item = {
        "id": "1",
        "name": "X1",
        "title": "Printer X1",
        "supplier": "Xerox",
        "ean": ["0095205603217"],
        "short_description": "A printer",
        "img_high": "http://x/high.jpg",
        "img_low": "http://x/low.jpg",
        "price": 10,
        "attr_t_product_colour": "Black",
        "attr_n_weight": 3460.0,
        "attr_b_bluetooth": True,
    }
    made = shipped_records("icecat", [item])
    assert made.items["1"]["images"] == ["http://x/high.jpg"]
    assert made.values("1") == {
        "name": "X1",
        "supplier": "Xerox",
        "ean": "0095205603217",
        "price": "10",
        "product_colour": "Black",
        "weight": "3460",
        "bluetooth": "true",
    }


@pytest.mark.parametrize(("word", "id"), [("PRODUCT", "SUPPLIER_PID"), ("ARTICLE", "SUPPLIER_AID")])
def test_bmecat(word, id):
    article = {
        "@mode": "new",
        id: "100-1",
        f"{word}_DETAILS": {
            "DESCRIPTION_SHORT": [
                {"@lang": "deu", "#text": "Lampe"},
                {"@lang": "eng", "#text": "Lamp"},
            ],
            "MANUFACTURER_NAME": "Blick",
        },
        f"{word}_FEATURES": {
            "REFERENCE_FEATURE_SYSTEM_NAME": "ETIM-9.0",
            "REFERENCE_FEATURE_GROUP_ID": "EC001959",
            "FEATURE": [
                {"FNAME": "EF1", "FVALUE": "8.5", "FUNIT": "MMT"},
                {"FNAME": "EF2", "FVALUE": ["EV1", "EV2"], "FORDER": "2"},
            ],
        },
        "MIME_INFO": {
            "MIME": [
                {"MIME_TYPE": "image/jpeg", "MIME_SOURCE": "https://x/1.jpg"},
                {"MIME_TYPE": "application/pdf", "MIME_SOURCE": "https://x/1.pdf"},
            ]
        },
    }
    made = shipped_records("bmecat", [article])
    assert made.items["100-1"] == {
        "title": "Lamp",
        "category": "EC001959",
        "images": ["https://x/1.jpg"],
    }
    assert made.values("100-1") == {
        "EF1": "8.5 mm",
        "EF2": ["EV1", "EV2"],
        "MANUFACTURER_NAME": "Blick",
        f"{word}_FEATURES.REFERENCE_FEATURE_SYSTEM_NAME": "ETIM-9.0",
        "MIME_INFO.MIME.MIME_SOURCE": "https://x/1.pdf",
    }


def test_gs1():
    product = {
        "gtin": "04012345500018",
        "productName": [
            {"@language": "en", "@value": "Oat Drink"},
            {"@language": "de", "@value": "Haferdrink"},
        ],
        "netContent": {"@type": "QuantitativeValue", "value": "1.0", "unitCode": "LTR"},
        "brand": {"brandName": "Hof"},
    }
    made = shipped_records("gs1", [product])
    assert made.items["04012345500018"]["title"] == "Oat Drink"
    assert made.values("04012345500018") == {"netContent": "1.0 l", "brand.brandName": "Hof"}


def test_every_shipped_mapping_has_a_test_and_a_line_in_the_docs():
    root = Path(__file__).parents[3]
    tested = Path(__file__).read_text(encoding="utf-8").replace("_", "-")
    elsewhere = {
        "generic",
        "fashion-product-images",
        "k3m",
        "sample",
        "schema-org",
        "mbsd-pretraining",
    }
    documented = (root / "docs" / "mappings.md").read_text(encoding="utf-8")
    for name in shipped_mappings():
        assert f"`{name}`" in documented
        assert name in elsewhere or f"test-{name}" in tested


@pytest.mark.parametrize(("name", "labels"), [("mbsd", ["邮简"]), ("mbsd-pretraining", [])])
def test_mbsd(name, labels):
    row = ["邮简 邮票", "i8/T1_085654.jpg", *labels]
    guess = guess_mapping(Head("samples", (tuple(row), tuple(row)), delimiter="\t"))
    assert guess.mapping.name == name
    made = apply_table(guess.mapping, list(guess.mapping.columns), [row])
    (item,) = made.items
    assert item == "i8/T1_085654.jpg"
    assert (made.items[item]["title"], made.items[item]["category"]) == (
        "邮简 邮票",
        labels[0] if labels else None,
    )


def test_prestashop():
    made = shipped(
        "prestashop",
        *cells(
            {
                "Product ID": "1",
                "Active (0/1)": "1",
                "Name *": "Dress",
                "Categories (x,y,z...)": "Women,Dresses",
                "Reference #": "D-1",
                "Tags (x,y,z...)": "new,linen",
                "Image URLs (x,y,z...)": "https://x/1.jpg,https://x/2.jpg",
                "Feature(Name:Value:Position:Customized)": "Fabric:Linen:1:0,Length:98:2",
            }
        ),
    )
    assert made.items["1"] == {
        "title": "Dress",
        "category": "Women",
        "images": ["https://x/1.jpg", "https://x/2.jpg"],
    }
    assert made.values("1") == {
        "Categories (x,y,z...)": "Dresses",
        "Reference #": "D-1",
        "Tags": ["linen", "new"],
        "Fabric": "Linen",
        "Length": "98",
    }


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        (
            ["ID", "Typ", "Artikelnummer", "Name", "Kategorien", "Bilder", "Übergeordnet"],
            ["Attribut 1 Name", "Attribut 1 Wert(e)"],
        ),
        (
            ["ID", "Type", "UGS", "Nom", "Catégories", "Images", "Parent"],
            ["Nom de l’attribut 1", "Valeur(s) de l’attribut 1 "],
        ),
        (
            ["ID", "Tipo", "SKU", "Nombre", "Categorías", "Imágenes", "Superior"],
            ["Nombre del atributo 1", "Valor(es) del atributo 1"],
        ),
    ],
)
def test_woocommerce_translates_its_header(names, pairs):
    header = names + pairs
    images = "https://x/1.jpg, https://x/2.jpg"
    made = shipped(
        "woocommerce",
        header,
        [
            ["7", "variable", "shoe", "Shoe", "Shoes > New, Sale", images, None, "Size", "42, 43"],
            ["8", "variation", "shoe-42", "Shoe 42", None, None, "id:7", "Size", "42"],
        ],
    )
    assert made.items["shoe"]["category"] == "Shoes > New"
    assert len(made.items["shoe"]["images"]) == 2
    assert made.values("shoe")["Size"] == ["42", "43"]
    assert made.values("shoe-42")["variant of"] == "shoe"


def test_shopify_by_the_names_of_its_newer_form():
    made = shipped(
        "shopify",
        *cells(
            {
                "Title": "Tote",
                "URL handle": "tote",
                "Description": "<p>Canvas</p>",
                "SKU": "T-N",
                "Option1 name": "Color",
                "Option1 value": "Natural",
                "Price": "19",
                "Product image URL": "https://x/1.jpg",
            },
            {"URL handle": "tote", "SKU": "T-B", "Option1 value": "Black", "Price": "20"},
        ),
    )
    assert sorted(made.items) == ["T-B", "T-N", "tote"]
    assert made.values("T-B") == {
        "variant of": "tote",
        "Color": "Black",
        "SKU": "T-B",
        "Price": "20",
    }


def test_amazon_flat_file_with_names_of_its_newer_form():
    place = "[marketplace_id=A1][language_tag=de_DE]#1"
    made = shipped(
        "amazon-flat-file",
        *cells(
            {
                "contribution_sku#1.value": "L-1",
                "product_type#1.value": "LAMP",
                f"item_name{place}.value": "Lampe",
                f"color{place}.value": "Messing",
                "main_product_image_locator[marketplace_id=A1]#1.media_location": "https://x/1.jpg",
                "other_product_image_locator_1[marketplace_id=A1]#1.media_location": (
                    "https://x/2.jpg"
                ),
            }
        ),
    )
    assert made.items["L-1"] == {
        "title": "Lampe",
        "category": "LAMP",
        "images": ["https://x/1.jpg", "https://x/2.jpg"],
    }
    assert made.values("L-1") == {"color": "Messing"}


def test_akeneo_as_its_api_gives_products():
    def values(*texts):
        return [{"locale": locale, "scope": None, "data": data} for locale, data in texts]

    product = {
        "_links": {"self": {"href": "https://x"}},
        "identifier": "A-1",
        "enabled": True,
        "family": "shoes",
        "categories": ["men", "new"],
        "values": {
            "name": values(("de_DE", "Schuh"), ("en_US", "Shoe")),
            "color": values((None, "red")),
            "weight": values((None, {"amount": "320", "unit": "GRAM"})),
        },
    }
    made = shipped_records("akeneo", [product])
    assert (made.items["A-1"]["title"], made.items["A-1"]["category"]) == ("Shoe", "men")
    assert made.values("A-1")["weight"] == "320 g"
    assert made.values("A-1")["color"] == "red"
    assert made.languages == {("A-1", "title", "Schuh"): "de-DE"}


def test_icecat_xml():
    def feature(name, value, sign, shown):
        definition = {
            "@ID": "1",
            "Measure": {"@ID": "5", "@Sign": sign},
            "Name": {"@ID": "6", "@Value": name, "@langid": "1"},
        }
        return {"@Value": value, "@Presentation_Value": shown, "@ID": "9", "Feature": definition}

    product = {
        "@ID": "29",
        "@Prod_id": "NB14",
        "@Name": "Notebook",
        "@Title": "Acme Notebook 14",
        "@HighPic": "https://x/1.jpg",
        "@Quality": "ICECAT",
        "Category": {"@ID": "151", "Name": {"@Value": "Notebooks", "@langid": "1"}},
        "EANCode": {"@EAN": "4012345000016"},
        "Supplier": {"@ID": "9", "@Name": "Acme"},
        "ProductFeature": [
            feature("Memory", "8", "GB", "8 GB"),
            feature("Colour", "Black", "", "Black"),
        ],
        "ProductGallery": {
            "ProductPicture": [{"@Pic": "https://x/1.jpg"}, {"@Pic": "https://x/2.jpg"}]
        },
    }
    made = shipped_records("icecat-xml", [product])
    assert made.items["NB14"] == {
        "title": "Acme Notebook 14",
        "category": "Notebooks",
        "images": ["https://x/1.jpg", "https://x/2.jpg"],
    }
    assert made.values("NB14") == {
        "Memory": "8 GB",
        "Colour": "Black",
        "brand": "Acme",
        "ean": "4012345000016",
        "ID": "29",
        "Name": "Notebook",
    }
