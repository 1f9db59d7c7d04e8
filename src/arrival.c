/*-------------------------------------------------------------------------
 *
 * arrival.c
 *	  The time of arrival that jobs fold by.
 *
 * Owns one promise: the top transaction has its id before the clock is read.
 * A fold that reads the clock (t), then takes an id of its own (x), and later
 * finds every id up to x finished, has every row with an arrival before t:
 * the transaction of such a row had its id before t, so before x.
 *
 *-------------------------------------------------------------------------
 */
#include "biolink.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(arrival);

/* arrival_time takes the top transaction id, then reads the clock. */
TimestampTz
arrival_time(void)
{
	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
				 errmsg("cannot store events during recovery"),
				 errhint("This server is a standby: send events to the primary.")));
	(void) GetTopTransactionId();
	return GetCurrentTimestamp();
}

/* arrival is arrival_time for SQL: the default of received_at. */
Datum
arrival(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(arrival_time());
}
