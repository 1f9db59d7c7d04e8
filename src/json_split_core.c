/*-------------------------------------------------------------------------
 *
 * json_split_core.c
 *	  The elements of a JSON array, one at a time, without parsing them, and
 *	  escapes in JSON that stand for no character.
 *
 * Owns nothing.  A large array is handed out element by element, so that only
 * one of them is in memory as a tree.
 *
 * Invariants:
 *	- Never reads outside the text, whatever it holds.
 *	- Of valid JSON it gives just the elements of the array, in order.  Of
 *	  anything else it gives some pieces of the text, which whoever parses them
 *	  will refuse, or says that it is broken.
 *
 *-------------------------------------------------------------------------
 */
#include "json_split_core.h"

#include <string.h>

/* skip_space goes over white space. */
static void
skip_space(JsonSplit *split)
{
	while (split->at < split->len && memchr(" \t\n\r", split->text[split->at], 4) != NULL)
		split->at++;
}

/* json_split_open starts reading; false if the text does not begin as an array does. */
bool
json_split_open(JsonSplit *split, const char *text, size_t len)
{
	split->text = text;
	split->len = len;
	split->at = 0;
	split->begun = false;
	split->broken = false;
	skip_space(split);
	split->broken = split->at >= len || text[split->at] != '[';
	split->at++;
	return !split->broken;
}

/* skip_string goes over a string, from its opening quote on; false if it has no end. */
static bool
skip_string(JsonSplit *split)
{
	for (split->at++; split->at < split->len; split->at++)
	{
		char		c = split->text[split->at];

		if (c == '\\')
			split->at++;
		else if (c == '"')
		{
			split->at++;
			return true;
		}
	}
	return false;
}

/* json_split_next gives the next element; false at the end, or with broken set. */
bool
json_split_next(JsonSplit *split, const char **element, size_t *len)
{
	size_t		start;
	size_t		depth = 0;

	if (split->broken)
		return false;
	skip_space(split);
	if (split->at < split->len && split->text[split->at] == (split->begun ? ',' : ']'))
	{
		if (!split->begun)
			return false;
		split->at++;
		skip_space(split);
	}
	else if (split->begun)
	{
		split->broken = split->at >= split->len || split->text[split->at] != ']';
		return false;
	}
	split->begun = true;

	start = split->at;
	while (split->at < split->len)
	{
		char		c = split->text[split->at];

		if (c == '"')
		{
			if (!skip_string(split))
				break;
			continue;
		}
		if (depth == 0 && (c == ',' || c == ']'))
		{
			size_t		end = split->at;

			while (end > start && memchr(" \t\n\r", split->text[end - 1], 4) != NULL)
				end--;
			*element = split->text + start;
			*len = end - start;
			return true;
		}
		if (c == '[' || c == '{')
			depth++;
		else if (c == ']' || c == '}')
		{
			if (depth == 0)
				break;
			depth--;
		}
		split->at++;
	}
	split->broken = true;
	return false;
}

/* escape_code gives the number of an escape \uXXXX at a place in JSON; -1 where there is none. */
static long
escape_code(const char *text, size_t len, size_t at)
{
	long		code = 0;

	if (len - at < 6 || text[at] != '\\' || text[at + 1] != 'u')
		return -1;
	for (size_t i = at + 2; i < at + 6; i++)
	{
		char		c = text[i];
		int			digit;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			digit = c - 'A' + 10;
		else
			return -1;
		code = code * 16 + digit;
	}
	return code;
}

/*
 * json_escapes_mend copies JSON to out, of the same length, with the digits given
 * in place of those of each escape that stands for no character: \u0000, and a
 * half of a surrogate pair.  True if there is any; where out is NULL, it only
 * tells that.
 */
bool
json_escapes_mend(const char *text, size_t len, const char digits[4], char *out)
{
	bool		any = false;

	if (out != NULL && len > 0)
		memcpy(out, text, len);
	for (size_t at = 0; at < len; at++)
	{
		long		code;

		if (text[at] != '\\')
			continue;
		code = escape_code(text, len, at);
		if (code >= 0xd800 && code < 0xdc00)
		{
			long		next = escape_code(text, len, at + 6);

			if (next >= 0xdc00 && next < 0xe000)
			{
				at += 11;
				continue;
			}
		}
		if (code == 0 || (code >= 0xd800 && code < 0xe000))
		{
			any = true;
			if (out != NULL)
				memcpy(out + at + 2, digits, 4);
		}
		/* what is escaped is looked at no more */
		at += code >= 0 ? 5 : 1;
	}
	return any;
}
