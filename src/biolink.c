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

#include "job_lock.h"
#include "keys.h"
#include "worker.h"

BIOLINK_MODULE_MAGIC("biolink", BIOLINK_VERSION);

void		_PG_init(void);

/* _PG_init runs when a backend, or the postmaster, loads the library. */
void
_PG_init(void)
{
	job_lock_init();
	worker_init();
	/* last: it reserves the prefix of the settings */
	keys_init();
}
