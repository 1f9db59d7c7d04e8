/*-------------------------------------------------------------------------
 *
 * fuzz_json_split.c
 *	  Feeds arbitrary bytes to the splitter of JSON arrays.
 *
 * What it gives lies within the text, in order and without overlap; and the
 * pieces put together again as an array are split into the same pieces.  Once
 * its escapes are mended, there are none to mend.
 *
 *-------------------------------------------------------------------------
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "json_split_core.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* LLVMFuzzerTestOneInput splits, puts together and splits again. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *copy = malloc(size > 0 ? size : 1);
	char	   *again = malloc(2 * size + 3);
	size_t		nagain = 0;
	int			pieces = 0;
	JsonSplit	split;
	const char *element;
	size_t		len;
	const char *end = copy;

	/* no NUL after it, so that reading on is noticed */
	memcpy(copy, data, size);
	again[nagain++] = '[';
	if (json_split_open(&split, copy, size))
	{
		while (json_split_next(&split, &element, &len))
		{
			if (element < end || element + len > copy + size)
				abort();
			end = element + len;
			if (pieces++ > 0)
				again[nagain++] = ',';
			memcpy(again + nagain, element, len);
			nagain += len;
		}
	}
	else if (!split.broken)
		abort();
	again[nagain++] = ']';

	/* an empty piece alone is an empty array */
	if (!split.broken && !(pieces == 1 && nagain == 2))
	{
		JsonSplit	second;
		size_t		at = 1;

		if (!json_split_open(&second, again, nagain))
			abort();
		while (json_split_next(&second, &element, &len))
		{
			pieces--;
			if (element != again + at)
				abort();
			at += len + 1;
		}
		if (second.broken || pieces != 0)
			abort();
	}

	if (json_escapes_mend(copy, size, "fffd", again) != json_escapes_mend(copy, size, "fffd", NULL) ||
		json_escapes_mend(again, size, "fffd", NULL))
		abort();
	free(copy);
	free(again);
	return 0;
}
