/*-------------------------------------------------------------------------
 *
 * biolink.h
 *	  Limits and names that every part of the extension shares.
 *
 * Owns no state.  The widths below are those of the token format: an id that
 * does not fit there must never be handed out.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_H
#define BIOLINK_H

#include "compat.h"

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* creator_id travels in 5 bytes, link_id and campaign_id in 6 */
#define MAX_CREATOR_ID	((INT64CONST(1) << 40) - 1)
#define MAX_OBJECT_ID	((INT64CONST(1) << 48) - 1)

/* idhash: 16 bytes, passed by reference, compared as bytes */
#define IDHASH_BYTES	16

typedef struct IdHash
{
	uint8		data[IDHASH_BYTES];
} IdHash;

#define DatumGetIdHashP(d)		((IdHash *) DatumGetPointer(d))
#define IdHashPGetDatum(p)		PointerGetDatum(p)
#define PG_GETARG_IDHASH_P(n)	DatumGetIdHashP(PG_GETARG_DATUM(n))
#define PG_RETURN_IDHASH_P(p)	return IdHashPGetDatum(p)

/* Seconds between 1970-01-01 and PostgreSQL's epoch, 2000-01-01. */
#define UNIX_EPOCH_OFFSET_SECS \
	((int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY)

/* uuidv7.c */
extern void uuidv7_make(pg_uuid_t *uuid, TimestampTz at);
extern TimestampTz uuidv7_time(const pg_uuid_t *uuid);
extern bool uuidv7_is(const pg_uuid_t *uuid);

/* arrival.c */
extern TimestampTz arrival_time(void);

#endif							/* BIOLINK_H */
