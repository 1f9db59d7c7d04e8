/*-------------------------------------------------------------------------
 *
 * house.c
 *	  How C reaches biolink's tables.
 *
 * Owns the per-backend look-up of the extension's schema, owner and types,
 * the preparation of saved plans, and one change counter per cached config
 * table.
 *
 * Invariants:
 *	- Tables are reached through SPI only, as the owner role, with generic
 *	  plans; the caller's rights decide whether it may call the function, row
 *	  security whether it may read the tables itself.
 *	- A plan looks rows up by index, however small a table was when it was made.
 *	- A plan lives as long as the objects it was prepared for: dropping and
 *	  re-creating the extension within one backend's life prepares anew.
 *	- A counter never goes back, and goes on when a (sub)transaction of this
 *	  backend aborts or is prepared.  Equal counters before and after reading rows
 *	  under the latest snapshot mean that the rows read may be kept.
 *
 *-------------------------------------------------------------------------
 */
#include "house.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "optimizer/cost.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

static House current;
static bool current_valid = false;
static bool callbacks_registered = false;

/* What each cached table is called, its OID once known, and its counter. */
static const char *const cached_table_names[NUM_CACHED_TABLES] = {
	[CACHED_CREATOR] = "creator",
	[CACHED_LINK] = "link",
	[CACHED_KEY_EPOCH] = "key_epoch",
	[CACHED_OFFER] = "offer",
	[CACHED_EVENT_RETENTION] = "event_retention",
};
static Oid	cached_table_oids[NUM_CACHED_TABLES];
static uint64 cached_table_counters[NUM_CACHED_TABLES];

PG_FUNCTION_INFO_V1(invalidate_cached);

/* forget_house makes the next call look the extension's objects up again. */
static void
forget_house(Datum arg, int cacheid, uint32 hashvalue)
{
	current_valid = false;
}

/* forget_rows counts a change of a cached table, or of all for InvalidOid. */
static void
forget_rows(Datum arg, Oid relid)
{
	for (int i = 0; i < NUM_CACHED_TABLES; i++)
	{
		if (!OidIsValid(relid) || relid == cached_table_oids[i])
			cached_table_counters[i]++;
	}
}

/*
 * forget_at_abort counts a change of every cached table: a row that this
 * transaction inserted and read back is gone, and no invalidation says so.
 */
static void
forget_at_abort(XactEvent event, void *arg)
{
	/* whoever commits or rolls back a prepared one, we do not hear of it */
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		forget_rows((Datum) 0, InvalidOid);
}

/* forget_at_subabort does likewise for a savepoint that is rolled back. */
static void
forget_at_subabort(SubXactEvent event, SubTransactionId mine,
				   SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_rows((Datum) 0, InvalidOid);
}

/* look_up_house fills *current from the catalogs. */
static void
look_up_house(void)
{
	HeapTuple	tuple;
	Oid			schema;

	if (!callbacks_registered)
	{
		CacheRegisterSyscacheCallback(NAMESPACEOID, forget_house, (Datum) 0);
		CacheRegisterSyscacheCallback(TYPEOID, forget_house, (Datum) 0);
		CacheRegisterRelcacheCallback(forget_rows, (Datum) 0);
		RegisterXactCallback(forget_at_abort, NULL);
		RegisterSubXactCallback(forget_at_subabort, NULL);
		callbacks_registered = true;
	}

	schema = get_namespace_oid("biolink", true);
	if (!OidIsValid(schema))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"biolink\" is not installed in this database"),
				 errhint("Run CREATE EXTENSION biolink.")));

	/* before the look-ups: an invalidation among them must not be lost */
	current_valid = true;

	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(schema));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for namespace %u", schema);

	if (current.schema != schema)
	{
		current.schema = schema;
		current.generation++;
	}
	current.owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);

	current.idhash = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
									 CStringGetDatum("idhash"),
									 ObjectIdGetDatum(schema));
	current.token = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid,
									CStringGetDatum("token"),
									ObjectIdGetDatum(schema));

	current.event_rows = get_array_type(get_rel_type_id(get_relname_relid("event", schema)));

	for (int i = 0; i < NUM_CACHED_TABLES; i++)
	{
		Oid			oid = get_relname_relid(cached_table_names[i], schema);

		if (oid != cached_table_oids[i])
		{
			cached_table_oids[i] = oid;
			cached_table_counters[i]++;
		}
	}
}

/* house returns the extension's objects in this database, or fails with 55000. */
const House *
house(void)
{
	while (!current_valid)
		look_up_house();
	return &current;
}

/*
 * owner_enter connects to SPI and makes the owner role current, so that the
 * statements that follow see every tenant's rows.  An error in between needs
 * no cleaning up: (sub)transaction abort restores both.
 */
void
owner_enter(OwnerScope *scope)
{
	Oid			owner = house()->owner;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	GetUserIdAndSecContext(&scope->saved_user, &scope->saved_context);
	SetUserIdAndSecContext(owner,
						   scope->saved_context | SECURITY_LOCAL_USERID_CHANGE);
}

/* owner_leave gives the caller its role back and disconnects from SPI. */
void
owner_leave(OwnerScope *scope)
{
	SetUserIdAndSecContext(scope->saved_user, scope->saved_context);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
}

/* type_of_letter maps a letter of SavedPlan.argtypes to a type. */
static Oid
type_of_letter(char letter)
{
	switch (letter)
	{
		case 'l':
			return INT8OID;
		case 'i':
			return INT4OID;
		case 'o':
			return BOOLOID;
		case 'f':
			return FLOAT8OID;
		case 't':
			return TEXTOID;
		case 'u':
			return UUIDOID;
		case 'z':
			return TIMESTAMPTZOID;
		case 'j':
			return JSONBOID;
		case 'x':
			return BYTEAOID;
		case 'h':
			return house()->idhash;
		case 'k':
			return house()->token;
		case 'L':
			return INT8ARRAYOID;
		case 'T':
			return TEXTARRAYOID;
		case 'U':
			return UUIDARRAYOID;
		case 'Z':
			return TIMESTAMPTZARRAYOID;
		case 'O':
			return BOOLARRAYOID;
		case 'X':
			return BYTEAARRAYOID;
		case 'E':
			return house()->event_rows;
	}
	elog(ERROR, "unknown parameter type letter \"%c\"", letter);
}

/* plan_ready prepares a statement if this backend has not, or not since the
 * extension was created anew. */
static SPIPlanPtr
plan_ready(SavedPlan *plan)
{
	uint64		generation = house()->generation;
	int			nargs;
	Oid			types[FUNC_MAX_ARGS];
	SPIPlanPtr	prepared;

	if (plan->plan != NULL && plan->generation == generation)
		return plan->plan;

	if (plan->plan != NULL)
	{
		SPI_freeplan(plan->plan);
		plan->plan = NULL;
	}

	nargs = (int) strlen(plan->argtypes);
	Assert(nargs <= FUNC_MAX_ARGS);
	for (int i = 0; i < nargs; i++)
		types[i] = type_of_letter(plan->argtypes[i]);

	prepared = SPI_prepare_cursor(plan->sql, nargs, types,
								  CURSOR_OPT_GENERIC_PLAN);
	if (prepared == NULL)
		elog(ERROR, "SPI_prepare failed: %s",
			 SPI_result_code_string(SPI_result));
	if (SPI_keepplan(prepared) != 0)
		elog(ERROR, "SPI_keepplan failed");

	plan->plan = prepared;
	plan->generation = generation;
	return prepared;
}

/*
 * plan_by_index plans a statement: by indexes, whatever is known of the tables.
 * What is planned for a table of one page reads it from end to end, and would go
 * on doing so while a transaction, or a minute before autovacuum comes, fills it
 * with a hundred thousand rows.
 */
static pg_noinline void
plan_by_index(SPIPlanPtr plan)
{
	bool		seqscan = enable_seqscan;
	bool		jit = jit_enabled;

	PG_TRY();
	{
		enable_seqscan = false;
		/* the cost of reading what has no index would call for it */
		jit_enabled = false;
		ReleaseCachedPlan(SPI_plan_get_cached_plan(plan), CurrentResourceOwner);
	}
	PG_FINALLY();
	{
		enable_seqscan = seqscan;
		jit_enabled = jit;
	}
	PG_END_TRY();
}

/* plan_made gives a statement that is prepared and planned. */
static SPIPlanPtr
plan_made(SavedPlan *plan)
{
	SPIPlanPtr	prepared = plan_ready(plan);
	CachedPlanSource *source = linitial(SPI_plan_get_plan_sources(prepared));

	/* what makes the plan invalid is to do so now, not while it is executed */
	AcceptInvalidationMessages();
	if (!source->is_valid || source->gplan == NULL || !source->gplan->is_valid)
		plan_by_index(prepared);
	return prepared;
}

/* plan_execute runs a statement that may write; returns the rows processed. */
uint64
plan_execute(SavedPlan *plan, Datum *values, const char *nulls)
{
	int			rc = SPI_execute_plan(plan_made(plan), values, nulls, false, 0);

	if (rc < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(rc));
	return SPI_processed;
}

/*
 * plan_read_latest runs a query under a snapshot taken now, whatever the
 * isolation level: what is cached must not be older than the invalidations
 * already accepted.
 */
uint64
plan_read_latest(SavedPlan *plan, Datum *values, const char *nulls)
{
	int			rc = SPI_execute_snapshot(plan_made(plan), values, nulls,
										  GetLatestSnapshot(), InvalidSnapshot,
										  true, false, 0);

	if (rc < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s",
			 SPI_result_code_string(rc));
	return SPI_processed;
}

/*
 * plan_find looks up a row that is never changed, but may be moved to another
 * partition: a snapshot of the transaction that is older than the move does
 * not show it there, one of now does.  The first look has waited for the move.
 */
uint64
plan_find(SavedPlan *plan, Datum *values, const char *nulls)
{
	uint64		found = plan_execute(plan, values, nulls);

	if (found == 0 && IsolationUsesXactSnapshot())
		found = plan_read_latest(plan, values, nulls);
	return found;
}

/*
 * cached_table_generation takes in what other backends committed and returns
 * the table's change counter.
 */
uint64
cached_table_generation(CachedTable table)
{
	AcceptInvalidationMessages();
	(void) house();
	return cached_table_counters[table];
}

/*
 * invalidate_cached is the statement trigger of the cached tables: every
 * backend that holds rows of the table drops them, at commit or, in this one,
 * also at rollback.  Its arguments, if any, name the tables whose rows are
 * meant instead of the trigger's own.
 */
Datum
invalidate_cached(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Trigger    *definition;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("biolink.invalidate_cached() must be called as a trigger")));

	definition = trigger->tg_trigger;
	if (definition->tgnargs == 0)
		CacheInvalidateRelcacheByRelid(RelationGetRelid(trigger->tg_relation));
	for (int i = 0; i < definition->tgnargs; i++)
	{
		Oid			oid = get_relname_relid(definition->tgargs[i],
											RelationGetNamespace(trigger->tg_relation));

		if (!OidIsValid(oid))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("there is no table \"%s\" beside \"%s\", whose rows a trigger on it would invalidate",
							definition->tgargs[i], RelationGetRelationName(trigger->tg_relation))));
		CacheInvalidateRelcacheByRelid(oid);
	}
	PG_RETURN_POINTER(NULL);
}
