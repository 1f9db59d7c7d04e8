/*-------------------------------------------------------------------------
 *
 * request_functions.c
 *	  SQL functions over what a request says of itself: URLs, their
 *	  parameters, and user agents.
 *
 * Owns url_parts, utm, build_url, classify_agent and is_redirectable; what
 * they know is in the pure cores, which click() and open_page() call too, so
 * that a function shows what is stored.
 *
 * Invariants: immutable, no table is read; every text that is returned is
 * valid in the server's encoding.
 *
 *-------------------------------------------------------------------------
 */
#include "biolink.h"

#include "agent_core.h"
#include "channel_core.h"
#include "request.h"
#include "tracking.h"
#include "url_core.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

/* Parameters that build_url() sets at a time: it compares each with those of base. */
#define MAX_SETTINGS	1000

PG_FUNCTION_INFO_V1(url_parts);
PG_FUNCTION_INFO_V1(utm);
PG_FUNCTION_INFO_V1(build_url);
PG_FUNCTION_INFO_V1(classify_agent);
PG_FUNCTION_INFO_V1(is_redirectable);

/* slice_datum makes a text of a slice, or NULL where it is absent. */
static void
slice_datum(Slice slice, bool present, Datum *value, bool *isnull)
{
	*isnull = !present;
	if (present)
		*value = PointerGetDatum(cstring_to_text_with_len(slice.len > 0 ? slice.data : "", (int) slice.len));
}

/* lower_ascii lower-cases ASCII letters in place. */
static void
lower_ascii(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		if (text[i] >= 'A' && text[i] <= 'Z')
			text[i] |= 0x20;
	}
}

/* url_parts splits an absolute URL. */
Datum
url_parts(PG_FUNCTION_ARGS)
{
	static ResultShape shape;
	enum
	{
		SCHEME, HOST, PORT, PATH, QUERY, FRAGMENT, COLUMNS
	};
	text	   *url = PG_GETARG_TEXT_PP(0);
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS];
	UrlParts	parts;

	memset(nulls, true, sizeof(nulls));
	if (url_split(VARDATA_ANY(url), VARSIZE_ANY_EXHDR(url), &parts))
	{
		char	   *scheme = pnstrdup(parts.scheme.data, parts.scheme.len);
		char	   *host = palloc(parts.host.len + 1);
		size_t		host_len = url_host_normal(parts.host, host);

		lower_ascii(scheme, parts.scheme.len);
		slice_datum((Slice) {scheme, parts.scheme.len}, true, &values[SCHEME], &nulls[SCHEME]);
		slice_datum((Slice) {host, host_len}, true, &values[HOST], &nulls[HOST]);
		slice_datum(parts.path, true, &values[PATH], &nulls[PATH]);
		slice_datum(parts.query, parts.has_query, &values[QUERY], &nulls[QUERY]);
		slice_datum(parts.fragment, parts.has_fragment, &values[FRAGMENT], &nulls[FRAGMENT]);
		if (parts.port.len > 0)
		{
			int32		port = 0;

			/* url_split has seen to it that it fits */
			for (size_t i = 0; i < parts.port.len; i++)
				port = port * 10 + (parts.port.data[i] - '0');
			values[PORT] = Int32GetDatum(port);
			nulls[PORT] = false;
		}
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(result_tuple(&shape, fcinfo, values, nulls)));
}

/* utm collects the UTM parameters and click ids of a URL. */
Datum
utm(PG_FUNCTION_ARGS)
{
	text	   *url = PG_GETARG_TEXT_PP(0);
	UrlParts	parts;
	Jsonb	   *params = NULL;

	if (url_reference_split(VARDATA_ANY(url), VARSIZE_ANY_EXHDR(url), &parts))
		params = tracking_params(parts.query, NULL);
	if (params == NULL)
	{
		JsonbParseState *state = NULL;

		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		params = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	}
	PG_RETURN_JSONB_P(params);
}

/* utf8_slice gives text of the server's encoding as UTF-8, which URLs are written in. */
static Slice
utf8_slice(const char *text, size_t len)
{
	char	   *converted = pg_server_to_any(text, (int) len, PG_UTF8);

	return (Slice) {converted, converted == text ? len : strlen(converted)};
}

/* refuse_setting says what a value of params may be. */
static void
refuse_setting(const JsonbValue *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("key \"%.*s\" of params must be a string, number, boolean, null, or an array of strings, numbers and booleans",
					key->val.string.len, key->val.string.val)));
}

/* refuse_many says how many parameters params may set. */
static void
refuse_many(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("params must not set more than %d parameters", MAX_SETTINGS)));
}

/* setting_value gives a jsonb scalar as the value of the parameter key. */
static Slice
setting_value(const JsonbValue *value, const JsonbValue *key)
{
	switch (value->type)
	{
		case jbvString:
			return utf8_slice(value->val.string.val, (size_t) value->val.string.len);
		case jbvNumeric:
			{
				char	   *number = DatumGetCString(DirectFunctionCall1(numeric_out,
																		 NumericGetDatum(value->val.numeric)));

				return (Slice) {number, strlen(number)};
			}
		case jbvBool:
			return value->val.boolean ? (Slice) {"true", 4} : (Slice) {"false", 5};
		default:
			refuse_setting(key);
	}
	return NO_SLICE;			/* not reached */
}

/* build_url sets parameters of a URL. */
Datum
build_url(PG_FUNCTION_ARGS)
{
	text	   *base = PG_GETARG_TEXT_PP(0);
	Jsonb	   *params = PG_GETARG_JSONB_P(1);
	UrlParts	parts;
	UrlAddition *additions = palloc(sizeof(UrlAddition) * MAX_SETTINGS);
	int			nadditions = 0;
	Slice	   *names;
	int			nnames = 0;
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	JsonbValue	key = {0};
	Slice		name = NO_SLICE;
	int			depth = 0;
	char	   *query;
	size_t		query_len = 0;
	size_t		position = 0;
	UrlParam	param;
	bool		removed = false;
	text	   *result;

	if (!url_split(VARDATA_ANY(base), VARSIZE_ANY_EXHDR(base), &parts))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("base must be an absolute URL"),
				 errdetail("It must have a scheme and a host (https://example.com/...), and no control character.")));
	if (!JB_ROOT_IS_OBJECT(params))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("params must be a JSON object")));

	if (JB_ROOT_COUNT(params) > MAX_SETTINGS)
		refuse_many();

	names = palloc(sizeof(Slice) * (JB_ROOT_COUNT(params) + 1));
	iterator = JsonbIteratorInit(&params->root);
	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			key = value;
			if (key.val.string.len == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("params must not have an empty key")));
			name = utf8_slice(key.val.string.val, (size_t) key.val.string.len);
			names[nnames++] = name;
		}
		else if (token == WJB_VALUE && value.type == jbvNull)
			continue;			/* takes the parameter out */
		else if (token == WJB_VALUE || token == WJB_ELEM)
		{
			if (nadditions >= MAX_SETTINGS)
				refuse_many();
			additions[nadditions].name = name;
			additions[nadditions].value = setting_value(&value, &key);
			nadditions++;
		}
		else if (token == WJB_BEGIN_OBJECT || token == WJB_BEGIN_ARRAY)
		{
			/* params itself, and in it arrays */
			if (depth == 2 || (depth == 1 && token == WJB_BEGIN_OBJECT))
				refuse_setting(&key);
			depth++;
		}
		else if (token == WJB_END_OBJECT || token == WJB_END_ARRAY)
			depth--;
	}

	/* what base has under these names goes */
	query = palloc(parts.query.len + 1);
	while (url_next_param(parts.query, &position, &param))
	{
		Slice		piece = param.name;
		bool		replaced = false;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < nnames && !replaced; i++)
			replaced = url_name_equals(param.name, names[i].data, names[i].len);
		if (replaced)
		{
			removed = true;
			continue;
		}
		if (param.has_equals)
			piece.len += 1 + param.value.len;
		if (query_len > 0)
			query[query_len++] = '&';
		memcpy(query + query_len, piece.data, piece.len);
		query_len += piece.len;
	}
	if (removed)
	{
		parts.query = (Slice) {query, query_len};
		parts.has_query = query_len > 0;
	}

	result = palloc(VARHDRSZ + url_redirect_bound(VARSIZE_ANY_EXHDR(base), 0, additions, nadditions, 0, 0));
	SET_VARSIZE(result, VARHDRSZ + url_redirect(VARDATA(result), &parts, NULL, additions, nadditions,
												NO_SLICE, NO_SLICE, NO_SLICE));
	PG_RETURN_TEXT_P(result);
}

/* headers_are_prefetch tells whether one of a request's headers says that nobody is looking. */
static bool
headers_are_prefetch(Jsonb *headers)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;
	JsonbValue	name = {0};

	if (!JB_ROOT_IS_OBJECT(headers))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("headers must be a JSON object")));

	iterator = JsonbIteratorInit(&headers->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			name = value;
		else if (token == WJB_VALUE && value.type == jbvString &&
				 agent_header_is_prefetch(name.val.string.val, name.val.string.len,
										  value.val.string.val, value.val.string.len))
			return true;
	}
	return false;
}

/* classify_agent says what an agent is. */
Datum
classify_agent(PG_FUNCTION_ARGS)
{
	static ResultShape shape;
	enum
	{
		DEVICE, OS, BROWSER, APP, IS_BOT, REASON, COLUMNS
	};
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS] = {0};
	AgentClass	agent;

	if (PG_ARGISNULL(0))
		agent_classify("", 0, &agent);
	else
	{
		text	   *user_agent = PG_GETARG_TEXT_PP(0);

		agent_classify(VARDATA_ANY(user_agent), VARSIZE_ANY_EXHDR(user_agent), &agent);
	}
	if (!PG_ARGISNULL(1) && headers_are_prefetch(PG_GETARG_JSONB_P(1)) && !agent.is_bot)
	{
		agent.is_bot = true;
		agent.reason = "prefetch";
	}

	values[DEVICE] = CStringGetTextDatum(agent.device);
	values[OS] = CStringGetTextDatum(agent.os);
	values[BROWSER] = CStringGetTextDatum(agent.browser);
	nulls[APP] = agent.app == NULL;
	if (agent.app != NULL)
		values[APP] = CStringGetTextDatum(agent.app);
	values[IS_BOT] = BoolGetDatum(agent.is_bot);
	nulls[REASON] = agent.reason == NULL;
	if (agent.reason != NULL)
		values[REASON] = CStringGetTextDatum(agent.reason);
	PG_RETURN_DATUM(HeapTupleGetDatum(result_tuple(&shape, fcinfo, values, nulls)));
}

/* is_redirectable tells whether a visitor may be sent to a URL. */
Datum
is_redirectable(PG_FUNCTION_ARGS)
{
	text	   *url = PG_GETARG_TEXT_PP(0);

	PG_RETURN_BOOL(url_is_redirectable(VARDATA_ANY(url), VARSIZE_ANY_EXHDR(url)));
}
