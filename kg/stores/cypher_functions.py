"""The functions that a Cypher query may call, for each store that answers Cypher.

All of them only compute. Not among them: whatever reads or writes a sequence (``nextval``,
``currval``), keeps a state (``setseed``), reads files or asks other servers (``file``, ``genai``,
plugins such as APOC), or shows something other than the graph (``db``, ``graph``). Some can ask for
much time or memory (``range``, ``lpad``, ``factorial``): the limits of a query's process hold
them. Ladybug dies of odd arguments to some of its functions, which few would miss: they are left
out (``repeat``, ``element_at``, those for UUIDs).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CypherDialect:
    """A store's Cypher: its functions, in small letters, and what else it has besides the others.

    ``words`` are those in capitals that may follow a value, and ``words_before_parenthesis`` those
    that call nothing. The store dies of a function ``without_null`` if null is an argument.
    """

    store: str
    functions: frozenset[str]
    words: frozenset[str] = frozenset()
    words_before_parenthesis: frozenset[str] = frozenset()
    without_null: frozenset[str] = frozenset()
    has_subquery_clause: bool = False


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


LADYBUG = CypherDialect(
    "Ladybug",
    _names(
        # Numbers.
        "abs acos asin atan atan2 bitshift_left bitshift_right bitwise_and bitwise_or "
        "bitwise_xor cbrt ceil ceiling cos cot degrees even factorial floor gamma greatest least "
        "lgamma ln log log10 log2 negate pi pow radians random round sign sin sqrt tan "
        # Strings.
        "concat concat_ws contains decode encode ends_with hash initcap lcase "
        "left length levenshtein lower lpad ltrim md5 octet_length prefix regexp_extract "
        "regexp_extract_all regexp_full_match regexp_matches regexp_replace "
        "regexp_split_to_array replace reverse right rpad rtrim sha256 size split_part "
        "starts_with str_split string_split string_to_array substr substring suffix tolower "
        "toupper trim ucase upper "
        # Lists and arrays.
        "all any array_append array_cat array_concat array_contains array_cosine_similarity "
        "array_distance array_dot_product array_extract array_has "
        "array_indexof array_inner_product array_position array_prepend array_push_back "
        "array_push_front array_slice array_squared_distance array_value cardinality "
        "list_append list_cat list_concat list_contains list_creation "
        "list_distinct list_element list_extract list_filter list_has list_has_all list_has_any "
        "list_indexof list_max list_min list_position list_prepend list_product "
        "list_reverse list_reverse_sort list_slice list_sort list_sum list_to_string "
        "list_transform list_unique none range single "
        # Maps, structs and unions.
        "map map_extract map_keys map_values struct_extract struct_pack union_extract "
        "union_tag union_value "
        # Dates and times.
        "century current_date current_timestamp date date_part date_trunc datepart datetrunc "
        "dayname duration epoch_ms interval last_day make_date monthname time_bucket timestamp "
        "to_days to_epoch_ms to_hours to_milliseconds to_minutes to_months "
        "to_seconds to_timestamp to_years "
        # Conversions.
        "blob cast string to_blob to_bool to_date to_double to_float to_int128 to_int16 to_int32 "
        "to_int64 to_int8 to_interval to_string to_uint128 to_uint16 to_uint32 to_uint64 "
        "to_uint8 typeof "
        # Values that may be missing.
        "coalesce constant_or_null ifnull nullif "
        # Nodes, relationships and paths.
        "end_node id internal_id is_acyclic is_trail keys label labels nodes offset "
        "properties relationships rels rowid start_node "
        # Aggregates.
        "avg collect count count_if histogram max min percentilecont percentiledisc sum "
    ),
    words=_names("SHORTEST TRAIL ACYCLIC"),
    # DECIMAL(18, 3) is a type, and WSHORTEST(property) says how long a path is.
    words_before_parenthesis=_names("WSHORTEST DECIMAL"),
    without_null=_names(
        "end_node id list_product list_reverse_sort list_sum map map_extract map_keys map_values "
        "nodes properties relationships rels rowid start_node struct_extract union_extract"
    ),
)
NEO4J = CypherDialect(
    "Neo4j",
    _names(
        # Predicates.
        "all any exists isempty none single "
        # Scalars.
        "char_length character_length coalesce elementid endnode head id last length nullif "
        "properties randomuuid size startnode timestamp toboolean tobooleanornull tofloat "
        "tofloatornull tointeger tointegerornull type valuetype "
        # Aggregates.
        "avg collect count max min percentilecont percentiledisc stdev stdevp sum "
        # Lists.
        "keys labels nodes range reduce relationships reverse tail tobooleanlist tofloatlist "
        "tointegerlist tostringlist "
        # Numbers.
        "abs acos asin atan atan2 ceil ceiling cos cot degrees e exp floor haversin isnan ln log "
        "log10 pi radians rand round sign sin sqrt tan "
        # Strings.
        "btrim left lower ltrim normalize replace right rtrim split substring tolower tostring "
        "tostringornull toupper trim upper "
        # Dates and times.
        "date date.realtime date.statement date.transaction date.truncate datetime "
        "datetime.fromepoch datetime.fromepochmillis datetime.realtime datetime.statement "
        "datetime.transaction datetime.truncate duration duration.between duration.indays "
        "duration.inmonths duration.inseconds localdatetime localdatetime.realtime "
        "localdatetime.statement localdatetime.transaction localdatetime.truncate localtime "
        "localtime.realtime localtime.statement localtime.transaction localtime.truncate time "
        "time.realtime time.statement time.transaction time.truncate "
        # Points and vectors.
        "point point.distance point.withinbbox vector.similarity.cosine "
        "vector.similarity.euclidean "
        # Paths.
        "allshortestpaths shortestpath "
    ),
    words=_names(
        "SHORTEST GROUP GROUPS PATH PATHS LEADING TRAILING BOTH FROM NORMALIZED TYPED CALL "
    ),
    words_before_parenthesis=_names("SHORTEST GROUP GROUPS PATH PATHS FROM"),
    has_subquery_clause=True,
)
ANY_STORE = CypherDialect(
    "Cypher",
    LADYBUG.functions | NEO4J.functions,
    LADYBUG.words | NEO4J.words,
    LADYBUG.words_before_parenthesis | NEO4J.words_before_parenthesis,
    has_subquery_clause=True,
)
"""What passes here only reads in every store, though no store knows all of it."""
