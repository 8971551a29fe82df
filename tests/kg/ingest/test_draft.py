"""What each key of a mapping does to the rows of a table."""

from collections import Counter
from typing import Any

import pytest

from schema.errors import MappingError
from schema.mapping import parse_mapping
from tests.kg.ingest.mapped import apply_records, apply_table, table


def mapped(toml, text, delimiter=",", batch_rows=1000):
    header, rows = table(text, delimiter)
    return apply_table(parse_mapping(toml, "test"), header, rows, batch_rows)


def test_several_image_columns_make_one_list():
    made = mapped(
        'id = "id"\nimages = ["main", "image_{n}"]\n[columns.main]\nmulti = "|"',
        "id|image_10|image_2|main\n1|https://x/10.jpg|https://x/2.jpg|https://x/m.jpg",
        "|",
    )
    assert made.items["1"]["images"] == ["https://x/m.jpg", "https://x/2.jpg", "https://x/10.jpg"]
    assert made.values("1") == {}


@pytest.mark.parametrize(
    "cell",
    [
        "https://x/1.jpg;https://x/2.jpg",
        "https://x/1.jpg https://x/2.jpg",
        "https://x/1.jpg, https://x/2.jpg",
        "https://x/1.jpg | https://x/2.jpg",
    ],
)
def test_addresses_in_a_cell_are_told_apart(cell):
    header, rows = ["id", "images"], [["1", cell]]
    made = apply_table(parse_mapping('id = "id"\nimages = "images"', "x"), header, rows)
    assert made.items["1"]["images"] == ["https://x/1.jpg", "https://x/2.jpg"]


def test_a_comma_within_an_address_belongs_to_it():
    address = "https://x/w_3,h_4/1.jpg"
    made = apply_table(
        parse_mapping('id = "id"\nimages = "images"', "x"), ["id", "images"], [["1", address]]
    )
    assert made.items["1"]["images"] == [address]


def test_files_among_the_images_that_are_none_become_a_property():
    made = mapped(
        'id = "id"\nimages = "media"\nmulti = ";"',
        "id,media\n1,https://x/1.jpg;https://x/manual.pdf",
    )
    assert made.items["1"]["images"] == ["https://x/1.jpg"]
    assert made.values("1") == {"media": "https://x/manual.pdf"}


def test_a_column_that_comes_up_repeatedly_holds_several_values():
    made = mapped('id = "id"', "id,point,colour,point\n1,a,red,b\n2,,blue,c")
    assert made.values("1") == {"point": ["a", "b"], "colour": "red"}
    assert made.values("2") == {"point": "c", "colour": "blue"}


def test_all_categories_but_the_first_are_statements():
    made = mapped(
        'id = "id"\ncategory = "cat"\ncategory_separator = ">"\ncategory_multi = ";"',
        "id,cat\n1,A > B; C>D ;E\n2,",
    )
    assert made.items["1"]["category"] == "A > B"
    assert made.values("1") == {"cat": ["C > D", "E"]}
    assert made.items["2"]["category"] is None


def test_a_row_without_any_level_of_a_category_stays_an_item():
    made = mapped('id = "id"\ncategory = ["a", "b"]', "id,a,b\n1,X,Y\n2,,\n3,,Z")
    assert [made.items[id]["category"] for id in "123"] == ["X > Y", None, "Z"]


def test_packed_cells():
    made = mapped(
        'id = "id"\n[[packed]]\ncolumn = "more"\npair = "="\nitem = ","\nmulti = "|"',
        "id;more\n1;climate=Cold|Cool,pattern=Solid, quiet,link=http://x?a=1\n2;",
        ";",
    )
    assert made.values("1") == {
        "climate": ["Cold", "Cool"],
        "pattern": "Solid, quiet",
        "link": "http://x?a=1",
    }
    assert (made.read, made.stored, made.values("2")) == (2, 2, {})


def test_lists_in_brackets():
    made = mapped(
        'id = "id"\nimages = "pics"\n[columns."*"]\nmulti = "[]"',
        "id;tags;pics\n1;['new', 'blue'];[\"https://x/1.jpg\", \"https://x/2.jpg\"]\n2;[];\n3;red;",
        ";",
    )
    assert made.values("1") == {"tags": ["blue", "new"]}
    assert made.items["1"]["images"] == ["https://x/1.jpg", "https://x/2.jpg"]
    assert (made.values("2"), made.values("3")) == ({}, {"tags": "red"})


def test_headings_and_notes_are_no_items():
    rows = "\n".join(f"A-{n},Cup {n},9" for n in range(12))
    made = mapped(
        'id = "sku"\ntitle = ["name"]', f"sku,name,price\nCups,,\n{rows}\nB-1,,\n3 rows exported,,"
    )
    assert (sorted(made.rejects), len(made.items)) == ([2, 16], 13)
    # Where ids are words, one more is none that stands out.
    assert not mapped('id = "sku"\ntitle = ["name"]', "sku,name\nred,Cup\nblue,\ngreen,Can").rejects


@pytest.mark.parametrize("word", ["Total", "Zwischensumme:", "Totaal", "итого :", "合計"])
def test_sums_of_a_report_are_no_items_in_any_language(word):
    made = mapped('id = "id"\ntitle = "name"', f"id,name,price\n1,Cup,5\n{word},,5\n2,Can,5")
    assert list(made.rejects) == [3]
    assert "is the sum of a report" in made.rejects[3]


def test_packed_cells_with_sections():
    made = mapped(
        'id = "id"\n[[packed]]\ncolumn = "detail"\npair = ":"\nitem = ","\nparts = 3',
        "id;detail\n1;Display:Resolution:1920x1080,:Ratio:16:9,Panel:IPS",
        ";",
    )
    assert made.values("1") == {"Display Resolution": "1920x1080", "Ratio": "16:9", "Panel": "IPS"}


def test_a_packed_cell_without_a_pair_is_rejected():
    made = mapped(
        'id = "id"\n[[packed]]\ncolumn = "more"\npair = "="\nitem = ","',
        "id;more\n1;red\n2;a=b",
        ";",
    )
    assert made.rejects == {2: "'red' has no '=' between property and value"}
    assert (made.read, made.stored, list(made.items)) == (2, 1, ["2"])


def test_cells_of_json_are_flattened():
    header = ["id", "spec"]
    rows = [["1", '{"colour": "red", "size": [1, 2], "w": {"value": 3, "unit": "kg"}}']]
    rows += [["2", '[{"name": "Colour", "value": "blue"}]'], ["3", "plain"]]
    mapping = parse_mapping('id = "id"\n[[packed]]\ncolumn = "spec"\nformat = "json"', "x")
    made = apply_table(mapping, header, rows)
    assert made.values("1") == {"colour": "red", "size": ["1", "2"], "w": "3 kg"}
    assert made.values("2") == {"Colour": "blue"}
    assert made.values("3") == {"spec": "plain"}


def test_pairs_of_columns_with_quoted_lists_and_units():
    made = apply_table(
        parse_mapping(
            'id = "id"\nignore = ["A{n} shown"]\n[[pairs]]\nname = "A{n} name"\n'
            'value = "A{n} value"\nunit = "A{n} unit"\nmulti = ","\nquoted = true',
            "x",
        ),
        ["id", "A1 name", "A1 value", "A1 unit", "A1 shown", "A2 name", "A2 value"],
        [
            ["1", "Color", 'Blue, "Black, matt", 12" wide', None, "1", None, "loose"],
            ["2", "Height", "5", "CMT", "1", "Color", r"Grey\, dull"],
        ],
    )
    assert made.values("1") == {"Color": ['12" wide', "Black, matt", "Blue"], "A2 value": "loose"}
    assert made.values("2") == {"Height": "5 cm", "Color": "Grey, dull"}
    assert made.left_out.columns == {"A1 shown": None}


def test_numbers_join_the_units_beside_them():
    made = mapped(
        'id = "id"\n[columns."*"]\nunit_column = "{name}-unit"',
        "id;w;w-unit;h;h-unit;n\n1;0.18;KILOGRAM;3 m;CMT;7\n2;2;KGM;;CMT;\n3;4;C62;5;;",
        ";",
    )
    assert made.values("1") == {"w": "0.18 kg", "h": "3 m", "n": "7"}
    assert made.values("2") == {"w": "2 kg"}
    assert made.values("3") == {"w": "4", "h": "5"}


def test_settings_of_a_column():
    made = mapped(
        'id = "id"\nmulti = "|"\nmissing = ["-"]\n[columns."g*"]\nproperty = "weight {1}"\n'
        'unit = "g"\n[columns.raw]\nmulti = ""\nmissing = []\n[columns.list]\nmulti = ";"',
        "id,gross,raw,list,other\n1,5,a|b,x;y,-\n2,5 kg,-,z,p|q",
    )
    assert made.values("1") == {"weight ross": "5 g", "raw": "a|b", "list": ["x", "y"]}
    assert made.values("2") == {"weight ross": "5 kg", "raw": "-", "list": "z", "other": ["p", "q"]}


TRIPLES = """sku,attribute,value,unit
C1,name,Cup,
C2,colour,Red,
C1,colour,Blue,
C1,height,9,cm
,colour,Green,
C2,,Grey,
C2,colour,Red,
C1,colour,White,
"""


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_long_tables(batch_rows):
    made = mapped(
        'title = ["name"]\n[triples]\nitem = "sku"\nproperty = "attribute"\nvalue = "value"\n'
        'unit = "unit"',
        TRIPLES,
        batch_rows=batch_rows,
    )
    assert made.items["C1"]["title"] == "Cup"
    assert made.values("C1") == {"colour": ["Blue", "White"], "height": "9 cm"}
    assert made.values("C2") == {"colour": "Red"}
    assert made.rejects == {6: "empty id", 7: "empty property"}
    assert (made.read, made.stored) == (8, 6)
    assert made.lines["C1", "height", "9 cm"] == 5


def test_columns_in_several_languages():
    made = mapped(
        'id = "id"\ntitle = "name"\nlanguage = "en"\n[languages]\n'
        'columns = ["{name}-{language}", "{name}-{language}-{scope}"]',
        "id,name-de_DE,name-en_US,part-no,care-en_US-web,price-EUR\n1,Hemd,Shirt,7,Wash,9\n2,Hose,,8,,",
    )
    assert [made.items[id]["title"] for id in "12"] == ["Shirt", "Hose"]
    assert made.values("1") == {"part-no": "7", "care": "Wash", "price-EUR": "9"}
    assert Counter(made.languages.values()) == {"de-DE": 1}


ROWS = """id,locale,title,colour
1,es,Mesa,Blanco
1,us,Desk,White
2,es,Silla,Rojo
2,fr,Chaise,Rouge
3,,Lamp,Red
"""


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_rows_in_several_languages(batch_rows):
    made = mapped(
        'id = "id"\ntitle = "title"\nlanguage_column = "locale"\nlanguage = "en"\n'
        '[languages]\ncodes = { us = "en" }',
        ROWS,
        batch_rows=batch_rows,
    )
    assert [made.items[id]["title"] for id in "123"] == ["Desk", "Silla", "Lamp"]
    assert [made.values(id) for id in "123"] == [
        {"colour": "White"},
        {"colour": "Rojo"},
        {"colour": "Red"},
    ]
    assert Counter(made.languages.values()) == {"es": 2, "fr": 2}
    assert (made.read, made.stored, made.rejects) == (5, 5, {})


GROUP = """h,title,o1 name,o1 value,o2 name,o2 value,sku,price,image
shirt,Shirt,Size,S,Colour,Sand,S-1,9,https://x/1.jpg
shirt,,,M,,Navy,,8,https://x/2.jpg
shirt,,,,,,,,https://x/3.jpg
mug,Mug,Title,Default,,,M-1,5,https://x/4.jpg
hat,Hat,Size,L,,,hat,6,
"""
GROUP_TOML = """
id = "h"
title = "title"
images = "image"
[columns."o{n} value"]
missing = ["Default"]
[variants]
group = "h"
id = "sku"
columns = ["price"]
axes = [{ name = "o{n} name", value = "o{n} value" }]
"""


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_rows_that_continue_a_product(batch_rows):
    made = mapped(GROUP_TOML, GROUP, batch_rows=batch_rows)
    assert (made.read, made.stored, made.rejects) == (5, 5, {})
    assert sorted(made.items) == ["S-1", "hat", "hat/L", "mug", "shirt", "shirt/M/Navy"]
    assert made.items["shirt"] == {
        "title": "Shirt",
        "category": None,
        "images": ["https://x/1.jpg", "https://x/2.jpg", "https://x/3.jpg"],
    }
    variant = {"variant of": "shirt", "Size": "S", "Colour": "Sand", "sku": "S-1", "price": "9"}
    assert made.values("S-1") == variant
    assert made.values("shirt/M/Navy") == {
        "variant of": "shirt",
        "Size": "M",
        "Colour": "Navy",
        "price": "8",
    }
    # In the mug nothing varies, and the hat's variant has the id of its product.
    assert made.values("mug") == {"sku": "M-1", "price": "5"}
    assert made.values("hat/L")["variant of"] == "hat"


def test_a_variant_with_the_id_of_another_is_rejected():
    made = mapped(GROUP_TOML, GROUP.replace("shirt,,,M,,Navy,,8", "shirt,,,M,,Navy,S-1,8"))
    assert made.rejects == {
        3: "id 'S-1' of a variant of 'shirt' already appeared in line 2 with other content"
    }
    assert (made.read, made.stored) == (5, 4)


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_a_variant_and_a_product_with_the_same_id_do_not_become_one(batch_rows):
    # The product comes after the variant that has its id, with a variant of its own.
    later = GROUP.replace("Sand,S-1", "Sand,hat").replace("6,\n", "6,\nhat,,,M,,,H-2,6,\n")
    made = mapped(GROUP_TOML, later.replace("L,,,hat", "L,,,H-1"), batch_rows=batch_rows)
    reason = "id 'hat' is that of a variant in line 2: give one of them another id"
    assert made.rejects == {6: reason, 7: reason}
    assert made.items["hat"]["title"] is None
    assert made.values("hat")["variant of"] == "shirt"
    assert not {"H-1", "H-2"} & set(made.items)
    assert made.read == made.stored + 2

    # The product came before it.
    earlier = mapped(GROUP_TOML, GROUP.replace("L,,,hat", "L,,,mug"), batch_rows=batch_rows)
    assert earlier.rejects == {
        6: "id 'mug' of a variant of 'hat' is that of a product in line 5: "
        "give one of them another id"
    }
    assert "variant of" not in earlier.values("mug")


def test_a_rejected_row_takes_no_id_of_a_variant():
    text = GROUP.replace("S,Colour,Sand,S-1", "S,Colour,Sand,#REF!")
    made = mapped(GROUP_TOML, text + "shirt,,,S,,Sand,,9,\nshirt,,,S,,Sand,,9,\n")
    assert list(made.rejects) == [2]
    assert "shirt/S/Sand" in made.items


PARENTS = """ID,SKU,Parent,Name
61,a-blue,a,Blue
62,a-red,id:44,Red
44,a,,A
70,,,B
71,,id:70,B small
72,c,id:99,C
"""


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_parents_are_named_by_either_of_two_ids(batch_rows):
    made = mapped(
        'id = { each_row = ["SKU", "ID"] }\ntitle = "Name"\nignore = ["ID", "SKU"]\n[variants]\n'
        'parent = "Parent"\nreferences = { "id:" = "ID" }',
        PARENTS,
        batch_rows=batch_rows,
    )
    assert set(made.items) == {"a-blue", "a-red", "a", "70", "71", "c"}
    parents = {
        item: values[0] for (item, name), values in made.facts.items() if name == "variant of"
    }
    assert parents == {"a-blue": "a", "a-red": "a", "71": "70", "c": "id:99"}
    assert made.left_out.notes == {"variants name a parent that no row has": 1}


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_variants_in_a_cell_of_their_product(batch_rows):
    made = mapped(
        'id = "sku"\ntitle = "name"\n[variants]\npacked = "variations"\nid = "sku"',
        "sku;name;variations;size\nM;Fleece;sku=M-S,size=S|size=XL;\nM-S;Fleece S;;S",
        ";",
        batch_rows=batch_rows,
    )
    assert made.items["M-S"]["title"] == "Fleece S"
    assert made.values("M-S") == {"size": "S", "variant of": "M"}
    assert made.values("M/XL") == {"size": "XL", "variant of": "M"}
    assert (made.read, made.stored) == (2, 2)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("sku=4.01235E+12,size=S", "that a spreadsheet has rounded"),
        ("sku=#REF!,size=S", "a spreadsheet's word for an error"),
        ("sku=M-S,size=S,SKU=M-X", "several ids in 'variations': 'M-S', 'M-X'"),
    ],
)
def test_ids_of_variants_in_a_cell_are_checked(cell, reason):
    made = mapped(
        'id = "sku"\n[variants]\npacked = "variations"\nid = "sku"',
        f"sku;variations\nM;sku=M-L,size=L|{cell}\nN;",
        ";",
    )
    assert list(made.rejects) == [2]
    assert reason in made.rejects[2]
    assert list(made.items) == ["N"]


def test_ids_of_variants_in_a_cell_are_cleaned_and_further_ones_are_kept():
    made = mapped(
        'id = "id"\n[variants]\npacked = "kinds"\nid = ["sku", "ean"]',
        'id;kinds\nM;ean=4006381333931,sku="12",size=S|sku=\'00034,size=L|sku=M,size=XL'
        "|ean=4006381333931.0,size=XXL",
        ";",
    )
    assert sorted(made.items) == ["00034", "12", "4006381333931", "M", "M/XL"]
    assert made.values("12") == {"variant of": "M", "size": "S", "ean": "4006381333931"}
    assert "variant of" not in made.values("M")
    assert made.values("M/XL") == {"variant of": "M", "size": "XL", "sku": "M"}


def test_a_column_that_a_mapping_needs_is_missed_at_once():
    for toml in (
        'id = "sku"',
        'id = "id"\nimages = "photo"',
        'id = "id"\n[columns.title]\nunit_column = "photo"',
        'id = "id"\n[columns.title]\nunit_column = "{name} photo"',
        'id = "id"\n[[packed]]\ncolumn = "more"\npair = "="\nitem = ","',
        '[triples]\nitem = "id"\nproperty = "p"\nvalue = "v"',
        'id = "id"\n[variants]\ngroup = "handle"\nid = "sku"',
    ):
        with pytest.raises(
            MappingError, match=r"needs column '(sku|photo|title photo|more|p|handle)'"
        ):
            mapped(toml, "id,title\n1,a")


def test_columns_that_a_list_of_properties_leaves_out_are_said():
    made = mapped('id = "id"\nproperties = ["b"]', "id,a,b\n1,x,y")
    assert made.values("1") == {"b": "y"}
    assert list(made.left_out.columns) == ["a"]


def test_columns_beside_the_triples_are_said():
    made = mapped(
        '[triples]\nitem = "id"\nproperty = "p"\nvalue = "v"', "id,p,v,day\n1,colour,red,Monday"
    )
    assert made.left_out.texts == {"day": 1}


def test_category_paths_in_other_languages_are_kept():
    made = mapped(
        'id = "id"\nlanguage = "en"\ncategory = ["a", "b"]\n[languages]\n'
        'columns = ["{name}-{language}"]',
        "id,a-de,a-en,b-de,b-en\n1,Haus,Home,Tassen,Mugs",
    )
    assert made.items["1"]["category"] == "Home > Mugs"
    assert made.languages == {("1", "category", "Haus > Tassen"): "de"}


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_rows_in_other_languages_keep_their_category_and_images(batch_rows):
    made = mapped(
        'id = "id"\ncategory = ["a", "b"]\nimages = "image"\nlanguage_column = "lang"\n'
        'language = "en"',
        "id,lang,a,b,image\n1,de,Haus,Tassen,https://x/2.jpg\n1,en,Home,Mugs,https://x/1.jpg",
        batch_rows=batch_rows,
    )
    assert made.items["1"]["category"] == "Home > Mugs"
    assert made.items["1"]["images"] == ["https://x/1.jpg", "https://x/2.jpg"]
    assert made.languages == {("1", "category", "Haus > Tassen"): "de"}


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_the_first_title_of_an_item_leads_and_others_are_kept(batch_rows):
    made = mapped(
        'id = "h"\ntitle = "title"\n[variants]\ngroup = "h"\naxes = [{ name = "o", value = "v" }]',
        "h,title,o,v\nP,Red shirt,Colour,red\nP,Blue shirt,Colour,blue",
        batch_rows=batch_rows,
    )
    assert made.items["P"]["title"] == "Red shirt"
    assert made.values("P") == {"title": "Blue shirt"}
    assert made.left_out.notes.total() == 1


def test_what_is_said_of_a_column_holds_before_what_is_said_of_all():
    made = mapped(
        'id = "id"\n[columns.a]\nhtml = false\nquoted = false\n[columns."*"]\nhtml = true',
        "id,a,b\n1,<b>x</b>,<b>y</b>",
    )
    assert made.values("1") == {"a": "<b>x</b>", "b": "y"}


def test_a_word_for_nothing_is_no_parent():
    made = mapped(
        'id = "id"\nparent = "parent"\nmissing = ["0"]',
        "id,parent\n1,n/a\n2,none\n3,0\n4,1\n5,-\n6,NA",
    )
    assert made.facts == {("4", "variant of"): ["1"], ("6", "variant of"): ["NA"]}
    assert made.left_out.notes.total() == 4


def test_what_is_said_of_a_column_of_images_holds():
    made = mapped(
        'id = "id"\nimages = ["image", "photo"]\nmulti = ","\n[columns.image]\nmulti = ""\n'
        'missing = ["none.jpg"]',
        "id;image;photo\n1;https://x/a,b.jpg;https://x/c.jpg,https://x/d.jpg\n2;none.jpg;n/a",
        ";",
    )
    assert made.items["1"]["images"] == [
        "https://x/a,b.jpg",
        "https://x/c.jpg",
        "https://x/d.jpg",
    ]
    assert made.items["2"]["images"] == []


def test_units_beside_several_values():
    made = mapped(
        'id = "id"\nmulti = "|"\n[columns.w]\nunit_column = "u"\n[columns.l]\nunit = "cm"\n'
        '[[pairs]]\nname = "n{n}"\nvalue = "v{n}"\nunit = "u{n}"',
        "id,w,u,l,n1,v1,u1\n1,5|6,kg,3|4,depth,7|8,mm\n2,5 g,kg,,,9,mm\n3,,kg,,height,,mm",
    )
    assert made.values("1") == {
        "w": ["5 kg", "6 kg"],
        "l": ["3 cm", "4 cm"],
        "depth": ["7 mm", "8 mm"],
    }
    assert made.values("2") == {"w": "5 g", "v1": "9 mm"}
    assert made.left_out.notes == {
        "cells of 'w' have a unit of their own, which they keep, and another one beside them": 1,
        "units in 'u' have no number beside them": 1,
        "names in 'n1' have no value beside them": 1,
    }


def test_ids_of_other_kinds_are_kept():
    made = mapped('id = { each_row = ["sku", "ean"] }', "sku,ean\nA,1\n,2")
    assert made.values("A") == {"ean": "1"}
    assert made.values("2") == {}


def test_each_record_has_the_first_of_its_titles():
    mapping = parse_mapping('id = "id"\ntitle = ["name", "label"]', "m")
    made = apply_records(mapping, [{"id": "1", "name": "Cup"}, {"id": "2", "label": "Mug"}])
    assert [made.items[id]["title"] for id in "12"] == ["Cup", "Mug"]


def test_records_in_one_line_are_told_apart():
    mapping = parse_mapping(
        'id = "id"\ntitle = "title"\n[variants]\nlist = "kinds"\nid = "sku"', "m"
    )
    records: list[dict[str, Any]] = [
        {"id": "1", "title": "A", "kinds": [{"sku": "2"}, {"sku": "3"}]},
        {"id": "2", "title": "B", "kinds": []},
        {"id": "4", "title": "C", "kinds": [{"sku": "3", "size": "M"}]},
        {"id": "5", "title": "D"},
        {"id": "5", "title": "D"},
    ]
    made = apply_records(mapping, records, in_one_line=True)
    assert sorted(made.items) == ["1", "2", "3", "5"]
    assert made.items["2"]["title"] is None
    assert (made.read, made.stored) == (5, 3)


def test_variants_of_a_product_have_ids_of_their_own():
    mapping = parse_mapping(
        'id = "id"\n[variants]\nlist = "kinds"\nid = "sku"\n'
        'axes = [{ name = "options.name", value = "option{n}" }]',
        "m",
    )
    kinds = [{"sku": "S", "option1": "M"}, {"sku": "S", "option1": "L"}]
    made = apply_records(mapping, [{"id": "1", "kinds": kinds}])
    assert sorted(made.items) == ["1", "1/L", "S"]
    assert made.left_out.notes.total() == 1

    packed = mapped(
        'id = "id"\n[variants]\npacked = "kinds"\nid = "sku"',
        "id;kinds\n1;sku=S,size=M|sku=S,size=L",
        ";",
    )
    assert sorted(packed.items) == ["1", "1/L", "S"]
    assert packed.values("S") == {"size": "M", "variant of": "1"}


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_a_word_for_nothing_never_leads(batch_rows):
    made = mapped(
        'id = "id"\ntitle = { each_row = ["a", "b"] }',
        "id,a,b\n1,n/a,Cup\n2,-,Mug\n3,Can,n/a",
        batch_rows=batch_rows,
    )
    assert [made.items[id]["title"] for id in "123"] == ["Cup", "Mug", "Can"]
    assert made.facts == {}


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_further_titles_of_an_item_are_said_and_kept(batch_rows):
    toml = 'title = ["name"]\ndescription = ["d"]\ncategory = ["c"]\n'
    made = mapped(
        toml + '[triples]\nitem = "i"\nproperty = "p"\nvalue = "v"',
        "i,p,v\n1,name,Cup\n1,name,Mug\n1,d,x\n1,d,y\n1,c,A\n1,c,B\n1,name,Cup \n2,name,Can",
        batch_rows=batch_rows,
    )
    assert [made.items["1"][name] for name in ("title", "description", "category")] == [
        "Cup",
        "x",
        "A",
    ]
    assert made.values("1") == {"name": "Mug", "d": "y", "c": "B"}
    assert list(made.left_out.notes.values()) == [2]


def test_further_titles_of_a_record_are_said_and_alternatives_are_none():
    mapping = parse_mapping('id = "id"\ntitle = ["name", "title"]', "m")
    records: list[dict[str, Any]] = [
        {"id": "1", "name": ["Cup", "Mug", "Cup"], "title": "Pot"},
        {"id": "2", "title": "T"},
    ]
    made = apply_records(mapping, records)
    assert made.items["1"]["title"] == "Cup"
    assert made.values("1") == {"name": "Mug", "title": "Pot"}
    assert list(made.left_out.notes.values()) == [1]


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
@pytest.mark.parametrize("order", [1, -1])
def test_titles_in_other_languages_stay_apart_in_rows_of_one_item(batch_rows, order):
    lines = ["1,name,Cup,en", "1,name,Becher,de", "1,d,rund,de", "1,d,rond,fr"][::order]
    made = mapped(
        'title = ["name"]\ndescription = ["d"]\nlanguage = "en"\n'
        '[triples]\nitem = "i"\nproperty = "p"\nvalue = "v"\nlanguage = "l"',
        "\n".join(["i,p,v,l", *lines]),
        batch_rows=batch_rows,
    )
    first, other, tag = ("rund", "rond", "fr") if order == 1 else ("rond", "rund", "de")
    assert (made.items["1"]["title"], made.items["1"]["description"]) == ("Cup", first)
    # Which of two languages leads that are both not the leading one does not change any more.
    assert made.languages == {("1", "title", "Becher"): "de", ("1", "description", other): tag}
    assert (made.facts, dict(made.left_out.notes)) == ({}, {})


@pytest.mark.parametrize("batch_rows", [1, 100])
def test_titles_in_other_languages_stay_apart_in_rows_of_one_group(batch_rows):
    made = mapped(
        'id = "h"\ntitle = "title"\nlanguage = "en"\n[languages]\ncolumns = ["{name}-{language}"]\n'
        '[variants]\ngroup = "h"\naxes = [{ name = "o", value = "v" }]',
        "h,title-en,title-de,o,v\nP,,Hemd,Size,S\nP,Shirt,,,M\nP,Shirt,Bluse,,L",
        batch_rows=batch_rows,
    )
    assert made.items["P"]["title"] == "Shirt"
    assert made.languages == {("P", "title", "Hemd"): "de", ("P", "title", "Bluse"): "de"}
    assert made.facts.keys() == {
        (f"P/{size}", name) for size in "SML" for name in made.values("P/S")
    }
