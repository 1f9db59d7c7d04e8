/*-------------------------------------------------------------------------
 *
 * fuzz_mask.c
 *	  Feeds arbitrary bytes to mask_text() and checks what it promises.
 *
 *-------------------------------------------------------------------------
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mask_core.h"

int			LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* LLVMFuzzerTestOneInput masks, and masks again: nothing may be left to mask. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char	   *once = malloc(MASK_BOUND(size));
	char	   *scratch = malloc(MASK_BOUND(MASK_BOUND(size)));
	size_t		once_len = mask_text((const char *) data, size, once, scratch);
	char	   *twice = malloc(MASK_BOUND(once_len));
	size_t		twice_len;

	if (once_len > MASK_BOUND(size))
		abort();
	twice_len = mask_text(once, once_len, twice, scratch);
	if (twice_len != once_len || memcmp(once, twice, once_len) != 0)
		abort();
	free(once);
	free(scratch);
	free(twice);
	return 0;
}
