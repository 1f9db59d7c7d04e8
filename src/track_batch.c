/*-------------------------------------------------------------------------
 *
 * track_batch.c
 *	  Many events in one call.
 *
 * Owns the order in which a batch takes its locks, and what becomes of events
 * that cannot be taken.  What an event does is decided by the same code as for
 * one alone (track.c).
 *
 * A batch goes through its events three times: it reads them all, claims all
 * their keys, and then lets each do what it does, writing rows together.  A
 * piece of work that fails is done again in halves, down to the event that
 * cannot be taken; only then is there a subtransaction for a single event.
 *
 * Invariants:
 *	- Turns of orders are taken before keys, both in ascending order, and rows
 *	  are parked in the order of their keys: two batches never wait for each
 *	  other in a circle, whatever order their events are in.
 *	- Of events with one key the first in the batch wins.
 *	- An event that is rejected leaves nothing but its parked row: not its key.
 *	- Trouble that is not the data's (serialization, deadlocks, resources,
 *	  cancellation, keys, rights) fails the batch as a whole.
 *	- No more than one piece of the batch is in memory as trees.
 *
 *-------------------------------------------------------------------------
 */
#include "biolink.h"

#include "house.h"
#include "json_split_core.h"
#include "sale.h"
#include "track.h"

#include "access/xact.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/resowner.h"

/* events of one subtransaction, and rows that are written together */
#define PIECE			1000
/* keys claimed by one statement */
#define KEYS_AT_ONCE	5000
/* of a source, as track() takes it */
#define MAX_SOURCE_BYTES	200

PG_FUNCTION_INFO_V1(track_batch);

/* An event of the batch. */
typedef struct BatchEvent
{
	const char *text;
	int			len;
	bool		readable;		/* it is JSON that can be stored */
	bool		settled;		/* answer is final but for what is parked */
	bool		rejected;		/* answer.detail says why */
	struct BatchEvent *first;	/* the first of the batch with this key */
	TimestampTz occurred_at;	/* as it says */
	KeyClaim	claim;
	TrackAnswer answer;
} BatchEvent;

typedef struct Batch
{
	int64		creator_id;
	int64		clock_skew;
	int			nevents;
	BatchEvent *events;
	MemoryContext context;		/* as long as the call */
	MemoryContext piece;		/* of what one piece of work needs */
	EventSink  *sink;
	Datum	   *refs;			/* of sales, of all events */
	int			nrefs;
	int			max_refs;
} Batch;

typedef void (*BatchWork) (Batch *batch, int from, int to);

/* event_jsonb parses an event. */
static Jsonb *
event_jsonb(const BatchEvent *event)
{
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(pnstrdup(event->text, event->len))));
}

/* is_the_datas tells whether an error is that of an event, and not of the system. */
static bool
is_the_datas(int sqlerrcode)
{
	int			category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category == ERRCODE_DATA_EXCEPTION ||
		category == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION ||
		category == ERRCODE_WITH_CHECK_OPTION_VIOLATION ||
		category == ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
		category == ERRCODE_PLPGSQL_ERROR;
}

/* reject settles an event that cannot be taken. */
static void
reject(Batch *batch, BatchEvent *event, const ErrorData *error)
{
	event->settled = event->rejected = true;
	event->answer.status = "rejected";
	event->answer.detail = MemoryContextStrdup(batch->context, error->message);
	if (event->claim.claimed)
	{
		event_key_give_back(batch->creator_id, event->claim.source, event->claim.stored_key);
		event->claim.claimed = false;
	}
}

/*
 * in_halves does a piece of work in a subtransaction; if it fails because of
 * the data, its halves, and rejects the event that it comes down to.
 */
static void
in_halves(Batch *batch, int from, int to, BatchWork work)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		/* rows of queries go with it */
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		MemoryContextSwitchTo(batch->piece);
		work(batch, from, to);
		SPI_finish();
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(batch->context);
		error = CopyErrorData();
		FlushErrorState();
		/* whatever the error is: nobody above knows of the subtransaction */
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (!is_the_datas(error->sqlerrcode))
			ReThrowError(error);
	}
	PG_END_TRY();
	MemoryContextReset(batch->piece);

	if (error == NULL)
		return;
	if (batch->sink != NULL)
		event_sink_empty(batch->sink);
	if (to - from == 1)
		reject(batch, &batch->events[from], error);
	else
	{
		in_halves(batch, from, (from + to) / 2, work);
		in_halves(batch, (from + to) / 2, to, work);
	}
	FreeErrorData(error);
}

/* in_pieces does a piece of work after the other. */
static void
in_pieces(Batch *batch, BatchWork work)
{
	for (int from = 0; from < batch->nevents; from += PIECE)
		in_halves(batch, from, Min(from + PIECE, batch->nevents), work);
}

/* kept copies a text into the batch, or shares that of the event before. */
static Slice
kept(Batch *batch, Slice text, Slice before)
{
	if (text.len == before.len && (text.len == 0 || memcmp(text.data, before.data, text.len) == 0))
		return before;
	return (Slice) {MemoryContextStrdup(batch->context, pnstrdup(text.data, text.len)), text.len};
}

/* name_event notes the source and key of what may turn out to be no event, so that its parked row has them. */
static void
name_event(Batch *batch, BatchEvent *event, Jsonb *jsonb)
{
	JsonObject	object;
	Slice		value;

	if (event->claim.stored_key != NULL || !JB_ROOT_IS_OBJECT(jsonb))
		return;
	json_object_open(&object, jsonb, "event");
	if (json_text_if(&object, "source", &value))
		event->claim.source = kept(batch, slice_cut(value, MAX_SOURCE_BYTES), NO_SLICE);
	if (json_text_if(&object, "key", &value))
		event->claim.stored_key = MemoryContextStrdup(batch->context, event_key_stored(batch->creator_id, value));
}

/* keep_ref notes a reference of a sale whose turn has to be taken. */
static void
keep_ref(Batch *batch, Datum ref)
{
	MemoryContext old = MemoryContextSwitchTo(batch->context);

	if (batch->nrefs == batch->max_refs)
	{
		batch->max_refs = Max(256, batch->max_refs * 2);
		batch->refs = batch->refs == NULL ? palloc(batch->max_refs * sizeof(Datum)) :
			repalloc_huge(batch->refs, (Size) batch->max_refs * sizeof(Datum));
	}
	batch->refs[batch->nrefs++] = datumCopy(ref, false, -1);
	MemoryContextSwitchTo(old);
}

/* read_piece reads events and works out their keys. */
static void
read_piece(Batch *batch, int from, int to)
{
	MemoryContext scratch = AllocSetContextCreate(batch->piece, "biolink event", ALLOCSET_DEFAULT_SIZES);

	MemoryContextSwitchTo(scratch);
	for (int i = from; i < to; i++)
	{
		BatchEvent *event = &batch->events[i];
		KeyClaim   *claim = &event->claim;
		TrackedEvent tracked;
		Jsonb	   *jsonb;

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(scratch);
		jsonb = event_jsonb(event);
		event->readable = true;
		name_event(batch, event, jsonb);
		track_read(jsonb, batch->creator_id, &tracked);
		track_digest(&tracked);
		event->occurred_at = tracked.row.occurred_at;
		for (int ref = 0; ref < tracked.nrefs; ref++)
			keep_ref(batch, tracked.refs[ref]);
		claim->source = kept(batch, tracked.row.source, i > 0 ? batch->events[i - 1].claim.source : NO_SLICE);
		claim->kind = kept(batch, tracked.row.kind, i > 0 ? batch->events[i - 1].claim.kind : NO_SLICE);
		claim->stored_key = MemoryContextStrdup(batch->context, tracked.stored_key);
		claim->revision = tracked.revision;
		claim->digest = tracked.digest;
		claim->received_at = arrival_time();
		track_arrive(batch->clock_skew, &tracked, claim->received_at);
		uuidv7_make(&claim->event_id, tracked.row.occurred_at);
	}
	MemoryContextSwitchTo(batch->piece);
}

/* by_key orders events by source and key, those with one key as they come in the batch. */
static int
by_key(const void *a, const void *b)
{
	const BatchEvent *x = *(BatchEvent *const *) a;
	const BatchEvent *y = *(BatchEvent *const *) b;
	size_t		shorter = Min(x->claim.source.len, y->claim.source.len);
	int			result = shorter > 0 ? memcmp(x->claim.source.data, y->claim.source.data, shorter) : 0;

	if (result == 0 && x->claim.source.len != y->claim.source.len)
		result = x->claim.source.len < y->claim.source.len ? -1 : 1;
	if (result == 0 && (x->claim.stored_key == NULL || y->claim.stored_key == NULL))
		result = (x->claim.stored_key != NULL) - (y->claim.stored_key != NULL);
	else if (result == 0)
		result = strcmp(x->claim.stored_key, y->claim.stored_key);
	return result != 0 ? result : (x < y ? -1 : x > y);
}

/* same_key tells whether two events have one key. */
static bool
same_key(const BatchEvent *a, const BatchEvent *b)
{
	return a->claim.source.len == b->claim.source.len &&
		memcmp(a->claim.source.data, b->claim.source.data, a->claim.source.len) == 0 &&
		strcmp(a->claim.stored_key, b->claim.stored_key) == 0;
}

/* sorted gives the events that fit a purpose, ordered by their keys. */
static BatchEvent **
sorted(Batch *batch, bool parked, int *n)
{
	BatchEvent **list = palloc_extended(Max(batch->nevents, 1) * sizeof(BatchEvent *), MCXT_ALLOC_HUGE);

	*n = 0;
	for (int i = 0; i < batch->nevents; i++)
	{
		BatchEvent *event = &batch->events[i];

		if (parked ? event->rejected || (event->settled && strcmp(event->answer.status, "conflict") == 0) : !event->settled)
			list[(*n)++] = event;
	}
	qsort(list, *n, sizeof(BatchEvent *), by_key);
	return list;
}

/* take_turns takes the turns of all orders, and notes which references name something. */
static void
take_turns(Batch *batch)
{
	bool	   *known = palloc_extended(Max(batch->nrefs, 1) * sizeof(bool), MCXT_ALLOC_HUGE);

	order_turns_take(batch->creator_id, batch->refs, batch->nrefs, known);
	for (int i = 0; i < batch->nrefs; i++)
	{
		if (known[i])
			event_sink_know(batch->sink, batch->refs[i]);
	}
	pfree(known);
}

/* claim_keys takes the turns of all orders, then all keys. */
static void
claim_keys(Batch *batch)
{
	int			n;
	BatchEvent **list = sorted(batch, false, &n);
	KeyClaim  **claims = palloc_extended(Max(n, 1) * sizeof(KeyClaim *), MCXT_ALLOC_HUGE);
	int			nclaims = 0;

	for (int i = 0; i < n; i++)
	{
		list[i]->first = i > 0 && same_key(list[i], list[i - 1]) ? list[i - 1]->first : list[i];
		/* those that follow the first are looked at when it is known what became of it */
		if (list[i]->first == list[i])
			claims[nclaims++] = &list[i]->claim;
	}
	take_turns(batch);
	for (int from = 0; from < nclaims; from += KEYS_AT_ONCE)
	{
		CHECK_FOR_INTERRUPTS();
		event_keys_take(batch->creator_id, claims + from, Min(KEYS_AT_ONCE, nclaims - from));
	}
	pfree(claims);
	pfree(list);
}

/* was_taken tells whether an event did something, now or before. */
static bool
was_taken(const BatchEvent *event)
{
	return event->settled && !event->rejected && strcmp(event->answer.status, "conflict") != 0;
}

/* is_duplicate tells whether an event is known to be one without reading it again. */
static bool
is_duplicate(const BatchEvent *event)
{
	const KeyClaim *first = &event->first->claim;

	if (event->first != event)
		return was_taken(event->first) &&
			memcmp(&event->claim.digest, &first->digest, sizeof(EventDigest)) == 0;
	return first->known && memcmp(&first->known_digest, &first->digest, sizeof(EventDigest)) == 0;
}

/* take_piece lets each event do what it does. */
static void
take_piece(Batch *batch, int from, int to)
{
	MemoryContext scratch = AllocSetContextCreate(batch->piece, "biolink event", ALLOCSET_DEFAULT_SIZES);

	for (int i = from; i < to; i++)
	{
		BatchEvent *event = &batch->events[i];
		KeyClaim   *claim = &event->claim;
		TrackedEvent tracked;
		KnownKey	known;

		if (event->rejected)
			continue;
		event->settled = false;
		CHECK_FOR_INTERRUPTS();
		if (is_duplicate(event))
		{
			event->answer.status = "duplicate";
			event->answer.event_id = event->first == event ? claim->known_event_id : event->first->answer.event_id;
			event->answer.detail = NULL;
			event->settled = true;
			continue;
		}

		MemoryContextReset(scratch);
		MemoryContextSwitchTo(scratch);
		track_read(event_jsonb(event), batch->creator_id, &tracked);
		track_name(&tracked);
		tracked.digest = claim->digest;
		tracked.stored_key = claim->stored_key;
		tracked.row.occurred_at = event->occurred_at;
		track_arrive(batch->clock_skew, &tracked, claim->received_at);
		tracked.row.event_id = claim->event_id;
		tracked.sink = batch->sink;
		if (event->first == event && claim->claimed)
			track_claimed(&tracked, &event->answer);
		else if (event->first == event && claim->known && claim->revision == 0)
		{
			known.event_id = claim->known_event_id;
			known.kind = claim->known_kind;
			known.revision = claim->known_revision;
			known.same_content = event_digest_matches(batch->creator_id, &claim->known_digest, &tracked.digest, track_content(&tracked));
			track_known(&tracked, &known, &event->answer);
		}
		else if (event_key_take(batch->creator_id, tracked.row.source, tracked.stored_key, &tracked.row.event_id,
								tracked.row.kind, tracked.revision, &tracked.digest, track_content(&tracked),
								tracked.row.received_at, &known))
			/* the first with this key was not taken */
			track_claimed(&tracked, &event->answer);
		else
			track_known(&tracked, &known, &event->answer);
		event->settled = true;
	}
	MemoryContextSwitchTo(batch->piece);
	event_sink_flush(batch->sink);
}

/* park_all keeps what was refused, in the order of keys. */
static void
park_all(Batch *batch)
{
	MemoryContext scratch = AllocSetContextCreate(batch->piece, "biolink event", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;
	int			n;
	BatchEvent **list = sorted(batch, true, &n);

	MemoryContextSwitchTo(scratch);
	for (int i = 0; i < n; i++)
	{
		BatchEvent *event = list[i];

		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(scratch);
		if (SPI_connect() != SPI_OK_CONNECT)
			elog(ERROR, "SPI_connect failed");
		MemoryContextSwitchTo(scratch);
		(void) track_park(batch->creator_id, event->claim.source,
						  event->claim.stored_key != NULL ? event->claim.stored_key : "", event->claim.kind,
						  event->rejected ? "rejected" : event->answer.detail,
						  event->rejected ? event->answer.detail : NULL,
						  event->readable ? event_jsonb(event) : NULL,
						  (Slice) {event->text, (size_t) event->len}, &event->answer.event_id);
		SPI_finish();
		MemoryContextSwitchTo(scratch);
	}
	MemoryContextSwitchTo(old);
	pfree(list);
}

/* mended gives the text of an event; escapes that stand for no character, with which it could not be stored, are made a replacement character. */
static const char *
mended(const char *text, size_t len)
{
	const char *digits = GetDatabaseEncoding() == PG_UTF8 ? "fffd" : "003f";
	char	   *copy;

	if (!json_escapes_mend(text, len, digits, NULL))
		return text;
	copy = palloc_extended(len, MCXT_ALLOC_HUGE);
	(void) json_escapes_mend(text, len, digits, copy);
	return copy;
}

/* split_batch finds the events in the text. */
static void
split_batch(Batch *batch, text *events)
{
	JsonSplit	split;
	const char *element;
	size_t		len;
	int			capacity = 256;

	batch->events = palloc(capacity * sizeof(BatchEvent));
	if (!json_split_open(&split, VARDATA_ANY(events), VARSIZE_ANY_EXHDR(events)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"events\" must be a JSON array of events")));
	while (json_split_next(&split, &element, &len))
	{
		BatchEvent *event;

		if (batch->nevents == capacity)
		{
			capacity *= 2;
			batch->events = repalloc_huge(batch->events, (Size) capacity * sizeof(BatchEvent));
		}
		event = &batch->events[batch->nevents++];
		memset(event, 0, sizeof(*event));
		event->text = mended(element, len);
		event->len = (int) len;
	}
	if (split.broken)
		elog(ERROR, "a value of type json is no JSON");
}

/* track_batch takes an array of events and answers for each of them. */
Datum
track_batch(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Batch		batch = {0};
	OwnerScope	scope;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be null", PG_ARGISNULL(0) ? "creator_id" : "events")));
	InitMaterializedSRF(fcinfo, 0);
	batch.creator_id = PG_GETARG_INT64(0);
	batch.context = AllocSetContextCreate(CurrentMemoryContext, "biolink batch", ALLOCSET_DEFAULT_SIZES);
	batch.piece = AllocSetContextCreate(batch.context, "biolink piece of a batch", ALLOCSET_DEFAULT_SIZES);
	batch.clock_skew = track_creator(batch.creator_id)->clock_skew;

	owner_enter(&scope);
	MemoryContextSwitchTo(batch.context);
	split_batch(&batch, PG_GETARG_TEXT_PP(1));
	in_pieces(&batch, read_piece);
	batch.sink = event_sink_make(batch.context, PIECE);
	claim_keys(&batch);
	in_pieces(&batch, take_piece);
	park_all(&batch);

	for (int i = 0; i < batch.nevents; i++)
	{
		TrackAnswer *answer = &batch.events[i].answer;
		Datum		values[4] = {Int32GetDatum(i + 1)};
		bool		nulls[4] = {false, false, false, answer->detail == NULL};

		MemoryContextReset(batch.piece);
		MemoryContextSwitchTo(batch.piece);
		values[1] = CStringGetTextDatum(answer->status);
		values[2] = UUIDPGetDatum(&answer->event_id);
		values[3] = nulls[3] ? (Datum) 0 : CStringGetTextDatum(answer->detail);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	owner_leave(&scope);
	MemoryContextDelete(batch.context);
	PG_RETURN_VOID();
}
