"""Which mapping is guessed for a source, and why."""

import pytest

from schema.errors import MappingError
from schema.mapping import Head, guess_mapping, load_mapping, resolve
from schema.mapping.evidence import list_separator
from schema.mapping.languages import tagged_names

FASHION = (
    "id",
    "gender",
    "masterCategory",
    "subCategory",
    "articleType",
    "baseColour",
    "season",
    "year",
    "usage",
    "productDisplayName",
)


def head(*rows, delimiter=","):
    return Head("table", rows, delimiter=delimiter)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (head(FASHION), "fashion-product-images"),
        (head(("1", "t", "http://u", "a#:#b#;#c#:#d", "cat"), delimiter="\t"), "k3m"),
        (head(("id", "title", "category", "image", "seller", "colour")), "sample"),
        (head(("sku", "name", "colour")), "generic"),
    ],
)
def test_a_mapping_is_guessed_with_a_reason(source, name):
    guess = guess_mapping(source)
    assert guess.mapping.name == name
    assert guess.reason


def test_generic_finds_its_columns_by_their_names():
    layout = resolve(
        load_mapping("generic"),
        ["SKU", "Product Name", "colour", "Description", "url", "image_url"],
    )
    assert (layout.id, layout.title, layout.images) == (("SKU",), ("Product Name",), ("image_url",))
    assert (layout.properties, layout.description) == (("colour",), ("Description",))
    assert layout.ignored == ("url",)


def test_fashion_keeps_its_path_columns_as_properties():
    layout = resolve(load_mapping("fashion-product-images"), FASHION)
    assert layout.category == ("masterCategory", "subCategory", "articleType")
    assert len(layout.properties) == 8


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (head(("colour", "size")), "finds no id column among colour, size"),
        (head(("1", "red", "http://x")), "no header"),
        (head(), "empty"),
    ],
)
def test_a_source_that_no_mapping_fits_is_refused(source, message):
    with pytest.raises(MappingError, match=message):
        guess_mapping(source)


def test_a_mapping_that_does_not_fit_names_the_missing_column():
    with pytest.raises(MappingError, match=r"fashion-product-images.*'productDisplayName'"):
        resolve(load_mapping("fashion-product-images"), ["id", "name"])


def guess(text, delimiter=","):
    rows = tuple(tuple(line.split(delimiter)) for line in text.strip("\n").split("\n"))
    return guess_mapping(Head("table", rows, delimiter=delimiter))


@pytest.mark.parametrize(
    ("text", "id", "title"),
    [
        ("WineID,WineName,Code\nW1,Rioja,ES\nW2,Barolo,ES\nW3,Chablis,FR", "WineID", "WineName"),
        ("ID,SKU,Name\n,K-1,Kettle\n,K-2,Pot", "SKU", "Name"),
        ("item,SKU,Product Name\nMug,K-1,Mug a\nMug,K-2,Mug b", "SKU", "Product Name"),
        (
            "Artikelnummer;Bezeichnung;Farbe\n1;Stuhl;rot\n2;Tisch;rot",
            "Artikelnummer",
            "Bezeichnung",
        ),
        ("Référence;Désignation;Prix\nA1;Chaise;9\nA2;Table;9", "Référence", "Désignation"),
        ("Código;Nombre;Precio\nA1;Silla;9\nA2;Mesa;9", "Código", "Nombre"),
        ("Codice;Nome;Prezzo\nA1;Sedia;9\nA2;Tavolo;9", "Codice", "Nome"),
        ("商品编号;商品名称;颜色\n1;椅子;红\n2;桌子;红", "商品编号", "商品名称"),
        ("brand_name,product_name,nr\nA,x,1\nA,y,2", "nr", "product_name"),
        ("a;b;c\nX-1;Red mug large;red\nX-2;Blue mug small;red\nX-3;A bowl;red", "a", "b"),
    ],
)
def test_the_id_and_the_title_are_found_by_names_and_contents(text, id, title):
    mapping = guess(text, ";" if ";" in text else ",").mapping
    assert (mapping.id, mapping.title) == ((id,), (title,))


def test_the_reason_says_which_columns_were_no_id():
    found = guess("WineID,WineName,Code\nW1,Rioja,ES\nW2,Barolo,ES\nW3,Chablis,FR")
    assert "'Code' has only 2 different texts in the first 3 rows" in found.why["WineID"]
    empty = guess("ID,SKU\n,a\n,b")
    assert "'ID' is empty" in empty.why["SKU"]
    poor = guess("id,colour\n1,red\n1,blue\n2,blue")
    assert poor.mapping.id == ("id",)
    assert "but has only 2 different texts" in poor.why["id"]


def test_images_are_found_by_what_the_cells_hold():
    text = (
        "sku|front|views|image_count|bild|image_alt\n"
        "1|https://x/1.jpg?w=3|a/2.png;a/3.webp|2|https://cdn/x|A mug\n"
        "2|https://x/4.jpeg|a/5.gif|1||A big bowl"
    )
    assert guess(text, "|").mapping.images == ("front", "views", "bild")


def test_long_tables_are_recognised():
    triples = guess("sku,attribute,value\n1,name,Cup\n1,colour,Blue\n2,name,Can").mapping.triples
    assert (triples.item, triples.property, triples.value) == (("sku",), ("attribute",), ("value",))
    unit = guess("Artikelnummer,Merkmal,Wert,Einheit\n1,Höhe,3,cm\n1,Farbe,rot,\n2,Farbe,blau,")
    assert unit.mapping.triples.unit == ("Einheit",)
    assert guess("sku,property,value,colour\n1,a,b,c").mapping.triples is None


def test_languages_units_parents_and_json_are_recognised():
    text = (
        "sku|title_en|title_de|part-no|Weight (kg)|width_cm|h|h_unit|parent_sku|spec\n"
        '1|Cup|Tasse|7|1.2|3|4|mm||{"a": 1}\n'
        '2|Can|Kanne|8|1|4|5|mm|1|{"a": 2}'
    )
    mapping = guess(text, "|").mapping
    assert (mapping.title, mapping.languages.columns) == (("title",), ("title_{language}",))
    settings = dict(mapping.settings)
    assert (settings["Weight (kg)"].property, settings["Weight (kg)"].unit) == ("Weight", "kg")
    assert (settings["width_cm"].property, settings["width_cm"].unit) == ("width", "cm")
    assert settings["h"].unit_column == "h_unit"
    assert mapping.variants.parent == ("parent_sku",)
    assert [(packed.column, packed.json) for packed in mapping.packed] == [("spec", True)]


def test_the_index_of_pandas_is_left_out():
    found = guess(",sku,Unnamed: 2\n0,a,5\n1,b,7")
    assert found.mapping.ignore[-2:] == ("column_1", "Unnamed: 2")
    assert "index" in found.why["column_1"]
    assert guess(",sku\nx,a\ny,b").mapping.ignore == load_mapping("generic").ignore


@pytest.mark.parametrize(
    ("cells", "separator"),
    [
        (["red, blue", "blue,red", "black, matt"], ","),
        (["cotton; elastane", "wool", "cotton;wool"], ";"),
        (["cotton,elastane", "ceramic"], ","),
        (["Bright, thin and quiet", "Heavy; but cheap, they say"], None),
        (["Grey, matt", "Blue, glossy", "Grey, matt"], None),
        (["1,310", "2,580"], None),
        (["Smith, John and his many other friends", "Smith, John"], None),
        (["a"], None),
    ],
)
def test_lists_are_recognised_by_values_that_come_up_again(cells, separator):
    assert list_separator(cells) == separator


def test_categories_and_their_levels():
    assert guess("sku,category\n1,A > B\n2,A > C").mapping.category_separator == ">"
    assert guess("sku,category\n1,A/B\n2,A/C/D").mapping.category_separator == "/"
    assert guess("sku;category\n1;A | B\n2;A | C", ";").mapping.category_separator == "|"
    several = guess("sku;category\n1;A > B, C > D\n2;A > C", ";").mapping
    assert (several.category_separator, several.category_multi) == (">", ",")
    one = guess("sku;Kategorie\n1;Food, Drinks > Tea\n2;A > C", ";").mapping
    assert (one.category, one.category_multi) == (("Kategorie",), None)


def test_numbers_may_be_names_of_columns_beside_words():
    assert guess("sku,name,36,37\n1,Shoe,4,2").mapping.id == ("sku",)


@pytest.mark.parametrize(
    ("text", "id", "title"),
    [
        ("Art.-Nr.,Name *\n1,Cup\n2,Can", "Art.-Nr.", "Name *"),
        ("No.,Item code,Item description\n1,IC-7,Cup\n2,IC-8,Can", "Item code", "Item description"),
        ("OXID,OXTITLE,OXPRICE,OXEAN\na1,Kite,3,\na2,Hat,4,", "OXID", "OXTITLE"),
        ("x:id,x:parent_level_id,Label (EN)\nP1,a,Cup\nP2,b,Can", "x:id", "Label (EN)"),
        ("артикул,наименование\nА1,Стол\nА2,Стул", "артикул", "наименование"),
        ("Ref. no,Product\n1,Cup\n2,Can", "Ref. no", "Product"),
        ("Artikelcode,Omschrijving\n1,Kop\n2,Kan", "Artikelcode", "Omschrijving"),
        ("Κωδικός,Όνομα\n1,Κούπα\n2,Κανάτα", "Κωδικός", "Όνομα"),
    ],
)
def test_names_are_known_without_signs_prefixes_and_in_other_languages(text, id, title):
    mapping = guess(text).mapping
    assert (mapping.id, mapping.title) == ((id,), (title,))


def test_a_long_description_is_no_title():
    prose = "A jug that is made by hand in a small pottery of the north"
    mapping = guess(f"sku,description\n1,{prose}\n2,{prose} too").mapping
    assert (mapping.title, mapping.description) == ((), ("description",))


def test_pairs_and_packed_cells_are_recognised():
    mapping = guess(
        "nr,titel,Merkmal 1,Wert 1,Einheit 1,extras\n"
        "1,Rohr,Länge,2,m,a=1;b=2\n"
        "2,Kopf,Farbe,rot,,a=3"
    ).mapping
    assert [(pairs.name, pairs.value, pairs.unit) for pairs in mapping.pairs] == [
        ("Merkmal {n}", "Wert {n}", "Einheit {n}")
    ]
    assert [packed.column for packed in mapping.packed] == ["extras"]


def test_rows_in_several_languages_are_recognised():
    text = "_sku,_language,name\nE1,en_GB,Cup\nE1,pl_PL,Kubek\nE2,en_GB,Can\nE2,pl_PL,Puszka"
    mapping = guess(text).mapping
    assert mapping.language_column == ("_language",)
    assert guess("sku,language,name\n1,en,Book\n2,de,Buch").mapping.language_column == ()


def test_languages_by_their_names_and_before_the_name():
    columns = guess("sku,Title English,Title German\n1,Cup,Tasse").mapping.languages.columns
    assert columns == ("Title {language}",)
    columns = guess("sku,de_name,en_name\n1,Tasse,Cup").mapping.languages.columns
    assert columns == ("{language}_name",)


@pytest.mark.parametrize("pattern", ["{language}_name", "name#{language}", "name|{language}"])
def test_the_rest_of_a_name_beside_a_language_is_found(pattern):
    names = [pattern.replace("{language}", language) for language in ("de", "en")]
    assert {tagged.name for tagged in tagged_names(names, [pattern]).values()} == {"name"}


def test_a_unit_column_may_serve_several():
    mapping = guess("sku,name,net weight,gross weight,weight unit\n1,Cup,1.2,1.5,kg").mapping
    assert {mapping.settings_of(f"{kind} weight").unit_column for kind in ("net", "gross")} == {
        "weight unit"
    }


def test_categories_in_the_plural_are_several():
    mapping = guess('sku;name;Categories\n1;Cup;"Home > Cups, New"\n2;Can;Home > Cans', ";").mapping
    assert (mapping.category_separator, mapping.category_multi) == (">", ",")


def test_lists_in_brackets_are_recognised():
    mapping = guess(
        "id;name;tags;image\n1;Cup;['a', 'b'];['https://x/1.jpg']\n2;Can;[];[]", ";"
    ).mapping
    assert {mapping.settings_of(name).multi for name in ("tags", "image")} == {"[]"}
    assert mapping.images == ("image",)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (("query", "item_id", "impressions", "clicks"), "query log.*catalograph queries"),
        (("Suchbegriff", "Artikel-Nr.", "Klicks"), "query log"),
        (("query", "product_id", "esci_label"), "query log"),
        (("order_id", "customer", "sku", "quantity"), "orders.*mapping"),
    ],
)
def test_what_happened_to_products_is_no_catalogue(header, message):
    with pytest.raises(MappingError, match=message):
        guess_mapping(head(header, ("a", "1", "2", "3")[: len(header)]))


def test_a_catalogue_may_count_its_orders():
    assert guess("sku,name,keyword,clicks\n1,Cup,clay,3\n2,Can,tin,4").mapping.id == ("sku",)
