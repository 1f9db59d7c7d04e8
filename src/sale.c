/*-------------------------------------------------------------------------
 *
 * sale.c
 *	  Sales, and the references that name them.
 *
 * Owns biolink.order_ref: which references (an order's own number, those of its
 * checkout, its invoice, its payment) are names of one sale.  Each row leads
 * from a reference to the order_id by which the sale goes; the row of that
 * order_id itself has the conversion_id, once money was taken.
 *
 * Invariants:
 *	- A reference names one sale; references are joined and never parted.
 *	- Sales that turn out to be one were the same money: all but one are taken
 *	  out of the books by a ledger row of kind "merged".
 *	- Whoever decides or writes anything of a sale holds the turns of the
 *	  references it was told and of the order_id by which the sale goes.
 *
 * All functions run between owner_enter() and owner_leave().
 *
 *-------------------------------------------------------------------------
 */
#include "sale.h"

#include "house.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* "bo": see job_lock.c for the class of jobs' locks */
#define ORDER_LOCK_CLASS	0x626f

/* Orders of a creator that take turns with each other: a batch may hold all of them. */
#define ORDER_TURNS			256

/*
 * In all of these the look-ups stand in sub-queries that cannot be pulled up, so that they go by the index for each
 * reference, whatever is known of the tables when the plan is made.
 */
static SavedPlan known_refs_plan = SAVED_PLAN(
	"SELECT u.place, k.order_id"
	" FROM pg_catalog.unnest($2) WITH ORDINALITY AS u (ref, place)"
	" CROSS JOIN LATERAL (SELECT r.order_id FROM biolink.order_ref AS r"
	"  WHERE r.creator_id OPERATOR(pg_catalog.=) $1 AND r.ref OPERATOR(pg_catalog.=) u.ref OFFSET 0) AS k",
	"lT");

static SavedPlan sales_plan = SAVED_PLAN(
	"SELECT s.order_id, s.event_id, m.currency, m.is_test, m.amount, m.tax, m.shipping, m.fee, m.taken_back"
	" FROM (SELECT DISTINCT k.order_id FROM pg_catalog.unnest($2) AS u (ref)"
	"  CROSS JOIN LATERAL (SELECT r.order_id FROM biolink.order_ref AS r"
	"   WHERE r.creator_id OPERATOR(pg_catalog.=) $1 AND r.ref OPERATOR(pg_catalog.=) u.ref OFFSET 0) AS k) AS d"
	" CROSS JOIN LATERAL (SELECT r.order_id, r.event_id FROM biolink.order_ref AS r"
	"  WHERE r.creator_id OPERATOR(pg_catalog.=) $1 AND r.ref OPERATOR(pg_catalog.=) d.order_id OFFSET 0) AS s"
	" LEFT JOIN LATERAL (SELECT"
	"  pg_catalog.max(l.currency) FILTER (WHERE l.event_id OPERATOR(pg_catalog.=) s.event_id) AS currency,"
	"  pg_catalog.bool_or(l.is_test) FILTER (WHERE l.event_id OPERATOR(pg_catalog.=) s.event_id) AS is_test,"
	"  pg_catalog.min(l.received_at) FILTER (WHERE l.event_id OPERATOR(pg_catalog.=) s.event_id) AS booked_at,"
	"  pg_catalog.sum(l.amount) FILTER (WHERE l.kind OPERATOR(pg_catalog.=) ANY ('{order,revision,merged}'::pg_catalog.text[]))::pg_catalog.int8 AS amount,"
	"  pg_catalog.sum(l.tax)::pg_catalog.int8 AS tax, pg_catalog.sum(l.shipping)::pg_catalog.int8 AS shipping, pg_catalog.sum(l.fee)::pg_catalog.int8 AS fee,"
	"  GREATEST(LEAST(COALESCE(pg_catalog.sum(OPERATOR(pg_catalog.-) l.amount) FILTER (WHERE l.kind OPERATOR(pg_catalog.=) ANY ('{refund,dispute,dispute_won}'::pg_catalog.text[])), 0),"
	"   9223372036854775807), -9223372036854775807)::pg_catalog.int8 AS taken_back"
	"  FROM (SELECT r.ref FROM biolink.order_ref AS r"
	"   WHERE r.creator_id OPERATOR(pg_catalog.=) $1 AND r.order_id OPERATOR(pg_catalog.=) s.order_id OFFSET 0) AS n"
	"  CROSS JOIN LATERAL (SELECT b.* FROM biolink.ledger AS b"
	"   WHERE b.creator_id OPERATOR(pg_catalog.=) $1 AND b.order_id OPERATOR(pg_catalog.=) n.ref OFFSET 0) AS l"
	" ) AS m ON s.event_id IS NOT NULL"
	" ORDER BY s.event_id IS NULL, m.booked_at, s.order_id",
	"lT");

static SavedPlan state_plan = SAVED_PLAN(
	"SELECT pg_catalog.concat_ws(' ', pg_catalog.count(*), pg_catalog.sum(l.entries), pg_catalog.string_agg(DISTINCT n.order_id, ' '))"
	" FROM (SELECT DISTINCT k.order_id FROM pg_catalog.unnest($2) AS u (ref)"
	"  CROSS JOIN LATERAL (SELECT r.order_id FROM biolink.order_ref AS r"
	"   WHERE r.creator_id OPERATOR(pg_catalog.=) $1 AND r.ref OPERATOR(pg_catalog.=) u.ref OFFSET 0) AS k) AS d"
	" CROSS JOIN LATERAL (SELECT r.ref, r.order_id FROM biolink.order_ref AS r"
	"  WHERE r.creator_id OPERATOR(pg_catalog.=) $1 AND r.order_id OPERATOR(pg_catalog.=) d.order_id OFFSET 0) AS n"
	" CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS entries FROM biolink.ledger AS b"
	"  WHERE b.creator_id OPERATOR(pg_catalog.=) $1 AND b.order_id OPERATOR(pg_catalog.=) n.ref) AS l",
	"lT");

static SavedPlan had_plan = SAVED_PLAN(
	"SELECT 1 FROM (SELECT r.ref FROM biolink.order_ref AS r"
	"  WHERE r.creator_id OPERATOR(pg_catalog.=) $1 AND r.order_id OPERATOR(pg_catalog.=) $2 OFFSET 0) AS n"
	" CROSS JOIN LATERAL (SELECT v.kind, v.payment, v.amount, v.currency FROM biolink.event AS v"
	"  WHERE v.creator_id OPERATOR(pg_catalog.=) $1 AND v.order_id OPERATOR(pg_catalog.=) n.ref OFFSET 0) AS e"
	" WHERE e.kind OPERATOR(pg_catalog.=) 'order' AND COALESCE(e.payment, 'paid') OPERATOR(pg_catalog.=) 'paid'"
	" AND e.amount OPERATOR(pg_catalog.=) $3 AND e.currency OPERATOR(pg_catalog.=) $4 LIMIT 1",
	"ltlt");

static SavedPlan rename_plan = SAVED_PLAN(
	"UPDATE biolink.order_ref SET order_id = $2, event_id = NULL"
	" WHERE creator_id OPERATOR(pg_catalog.=) $1 AND order_id OPERATOR(pg_catalog.=) ANY ($3)",
	"ltT");

static SavedPlan name_plan = SAVED_PLAN(
	"INSERT INTO biolink.order_ref (creator_id, ref, order_id, event_id, received_at)"
	" SELECT $1, u.ref, $3, CASE WHEN u.ref OPERATOR(pg_catalog.=) $3 THEN $4 END, $5 FROM pg_catalog.unnest($2) AS u (ref)"
	ORDER_REF_CONFLICT,
	"lTtuz");

/* order_turn tells which turn of its creator a reference takes. */
static int
order_turn(Datum ref)
{
	text	   *value = DatumGetTextPP(ref);

	return (int) (hash_bytes((const unsigned char *) VARDATA_ANY(value), (int) VARSIZE_ANY_EXHDR(value)) % ORDER_TURNS);
}

/* text_array makes a text[] Datum. */
static Datum
text_array(Datum *texts, int n)
{
	return PointerGetDatum(construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT));
}

/* turn_lock takes or gives back one turn. */
static void
turn_lock(int64 creator_id, int turn, bool take)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) creator_id,
						 (uint32) (creator_id >> 32) * ORDER_TURNS + (uint32) turn, ORDER_LOCK_CLASS);
	if (take)
		(void) LockAcquire(&tag, ExclusiveLock, false, false);
	else
		LockRelease(&tag, ExclusiveLock, false);
}

/* state_of tells how things stand with what some references name, for the transaction or, where latest says so, for anybody who begins now. */
static char *
state_of(Datum *values, bool latest)
{
	bool		isnull;
	char	   *state;

	if (latest)
		plan_read_latest(&state_plan, values, NULL);
	else
		plan_execute(&state_plan, values, NULL);
	state = TextDatumGetCString(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	return state;
}

/*
 * order_turns_take makes all who are told something of one sale wait for each
 * other to the end of the transaction: what one may do depends on what the
 * others did.  Turns are those of the references and of the order ids by which
 * their sales go, taken in ascending order and before any key; where it turns
 * out that one more is needed, they are given back and taken again.  The locks
 * are of a class that SQL cannot take.  A transaction that cannot see what those
 * did for whom it has waited has to be tried again: most of it is new rows, with
 * which nothing that it writes would collide.  known tells afterwards which references
 * name something, and nobody else can change that.
 */
void
order_turns_take(int64 creator_id, Datum *refs, int nrefs, bool *known)
{
	bool		wanted[ORDER_TURNS] = {0};
	Datum		values[2];
	bool		complete = nrefs == 0;

	if (complete)
		return;
	values[0] = Int64GetDatum(creator_id);
	values[1] = text_array(refs, nrefs);
	for (int i = 0; i < nrefs; i++)
		wanted[order_turn(refs[i])] = true;
	while (!complete)
	{
		bool		held[ORDER_TURNS];
		uint64		nknown;

		memcpy(held, wanted, sizeof(held));
		for (int turn = 0; turn < ORDER_TURNS; turn++)
		{
			if (held[turn])
				turn_lock(creator_id, turn, true);
		}
		complete = true;
		memset(known, 0, nrefs * sizeof(bool));
		nknown = plan_execute(&known_refs_plan, values, NULL);
		for (uint64 i = 0; i < nknown; i++)
		{
			bool		isnull;
			HeapTuple	tuple = SPI_tuptable->vals[i];
			int			turn = order_turn(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));

			known[DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull)) - 1] = true;
			if (!wanted[turn])
			{
				wanted[turn] = true;
				complete = false;
			}
		}
		SPI_freetuptable(SPI_tuptable);
		for (int turn = 0; turn < ORDER_TURNS && !complete; turn++)
		{
			if (held[turn])
				turn_lock(creator_id, turn, false);
		}
	}

	if (IsolationUsesXactSnapshot() && strcmp(state_of(values, false), state_of(values, true)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update"),
				 errdetail("Another transaction told something of the same sale after this one had begun to look.")));
}

/* read_sale fills in a sale from a row of sales_plan. */
static void
read_sale(HeapTuple tuple, TupleDesc shape, Sale *sale)
{
	bool		isnull;
	Datum		value;

	sale->order_id = TextDatumGetCString(SPI_getbinval(tuple, shape, 1, &isnull));
	value = SPI_getbinval(tuple, shape, 2, &isnull);
	sale->booked = !isnull;
	if (!sale->booked)
		return;
	sale->conversion_id = *DatumGetUUIDP(value);
	value = SPI_getbinval(tuple, shape, 3, &isnull);
	if (isnull)
		elog(ERROR, "order \"%s\" has no ledger row", sale->order_id);
	sale->currency = TextDatumGetCString(value);
	sale->is_test = DatumGetBool(SPI_getbinval(tuple, shape, 4, &isnull));
	sale->money.amount = DatumGetInt64(SPI_getbinval(tuple, shape, 5, &isnull));
	for (int part = 0; part < NUM_MONEY_PARTS; part++)
	{
		value = SPI_getbinval(tuple, shape, 6 + part, &isnull);
		sale->money.has_part[part] = !isnull;
		sale->money.part[part] = isnull ? 0 : DatumGetInt64(value);
	}
	value = SPI_getbinval(tuple, shape, 9, &isnull);
	sale->taken_back = isnull ? 0 : DatumGetInt64(value);
}

/* any_waits tells whether something of one of these texts waits in a sink. */
static bool
any_waits(const EventSink *sink, Datum *texts, int n)
{
	for (int i = 0; sink != NULL && i < n; i++)
	{
		text	   *value = DatumGetTextPP(texts[i]);

		if (event_sink_holds(sink, (Slice) {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)}))
			return true;
	}
	return false;
}

/* sales_read reads what references name. */
void
sales_read(int64 creator_id, Datum *refs, int nrefs, EventSink *sink, Sales *sales)
{
	Datum		values[2] = {Int64GetDatum(creator_id), text_array(refs, nrefs)};
	bool		waits = any_waits(sink, refs, nrefs);

	for (;;)
	{
		if (waits)
			event_sink_flush(sink);
		memset(sales, 0, sizeof(*sales));
		sales->n = (int) plan_execute(&sales_plan, values, NULL);
		/* money of one may wait under the order_id by which it goes */
		waits = false;
		for (int i = 0; i < sales->n && !waits; i++)
		{
			bool		isnull;
			Datum		order_id = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

			waits = any_waits(sink, &order_id, 1);
		}
		if (!waits)
			break;
		SPI_freetuptable(SPI_tuptable);
	}
	if (sales->n > 0)
		sales->sales = palloc0(sales->n * sizeof(Sale));
	for (int i = 0; i < sales->n; i++)
	{
		read_sale(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, &sales->sales[i]);
		sales->nbooked += sales->sales[i].booked;
	}
	SPI_freetuptable(SPI_tuptable);
}

/* sale_had tells whether a sale was told with this amount, in its currency, by an order that was accepted. */
bool
sale_had(int64 creator_id, const Sale *sale, int64 amount)
{
	Datum		values[4] = {
		Int64GetDatum(creator_id), CStringGetTextDatum(sale->order_id), Int64GetDatum(amount),
		CStringGetTextDatum(sale->currency)
	};

	return plan_execute(&had_plan, values, NULL) > 0;
}

/* take_out takes a sale out of the books that is another one. */
static void
take_out(const EventRow *row, const Sale *sale, EventSink *sink)
{
	LedgerEntry entry = {0};

	entry.creator_id = row->creator_id;
	entry.event_id = row->event_id;
	uuidv7_make(&entry.entry_id, row->occurred_at);
	entry.order_id = (Slice) {sale->order_id, strlen(sale->order_id)};
	entry.kind = "merged";
	entry.money.amount = -sale->money.amount;
	for (int part = 0; part < NUM_MONEY_PARTS; part++)
	{
		entry.money.has_part[part] = sale->money.has_part[part];
		entry.money.part[part] = -sale->money.part[part];
	}
	entry.currency = (Slice) {sale->currency, strlen(sale->currency)};
	entry.occurred_at = row->occurred_at;
	entry.received_at = row->received_at;
	entry.is_test = sale->is_test;
	ledger_insert(&entry, sink);
	queue_insert(row->creator_id, &sale->conversion_id, "merged", sink);
}

/*
 * complete notes what others said of the parts of a sale's amount that it did
 * not: those that are taken out, and an order that is merged into it.
 */
static void
complete(const EventRow *row, const Sales *sales, const Money *stated, EventSink *sink)
{
	const Sale *stays = &sales->sales[0];
	LedgerEntry entry = {0};
	bool		any = false;

	for (int part = 0; part < NUM_MONEY_PARTS; part++)
	{
		for (int i = 1; i <= sales->nbooked && !stays->money.has_part[part] && !entry.money.has_part[part]; i++)
		{
			const Money *money = i < sales->nbooked ? &sales->sales[i].money : stated;

			if (money == NULL || !money->has_part[part])
				continue;
			entry.money.has_part[part] = any = true;
			entry.money.part[part] = money->part[part];
		}
	}
	if (!any)
		return;
	entry.creator_id = row->creator_id;
	entry.event_id = row->event_id;
	uuidv7_make(&entry.entry_id, row->occurred_at);
	entry.order_id = (Slice) {stays->order_id, strlen(stays->order_id)};
	entry.kind = "detail";
	entry.currency = (Slice) {stays->currency, strlen(stays->currency)};
	entry.occurred_at = row->occurred_at;
	entry.received_at = row->received_at;
	entry.is_test = stays->is_test;
	ledger_insert(&entry, sink);
}

/*
 * sales_join has an event's references name one sale: the first of those that
 * they name now, or, where is_sale says so, the event itself, or
 * whatever else goes by one of them.  Other booked sales are taken out of the
 * books.  stated is what a merged order says of the parts of its amount.
 */
void
sales_join(const EventRow *row, Datum *refs, int nrefs, const Sales *sales, bool is_sale, const Money *stated, EventSink *sink)
{
	const char *order_id;
	Datum	   *others = palloc(Max(sales->n, 1) * sizeof(Datum));
	int			nothers = 0;

	if (is_sale || sales->n == 0)
		order_id = pnstrdup(row->order_id.data, row->order_id.len);
	else
		order_id = sales->sales[0].order_id;

	for (int i = 0; i < sales->n; i++)
	{
		const Sale *sale = &sales->sales[i];

		if (strcmp(sale->order_id, order_id) == 0)
			continue;
		if (sale->booked)
			take_out(row, sale, sink);
		others[nothers++] = CStringGetTextDatum(sale->order_id);
	}
	if (sales->nbooked > 0)
		complete(row, sales, stated, sink);
	if (nothers > 0)
	{
		Datum		values[3] = {Int64GetDatum(row->creator_id), CStringGetTextDatum(order_id), text_array(others, nothers)};

		/* what waits was to go by the old order_id */
		if (sink != NULL)
			event_sink_flush(sink);
		plan_execute(&rename_plan, values, NULL);
	}
	if (sales->n == 0 && sink != NULL)
	{
		for (int i = 0; i < nrefs; i++)
			order_ref_insert(row, refs[i], order_id, is_sale, sink);
	}
	else if (is_sale || sales->n == 0 || nrefs > 1)
	{
		Datum		values[5] = {
			Int64GetDatum(row->creator_id), text_array(refs, nrefs), CStringGetTextDatum(order_id),
			UUIDPGetDatum(&row->event_id), TimestampTzGetDatum(row->received_at)
		};
		char		nulls[5] = {' ', ' ', ' ', is_sale ? ' ' : 'n', ' '};

		plan_execute(&name_plan, values, nulls);
		for (int i = 0; i < nrefs && sink != NULL; i++)
			event_sink_know(sink, refs[i]);
	}
	if (sink != NULL)
		event_sink_note(sink, (Slice) {order_id, strlen(order_id)});
}
