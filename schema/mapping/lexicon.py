"""How the usual columns of catalogues are called, in the languages that catalogues are in.

All names are normalized: without case, spaces, hyphens and underscores. Earlier ones go first.
"""

from __future__ import annotations

import re

ID_NAMES = tuple(
    """
    id itemid productid sku itemsku productsku variantsku skuid skucode asin
    artikelnummer artikelnr artnr artikelid produktnummer produktnr produktid materialnummer
    materialnr bestellnummer bestellnr sachnummer teilenummer
    référence reference refproduit codearticle codeproduit idproduit numéroarticle réf ref
    codigo código codigoproducto códigoproducto idproducto referencia refproducto
    codice codiceprodotto codicearticolo idprodotto riferimento
    artnum artno bestellnum ugs numérodarticle numeroarticle códigodoproduto referência
    kod kodproduktu symbol indeks numerkatalogowy kód kódproduktu kódzboží kodvyrobku cikkszám
    varenummer varenr produktkod artikelkod tuotenumero tuotekoodi ürünkodu stokkodu
    артикул кодтовара код номенклатура κωδικός 상품코드 상품번호 제품코드 商品番号 型番
    商品编号 商品id 产品编号 产品id 商品编码 货号 编号 品番 商品コード 商品番号
    itemnumber itemno itemcode productnumber productno productcode articlenumber articleno
    articlecode articleid stockcode stocknumber partnumber partno modelnumber modelno
    supplierpid supplieraid manufacturerpartnumber mpn catalognumber catalogno
    gtin gtin14 gtin13 ean ean13 upc upca barcode isbn isbn13 globaltradeitemnumber
    uniqid uuid guid handle urlkey slug code uid recordid rowid item key identifier nr no number
    """.split()
)
TITLE_NAMES = tuple(
    """
    title name productname producttitle itemname itemtitle displayname productdisplayname
    articlename shortname label names titles labels
    bezeichnung artikelbezeichnung produktbezeichnung produktname artikelname titel kurztext
    kurzbezeichnung benennung
    nom nomproduit nomduproduit libellé libelle désignation designation titre intitulé
    nombre nombreproducto nombredelproducto título titulo denominación denominacion
    nome nomeprodotto titolo denominazione
    naam productnaam omschrijvingkort naziv nazwa nazwaproduktu název názevproduktu nazev názov
    namn produktnamn benämning artikelbenämning navn produktnavn varenavn nimi tuotenimi
    terméknév megnevezés ürünadı denumire nomedoproduto
    наименование название наименованиетовара названиетовара товар 상품명 제품명 製品名
    materialkurztext materialbezeichnung όνομα ονομασία τίτλος név elnevezés nume ime назва име ім'я
    اسم الاسم اسمالمنتج שם שםמוצר tên tênsảnphẩm nama namaproduk ชื่อ ชื่อสินค้า
    名称 标题 商品名称 产品名称 商品标题 商品名 品名 产品名 商品名称(标题) タイトル
    """.split()
)
DESCRIPTION_NAMES = tuple(
    """
    description productdescription longdescription fulldescription itemdescription descriptionlong
    body bodyhtml body(html) details productdetails
    beschreibung produktbeschreibung artikelbeschreibung langbeschreibung langtext beschreibungstext
    descriptif descriptionlongue descriptionproduit
    descripción descripcion descripciónlarga descripcionlarga
    descrizione descrizionelunga descrizioneprodotto
    omschrijving productomschrijving opis opisproduktu popis beskrivning beskrivelse kuvaus
    описание опис περιγραφή açıklama leírás descriere الوصف môtả deskripsi descrição descricao 설명
    描述 商品描述 产品描述 详情 商品详情 説明 商品説明
    shortdescription descriptionshort kurzbeschreibung
    """.split()
)
CATEGORY_NAMES = tuple(
    """
    category categories categorytext categorypath categoryname categoryhierarchy productcategory
    productcategories fullcategory breadcrumb breadcrumbs taxonomy producttype googleproductcategory
    kategorie kategorien kategoriepfad warengruppe produktgruppe produktkategorie artikelgruppe
    sortiment
    catégorie categorie catégories famille rayon
    categoría categoria categorías categorias familia
    categorieprodotto reparto
    kategoria kategori kategorier kategoriaproduktu kategória κατηγορία категорія danhmục الفئة
    หมวดหมู่ категория категории раздел группатоваров
    카테고리 カテゴリー 类目 分类 类别 商品分类 产品分类 商品类目 カテゴリ カテゴリー
    department productgroup itemcategory maincategory
    """.split()
)
IMAGE_NAMES = re.compile(
    r"(?:(?:main|primary|base|small|thumbnail|additional|other|extra|product|item|swatch|large|high|"
    r"low|front|back|cover|feature|featured|gallery|variant)*)"
    r"(?:images?|img|imgs|photos?|pictures?|pics?|gallery|thumb|thumbnails?|media|bild|bilder|"
    r"produktbild|produktbilder|artikelbild|hauptbild|foto|fotos|afbeelding|imagen|imagenes|imágenes|"
    r"immagine|immagini|图片|主图|图片地址|图片链接|画像)"
    r"(?:urls?|links?|paths?|files?|filenames?|src|source|address|adresse|datei|pfad|"
    r"high|low|thumb|large|small|medium|\d+x\d+)*(?:url|link|path|file|src)?\d*"
)
PARENT_NAMES = tuple(
    """
    parentsku parentid parentitemid parentproductid parentasin parentcode parentitem parentproduct
    parent variantof isvariantof itemgroupid groupid productgroupid masterid mastersku modelid
    hauptartikel vaterartikel vatersku vaterartikelnummer stammartikel übergeordnet
    übergeordnetesprodukt übergeordneterartikel parentproductnumber produitparent skuparent
    productopadre skupadre idpadre prodottopadre родитель
    """.split()
)
# Columns whose name ends so are no title, although it ends in "name" or "title".
NO_TITLE = re.compile(
    r"(?:brand|category|file|seller|store|shop|vendor|supplier|manufacturer|image|img|colou?r|option|"
    r"attribute|variation|company|user|author|artist|group|class|type|set|family|collection|series|"
    r"model|parent|country|region|city|first|last|nick|host|domain|field|column|marke|hersteller|"
    r"lieferanten?|kategorie|datei|farb)(?:name|title|label)"
)
CATEGORY_PLURALS = frozenset(
    """categories productcategories kategorien produktkategorien catégories categories categorías
    categorias categorie kategorie kategorier categorieën kategóriák категории""".split()
)
# What a product is called where no column says "name" or "title".
PRODUCT_NAMES = tuple(
    """product produkt produit producto produto prodotto artikel article articolo artículo товар
    商品 产品 製品 상품 제품""".split()
)
_LEVEL = "(?:level|lvl|l|ebene|niveau|nivel|livello|poziom)"
_CATEGORY = (
    "(?:category|categories|kategorie|warengruppe|catégorie|categorie|categoría|categoria|"
    "kategoria|kategori|категория|分类|分類|类目|カテゴリ)"
)
CATEGORY_LEVELS = re.compile(
    rf"(?:[a-z]{{2}})?(?:product|produkt|haupt|main|item)?"
    rf"(?:{_CATEGORY}{_LEVEL}?\d|{_LEVEL}\d{_CATEGORY})"
)
IGNORED_NAMES = (
    "url",
    "link",
    "product_url",
    "product_link",
    "page_url",
    "permalink",
)
PROPERTY_COLUMNS = tuple(
    """property attribute attributes attributename attributecode attributelabel propertyname
    propertycode field fieldname key feature features featurename specification specificationname
    spec specs specname characteristic characteristics characteristicname
    merkmal merkmale merkmalname merkmalsname eigenschaft eigenschaften eigenschaftsname attribut
    attributs attribute attributname
    caractéristique caracteristique caractéristiques
    característica caracteristica características atributo atributos propiedad propriedade
    caratteristica caratteristiche attributo proprietà
    kenmerk kenmerken eigenschap cecha cechy atrybut parametr parametry param parameter vlastnost
    egenskap attribuutti ominaisuus tulajdonság özellik
    характеристика характеристики свойство атрибут параметр
    属性 属性名 属性名称 特性 項目 仕様 속성""".split()
)
OPTION_WORDS = ("option", "options", "variation", "custom", "customfield", "customfields", "detail")
NAME_WORDS = (
    *PROPERTY_COLUMNS,
    *"""name names label title code nom nombre nome naam namn navn nazwa název meno bezeichnung
    название имя наименование 名 名称 名前 이름""".split(),
)
VALUE_COLUMNS = tuple(
    """value values attributevalue propertyvalue val featurevalue specificationvalue specvalue data
    wert werte merkmalwert merkmalswert eigenschaftswert attributwert attributwerte
    valeur valeurs valor valores valore valori waarde waarden wartość wartości wartosc hodnota
    hodnoty värde värden verdi verdier værdi arvo érték değer значение
    значения 属性值 值 値 값""".split()
)
UNIT_COLUMNS = tuple(
    """unit units uom unitofmeasure einheit einheiten maßeinheit masseinheit unité unite unidad
    unidade unità unita eenheid jednostka jednotka enhet enhed yksikkö
    единица 单位 単位 단위""".split()
)
LANGUAGE_COLUMNS = (
    "language",
    "lang",
    "locale",
    "languagetag",
    "sprache",
    "langue",
    "idioma",
    "语言",
)
UNIT_ENDINGS = (
    "{name}-unit",
    "{name}_unit",
    "{name} unit",
    "{name}.unit",
    "{name}_uom",
    "{name}_unit_of_measure",
    "{name} unit of measure",
    "{name} Einheit",
    "{name}_einheit",
    "unit of {name}",
)
LANGUAGE_PATTERNS = (
    "{name}@{language}",
    "{name}[{language}]",
    "{name} ({language})",
    "{name}_{language}",
    "{name}-{language}",
    "{name}.{language}",
    "{name}:{language}",
    "{name} {language}",
    "{name}#{language}",
    "{name}|{language}",
    "{name} - {language}",
    "{language}_{name}",
    "{language}-{name}",
    "{language}:{name}",
    "{language} {name}",
)
