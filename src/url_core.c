/*-------------------------------------------------------------------------
 *
 * url_core.c
 *	  Taking URLs apart, reading their parameters, and building redirects.
 *
 * Owns the project's idea of a URL: the generic syntax of RFC 3986 with the
 * tolerance browsers have (WHATWG URL) for bytes that ought to have been
 * encoded, and none for what makes two parsers see two different hosts.
 *
 * Invariants:
 *	- no allocation, no locale, no static state; time linear in the input
 *	  (url_redirect: see there);
 *	- slices point into the caller's text, nothing is written to it;
 *	- what url_redirect writes consists of printable ASCII bytes only, so that
 *	  it can stand in a header line whatever came in;
 *	- what url_decode_text writes is valid UTF-8 without control characters.
 *
 *-------------------------------------------------------------------------
 */
#include "url_core.h"

#include <stdint.h>
#include <string.h>

/* Parameter names of a redirect's base that are looked up by their hash. */
#define INDEXED_NAMES	64

/* The names of a query's parameters, to ask many times whether one is there. */
typedef struct NameIndex
{
	uint32_t	hash[INDEXED_NAMES];
	Slice		name[INDEXED_NAMES];
	int			count;
	Slice		rest;			/* the query from parameter INDEXED_NAMES on */
} NameIndex;

/* Where url_redirect has got to. */
typedef struct Writer
{
	char	   *out;
	size_t		len;
	size_t		query_start;	/* position after the question mark; 0 = none yet */
} Writer;

/* Is this byte an ASCII letter? */
static inline bool
is_letter(unsigned char c)
{
	c |= 0x20;
	return c >= 'a' && c <= 'z';
}

/* Is this byte an ASCII digit? */
static inline bool
is_digit(unsigned char c)
{
	return c >= '0' && c <= '9';
}

/* Value of a hexadecimal digit, or -1. */
static inline int
hex_value(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/* Is this byte one that may not stand in a URL as it is? */
static inline bool
must_encode(unsigned char c)
{
	if (c <= 0x20 || c >= 0x7f)
		return true;
	switch (c)
	{
		case '"':
		case '<':
		case '>':
		case '\\':
		case '^':
		case '`':
		case '{':
		case '|':
		case '}':
			return true;
		default:
			return false;
	}
}

/* Is this byte one of RFC 3986's unreserved ones, which never need encoding? */
static inline bool
is_unreserved(unsigned char c)
{
	return is_letter(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

/* A slice of the text from one position up to another. */
static inline Slice
slice_of(const char *text, size_t from, size_t to)
{
	Slice		slice;

	slice.data = text + from;
	slice.len = to - from;
	return slice;
}

/* Does the text hold an ASCII control character? */
static bool
has_control(const char *text, size_t len)
{
	bool		found = false;

	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) text[i];

		found |= (c < 0x20) | (c == 0x7f);
	}
	return found;
}

/* Position of a byte in the text from start on, or len. */
static inline size_t
find_byte(const char *text, size_t start, size_t len, char byte)
{
	const char *found;

	if (start >= len)
		return len;
	found = memchr(text + start, byte, len - start);
	return found ? (size_t) (found - text) : len;
}

/* Length of the scheme that the text starts with, 0 where no colon ends one. */
static size_t
scheme_length(const char *text, size_t len)
{
	size_t		i;

	if (len == 0 || !is_letter((unsigned char) text[0]))
		return 0;
	for (i = 1; i < len; i++)
	{
		unsigned char c = (unsigned char) text[i];

		if (c == ':')
			return i;
		if (!is_letter(c) && !is_digit(c) && c != '+' && c != '-' && c != '.')
			return 0;
	}
	return 0;
}

/*
 * Is this a host by name or IPv4 address?
 *
 * Refused are the bytes that end a host for one parser and not for another
 * (backslash, blanks, brackets ...), and percent-encoded ASCII, which nobody
 * writes in a host but to disguise it.  Encoded or plain non-ASCII bytes are
 * an internationalised name.  There must be more to it than dots.
 */
static bool
host_name_is_valid(Slice host)
{
	bool		some = false;

	for (size_t i = 0; i < host.len; i++)
	{
		unsigned char c = (unsigned char) host.data[i];

		if (c == '%')
		{
			if (host.len - i < 3 ||
				hex_value((unsigned char) host.data[i + 1]) < 8 ||
				hex_value((unsigned char) host.data[i + 2]) < 0)
				return false;
			i += 2;
			some = true;
			continue;
		}
		if (c < 0x80 && (must_encode(c) || c == ':' || c == '@' || c == '[' || c == ']'))
			return false;
		if (c != '.')
			some = true;
	}
	return some;
}

/* Does this look like an IPv6 address in brackets? */
static bool
host_address_is_valid(Slice host)
{
	int			colons = 0;

	if (host.len < 4 || host.data[0] != '[' || host.data[host.len - 1] != ']')
		return false;
	for (size_t i = 1; i < host.len - 1; i++)
	{
		unsigned char c = (unsigned char) host.data[i];

		if (c == ':')
			colons++;
		else if (hex_value(c) < 0 && c != '.')
			return false;
	}
	return colons >= 2 && colons <= 7;
}

/* Is this a port number (the empty one stands for the scheme's own)? */
static bool
port_is_valid(Slice port)
{
	unsigned	value = 0;

	for (size_t i = 0; i < port.len; i++)
	{
		unsigned char c = (unsigned char) port.data[i];

		if (!is_digit(c))
			return false;
		value = value * 10 + (c - '0');
		if (value > 65535)
			return false;
	}
	return true;
}

/*
 * Split user information, host and port; false where that is no authority.
 *
 * The last @ ends the user information, as it does in browsers.  Where there
 * is one, userinfo.data is set even if nothing stands before it; likewise
 * port.data.
 */
static bool
authority_split(const char *text, size_t start, size_t end, UrlParts *parts)
{
	size_t		host_start = start;
	size_t		host_end;

	/* browsers read a backslash as a slash: the host would end there */
	if (memchr(text + start, '\\', end - start) != NULL)
		return false;

	for (size_t i = end; i > start; i--)
	{
		if (text[i - 1] == '@')
		{
			parts->userinfo = slice_of(text, start, i - 1);
			host_start = i;
			break;
		}
	}

	if (host_start < end && text[host_start] == '[')
	{
		host_end = find_byte(text, host_start, end, ']');
		if (host_end == end)
			return false;
		host_end++;
		parts->host = slice_of(text, host_start, host_end);
		if (!host_address_is_valid(parts->host))
			return false;
	}
	else
	{
		host_end = find_byte(text, host_start, end, ':');
		parts->host = slice_of(text, host_start, host_end);
		if (!host_name_is_valid(parts->host))
			return false;
	}

	if (host_end < end)
	{
		if (text[host_end] != ':')
			return false;
		parts->port = slice_of(text, host_end + 1, end);
		if (!port_is_valid(parts->port))
			return false;
	}
	return true;
}

/* Split path, query and fragment. */
static void
tail_split(const char *text, size_t start, size_t len, UrlParts *parts)
{
	size_t		fragment = find_byte(text, start, len, '#');
	size_t		query = find_byte(text, start, fragment, '?');

	parts->path = slice_of(text, start, query);
	if (query < fragment)
	{
		parts->has_query = true;
		parts->query = slice_of(text, query + 1, fragment);
	}
	if (fragment < len)
	{
		parts->has_fragment = true;
		parts->fragment = slice_of(text, fragment + 1, len);
	}
}

/*
 * Split an absolute URL with an authority; see the header.
 */
bool
url_split(const char *url, size_t len, UrlParts *parts)
{
	size_t		scheme;
	size_t		start;
	size_t		end;

	memset(parts, 0, sizeof(*parts));

	scheme = scheme_length(url, len);
	if (scheme == 0 || len - scheme < 4 || memcmp(url + scheme, "://", 3) != 0)
		return false;
	if (has_control(url, len))
		return false;

	start = scheme + 3;
	for (end = start; end < len; end++)
	{
		if (url[end] == '/' || url[end] == '?' || url[end] == '#')
			break;
	}
	if (!authority_split(url, start, end, parts))
	{
		memset(parts, 0, sizeof(*parts));
		return false;
	}
	parts->scheme = slice_of(url, 0, scheme);
	tail_split(url, end, len, parts);
	return true;
}

/*
 * Split an absolute URL, or anything else into path, query and fragment.
 *
 * Meant for the URL a request asked for, which servers hand on with and
 * without the host: whatever stands before the question mark, its parameters
 * are read.  False only for control characters.
 */
bool
url_reference_split(const char *url, size_t len, UrlParts *parts)
{
	if (url_split(url, len, parts))
		return true;
	if (len == 0)
		return true;
	if (has_control(url, len))
		return false;
	tail_split(url, 0, len, parts);
	return true;
}

/* Is this slice the given lower-case text, but for ASCII case? */
static bool
slice_is(Slice slice, const char *text)
{
	size_t		len = strlen(text);

	if (slice.len != len)
		return false;
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) slice.data[i];

		if (c >= 'A' && c <= 'Z')
			c |= 0x20;
		if (c != (unsigned char) text[i])
			return false;
	}
	return true;
}

/*
 * May a redirect go there; see the header.
 */
bool
url_is_redirectable(const char *url, size_t len)
{
	UrlParts	parts;

	if (!url_split(url, len, &parts))
		return false;
	if (parts.userinfo.data != NULL)
		return false;
	return slice_is(parts.scheme, "https") || slice_is(parts.scheme, "http");
}

/*
 * Step through a query; see the header.
 */
bool
url_next_param(Slice query, size_t *position, UrlParam *param)
{
	size_t		start = *position;
	size_t		end;
	size_t		equals;

	while (start < query.len && query.data[start] == '&')
		start++;
	if (start >= query.len)
	{
		*position = query.len;
		return false;
	}

	end = find_byte(query.data, start, query.len, '&');
	equals = find_byte(query.data, start, end, '=');
	param->has_equals = equals < end;
	param->name = slice_of(query.data, start, equals);
	param->value = slice_of(query.data, param->has_equals ? equals + 1 : end, end);
	*position = end;
	return true;
}

/* Decode the byte at the start of a non-empty slice and step over it. */
static inline unsigned char
decode_next(Slice *in)
{
	unsigned char c = (unsigned char) in->data[0];
	size_t		used = 1;

	if (c == '+')
		c = ' ';
	else if (c == '%' && in->len >= 3)
	{
		int			high = hex_value((unsigned char) in->data[1]);
		int			low = hex_value((unsigned char) in->data[2]);

		if (high >= 0 && low >= 0)
		{
			c = (unsigned char) (high << 4 | low);
			used = 3;
		}
	}
	in->data += used;
	in->len -= used;
	return c;
}

/*
 * Decode a parameter's name or value; see the header.
 */
size_t
url_decode(Slice in, char *out)
{
	size_t		len = 0;

	while (in.len > 0)
		out[len++] = (char) decode_next(&in);
	return len;
}

/*
 * Length of the UTF-8 character at the start of the text, 0 where there is
 * no valid one (the same characters that PostgreSQL takes).
 */
size_t
url_utf8_length(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *) text;
	unsigned char low = 0x80;
	unsigned char high = 0xbf;
	size_t		need;

	if (len == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		need = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
	{
		need = 3;
		if (p[0] == 0xe0)
			low = 0xa0;			/* overlong */
		else if (p[0] == 0xed)
			high = 0x9f;		/* surrogates */
	}
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
	{
		need = 4;
		if (p[0] == 0xf0)
			low = 0x90;			/* overlong */
		else if (p[0] == 0xf4)
			high = 0x8f;		/* beyond U+10FFFF */
	}
	else
		return 0;

	if (len < need || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < need; i++)
	{
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	}
	return need;
}

/*
 * Make text presentable in place: bytes that are no valid UTF-8 and control
 * characters are dropped, blanks at both ends trimmed; returns the length.
 */
size_t
url_text_clean(char *text, size_t len)
{
	size_t		kept = 0;
	size_t		i = 0;

	while (i < len)
	{
		size_t		step = url_utf8_length(text + i, len - i);

		if (step == 0)
		{
			i++;
			continue;
		}
		if (step == 1)
		{
			unsigned char c = (unsigned char) text[i];

			if (c == ' ' && kept == 0)
			{
				i++;
				continue;
			}
			/* tabs and line breaks separate words; the others mean nothing */
			if (c == '\t' || c == '\n' || c == '\r')
			{
				if (kept > 0)
					text[kept++] = ' ';
			}
			else if (c >= 0x20 && c != 0x7f)
				text[kept++] = (char) c;
			i++;
			continue;
		}
		memmove(text + kept, text + i, step);
		kept += step;
		i += step;
	}
	while (kept > 0 && text[kept - 1] == ' ')
		kept--;
	return kept;
}

/*
 * Decode a parameter's value for people and for the database; see the header.
 */
size_t
url_decode_text(Slice in, char *out)
{
	return url_text_clean(out, url_decode(in, out));
}

/*
 * Compare an undecoded name with a decoded one; see the header.
 */
bool
url_name_equals(Slice name, const char *decoded, size_t decoded_len)
{
	size_t		i = 0;

	/* a byte of the decoded name takes one to three in the undecoded one */
	if (name.len < decoded_len)
		return false;
	while (name.len > 0)
	{
		if (i >= decoded_len || decode_next(&name) != (unsigned char) decoded[i])
			return false;
		i++;
	}
	return i == decoded_len;
}

/* Are two undecoded names equal after decoding? */
static bool
names_equal(Slice a, Slice b)
{
	while (a.len > 0 && b.len > 0)
	{
		if (decode_next(&a) != decode_next(&b))
			return false;
	}
	return a.len == 0 && b.len == 0;
}

/* Find the first parameter of that decoded name. */
static bool
find_param(Slice query, const char *name, size_t name_len, UrlParam *param)
{
	size_t		position = 0;

	while (url_next_param(query, &position, param))
	{
		if (url_name_equals(param->name, name, name_len))
			return true;
	}
	return false;
}

/*
 * First parameter of that decoded name; see the header.
 */
bool
url_find_param(Slice query, const char *name, UrlParam *param)
{
	return find_param(query, name, strlen(name), param);
}

/*
 * Copy a host in lower case without a trailing dot; see the header.
 */
size_t
url_host_normal(Slice host, char *out)
{
	size_t		len = host.len;

	if (len > 0 && host.data[len - 1] == '.')
		len--;
	for (size_t i = 0; i < len; i++)
	{
		char		c = host.data[i];

		out[i] = (c >= 'A' && c <= 'Z') ? (char) (c | 0x20) : c;
	}
	return len;
}

/* Hash of an undecoded name, the same for all its encodings (FNV-1a). */
static uint32_t
name_hash(Slice name)
{
	uint32_t	hash = 2166136261u;

	while (name.len > 0)
		hash = (hash ^ decode_next(&name)) * 16777619u;
	return hash;
}

/* Index the parameter names of a query. */
static void
index_build(NameIndex *index, Slice query)
{
	size_t		position = 0;
	UrlParam	param;

	index->count = 0;
	index->rest = query;
	if (query.len == 0)
		return;
	while (index->count < INDEXED_NAMES && url_next_param(query, &position, &param))
	{
		index->hash[index->count] = name_hash(param.name);
		index->name[index->count] = param.name;
		index->count++;
	}
	index->rest = slice_of(query.data, position, query.len);
}

/* Is a parameter of that undecoded name in the index? */
static bool
index_has(const NameIndex *index, Slice name)
{
	uint32_t	hash;
	size_t		position = 0;
	UrlParam	param;

	if (index->count == 0)
		return false;
	hash = name_hash(name);
	for (int i = 0; i < index->count; i++)
	{
		if (index->hash[i] == hash && names_equal(index->name[i], name))
			return true;
	}
	while (url_next_param(index->rest, &position, &param))
	{
		if (names_equal(param.name, name))
			return true;
	}
	return false;
}

/* Is that undecoded name in a list of decoded names joined by ampersands? */
static bool
name_in_list(Slice name, Slice list)
{
	size_t		start = 0;

	while (start < list.len)
	{
		size_t		end = find_byte(list.data, start, list.len, '&');

		if (end > start && url_name_equals(name, list.data + start, end - start))
			return true;
		start = end + 1;
	}
	return false;
}

/* Write a byte percent-encoded. */
static inline void
put_encoded_byte(Writer *writer, unsigned char c)
{
	static const char digits[] = "0123456789ABCDEF";

	writer->out[writer->len++] = '%';
	writer->out[writer->len++] = digits[c >> 4];
	writer->out[writer->len++] = digits[c & 0x0f];
}

/* Write text of a URL as it is, but for bytes that may not stand there. */
static void
put_raw(Writer *writer, Slice text)
{
	for (size_t i = 0; i < text.len; i++)
	{
		unsigned char c = (unsigned char) text.data[i];

		if (must_encode(c))
			put_encoded_byte(writer, c);
		else
			writer->out[writer->len++] = (char) c;
	}
}

/* Write plain text, encoding all but unreserved bytes. */
static void
put_encoded(Writer *writer, Slice text)
{
	for (size_t i = 0; i < text.len; i++)
	{
		unsigned char c = (unsigned char) text.data[i];

		if (is_unreserved(c))
			writer->out[writer->len++] = (char) c;
		else
			put_encoded_byte(writer, c);
	}
}

/* Write a byte that is known to be allowed. */
static inline void
put_byte(Writer *writer, char c)
{
	writer->out[writer->len++] = c;
}

/* Write what must stand before one more parameter: ?, & or nothing. */
static void
put_separator(Writer *writer)
{
	if (writer->query_start == 0)
	{
		put_byte(writer, '?');
		writer->query_start = writer->len;
	}
	else if (writer->len > writer->query_start && writer->out[writer->len - 1] != '&')
		put_byte(writer, '&');
}

/* Write one more parameter, given as it stands in a query. */
static void
put_raw_param(Writer *writer, const UrlParam *param)
{
	put_separator(writer);
	put_raw(writer, param->name);
	if (param->has_equals)
	{
		put_byte(writer, '=');
		put_raw(writer, param->value);
	}
}

/* Write one more parameter, given decoded. */
static void
put_plain_param(Writer *writer, Slice name, Slice value)
{
	put_separator(writer);
	put_encoded(writer, name);
	put_byte(writer, '=');
	put_encoded(writer, value);
}

/*
 * Write base's query piece by piece, empty pieces too, so that it comes out
 * byte for byte, without the parameters named as the token (empty: none).
 */
static void
put_base_query(Writer *writer, Slice query, Slice without)
{
	size_t		start = 0;
	bool		first = true;

	put_byte(writer, '?');
	writer->query_start = writer->len;

	for (;;)
	{
		size_t		end = find_byte(query.data, start, query.len, '&');
		Slice		piece = slice_of(query.data, start, end);
		Slice		name = piece;

		if (piece.len > 0)
			name.len = find_byte(piece.data, 0, piece.len, '=');
		if (without.len == 0 || piece.len == 0 ||
			!url_name_equals(name, without.data, without.len))
		{
			if (!first)
				put_byte(writer, '&');
			put_raw(writer, piece);
			first = false;
		}
		if (end >= query.len)
			break;
		start = end + 1;
	}
}

/*
 * Upper bound of what url_redirect() writes.
 */
size_t
url_redirect_bound(size_t base_len, size_t request_len,
				   const UrlAddition *additions, int nadditions,
				   size_t token_name_len, size_t token_len)
{
	/* each byte becomes three at most; 16: the separators of the parts */
	size_t		bound = 3 * (base_len + request_len + token_name_len + token_len) + 16;

	for (int i = 0; i < nadditions; i++)
		bound += 3 * (additions[i].name.len + additions[i].value.len) + 2;
	return bound;
}

/*
 * Build the URL to send the visitor to; see the header.
 *
 * Time is linear in the lengths as long as base has no more than
 * INDEXED_NAMES parameters; each further one is compared with each of the
 * request's.  Each addition is looked for in both queries.
 */
size_t
url_redirect(char *out,
			 const UrlParts *base, const UrlParts *request,
			 const UrlAddition *additions, int nadditions,
			 Slice drop, Slice token_name, Slice token)
{
	Writer		writer = {out, 0, 0};
	NameIndex	index;
	UrlParam	param;
	Slice		replaced = {NULL, 0};
	bool		has_token = token.len > 0 && token_name.len > 0;

	if (base->scheme.len > 0)
	{
		put_raw(&writer, base->scheme);
		put_byte(&writer, ':');
		put_byte(&writer, '/');
		put_byte(&writer, '/');
		if (base->userinfo.data != NULL)
		{
			put_raw(&writer, base->userinfo);
			put_byte(&writer, '@');
		}
		put_raw(&writer, base->host);
		if (base->port.data != NULL)
		{
			put_byte(&writer, ':');
			put_raw(&writer, base->port);
		}
	}
	put_raw(&writer, base->path);

	if (has_token)
		replaced = token_name;
	if (base->has_query)
		put_base_query(&writer, base->query, replaced);

	if (request != NULL && request->query.len > 0)
	{
		size_t		position = 0;

		index_build(&index, base->query);
		while (url_next_param(request->query, &position, &param))
		{
			if (token_name.len > 0 &&
				url_name_equals(param.name, token_name.data, token_name.len))
				continue;
			if (name_in_list(param.name, drop) || index_has(&index, param.name))
				continue;
			put_raw_param(&writer, &param);
		}
	}

	for (int i = 0; i < nadditions; i++)
	{
		Slice		name = additions[i].name;
		bool		is_token = token_name.len == name.len && name.len > 0 &&
			memcmp(token_name.data, name.data, name.len) == 0;

		if (name.len == 0 || (is_token && has_token))
			continue;
		if (find_param(base->query, name.data, name.len, &param))
			continue;
		/* a parameter of the request counts where it was passed on */
		if (request != NULL && !is_token &&
			find_param(request->query, name.data, name.len, &param) &&
			!name_in_list(param.name, drop))
			continue;
		put_plain_param(&writer, name, additions[i].value);
	}

	if (has_token)
		put_plain_param(&writer, token_name, token);

	if (base->has_fragment)
	{
		put_byte(&writer, '#');
		put_raw(&writer, base->fragment);
	}
	else if (request != NULL && request->has_fragment)
	{
		put_byte(&writer, '#');
		put_raw(&writer, request->fragment);
	}
	return writer.len;
}
