/*-------------------------------------------------------------------------
 *
 * json_split_core.h
 *	  The elements of a JSON array, one at a time, without parsing them, and
 *	  escapes in JSON that stand for no character.
 *
 * Pure: no PostgreSQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_JSON_SPLIT_CORE_H
#define BIOLINK_JSON_SPLIT_CORE_H

#include <stdbool.h>
#include <stddef.h>

/* Where a reader of an array is. */
typedef struct JsonSplit
{
	const char *text;
	size_t		len;
	size_t		at;
	bool		begun;			/* an element has been given */
	bool		broken;			/* the text is no JSON array */
} JsonSplit;

extern bool json_split_open(JsonSplit *split, const char *text, size_t len);
extern bool json_split_next(JsonSplit *split, const char **element, size_t *len);
extern bool json_escapes_mend(const char *text, size_t len, const char digits[4], char *out);

#endif							/* BIOLINK_JSON_SPLIT_CORE_H */
