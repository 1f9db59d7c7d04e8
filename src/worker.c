/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The background worker that runs jobs.
 *
 * Owns the launcher, the rounds it starts, the shared memory in which both
 * say what they do, and the waking of the launcher by transactions that leave
 * work behind.  What the jobs are, when they are due and what they do is SQL
 * (sql/60_jobs.sql); nothing here needs to run for them, as CALL
 * biolink.run_job() does the same work.
 *
 * There is one launcher.  It is connected to no database, so it keeps none
 * from being dropped.  For each database that may have work it starts a
 * round: a worker that connects, runs the jobs that are due and have something
 * to do, says when it wants to be started again, and ends.
 *
 * Invariants:
 *	- Nothing is polled: a round starts when a transaction that stored
 *	  something has committed, or when the last round said so.  A round that
 *	  finds nothing to do writes nothing.
 *	- A round is connected as the bootstrap superuser, who alone may be
 *	  anybody, and becomes another role before its first statement; each
 *	  statement runs as that role in a security-restricted operation, deferred
 *	  triggers included, so no code that it meets can become superuser again.
 *	- A job's error ends its transaction and is recorded; a round's error ends
 *	  the round.  The launcher runs no SQL and survives both.
 *	- Between slices a round holds no lock, notices when the postmaster has
 *	  died, and makes way for whoever wants the database for themselves (to
 *	  drop, rename or copy it).
 *	- Times at which to start are of the monotonic clock: a wall clock that is
 *	  set back delays nothing.
 *	- Slots are given out and taken back under the lock.  A slot of which the
 *	  flag woken is set is not taken back.  A round takes the flag's work over
 *	  when it starts: the flag is cleared before its first snapshot.
 *
 *-------------------------------------------------------------------------
 */
#include "biolink.h"

#include "worker.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

/* databases that can have the extension and be served at once */
#define MAX_SLOTS			1024

/* how often the launcher looks for databases it has not heard of */
#define SCAN_MS				(60 * 1000)
/* how often a database is looked into that nobody has woken */
#define SWEEP_MS			(5 * 60 * 1000)
/* longest wait after failures in a row */
#define MAX_BACKOFF_MS		(10 * 60 * 1000)
/* time after which the launcher comes back when it has ended */
#define RESTART_SECONDS		5

#define ERROR_BYTES			512

/* Where a slot is in its life. */
typedef enum SlotState
{
	SLOT_WAITING,				/* no round is under way */
	SLOT_STARTING,				/* registered, not yet heard of */
	SLOT_RUNNING
} SlotState;

/* How a round ended. */
typedef enum Outcome
{
	OUTCOME_DIED,				/* it did not come to say */
	OUTCOME_DONE,
	OUTCOME_YIELDED,			/* somebody wants the database, or it was switched off */
	OUTCOME_FAILED,
	OUTCOME_ABSENT				/* no extension in this database */
} Outcome;

/* One database.  All but woken is protected by the lock. */
typedef struct WorkerSlot
{
	Oid			database;		/* InvalidOid where the slot is free */
	pg_atomic_uint32 woken;		/* work was committed since the last round started */
	SlotState	state;
	bool		excluded;		/* it is not served, or no scan has said yet that it is */
	bool		absent;			/* the extension is not there */
	pid_t		pid;
	int			failures;		/* rounds in a row that failed */
	int64		next_ms;		/* when to start a round: monotonic clock */
	int64		next_woken_ms;	/* the same if woken */
	TimestampTz started_at;
	TimestampTz ended_at;
	char		job[NAMEDATALEN];	/* what it is at */
	char		error[ERROR_BYTES]; /* of the last round that failed */
} WorkerSlot;

typedef struct WorkerShared
{
	LWLock	   *lock;
	pid_t		launcher_pid;
	Latch	   *launcher_latch;
	TimestampTz launcher_started_at;
	bool		no_worker_slot; /* max_worker_processes has been reached */
	bool		crowded;		/* more databases than slots */
	bool		scan_wanted;	/* a slot was added that no scan has seen */
	WorkerSlot	slots[MAX_SLOTS];
} WorkerShared;

/* A job of the schedule, as a round reads it. */
typedef struct ScheduledJob
{
	char		name[NAMEDATALEN];
	int64		due_ms;			/* from now; 0 or less: due */
	int64		every_ms;
	int64		limit_ms;
	bool		by_commit;		/* commits bring it work */
	int64		again_ms;		/* from now; when it has work that no commit announces, -1 for never */
	bool		looked_at;		/* this round has seen that there is nothing to do, or done it */
} ScheduledJob;

/* A database known to lack the extension, and the last scan that saw it. */
typedef struct AbsentDatabase
{
	Oid			database;
	uint32		scan;
} AbsentDatabase;

/* Settings. */
static bool worker_enabled = true;
static char *worker_databases = NULL;
static char *worker_role = NULL;
static int	max_workers = 3;
static int	naptime = 10;

static WorkerShared *shared = NULL;
static shmem_request_hook_type previous_shmem_request_hook = NULL;
static shmem_startup_hook_type previous_shmem_startup_hook = NULL;

/* This transaction has left work; where this backend's database has its slot. */
static bool wake_wanted = false;
static int	wake_slot = -1;

/* The launcher's own. */
static BackgroundWorkerHandle *handles[MAX_SLOTS];
static HTAB *absent_databases = NULL;
static int	refused = 0;		/* times in a row that there was no worker slot */
static int64 refused_until = 0;

/* The round's own. */
static WorkerSlot *my_slot = NULL;
static Outcome my_outcome = OUTCOME_DIED;
static Oid	my_role = InvalidOid;
static char my_database[NAMEDATALEN];
static MemoryContext round_context = NULL;

PGDLLEXPORT void biolink_launcher_main(Datum arg);
PGDLLEXPORT void biolink_worker_main(Datum arg);

PG_FUNCTION_INFO_V1(worker_state);
PG_FUNCTION_INFO_V1(wake_worker);
PG_FUNCTION_INFO_V1(naptime_interval);

/* monotonic_ms reads the clock that nobody sets. */
static int64
monotonic_ms(void)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	return (int64) INSTR_TIME_GET_MILLISEC(now);
}

/* naptime_ms is biolink.naptime in milliseconds. */
static int64
naptime_ms(void)
{
	return (int64) naptime * 1000;
}

/* backoff_ms is how long to wait after so many failures in a row. */
static int64
backoff_ms(int failures)
{
	int64		wait = naptime_ms();

	while (--failures > 0 && wait < MAX_BACKOFF_MS)
		wait *= 2;
	return Min(wait, Max(MAX_BACKOFF_MS, naptime_ms()));
}

/* put_off has the next round of a slot start after so long, woken or not; the lock is held exclusively. */
static void
put_off(WorkerSlot *slot, int64 wait)
{
	slot->next_ms = slot->next_woken_ms = monotonic_ms() + wait;
}

/* count_failure counts a round that failed and has the next one wait; the lock is held exclusively. */
static void
count_failure(WorkerSlot *slot)
{
	slot->failures++;
	put_off(slot, backoff_ms(slot->failures));
}

/*
 * describe_worker fills in what the launcher and the rounds have in common.  A
 * standby has nothing to write: there is neither before it is promoted.
 */
static void
describe_worker(BackgroundWorker *worker, const char *name, const char *function)
{
	memset(worker, 0, sizeof(*worker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	strlcpy(worker->bgw_library_name, "biolink", BGW_MAXLEN);
	strlcpy(worker->bgw_function_name, function, BGW_MAXLEN);
	strlcpy(worker->bgw_name, name, BGW_MAXLEN);
	strlcpy(worker->bgw_type, name, BGW_MAXLEN);
}

/*
 * Waking
 */

/* find_slot returns the number of a database's slot, -1 if it has none; the lock is held. */
static int
find_slot(Oid database)
{
	for (int i = 0; i < MAX_SLOTS; i++)
	{
		if (shared->slots[i].database == database)
			return i;
	}
	return -1;
}

/* add_slot gives a database a slot in which a round is due; -1 if all are taken.  The lock is held exclusively. */
static int
add_slot(Oid database)
{
	int			i = find_slot(InvalidOid);

	if (i >= 0)
	{
		WorkerSlot *slot = &shared->slots[i];

		slot->state = SLOT_WAITING;
		slot->excluded = slot->absent = false;
		slot->pid = 0;
		slot->failures = 0;
		slot->next_ms = slot->next_woken_ms = 0;
		slot->started_at = slot->ended_at = 0;
		slot->job[0] = slot->error[0] = '\0';
		pg_atomic_write_u32(&slot->woken, 0);
		slot->database = database;
	}
	else
		shared->crowded = true;
	return i;
}

/* wake_launcher tells the launcher that there is work in this database. */
static void
wake_launcher(void)
{
	WorkerSlot *slot;
	Latch	   *latch;

	/* the commit must be seen by whoever clears the flag after we looked at it */
	pg_memory_barrier();
	if (wake_slot >= 0 &&
		shared->slots[wake_slot].database == MyDatabaseId &&
		pg_atomic_read_u32(&shared->slots[wake_slot].woken) != 0)
		return;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	wake_slot = find_slot(MyDatabaseId);
	if (wake_slot < 0)
	{
		/* whether it is served, the launcher has to find out: it may be a template */
		wake_slot = add_slot(MyDatabaseId);
		if (wake_slot >= 0)
			shared->slots[wake_slot].excluded = shared->scan_wanted = true;
	}
	if (wake_slot >= 0)
	{
		slot = &shared->slots[wake_slot];
		slot->absent = false;
		pg_atomic_write_u32(&slot->woken, 1);
	}
	latch = shared->launcher_latch;
	LWLockRelease(shared->lock);
	if (latch != NULL)
		SetLatch(latch);
}

/* at_transaction_end wakes the launcher when a transaction that left work commits. */
static void
at_transaction_end(XactEvent event, void *arg)
{
	if (!wake_wanted)
		return;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			/* one that is prepared commits where we do not hear of it: a sweep finds its work */
		case XACT_EVENT_PREPARE:
			wake_wanted = false;
			wake_launcher();
			break;
		case XACT_EVENT_ABORT:
			wake_wanted = false;
			break;
		default:
			break;
	}
}

/* worker_wake_at_commit has the launcher woken if and when this transaction commits. */
void
worker_wake_at_commit(void)
{
	if (shared != NULL)
		wake_wanted = true;
}

/* wake_worker is worker_wake_at_commit for SQL. */
Datum
wake_worker(PG_FUNCTION_ARGS)
{
	worker_wake_at_commit();
	PG_RETURN_VOID();
}

/* naptime_interval returns the setting biolink.naptime. */
Datum
naptime_interval(PG_FUNCTION_ARGS)
{
	Interval   *result = palloc0(sizeof(Interval));

	result->time = naptime * USECS_PER_SEC;
	PG_RETURN_INTERVAL_P(result);
}

/*
 * The launcher
 */

/* launcher_exit says that there is no launcher any more. */
static void
launcher_exit(int code, Datum arg)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (shared->launcher_pid == MyProcPid)
	{
		shared->launcher_pid = 0;
		shared->launcher_latch = NULL;
	}
	LWLockRelease(shared->lock);
}

/* is_served says whether biolink.worker_databases lets the worker into a database. */
static bool
is_served(const char *name)
{
	char	   *list = pstrdup(worker_databases);
	List	   *names;
	ListCell   *cell;

	/* the check hook has seen to it that this succeeds */
	if (!SplitIdentifierString(list, ',', &names) || names == NIL)
		return true;
	foreach(cell, names)
	{
		if (strcmp((char *) lfirst(cell), name) == 0)
			return true;
	}
	return false;
}

/* is_absent says whether a database is known to lack the extension, and remembers that it still exists. */
static bool
is_absent(Oid database, uint32 scan)
{
	AbsentDatabase *entry = hash_search(absent_databases, &database, HASH_FIND, NULL);

	if (entry != NULL)
		entry->scan = scan;
	return entry != NULL;
}

/*
 * scan_databases gives a slot to every database that may have the extension,
 * takes back those of databases that are gone or turned out not to have it,
 * and notes which are left out.
 */
static void
scan_databases(void)
{
	static uint32 scan = 0;
	bool		seen[MAX_SLOTS] = {0};
	Relation	relation;
	TableScanDesc tables;
	HeapTuple	tuple;
	HASH_SEQ_STATUS status;
	AbsentDatabase *entry;

	scan++;
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->scan_wanted = false;
	LWLockRelease(shared->lock);
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	relation = table_open(DatabaseRelationId, AccessShareLock);
	tables = table_beginscan_catalog(relation, 0, NULL);
	while ((tuple = heap_getnext(tables, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		bool		served;
		int			i;

		/* a template must not be connected to while it is copied; sessions that are there may wake us all the same */
		served = form->datallowconn && !form->datistemplate && is_served(NameStr(form->datname));
		LWLockAcquire(shared->lock, LW_EXCLUSIVE);
		i = find_slot(form->oid);
		/* asked in any case, as it remembers that the database is still there */
		if (i < 0 && !is_absent(form->oid, scan) && served)
			i = add_slot(form->oid);
		if (i >= 0)
		{
			seen[i] = true;
			shared->slots[i].excluded = !served;
		}
		LWLockRelease(shared->lock);
	}
	table_endscan(tables);
	table_close(relation, AccessShareLock);
	CommitTransactionCommand();

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < MAX_SLOTS; i++)
	{
		WorkerSlot *slot = &shared->slots[i];

		if (!OidIsValid(slot->database) || slot->state != SLOT_WAITING)
			continue;
		if (seen[i] && slot->absent && pg_atomic_read_u32(&slot->woken) == 0)
		{
			Oid			database = slot->database;

			entry = hash_search(absent_databases, &database, HASH_ENTER, NULL);
			entry->scan = scan;
			slot->database = InvalidOid;
		}
		else if (!seen[i])
			slot->database = InvalidOid;
	}
	shared->crowded = shared->crowded && find_slot(InvalidOid) < 0;
	LWLockRelease(shared->lock);

	hash_seq_init(&status, absent_databases);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (entry->scan != scan)
			hash_search(absent_databases, &entry->database, HASH_REMOVE, NULL);
	}
}

/* scan_wanted says whether somebody added a slot that no scan has seen. */
static bool
scan_wanted(void)
{
	bool		wanted;

	LWLockAcquire(shared->lock, LW_SHARED);
	wanted = shared->scan_wanted;
	LWLockRelease(shared->lock);
	return wanted;
}

/* when_due is the time at which a slot's next round is to start; -1 for never.  The lock is held. */
static int64
when_due(WorkerSlot *slot)
{
	if (!OidIsValid(slot->database) || slot->state != SLOT_WAITING || slot->excluded || slot->absent)
		return -1;
	return pg_atomic_read_u32(&slot->woken) != 0 ?
		Min(slot->next_ms, slot->next_woken_ms) : slot->next_ms;
}

/* reap notes which of the rounds that were registered ended before they were heard of. */
static void
reap(void)
{
	for (int i = 0; i < MAX_SLOTS; i++)
	{
		WorkerSlot *slot = &shared->slots[i];
		pid_t		pid;

		if (handles[i] == NULL || GetBackgroundWorkerPid(handles[i], &pid) != BGWH_STOPPED)
			continue;
		pfree(handles[i]);
		handles[i] = NULL;
		LWLockAcquire(shared->lock, LW_EXCLUSIVE);
		if (slot->state == SLOT_STARTING)
		{
			slot->state = SLOT_WAITING;
			count_failure(slot);
			strlcpy(slot->error, "the worker could not be started: see the server's log", ERROR_BYTES);
		}
		LWLockRelease(shared->lock);
	}
}

/* database_wanted says whether somebody has, or waits to have, a database for themselves. */
static bool
database_wanted(Oid database)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, database, 0);
	/* DROP DATABASE and its like hold a stronger one while they wait for sessions to end */
	if (LockAcquire(&tag, RowExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(&tag, RowExclusiveLock, true);
	return false;
}

/* start_round starts the round of a slot; false if the server has no worker slot left. */
static bool
start_round(int i)
{
	WorkerSlot *slot = &shared->slots[i];
	BackgroundWorker worker;
	MemoryContext old;
	bool		registered;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	slot->state = SLOT_STARTING;
	LWLockRelease(shared->lock);

	describe_worker(&worker, "biolink worker", "biolink_worker_main");
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = Int32GetDatum(i);
	worker.bgw_notify_pid = MyProcPid;

	/* it is looked at in later cycles */
	old = MemoryContextSwitchTo(TopMemoryContext);
	registered = RegisterDynamicBackgroundWorker(&worker, &handles[i]);
	MemoryContextSwitchTo(old);

	if (!registered)
	{
		handles[i] = NULL;
		LWLockAcquire(shared->lock, LW_EXCLUSIVE);
		slot->state = SLOT_WAITING;
		LWLockRelease(shared->lock);
	}
	return registered;
}

/*
 * next_round finds the round that is to start next, and returns in how many
 * ms it can: 0 for now, SCAN_MS where none is waited for.
 */
static int64
next_round(int *chosen)
{
	int64		now = monotonic_ms();
	int64		soonest = now + SCAN_MS;
	int			busy = 0;

	*chosen = -1;
	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < MAX_SLOTS; i++)
	{
		WorkerSlot *slot = &shared->slots[i];
		int64		due = when_due(slot);

		if (OidIsValid(slot->database) && slot->state != SLOT_WAITING)
			busy++;
		/* while there is a handle, the process of the last round has not ended */
		if (due >= 0 && due < soonest && handles[i] == NULL)
		{
			soonest = due;
			*chosen = i;
		}
	}
	LWLockRelease(shared->lock);

	/* when a round ends we are woken */
	if (*chosen < 0 || busy >= max_workers)
		return SCAN_MS;
	return Max(Max(soonest, refused_until) - now, 0);
}

/* start_due_rounds starts what is due, the longest overdue first, and returns how long to sleep in ms. */
static int64
start_due_rounds(void)
{
	int64		wait;
	int			chosen;

	while ((wait = next_round(&chosen)) == 0)
	{
		/* the worker would wait at the door, and find the database gone */
		if (database_wanted(shared->slots[chosen].database))
		{
			LWLockAcquire(shared->lock, LW_EXCLUSIVE);
			put_off(&shared->slots[chosen], naptime_ms());
			LWLockRelease(shared->lock);
			continue;
		}
		if (start_round(chosen))
			refused = 0;
		else
		{
			wait = backoff_ms(++refused);
			refused_until = monotonic_ms() + wait;
			ereport(WARNING,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("biolink found no free slot for a background worker"),
					 errdetail("The jobs of database %u wait; the next attempt is in %d s.",
							   shared->slots[chosen].database, (int) (wait / 1000)),
					 errhint("Increase max_worker_processes.")));
		}
		LWLockAcquire(shared->lock, LW_EXCLUSIVE);
		shared->no_worker_slot = refused > 0;
		LWLockRelease(shared->lock);
	}
	return wait;
}

/* biolink_launcher_main is the launcher's process. */
void
biolink_launcher_main(Datum arg)
{
	MemoryContext cycle;
	HASHCTL		control = {0};
	uint32		wait_event;
	int64		next_scan = 0;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	/* it is at nothing that could be cancelled */
	pqsignal(SIGINT, SIG_IGN);
	BackgroundWorkerUnblockSignals();
	/* to no database: the shared catalogs are enough */
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	pgstat_report_appname("biolink launcher");
	wait_event = WaitEventExtensionNew("BiolinkLauncherMain");

	cycle = AllocSetContextCreate(TopMemoryContext, "biolink launcher", ALLOCSET_DEFAULT_SIZES);
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(AbsentDatabase);
	control.hcxt = TopMemoryContext;
	absent_databases = hash_create("databases without biolink", 64, &control,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	shared->launcher_pid = MyProcPid;
	shared->launcher_latch = MyLatch;
	shared->launcher_started_at = GetCurrentTimestamp();
	for (int i = 0; i < MAX_SLOTS; i++)
	{
		/* registered by a launcher before us: what comes of it will find that it is not wanted */
		if (shared->slots[i].state == SLOT_STARTING)
			shared->slots[i].state = SLOT_WAITING;
	}
	LWLockRelease(shared->lock);
	before_shmem_exit(launcher_exit, (Datum) 0);

	while (!ShutdownRequestPending)
	{
		int64		sleep_ms = SCAN_MS;

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(cycle);
		MemoryContextReset(cycle);

		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			next_scan = 0;
		}
		reap();
		if (worker_enabled)
		{
			int			next;

			/* also before a start: the database may be gone by now */
			if (monotonic_ms() >= next_scan || scan_wanted() || next_round(&next) == 0)
			{
				scan_databases();
				next_scan = monotonic_ms() + SCAN_MS;
			}
			sleep_ms = Min(start_due_rounds(), Max(next_scan - monotonic_ms(), 0));
		}
		pgstat_report_activity(STATE_IDLE, worker_enabled ? "waiting for work" : "switched off");

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 (long) sleep_ms, wait_event);
		ResetLatch(MyLatch);
	}
	/* anything but 0: whoever terminates a launcher gets a new one */
	proc_exit(1);
}

/*
 * Rounds
 */

/* round_exit tells the launcher how the round ended, and when the next is to start unless that was said. */
static void
round_exit(int code, Datum arg)
{
	Latch	   *latch;

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	my_slot->state = SLOT_WAITING;
	my_slot->pid = 0;
	my_slot->job[0] = '\0';
	my_slot->ended_at = GetCurrentTimestamp();
	switch (my_outcome)
	{
		case OUTCOME_DIED:
			if (my_slot->error[0] == '\0')
				strlcpy(my_slot->error, "the worker was terminated: see the server's log", ERROR_BYTES);
			/* FALLTHROUGH */
		case OUTCOME_FAILED:
			count_failure(my_slot);
			break;
		case OUTCOME_YIELDED:
			put_off(my_slot, naptime_ms());
			break;
		case OUTCOME_ABSENT:
			/* unless it was made in the meantime */
			my_slot->absent = pg_atomic_read_u32(&my_slot->woken) == 0;
			my_slot->next_ms = my_slot->next_woken_ms = 0;
			break;
		case OUTCOME_DONE:
			my_slot->failures = 0;
			my_slot->error[0] = '\0';
			break;
	}
	latch = shared->launcher_latch;
	LWLockRelease(shared->lock);
	if (latch != NULL)
		SetLatch(latch);
}

/* note_job shows which job the round is at. */
static void
note_job(const char *job)
{
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	strlcpy(my_slot->job, job, NAMEDATALEN);
	LWLockRelease(shared->lock);
}

/*
 * become_role chooses the role that jobs run as and makes it this session's,
 * for good; within a transaction.
 */
static void
become_role(void)
{
	HeapTuple	tuple;
	char	   *name;

	if (worker_role[0] != '\0')
		my_role = get_role_oid(worker_role, false);
	else
	{
		tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(get_namespace_oid("biolink", false)));
		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "cache lookup failed for schema biolink");
		my_role = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
		ReleaseSysCache(tuple);
	}
	if (superuser_arg(my_role))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("jobs of biolink do not run as the superuser \"%s\"",
						GetUserNameFromId(my_role, false)),
				 errhint("Set biolink.worker_role to a member of biolink_admin, or to nothing for the owner of schema biolink.")));
	name = GetUserNameFromId(my_role, false);
	SetConfigOption("role", name, PGC_SUSET, PGC_S_SESSION);
}

/* settle_settings undoes what the database's own settings may say: jobs have their own limits and their own isolation. */
static void
settle_settings(void)
{
	static const char *const settings[][2] = {
		{"search_path", "pg_catalog, pg_temp"},
		{"application_name", "biolink worker"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_deferrable", "off"},
		{"session_replication_role", "origin"},
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		/* what a run is about to do must survive what it does */
		{"synchronous_commit", "local"},
	};

	for (size_t i = 0; i < lengthof(settings); i++)
		SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET, PGC_S_SESSION);
}

/* One statement of a round, and what to do with its result while SPI has it. */
typedef struct Slice
{
	const char *sql;
	int			nargs;
	Oid			argtypes[4];
	Datum		values[4];
	char		nulls[4];
	void		(*take) (void *state);	/* called if there is a row */
	void	   *state;
	int64		limit_ms;		/* 0: none */
} Slice;

/* How a slice ended. */
typedef enum SliceEnd
{
	SLICE_DONE,
	SLICE_FAILED,				/* the error is in *failure */
	SLICE_ABSENT				/* there is no extension any more */
} SliceEnd;

/*
 * extension_locked says whether the extension is there, and keeps it from
 * being dropped until the end of the transaction: so that whoever drops it
 * waits here and not, deadlocked, at one of its tables.
 */
static bool
extension_locked(void)
{
	Oid			extension = get_extension_oid("biolink", true);

	if (!OidIsValid(extension))
		return false;
	LockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock);
	AcceptInvalidationMessages();
	return get_extension_oid("biolink", true) == extension;
}

/* abort_with_error ends what an error has left, in a PG_CATCH block, and returns the error. */
static ErrorData *
abort_with_error(void)
{
	ErrorData  *failure;

	HOLD_INTERRUPTS();
	disable_all_timeouts(false);
	QueryCancelPending = false;
	MemoryContextSwitchTo(round_context);
	failure = CopyErrorData();
	FlushErrorState();
	AbortOutOfAnyTransaction();
	RESUME_INTERRUPTS();
	return failure;
}

/* slice_run runs one statement in a transaction of its own. */
static SliceEnd
slice_run(Slice *slice, ErrorData **failure)
{
	volatile SliceEnd end = SLICE_DONE;

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		if (!extension_locked())
		{
			PopActiveSnapshot();
			end = SLICE_ABSENT;
		}
		else
		{
			Oid			user;
			int			context;
			int			rc;

			GetUserIdAndSecContext(&user, &context);
			SetUserIdAndSecContext(my_role, context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
			if (SPI_connect() != SPI_OK_CONNECT)
				elog(ERROR, "SPI_connect failed");
			if (slice->limit_ms > 0)
				enable_timeout_after(STATEMENT_TIMEOUT, (int) Min(slice->limit_ms, INT_MAX));
			/* a restricted operation may leave no trigger for the commit: they run at once, with the rights of the slice */
			rc = SPI_execute("SET CONSTRAINTS ALL IMMEDIATE", false, 0);
			if (rc < 0)
				elog(ERROR, "SPI_execute failed: %s", SPI_result_code_string(rc));
			rc = SPI_execute_with_args(slice->sql, slice->nargs, slice->argtypes,
									   slice->values, slice->nulls, false, 0);
			if (rc < 0)
				elog(ERROR, "SPI_execute_with_args failed: %s", SPI_result_code_string(rc));
			if (SPI_processed > 0 && slice->take != NULL)
				slice->take(slice->state);
			disable_timeout(STATEMENT_TIMEOUT, false);
			SPI_finish();
			SetUserIdAndSecContext(user, context);
			PopActiveSnapshot();
		}
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		bool		gone;

		*failure = abort_with_error();

		/* the error may be that somebody dropped the extension */
		StartTransactionCommand();
		gone = !OidIsValid(get_extension_oid("biolink", true));
		CommitTransactionCommand();
		end = gone ? SLICE_ABSENT : SLICE_FAILED;
	}
	PG_END_TRY();

	MemoryContextSwitchTo(round_context);
	pgstat_report_stat(true);
	return end;
}

/* report_failure writes a failed slice to the server's log. */
static void
report_failure(const char *job, ErrorData *failure)
{
	ereport(WARNING,
			(errcode(failure->sqlerrcode),
			 job != NULL ?
			 errmsg("biolink job \"%s\" failed in database \"%s\": %s", job, my_database, failure->message) :
			 errmsg("biolink worker failed in database \"%s\": %s", my_database, failure->message),
			 failure->detail != NULL ? errdetail_internal("%s", failure->detail) : 0,
			 failure->hint != NULL ? errhint("%s", failure->hint) : 0,
			 failure->context != NULL ? errcontext("%s", failure->context) : 0));
}

/* round_fails notes an error that ends the round. */
static void
round_fails(ErrorData *failure)
{
	report_failure(NULL, failure);
	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	strlcpy(my_slot->error, failure->message, ERROR_BYTES);
	LWLockRelease(shared->lock);
	my_outcome = OUTCOME_FAILED;
}

/* round_slice runs a slice without which the round cannot go on; false if it is over. */
static bool
round_slice(Slice *slice)
{
	ErrorData  *failure = NULL;

	switch (slice_run(slice, &failure))
	{
		case SLICE_DONE:
			return true;
		case SLICE_FAILED:
			round_fails(failure);
			break;
		case SLICE_ABSENT:
			my_outcome = OUTCOME_ABSENT;
			break;
	}
	return false;
}

/* should_stop is asked between slices; returns why the round has to end, or NULL. */
static const char *
should_stop(void)
{
	/* notices that the postmaster is gone */
	(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 0, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	if (!worker_enabled)
		return "biolink.worker was switched off";
	if (!is_served(my_database))
		return "biolink.worker_databases leaves this database out";
	if (database_wanted(MyDatabaseId))
		return "somebody wants the database for themselves";
	return NULL;
}

/* int8_at reads a bigint of SPI's current result; NULL is 0. */
static int64
int8_at(uint64 row, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

/* bool_at reads a boolean of SPI's current result; NULL is false. */
static bool
bool_at(uint64 row, int column)
{
	bool		isnull;
	Datum		value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &isnull);

	return !isnull && DatumGetBool(value);
}

/* take_bool keeps a boolean. */
static void
take_bool(void *state)
{
	*(bool *) state = bool_at(0, 1);
}

/* take_int8 keeps a bigint. */
static void
take_int8(void *state)
{
	*(int64 *) state = int8_at(0, 1);
}

/* take_schedule keeps the schedule. */
static void
take_schedule(void *state)
{
	List	  **schedule = state;
	MemoryContext old = MemoryContextSwitchTo(round_context);

	for (uint64 row = 0; row < SPI_processed; row++)
	{
		ScheduledJob *job = palloc0(sizeof(ScheduledJob));

		strlcpy(job->name, SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 1), NAMEDATALEN);
		job->due_ms = int8_at(row, 2);
		job->every_ms = int8_at(row, 3);
		job->limit_ms = int8_at(row, 4);
		job->by_commit = bool_at(row, 5);
		job->again_ms = int8_at(row, 6);
		*schedule = lappend(*schedule, job);
	}
	MemoryContextSwitchTo(old);
}

/* What a step of a run has to say. */
typedef struct Step
{
	bool		more;
	char		doing[128];
} Step;

/* take_step keeps it. */
static void
take_step(void *state)
{
	Step	   *step = state;
	char	   *doing = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);

	step->more = bool_at(0, 1);
	strlcpy(step->doing, doing != NULL ? doing : "", sizeof(step->doing));
}

/* end_run records how a run ended; false if the round is over with it. */
static bool
end_run(int64 run_id, const char *why_stopped, ErrorData *error)
{
	Slice		slice = {
		.sql = "SELECT pg_catalog.count(*) FROM biolink.job_end($1, $2, $3, $4)",
		.nargs = 4,
		.argtypes = {INT8OID, TEXTOID, TEXTOID, TEXTOID},
		.nulls = {' ', 'n', 'n', 'n'}
	};

	slice.values[0] = Int64GetDatum(run_id);
	if (why_stopped != NULL)
	{
		slice.values[1] = CStringGetTextDatum(why_stopped);
		slice.nulls[1] = ' ';
	}
	if (error != NULL)
	{
		slice.values[2] = CStringGetTextDatum(unpack_sql_state(error->sqlerrcode));
		slice.values[3] = CStringGetTextDatum(error->message);
		slice.nulls[2] = slice.nulls[3] = ' ';
	}
	return round_slice(&slice);
}

/* run_job runs a job, if it has anything to do, to its end; false if the round is over with it. */
static bool
run_job(ScheduledJob *job)
{
	ErrorData  *failure = NULL;
	int64		began = monotonic_ms();
	bool		pending = false;
	int64		run_id = 0;
	Step		step = {true, ""};
	const char *why_stopped = NULL;
	bool		yields = false;
	Slice		slice = {
		.nargs = 1,
		.argtypes = {TEXTOID},
		.values = {CStringGetTextDatum(job->name)},
		.nulls = {' '},
		.limit_ms = job->limit_ms
	};

	note_job(job->name);
	pgstat_report_activity(STATE_RUNNING, psprintf("biolink job %s: looking for work", job->name));

	slice.sql = "SELECT biolink.job_pending($1)";
	slice.take = take_bool;
	slice.state = &pending;
	if (!round_slice(&slice))
		return false;
	if (pending)
	{
		slice.sql = "SELECT biolink.job_begin($1, 'worker')";
		slice.take = take_int8;
		slice.state = &run_id;
		if (!round_slice(&slice))
			return false;
	}
	/* who else is at it may have begun before what woke us was there */
	job->looked_at = !pending || run_id != 0;
	if (run_id == 0)
		return true;

	slice.sql = "SELECT s.more, s.doing FROM biolink.job_step($1) AS s";
	slice.argtypes[0] = INT8OID;
	slice.values[0] = Int64GetDatum(run_id);
	slice.take = take_step;
	slice.state = &step;
	while (step.more)
	{
		int64		left = job->limit_ms - (monotonic_ms() - began);
		SliceEnd	end;

		why_stopped = should_stop();
		yields = why_stopped != NULL;
		if (!yields && job->limit_ms > 0 && left <= 0)
			why_stopped = "its time limit was reached";
		if (why_stopped != NULL)
			break;
		pgstat_report_activity(STATE_RUNNING, psprintf("biolink job %s: %s", job->name,
													   step.doing[0] != '\0' ? step.doing : "starting"));
		slice.limit_ms = job->limit_ms > 0 ? Max(left, 1000) : 0;
		end = slice_run(&slice, &failure);
		if (end == SLICE_ABSENT)
		{
			my_outcome = OUTCOME_ABSENT;
			return false;
		}
		if (end == SLICE_FAILED)
		{
			report_failure(job->name, failure);
			break;
		}
	}
	if (!end_run(run_id, why_stopped, failure))
		return false;
	if (yields)
		my_outcome = OUTCOME_YIELDED;
	return !yields;
}

/* read_schedule reads the jobs that are not paused, the most overdue first; false if the round is over with it. */
static bool
read_schedule(List **schedule)
{
	Slice		slice = {
		.sql = "SELECT s.job, s.due_ms, s.every_ms, s.limit_ms, s.by_commit, s.again_ms FROM biolink.worker_schedule() AS s",
		.take = take_schedule,
		.state = schedule
	};

	*schedule = NIL;
	return round_slice(&slice);
}

/* was_looked_at says whether the round, going by the schedule as it began, has looked at a job. */
static bool
was_looked_at(List *schedule, const char *name)
{
	ListCell   *cell;

	foreach(cell, schedule)
	{
		ScheduledJob *job = lfirst(cell);

		if (strcmp(job->name, name) == 0)
			return job->looked_at;
	}
	return false;
}

/* plan_next_round works out when this database is to be looked into again. */
static void
plan_next_round(List *before, List *schedule)
{
	int64		now = monotonic_ms();
	int64		wait = 24 * 3600 * INT64CONST(1000);
	int64		wait_woken = naptime_ms();
	ListCell   *cell;

	foreach(cell, schedule)
	{
		ScheduledJob *job = lfirst(cell);
		int64		again = job->due_ms;

		/* one that is still due had nothing to do just now */
		if (again <= 0)
			again = Max(job->every_ms, naptime_ms());
		if (job->by_commit)
		{
			wait_woken = Min(wait_woken, Max(job->due_ms, 0));
			/*
			 * Commits wake us, but if it was not due yet, or runs elsewhere,
			 * the one that woke us has been forgotten with this round.
			 */
			if (was_looked_at(before, job->name))
				again = job->again_ms < 0 ? Max(again, SWEEP_MS) : Max(again, Min(job->again_ms, SWEEP_MS));
		}
		wait = Min(wait, again);
	}
	/* not all at the same moment, where there are many databases */
	wait += wait / 100 * (MyDatabaseId % 10);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	my_slot->next_ms = now + wait;
	my_slot->next_woken_ms = now + Min(wait, wait_woken);
	LWLockRelease(shared->lock);
}

/* round_jobs runs what is due. */
static void
round_jobs(void)
{
	List	   *before;
	List	   *schedule;
	ListCell   *cell;

	if (!read_schedule(&before))
		return;
	foreach(cell, before)
	{
		ScheduledJob *job = lfirst(cell);

		if (job->due_ms > 0)
			continue;
		if (should_stop() != NULL)
		{
			my_outcome = OUTCOME_YIELDED;
			return;
		}
		if (!run_job(job))
			return;
	}
	if (!read_schedule(&schedule))
		return;
	plan_next_round(before, schedule);
	my_outcome = OUTCOME_DONE;
}

/* biolink_worker_main is the process of one round in one database. */
void
biolink_worker_main(Datum arg)
{
	int			i = DatumGetInt32(arg);
	Oid			database = InvalidOid;
	bool		there;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);

	LWLockAcquire(shared->lock, LW_EXCLUSIVE);
	if (shared->slots[i].state == SLOT_STARTING)
	{
		my_slot = &shared->slots[i];
		my_slot->state = SLOT_RUNNING;
		my_slot->pid = MyProcPid;
		my_slot->started_at = GetCurrentTimestamp();
		my_slot->error[0] = '\0';
		database = my_slot->database;
		/* what commits from here on is for the next round */
		pg_atomic_write_u32(&my_slot->woken, 0);
	}
	LWLockRelease(shared->lock);
	/* the launcher that asked for us is gone */
	if (my_slot == NULL)
		proc_exit(0);
	before_shmem_exit(round_exit, (Datum) 0);

	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	round_context = AllocSetContextCreate(TopMemoryContext, "biolink round", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(round_context);

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		strlcpy(my_database, get_database_name(MyDatabaseId), NAMEDATALEN);
		there = OidIsValid(get_extension_oid("biolink", true));
		if (there)
		{
			become_role();
			settle_settings();
		}
		CommitTransactionCommand();
		MemoryContextSwitchTo(round_context);
		if (there)
			round_jobs();
		else
			my_outcome = OUTCOME_ABSENT;
	}
	PG_CATCH();
	{
		round_fails(abort_with_error());
	}
	PG_END_TRY();
	proc_exit(0);
}

/*
 * What it says of itself
 */

/* text_or_null makes a text of a string that may be empty. */
static Datum
text_or_null(const char *string, bool *isnull)
{
	*isnull = string[0] == '\0';
	return *isnull ? (Datum) 0 : CStringGetTextDatum(string);
}

/* time_or_null makes a timestamptz of a time that may be 0. */
static Datum
time_or_null(TimestampTz at, bool *isnull)
{
	*isnull = at == 0;
	return TimestampTzGetDatum(at);
}

/*
 * worker_state returns a row for the launcher and one for each database that
 * it knows to have, or to may have, the extension.
 */
Datum
worker_state(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		now_ms = monotonic_ms();
	TimestampTz now = GetCurrentTimestamp();

	InitMaterializedSRF(fcinfo, 0);

	for (int i = -1; shared != NULL && i < MAX_SLOTS; i++)
	{
		Datum		values[9];
		bool		nulls[9] = {0};
		WorkerSlot	slot = {0};
		int64		due = -1;
		bool		woken = false;

		LWLockAcquire(shared->lock, LW_SHARED);
		if (i < 0)
		{
			slot.pid = shared->launcher_pid;
			slot.started_at = shared->launcher_pid != 0 ? shared->launcher_started_at : 0;
			if (shared->no_worker_slot)
				strlcpy(slot.error, "there is no free slot for a background worker: increase max_worker_processes", ERROR_BYTES);
			else if (shared->crowded)
				snprintf(slot.error, ERROR_BYTES, "there are more databases than the worker can serve (%d): set biolink.worker_databases", MAX_SLOTS);
		}
		else
		{
			slot = shared->slots[i];
			due = when_due(&shared->slots[i]);
			woken = pg_atomic_read_u32(&shared->slots[i].woken) != 0;
		}
		LWLockRelease(shared->lock);
		if (i >= 0 && !OidIsValid(slot.database))
			continue;

		values[0] = ObjectIdGetDatum(slot.database);
		nulls[0] = i < 0;
		values[1] = CStringGetTextDatum(i < 0 ? (slot.pid == 0 ? "not running" : worker_enabled ? "running" : "switched off")
										: slot.state == SLOT_RUNNING ? "running"
										: slot.state == SLOT_STARTING ? "starting"
										: slot.excluded ? "left out"
										: !worker_enabled ? "switched off"
										: slot.failures > 0 ? "backing off"
										: "waiting");
		values[2] = Int32GetDatum(slot.pid);
		nulls[2] = slot.pid == 0;
		values[3] = text_or_null(slot.job, &nulls[3]);
		values[4] = time_or_null(slot.started_at, &nulls[4]);
		values[5] = time_or_null(slot.ended_at, &nulls[5]);
		nulls[6] = due < 0 || !worker_enabled;
		values[6] = TimestampTzGetDatum(now + Max(due - now_ms, 0) * 1000);
		values[7] = BoolGetDatum(woken);
		values[8] = text_or_null(slot.error, &nulls[8]);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	PG_RETURN_VOID();
}

/*
 * Setting up
 */

/* check_databases accepts a list of names. */
static bool
check_databases(char **newval, void **extra, GucSource source)
{
	char	   *list = pstrdup(*newval);
	List	   *names;

	if (!SplitIdentifierString(list, ',', &names))
	{
		GUC_check_errdetail("List syntax is invalid.");
		return false;
	}
	return true;
}

/* worker_shmem_request asks for the shared memory. */
static void
worker_shmem_request(void)
{
	if (previous_shmem_request_hook)
		previous_shmem_request_hook();
	RequestAddinShmemSpace(sizeof(WorkerShared));
	RequestNamedLWLockTranche("biolink", 1);
}

/* worker_shmem_startup attaches to it, and sets it up in the postmaster. */
static void
worker_shmem_startup(void)
{
	bool		found;

	if (previous_shmem_startup_hook)
		previous_shmem_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	shared = ShmemInitStruct("biolink worker", sizeof(WorkerShared), &found);
	if (!found)
	{
		memset(shared, 0, sizeof(WorkerShared));
		shared->lock = &(GetNamedLWLockTranche("biolink"))->lock;
		for (int i = 0; i < MAX_SLOTS; i++)
			pg_atomic_init_u32(&shared->slots[i].woken, 0);
	}
	LWLockRelease(AddinShmemInitLock);
}

/* worker_init defines the settings and, where the library is preloaded, the launcher. */
void
worker_init(void)
{
	BackgroundWorker launcher;

	DefineCustomBoolVariable("biolink.worker",
							 "Runs the jobs of biolink in the background.",
							 "Off pauses them in all databases; CALL biolink.run_job() works all the same. "
							 "Needs biolink in shared_preload_libraries.",
							 &worker_enabled,
							 true,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);

	DefineCustomStringVariable("biolink.worker_databases",
							   "Databases in which jobs run in the background, as a list of names.",
							   "If empty, all that have the extension.",
							   &worker_databases,
							   "",
							   PGC_SIGHUP,
							   GUC_LIST_INPUT,
							   check_databases, NULL, NULL);

	DefineCustomStringVariable("biolink.worker_role",
							   "Role that jobs run as in the background.",
							   "A member of biolink_admin, and no superuser. If empty, the owner of schema biolink.",
							   &worker_role,
							   "",
							   PGC_SIGHUP,
							   0,
							   NULL, NULL, NULL);

	DefineCustomIntVariable("biolink.max_workers",
							"Number of databases whose jobs run in the background at the same time.",
							"Each takes one of max_worker_processes while it works; the launcher has one more.",
							&max_workers,
							3, 1, MAX_SLOTS,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);

	DefineCustomIntVariable("biolink.naptime",
							"Shortest time between two runs of a job that commits bring work.",
							"Also the first wait after a failure.",
							&naptime,
							10, 1, 86400,
							PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);

	if (!process_shared_preload_libraries_in_progress)
		return;

	previous_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = worker_shmem_request;
	previous_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = worker_shmem_startup;
	RegisterXactCallback(at_transaction_end, NULL);

	/* pg_upgrade wants nobody to write but itself */
	if (IsBinaryUpgrade)
		return;
	describe_worker(&launcher, "biolink launcher", "biolink_launcher_main");
	launcher.bgw_restart_time = RESTART_SECONDS;
	RegisterBackgroundWorker(&launcher);
}
