/*-------------------------------------------------------------------------
 *
 * house.h
 *	  How C reaches biolink's tables: the owner role, saved plans, and the
 *	  counters that tell when a cached row may have changed.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_HOUSE_H
#define BIOLINK_HOUSE_H

#include "biolink.h"

#include "executor/spi.h"

/* The objects of this database's biolink that C has to name by OID. */
typedef struct House
{
	Oid			schema;
	Oid			owner;			/* owner of the schema: biolink_owner */
	Oid			idhash;			/* type biolink.idhash */
	Oid			token;			/* type biolink.token */
	Oid			event_rows;		/* type biolink.event[] */
	uint64		generation;		/* changes whenever one of the above may have */
} House;

/*
 * A statement prepared once per backend.  argtypes has one letter for each
 * parameter: l int8, i int4, o bool, f float8, t text, u uuid, z timestamptz,
 * j jsonb, x bytea, h biolink.idhash, k biolink.token; L T U Z O X for arrays
 * of those, E for biolink.event[].
 */
typedef struct SavedPlan
{
	const char *sql;
	const char *argtypes;
	SPIPlanPtr	plan;
	uint64		generation;
} SavedPlan;

#define SAVED_PLAN(sql, argtypes)	{(sql), (argtypes), NULL, 0}

/* What owner_enter() changed and owner_leave() puts back. */
typedef struct OwnerScope
{
	Oid			saved_user;
	int			saved_context;
} OwnerScope;

/* Config tables whose rows backends cache. */
typedef enum CachedTable
{
	CACHED_CREATOR,
	CACHED_LINK,
	CACHED_KEY_EPOCH,
	CACHED_OFFER,				/* with the links of offers */
	CACHED_EVENT_RETENTION,
	NUM_CACHED_TABLES
} CachedTable;

extern const House *house(void);

extern void owner_enter(OwnerScope *scope);
extern void owner_leave(OwnerScope *scope);

extern uint64 plan_execute(SavedPlan *plan, Datum *values, const char *nulls);
extern uint64 plan_read_latest(SavedPlan *plan, Datum *values, const char *nulls);
extern uint64 plan_find(SavedPlan *plan, Datum *values, const char *nulls);

extern uint64 cached_table_generation(CachedTable table);

#endif							/* BIOLINK_HOUSE_H */
