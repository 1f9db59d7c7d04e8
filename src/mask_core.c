/*-------------------------------------------------------------------------
 *
 * mask_core.c
 *	  Finding what looks like an email address or a phone number in a text.
 *
 * Owns the two patterns.  Raw addresses and numbers must never be stored in
 * free-form context, so the patterns lean towards masking; but a plain run of
 * digits is an order number more often than a phone number and stays, unless
 * it begins with a plus sign or "00" or is punctuated like a phone number.
 *
 * An address that came percent-encoded (%40 for the at sign) counts as well.
 *
 *-------------------------------------------------------------------------
 */
#include "mask_core.h"

#include <string.h>

/* is_digit is isdigit() without a locale. */
static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* is_local tells the bytes that may stand before the at sign of an address. */
static bool
is_local(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) ||
		(unsigned char) c >= 0x80 || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~.", c) != NULL);
}

/* is_domain tells the bytes that may stand in a host name. */
static bool
is_domain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) ||
		(unsigned char) c >= 0x80 || c == '-' || c == '.';
}

/* at_sign_length gives 1 for "@", 3 for "%40", 0 for anything else. */
static size_t
at_sign_length(const char *text, size_t len)
{
	if (len >= 1 && text[0] == '@')
		return 1;
	if (len >= 3 && text[0] == '%' && text[1] == '4' && text[2] == '0')
		return 3;
	return 0;
}

/*
 * domain_length gives the length of a domain with a dot inside at the start of
 * text, or 0.
 */
static size_t
domain_length(const char *text, size_t len)
{
	size_t		end = 0;
	bool		dotted = false;

	while (end < len && is_domain(text[end]))
		end++;
	while (end > 0 && (text[end - 1] == '.' || text[end - 1] == '-'))
		end--;
	for (size_t i = 1; i + 1 < end; i++)
		dotted |= text[i] == '.';
	return dotted ? end : 0;
}

/*
 * phone_length gives the length of a phone number at the start of text, or 0:
 * 8 to 15 digits behind a plus sign or 00, however they are grouped; or 10 to
 * 15 digits in three groups or more of 2 to 5, set apart by spaces, hyphens,
 * slashes and brackets.  Set apart by dots only 3, 3 and 4 digits are one:
 * versions and network addresses look like all else.
 */
static size_t
phone_length(const char *text, size_t len)
{
	size_t		i = 0;
	size_t		end = 0;
	int			digits = 0;
	int			groups = 0;
	int			group = 0;		/* digits of the current group */
	int			separators = 0; /* characters since the last digit */
	bool		dotted = false;
	bool		other = false;
	bool		odd = false;	/* a group of 1 digit, or of more than 5 */
	bool		as_in_america = true;	/* 3, 3 and 4 */
	bool		international;

	international = len > 0 && text[0] == '+';
	if (international)
		i = 1;
	else if (len > 2 && text[0] == '0' && text[1] == '0' && is_digit(text[2]))
		international = true;

	for (; i <= len; i++)
	{
		char		c = i < len ? text[i] : '\0';

		if (is_digit(c))
		{
			if (group == 0)
				groups++;
			group++;
			/* also bounds what is looked at from each place */
			if (++digits > 15)
				return 0;
			separators = 0;
			end = i + 1;
			continue;
		}
		if (group > 0)
		{
			odd |= group == 1 || group > 5;
			as_in_america &= groups <= 3 && group == (groups == 3 ? 4 : 3);
			group = 0;
		}
		if (c == '.')
			dotted = true;
		else if (c == ' ' || c == '-' || c == '(' || c == ')' || c == '/')
			other = true;
		else
			break;
		/* no more than ") " between two groups */
		if (++separators > 2)
			break;
	}

	if (international)
		return digits >= 8 ? end : 0;
	if (digits < 10 || groups < 3)
		return 0;
	if (dotted && !other)
		return as_in_america && groups == 3 ? end : 0;
	return odd ? 0 : end;
}

/* looks_like_date tells 2026-03-01... and 01.03.2026..., which are grouped digits too. */
static bool
looks_like_date(const char *text, size_t len)
{
	static const char *const shapes[] = {"dddd-dd-dd", "dd.dd.dddd", "dddd/dd/dd", "dd/dd/dddd"};

	for (size_t s = 0; s < sizeof(shapes) / sizeof(shapes[0]); s++)
	{
		size_t		i = 0;

		while (i < 10 && i < len &&
			   (shapes[s][i] == 'd' ? is_digit(text[i]) : text[i] == shapes[s][i]))
			i++;
		if (i == 10)
			return true;
	}
	return false;
}

/* mask_once goes through a text once; what it puts in can make more of the rest stand out. */
static size_t
mask_once(const char *text, size_t len, char *out)
{
	size_t		written = 0;
	size_t		copied = 0;		/* where in out the current run of local bytes begins */
	size_t		i = 0;

	while (i < len)
	{
		size_t		at = at_sign_length(text + i, len - i);
		size_t		domain = at > 0 ? domain_length(text + i + at, len - i - at) : 0;
		size_t		phone;

		if (domain > 0 && written > copied)
		{
			written = copied;
			memcpy(out + written, "[email]", 7);
			written += 7;
			i += at + domain;
			copied = written;
			continue;
		}

		if ((i == 0 || !(is_digit(text[i - 1]) || is_domain(text[i - 1]))) &&
			(is_digit(text[i]) || text[i] == '+' || text[i] == '('))
		{
			if (looks_like_date(text + i, len - i))
			{
				/* the date, its time and its offset */
				while (i < len && (is_digit(text[i]) || strchr("-.:/TZ+ ", text[i]) != NULL) && text[i] != '\0')
					out[written++] = text[i++];
				continue;
			}
			phone = phone_length(text + i, len - i);
			if (phone > 0)
			{
				memcpy(out + written, "[phone]", 7);
				written += 7;
				i += phone;
				copied = written;
				continue;
			}
		}

		out[written++] = text[i];
		if (!is_local(text[i]))
			copied = written;
		i++;
	}
	return written;
}

/* mask_text is described in mask_core.h. */
size_t
mask_text(const char *text, size_t len, char *out, char *scratch)
{
	size_t		out_len = mask_once(text, len, out);

	/* each change takes away an at sign or eight digits: this ends */
	for (;;)
	{
		size_t		scratch_len = mask_once(out, out_len, scratch);

		if (scratch_len == out_len && memcmp(scratch, out, out_len) == 0)
			return out_len;
		memcpy(out, scratch, scratch_len);
		out_len = scratch_len;
	}
}
