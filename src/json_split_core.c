/*-------------------------------------------------------------------------
 *
 * json_split_core.c
 *	  The elements of a JSON array, one at a time, without parsing them.
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
