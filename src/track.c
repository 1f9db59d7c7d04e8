/*-------------------------------------------------------------------------
 *
 * track.c
 *	  Leads, orders, refunds and whatever else happened after a click.
 *
 * Owns what an event does to the books, decided once per key.
 *
 * Invariants:
 *	- A key, its event, its ledger row and the queue entry that makes the job
 *	  look at it commit together or not at all.
 *	- A sale is one order_ref: the first paid order event of an order_id books
 *	  the money, the same sale under another key adds evidence only, and other
 *	  money under it is parked.
 *	- What is parked does not keep its key: sent again, corrected, it is judged
 *	  anew.
 *	- A token, click id or visitor that does not hold never costs the event.
 *
 *-------------------------------------------------------------------------
 */
#include "biolink.h"

#include "channel_core.h"
#include "config_cache.h"
#include "house.h"
#include "seal.h"
#include "token.h"
#include "track.h"
#include "tracking.h"

#include "access/htup_details.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#define MAX_NAME_BYTES		200

/* "bo": see job_lock.c for the class of jobs' locks */
#define ORDER_LOCK_CLASS	0x626f

/* The greatest whole number that every JSON reader keeps exactly; sums of many stay within int8. */
#define MAX_AMOUNT			((INT64CONST(1) << 53) - 1)

PG_FUNCTION_INFO_V1(track);
PG_FUNCTION_INFO_V1(park_event);
PG_FUNCTION_INFO_V1(parked_text);

/* Keys of an event that have a meaning of their own; others go to context. */
static const char *const event_keys[] = {
	"kind", "source", "key", "occurred_at", "sent_at", "revision", "token",
	"click_id", "visitor", "url", "identifiers", "consent", "order_id", "order_type",
	"payment", "amount", "currency", "offer_id", "link_id",
	"goal", "test", "context", "ip"
};

static SavedPlan order_ref_plan = SAVED_PLAN(
	"INSERT INTO biolink.order_ref (creator_id, ref, order_id, event_id, received_at)"
	" VALUES ($1, $2, $2, $3, $4) ON CONFLICT DO NOTHING",
	"ltuz");

static SavedPlan sale_plan = SAVED_PLAN(
	"SELECT r.event_id, l.currency, l.is_test,"
	" (SELECT pg_catalog.sum(m.amount)::pg_catalog.int8 FROM biolink.ledger AS m"
	"  WHERE m.creator_id OPERATOR(pg_catalog.=) $1 AND m.order_id OPERATOR(pg_catalog.=) $2"
	"  AND m.kind OPERATOR(pg_catalog.=) ANY ('{order,revision}'::pg_catalog.text[]))"
	" FROM biolink.order_ref AS r"
	" JOIN biolink.ledger AS l ON l.creator_id OPERATOR(pg_catalog.=) r.creator_id AND l.event_id OPERATOR(pg_catalog.=) r.event_id"
	" WHERE r.creator_id OPERATOR(pg_catalog.=) $1 AND r.ref OPERATOR(pg_catalog.=) $2",
	"lt");

static SavedPlan known_order_plan = SAVED_PLAN(
	"SELECT e.merged, COALESCE(e.payment, 'paid') OPERATOR(pg_catalog.=) 'paid', e.order_id, e.currency FROM biolink.event AS e"
	" WHERE e.creator_id OPERATOR(pg_catalog.=) $1 AND e.event_id OPERATOR(pg_catalog.=) $2"
	" AND e.occurred_at OPERATOR(pg_catalog.>=) $3 AND e.occurred_at OPERATOR(pg_catalog.<) $4",
	"luzz");

static SavedPlan named_plan = SAVED_PLAN(
	"SELECT $2 IS NULL OR EXISTS (SELECT FROM biolink.link AS l"
	" WHERE l.creator_id OPERATOR(pg_catalog.=) $1 AND l.link_id OPERATOR(pg_catalog.=) $2),"
	" $3 IS NULL OR EXISTS (SELECT FROM biolink.offer AS o"
	" WHERE o.creator_id OPERATOR(pg_catalog.=) $1 AND o.offer_id OPERATOR(pg_catalog.=) $3)",
	"lll");

/* The sale that an order_id stands for. */
typedef struct KnownSale
{
	pg_uuid_t	conversion_id;
	char	   *currency;
	bool		is_test;
	int64		amount;
} KnownSale;

/* text_datum makes a text Datum of a slice. */
static Datum
text_datum(Slice slice)
{
	return PointerGetDatum(cstring_to_text_with_len(slice.data, (int) slice.len));
}

/* missing raises 22023 for a key that this kind of event needs. */
pg_noreturn static void
missing(const TrackedEvent *event, const char *key)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("key \"%s\" of the event is missing", key),
			 errdetail("An event of kind \"%.*s\" needs it.",
					   (int) event->row.kind.len, event->row.kind.data)));
}

/* refuse_own_source raises 22023 for a source that only biolink itself may be. */
static void
refuse_own_source(Slice source)
{
	if (source.len >= 8 && memcmp(source.data, "biolink:", 8) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sources that begin with \"biolink:\" are biolink's own")));
}

/* valid_kind tells whether a text may name a kind of event. */
static bool
valid_kind(Slice kind)
{
	for (size_t i = 0; i < kind.len; i++)
	{
		char		c = kind.data[i];

		if (!(c >= 'a' && c <= 'z') && !(i > 0 && (c == '_' || (c >= '0' && c <= '9'))))
			return false;
	}
	return kind.len <= 63;
}

/* valid_currency tells whether a text is three capital letters. */
static bool
valid_currency(Slice currency)
{
	if (currency.len != 3)
		return false;
	for (int i = 0; i < 3; i++)
	{
		if (currency.data[i] < 'A' || currency.data[i] > 'Z')
			return false;
	}
	return true;
}

/* one_of raises 22023 unless a text, where given, is one of a list. */
static void
one_of(Slice text, const char *key, const char *const *allowed, int nallowed, const char *list)
{
	if (text.len == 0)
		return;
	for (int i = 0; i < nallowed; i++)
	{
		if (slice_is(text, allowed[i]))
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("key \"%s\" of the event is not one of %s", key, list),
			 errdetail("It is \"%.*s\".", (int) text.len, text.data)));
}

/* without_key gives a copy of a JSON object that lacks one key. */
static Jsonb *
without_key(Jsonb *jsonb, const char *key)
{
	return DatumGetJsonbP(DirectFunctionCall2(jsonb_delete, JsonbPGetDatum(jsonb),
											  CStringGetTextDatum(key)));
}

/* content_of gives an event's canonical text, without what differs between two sendings. */
static Slice
content_of(Jsonb *jsonb)
{
	Jsonb	   *event = without_key(jsonb, "sent_at");

	return SLICE_OF(JsonbToCString(NULL, &event->root, (int) VARSIZE(event)));
}

/* read_context merges the key "context" and the unknown keys into the event's context. */
static void
read_context(TrackedEvent *event)
{
	JsonObject	nested;
	Jsonb	   *unknown;
	Jsonb	   *given = NULL;

	if (json_nested(&event->object, "context", &nested))
		given = json_unknown_keys(&nested, NULL, 0);
	unknown = json_unknown_keys(&event->object, event_keys, lengthof(event_keys));
	if (given != NULL && unknown != NULL)
		event->row.context = DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
																JsonbPGetDatum(unknown),
																JsonbPGetDatum(given)));
	else
		event->row.context = given != NULL ? given : unknown;
}

/* track_read reads and checks what does not depend on stored data. */
void
track_read(Jsonb *jsonb, int64 creator_id, TrackedEvent *event)
{
	static const char *const order_types[] = {"new", "repeat", "renewal"};
	static const char *const payments[] = {"pending", "paid", "failed"};
	JsonObject *object = &event->object;
	EventRow   *row = &event->row;
	bool		is_order;
	bool		is_adjustment;

	memset(event, 0, sizeof(*event));
	event->jsonb = jsonb;
	row->creator_id = creator_id;
	json_object_open(object, jsonb, "event");
	row->kind = json_required_text(object, "kind", MAX_NAME_BYTES);
	row->source = json_required_text(object, "source", MAX_NAME_BYTES);
	refuse_own_source(row->source);
	event->key = json_required_text(object, "key", ANY_LENGTH);
	if (!valid_kind(row->kind))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"kind\" of the event is no name of a kind"),
				 errdetail("It is \"%.*s\".", (int) row->kind.len, row->kind.data),
				 errhint("A kind has at most 63 lower-case letters, digits and underscores and begins with a letter.")));
	event->has_sent_at = json_time(object, "sent_at", &event->sent_at);
	if (!json_time(object, "occurred_at", &row->occurred_at))
	{
		row->occurred_at = GetCurrentTimestamp();
		/* that is by our own clock */
		event->has_sent_at = false;
	}
	if (!json_int64(object, "revision", 0, PG_INT64_MAX, &event->revision))
		event->revision = 0;
	/* evidence of a wrong type is as good as malformed: it must not cost the order */
	event->malformed |= !json_text_if(object, "token", &event->token);
	event->malformed |= !json_text_if(object, "click_id", &event->click_id);
	event->malformed |= !json_text_if(object, "visitor", &event->visitor);
	event->malformed |= !json_text_if(object, "url", &event->url);
	json_present(object, "identifiers");
	row->measurement_denied = json_measurement_denied(object);
	json_text(object, "order_id", MAX_NAME_BYTES, &row->order_id);
	json_text(object, "order_type", MAX_NAME_BYTES, &row->order_type);
	one_of(row->order_type, "order_type", order_types, lengthof(order_types), "new, repeat, renewal");
	json_text(object, "payment", MAX_NAME_BYTES, &row->payment);
	one_of(row->payment, "payment", payments, lengthof(payments), "pending, paid, failed");
	row->has_amount = json_int64(object, "amount", 0, MAX_AMOUNT, &row->amount);
	if (json_text(object, "currency", MAX_NAME_BYTES, &row->currency) && !valid_currency(row->currency))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"currency\" of the event must be an ISO 4217 code in capital letters"),
				 errdetail("It is \"%.*s\".", (int) row->currency.len, row->currency.data)));
	event->malformed |= !json_id_if(object, "offer_id", &row->offer_id);
	event->malformed |= !json_id_if(object, "link_id", &row->link_id);
	json_text(object, "goal", MAX_NAME_BYTES, &row->goal);
	row->is_test = json_bool(object, "test");
	read_context(event);

	is_order = slice_is(row->kind, "order");
	is_adjustment = slice_is(row->kind, "refund") || slice_is(row->kind, "dispute") ||
		slice_is(row->kind, "dispute_won");
	if (is_order || is_adjustment)
	{
		if (row->order_id.len == 0)
			missing(event, "order_id");
		if (!row->has_amount)
			missing(event, "amount");
		if (is_order && row->currency.len == 0)
			missing(event, "currency");
		if (is_adjustment && row->amount == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("key \"amount\" of the event must be positive"),
					 errdetail("What an event of kind \"%.*s\" takes or gives is said by its kind, not by a sign.",
							   (int) row->kind.len, row->kind.data)));
	}

	event->is_touch = slice_is(row->kind, "visit") || slice_is(row->kind, "click");
	if (event->is_touch)
	{
		row->channel = SLICE_OF("direct");
		row->medium = SLICE_OF("none");
		row->channel_evidence = SLICE_OF("direct");
	}

	if (is_adjustment)
		event->effect = EFFECT_ADJUSTMENT;
	else if (is_order)
		event->effect = slice_is(row->payment, "pending") || slice_is(row->payment, "failed") ?
			EFFECT_RECORD : EFFECT_SALE;
	else if (row->order_id.len == 0 &&
			 (row->goal.len > 0 || slice_is(row->kind, "lead") || slice_is(row->kind, "booking")))
	{
		event->effect = EFFECT_GOAL;
		if (row->goal.len == 0)
			row->goal = row->kind;
	}
	else
		event->effect = EFFECT_RECORD;
}

/*
 * read_url takes from the landing URL what it says of where the visitor comes
 * from and, where no token was sent, the token it carries.
 */
static void
read_url(TrackedEvent *event)
{
	UrlParts	parts;
	UrlParam	param;
	ChannelInput input = {0};

	if (!url_reference_split(event->url.data, event->url.len, &parts))
		return;
	if (event->token.len == 0 && url_find_param(parts.query, "bl", &param) && param.value.len > 0)
	{
		event->token = param.value;
		event->token_from_url = true;
	}
	event->row.utm = tracking_params(parts.query, &input);
	if (event->is_touch)
	{
		ChannelResult *result = palloc(sizeof(ChannelResult));

		channel_resolve(&input, result);
		event->row.channel = SLICE_OF(result->channel);
		event->row.medium = SLICE_OF(result->medium);
		event->row.channel_evidence = SLICE_OF(result->evidence);
		if (result->platform != NULL)
			event->row.platform = SLICE_OF(result->platform);
	}
}

/* find_touch works out which click or visit the event names, and its own visitor. */
static void
find_touch(TrackedEvent *event)
{
	EventRow   *row = &event->row;
	pg_uuid_t	given;
	bool		has_given = false;

	if (event->malformed)
		row->token_reason = SLICE_OF("malformed");

	if (event->url.len > 0)
		read_url(event);

	if (event->click_id.len > 0)
	{
		has_given = uuid_parse(event->click_id, &given) && uuidv7_is(&given);
		if (!has_given)
			row->token_reason = SLICE_OF("malformed_click_id");
	}

	if (event->token.len > 0)
	{
		TokenVerdict verdict = {0};

		token_judge(event->token.data, event->token.len, "", 0, row->occurred_at, &verdict);
		if (!verdict.genuine)
		{
			/* a parameter of somebody else's may bear that name */
			if (!event->token_from_url || strcmp(verdict.reason, "malformed") != 0)
				row->token_reason = SLICE_OF(verdict.reason);
		}
		else if (verdict.fields.creator_id != row->creator_id)
			row->token_reason = SLICE_OF("other_creator");
		else
		{
			memcpy(row->click_id.data, verdict.fields.event_id, UUID_LEN);
			row->has_click_id = true;
			row->evidence = SLICE_OF("token");
			if (has_given && memcmp(&given, &row->click_id, sizeof(given)) != 0)
				row->token_reason = SLICE_OF("disagreement");
			else if (!verdict.valid)
				row->token_reason = SLICE_OF(verdict.reason);
		}
	}
	if (!row->has_click_id && has_given)
	{
		row->click_id = given;
		row->has_click_id = true;
		row->evidence = SLICE_OF("click_id");
	}

	if (event->visitor.len > 0 && !row->measurement_denied)
	{
		row->visitor = visitor_hash(row->creator_id, event->visitor);
		row->has_visitor = true;
	}
	else if (event->is_touch)
	{
		row->visitor = session_visitor(row->creator_id, &row->event_id);
		row->has_visitor = true;
	}
}

/* look_up_named flags a link or an offer that the creator does not have: the id is kept as it was sent. */
static void
look_up_named(EventRow *row)
{
	Datum		values[3] = {Int64GetDatum(row->creator_id), Int64GetDatum(row->link_id), Int64GetDatum(row->offer_id)};
	char		nulls[3] = {' ', row->link_id == 0 ? 'n' : ' ', row->offer_id == 0 ? 'n' : ' '};
	bool		isnull;

	if (row->link_id == 0 && row->offer_id == 0)
		return;
	plan_execute(&named_plan, values, nulls);
	if (!DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)))
		row->flags |= FLAG_UNKNOWN_LINK;
	if (!DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull)))
		row->flags |= FLAG_UNKNOWN_OFFER;
	SPI_freetuptable(SPI_tuptable);
}

/* known_sale reads the sale that an order_id stands for; false when there is none. */
static bool
known_sale(const TrackedEvent *event, KnownSale *sale)
{
	const EventRow *row = &event->row;
	Datum		values[2] = {Int64GetDatum(row->creator_id), text_datum(row->order_id)};
	HeapTuple	tuple;
	TupleDesc	descriptor;
	bool		isnull;

	if (event->sink != NULL && event_sink_holds(event->sink, row->order_id))
		event_sink_flush(event->sink);
	if (plan_execute(&sale_plan, values, NULL) == 0)
		return false;
	tuple = SPI_tuptable->vals[0];
	descriptor = SPI_tuptable->tupdesc;
	sale->conversion_id = *DatumGetUUIDP(SPI_getbinval(tuple, descriptor, 1, &isnull));
	sale->currency = TextDatumGetCString(SPI_getbinval(tuple, descriptor, 2, &isnull));
	sale->is_test = DatumGetBool(SPI_getbinval(tuple, descriptor, 3, &isnull));
	sale->amount = DatumGetInt64(SPI_getbinval(tuple, descriptor, 4, &isnull));
	return true;
}

/* book adds a row to the ledger. */
static void
book(const TrackedEvent *event, const char *kind, int64 amount)
{
	ledger_insert(&event->row, kind, amount, event->sink);
}

/* queue asks the job for a conversion's path. */
static void
queue(const TrackedEvent *event, const pg_uuid_t *conversion_id, const char *reason)
{
	queue_insert(event->row.creator_id, conversion_id, reason, event->sink);
}

/*
 * track_park keeps something that cannot be taken: an event, JSON that is none,
 * or, where jsonb is NULL, a text that is no JSON that can be stored.  What may
 * hold a person's identifiers is only in the sealed text.  False when the same is
 * parked already.
 */
bool
track_park(int64 creator_id, Slice source, const char *stored_key, Slice kind,
		   const char *reason, const char *detail, Jsonb *jsonb, Slice text,
		   pg_uuid_t *parked_id)
{
	Jsonb	   *shown = jsonb;
	Slice		content = text;

	if (jsonb == NULL)
	{
		JsonbValue	value = {.type = jbvString};

		value.val.string.val = unconstify(char *, text.data);
		value.val.string.len = (int) text.len;
		shown = JsonbValueToJsonb(&value);
	}
	else if (JB_ROOT_IS_OBJECT(jsonb))
	{
		shown = without_key(without_key(without_key(jsonb, "identifiers"), "visitor"), "ip");
		content = content_of(jsonb);
	}
	if (text.len == 0)
		text = SLICE_OF(JsonbToCString(NULL, &jsonb->root, (int) VARSIZE(jsonb)));
	return event_park(creator_id, source, stored_key, kind, reason, detail, shown,
					  content.len > 0 ? content : text, text, parked_id);
}

/* park answers that an event conflicts with what is known, and keeps it, unless that is left to a batch. */
static void
park(TrackedEvent *event, const char *reason, TrackAnswer *answer)
{
	if (event->sink == NULL)
		track_park(event->row.creator_id, event->row.source, event->stored_key, event->row.kind,
				   reason, NULL, event->jsonb, NO_SLICE, &answer->event_id);
	answer->status = "conflict";
	answer->detail = reason;
}

/* take_back parks an event whose key was taken a moment ago. */
static void
take_back(TrackedEvent *event, const char *reason, TrackAnswer *answer)
{
	event_key_give_back(event->row.creator_id, event->row.source, event->stored_key);
	park(event, reason, answer);
}

/* record inserts the event and answers that it is there. */
static void
record(TrackedEvent *event, const char *status, const char *detail, TrackAnswer *answer)
{
	event_insert(&event->row, event->sink);
	answer->status = status;
	answer->event_id = event->row.event_id;
	answer->detail = detail;
}

/* difference tells why an order is not the sale that is known under its order_id; NULL when it is. */
static const char *
difference(const EventRow *row, const KnownSale *sale)
{
	if (sale->amount != row->amount || strncmp(sale->currency, row->currency.data, 3) != 0)
		return "order_differs";
	if (sale->is_test != row->is_test)
		return "test_differs";
	return NULL;
}

/* open_sale claims the order_id for this event; false, with the sale, when it is taken. */
static bool
open_sale(const TrackedEvent *event, KnownSale *sale)
{
	const EventRow *row = &event->row;
	Datum		values[4] = {
		Int64GetDatum(row->creator_id),
		text_datum(row->order_id),
		UUIDPGetDatum(&row->event_id),
		TimestampTzGetDatum(row->received_at)
	};

	if (plan_execute(&order_ref_plan, values, NULL) > 0)
		return true;
	if (!known_sale(event, sale))
		elog(ERROR, "order \"%.*s\" has no ledger row", (int) row->order_id.len, row->order_id.data);
	return false;
}

/*
 * revise takes a higher revision of an order under its key.  Of a sale the
 * ledger gets what the new amount differs by; an order that had not been paid
 * becomes a sale when it now is.  The older version stays as it was.
 */
static void
revise(TrackedEvent *event, const KnownKey *known, TrackAnswer *answer)
{
	EventRow   *row = &event->row;
	TimestampTz known_at = uuidv7_time(&known->event_id);
	Datum		values[4] = {
		Int64GetDatum(row->creator_id),
		UUIDPGetDatum(&known->event_id),
		TimestampTzGetDatum(known_at),
		TimestampTzGetDatum(known_at + 1000)
	};
	HeapTuple	tuple;
	TupleDesc	descriptor;
	bool		isnull;
	bool		merged;
	bool		paid;
	char	   *order_id;
	char	   *currency;
	KnownSale	sale;
	const char *conflict;

	if (row->occurred_at < event_horizon() || known_at < event_horizon())
	{
		park(event, "too_old", answer);
		return;
	}
	if (event->sink != NULL)
		event_sink_flush(event->sink);
	if (plan_find(&known_order_plan, values, NULL) == 0)
	{
		park(event, "key_reused", answer);
		return;
	}
	tuple = SPI_tuptable->vals[0];
	descriptor = SPI_tuptable->tupdesc;
	merged = DatumGetBool(SPI_getbinval(tuple, descriptor, 1, &isnull));
	paid = DatumGetBool(SPI_getbinval(tuple, descriptor, 2, &isnull));
	order_id = TextDatumGetCString(SPI_getbinval(tuple, descriptor, 3, &isnull));
	currency = TextDatumGetCString(SPI_getbinval(tuple, descriptor, 4, &isnull));

	if (!slice_is(row->order_id, order_id) || merged)
		/* another order, or one whose money hangs on another key */
		park(event, "key_reused", answer);
	else if (!slice_is(row->currency, currency))
		park(event, "currency_mismatch", answer);
	else if (paid && event->effect != EFFECT_SALE)
		/* a sale is undone by a refund, not by being unpaid again */
		park(event, "key_reused", answer);
	else if (paid)
	{
		if (!known_sale(event, &sale))
			elog(ERROR, "order \"%s\" has no ledger row", order_id);
		if (sale.is_test != row->is_test)
		{
			park(event, "test_differs", answer);
			return;
		}
		event_key_revise(row->creator_id, row->source, event->stored_key, event->revision,
						 &event->digest, &known->event_id);
		record(event, "updated", NULL, answer);
		if (row->amount != sale.amount)
			book(event, "revision", row->amount - sale.amount);
		queue(event, &sale.conversion_id, "updated");
	}
	else if (event->effect != EFFECT_SALE)
	{
		event_key_revise(row->creator_id, row->source, event->stored_key, event->revision,
						 &event->digest, &known->event_id);
		record(event, "updated", "no money is booked until the order is paid", answer);
	}
	else if (open_sale(event, &sale))
	{
		event_key_revise(row->creator_id, row->source, event->stored_key, event->revision,
						 &event->digest, &row->event_id);
		record(event, "updated", NULL, answer);
		book(event, "order", row->amount);
		queue(event, &row->event_id, "arrived");
	}
	else if ((conflict = difference(row, &sale)) != NULL)
		park(event, conflict, answer);
	else
	{
		event_key_revise(row->creator_id, row->source, event->stored_key, event->revision,
						 &event->digest, &row->event_id);
		row->merged = true;
		record(event, "merged", "the order is known under another key", answer);
		queue(event, &sale.conversion_id, "merged");
	}
}

/* track_known answers an event whose key was seen before. */
void
track_known(TrackedEvent *event, const KnownKey *known, TrackAnswer *answer)
{
	EventRow   *row = &event->row;

	if (known->same_content)
	{
		answer->status = "duplicate";
		answer->event_id = known->event_id;
	}
	else if (slice_is(row->kind, "order") && slice_is(row->kind, known->kind) &&
			 event->revision > known->revision)
	{
		find_touch(event);
		look_up_named(&event->row);
		revise(event, known, answer);
	}
	else if (event->revision < known->revision &&
			 event_key_had(row->creator_id, row->source, event->stored_key,
						   event->revision, &event->digest, event->content, &answer->event_id))
	{
		answer->status = "duplicate";
		answer->detail = "a higher revision is known";
	}
	else
		park(event, "key_reused", answer);
}

/* take_sale books an order, or merges it with the sale that is known already. */
static void
take_sale(TrackedEvent *event, TrackAnswer *answer)
{
	EventRow   *row = &event->row;
	KnownSale	sale;
	const char *conflict;

	if (open_sale(event, &sale))
	{
		record(event, "inserted", NULL, answer);
		book(event, "order", row->amount);
		queue(event, &row->event_id, "arrived");
	}
	else if ((conflict = difference(row, &sale)) != NULL)
		take_back(event, conflict, answer);
	else
	{
		row->merged = true;
		record(event, "merged", "the order is known under another key", answer);
		queue(event, &sale.conversion_id, "merged");
	}
}

/* take_adjustment books a refund, dispute or dispute won. */
static void
take_adjustment(TrackedEvent *event, TrackAnswer *answer)
{
	EventRow   *row = &event->row;
	KnownSale	sale;
	bool		won = slice_is(row->kind, "dispute_won");

	if (known_sale(event, &sale))
	{
		if (row->currency.len == 0)
			row->currency = SLICE_OF(sale.currency);
		if (strncmp(sale.currency, row->currency.data, 3) != 0)
		{
			take_back(event, "currency_mismatch", answer);
			return;
		}
		if (sale.is_test != row->is_test)
		{
			take_back(event, "test_differs", answer);
			return;
		}
	}
	else if (row->currency.len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"currency\" of the event is missing"),
				 errdetail("Order \"%.*s\" is not known yet, so its currency is not either.",
						   (int) row->order_id.len, row->order_id.data)));
	record(event, "inserted", NULL, answer);
	book(event, pnstrdup(row->kind.data, row->kind.len), won ? row->amount : -row->amount);
}

/* order_turn tells which turn of its creator an order takes. */
int
order_turn(Slice order_id)
{
	return (int) (hash_bytes((const unsigned char *) order_id.data, (int) order_id.len) % ORDER_TURNS);
}

/*
 * order_turn_take makes the events of one order wait for each other to the end
 * of the transaction: what they may do depends on what the others did.  The
 * lock is of a class that SQL cannot take.  Whoever takes several takes them in
 * ascending order, and before any key.
 */
void
order_turn_take(int64 creator_id, int turn)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) creator_id,
						 (uint32) (creator_id >> 32) * ORDER_TURNS + (uint32) turn, ORDER_LOCK_CLASS);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* track_claimed decides what an event does whose key is new, between owner_enter() and owner_leave(). */
void
track_claimed(TrackedEvent *event, TrackAnswer *answer)
{
	EventRow   *row = &event->row;

	if (row->occurred_at < event_horizon())
	{
		take_back(event, "too_old", answer);
		return;
	}
	find_touch(event);
	look_up_named(row);
	switch (event->effect)
	{
		case EFFECT_SALE:
			take_sale(event, answer);
			break;
		case EFFECT_ADJUSTMENT:
			take_adjustment(event, answer);
			break;
		case EFFECT_GOAL:
			record(event, "inserted", NULL, answer);
			queue(event, &row->event_id, "arrived");
			break;
		case EFFECT_RECORD:
			record(event, "inserted",
				   row->payment.len > 0 && slice_is(row->kind, "order") ?
				   "no money is booked until the order is paid" : NULL, answer);
			break;
	}
}

/* track_arrive notes when an event arrived, and puts its own time right. */
void
track_arrive(int64 clock_skew, TrackedEvent *event, TimestampTz received_at)
{
	event->row.received_at = received_at;
	event_settle_time(&event->row, clock_skew, event->has_sent_at ? &event->sent_at : NULL);
}

/* take_event decides what an event does, between owner_enter() and owner_leave(). */
static void
take_event(int64 clock_skew, TrackedEvent *event, TrackAnswer *answer)
{
	EventRow   *row = &event->row;
	KnownKey	known;

	track_arrive(clock_skew, event, arrival_time());
	uuidv7_make(&row->event_id, row->occurred_at);
	if (row->order_id.len > 0)
		order_turn_take(row->creator_id, order_turn(row->order_id));

	if (event_key_take(row->creator_id, row->source, event->stored_key, &row->event_id,
					   row->kind, event->revision, &event->digest, event->content,
					   row->received_at, &known))
		track_claimed(event, answer);
	else
		track_known(event, &known, answer);
}

/*
 * track_digest works out what an event's key is stored as and what it is known
 * by when it is sent again, between owner_enter() and owner_leave().
 */
void
track_digest(TrackedEvent *event)
{
	EventRow   *row = &event->row;

	event->content = content_of(event->jsonb);
	event->digest = event_digest(row->creator_id, event->content);
	event->stored_key = event_key_stored(row->creator_id, event->key);
	if (row->order_id.len > 0)
		row->order_id = SLICE_OF(event_key_stored(row->creator_id, row->order_id));
	if (row->goal.len > 0)
	{
		size_t		len;
		char	   *masked = text_masked(row->goal, &len);

		row->goal = (Slice) {masked, len};
	}
}

/* track_creator gives a creator's configuration; raises 22023 when there is no such creator. */
const CreatorConfig *
track_creator(int64 creator_id)
{
	const CreatorConfig *creator = creator_config(creator_id);

	if (creator == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no creator %lld", (long long) creator_id),
				 errhint("Insert a row into biolink.creator first.")));
	return creator;
}

/* track takes one event. */
Datum
track(PG_FUNCTION_ARGS)
{
	static ResultShape shape;
	int64		clock_skew;
	TrackedEvent event;
	TrackAnswer answer = {0};
	OwnerScope	scope;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be null", PG_ARGISNULL(0) ? "creator_id" : "event")));
	track_read(PG_GETARG_JSONB_P(1), PG_GETARG_INT64(0), &event);
	clock_skew = track_creator(event.row.creator_id)->clock_skew;

	owner_enter(&scope);
	track_digest(&event);
	take_event(clock_skew, &event, &answer);
	owner_leave(&scope);

	values[0] = CStringGetTextDatum(answer.status);
	values[1] = UUIDPGetDatum(&answer.event_id);
	nulls[2] = answer.detail == NULL;
	values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(answer.detail);
	return HeapTupleGetDatum(result_tuple(&shape, fcinfo, values, nulls));
}

/* required_argument reads a text argument that must be given and not be empty. */
static Slice
required_argument(FunctionCallInfo fcinfo, int number, const char *name, size_t max_bytes)
{
	text	   *value;

	if (PG_ARGISNULL(number) || VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(number)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be null or empty", name)));
	value = PG_GETARG_TEXT_PP(number);
	if (VARSIZE_ANY_EXHDR(value) > max_bytes)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" is too long", name),
				 errdetail("It has %d bytes, at most %zu are taken.",
						   (int) VARSIZE_ANY_EXHDR(value), max_bytes)));
	return (Slice) {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
}

/* park_event keeps something that is no event. */
Datum
park_event(PG_FUNCTION_ARGS)
{
	static ResultShape shape;
	int64		creator_id;
	Slice		source;
	Slice		key;
	Slice		reason;
	Jsonb	   *jsonb;
	pg_uuid_t	parked_id;
	bool		is_new;
	OwnerScope	scope;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(4))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be null", PG_ARGISNULL(0) ? "creator_id" : "event")));
	creator_id = PG_GETARG_INT64(0);
	source = required_argument(fcinfo, 1, "source", MAX_NAME_BYTES);
	refuse_own_source(source);
	key = required_argument(fcinfo, 2, "key", ANY_LENGTH);
	reason = required_argument(fcinfo, 3, "reason", MAX_NAME_BYTES);
	jsonb = PG_GETARG_JSONB_P(4);
	(void) track_creator(creator_id);

	owner_enter(&scope);
	is_new = track_park(creator_id, source, event_key_stored(creator_id, key), NO_SLICE,
						pnstrdup(reason.data, reason.len), NULL, jsonb, NO_SLICE, &parked_id);
	owner_leave(&scope);

	values[0] = CStringGetTextDatum(is_new ? "parked" : "duplicate");
	values[1] = UUIDPGetDatum(&parked_id);
	return HeapTupleGetDatum(result_tuple(&shape, fcinfo, values, nulls));
}

/* parked_text opens the sealed text of a parked event; NULL where its key is gone or it was not sealed for this creator. */
Datum
parked_text(PG_FUNCTION_ARGS)
{
	OwnerScope	scope;
	Slice		opened;
	text	   *result = NULL;
	MemoryContext outside = CurrentMemoryContext;

	owner_enter(&scope);
	if (seal_open(PG_GETARG_INT64(0), PARKED_LABEL, PG_GETARG_BYTEA_PP(1), &opened))
	{
		MemoryContextSwitchTo(outside);
		result = cstring_to_text_with_len(opened.data, (int) opened.len);
	}
	owner_leave(&scope);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(result);
}
