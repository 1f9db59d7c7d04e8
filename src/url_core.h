/*-------------------------------------------------------------------------
 *
 * url_core.h
 *	  Taking URLs apart, reading their parameters, and building redirects.
 *
 * Pure: no PostgreSQL.  Nothing is decoded in place and no input needs to be
 * NUL-terminated.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_URL_CORE_H
#define BIOLINK_URL_CORE_H

#include <stdbool.h>
#include <stddef.h>

/* A piece of somebody else's text; len 0 means absent or empty. */
typedef struct Slice
{
	const char *data;
	size_t		len;
} Slice;

typedef struct UrlParts
{
	Slice		scheme;			/* as written, without the colon */
	Slice		userinfo;
	Slice		host;			/* as written; brackets of an IPv6 kept */
	Slice		port;
	Slice		path;
	Slice		query;			/* without the question mark */
	Slice		fragment;		/* without the number sign */
	bool		has_query;
	bool		has_fragment;
} UrlParts;

/* A parameter of a query string, undecoded. */
typedef struct UrlParam
{
	Slice		name;
	Slice		value;
	bool		has_equals;
} UrlParam;

/*
 * Split an absolute URL with an authority (scheme://host...).  False when it
 * is none, or holds a control character.
 */
extern bool url_split(const char *url, size_t len, UrlParts *parts);

/* As url_split, but also takes a reference without scheme and host (path?query#fragment). */
extern bool url_reference_split(const char *url, size_t len, UrlParts *parts);

/* May a redirect go there: http or https, a host, no control character, no userinfo. */
extern bool url_is_redirectable(const char *url, size_t len);

/* Step through a query; *position starts at 0; false at the end.  Empty pieces (&&) are skipped. */
extern bool url_next_param(Slice query, size_t *position, UrlParam *param);

/* Decode a parameter's name or value (plus sign and %XX) into out (room for in.len); returns the length. */
extern size_t url_decode(Slice in, char *out);

/*
 * Decode as url_decode() and make the result presentable: bytes that are no
 * valid UTF-8 and control characters dropped, blanks at both ends trimmed
 * (a tab or line break counts as a blank).  Room for in.len.
 */
extern size_t url_decode_text(Slice in, char *out);

/* The second half of url_decode_text(), in place. */
extern size_t url_text_clean(char *text, size_t len);

/* Length of the UTF-8 character at the start of text; 0 where there is no valid one. */
extern size_t url_utf8_length(const char *text, size_t len);

/* Equal after decoding. */
extern bool url_name_equals(Slice name, const char *decoded, size_t decoded_len);

/* First parameter of that decoded name; false where there is none. */
extern bool url_find_param(Slice query, const char *name, UrlParam *param);

/* Copy host in lower case without a trailing dot into out (room for host.len); returns the length. */
extern size_t url_host_normal(Slice host, char *out);

/* A parameter to add, given decoded; build encodes it. */
typedef struct UrlAddition
{
	Slice		name;
	Slice		value;
} UrlAddition;

/*
 * Upper bound of what url_redirect() writes.
 */
extern size_t url_redirect_bound(size_t base_len, size_t request_len,
								 const UrlAddition *additions, int nadditions,
								 size_t token_name_len, size_t token_len);

/*
 * Build the URL to send the visitor to:
 *	base's own parameters, then those of the request's query that base lacks
 *	(compared by decoded name; never one named token_name, nor one named in
 *	drop), then the additions that both lack, then token_name=token (which
 *	replaces a parameter of that name in base; none when token.len is 0);
 *	base's fragment, else the request's.
 * drop holds decoded names joined by ampersands; request may be NULL; base
 * comes from url_split().  An addition whose name only a dropped parameter
 * had is added.
 * Bytes that may not stand in a URL (space, control, non-ASCII, " < > \ ^ ` { | })
 * are percent-encoded; what is encoded already stays as it is.
 * Returns the length written to out (not NUL-terminated).
 */
extern size_t url_redirect(char *out,
						   const UrlParts *base, const UrlParts *request,
						   const UrlAddition *additions, int nadditions,
						   Slice drop, Slice token_name, Slice token);

#endif							/* BIOLINK_URL_CORE_H */
