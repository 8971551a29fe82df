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
    articlename shortname label
    bezeichnung artikelbezeichnung produktbezeichnung produktname artikelname titel kurztext
    kurzbezeichnung benennung
    nom nomproduit nomduproduit libellé libelle désignation designation titre intitulé
    nombre nombreproducto nombredelproducto título titulo denominación denominacion
    nome nomeprodotto titolo denominazione
    naam productnaam omschrijvingkort naziv nazwa nazwaproduktu
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
    omschrijving productomschrijving opis opisproduktu
    描述 商品描述 产品描述 详情 商品详情 説明 商品説明
    shortdescription descriptionshort kurzbeschreibung
    """.split()
)
CATEGORY_NAMES = tuple(
    """
    category categories categorypath categoryname categoryhierarchy productcategory
    productcategories fullcategory breadcrumb breadcrumbs taxonomy producttype googleproductcategory
    kategorie kategorien kategoriepfad warengruppe produktgruppe produktkategorie artikelgruppe
    sortiment
    catégorie categorie catégories famille rayon
    categoría categoria categorías categorias familia
    categorieprodotto reparto
    kategoria 类目 分类 类别 商品分类 产品分类 商品类目 カテゴリ カテゴリー
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
    hauptartikel vaterartikel vatersku vaterartikelnummer stammartikel
    """.split()
)
# Columns whose name ends so are no title, although it ends in "name" or "title".
NO_TITLE = re.compile(
    r"(?:brand|category|file|seller|store|shop|vendor|supplier|manufacturer|image|img|colou?r|option|"
    r"attribute|variation|company|user|author|artist|group|class|type|set|family|collection|series|"
    r"model|parent|country|region|city|first|last|nick|host|domain|field|column|marke|hersteller|"
    r"lieferanten?|kategorie|datei|farb)(?:name|title|label)"
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
    """property attribute attributename attributecode propertyname field key feature featurename
    specification merkmal merkmalname eigenschaft attribut attributs caractéristique característica
    caratteristica propiedad 属性 属性名 属性名称""".split()
)
VALUE_COLUMNS = tuple(
    """value attributevalue propertyvalue val featurevalue specificationvalue wert merkmalwert
    eigenschaftswert valeur valor valore 属性值 值""".split()
)
UNIT_COLUMNS = ("unit", "uom", "einheit", "unité", "unidad", "unità", "单位")
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
)
