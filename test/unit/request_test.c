/*-------------------------------------------------------------------------
 *
 * request_test.c
 *	  Tests of url_core.c, agent_core.c and channel_core.c without a server.
 *
 * Usage: request_test.  Prints TAP; exits with 1 when a test failed.
 *
 * Whole lists of other projects are read from $BIOLINK_SHARED, by default
 * ../shared; the tests on them are skipped where they are absent.
 *
 *-------------------------------------------------------------------------
 */
#include "agent_core.h"
#include "channel_core.h"
#include "url_core.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH(array)	(sizeof(array) / sizeof((array)[0]))

static int	tests_run = 0;
static int	tests_failed = 0;

/* ok prints one TAP line. */
static void
ok(bool passed, const char *name, ...)
{
	va_list		args;

	tests_run++;
	if (!passed)
		tests_failed++;
	printf("%sok %d - ", passed ? "" : "not ", tests_run);
	va_start(args, name);
	/* a number sign would begin a directive, a line break another line */
	{
		char		line[1000];

		vsnprintf(line, sizeof(line), name, args);
		for (char *p = line; *p != '\0'; p++)
			putchar(*p == '#' ? 'N' : (unsigned char) *p < ' ' ? '.' : *p);
	}
	va_end(args);
	putchar('\n');
}

/* skip prints the TAP line of tests that cannot be run here. */
static void
skip(const char *name, const char *why)
{
	tests_run++;
	printf("ok %d - %s # skip %s\n", tests_run, name, why);
}

/* text makes a slice of a constant. */
static Slice
text(const char *constant)
{
	return (Slice) {constant, constant ? strlen(constant) : 0};
}

/* is_text compares a slice with a constant. */
static bool
is_text(Slice slice, const char *constant)
{
	return slice.len == strlen(constant) && memcmp(slice.data, constant, slice.len) == 0;
}

/* exact copies text into a block of its very size, so that reading past its end is noticed. */
static char *
exact(const char *constant, size_t len)
{
	char	   *copy = malloc(len > 0 ? len : 1);

	memcpy(copy, constant, len);
	return copy;
}

/* ---- URLs ---- */

typedef struct SplitCase
{
	const char *url;
	const char *parts;			/* scheme|userinfo|host|port|path|query|fragment; NULL: no URL */
} SplitCase;

static const SplitCase split_cases[] = {
	{"https://example.com", "https||example.com|||-|-"},
	{"https://example.com/", "https||example.com||/|-|-"},
	{"https://example.com?a=1", "https||example.com|||a=1|-"},
	{"https://example.com/?", "https||example.com||/||-"},
	{"https://example.com/?#", "https||example.com||/||"},
	{"https://example.com#top", "https||example.com|||-|top"},
	{"HTTPS://Example.COM:8443/A/b;c=1?x=/?#y?z#w", "HTTPS||Example.COM|8443|/A/b;c=1|x=/?|y?z#w"},
	{"http://user:pass@example.com:80/p", "http|user:pass|example.com|80|/p|-|-"},
	{"http://shop.example@evil.example/", "http|shop.example|evil.example||/|-|-"},
	{"http://a@b@c/", "http|a@b|c||/|-|-"},
	{"http://[2001:db8::1]:8080/x", "http||[2001:db8::1]|8080|/x|-|-"},
	{"http://[::1]", "http||[::1]|||-|-"},
	{"http://127.0.0.1:0/", "http||127.0.0.1|0|/|-|-"},
	{"https://m\xc3\xbcller.example/", "https||m\xc3\xbcller.example||/|-|-"},
	{"https://m%C3%BCller.example/", "https||m%C3%BCller.example||/|-|-"},
	{"android-app://com.google.android.gm/", "android-app||com.google.android.gm||/|-|-"},
	{"https://example.com./", "https||example.com.||/|-|-"},
	{"https://example.com:/x", "https||example.com||/x|-|-"},
	{"https://under_score.example/", "https||under_score.example||/|-|-"},
	{"https://example.com/a b\xe2\x82\xac", "https||example.com||/a b\xe2\x82\xac|-|-"},
	{"https://example.com/#!/route?x=1", "https||example.com||/|-|!/route?x=1"},
	{"", NULL},
	{"/path?x=1", NULL},
	{"example.com/path", NULL},
	{"//example.com/path", NULL},
	{"https:/example.com", NULL},
	{"https:example.com", NULL},
	{"https://", NULL},
	{"https:///path", NULL},
	{"https://?x", NULL},
	{"https://./", NULL},
	{"https://user@/", NULL},
	{"javascript:alert(1)", NULL},
	{"mailto:someone@example.com", NULL},
	{"1https://example.com/", NULL},
	{" https://example.com/", NULL},
	{"ht tp://example.com/", NULL},
	{"https://exa mple.com/", NULL},
	{"https://example.com\\@evil.example/", NULL},
	{"https://example.com\\.evil.example/", NULL},
	{"https://ex<a>mple.com/", NULL},
	{"https://ex%61mple.com/", NULL},
	{"https://ex%2fmple.com/", NULL},
	{"https://ex%4", NULL},
	{"https://ex%c3", "https||ex%c3|||-|-"},
	{"https://example.com:65535/", "https||example.com|65535|/|-|-"},
	{"https://example.com:65536/", NULL},
	{"https://example.com:99999999999999999999/", NULL},
	{"https://example.com:8a/", NULL},
	{"https://example.com:80:80/", NULL},
	{"https://[::1/", NULL},
	{"https://[::1]x/", NULL},
	{"https://[1.2.3.4]/", NULL},
	{"https://[fe80::1%25eth0]/", NULL},
	{"https://[]/", NULL},
	{"https://example.com/\r\nSet-Cookie: a=b", NULL},
	{"https://example.com/\tx", NULL},
	{"https://example.com/\x7f", NULL},
	{"https://exam\nple.com/", NULL},
};

/* test_split takes URLs apart. */
static void
test_split(void)
{
	UrlParts	parts;

	for (size_t i = 0; i < LENGTH(split_cases); i++)
	{
		const SplitCase *c = &split_cases[i];
		size_t		len = strlen(c->url);
		char	   *url = exact(c->url, len);
		char		found[500] = "";
		bool		taken = url_split(url, len, &parts);

		if (taken)
			snprintf(found, sizeof(found), "%.*s|%.*s|%.*s|%.*s|%.*s|%.*s|%.*s",
					 (int) parts.scheme.len, parts.scheme.data,
					 (int) parts.userinfo.len, parts.userinfo.len ? parts.userinfo.data : "",
					 (int) parts.host.len, parts.host.data,
					 (int) parts.port.len, parts.port.len ? parts.port.data : "",
					 (int) parts.path.len, parts.path.data,
					 parts.has_query ? (int) parts.query.len : 1, parts.has_query ? parts.query.data : "-",
					 parts.has_fragment ? (int) parts.fragment.len : 1, parts.has_fragment ? parts.fragment.data : "-");
		ok(taken == (c->parts != NULL) && strcmp(found, c->parts ? c->parts : "") == 0,
		   "split %s: %s", c->url, taken ? found : "no URL");
		free(url);
	}

	ok(!url_split("https://example.com/\0x", 22, &parts), "split refuses a zero byte");
	ok(!url_split(NULL, 0, &parts), "split refuses nothing");
	ok(url_reference_split("/ada?x=1&y#z", 12, &parts) && parts.host.len == 0 &&
	   is_text(parts.path, "/ada") && is_text(parts.query, "x=1&y") && is_text(parts.fragment, "z"),
	   "a reference has path, query, fragment");
	ok(url_reference_split("?x=1", 4, &parts) && parts.path.len == 0 && is_text(parts.query, "x=1"),
	   "a reference may be a query alone");
	ok(url_reference_split("https://example.com/p?x", 23, &parts) && is_text(parts.host, "example.com") &&
	   is_text(parts.query, "x"),
	   "a reference may be absolute");
	ok(url_reference_split("https://bad host/p?x=1", 22, &parts) && parts.host.len == 0 && is_text(parts.query, "x=1"),
	   "parameters are read even where the host is none");
	ok(url_reference_split("", 0, &parts) && !parts.has_query, "the empty reference is one");
	ok(!url_reference_split("/a\r\nb?x", 7, &parts), "a reference holds no control character");
}

/* test_redirectable tries what a redirect must not go to. */
static void
test_redirectable(void)
{
	static const char *const yes[] = {
		"https://example.com", "http://example.com:8080/a?b#c", "HTTPS://EXAMPLE.COM/",
		"https://[2001:db8::1]/", "https://example.com/@user", "https://example.com/?next=http://user@other/",
		"https://xn--mller-kva.example/"
	};
	static const char *const no[] = {
		"", "example.com", "//example.com", "/path", "ftp://example.com/", "javascript://example.com/%0aalert(1)",
		"data:text/html,x", "https://user@example.com/", "https://@example.com/", "https://a:b@example.com/",
		"https://example.com\\@evil.example", "https://example.com/\r\nX: y", "https://example.com/\n", "https:///", "file:///etc/passwd",
		"intent://scan/;scheme=x;end", "\thttps://example.com/"
	};

	for (size_t i = 0; i < LENGTH(yes); i++)
		ok(url_is_redirectable(yes[i], strlen(yes[i])), "redirectable: %s", yes[i]);
	for (size_t i = 0; i < LENGTH(no); i++)
		ok(!url_is_redirectable(no[i], strlen(no[i])), "not redirectable: %s", no[i]);
}

/* test_params steps through queries and decodes. */
static void
test_params(void)
{
	static const struct
	{
		const char *raw;
		const char *decoded;
	}			decode_cases[] = {
		{"", ""}, {"abc", "abc"}, {"a+b", "a b"}, {"a%20b", "a b"}, {"%41%4a", "AJ"}, {"100%", "100%"},
		{"%", "%"}, {"%4", "%4"}, {"%zz", "%zz"}, {"%%41", "%A"}, {"%2541", "%41"}, {"%c3%A9", "\xc3\xa9"}
	};
	static const struct
	{
		const char *raw;
		const char *clean;
	}			clean_cases[] = {
		{"++Summer%20Sale+", "Summer Sale"}, {"%09x%0d%0ay%0A", "x  y"}, {"%00a%00", "a"}, {"%01%1fa%7f", "a"},
		{"%ff%feok", "ok"}, {"%c3", ""}, {"a%c3%28b", "a(b"}, {"%e2%82", ""}, {"%e2%82%ac", "\xe2\x82\xac"},
		{"%ed%a0%80x", "x"}, {"%c0%afx", "x"}, {"%f4%90%80%80x", "x"}, {"%f0%9f%8e%89", "\xf0\x9f\x8e\x89"}, {"+++", ""}
	};
	Slice		query = text("&&a=1&b&=v&c=x=y&a=2&&");
	size_t		position = 0;
	UrlParam	param;
	char		out[200];
	char		found[200] = "";

	while (url_next_param(query, &position, &param))
		sprintf(found + strlen(found), "[%.*s%s%.*s]", (int) param.name.len, param.name.data,
				param.has_equals ? "=" : "", (int) param.value.len, param.value.data);
	ok(strcmp(found, "[a=1][b][=v][c=x=y][a=2]") == 0, "parameters: %s", found);
	ok(!url_next_param(query, &position, &param), "the end stays the end");

	for (size_t i = 0; i < LENGTH(decode_cases); i++)
	{
		size_t		len = url_decode(text(decode_cases[i].raw), out);

		ok(is_text((Slice) {out, len}, decode_cases[i].decoded), "decode %s", decode_cases[i].raw);
	}
	for (size_t i = 0; i < LENGTH(clean_cases); i++)
	{
		size_t		len = url_decode_text(text(clean_cases[i].raw), out);

		ok(is_text((Slice) {out, len}, clean_cases[i].clean), "decode %s as text", clean_cases[i].raw);
	}

	ok(url_name_equals(text("utm%5Fsource"), "utm_source", 10), "an encoded name is the same name");
	ok(url_name_equals(text("a+b"), "a b", 3) && url_name_equals(text("a%20b"), "a b", 3), "a plus sign is a space");
	ok(!url_name_equals(text("utm_sourc"), "utm_source", 10) && !url_name_equals(text("utm_source2"), "utm_source", 10) &&
	   !url_name_equals(text("UTM_SOURCE"), "utm_source", 10), "other names are other names");
	ok(url_name_equals(text(""), "", 0) && !url_name_equals(text("a"), "", 0), "the empty name is a name");
	ok(url_find_param(text("x=1&b%6c=2&bl=3"), "bl", &param) && is_text(param.value, "2"), "the first of a name is found");
	ok(!url_find_param(text("xbl=1&b=2"), "bl", &param), "what is not there is not found");
	ok(is_text((Slice) {out, url_host_normal(text("WWW.Example.COM."), out)}, "www.example.com"),
	   "a host is lower-cased and loses its last dot");
}

typedef struct RedirectCase
{
	const char *base;
	const char *request;
	const char *additions;		/* name=value pairs joined by &, not decoded */
	const char *drop;
	const char *token_name;
	const char *token;
	const char *expected;
} RedirectCase;

static const RedirectCase redirect_cases[] = {
	{"https://shop.example/p", "/ada", "", "", "", "", "https://shop.example/p"},
	{"https://shop.example/p", "/ada", "", "", "bl", "TOK", "https://shop.example/p?bl=TOK"},
	{"https://shop.example", "/ada?a=1", "", "", "bl", "TOK", "https://shop.example?a=1&bl=TOK"},
	/* base first, then the request's own, then the link's UTM, then the token */
	{"https://shop.example/p?b=1#frag", "/ada?c=2", "utm_source=bio", "", "bl", "TOK", "https://shop.example/p?b=1&c=2&utm_source=bio&bl=TOK#frag"},
	/* base wins over the request, the request over additions */
	{"https://s.example/?a=1", "?a=2&b=3", "a=4&b=5&c=6", "", "", "", "https://s.example/?a=1&b=3&c=6"},
	{"https://s.example/?a", "?a=2", "", "", "", "", "https://s.example/?a"},
	/* compared by decoded name, bytes kept as they are */
	{"https://s.example/?a%62=1", "?%61b=2&x%79=%2F&z=%2f", "xy=9", "", "", "", "https://s.example/?a%62=1&x%79=%2F&z=%2f"},
	{"https://s.example/?a+b=1", "?a%20b=2&A+b=3", "", "", "", "", "https://s.example/?a+b=1&A+b=3"},
	/* repeated names of one source all stay */
	{"https://s.example/?t=1&t=2", "?u=1&u=2&u=1&t=3", "", "", "", "", "https://s.example/?t=1&t=2&u=1&u=2&u=1"},
	/* empty pieces, bare names, empty names, several equals signs */
	{"https://s.example/?a=1&&b", "?&&c&=&=x&d==&", "", "", "", "", "https://s.example/?a=1&&b&c&=&=x&d=="},
	{"https://s.example/?", "/", "", "", "", "", "https://s.example/?"},
	{"https://s.example/?", "/?x", "", "", "", "", "https://s.example/?x"},
	{"https://s.example/?a=1&", "/?x", "", "", "", "", "https://s.example/?a=1&x"},
	{"https://s.example/?&", "/?x", "", "", "", "", "https://s.example/?&x"},
	/* the token's name: never from the request, replaced in base */
	{"https://s.example/?bl=own&a=1", "?bl=theirs", "", "", "bl", "TOK", "https://s.example/?a=1&bl=TOK"},
	{"https://s.example/?a=1&b%6C=own", "?%62l=theirs", "", "", "bl", "TOK", "https://s.example/?a=1&bl=TOK"},
	{"https://s.example/?bl=own&bl", "/", "", "", "bl", "TOK", "https://s.example/?bl=TOK"},
	{"https://s.example/?bl=own", "?bl=theirs&x=1", "", "", "bl", "", "https://s.example/?bl=own&x=1"},
	{"https://s.example/", "?bl=theirs", "", "", "bl", "", "https://s.example/"},
	{"https://s.example/", "?bl=theirs", "", "", "", "", "https://s.example/?bl=theirs"},
	{"https://s.example/", "?bl=theirs", "bl=ours", "", "bl", "TOK", "https://s.example/?bl=TOK"},
	{"https://s.example/", "/", "", "", "a&b", "x y", "https://s.example/?a%26b=x%20y"},
	/* names to drop */
	{"https://s.example/?k=0", "?k=1&secret=2&s%65cret&other=3&x", "", "secret&other", "", "", "https://s.example/?k=0&x"},
	{"https://s.example/", "?bl=page&x=1", "", "bl", "sid", "TOK", "https://s.example/?x=1&sid=TOK"},
	{"https://s.example/", "?k=1", "k=2", "k", "", "", "https://s.example/?k=2"},
	{"https://s.example/", "?=1&a=2", "", "&&", "", "", "https://s.example/?=1&a=2"},
	/* fragments */
	{"https://s.example/", "/#theirs", "", "", "bl", "T", "https://s.example/?bl=T#theirs"},
	{"https://s.example/#own", "/#theirs", "", "", "bl", "T", "https://s.example/?bl=T#own"},
	{"https://s.example/#", "/#theirs", "", "", "", "", "https://s.example/#"},
	{"https://s.example/#!/shop?item=1", "?a=1", "", "", "bl", "T", "https://s.example/?a=1&bl=T#!/shop?item=1"},
	/* paths stay as they are */
	{"https://s.example/p;jsessionid=0A1?x=1", "?y=2", "", "", "bl", "T", "https://s.example/p;jsessionid=0A1?x=1&y=2&bl=T"},
	{"https://s.example/a/../b/./%2e%2E//c", "/", "", "", "", "", "https://s.example/a/../b/./%2e%2E//c"},
	{"HTTPS://S.Example:0443/", "/", "", "", "", "", "HTTPS://S.Example:0443/"},
	{"https://s.example:/p", "/", "", "", "", "", "https://s.example:/p"},
	{"https://[2001:DB8::1]:8080/", "?a[]=1&a[]=2", "", "", "", "", "https://[2001:DB8::1]:8080/?a[]=1&a[]=2"},
	/* what may not stand in a URL is encoded, what is encoded stays */
	{"https://s.example/a b\"<>\\^`{|}", "?q=x y\"<>\\^`{|}", "", "", "", "", "https://s.example/a%20b%22%3C%3E%5C%5E%60%7B%7C%7D?q=x%20y%22%3C%3E%5C%5E%60%7B%7C%7D"},
	{"https://s.example/\xc3\xa9?\xc3\xa9#\xc3\xa9", "?\xff=1", "", "", "", "", "https://s.example/%C3%A9?%C3%A9&%FF=1#%C3%A9"},
	{"https://m\xc3\xbcller.example/", "/", "", "", "", "", "https://m%C3%BCller.example/"},
	{"https://s.example/?d=100%&e=%zz", "?f=%0d%0aX:+y", "", "", "", "", "https://s.example/?d=100%&e=%zz&f=%0d%0aX:+y"},
	{"https://s.example/?q='()*!$,;:@/?~", "?r='()*!$,;:@/?~", "", "", "", "", "https://s.example/?q='()*!$,;:@/?~&r='()*!$,;:@/?~"},
	{"https://s.example/", "/", "utm_campaign=Summer Sale & more/\xc3\xa9%", "", "", "", "https://s.example/?utm_campaign=Summer%20Sale%20"},
	/* an absolute request URL */
	{"https://s.example/", "https://bio.example/ada?fbclid=X&utm_source=ig", "utm_source=bio&utm_medium=social", "", "bl", "T",
	"https://s.example/?fbclid=X&utm_source=ig&utm_medium=social&bl=T"},
};

/* redirect runs url_redirect within exactly the bound it promises. */
static char *
redirect(const RedirectCase *c, size_t *len)
{
	UrlParts	base;
	UrlParts	request;
	UrlAddition additions[10];
	int			nadditions = 0;
	size_t		position = 0;
	UrlParam	param;
	size_t		bound;
	char	   *out;

	if (!url_split(c->base, strlen(c->base), &base) ||
		!url_reference_split(c->request, strlen(c->request), &request))
		return NULL;
	while (url_next_param(text(c->additions), &position, &param))
	{
		additions[nadditions].name = param.name;
		additions[nadditions++].value = param.value;
	}
	bound = url_redirect_bound(strlen(c->base), strlen(c->request), additions, nadditions,
							   strlen(c->token_name), strlen(c->token));
	out = malloc(bound);
	*len = url_redirect(out, &base, &request, additions, nadditions,
						text(c->drop), text(c->token_name), text(c->token));
	return out;
}

/* test_redirect builds redirects. */
static void
test_redirect(void)
{
	for (size_t i = 0; i < LENGTH(redirect_cases); i++)
	{
		const RedirectCase *c = &redirect_cases[i];
		size_t		len = 0;
		char	   *out = redirect(c, &len);

		/* the additions' table is split at &, so the one with "&" ends there */
		if (out != NULL && strstr(c->additions, "Summer") != NULL)
			ok(strncmp(out, c->expected, strlen(c->expected)) == 0, "an addition is encoded: %.*s", (int) len, out);
		else
			ok(out != NULL && is_text((Slice) {out, len}, c->expected), "redirect %s + %s: %.*s",
			   c->base, c->request, (int) len, out ? out : "");
		free(out);
	}

	/* many parameters: more than are indexed, on both sides */
	{
		char		base[6000] = "https://s.example/?";
		char		request[6000] = "?";
		char		expected[12000];
		char		pair[40];
		RedirectCase c = {base, request, "", "", "bl", "T", expected};
		size_t		len = 0;
		char	   *out;

		for (int i = 0; i < 150; i++)
		{
			snprintf(pair, sizeof(pair), "%sn%d=%d", i ? "&" : "", i, i);
			strcat(base, pair);
		}
		strcpy(expected, base);
		for (int i = 100; i < 250; i++)
		{
			snprintf(pair, sizeof(pair), "%sn%d=r", i > 100 ? "&" : "", i);
			strcat(request, pair);
			if (i >= 150)
			{
				snprintf(pair, sizeof(pair), "&n%d=r", i);
				strcat(expected, pair);
			}
		}
		strcat(expected, "&bl=T");
		out = redirect(&c, &len);
		ok(out != NULL && is_text((Slice) {out, len}, expected), "names are compared beyond those that are indexed");
		free(out);
	}

	/* without a request */
	{
		UrlParts	base;
		char		out[200];
		size_t		len;

		url_split("https://s.example/?a=1", 22, &base);
		len = url_redirect(out, &base, NULL, NULL, 0, text(""), text("bl"), text("T"));
		ok(is_text((Slice) {out, len}, "https://s.example/?a=1&bl=T"), "a redirect without a request");
	}
}

/* ---- agents ---- */

typedef struct AgentCase
{
	const char *agent;
	const char *device;
	const char *os;
	const char *browser;
	const char *app;
} AgentCase;

#define IPHONE	"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
#define IPAD	"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
#define PIXEL	"Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
#define WEBVIEW "Mozilla/5.0 (Linux; Android 13; SM-A536B Build/TP1A.220624.014; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/124.0.6367.82 Mobile Safari/537.36 "
#define WINDOWS "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
#define MAC		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "

/* People. */
static const AgentCase people[] = {
	{WINDOWS "Chrome/125.0.0.0 Safari/537.36", "desktop", "windows", "chrome", NULL},
	{WINDOWS "Chrome/124.0.0.0 Safari/537.36 Edg/124.0.0.0", "desktop", "windows", "edge", NULL},
	{WINDOWS "Chrome/52.0.2743.116 Safari/537.36 Edge/15.15063", "desktop", "windows", "edge", NULL},
	{WINDOWS "Chrome/123.0.0.0 Safari/537.36 OPR/109.0.0.0", "desktop", "windows", "opera", NULL},
	{WINDOWS "Chrome/122.0.0.0 Safari/537.36 Vivaldi/6.6.3271.45", "desktop", "windows", "vivaldi", NULL},
	{WINDOWS "Chrome/122.0.0.0 YaBrowser/24.4.0.0 Safari/537.36", "desktop", "windows", "yandex", NULL},
	{"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:126.0) Gecko/20100101 Firefox/126.0", "desktop", "windows", "firefox", NULL},
	{"Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko", "desktop", "windows", "ie", NULL},
	{"Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; WOW64; Trident/4.0; SLCC2; .NET CLR 2.0.50727; Media Center PC 6.0; Tablet PC 2.0)", "desktop", "windows", "ie", NULL},
	{"Mozilla/4.0 (compatible; MSIE 6.0; Windows NT 5.1; SV1; http://bsalsa.com; EmbeddedWB 14.52)", "desktop", "windows", "ie", NULL},
	{"Opera/9.80 (Windows NT 6.1; U; en) Presto/2.10.229 Version/11.61", "desktop", "windows", "opera", NULL},
	{MAC "Version/17.4.1 Safari/605.1.15", "desktop", "macos", "safari", NULL},
	{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36", "desktop", "macos", "chrome", NULL},
	{"Mozilla/5.0 (Macintosh; Intel Mac OS X 14.4; rv:125.0) Gecko/20100101 Firefox/125.0", "desktop", "macos", "firefox", NULL},
	{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36", "desktop", "linux", "chrome", NULL},
	{"Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0", "desktop", "linux", "firefox", NULL},
	{"Mozilla/5.0 (X11; FreeBSD amd64; rv:109.0) Gecko/20100101 Firefox/115.0", "desktop", "bsd", "firefox", NULL},
	{"Mozilla/5.0 (compatible; Konqueror/4.5; Linux) KHTML/4.5.4 (like Gecko)", "desktop", "linux", "other", NULL},
	{"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36", "desktop", "chromeos", "chrome", NULL},
	{"Lynx/2.8.9rel.1 libwww-FM/2.14 SSL-MM/1.4.1 OpenSSL/1.1.1d", "other", "other", "other", NULL},
	{IPHONE "Version/17.5 Mobile/15E148 Safari/604.1", "phone", "ios", "safari", NULL},
	{IPHONE "CriOS/125.0.6422.80 Mobile/15E148 Safari/604.1", "phone", "ios", "chrome", NULL},
	{IPHONE "FxiOS/126.0 Mobile/15E148 Safari/605.1.15", "phone", "ios", "firefox", NULL},
	{IPHONE "Version/17.0 EdgiOS/125.0.2535.60 Mobile/15E148 Safari/604.1", "phone", "ios", "edge", NULL},
	{IPHONE "Version/17.5 Mobile/15E148 DuckDuckGo/7 Safari/605.1.15", "phone", "ios", "duckduckgo", NULL},
	{IPHONE "Version/17.4.1 Mobile/15E148 Safari/604.1 (Ecosia ios@9.2.3.1367)", "phone", "ios", "safari", NULL},
	{IPHONE "Mobile/15E148", "phone", "ios", "safari", NULL},
	{IPAD "Version/16.6 Mobile/15E148 Safari/604.1", "tablet", "ios", "safari", NULL},
	{PIXEL "Chrome/125.0.0.0 Mobile Safari/537.36", "phone", "android", "chrome", NULL},
	{"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36", "phone", "android", "chrome", NULL},
	{"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36", "tablet", "android", "chrome", NULL},
	{"Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0.0.0 Safari/537.36", "tablet", "android", "samsung", NULL},
	{"Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-S918B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/24.0 Chrome/117.0.0.0 Mobile Safari/537.36", "phone", "android", "samsung", NULL},
	{"Mozilla/5.0 (Android 14; Mobile; rv:126.0) Gecko/126.0 Firefox/126.0", "phone", "android", "firefox", NULL},
	{"Mozilla/5.0 (Android 13; Tablet; rv:126.0) Gecko/126.0 Firefox/126.0", "tablet", "android", "firefox", NULL},
	{"Mozilla/5.0 (Linux; Android 11; motorola edge 20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0.0.0 Mobile Safari/537.36", "phone", "android", "chrome", NULL},
	{"Mozilla/5.0 (Linux; Android 10; HD1913) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Mobile Safari/537.36 EdgA/124.0.0.0", "phone", "android", "edge", NULL},
	{"Mozilla/5.0 (Linux; Android 12; M2101K6G) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/112.0.0.0 Mobile Safari/537.36 OPR/76.2.4027.73374", "phone", "android", "opera", NULL},
	{"Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16", "phone", "android", "opera", NULL},
	{"Opera/9.80 (J2ME/MIDP; Opera Mini/4.1.13572/27.1350; U; tr) Presto/2.8.119 Version/11.10", "phone", "other", "opera", NULL},
	{"Mozilla/5.0 (Linux; U; Android 10; en-US; RMX1911) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/78.0.3904.108 UCBrowser/13.4.0.1306 Mobile Safari/537.36", "phone", "android", "uc", NULL},
	{"Mozilla/5.0 (Linux; U; Android 12; ru-ru; Redmi Note 9) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/100.0.4896.127 Mobile Safari/537.36 XiaoMi/MiuiBrowser/13.22.1-gn", "phone", "android", "miui", NULL},
	{"Mozilla/5.0 (Linux; Android 10; HarmonyOS; NOH-AN00; HMSCore 6.3.0.327) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/92.0.4515.105 HuaweiBrowser/12.0.4.303 Mobile Safari/537.36", "phone", "harmonyos", "huawei", NULL},
	{"Mozilla/5.0 (Linux; U; Android 2.3.5; en-us; DROID BIONIC Build/5.5.1_84_DBN-55) AppleWebKit/533.1 (KHTML, like Gecko) Version/4.0 Mobile Safari/533.1", "phone", "android", "android", NULL},
	{"Mozilla/5.0 (Linux; Android 7.1.2; KFTRWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/121.3.1 like Chrome/121.0.6167.188 Safari/537.36", "tablet", "android", "silk", NULL},
	/* a phone whose name ends in "bot", an app whose name ends in "scanner" */
	{"Mozilla/5.0 (Linux; Android 8.0.0; CUBOT_P20) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/70.0.3538.110 Mobile Safari/537.36", "phone", "android", "chrome", NULL},
	{"Mozilla/5.0 (Linux; Android 6.0; CUBOT MAX) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/72.0.3626.121 Mobile Safari/537.36", "phone", "android", "chrome", NULL},
	{WEBVIEW "CamScanner/4.8.5", "phone", "android", "chrome", NULL},
	{WEBVIEW "QRScanner/2.1", "phone", "android", "chrome", NULL},
	{"Mozilla/5.0 (Mobile; Nokia 8110 4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5", "phone", "kaios", "firefox", NULL},
	{"Mozilla/5.0 (BB10; Touch) AppleWebKit/537.10+ (KHTML, like Gecko) Version/10.0.9.2372 Mobile Safari/537.10+", "phone", "blackberry", "blackberry", NULL},
	{"BlackBerry8520/5.0.0.681 Profile/MIDP-2.1 Configuration/CLDC-1.1 VendorID/120", "phone", "blackberry", "other", NULL},
	{"NokiaC3-00/5.0 (08.65) Profile/MIDP-2.1 Configuration/CLDC-1.1 Mozilla/5.0 AppleWebKit/420+ (KHTML, like Gecko) Safari/420+", "phone", "other", "safari", NULL},
	{"SAMSUNG-SGH-A887/A887UCIJ1 SHP/VPP/R5 NetFront/3.5 SMM-MMS/1.2.0 profile/MIDP-2.1 configuration/CLDC-1.1", "phone", "other", "other", NULL},
	{"Mozilla/5.0 (Windows Phone 10.0; Android 6.0.1; Microsoft; Lumia 650) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/52.0.2743.116 Mobile Safari/537.36 Edge/15.15063", "phone", "windows_phone", "edge", NULL},
	{"Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/3.0 Chrome/76.0.3809.146 TV Safari/537.36", "tv", "tizen", "samsung", NULL},
	{"Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/94.0.4606.128 Safari/537.36 WebAppManager", "tv", "webos", "chrome", NULL},
	{"Mozilla/5.0 (Linux; Android 9; AFTS Build/PS7233; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/102.0.5005.125 Mobile Safari/537.36", "tv", "android", "chrome", NULL},
	{"Mozilla/5.0 (PlayStation; PlayStation 5/6.50) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.4 Safari/605.1.15", "console", "playstation", "safari", NULL},
	{"Mozilla/5.0 (Nintendo Switch; WifiWebAuthApplet) AppleWebKit/606.4 (KHTML, like Gecko) NF/6.0.1.16.10 NintendoBrowser/5.1.0.20393", "console", "nintendo", "other", NULL},
	{"Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/48.0.2564.82 Safari/537.36 Edge/20.02", "console", "windows", "edge", NULL},
	{"Mozilla/5.0 (X11; Linux x86_64; Quest 2) AppleWebKit/537.36 (KHTML, like Gecko) OculusBrowser/24.4.0 Chrome/106.0.5249.181 VR Safari/537.36", "wearable", "linux", "other", NULL},

	/* in-app browsers */
	{IPHONE "Mobile/21F90 Instagram 332.0.1.29.87 (iPhone15,3; iOS 17_5_1; en_US; en; scale=3.00; 1290x2796; 603226862)", "phone", "ios", "safari", "instagram"},
	{WEBVIEW "Instagram 331.0.0.37.90 Android (33/13; 450dpi; 1080x2194; samsung; SM-A536B; a53x; s5e8825; de_DE; 598323397)", "phone", "android", "chrome", "instagram"},
	{WEBVIEW "Instagram 10.26.0 Android (22/5.1.1; 480dpi; 1080x1920; Google/google; Pixel; marlin; marlin; en_US)", "phone", "android", "chrome", "instagram"},
	{IPHONE "Mobile/21F79 Instagram 330.0.3.29.91 (iPhone14,3; iOS 17_5; en_IR@calendar=gregorian; en; scale=3.00; 1125x2436; 595323416)", "phone", "ios", "safari", "instagram"},
	{"Instagram 142.0.0.22.109 (iPhone12,5; iOS 14_1; en_US; en-US; scale=3.00; 1242x2688; 214888322)", "phone", "ios", "other", "instagram"},
	{IPHONE "Mobile/21F90 [FBAN/FBIOS;FBAV/466.0.0.36.105;FBBV/600459826;FBDV/iPhone15,2;FBMD/iPhone;FBSN/iOS;FBSV/17.5.1;FBSS/3;FBID/phone;FBLC/en_US;FBOP/5]", "phone", "ios", "safari", "facebook"},
	{WEBVIEW "[FB_IAB/FB4A;FBAV/465.0.0.59.67;]", "phone", "android", "chrome", "facebook"},
	{WEBVIEW "[FB_IAB/Orca-Android;FBAV/453.0.0.28.109;]", "phone", "android", "chrome", "messenger"},
	{IPHONE "Mobile/21F90 [FBAN/MessengerForiOS;FBAV/456.0.0.49.109;FBDV/iPhone13,2;FBMD/iPhone;FBSN/iOS;FBSV/17.5.1]", "phone", "ios", "safari", "messenger"},
	{"[FBAN/FB4A;FBAV/567.1.0.52.74;FBBV/1003893689;FBPN/com.facebook.katana;FBDV/SM-S921B;FBSV/16]", "other", "other", "other", "facebook"},
	{IPHONE "Mobile/21F90 Barcelona 335.0.0.32.95 (iPhone15,4; iOS 17_5_1; en_US; en; scale=3.00; 1179x2556; 607233441)", "phone", "ios", "safari", "threads"},
	{IPHONE "Mobile/21F90 musical_ly_34.9.0 BytedanceWebview/d8a21c6", "phone", "ios", "safari", "tiktok"},
	{WEBVIEW "trill_350003 JsSdk/1.0 NetType/WIFI Channel/googleplay AppName/trill app_version/35.0.3 ByteLocale/en ByteFullLocale/en Region/US", "phone", "android", "chrome", "tiktok"},
	{WEBVIEW "musical_ly_2023405030 AppName/musical_ly ByteLocale/de BytedanceWebview/d8a21c6 TikTok/34.5.3", "phone", "android", "chrome", "tiktok"},
	{IPHONE "Mobile/21F90 Snapchat/12.89.0.43 (like Safari/8618.2.12.10.9, panda)", "phone", "ios", "safari", "snapchat"},
	{IPHONE "Mobile/21F90 [Pinterest/iOS]", "phone", "ios", "safari", "pinterest"},
	{WEBVIEW "[Pinterest/Android]", "phone", "android", "chrome", "pinterest"},
	{IPHONE "Mobile/15E148 Twitter for iPhone/10.42", "phone", "ios", "safari", "twitter"},
	{WEBVIEW "TwitterAndroid", "phone", "android", "chrome", "twitter"},
	{"Mozilla/5.0 (iPad; U; CPU OS 4_3_5 like Mac OS X; en-us) AppleWebKit/533.17.9 (KHTML, like Gecko) Mobile/8L1 Twitter for iPad", "tablet", "ios", "safari", "twitter"},
	{IPHONE "Mobile/15E148 [LinkedInApp]/9.29.7748", "phone", "ios", "safari", "linkedin"},
	{IPHONE "Mobile/15E148 Safari Line/14.9.0", "phone", "ios", "safari", "line"},
	{IPHONE "Mobile/15E148 MicroMessenger/8.0.49(0x18003130) NetType/WIFI Language/zh_CN", "phone", "ios", "safari", "wechat"},
	{IPHONE "Mobile/15E148 Reddit/2024.20.1/iOS 17.5.1/iPhone", "phone", "ios", "safari", "reddit"},
	{PIXEL "Chrome/125.0.0.0 Mobile Safari/537.36 Telegram-Android/10.13.1 (Google Pixel 8; Android 14; SDK 34; HIGH)", "phone", "android", "chrome", "telegram"},
	{IPHONE "GSA/315.0.630091404 Mobile/15E148 Safari/604.1", "phone", "ios", "safari", "google"},
	{WEBVIEW "KAKAOTALK 10.8.0", "phone", "android", "chrome", "kakaotalk"},
	{WEBVIEW "NAVER(inapp; search; 1000; 12.4.2)", "phone", "android", "chrome", "naver"},
	{WEBVIEW "MetaIAB Facebook", "phone", "android", "chrome", "facebook"},
	/* an iPad in an app asks for desktop pages */
	{MAC "Mobile/15E148 [FBAN/FBIOS;FBAV/466.0;FBDV/iPad13,4;FBMD/iPad;FBSN/iPadOS]", "tablet", "ios", "safari", "facebook"},

	/* apps that fetch by themselves */
	{"Dalvik/2.1.0 (Linux; U; Android 9; SM-G965U Build/PPR1.180610.011)", "phone", "android", "other", NULL},
	{"ExampleApp/1 iPhone5,2 iOS/10_1 CFNetwork/808.3 Darwin/16.3.0", "phone", "ios", "other", NULL},
	{"ExampleApp/3.2 CFNetwork/1408.0.4 Darwin/22.5.0", "other", "other", "other", NULL},
	{"Viber/12.8.0.1 CFNetwork/1121.2.2 Darwin/19.3.0", "other", "other", "other", "viber"},
	{"ExampleApp/3.2 okhttp/4.9.3", "other", "other", "other", NULL},
	{"retweet/2.17 (iPhone; iOS 17.1.2; Scale/3.00)", "phone", "ios", "other", NULL},
};

/* Programs, and why. */
static const char *const programs[][2] = {
	{"", "empty_agent"}, {" \t ", "empty_agent"}, {"-", "empty_agent"}, {"null", "empty_agent"}, {"(null)", "empty_agent"},
	{"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "crawler"},
	{PIXEL "Chrome/125.0.6422.60 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "crawler"},
	{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36", "crawler"},
	{"Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)", "crawler"},
	{"Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", "crawler"},
	{"Mozilla/5.0 (compatible; MJ12bot/v1.4.8; http://mj12bot.com/)", "crawler"},
	{"Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)", "crawler"},
	{"Mozilla/5.0 (Linux; Android 5.0) AppleWebKit/537.36 (KHTML, like Gecko) Mobile Safari/537.36 (compatible; Bytespider; spider-feedback@bytedance.com)", "crawler"},
	{"Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", "crawler"},
	{IPHONE "Version/17.4 Mobile/15E148 Safari/604.1 (Applebot/0.1; +http://www.apple.com/go/applebot)", "crawler"},
	{"Mozilla/5.0 (compatible; Yahoo! Slurp; http://help.yahoo.com/help/us/ysearch/slurp)", "crawler"},
	{"CCBot/2.0 (https://commoncrawl.org/faq/)", "crawler"},
	{"ia_archiver", "crawler"},
	{"Screaming Frog SEO Spider/19.8", "crawler"},
	{"TikTokSpider", "crawler"},
	{"meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)", "crawler"},
	{"Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/41.0 Safari/537.36 contact: crawl-team@example.org", "crawler"},
	{"GoogleProducer", "crawler"}, {"GoogleMaps/RochesterNY", "crawler"}, {"TEST_INTERNET_AGENT", "crawler"},
	{"Mozilla/5.0", "crawler"}, {"Mozilla/4.0 (compatible;)", "crawler"}, {"Mozilla/5.0 (Windows NT 5.1) somescript/1.2", "crawler"},
	{"facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "preview"},
	{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) Version/9.0.1 Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0", "preview"},
	{"Twitterbot/1.0", "preview"}, {"LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)", "preview"},
	{"Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "preview"}, {"Slack-ImgProxy (+https://api.slack.com/robots)", "preview"},
	{"WhatsApp/2.23.20.0 A", "preview"}, {"WhatsApp/2.19.92 i", "preview"},
	{"TelegramBot (like TwitterBot)", "preview"}, {"Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", "preview"},
	{"Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5", "preview"},
	{"Pinterest/0.2 (+https://www.pinterest.com/bot.html)", "preview"}, {"Mozilla/5.0 (compatible; redditbot/1.0; +http://www.reddit.com/feedback)", "preview"},
	{"Mozilla/5.0 (Windows NT 6.1; WOW64) AppleWebKit/534+ (KHTML, like Gecko) BingPreview/1.0b", "preview"},
	{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/79.0.3945.79 Safari/537.36 Snap URL Preview Service; bot; snapchat", "preview"},
	{"facebookexternalhit/1.1;line-poker/1.0", "preview"}, {"Iframely/1.3.1 (+https://iframely.com/docs/about)", "preview"},
	{"Viber", "preview"}, {"Mastodon/4.2.1 (http.rb/5.1.1; +https://example.social/)", "preview"},
	{"Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "monitor"},
	{"Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)", "monitor"}, {"Site24x7", "monitor"},
	{PIXEL "Chrome/98.0.4695.0 Mobile Safari/537.36 Chrome-Lighthouse", "monitor"},
	{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/96.0.4664.45 Safari/537.36 PTST/211202.211915", "monitor"},
	{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/117.0.0.0 Safari/537.36 GTmetrix", "monitor"},
	{"check_http/v2.3.3 (nagios-plugins 2.3.3)", "monitor"}, {"Blackbox Exporter/0.20.0", "monitor"},
	{"curl/7.88.1", "library"}, {"Wget/1.21.3", "library"}, {"python-requests/2.31.0", "library"}, {"Python-urllib/3.9", "library"},
	{"Python/3.11 aiohttp/3.8.5", "library"}, {"Go-http-client/1.1", "library"}, {"Java/1.8.0_202", "library"}, {"Apache-HttpClient/4.5.13 (Java/11.0.20)", "library"},
	{"okhttp/4.9.3", "library"}, {"axios/1.6.0", "library"}, {"node-fetch/1.0 (+https://github.com/bitinn/node-fetch)", "library"}, {"node", "library"},
	{"GuzzleHttp/7", "library"}, {"libwww-perl/6.67", "library"}, {"PostmanRuntime/7.36.0", "library"}, {"Ruby", "library"}, {"PHP/8.1.2", "library"},
	{"HTTP_Request2/2.0.0 (http://pear.php.net/package/http_request2) PHP/5.3.2-1ubuntu4.10", "library"}, {"reqwest/0.11.22", "library"}, {"Scrapy/2.11.0 (+https://scrapy.org)", "crawler"},
	{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0.6099.28 Safari/537.36", "headless"},
	{"Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1", "headless"},
	{"Mozilla/5.0 (linux) AppleWebKit/537.36 (KHTML, like Gecko) jsdom/22.1.0", "headless"},
};

/* classify hands an agent over in a block of exactly its size. */
static AgentClass
classify(const char *agent)
{
	size_t		len = strlen(agent);
	char	   *copy = exact(agent, len);
	AgentClass	result;

	agent_classify(copy, len, &result);
	free(copy);
	return result;
}

/* test_agents classifies people and programs. */
static void
test_agents(void)
{
	AgentClass	result;
	char		huge[70000];

	for (size_t i = 0; i < LENGTH(people); i++)
	{
		const AgentCase *c = &people[i];

		result = classify(c->agent);
		ok(!result.is_bot && result.reason == NULL &&
		   strcmp(result.device, c->device) == 0 && strcmp(result.os, c->os) == 0 &&
		   strcmp(result.browser, c->browser) == 0 &&
		   (c->app == NULL ? result.app == NULL : result.app != NULL && strcmp(result.app, c->app) == 0),
		   "%s %s %s %s%s: %s", result.device, result.os, result.browser, result.app ? result.app : "-",
		   result.is_bot ? " BOT" : "", c->agent);
	}
	for (size_t i = 0; i < LENGTH(programs); i++)
	{
		result = classify(programs[i][0]);
		ok(result.is_bot && strcmp(result.reason, programs[i][1]) == 0,
		   "%s: %s", result.is_bot ? result.reason : "no bot", programs[i][0]);
	}

	memset(huge, 'a', sizeof(huge));
	memcpy(huge, "curl/1 ", 7);
	agent_classify(huge, sizeof(huge), &result);
	ok(result.is_bot && strcmp(result.reason, "library") == 0, "a huge agent is judged by its beginning");
	agent_classify(NULL, 0, &result);
	ok(result.is_bot && strcmp(result.reason, "empty_agent") == 0, "no agent is an empty one");
}

/* test_prefetch reads headers. */
static void
test_prefetch(void)
{
	static const struct
	{
		const char *name;
		const char *value;
		bool		prefetch;
	}			cases[] = {
		{"Sec-Purpose", "prefetch", true}, {"sec-purpose", "prefetch;prerender", true},
		{"Sec-Purpose", " Prefetch;anonymous-client-ip", true}, {"SEC-PURPOSE", "PREFETCH", true},
		{"Sec-Purpose", "prefetchx", false}, {"Sec-Purpose", "", false}, {"Sec-Purpose", "x;prefetch", false},
		{"Purpose", "prefetch", true}, {"Purpose", "preview", true}, {"X-Purpose", "preview", true}, {"X-Moz", "prefetch", true},
		{"X-Moz", "other", false}, {"Sec-Fetch-Purpose", "prefetch", false}, {"Accept", "prefetch", false}, {"", "prefetch", false},
	};

	for (size_t i = 0; i < LENGTH(cases); i++)
		ok(agent_header_is_prefetch(cases[i].name, strlen(cases[i].name), cases[i].value, strlen(cases[i].value)) == cases[i].prefetch,
		   "%s: %s is %s prefetch", cases[i].name, cases[i].value, cases[i].prefetch ? "a" : "no");
}

/* ---- channels ---- */

typedef struct ChannelCase
{
	const char *utm_source;
	const char *utm_medium;
	const char *stated;
	const char *click_id;		/* name of the parameter */
	const char *app;
	const char *referrer_host;
	const char *expected;		/* channel medium platform evidence */
} ChannelCase;

static const ChannelCase channel_cases[] = {
	{NULL, NULL, NULL, NULL, NULL, NULL, "direct none - direct"},
	/* the order of evidence */
	{"newsletter", "Email", "instagram", "gclid", "facebook", "t.co", "newsletter email instagram utm_source"},
	{NULL, NULL, "instagram", "gclid", "facebook", "t.co", "instagram cpc instagram platform"},
	{NULL, NULL, NULL, "gclid", "facebook", "t.co", "google cpc google click_id"},
	{NULL, NULL, NULL, NULL, "facebook", "t.co", "facebook social facebook app"},
	{NULL, NULL, NULL, NULL, NULL, "t.co", "twitter social twitter referrer"},
	/* aliases and spelling */
	{"IG", NULL, NULL, NULL, NULL, NULL, "instagram social instagram utm_source"},
	{" Fb ", NULL, NULL, NULL, NULL, NULL, "facebook social facebook utm_source"},
	{"x", NULL, NULL, NULL, NULL, NULL, "twitter social twitter utm_source"},
	{"yt", "Video", NULL, NULL, NULL, NULL, "youtube video youtube utm_source"},
	{"tt", NULL, NULL, NULL, NULL, NULL, "tiktok social tiktok utm_source"},
	{"facebook.com", NULL, NULL, NULL, NULL, NULL, "facebook social facebook utm_source"},
	{"l.instagram.com", NULL, NULL, NULL, NULL, NULL, "instagram social instagram utm_source"},
	{"chatgpt.com", NULL, NULL, NULL, NULL, NULL, "chatgpt referral chatgpt utm_source"},
	{"Google", NULL, NULL, NULL, NULL, NULL, "google organic google utm_source"},
	{"google", "CPC ", NULL, "gclid", NULL, NULL, "google cpc google utm_source"},
	{"google", NULL, NULL, "gclid", NULL, NULL, "google cpc google utm_source"},
	{"mail", NULL, NULL, NULL, NULL, NULL, "email email - utm_source"},
	{"newsletter", NULL, NULL, NULL, NULL, NULL, "newsletter email - utm_source"},
	{"newsletter", NULL, NULL, NULL, "instagram", NULL, "newsletter email instagram utm_source"},
	{"Some Partner", NULL, NULL, NULL, NULL, NULL, "some partner referral - utm_source"},
	{"(direct)", NULL, NULL, NULL, NULL, NULL, "direct none - utm_source"},
	{"  ", NULL, NULL, NULL, NULL, NULL, "direct none - direct"},
	{"CAF\xc3\x89", NULL, NULL, NULL, NULL, NULL, "caf\xc3\x89 referral - utm_source"},
	{"a\xff\xc3 b\x01\x02" "c\n", NULL, NULL, NULL, NULL, NULL, "a b c referral - utm_source"},
	{NULL, NULL, "Instagram", NULL, NULL, NULL, "instagram social instagram platform"},
	{NULL, NULL, "MyForum", NULL, NULL, NULL, "myforum social - platform"},
	{NULL, "QR", NULL, NULL, NULL, NULL, "direct qr - direct"},
	/* click ids */
	{NULL, NULL, NULL, "fbclid", NULL, NULL, "facebook social facebook click_id"},
	{NULL, NULL, NULL, "igshid", NULL, NULL, "instagram social instagram click_id"},
	{NULL, NULL, NULL, "ttclid", NULL, NULL, "tiktok cpc tiktok click_id"},
	{NULL, NULL, NULL, "ScCid", NULL, NULL, "snapchat cpc snapchat click_id"},
	{NULL, NULL, NULL, "msclkid", NULL, NULL, "bing cpc bing click_id"},
	{NULL, NULL, NULL, "ysclid", NULL, NULL, "yandex organic yandex click_id"},
	{NULL, NULL, NULL, "irclickid", NULL, NULL, "impact affiliate impact click_id"},
	/* referrers */
	{NULL, NULL, NULL, NULL, NULL, "l.facebook.com", "facebook social facebook referrer"},
	{NULL, NULL, NULL, NULL, NULL, "lm.facebook.com", "facebook social facebook referrer"},
	{NULL, NULL, NULL, NULL, NULL, "M.Facebook.COM.", "facebook social facebook referrer"},
	{NULL, NULL, NULL, NULL, NULL, "l.instagram.com", "instagram social instagram referrer"},
	{NULL, NULL, NULL, NULL, NULL, "www.tiktok.com", "tiktok social tiktok referrer"},
	{NULL, NULL, NULL, NULL, NULL, "youtu.be", "youtube social youtube referrer"},
	{NULL, NULL, NULL, NULL, NULL, "m.youtube.com", "youtube social youtube referrer"},
	{NULL, NULL, NULL, NULL, NULL, "lnkd.in", "linkedin social linkedin referrer"},
	{NULL, NULL, NULL, NULL, NULL, "x.com", "twitter social twitter referrer"},
	{NULL, NULL, NULL, NULL, NULL, "mobile.twitter.com", "twitter social twitter referrer"},
	{NULL, NULL, NULL, NULL, NULL, "old.reddit.com", "reddit social reddit referrer"},
	{NULL, NULL, NULL, NULL, NULL, "www.pinterest.co.uk", "pinterest social pinterest referrer"},
	{NULL, NULL, NULL, NULL, NULL, "www.threads.net", "threads social threads referrer"},
	{NULL, NULL, NULL, NULL, NULL, "web.whatsapp.com", "whatsapp social whatsapp referrer"},
	{NULL, NULL, NULL, NULL, NULL, "web.telegram.org", "telegram social telegram referrer"},
	{NULL, NULL, NULL, NULL, NULL, "com.google.android.gm", "email email - referrer"},
	{NULL, NULL, NULL, NULL, NULL, "com.linkedin.android", "linkedin social linkedin referrer"},
	{NULL, NULL, NULL, NULL, NULL, "www.google.com", "google organic google referrer"},
	{NULL, NULL, NULL, NULL, NULL, "google.co.uk", "google organic google referrer"},
	{NULL, NULL, NULL, NULL, NULL, "www.google.com.br", "google organic google referrer"},
	{NULL, NULL, NULL, NULL, NULL, "www.google.de", "google organic google referrer"},
	{NULL, NULL, NULL, NULL, NULL, "news.google.com", "google organic google referrer"},
	{NULL, NULL, NULL, NULL, NULL, "plus.google.com", "google_plus social google_plus referrer"},
	{NULL, NULL, NULL, NULL, NULL, "mail.google.com", "email email - referrer"},
	{NULL, NULL, NULL, NULL, NULL, "docs.google.com", "docs.google.com referral - referrer"},
	{NULL, NULL, NULL, NULL, NULL, "gemini.google.com", "gemini referral gemini referrer"},
	{NULL, NULL, NULL, NULL, NULL, "www.googleadservices.com", "google cpc google referrer"},
	{NULL, NULL, NULL, NULL, NULL, "r.search.yahoo.com", "yahoo organic yahoo referrer"},
	{NULL, NULL, NULL, NULL, NULL, "us.mg5.mail.yahoo.com", "email email - referrer"},
	{NULL, NULL, NULL, NULL, NULL, "sports.yahoo.com", "sports.yahoo.com referral - referrer"},
	{NULL, NULL, NULL, NULL, NULL, "duckduckgo.com", "duckduckgo organic duckduckgo referrer"},
	{NULL, NULL, NULL, NULL, NULL, "yandex.ru", "yandex organic yandex referrer"},
	{NULL, NULL, NULL, NULL, NULL, "www.bing.com", "bing organic bing referrer"},
	{NULL, NULL, NULL, NULL, NULL, "www.baidu.com", "baidu organic baidu referrer"},
	{NULL, NULL, NULL, NULL, NULL, "eur01.safelinks.protection.outlook.com", "email email - referrer"},
	/* hosts that only look like one */
	{NULL, NULL, NULL, NULL, NULL, "notfacebook.com", "notfacebook.com referral - referrer"},
	{NULL, NULL, NULL, NULL, NULL, "facebook.com.evil.example", "facebook.com.evil.example referral - referrer"},
	{NULL, NULL, NULL, NULL, NULL, "netflix.com", "netflix.com referral - referrer"},
	{NULL, NULL, NULL, NULL, NULL, "google.evil.example", "google.evil.example referral - referrer"},
	{NULL, NULL, NULL, NULL, NULL, "notgoogle.com", "notgoogle.com referral - referrer"},
	{NULL, NULL, NULL, NULL, NULL, "google", "google referral - referrer"},
	{NULL, NULL, NULL, NULL, NULL, "www.blog.example", "blog.example referral - referrer"},
	{NULL, NULL, NULL, NULL, NULL, "192.0.2.7", "192.0.2.7 referral - referrer"},
	{NULL, NULL, NULL, NULL, NULL, "[2001:db8::1]", "[2001:db8::1] referral - referrer"},
	/* payment pages say nothing */
	{NULL, NULL, NULL, NULL, NULL, "checkout.stripe.com", "direct none - direct"},
	{NULL, NULL, NULL, NULL, "instagram", "www.paypal.com", "instagram social instagram app"},
};

/* test_channels resolves channels. */
static void
test_channels(void)
{
	ChannelResult result;
	ChannelInput input;

	for (size_t i = 0; i < LENGTH(channel_cases); i++)
	{
		const ChannelCase *c = &channel_cases[i];
		char		found[500];
		bool		paid = false;

		memset(&input, 0, sizeof(input));
		input.utm_source = text(c->utm_source);
		input.utm_medium = text(c->utm_medium);
		input.platform = text(c->stated);
		input.app = c->app;
		input.referrer_host = text(c->referrer_host);
		if (c->click_id != NULL &&
			!channel_click_id(c->click_id, strlen(c->click_id), &input.click_id_platform, &paid))
			input.click_id_platform = "unknown";
		input.click_id_paid = paid;
		channel_resolve(&input, &result);
		snprintf(found, sizeof(found), "%s %s %s %s", result.channel, result.medium,
				 result.platform ? result.platform : "-", result.evidence);
		ok(strcmp(found, c->expected) == 0, "channel %s | %s | %s | %s | %s | %s: %s",
		   c->utm_source ? c->utm_source : "", c->utm_medium ? c->utm_medium : "", c->stated ? c->stated : "",
		   c->click_id ? c->click_id : "", c->app ? c->app : "", c->referrer_host ? c->referrer_host : "", found);
	}

	/* cut at a character's end */
	{
		char		source[200];

		memset(source, 'a', sizeof(source));
		memcpy(source + 99, "\xc3\xa9", 2);
		memset(&input, 0, sizeof(input));
		input.utm_source = (Slice) {source, 200};
		input.utm_medium = (Slice) {source, 200};
		channel_resolve(&input, &result);
		ok(strlen(result.channel) == 99 && strlen(result.medium) == 99, "a long source is cut before the character that does not fit");
		memcpy(source + 98, "\xc3\xa9", 2);
		memset(source + 100, 'a', 100);
		channel_resolve(&input, &result);
		ok(strlen(result.channel) == 100 && (unsigned char) result.channel[99] == 0xa9, "a long source is cut after one that does");
	}
}

/* test_click_ids looks names up. */
static void
test_click_ids(void)
{
	static const struct
	{
		const char *name;
		const char *platform;
		bool		paid;
	}			cases[] = {
		{"gclid", "google", true}, {"gbraid", "google", true}, {"wbraid", "google", true}, {"dclid", "google", true},
		{"fbclid", "facebook", false}, {"ttclid", "tiktok", true}, {"twclid", "twitter", true}, {"msclkid", "bing", true},
		{"li_fat_id", "linkedin", true}, {"igshid", "instagram", false}, {"igsh", "instagram", false}, {"epik", "pinterest", false},
		{"ScCid", "snapchat", true}, {"sccid", "snapchat", true}, {"rdt_cid", "reddit", true}, {"yclid", "yandex", true},
		{"GCLID", "google", true}, {"irclickid", "impact", false}, {"ranSiteID", "rakuten", false},
		{"gclid2", NULL, false}, {"gcli", NULL, false}, {"", NULL, false}, {"utm_source", NULL, false}, {"mc_eid", NULL, false}, {"bl", NULL, false},
	};
	static const char *const payment[] = {
		"stripe.com", "checkout.stripe.com", "hooks.stripe.com", "www.paypal.com", "paypal.com.", "PAY.Shopify.com", "checkout.shopify.com",
		"pay.klarna.com", "checkout.paddle.com", "shop.app", "pay.google.com", "secure.3dsecure.io"
	};
	static const char *const no_payment[] = {
		"", "notstripe.com", "stripe.com.evil.example", "paypal.evil.example", "google.com", "shopify.com", "mystore.shopify.com",
		"gumroad.com", "etsy.com"
	};

	for (size_t i = 0; i < LENGTH(cases); i++)
	{
		const char *platform = NULL;
		bool		paid = false;
		bool		found = channel_click_id(cases[i].name, strlen(cases[i].name), &platform, &paid);

		ok(found == (cases[i].platform != NULL) && paid == cases[i].paid &&
		   (!found || strcmp(platform, cases[i].platform) == 0), "click id %s: %s", cases[i].name, found ? platform : "none");
	}
	for (size_t i = 0; i < LENGTH(payment); i++)
		ok(channel_payment_host(payment[i], strlen(payment[i])), "payment host %s", payment[i]);
	for (size_t i = 0; i < LENGTH(no_payment); i++)
		ok(!channel_payment_host(no_payment[i], strlen(no_payment[i])), "no payment host: %s", no_payment[i]);
}

/* ---- other projects' lists ---- */

/* read_shared reads a whole file under $BIOLINK_SHARED; NULL where there is none. */
static char *
read_shared(const char *name)
{
	const char *top = getenv("BIOLINK_SHARED");
	char		path[4096];
	FILE	   *file;
	long		size;
	char	   *contents;

	snprintf(path, sizeof(path), "%s/%s", top ? top : "../shared", name);
	file = fopen(path, "rb");
	if (file == NULL)
		return NULL;
	fseek(file, 0, SEEK_END);
	size = ftell(file);
	rewind(file);
	contents = malloc((size_t) size + 1);
	if (fread(contents, 1, (size_t) size, file) != (size_t) size)
		size = 0;
	contents[size] = '\0';
	fclose(file);
	return contents;
}

/* put_utf8 appends a code point (half a surrogate pair as three bytes). */
static size_t
put_utf8(char *out, unsigned c)
{
	if (c < 0x80)
		return out[0] = (char) c, 1;
	if (c < 0x800)
		return out[0] = (char) (0xc0 | c >> 6), out[1] = (char) (0x80 | (c & 0x3f)), 2;
	if (c < 0x10000)
		return out[0] = (char) (0xe0 | c >> 12), out[1] = (char) (0x80 | (c >> 6 & 0x3f)), out[2] = (char) (0x80 | (c & 0x3f)), 3;
	return out[0] = (char) (0xf0 | c >> 18), out[1] = (char) (0x80 | (c >> 12 & 0x3f)),
		out[2] = (char) (0x80 | (c >> 6 & 0x3f)), out[3] = (char) (0x80 | (c & 0x3f)), 4;
}

/* json_string reads the string at *json (after its quote) into out; *json is then behind it. */
static size_t
json_string(const char **json, char *out, size_t room)
{
	const char *p = *json;
	size_t		len = 0;

	while (*p != '\0' && *p != '"' && len + 8 < room)
	{
		if (*p != '\\')
		{
			out[len++] = *p++;
			continue;
		}
		p++;
		switch (*p)
		{
			case 'n': out[len++] = '\n'; break;
			case 't': out[len++] = '\t'; break;
			case 'r': out[len++] = '\r'; break;
			case 'b': out[len++] = '\b'; break;
			case 'f': out[len++] = '\f'; break;
			case 'u':
				{
					unsigned	c = 0;
					unsigned	low = 0;

					sscanf(p + 1, "%4x", &c);
					p += 4;
					if (c >= 0xd800 && c < 0xdc00 && p[1] == '\\' && p[2] == 'u' &&
						sscanf(p + 3, "%4x", &low) == 1 && low >= 0xdc00 && low < 0xe000)
					{
						c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
						p += 6;
					}
					len += put_utf8(out + len, c);
					break;
				}
			default: out[len++] = *p; break;
		}
		p++;
	}
	while (*p != '\0' && *p != '"')
		p++;
	*json = *p == '"' ? p + 1 : p;
	out[len] = '\0';
	return len;
}

/* is_plain_host tells whether a host is one that parsers do not rewrite (no IPv4 in disguise, no IDN). */
static bool
is_plain_host(const char *host, size_t len)
{
	bool		letter = false;

	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) host[i];

		if (c >= 0x80 || c == '%' || c == '[')
			return false;
		if ((c >= 'g' && c <= 'w') || c == 'y' || c == 'z')
			letter = true;
	}
	return letter;
}

/* test_shared_urls reads the URL tests of the web platform. */
static void
test_shared_urls(void)
{
	static char input[20000], value[20000], key[20000], hostname[20000];
	char	   *contents = read_shared("vectors/url/urltestdata.json");
	const char *json;
	size_t		input_len = 0;
	size_t		hostname_len = 0;
	bool		has_input = false;
	bool		has_hostname = false;
	int			inputs = 0;
	int			taken = 0;
	int			differing = 0;
	int			unsafe = 0;

	if (contents == NULL)
	{
		skip("the web platform's URLs", "no vectors/url/urltestdata.json in $BIOLINK_SHARED");
		skip("hosts as browsers see them", "no vectors/url/urltestdata.json in $BIOLINK_SHARED");
		return;
	}
	json = contents;
	while (*json != '\0')
	{
		if (*json == '"')
		{
			json++;
			json_string(&json, key, sizeof(key));
			if (*json != ':')
				continue;
			json++;
			while (*json == ' ')
				json++;
			if (*json != '"')
				continue;
			json++;
			{
				size_t		len = json_string(&json, value, sizeof(value));

				if (strcmp(key, "input") == 0)
				{
					memcpy(input, value, len + 1);
					input_len = len;
					has_input = true;
				}
				else if (strcmp(key, "hostname") == 0)
				{
					memcpy(hostname, value, len + 1);
					hostname_len = len;
					has_hostname = true;
				}
			}
			continue;
		}
		if (*json == '}' && has_input)
		{
			UrlParts	parts;
			char	   *url = exact(input, input_len);
			char	   *host = malloc(input_len + 1);
			char	   *out = malloc(url_redirect_bound(input_len, input_len, NULL, 0, 2, 1));

			inputs++;
			if (url_split(url, input_len, &parts))
			{
				size_t		len = url_redirect(out, &parts, &parts, NULL, 0, text(""), text("bl"), text("T"));
				size_t		host_len = url_host_normal(parts.host, host);

				taken++;
				for (size_t i = 0; i < len; i++)
					unsafe += (unsigned char) out[i] <= ' ' || (unsigned char) out[i] >= 0x7f;
				/* whoever we say a redirect goes to is whom a browser goes to */
				if (url_is_redirectable(url, input_len) && has_hostname && is_plain_host(host, host_len) &&
					(host_len != hostname_len - (hostname_len > 0 && hostname[hostname_len - 1] == '.') ||
					 memcmp(host, hostname, host_len) != 0))
				{
					differing++;
					printf("# %s: %.*s here, %s in browsers\n", input, (int) host_len, host, hostname);
				}
			}
			url_reference_split(url, input_len, &parts);
			free(out);
			free(host);
			free(url);
			has_input = has_hostname = false;
		}
		json++;
	}
	free(contents);
	ok(inputs > 500 && taken > 100 && unsafe == 0, "the web platform's URLs: %d read, %d absolute", inputs, taken);
	ok(differing == 0, "hosts as browsers see them");
}

/* test_shared_agents measures recall on a public list of crawlers and looks at real clicks. */
static void
test_shared_agents(void)
{
	static char agent[20000];
	char	   *contents = read_shared("vectors/agents/crawler-user-agents.json");
	const char *json;
	int			total = 0;
	int			found = 0;

	if (contents == NULL)
		skip("recall on known crawlers", "no vectors/agents/crawler-user-agents.json in $BIOLINK_SHARED");
	else
	{
		json = contents;
		while ((json = strstr(json, "\"instances\"")) != NULL)
		{
			json = strchr(json, '[');
			while (*json != '\0' && *json != ']')
			{
				if (*json++ == '"')
				{
					size_t		len = json_string(&json, agent, sizeof(agent));
					AgentClass	result;

					agent_classify(agent, len, &result);
					total++;
					found += result.is_bot;
				}
			}
		}
		free(contents);
		ok(total > 2000 && found * 100 >= total * 95, "recall on known crawlers: %d of %d", found, total);
	}

	contents = read_shared("data/bitly/clicks.jsonl");
	if (contents == NULL)
	{
		skip("bots among real clicks", "no data/bitly/clicks.jsonl in $BIOLINK_SHARED");
		return;
	}
	total = found = 0;
	json = contents;
	while ((json = strstr(json, "{ \"a\": \"")) != NULL)
	{
		size_t		len;
		AgentClass	result;

		json += 8;
		len = json_string(&json, agent, sizeof(agent));
		agent_classify(agent, len, &result);
		total++;
		found += result.is_bot;
	}
	free(contents);
	/* looked through by hand: 192, most of them three programs */
	ok(total > 3400 && found >= 180 && found <= 210, "bots among real clicks: %d of %d", found, total);
}

int
main(void)
{
	test_split();
	test_redirectable();
	test_params();
	test_redirect();
	test_agents();
	test_prefetch();
	test_channels();
	test_click_ids();
	test_shared_urls();
	test_shared_agents();
	printf("1..%d\n", tests_run);
	return tests_failed > 0;
}
