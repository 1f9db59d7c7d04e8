/*-------------------------------------------------------------------------
 *
 * fuzz_time.c
 *	  Feeds arbitrary bytes to rfc3339_parse() and checks it against the C
 *	  library's own calendar.
 *
 *-------------------------------------------------------------------------
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "time_core.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* LLVMFuzzerTestOneInput reads a time and, where it has one, compares. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *copy = malloc(size + 1);
	int64_t		microseconds;

	/* no NUL after it, so that reading on is noticed */
	memcpy(copy, data, size);
	copy = realloc(copy, size > 0 ? size : 1);
	if (rfc3339_parse(copy, size, &microseconds))
	{
		struct tm	tm = {0};
		char		head[20] = {0};
		int			hours = 0;
		int			minutes = 0;
		const char *offset;
		char		text[128] = {0};
		int64_t		expected;

		if (size >= sizeof(text))
		{
			/* only a long fraction makes a time long */
			free(copy);
			return 0;
		}
		memcpy(text, copy, size);
		memcpy(head, text, 19);
		if (sscanf(head, "%4d-%2d-%2d%*c%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
				   &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
			abort();
		tm.tm_year -= 1900;
		tm.tm_mon -= 1;
		expected = (int64_t) timegm(&tm);
		offset = strpbrk(text + 19, "+-");
		if (offset != NULL)
		{
			if (sscanf(offset + 1, "%2d:%2d", &hours, &minutes) < 2)
				(void) sscanf(offset + 1, "%2d%2d", &hours, &minutes);
			expected -= (offset[0] == '-' ? -1 : 1) * (hours * 60 + minutes) * 60;
		}
		if (microseconds - expected * 1000000 < 0 || microseconds - expected * 1000000 > 999999)
			abort();
	}
	free(copy);
	return 0;
}
