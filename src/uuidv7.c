/*-------------------------------------------------------------------------
 *
 * uuidv7.c
 *	  UUIDs of version 7 (RFC 9562): making them, and reading their time.
 *
 * Owns the ids of events.  An id carries the event's occurred_at, so that a
 * look-up by id knows which partition to look in.
 *
 * Invariants:
 *	- The first 48 bits are the time in milliseconds since 1970, rounded down.
 *	- All other bits but version and variant come from the strong random
 *	  source: an id cannot be guessed from another one.
 *
 *-------------------------------------------------------------------------
 */
#include "biolink.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

/* what 48 bits of milliseconds reach, and the two times as microseconds of PostgreSQL's epoch */
#define UUIDV7_MAX_MS	((INT64CONST(1) << 48) - 1)
#define UUIDV7_FIRST	(-UNIX_EPOCH_OFFSET_SECS * USECS_PER_SEC)
#define UUIDV7_LAST		(UUIDV7_FIRST + UUIDV7_MAX_MS * 1000 + 999)

PG_FUNCTION_INFO_V1(uuid_v7);
PG_FUNCTION_INFO_V1(uuid_v7_time);
PG_FUNCTION_INFO_V1(uuid_v7_floor);

/* put_time writes the milliseconds, the version and the variant over a UUID. */
static void
put_time(pg_uuid_t *uuid, TimestampTz at)
{
	uint64		ms = (uint64) (at - UUIDV7_FIRST) / 1000;

	for (int i = 5; i >= 0; i--)
	{
		uuid->data[i] = (unsigned char) ms;
		ms >>= 8;
	}
	uuid->data[6] = (uuid->data[6] & 0x0F) | 0x70;
	uuid->data[8] = (uuid->data[8] & 0x3F) | 0x80;
}

/*
 * take_random gives strong random bytes out of a store: asking the source for
 * many at a time costs hardly more than asking for ten.  What was given is
 * overwritten, and a child of this process fetches its own.
 */
static void
take_random(uint8 *out, size_t len)
{
	static uint8 store[512];
	static size_t left = 0;
	static int	pid = 0;

	if (pid != MyProcPid || left < len)
	{
		left = 0;
		if (!pg_strong_random(store, sizeof(store)))
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("could not generate random values")));
		pid = MyProcPid;
		left = sizeof(store);
	}
	left -= len;
	memcpy(out, store + left, len);
	memset(store + left, 0, len);
}

/* uuidv7_make makes a new id for something that happened at the given time. */
void
uuidv7_make(pg_uuid_t *uuid, TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at) || at < UUIDV7_FIRST || at > UUIDV7_LAST)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("time out of range for a version 7 UUID"),
				 errdetail("The time must be finite, not before the year 1970 and not after August 10889.")));

	take_random(uuid->data + 6, UUID_LEN - 6);
	put_time(uuid, at);
}

/* uuidv7_is tells whether a UUID has version 7 and the variant of the RFC. */
bool
uuidv7_is(const pg_uuid_t *uuid)
{
	return (uuid->data[6] & 0xF0) == 0x70 && (uuid->data[8] & 0xC0) == 0x80;
}

/* uuidv7_time returns the time of a version 7 UUID, a whole millisecond. */
TimestampTz
uuidv7_time(const pg_uuid_t *uuid)
{
	int64		ms = 0;

	for (int i = 0; i < 6; i++)
		ms = (ms << 8) | uuid->data[i];
	return UUIDV7_FIRST + ms * 1000;
}

/* uuid_v7 is the SQL function biolink.uuid_v7(at). */
Datum
uuid_v7(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid = palloc(sizeof(pg_uuid_t));

	uuidv7_make(uuid, PG_GETARG_TIMESTAMPTZ(0));
	PG_RETURN_UUID_P(uuid);
}

/* uuid_v7_time is the SQL function biolink.uuid_v7_time(uuid); NULL for other versions. */
Datum
uuid_v7_time(PG_FUNCTION_ARGS)
{
	pg_uuid_t  *uuid = PG_GETARG_UUID_P(0);

	if (!uuidv7_is(uuid))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(uuidv7_time(uuid));
}

/*
 * uuid_v7_floor is the SQL function biolink.uuid_v7_floor(at): no version 7
 * UUID of that millisecond or later is less, every earlier one is.  Times
 * that no such UUID has give the least or the greatest UUID there is.
 */
Datum
uuid_v7_floor(PG_FUNCTION_ARGS)
{
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(0);
	pg_uuid_t  *uuid = palloc0(sizeof(pg_uuid_t));

	if (at > UUIDV7_LAST)
		memset(uuid->data, 0xFF, UUID_LEN);
	else if (at >= UUIDV7_FIRST)
		put_time(uuid, at);
	PG_RETURN_UUID_P(uuid);
}
