-- 15_request.sql: what a request says of itself: URLs, their parameters, user agents.
--
-- Pure functions over the same C that click() and open_page() use.  They read no table and can stand in indexes and CHECK constraints;
-- those of 20_config.sql use them, so this part comes before it.

CREATE FUNCTION biolink.url_parts(url pg_catalog.text,
		OUT scheme pg_catalog.text, OUT host pg_catalog.text, OUT port pg_catalog.int4,
		OUT path pg_catalog.text, OUT query pg_catalog.text, OUT fragment pg_catalog.text)
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10
	AS 'MODULE_PATHNAME', 'url_parts';
COMMENT ON FUNCTION biolink.url_parts(pg_catalog.text) IS
	'Splits an absolute URL (scheme://host...); all columns are NULL where it is none: no scheme or host, a control character, a host that parsers read differently. '
	'scheme and host in lower case, host without a trailing dot, port as written or NULL, path without a change (may be empty), query and fragment without ? and # and NULL where absent; nothing is decoded, user information is left out. '
	'Call it as SELECT * FROM biolink.url_parts(...): (biolink.url_parts(...)).* runs it once per column. Raises no error.';
GRANT EXECUTE ON FUNCTION biolink.url_parts(pg_catalog.text) TO biolink_app, biolink_analyst, biolink_admin;

CREATE FUNCTION biolink.utm(url pg_catalog.text)
	RETURNS pg_catalog.jsonb
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20
	AS 'MODULE_PATHNAME', 'utm';
COMMENT ON FUNCTION biolink.utm(pg_catalog.text) IS
	'UTM parameters and platforms'' click ids of a URL (absolute, or only its path and query) as {"utm_source": "...", "gclid": "..."}; {} where it has none. '
	'Names in lower case; values decoded, trimmed, without control characters and without bytes that are no valid UTF-8, those of utm_* in lower case. '
	'The first of a name counts; empty values and those above 1000 bytes are left out. Raises no error.';
GRANT EXECUTE ON FUNCTION biolink.utm(pg_catalog.text) TO biolink_app, biolink_analyst, biolink_admin;

CREATE FUNCTION biolink.build_url(base pg_catalog.text, params pg_catalog.jsonb)
	RETURNS pg_catalog.text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20
	AS 'MODULE_PATHNAME', 'build_url';
COMMENT ON FUNCTION biolink.build_url(pg_catalog.text, pg_catalog.jsonb) IS
	'Sets query parameters of an absolute URL: {"utm_source": "instagram", "size": 2, "tag": ["a", "b"], "old": null}. '
	'A parameter that base has under a name of params is replaced; an array repeats the name, null takes the parameter out. '
	'The other parameters and the fragment keep their bytes and order; params follow in the order of jsonb (shorter names first), percent-encoded as UTF-8. '
	'The result is ASCII: bytes that may not stand in a URL are percent-encoded. '
	'Errors: 22023 where base is no absolute URL, params is no object, or a value (named) is an object or a nested array; above 1000 values.';
GRANT EXECUTE ON FUNCTION biolink.build_url(pg_catalog.text, pg_catalog.jsonb) TO biolink_app, biolink_analyst, biolink_admin;

CREATE FUNCTION biolink.classify_agent(user_agent pg_catalog.text, headers pg_catalog.jsonb DEFAULT '{}',
		OUT device pg_catalog.text, OUT os pg_catalog.text, OUT browser pg_catalog.text, OUT app pg_catalog.text,
		OUT is_bot pg_catalog.bool, OUT reason pg_catalog.text)
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 50
	AS 'MODULE_PATHNAME', 'classify_agent';
COMMENT ON FUNCTION biolink.classify_agent(pg_catalog.text, pg_catalog.jsonb) IS
	'What a User-Agent header says, by the built-in list alone. device: phone, tablet, desktop, tv, console, wearable, other; os: ios, android, windows, macos, linux, chromeos ... other; '
	'browser: chrome, safari, firefox, edge, opera, samsung ... other; app: the in-app browser (instagram, facebook, tiktok ...) or NULL. '
	'reason is NULL unless is_bot: crawler, preview (fetches for a link preview), monitor, library, headless, empty_agent (NULL too), or prefetch, which headers say ({"Sec-Purpose": "prefetch"}, also Purpose, X-Purpose, X-Moz; names in any case). '
	'Call it as SELECT * FROM biolink.classify_agent(...): (biolink.classify_agent(...)).* runs it once per column. Error: 22023 where headers is no object.';
GRANT EXECUTE ON FUNCTION biolink.classify_agent(pg_catalog.text, pg_catalog.jsonb) TO biolink_app, biolink_analyst, biolink_admin;

CREATE FUNCTION biolink.is_redirectable(url pg_catalog.text)
	RETURNS pg_catalog.bool
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 10
	AS 'MODULE_PATHNAME', 'is_redirectable';
COMMENT ON FUNCTION biolink.is_redirectable(pg_catalog.text) IS
	'May a visitor be sent there: http or https, a host, neither user information (https://shop.example@evil.example/) nor control characters. NULL for NULL. Raises no error.';
GRANT EXECUTE ON FUNCTION biolink.is_redirectable(pg_catalog.text) TO biolink_app, biolink_analyst, biolink_admin;
