/*-------------------------------------------------------------------------
 *
 * event_store.c
 *	  Writing events, their keys and what was parked.
 *
 * Owns the statements that insert into biolink.event, event_key, event_parked,
 * ledger, attribution_queue and repeated_text, and the memory of which repeated texts are stored already.
 *
 * Invariants:
 *	- A key, its digest and its effect are written by one transaction.
 *	- A text counts as stored only while the transaction that stored it cannot
 *	  fail any more: the memory is emptied whenever a (sub)transaction of this
 *	  backend aborts or is prepared.
 *	- Two sessions that first see one text at the same time store it twice
 *	  rather than wait for each other.
 *
 * All functions run between owner_enter() and owner_leave().
 *
 *-------------------------------------------------------------------------
 */
#include "event_store.h"

#include "house.h"
#include "keys.h"
#include "seal.h"
#include "worker.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "executor/spi.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include <sodium.h>

#define MAX_STORED_TEXTS	16384

/* 1970, the first that a UUIDv7 can say */
#define EARLIEST_EVENT	(-UNIX_EPOCH_OFFSET_SECS * USECS_PER_SEC)

/* A longer key is stored as its hash: an index has no room for it. */
#define MAX_KEY_BYTES		500

typedef struct StoredText
{
	int64		creator_id;
	int64		text_id;
} StoredText;

static HTAB *stored_texts = NULL;
static bool callbacks_registered = false;

/* The columns of biolink.event in the order in which event_values() gives them. */
#define EVENT_COLUMN_NAMES \
	"creator_id, event_id, occurred_at, received_at, visitor, day_visitor, visit_id, click_id," \
	" link_id, campaign_id, offer_id, post_id, agent_id, referrer_id, amount, is_bot, is_test, merged, measurement_denied," \
	" kind, source, bot_reason, evidence, token_reason, channel, channel_evidence, medium, platform, device, os, browser, app," \
	" country, region, city, language, referrer_host, order_id, order_type, payment, goal, currency, utm, context, flags," \
	" tax, shipping, fee, subscription_id, codes, items"

static SavedPlan event_plan = SAVED_PLAN(
	"INSERT INTO biolink.event (" EVENT_COLUMN_NAMES ")"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,"
	" $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42, $43, $44, $45, $46, $47, $48, $49, $50, $51)",
	"luzzhhuulllllllooootttttttttttttttttttttttjjTllltTj");

static SavedPlan events_plan = SAVED_PLAN(
	"INSERT INTO biolink.event (" EVENT_COLUMN_NAMES ")"
	" SELECT " EVENT_COLUMN_NAMES " FROM pg_catalog.unnest($1)",
	"E");
#define EVENT_COLUMNS	51

static SavedPlan text_known_plan = SAVED_PLAN(
	"SELECT 1 FROM biolink.repeated_text AS t"
	" WHERE t.creator_id OPERATOR(pg_catalog.=) $1 AND t.text_id OPERATOR(pg_catalog.=) $2 LIMIT 1",
	"ll");

static SavedPlan text_plan = SAVED_PLAN(
	"INSERT INTO biolink.repeated_text (creator_id, text_id, event_id, value) VALUES ($1, $2, $3, $4)"
	" ON CONFLICT DO NOTHING",
	"llut");

#define LEDGER_COLUMN_NAMES \
	"creator_id, entry_id, event_id, order_id, kind, amount, tax, shipping, fee, currency, occurred_at, received_at, is_test"
#define LEDGER_COLUMNS	13

static SavedPlan ledger_plan = SAVED_PLAN(
	"INSERT INTO biolink.ledger (" LEDGER_COLUMN_NAMES ")"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
	"luuttlllltzzo");

static SavedPlan ledgers_plan = SAVED_PLAN(
	"INSERT INTO biolink.ledger (" LEDGER_COLUMN_NAMES ")"
	" SELECT " LEDGER_COLUMN_NAMES
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5),"
	" pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8), pg_catalog.unnest($9), pg_catalog.unnest($10),"
	" pg_catalog.unnest($11), pg_catalog.unnest($12), pg_catalog.unnest($13)) AS u (" LEDGER_COLUMN_NAMES ")",
	"LUUTTLLLLTZZO");

static SavedPlan queue_plan = SAVED_PLAN(
	"INSERT INTO biolink.attribution_queue (creator_id, conversion_id, reason) VALUES ($1, $2, $3)",
	"lut");

static SavedPlan queues_plan = SAVED_PLAN(
	"INSERT INTO biolink.attribution_queue (creator_id, conversion_id, reason)"
	" SELECT u.creator_id, u.conversion_id, u.reason"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS u (creator_id, conversion_id, reason)",
	"LUT");

static SavedPlan order_refs_plan = SAVED_PLAN(
	"INSERT INTO biolink.order_ref (creator_id, ref, order_id, event_id, received_at)"
	" SELECT u.creator_id, u.ref, u.order_id, u.event_id, u.received_at"
	" FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5))"
	" AS u (creator_id, ref, order_id, event_id, received_at)" ORDER_REF_CONFLICT,
	"LTTUZ");

static SavedPlan key_plan = SAVED_PLAN(
	"INSERT INTO biolink.event_key (creator_id, source, key, event_id, kind, revision, digest, received_at)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
	"lttutlxz");

/* Many keys, in their order, so that two who claim the same ones never wait for each other in a circle. */
static SavedPlan keys_plan = SAVED_PLAN(
	"INSERT INTO biolink.event_key (creator_id, source, key, event_id, kind, revision, digest, received_at)"
	" SELECT $1, u.source, u.key, u.event_id, u.kind, u.revision, u.digest, u.received_at"
	" FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5), pg_catalog.unnest($6),"
	" pg_catalog.unnest($7), pg_catalog.unnest($8)) WITH ORDINALITY AS u (source, key, event_id, kind, revision, digest, received_at, place)"
	" ORDER BY u.place ON CONFLICT DO NOTHING RETURNING event_id",
	"lTTUTLXZ");

static SavedPlan known_keys_plan = SAVED_PLAN(
	"SELECT u.place, k.event_id, k.kind, k.revision, k.digest"
	" FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)) WITH ORDINALITY AS u (source, key, place)"
	" CROSS JOIN LATERAL (SELECT o.event_id, o.kind, o.revision, o.digest FROM biolink.event_key AS o"
	" WHERE o.creator_id OPERATOR(pg_catalog.=) $1 AND o.source OPERATOR(pg_catalog.=) u.source AND o.key OPERATOR(pg_catalog.=) u.key"
	" OFFSET 0) AS k",
	"lTT");

static SavedPlan known_key_plan = SAVED_PLAN(
	"SELECT k.event_id, k.kind, k.revision, k.digest FROM biolink.event_key AS k"
	" WHERE k.creator_id OPERATOR(pg_catalog.=) $1 AND k.source OPERATOR(pg_catalog.=) $2 AND k.key OPERATOR(pg_catalog.=) $3",
	"ltt");

static SavedPlan lock_key_plan = SAVED_PLAN(
	"SELECT k.event_id, k.kind, k.revision, k.digest FROM biolink.event_key AS k"
	" WHERE k.creator_id OPERATOR(pg_catalog.=) $1 AND k.source OPERATOR(pg_catalog.=) $2 AND k.key OPERATOR(pg_catalog.=) $3"
	" FOR NO KEY UPDATE",
	"ltt");

static SavedPlan key_back_plan = SAVED_PLAN(
	"DELETE FROM biolink.event_key AS k"
	" WHERE k.creator_id OPERATOR(pg_catalog.=) $1 AND k.source OPERATOR(pg_catalog.=) $2 AND k.key OPERATOR(pg_catalog.=) $3",
	"ltt");

/* What a key held before stands under a source of its own, so that it is known again when it is sent again. */
static SavedPlan key_history_plan = SAVED_PLAN(
	"INSERT INTO biolink.event_key (creator_id, source, key, event_id, kind, revision, digest, received_at)"
	" SELECT k.creator_id, 'biolink:revision', pg_catalog.concat(pg_catalog.length(k.source), ':', k.source, ':', k.key, ':', k.revision),"
	" k.event_id, k.kind, k.revision, k.digest, k.received_at FROM biolink.event_key AS k"
	" WHERE k.creator_id OPERATOR(pg_catalog.=) $1 AND k.source OPERATOR(pg_catalog.=) $2 AND k.key OPERATOR(pg_catalog.=) $3"
	/* whoever sees an older revision than there is has to be told that, not that it is written down already */
	" FOR UPDATE",
	"ltt");

/* A lower revision that comes after a higher one. */
static SavedPlan key_lower_plan = SAVED_PLAN(
	"INSERT INTO biolink.event_key (creator_id, source, key, event_id, kind, revision, digest, received_at)"
	" VALUES ($1, 'biolink:revision', pg_catalog.concat(pg_catalog.length($2), ':', $2, ':', $3, ':', $6), $4, $5, $6, $7, $8)"
	/* it may be there for a transaction that cannot see it: that one has to be tried again */
	" ON CONFLICT DO NOTHING",
	"lttutlxz");

/* The event of a key is the one whose order was booked. */
static SavedPlan key_counts_plan = SAVED_PLAN(
	"UPDATE biolink.event_key AS k SET event_id = $4"
	" WHERE k.creator_id OPERATOR(pg_catalog.=) $1 AND k.source OPERATOR(pg_catalog.=) $2 AND k.key OPERATOR(pg_catalog.=) $3",
	"lttu");

static SavedPlan key_had_plan = SAVED_PLAN(
	"SELECT k.event_id, k.digest FROM biolink.event_key AS k"
	" WHERE k.creator_id OPERATOR(pg_catalog.=) $1 AND k.source OPERATOR(pg_catalog.=) 'biolink:revision'"
	" AND k.key OPERATOR(pg_catalog.=) pg_catalog.concat(pg_catalog.length($2), ':', $2, ':', $3, ':', $4)",
	"lttl");

static SavedPlan key_revise_plan = SAVED_PLAN(
	"UPDATE biolink.event_key AS k SET revision = $4, digest = $5, event_id = $6"
	" WHERE k.creator_id OPERATOR(pg_catalog.=) $1 AND k.source OPERATOR(pg_catalog.=) $2 AND k.key OPERATOR(pg_catalog.=) $3",
	"lttlxu");

static SavedPlan park_plan = SAVED_PLAN(
	"INSERT INTO biolink.event_parked (creator_id, parked_id, source, key, kind, reason, detail, event, digest, sealed)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (creator_id, source, key, digest) DO NOTHING",
	"lutttttjxx");

static SavedPlan parked_plan = SAVED_PLAN(
	"SELECT p.parked_id FROM biolink.event_parked AS p"
	" WHERE p.creator_id OPERATOR(pg_catalog.=) $1 AND p.source OPERATOR(pg_catalog.=) $2"
	" AND p.key OPERATOR(pg_catalog.=) $3 AND p.digest OPERATOR(pg_catalog.=) $4",
	"lttx");

/* slice_datum makes a text Datum. */
static Datum
slice_datum(Slice slice)
{
	return PointerGetDatum(cstring_to_text_with_len(slice.data, (int) slice.len));
}

/* digest_datum makes a bytea Datum. */
static Datum
digest_datum(const EventDigest *digest)
{
	bytea	   *value = palloc(VARHDRSZ + DIGEST_BYTES);

	SET_VARSIZE(value, VARHDRSZ + DIGEST_BYTES);
	memcpy(VARDATA(value), digest->data, DIGEST_BYTES);
	return PointerGetDatum(value);
}

/* forget_stored_texts empties the memory: what this transaction stored may go. */
static void
forget_stored_texts(void)
{
	if (stored_texts != NULL)
	{
		hash_destroy(stored_texts);
		stored_texts = NULL;
	}
}

/* at_transaction_end forgets when a transaction does not commit here and now. */
static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		forget_stored_texts();
}

/* at_subtransaction_end forgets when a savepoint is rolled back. */
static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mine,
					  SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		forget_stored_texts();
}

/* repeated_text_id gives the number of a text and stores the text when it is new. */
static int64
repeated_text_id(int64 creator_id, Slice value, const pg_uuid_t *event_id)
{
	uint8		hash[32];
	StoredText	key;
	bool		found;
	Datum		values[4];

	crypto_generichash(hash, sizeof(hash), (const unsigned char *) value.data, value.len, NULL, 0);
	memset(&key, 0, sizeof(key));
	key.creator_id = creator_id;
	for (int i = 0; i < 8; i++)
		key.text_id = (int64) (((uint64) key.text_id << 8) | hash[i]);

	if (!callbacks_registered)
	{
		RegisterXactCallback(at_transaction_end, NULL);
		RegisterSubXactCallback(at_subtransaction_end, NULL);
		callbacks_registered = true;
	}
	if (stored_texts != NULL && hash_get_num_entries(stored_texts) >= MAX_STORED_TEXTS)
		forget_stored_texts();
	if (stored_texts != NULL && hash_search(stored_texts, &key, HASH_FIND, NULL) != NULL)
		return key.text_id;

	values[0] = Int64GetDatum(creator_id);
	values[1] = Int64GetDatum(key.text_id);
	if (plan_execute(&text_known_plan, values, NULL) == 0)
	{
		values[2] = UUIDPGetDatum(event_id);
		values[3] = slice_datum(value);
		plan_execute(&text_plan, values, NULL);
	}
	/* a trigger's savepoint may have emptied the memory meanwhile */
	if (stored_texts == NULL)
	{
		HASHCTL		control;

		control.keysize = sizeof(StoredText);
		control.entrysize = sizeof(StoredText);
		control.hcxt = TopMemoryContext;
		stored_texts = hash_create("biolink repeated texts", 256, &control,
								   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	hash_search(stored_texts, &key, HASH_ENTER, &found);
	return key.text_id;
}

/* utc_text writes a time as RFC 3339 in UTC, to the microsecond. */
static char *
utc_text(TimestampTz at)
{
	struct pg_tm tm;
	fsec_t		fraction;

	if (timestamp2tm(at, NULL, &tm, &fraction, NULL, NULL) != 0)
		elog(ERROR, "time out of range");
	return psprintf("%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", tm.tm_year, tm.tm_mon, tm.tm_mday,
					tm.tm_hour, tm.tm_min, tm.tm_sec, (int) fraction);
}

/* flags_datum makes a text[] of flags. */
static Datum
flags_datum(uint32 flags)
{
	static const char *const names[] = {
		"skew_corrected", "clamped", "unknown_link", "unknown_offer", "refs_differ", "parts_differ",
		"malformed_refs", "malformed_items", "malformed_codes", "malformed_identifiers"
	};
	Datum		values[lengthof(names)];
	int			n = 0;

	for (size_t i = 0; i < lengthof(names); i++)
	{
		if (flags & (1U << i))
			values[n++] = CStringGetTextDatum(names[i]);
	}
	return PointerGetDatum(construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* event_note adds a text, masked, to an event's context. */
void
event_note(EventRow *row, const char *key, Slice text)
{
	JsonbParseState *state = NULL;
	JsonbValue	name = {.type = jbvString};
	JsonbValue	value = {.type = jbvString};
	size_t		len;
	Jsonb	   *note;

	name.val.string.val = unconstify(char *, key);
	name.val.string.len = (int) strlen(key);
	value.val.string.val = text_masked(text, &len);
	value.val.string.len = (int) len;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	pushJsonbValue(&state, WJB_KEY, &name);
	pushJsonbValue(&state, WJB_VALUE, &value);
	note = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	row->context = row->context == NULL ? note :
		DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(row->context), JsonbPGetDatum(note)));
}

/*
 * event_settle_time puts an event's time right once it has arrived.  Where the
 * sender's clock differed by more than skew when it sent the event, the event's
 * time is moved by as much.  What is from the future all the same happened when
 * it arrived; the time that it claims stays in its context.
 */
void
event_settle_time(EventRow *row, int64 skew, const TimestampTz *sent_at)
{
	TimestampTz claimed = row->occurred_at;

	if (sent_at != NULL &&
		(row->received_at - *sent_at > skew || *sent_at - row->received_at > skew))
	{
		row->occurred_at += row->received_at - *sent_at;
		row->flags |= FLAG_SKEW_CORRECTED;
	}
	if (row->occurred_at > row->received_at + skew)
	{
		row->occurred_at = row->received_at;
		row->flags |= FLAG_CLAMPED;
	}
	/* a clock that was wrong by decades is no reason to have happened before there were any */
	if (row->occurred_at < EARLIEST_EVENT)
		row->occurred_at = EARLIEST_EVENT;
	if (row->occurred_at != claimed)
		event_note(row, "claimed_at", SLICE_OF(utc_text(claimed)));
}

/*
 * event_values gives an event's column values in the order of
 * EVENT_COLUMN_NAMES, and stores its texts where they are new.
 */
static void
event_values(const EventRow *row, Datum *values, bool *nulls)
{
	int			n = 0;

#define PUT(isnull, datum) \
	do { \
		bool		absent = (isnull); \
		nulls[n] = absent; \
		values[n++] = absent ? (Datum) 0 : (datum); \
	} while (0)
#define PUT_ID(id)		PUT((id) == 0, Int64GetDatum(id))
#define PUT_TEXT(slice)	PUT((slice).len == 0, slice_datum(slice))

	PUT(false, Int64GetDatum(row->creator_id));
	PUT(false, UUIDPGetDatum(&row->event_id));
	PUT(false, TimestampTzGetDatum(row->occurred_at));
	PUT(false, TimestampTzGetDatum(row->received_at));
	PUT(!row->has_visitor, IdHashPGetDatum(&row->visitor));
	PUT(!row->has_day_visitor, IdHashPGetDatum(&row->day_visitor));
	PUT(!row->has_visit_id, UUIDPGetDatum(&row->visit_id));
	PUT(!row->has_click_id, UUIDPGetDatum(&row->click_id));
	PUT_ID(row->link_id);
	PUT_ID(row->campaign_id);
	PUT_ID(row->offer_id);
	PUT_ID(row->post_id);
	PUT(row->user_agent.len == 0,
		Int64GetDatum(repeated_text_id(row->creator_id, row->user_agent, &row->event_id)));
	PUT(row->referrer.len == 0,
		Int64GetDatum(repeated_text_id(row->creator_id, row->referrer, &row->event_id)));
	PUT(!row->has_amount, Int64GetDatum(row->money.amount));
	PUT(false, BoolGetDatum(row->is_bot));
	PUT(false, BoolGetDatum(row->is_test));
	PUT(false, BoolGetDatum(row->merged));
	PUT(false, BoolGetDatum(row->measurement_denied));
	PUT_TEXT(row->kind);
	PUT_TEXT(row->source);
	PUT_TEXT(row->bot_reason);
	PUT_TEXT(row->evidence);
	PUT_TEXT(row->token_reason);
	PUT_TEXT(row->channel);
	PUT_TEXT(row->channel_evidence);
	PUT_TEXT(row->medium);
	PUT_TEXT(row->platform);
	PUT_TEXT(row->device);
	PUT_TEXT(row->os);
	PUT_TEXT(row->browser);
	PUT_TEXT(row->app);
	PUT_TEXT(row->country);
	PUT_TEXT(row->region);
	PUT_TEXT(row->city);
	PUT_TEXT(row->language);
	PUT_TEXT(row->referrer_host);
	PUT_TEXT(row->order_id);
	PUT_TEXT(row->order_type);
	PUT_TEXT(row->payment);
	PUT_TEXT(row->goal);
	PUT_TEXT(row->currency);
	PUT(row->utm == NULL, JsonbPGetDatum(row->utm));
	PUT(row->context == NULL, JsonbPGetDatum(row->context));
	PUT(row->flags == 0, flags_datum(row->flags));
	for (int part = 0; part < NUM_MONEY_PARTS; part++)
		PUT(!row->money.has_part[part], Int64GetDatum(row->money.part[part]));
	PUT_TEXT(row->subscription_id);
	PUT(row->ncodes == 0, PointerGetDatum(construct_array(row->codes, row->ncodes, TEXTOID, -1, false, TYPALIGN_INT)));
	PUT(row->items == NULL, JsonbPGetDatum(row->items));
	Assert(n == EVENT_COLUMNS);

#undef PUT
#undef PUT_ID
#undef PUT_TEXT

}

/*
 * Rows that are written together
 */

/* Rows of a table, column by column. */
typedef struct SinkColumns
{
	int			nrows;
	int			capacity;
	int			ncolumns;
	Datum	   *values[LEDGER_COLUMNS];
	bool	   *nulls[LEDGER_COLUMNS];
} SinkColumns;

struct EventSink
{
	MemoryContext context;		/* of what waits; emptied with it */
	MemoryContext home;			/* of the sink itself */
	int			capacity;
	int			nevents;
	Datum	   *events;			/* rows of biolink.event */
	TupleDesc	event_shape;
	AttrNumber	places[EVENT_COLUMNS];	/* of event_values()' columns in the row */
	SinkColumns ledger;
	SinkColumns queue;
	SinkColumns refs;
	HTAB	   *known_refs;		/* hashes of references that name something already */
	HTAB	   *names;			/* hashes of what its rows are looked for by: orders, visitors */
};

/* sink_places finds the columns of EVENT_COLUMN_NAMES in biolink.event. */
static void
sink_places(EventSink *sink)
{
	char	   *names = pstrdup(EVENT_COLUMN_NAMES);
	char	   *rest = NULL;
	int			n = 0;

	for (char *name = strtok_r(names, ", ", &rest); name != NULL; name = strtok_r(NULL, ", ", &rest))
	{
		AttrNumber	found = InvalidAttrNumber;

		for (int i = 0; i < sink->event_shape->natts; i++)
		{
			Form_pg_attribute attribute = TupleDescAttr(sink->event_shape, i);

			if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0)
				found = attribute->attnum;
		}
		if (found == InvalidAttrNumber)
			elog(ERROR, "biolink.event has no column \"%s\"", name);
		sink->places[n++] = found;
	}
	Assert(n == EVENT_COLUMNS);
	pfree(names);
}

/* sink_names makes an empty set of names. */
static HTAB *
sink_names(MemoryContext context)
{
	HASHCTL		control = {0};

	control.keysize = control.entrysize = sizeof(uint64);
	control.hcxt = context;
	return hash_create("biolink names in a sink", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* columns_make makes room for rows of so many columns. */
static void
columns_make(SinkColumns *columns, int ncolumns, int capacity)
{
	columns->capacity = capacity;
	columns->ncolumns = ncolumns;
	for (int i = 0; i < ncolumns; i++)
	{
		columns->values[i] = palloc(capacity * sizeof(Datum));
		columns->nulls[i] = palloc(capacity * sizeof(bool));
	}
}

/* event_sink_make makes a sink for up to so many events at a time. */
EventSink *
event_sink_make(MemoryContext context, int capacity)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	EventSink  *sink = palloc0(sizeof(EventSink));

	sink->home = context;
	sink->context = AllocSetContextCreate(context, "biolink rows to be written", ALLOCSET_DEFAULT_SIZES);
	sink->capacity = capacity;
	sink->events = palloc(capacity * sizeof(Datum));
	sink->event_shape = lookup_rowtype_tupdesc_copy(get_element_type(house()->event_rows), -1);
	sink_places(sink);
	columns_make(&sink->ledger, LEDGER_COLUMNS, capacity);
	columns_make(&sink->queue, 3, capacity);
	columns_make(&sink->refs, 5, capacity);
	sink->known_refs = sink_names(context);
	sink->names = sink_names(sink->context);
	MemoryContextSwitchTo(old);
	return sink;
}

/* name_hash identifies a name within a sink. */
static uint64
name_hash(Slice name)
{
	return DatumGetUInt64(hash_any_extended((const unsigned char *) name.data, (int) name.len, 0));
}

/* event_sink_holds says whether something that is looked for by a name may wait in the sink. */
bool
event_sink_holds(const EventSink *sink, Slice name)
{
	uint64		hash = name_hash(name);

	return hash_search(sink->names, &hash, HASH_FIND, NULL) != NULL;
}

/* event_sink_note has event_sink_holds() say so of a name. */
void
event_sink_note(EventSink *sink, Slice name)
{
	uint64		hash = name_hash(name);

	hash_search(sink->names, &hash, HASH_ENTER, NULL);
}

/* ref_hash identifies a reference within a sink. */
static uint64
ref_hash(Datum ref)
{
	text	   *value = DatumGetTextPP(ref);

	return name_hash((Slice) {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)});
}

/* event_sink_know notes that a reference names something: what is not noted names nothing. */
void
event_sink_know(EventSink *sink, Datum ref)
{
	uint64		hash = ref_hash(ref);

	hash_search(sink->known_refs, &hash, HASH_ENTER, NULL);
}

/* event_sink_knows says whether a reference may name something. */
bool
event_sink_knows(const EventSink *sink, Datum ref)
{
	uint64		hash = ref_hash(ref);

	return hash_search(sink->known_refs, &hash, HASH_FIND, NULL) != NULL;
}

/* event_sink_empty throws away what waits. */
void
event_sink_empty(EventSink *sink)
{
	MemoryContextReset(sink->context);
	sink->nevents = sink->ledger.nrows = sink->queue.nrows = sink->refs.nrows = 0;
	sink->names = sink_names(sink->context);
}

/* array_of makes an array Datum of a column. */
static Datum
array_of(Datum *values, int n, Oid type, int length, bool by_value, char align)
{
	return PointerGetDatum(construct_array(values, n, type, length, by_value, align));
}

#define INT8_ARRAY(values, n)	array_of(values, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)
#define TIME_ARRAY(values, n)	array_of(values, n, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE)
#define TEXT_ARRAY(values, n)	array_of(values, n, TEXTOID, -1, false, TYPALIGN_INT)
#define BYTEA_ARRAY(values, n)	array_of(values, n, BYTEAOID, -1, false, TYPALIGN_INT)
#define UUID_ARRAY(values, n)	array_of(values, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)

/* columns_write runs a plan whose parameters are arrays of the columns; types has the types of their elements. */
static void
columns_write(SavedPlan *plan, const SinkColumns *columns, const Oid *types)
{
	Datum		arrays[LEDGER_COLUMNS];

	if (columns->nrows == 0)
		return;
	for (int i = 0; i < columns->ncolumns; i++)
	{
		int16		length;
		bool		by_value;
		char		align;
		int			lower_bound = 1;

		get_typlenbyvalalign(types[i], &length, &by_value, &align);
		arrays[i] = PointerGetDatum(construct_md_array(columns->values[i], columns->nulls[i], 1, unconstify(int *, &columns->nrows),
													   &lower_bound, types[i], length, by_value, align));
	}
	plan_execute(plan, arrays, NULL);
}

/* event_sink_flush writes what waits. */
void
event_sink_flush(EventSink *sink)
{
	static const Oid ledger_types[LEDGER_COLUMNS] = {
		INT8OID, UUIDOID, UUIDOID, TEXTOID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, BOOLOID
	};
	static const Oid queue_types[] = {INT8OID, UUIDOID, TEXTOID};
	static const Oid ref_types[] = {INT8OID, TEXTOID, TEXTOID, UUIDOID, TIMESTAMPTZOID};
	MemoryContext old = MemoryContextSwitchTo(sink->context);

	if (sink->nevents > 0)
	{
		Datum		rows = array_of(sink->events, sink->nevents, get_element_type(house()->event_rows), -1, false, TYPALIGN_DOUBLE);

		plan_execute(&events_plan, &rows, NULL);
	}
	columns_write(&ledgers_plan, &sink->ledger, ledger_types);
	columns_write(&queues_plan, &sink->queue, queue_types);
	columns_write(&order_refs_plan, &sink->refs, ref_types);
	MemoryContextSwitchTo(old);
	event_sink_empty(sink);
}

/* sink_row keeps the values of a row in a table's columns. */
static void
sink_row(SinkColumns *columns, const Datum *values, const char *nulls)
{
	if (columns->nrows == columns->capacity)
	{
		/* one event may have several rows */
		columns->capacity *= 2;
		for (int i = 0; i < columns->ncolumns; i++)
		{
			columns->values[i] = repalloc(columns->values[i], columns->capacity * sizeof(Datum));
			columns->nulls[i] = repalloc(columns->nulls[i], columns->capacity * sizeof(bool));
		}
	}
	for (int i = 0; i < columns->ncolumns; i++)
	{
		columns->values[i][columns->nrows] = values[i];
		columns->nulls[i][columns->nrows] = nulls != NULL && nulls[i] == 'n';
	}
	columns->nrows++;
}

/* event_insert stores an event, at once or with the others of a sink. */
void
event_insert(EventRow *row, EventSink *sink)
{
	Datum		values[EVENT_COLUMNS];
	bool		nulls[EVENT_COLUMNS];

	if (sink == NULL)
	{
		char		flags[EVENT_COLUMNS];

		event_values(row, values, nulls);
		for (int i = 0; i < EVENT_COLUMNS; i++)
			flags[i] = nulls[i] ? 'n' : ' ';
		plan_execute(&event_plan, values, flags);
	}
	else
	{
		MemoryContext old = MemoryContextSwitchTo(sink->context);
		Datum	   *columns = palloc(sink->event_shape->natts * sizeof(Datum));
		bool	   *absent = palloc(sink->event_shape->natts * sizeof(bool));

		event_values(row, values, nulls);
		memset(absent, true, sink->event_shape->natts * sizeof(bool));
		for (int i = 0; i < EVENT_COLUMNS; i++)
		{
			columns[sink->places[i] - 1] = values[i];
			absent[sink->places[i] - 1] = nulls[i];
		}
		sink->events[sink->nevents++] = HeapTupleGetDatum(heap_form_tuple(sink->event_shape, columns, absent));
		if (row->order_id.len > 0)
			event_sink_note(sink, row->order_id);
		MemoryContextSwitchTo(old);
	}
	worker_wake_at_commit();
}

/* ledger_insert books money. */
void
ledger_insert(const LedgerEntry *entry, EventSink *sink)
{
	MemoryContext old = sink != NULL ? MemoryContextSwitchTo(sink->context) : CurrentMemoryContext;
	pg_uuid_t  *ids = palloc(2 * sizeof(pg_uuid_t));
	const Money *money = &entry->money;
	char		nulls[LEDGER_COLUMNS];
	Datum		values[LEDGER_COLUMNS] = {
		Int64GetDatum(entry->creator_id),
		UUIDPGetDatum(&ids[0]),
		UUIDPGetDatum(&ids[1]),
		slice_datum(entry->order_id),
		CStringGetTextDatum(entry->kind),
		Int64GetDatum(money->amount),
		Int64GetDatum(money->part[PART_TAX]),
		Int64GetDatum(money->part[PART_SHIPPING]),
		Int64GetDatum(money->part[PART_FEE]),
		slice_datum(entry->currency),
		TimestampTzGetDatum(entry->occurred_at),
		TimestampTzGetDatum(entry->received_at),
		BoolGetDatum(entry->is_test)
	};

	ids[0] = entry->entry_id;
	ids[1] = entry->event_id;
	memset(nulls, ' ', sizeof(nulls));
	for (int part = 0; part < NUM_MONEY_PARTS; part++)
		nulls[6 + part] = money->has_part[part] ? ' ' : 'n';
	if (sink == NULL)
		plan_execute(&ledger_plan, values, nulls);
	else
	{
		sink_row(&sink->ledger, values, nulls);
		event_sink_note(sink, entry->order_id);
	}
	MemoryContextSwitchTo(old);
}

/* order_ref_insert has a reference that is new name a sale, once the sink is flushed. */
void
order_ref_insert(const EventRow *row, Datum ref, const char *order_id, bool is_sale, EventSink *sink)
{
	MemoryContext old = MemoryContextSwitchTo(sink->context);
	text	   *value = DatumGetTextPP(ref);
	Slice		name = {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
	bool		books = is_sale && slice_is(name, order_id);
	pg_uuid_t  *event_id = palloc(sizeof(pg_uuid_t));
	Datum		values[5] = {
		Int64GetDatum(row->creator_id), slice_datum(name), CStringGetTextDatum(order_id),
		UUIDPGetDatum(event_id), TimestampTzGetDatum(row->received_at)
	};
	char		nulls[5] = {' ', ' ', ' ', books ? ' ' : 'n', ' '};

	*event_id = row->event_id;
	sink_row(&sink->refs, values, nulls);
	event_sink_note(sink, name);
	event_sink_know(sink, ref);
	MemoryContextSwitchTo(old);
}

/* queue_insert asks the job for a conversion's path. */
void
queue_insert(int64 creator_id, const pg_uuid_t *conversion_id, const char *reason, EventSink *sink)
{
	MemoryContext old = sink != NULL ? MemoryContextSwitchTo(sink->context) : CurrentMemoryContext;
	pg_uuid_t  *id = palloc(sizeof(pg_uuid_t));
	Datum		values[3] = {
		Int64GetDatum(creator_id),
		UUIDPGetDatum(id),
		CStringGetTextDatum(reason)
	};

	*id = *conversion_id;
	if (sink == NULL)
		plan_execute(&queue_plan, values, NULL);
	else
		sink_row(&sink->queue, values, NULL);
	MemoryContextSwitchTo(old);
}

/* digest_under computes a digest under one key. */
static void
digest_under(const HashKey *key, uint16 epoch, Slice content, EventDigest *digest)
{
	Bytes		pieces[2] = {
		{"bl1.digest", 10},
		{content.data, content.len}
	};

	digest->data[0] = (uint8) (epoch >> 8);
	digest->data[1] = (uint8) (epoch & 0xff);
	hash_key_hash16(key, pieces, 2, digest->data + 2);
}

/* event_digest makes the digest of an event's canonical text under the creator's active key. */
EventDigest
event_digest(int64 creator_id, Slice content)
{
	EventDigest digest;
	uint16		epoch;
	const HashKey *key = hash_key_for_signing(creator_id, PURPOSE_DIGEST, true, &epoch);

	digest_under(key, epoch, content, &digest);
	return digest;
}

/*
 * event_digest_matches tells whether a stored digest is of this content; a digest
 * of an epoch whose key is gone cannot tell, and counts as the same.
 */
bool
event_digest_matches(int64 creator_id, const EventDigest *stored, const EventDigest *digest, Slice content)
{
	const uint8 *bytes = stored->data;
	uint16		epoch;
	const HashKey *key;
	EventDigest again;
	bool		same;

	if (memcmp(bytes, digest->data, 2) == 0)
		return sodium_memcmp(bytes, digest->data, DIGEST_BYTES) == 0;

	epoch = (uint16) (bytes[0] << 8 | bytes[1]);
	if (hash_key_for_verifying(creator_id, PURPOSE_DIGEST, epoch, &key) != KEY_OK)
		return true;
	digest_under(key, epoch, content, &again);
	same = sodium_memcmp(bytes, again.data, DIGEST_BYTES) == 0;
	if (same)
		key_verified(creator_id, PURPOSE_DIGEST, epoch, NULL);
	return same;
}

/* stored_digest reads a digest column. */
static EventDigest
stored_digest(Datum value)
{
	bytea	   *bytes = DatumGetByteaPP(value);
	EventDigest digest;

	if (VARSIZE_ANY_EXHDR(bytes) != DIGEST_BYTES)
		elog(ERROR, "stored digest has %d bytes", (int) VARSIZE_ANY_EXHDR(bytes));
	memcpy(digest.data, VARDATA_ANY(bytes), DIGEST_BYTES);
	return digest;
}

/* digest_matches tells whether a digest column is of this content. */
static bool
digest_matches(int64 creator_id, Datum stored, const EventDigest *digest, Slice content)
{
	EventDigest known = stored_digest(stored);

	return event_digest_matches(creator_id, &known, digest, content);
}

/* identifier_hash hashes a text under the creator's identity key. */
static IdHash
identifier_hash(int64 creator_id, const char *kind, Slice value)
{
	uint8		sha256[32];
	IdHash		hash;
	uint16		epoch;
	const HashKey *key = hash_key_for_signing(creator_id, PURPOSE_IDENTITY, true, &epoch);

	sha256_of(value.data, value.len, sha256);
	derive_idhash(key, kind, strlen(kind), sha256, hash.data);
	return hash;
}

/*
 * event_key_stored gives the form in which a key is stored: itself, or a keyed
 * hash where it is long or looks like an email address or a phone number.
 */
char *
event_key_stored(int64 creator_id, Slice key)
{
	uint8		sha256[32];
	IdHash		hash;
	char	   *text;

	if (key.len <= MAX_KEY_BYTES && !text_is_sensitive(key))
		return pnstrdup(key.data, key.len);

	/* under a key that is never changed: it has to be found again for ever */
	sha256_of(key.data, key.len, sha256);
	derive_idhash(hash_key_for_ever(creator_id, PURPOSE_DIGEST, true), "event_key", 9, sha256, hash.data);
	text = palloc(5 + 2 * IDHASH_BYTES + 1);
	memcpy(text, "hash:", 5);
	sodium_bin2hex(text + 5, 2 * IDHASH_BYTES + 1, hash.data, IDHASH_BYTES);
	return text;
}

/*
 * event_key_take claims a key; false, with what it did before, when it is
 * taken.  Waits for another transaction that is claiming the same key.
 */
bool
event_key_take(int64 creator_id, Slice source, const char *stored_key,
			   const pg_uuid_t *event_id, Slice kind, int64 revision,
			   const EventDigest *digest, Slice content,
			   TimestampTz received_at, KnownKey *known)
{
	Datum		values[8];
	bool		isnull;
	HeapTuple	tuple;
	TupleDesc	descriptor;

	values[0] = Int64GetDatum(creator_id);
	values[1] = slice_datum(source);
	values[2] = CStringGetTextDatum(stored_key);
	values[3] = UUIDPGetDatum(event_id);
	values[4] = slice_datum(kind);
	values[5] = Int64GetDatum(revision);
	values[6] = digest_datum(digest);
	values[7] = TimestampTzGetDatum(received_at);
	if (plan_execute(&key_plan, values, NULL) > 0)
		return true;

	/* what may be revised is read under a lock, so that revisions of one key take turns */
	if (plan_execute(revision > 0 ? &lock_key_plan : &known_key_plan, values, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not read the event key that another transaction has just removed"),
				 errhint("Try the transaction again.")));
	tuple = SPI_tuptable->vals[0];
	descriptor = SPI_tuptable->tupdesc;
	known->event_id = *DatumGetUUIDP(SPI_getbinval(tuple, descriptor, 1, &isnull));
	known->kind = TextDatumGetCString(SPI_getbinval(tuple, descriptor, 2, &isnull));
	known->revision = DatumGetInt64(SPI_getbinval(tuple, descriptor, 3, &isnull));
	known->same_content =
		digest_matches(creator_id, SPI_getbinval(tuple, descriptor, 4, &isnull), digest, content);
	return false;
}

/*
 * event_keys_take claims many keys of one creator, in the order in which they
 * are given, and looks up what those that are taken did before.
 */
void
event_keys_take(int64 creator_id, KeyClaim **claims, int nclaims)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "biolink keys", ALLOCSET_DEFAULT_SIZES);
	MemoryContext home = MemoryContextSwitchTo(context);
	Datum	   *columns[7];
	Datum		values[8];
	int			ntaken = 0;
	uint64		nclaimed;

	for (int c = 0; c < 7; c++)
		columns[c] = palloc(nclaims * sizeof(Datum));
	for (int i = 0; i < nclaims; i++)
	{
		columns[0][i] = slice_datum(claims[i]->source);
		columns[1][i] = CStringGetTextDatum(claims[i]->stored_key);
		columns[2][i] = UUIDPGetDatum(&claims[i]->event_id);
		columns[3][i] = slice_datum(claims[i]->kind);
		columns[4][i] = Int64GetDatum(claims[i]->revision);
		columns[5][i] = digest_datum(&claims[i]->digest);
		columns[6][i] = TimestampTzGetDatum(claims[i]->received_at);
	}
	values[0] = Int64GetDatum(creator_id);
	values[1] = TEXT_ARRAY(columns[0], nclaims);
	values[2] = TEXT_ARRAY(columns[1], nclaims);
	values[3] = UUID_ARRAY(columns[2], nclaims);
	values[4] = TEXT_ARRAY(columns[3], nclaims);
	values[5] = INT8_ARRAY(columns[4], nclaims);
	values[6] = BYTEA_ARRAY(columns[5], nclaims);
	values[7] = TIME_ARRAY(columns[6], nclaims);
	nclaimed = plan_execute(&keys_plan, values, NULL);

	/* what was claimed comes back in the order in which it was given */
	for (int i = 0; i < nclaims; i++)
	{
		bool		isnull;

		claims[i]->claimed = (uint64) (i - ntaken) < nclaimed &&
			memcmp(DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[i - ntaken], SPI_tuptable->tupdesc, 1, &isnull)),
				   &claims[i]->event_id, sizeof(pg_uuid_t)) == 0;
		if (!claims[i]->claimed)
		{
			columns[0][ntaken] = columns[0][i];
			columns[1][ntaken] = columns[1][i];
			columns[2][ntaken] = Int32GetDatum(i);
			ntaken++;
		}
	}
	SPI_freetuptable(SPI_tuptable);

	if (ntaken > 0)
	{
		uint64		nknown;

		values[1] = TEXT_ARRAY(columns[0], ntaken);
		values[2] = TEXT_ARRAY(columns[1], ntaken);
		nknown = plan_execute(&known_keys_plan, values, NULL);
		for (uint64 n = 0; n < nknown; n++)
		{
			HeapTuple	tuple = SPI_tuptable->vals[n];
			TupleDesc	shape = SPI_tuptable->tupdesc;
			bool		isnull;
			int64		place = DatumGetInt64(SPI_getbinval(tuple, shape, 1, &isnull));
			KeyClaim   *claim = claims[DatumGetInt32(columns[2][place - 1])];

			claim->known = true;
			claim->known_event_id = *DatumGetUUIDP(SPI_getbinval(tuple, shape, 2, &isnull));
			MemoryContextSwitchTo(home);
			claim->known_kind = TextDatumGetCString(SPI_getbinval(tuple, shape, 3, &isnull));
			MemoryContextSwitchTo(context);
			claim->known_revision = DatumGetInt64(SPI_getbinval(tuple, shape, 4, &isnull));
			claim->known_digest = stored_digest(SPI_getbinval(tuple, shape, 5, &isnull));
		}
		SPI_freetuptable(SPI_tuptable);
	}
	MemoryContextSwitchTo(home);
	MemoryContextDelete(context);
}

/* event_key_give_back releases a key taken in this transaction: what it was taken for is not to be. */
void
event_key_give_back(int64 creator_id, Slice source, const char *stored_key)
{
	Datum		values[3] = {
		Int64GetDatum(creator_id), slice_datum(source), CStringGetTextDatum(stored_key)
	};

	plan_execute(&key_back_plan, values, NULL);
}

/* event_key_revise notes that a higher revision came under a key; what the key held before stays known. */
void
event_key_revise(int64 creator_id, Slice source, const char *stored_key,
				 int64 revision, const EventDigest *digest,
				 const pg_uuid_t *event_id)
{
	Datum		values[6] = {
		Int64GetDatum(creator_id), slice_datum(source), CStringGetTextDatum(stored_key),
		Int64GetDatum(revision), digest_datum(digest), UUIDPGetDatum(event_id)
	};

	plan_execute(&key_history_plan, values, NULL);
	plan_execute(&key_revise_plan, values, NULL);
}

/*
 * event_key_note_lower remembers a lower revision that comes after a higher
 * one, so that it is known when it is sent again; counts says that it is the one
 * whose order is booked.
 */
void
event_key_note_lower(int64 creator_id, Slice source, const char *stored_key,
					 const pg_uuid_t *event_id, Slice kind, int64 revision,
					 const EventDigest *digest, TimestampTz received_at, bool counts)
{
	Datum		values[8] = {
		Int64GetDatum(creator_id), slice_datum(source), CStringGetTextDatum(stored_key), UUIDPGetDatum(event_id),
		slice_datum(kind), Int64GetDatum(revision), digest_datum(digest), TimestampTzGetDatum(received_at)
	};

	plan_execute(&key_lower_plan, values, NULL);
	if (counts)
		plan_execute(&key_counts_plan, values, NULL);
}

/* event_key_had tells whether a lower revision was sent before, what it made, and whether it had this content. */
bool
event_key_had(int64 creator_id, Slice source, const char *stored_key,
			  int64 revision, const EventDigest *digest, Slice content,
			  pg_uuid_t *event_id, bool *same_content)
{
	Datum		values[4] = {
		Int64GetDatum(creator_id), slice_datum(source), CStringGetTextDatum(stored_key),
		Int64GetDatum(revision)
	};
	bool		isnull;
	HeapTuple	tuple;
	TupleDesc	descriptor;

	if (plan_execute(&key_had_plan, values, NULL) == 0)
		return false;
	tuple = SPI_tuptable->vals[0];
	descriptor = SPI_tuptable->tupdesc;
	*event_id = *DatumGetUUIDP(SPI_getbinval(tuple, descriptor, 1, &isnull));
	*same_content = digest_matches(creator_id, SPI_getbinval(tuple, descriptor, 2, &isnull), digest, content);
	return true;
}

/*
 * event_park keeps what could not be taken: masked to be read, sealed to be
 * replayed; false when the same is parked already.  parked_id is that of the
 * row either way.
 */
bool
event_park(int64 creator_id, Slice source, const char *stored_key, Slice kind,
		   const char *reason, const char *detail, Jsonb *event, Slice content,
		   Slice original, pg_uuid_t *parked_id)
{
	EventDigest digest = event_digest(creator_id, content);
	Datum		values[10];
	Datum		lookup[4];
	char		nulls[10];
	bool		isnull;

	uuidv7_make(parked_id, GetCurrentTimestamp());
	memset(nulls, ' ', sizeof(nulls));
	values[0] = lookup[0] = Int64GetDatum(creator_id);
	values[1] = UUIDPGetDatum(parked_id);
	values[2] = lookup[1] = slice_datum(source);
	values[3] = lookup[2] = CStringGetTextDatum(stored_key);
	values[4] = kind.len > 0 ? slice_datum(kind) : (Datum) 0;
	nulls[4] = kind.len > 0 ? ' ' : 'n';
	values[5] = CStringGetTextDatum(reason);
	values[6] = detail != NULL ? CStringGetTextDatum(detail) : (Datum) 0;
	nulls[6] = detail != NULL ? ' ' : 'n';
	values[7] = JsonbPGetDatum(jsonb_masked(event));
	values[8] = lookup[3] = digest_datum(&digest);
	values[9] = PointerGetDatum(seal_text(creator_id, PARKED_LABEL, original));
	if (plan_execute(&park_plan, values, nulls) > 0)
		return true;

	if (plan_execute(&parked_plan, lookup, NULL) > 0)
		*parked_id = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[0],
												  SPI_tuptable->tupdesc, 1, &isnull));
	return false;
}

/* visitor_hash hashes a first-party cookie, or an event id in its place, to a visitor. */
IdHash
visitor_hash(int64 creator_id, Slice value)
{
	return identifier_hash(creator_id, "visitor", value);
}

/* session_visitor is the visitor of an event without a cookie: a hash of the event's own id, as text. */
IdHash
session_visitor(int64 creator_id, const pg_uuid_t *event_id)
{
	static const char digits[] = "0123456789abcdef";
	char		text[36];
	char	   *p = text;

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = digits[event_id->data[i] >> 4];
		*p++ = digits[event_id->data[i] & 0x0f];
	}
	return visitor_hash(creator_id, (Slice) {text, sizeof(text)});
}
