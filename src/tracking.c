/*-------------------------------------------------------------------------
 *
 * tracking.c
 *	  The UTM parameters and platforms' click ids of a URL.
 *
 * Owns which parameters are kept and in what form, for the request path and
 * for biolink.utm() alike: names in lower case, the first of a name counts,
 * UTM values trimmed, in lower case and masked, click ids as they are.
 *
 *-------------------------------------------------------------------------
 */
#include "tracking.h"

#include "request.h"

#include "mb/pg_wchar.h"

#define MAX_NAME_BYTES		64
#define MAX_VALUE_BYTES		1000

/* A URL may hold any number of utm_*; nobody means more than these. */
#define MAX_PARAMS			64

/* decoded_text decodes a name or value; empty where nothing valid is left. */
static Slice
decoded_text(Slice raw)
{
	char	   *out = palloc(raw.len + 1);
	size_t		len = url_decode_text(raw, out);

	if (!pg_verify_mbstr(GetDatabaseEncoding(), out, (int) len, true))
		len = 0;
	return (Slice) {out, len};
}

/* lower_ascii lower-cases ASCII letters in place: no locale has a say. */
static void
lower_ascii(Slice text)
{
	char	   *bytes = unconstify(char *, text.data);

	for (size_t i = 0; i < text.len; i++)
	{
		if (bytes[i] >= 'A' && bytes[i] <= 'Z')
			bytes[i] += 'a' - 'A';
	}
}

/* is_among tells whether a name was seen before. */
static bool
is_among(Slice name, const Slice *names, int nnames)
{
	for (int i = 0; i < nnames; i++)
	{
		if (names[i].len == name.len && memcmp(names[i].data, name.data, name.len) == 0)
			return true;
	}
	return false;
}

/* push_text pushes a text into a JSON value that is being built. */
static void
push_text(JsonbParseState **state, JsonbIteratorToken token, Slice text)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, text.data);
	value.val.string.len = (int) text.len;
	pushJsonbValue(state, token, &value);
}

/* tracking_params is described in tracking.h. */
Jsonb *
tracking_params(Slice query, ChannelInput *input)
{
	JsonbParseState *state = NULL;
	Slice		names[MAX_PARAMS];
	int			nnames = 0;
	size_t		position = 0;
	UrlParam	param;

	while (nnames < MAX_PARAMS && url_next_param(query, &position, &param))
	{
		const char *platform = NULL;
		bool		paid = false;
		bool		is_utm;
		Slice		name;
		Slice		value;

		if (param.name.len > MAX_NAME_BYTES || param.value.len == 0)
			continue;
		name = decoded_text(param.name);
		lower_ascii(name);
		is_utm = name.len > 4 && memcmp(name.data, "utm_", 4) == 0;
		if (!is_utm && !channel_click_id(name.data, name.len, &platform, &paid))
			continue;
		value = decoded_text(param.value);
		if (value.len == 0 || value.len > MAX_VALUE_BYTES || is_among(name, names, nnames))
			continue;

		/* a click id is not ours to change */
		if (is_utm)
		{
			size_t		len;
			char	   *masked;

			lower_ascii(value);
			masked = text_masked(value, &len);
			value = (Slice) {masked, len};
		}
		if (input != NULL)
		{
			if (slice_is(name, "utm_source"))
				input->utm_source = value;
			else if (slice_is(name, "utm_medium"))
				input->utm_medium = value;
			else if (platform != NULL && input->click_id_platform == NULL)
			{
				input->click_id_platform = platform;
				input->click_id_paid = paid;
			}
		}

		if (nnames == 0)
			pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		names[nnames++] = name;
		push_text(&state, WJB_KEY, name);
		push_text(&state, WJB_VALUE, value);
	}
	if (nnames == 0)
		return NULL;
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}
