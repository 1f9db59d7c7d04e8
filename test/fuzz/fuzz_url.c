/*-------------------------------------------------------------------------
 *
 * fuzz_url.c
 *	  Fuzzer of url_core.c: what holds for every URL and every redirect.
 *
 * An input is up to six lines: base, request, names to drop, token's name,
 * token, additions as a query; the whole of it is also taken for a URL.
 *
 *-------------------------------------------------------------------------
 */
#include "url_core.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS			6
#define MAX_ADDITIONS	20

#define CHECK(condition) \
	do { \
		if (!(condition)) \
			abort(); \
	} while (0)

/* put appends a slice. */
static size_t
put(char *out, size_t len, const char *data, size_t data_len)
{
	if (data_len > 0)
		memcpy(out + len, data, data_len);
	return len + data_len;
}

/* check_split splits a URL and puts it together again. */
static void
check_split(const char *url, size_t len)
{
	UrlParts	parts;
	char	   *out = malloc(len + 16);
	size_t		n = 0;

	if (url_split(url, len, &parts))
	{
		CHECK(parts.scheme.len > 0 && parts.host.len > 0);
		n = put(out, n, parts.scheme.data, parts.scheme.len);
		n = put(out, n, "://", 3);
		if (parts.userinfo.data != NULL)
		{
			n = put(out, n, parts.userinfo.data, parts.userinfo.len);
			n = put(out, n, "@", 1);
		}
		n = put(out, n, parts.host.data, parts.host.len);
		if (parts.port.data != NULL)
		{
			n = put(out, n, ":", 1);
			n = put(out, n, parts.port.data, parts.port.len);
		}
	}
	else
		CHECK(!url_is_redirectable(url, len));

	if (n > 0 || url_reference_split(url, len, &parts))
	{
		n = put(out, n, parts.path.data, parts.path.len);
		if (parts.has_query)
		{
			n = put(out, n, "?", 1);
			n = put(out, n, parts.query.data, parts.query.len);
		}
		if (parts.has_fragment)
		{
			n = put(out, n, "#", 1);
			n = put(out, n, parts.fragment.data, parts.fragment.len);
		}
		CHECK(n == len && (len == 0 || memcmp(out, url, len) == 0));
		for (size_t i = 0; i < len; i++)
			CHECK((unsigned char) url[i] >= 0x20 && url[i] != 0x7f);
	}
	free(out);
}

/* check_text decodes and looks at what comes out. */
static void
check_text(const char *data, size_t len)
{
	Slice		in = {data, len};
	char	   *raw = malloc(len + 1);
	char	   *clean = malloc(len + 1);
	size_t		raw_len = url_decode(in, raw);
	size_t		clean_len = url_decode_text(in, clean);

	CHECK(raw_len <= len && clean_len <= raw_len);
	CHECK(url_name_equals(in, raw, raw_len));
	for (size_t i = 0; i < clean_len;)
	{
		size_t		step = url_utf8_length(clean + i, clean_len - i);

		CHECK(step > 0 && (unsigned char) clean[i] >= 0x20 && clean[i] != 0x7f);
		i += step;
	}
	CHECK(clean_len == 0 || (clean[0] != ' ' && clean[clean_len - 1] != ' '));
	CHECK(url_text_clean(clean, clean_len) == clean_len);
	free(raw);
	free(clean);
}

/* decoded copies a name or value decoded; the caller frees it. */
static char *
decoded(Slice in, size_t *len)
{
	char	   *out = malloc(in.len + 1);

	*len = url_decode(in, out);
	return out;
}

/* same tells whether two undecoded texts are equal after decoding. */
static bool
same(Slice a, Slice b)
{
	size_t		len;
	char	   *plain = decoded(b, &len);
	bool		equal = url_name_equals(a, plain, len);

	free(plain);
	return equal;
}

/* count_params counts the parameters of that undecoded name, and of them those that have that value. */
static int
count_params(Slice query, Slice name, const Slice *value)
{
	size_t		position = 0;
	UrlParam	param;
	size_t		name_len;
	size_t		value_len = 0;
	char	   *plain_name = decoded(name, &name_len);
	char	   *plain_value = value ? decoded(*value, &value_len) : NULL;
	int			count = 0;

	while (url_next_param(query, &position, &param))
		count += url_name_equals(param.name, plain_name, name_len) &&
			(value == NULL || url_name_equals(param.value, plain_value, value_len));
	free(plain_name);
	free(plain_value);
	return count;
}

/* is_listed tells whether a name is in a list joined by ampersands. */
static bool
is_listed(Slice name, Slice list)
{
	size_t		start = 0;

	while (start < list.len)
	{
		size_t		end = start;

		while (end < list.len && list.data[end] != '&')
			end++;
		if (end > start && url_name_equals(name, list.data + start, end - start))
			return true;
		start = end + 1;
	}
	return false;
}

/* check_redirect builds a redirect and looks for what must be in it. */
static void
check_redirect(const Slice *field)
{
	UrlParts	base;
	UrlParts	request;
	UrlParts	result;
	UrlParam	param;
	UrlAddition additions[MAX_ADDITIONS];
	char	   *plain[2 * MAX_ADDITIONS];
	int			nadditions = 0;
	Slice		drop = field[2];
	Slice		token_name = field[3];
	Slice		token = field[4];
	bool		has_token = token_name.len > 0 && token.len > 0;
	size_t		position = 0;
	size_t		bound;
	size_t		len;
	char	   *out;

	if (!url_split(field[0].data, field[0].len, &base) ||
		!url_reference_split(field[1].data, field[1].len, &request))
		return;
	while (nadditions < MAX_ADDITIONS && url_next_param(field[5], &position, &param))
	{
		UrlAddition *addition = &additions[nadditions];

		addition->name.data = plain[2 * nadditions] = decoded(param.name, &addition->name.len);
		addition->value.data = plain[2 * nadditions + 1] = decoded(param.value, &addition->value.len);
		nadditions++;
	}

	bound = url_redirect_bound(field[0].len, field[1].len, additions, nadditions, token_name.len, token.len);
	out = malloc(bound);
	len = url_redirect(out, &base, &request, additions, nadditions, drop, token_name, token);

	CHECK(len <= bound);
	for (size_t i = 0; i < len; i++)
		CHECK((unsigned char) out[i] > ' ' && (unsigned char) out[i] < 0x7f);

	/* it leads to the same place */
	CHECK(url_split(out, len, &result));
	CHECK(same(result.host, base.host) && result.port.len == base.port.len);
	CHECK(url_is_redirectable(out, len) == url_is_redirectable(field[0].data, field[0].len));
	CHECK(result.has_fragment == (base.has_fragment || request.has_fragment));

	/* base's parameters, but for the token's name */
	position = 0;
	while (url_next_param(base.query, &position, &param))
	{
		if (has_token && url_name_equals(param.name, token_name.data, token_name.len))
			continue;
		CHECK(count_params(result.query, param.name, NULL) == count_params(base.query, param.name, NULL));
		CHECK(count_params(result.query, param.name, &param.value) == count_params(base.query, param.name, &param.value));
	}
	/* the request's, but for the token's name, those to drop and those that base has */
	position = 0;
	while (url_next_param(request.query, &position, &param))
	{
		if ((token_name.len > 0 && url_name_equals(param.name, token_name.data, token_name.len)) ||
			is_listed(param.name, drop) || count_params(base.query, param.name, NULL) > 0)
			continue;
		CHECK(count_params(result.query, param.name, NULL) == count_params(request.query, param.name, NULL));
		CHECK(count_params(result.query, param.name, &param.value) == count_params(request.query, param.name, &param.value));
	}
	/* the additions */
	for (int i = 0; i < nadditions; i++)
	{
		position = 0;
		len = 0;
		while (url_next_param(result.query, &position, &param))
			len += url_name_equals(param.name, additions[i].name.data, additions[i].name.len);
		CHECK(len > 0 || additions[i].name.len == 0);
	}
	/* one token, and it is ours */
	if (has_token)
	{
		len = 0;
		position = 0;
		while (url_next_param(result.query, &position, &param))
		{
			if (url_name_equals(param.name, token_name.data, token_name.len))
			{
				CHECK(url_name_equals(param.value, token.data, token.len));
				len++;
			}
		}
		CHECK(len == 1);
	}

	for (int i = 0; i < 2 * nadditions; i++)
		free(plain[i]);
	free(out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *) data;
	Slice		field[FIELDS];
	size_t		start = 0;

	check_split(text, size);
	check_text(text, size);

	/* what is looked for one by one must not be long */
	if (size > 1024)
		return 0;
	for (int i = 0; i < FIELDS; i++)
	{
		size_t		end = start;

		while (end < size && text[end] != '\n')
			end++;
		field[i].data = end > start ? text + start : NULL;
		field[i].len = end - start;
		start = end < size ? end + 1 : end;
	}
	check_redirect(field);
	return 0;
}
