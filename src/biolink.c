/*-------------------------------------------------------------------------
 *
 * biolink.c
 *	  The module itself: its magic block and its initialisation.
 *
 * Owns nothing else: each part sets itself up.
 *
 *-------------------------------------------------------------------------
 */
#include "biolink.h"

#include "keys.h"

BIOLINK_MODULE_MAGIC("biolink", BIOLINK_VERSION);

void		_PG_init(void);

/* _PG_init runs when a backend, or the postmaster, loads the library. */
void
_PG_init(void)
{
	keys_init();
}
