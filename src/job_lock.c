/*-------------------------------------------------------------------------
 *
 * job_lock.c
 *	  The locks that give every job one runner.
 *
 * Owns two advisory locks per job and database: the run's, held by the
 * session from job_begin() to the end of the run, and the slice's, held by
 * the transaction that does a slice of work.
 *
 * Invariants:
 *	- The locks are of a class that no function of SQL can take, so nobody who
 *	  may merely log in can keep a job from running.  pg_locks shows them:
 *	  locktype advisory, objsubid 25196, classid 1 (run) or 2 (slice), objid
 *	  the hash of the job's name.
 *	- A run's lock outlives its commits, but neither a transaction that fails,
 *	  nor the savepoint it began in, nor its process: a runner that dies leaves
 *	  nothing locked.
 *
 *-------------------------------------------------------------------------
 */
#include "biolink.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"

#include "job_lock.h"

/* "bl": pg_advisory_lock() and its like use 1 and 2 */
#define JOB_LOCK_CLASS	0x626c

/* What is locked of a job. */
typedef enum JobPart
{
	JOB_RUN = 1,
	JOB_SLICE = 2
} JobPart;

/*
 * The run that this session is in, whether it ends with the transaction, and
 * the subtransactions that the one and the other were decided in, if those are
 * still open.
 */
static LOCKTAG run_tag;
static bool run_held = false;
static bool run_ends = false;
static SubTransactionId begun_in = InvalidSubTransactionId;
static SubTransactionId ended_in = InvalidSubTransactionId;

PG_FUNCTION_INFO_V1(job_lock);
PG_FUNCTION_INFO_V1(job_lock_wait);
PG_FUNCTION_INFO_V1(job_run_lock);
PG_FUNCTION_INFO_V1(job_run_unlock);
PG_FUNCTION_INFO_V1(job_run_held);

/* job_tag makes the tag of a job's lock in this database. */
static void
job_tag(LOCKTAG *tag, JobPart part, text *job)
{
	uint32		name = hash_bytes((unsigned char *) VARDATA_ANY(job),
								  (int) VARSIZE_ANY_EXHDR(job));

	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) part, name, JOB_LOCK_CLASS);
}

/* in_run tells whether this session is in a run: DISCARD ALL and pg_advisory_unlock_all() take its lock away. */
static bool
in_run(void)
{
	if (run_held && !lock_held_by_me(&run_tag, ExclusiveLock))
		run_held = run_ends = false;
	return run_held;
}

/* release_run gives the run's lock back. */
static void
release_run(void)
{
	if (in_run())
		LockRelease(&run_tag, ExclusiveLock, true);
	run_held = run_ends = false;
}

/* at_transaction_end ends the run of a failed transaction, and one that was to end. */
static void
at_transaction_end(XactEvent event, void *arg)
{
	if (!run_held)
		return;
	if (event == XACT_EVENT_ABORT || (event == XACT_EVENT_COMMIT && run_ends))
		release_run();
	begun_in = ended_in = InvalidSubTransactionId;
}

/* at_subtransaction_end takes back what was decided in a savepoint that is rolled back. */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mine,
					  SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		if (begun_in == mine)
			begun_in = parent;
		if (ended_in == mine)
			ended_in = parent;
	}
	else if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		if (run_held && begun_in == mine)
			release_run();
		if (ended_in == mine)
			run_ends = false;
	}
}

/* job_lock_init registers what ends a run. */
void
job_lock_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}

/* job_lock tries to become the one that does a slice of a job, until the end of the transaction. */
Datum
job_lock(PG_FUNCTION_ARGS)
{
	LOCKTAG		tag;

	job_tag(&tag, JOB_SLICE, PG_GETARG_TEXT_PP(0));
	PG_RETURN_BOOL(LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL);
}

/* job_lock_wait waits until nobody does a slice of a job, and keeps it so until the end of the transaction. */
Datum
job_lock_wait(PG_FUNCTION_ARGS)
{
	LOCKTAG		tag;

	job_tag(&tag, JOB_SLICE, PG_GETARG_TEXT_PP(0));
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	PG_RETURN_VOID();
}

/* job_run_lock tries to become the one runner of a job. */
Datum
job_run_lock(PG_FUNCTION_ARGS)
{
	LOCKTAG		tag;

	/* also when it is this very session that is in a run */
	if (in_run())
		PG_RETURN_BOOL(false);
	job_tag(&tag, JOB_RUN, PG_GETARG_TEXT_PP(0));
	if (LockAcquire(&tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		PG_RETURN_BOOL(false);
	run_tag = tag;
	run_held = true;
	run_ends = false;
	begun_in = GetCurrentSubTransactionId();
	PG_RETURN_BOOL(true);
}

/* job_run_unlock ends this session's run, if it is in one, when the transaction commits. */
Datum
job_run_unlock(PG_FUNCTION_ARGS)
{
	run_ends = in_run();
	ended_in = GetCurrentSubTransactionId();
	PG_RETURN_VOID();
}

/* job_run_held says whether this session is in a run of a job. */
Datum
job_run_held(PG_FUNCTION_ARGS)
{
	LOCKTAG		tag;

	job_tag(&tag, JOB_RUN, PG_GETARG_TEXT_PP(0));
	PG_RETURN_BOOL(in_run() && !run_ends && memcmp(&tag, &run_tag, sizeof(tag)) == 0);
}
