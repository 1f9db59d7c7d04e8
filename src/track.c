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
 *	- The first paid order event of a sale, by whichever of its references,
 *	  books the money; the same sale under another key adds evidence only, and
 *	  other money under it is parked.
 *	- What is parked does not keep its key: sent again, corrected, it is judged
 *	  anew.
 *	- A token, click id, visitor, reference, item, code or identifier that does
 *	  not hold never costs the event.
 *
 *-------------------------------------------------------------------------
 */
#include "biolink.h"

#include "config_cache.h"
#include "house.h"
#include "sale.h"
#include "token.h"
#include "track.h"
#include "tracking.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#define MAX_NAME_BYTES		200

/* of an event; more are a mistake of the sender's */
#define MAX_REFS			50
#define MAX_CODES			50
#define MAX_ITEMS			1000
#define MAX_QUANTITY		INT64CONST(1000000000)

/* The greatest whole number that every JSON reader keeps exactly; sums of many stay within int8. */
#define MAX_AMOUNT			((INT64CONST(1) << 53) - 1)

PG_FUNCTION_INFO_V1(track);
PG_FUNCTION_INFO_V1(track_again);
PG_FUNCTION_INFO_V1(park_event);

/* Keys of an event that have a meaning of their own; others go to context. */
#define EVENT_KEYS \
	"kind", "source", "key", "occurred_at", "sent_at", "revision", "token", \
	"click_id", "visitor", "url", "identifiers", "codes", "consent", "order_id", "order_refs", "order_type", \
	"subscription_id", "payment", "amount", "tax", "shipping", "fee", "currency", "items", "offer_id", "link_id", \
	"goal", "test", "context", "ip"

static const char *const event_keys[] = {EVENT_KEYS};

/* A visit or click has its request's as well, and its link's slug. */
static const char *const touch_keys[] = {EVENT_KEYS, REQUEST_KEYS, "link"};

static SavedPlan known_order_plan = SAVED_PLAN(
	"SELECT COALESCE(e.payment, 'paid') OPERATOR(pg_catalog.=) 'paid', e.order_id FROM biolink.event AS e"
	" WHERE e.creator_id OPERATOR(pg_catalog.=) $1 AND e.event_id OPERATOR(pg_catalog.=) $2"
	" AND e.occurred_at OPERATOR(pg_catalog.>=) $3 AND e.occurred_at OPERATOR(pg_catalog.<) $4",
	"luzz");

static SavedPlan named_plan = SAVED_PLAN(
	"SELECT $2 IS NULL OR l.link_id IS NOT NULL,"
	" $3 IS NULL OR EXISTS (SELECT FROM biolink.offer AS o"
	" WHERE o.creator_id OPERATOR(pg_catalog.=) $1 AND o.offer_id OPERATOR(pg_catalog.=) $3),"
	" l.offer_id, l.campaign_id"
	" FROM (VALUES (1)) AS one (row) LEFT JOIN biolink.link AS l"
	" ON l.creator_id OPERATOR(pg_catalog.=) $1 AND l.link_id OPERATOR(pg_catalog.=) $2",
	"lll");

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
	unknown = event->is_touch ? json_unknown_keys(&event->object, touch_keys, lengthof(touch_keys)) :
		json_unknown_keys(&event->object, event_keys, lengthof(event_keys));
	if (given != NULL && unknown != NULL)
		event->row.context = DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
																JsonbPGetDatum(unknown),
																JsonbPGetDatum(given)));
	else
		event->row.context = given != NULL ? given : unknown;
}

/* push_key begins a member of a JSON object that is being made. */
static void
push_key(JsonbParseState **state, const char *key)
{
	JsonbValue	name = {.type = jbvString};

	name.val.string.val = unconstify(char *, key);
	name.val.string.len = (int) strlen(key);
	pushJsonbValue(state, WJB_KEY, &name);
}

/* push_whole adds a member that is a whole number. */
static void
push_whole(JsonbParseState **state, const char *key, int64 value)
{
	JsonbValue	number = {.type = jbvNumeric};

	push_key(state, key);
	number.val.numeric = int64_to_numeric(value);
	pushJsonbValue(state, WJB_VALUE, &number);
}

/* push_item adds an item to the array that is being made; false if it is none. */
static bool
push_item(JsonbParseState **state, JsonbValue *element)
{
	JsonObject	item = {.what = "item"};
	int64		offer_id;
	Slice		sku;
	bool		has_quantity;
	bool		has_amount;
	int64		quantity;
	int64		amount;

	if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
		return false;
	item.container = element->val.binary.data;
	if (!json_id_if(&item, "offer_id", &offer_id) ||
		!json_text_if(&item, "sku", &sku) || sku.len > MAX_NAME_BYTES ||
		!json_whole_if(&item, "quantity", 0, MAX_QUANTITY, &has_quantity, &quantity) ||
		!json_whole_if(&item, "amount", -MAX_AMOUNT, MAX_AMOUNT, &has_amount, &amount) ||
		(offer_id == 0 && sku.len == 0))
		return false;
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	if (offer_id != 0)
		push_whole(state, "offer_id", offer_id);
	if (sku.len > 0)
	{
		JsonbValue	value = {.type = jbvString};
		size_t		len;

		push_key(state, "sku");
		value.val.string.val = text_masked(sku, &len);
		value.val.string.len = (int) len;
		pushJsonbValue(state, WJB_VALUE, &value);
	}
	if (has_quantity)
		push_whole(state, "quantity", quantity);
	if (has_amount)
		push_whole(state, "amount", amount);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
	return true;
}

/* read_items reads what was bought; what is no item is left out and flagged. */
static void
read_items(TrackedEvent *event)
{
	JsonbContainer *array;
	JsonbParseState *state = NULL;
	int			n;
	int			ngood = 0;

	if (!json_array_if(&event->object, "items", &array))
		event->row.flags |= FLAG_MALFORMED_ITEMS;
	n = array == NULL ? 0 : (int) JsonContainerSize(array);
	if (n == 0)
		return;
	if (n > MAX_ITEMS)
	{
		n = MAX_ITEMS;
		event->row.flags |= FLAG_MALFORMED_ITEMS;
	}
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < n; i++)
	{
		if (push_item(&state, getIthJsonbValueFromContainer(array, (uint32) i)))
			ngood++;
		else
			event->row.flags |= FLAG_MALFORMED_ITEMS;
	}
	if (ngood > 0)
		event->row.items = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

/* read_codes reads the discount codes that were used. */
static void
read_codes(TrackedEvent *event)
{
	EventRow   *row = &event->row;
	Slice	   *codes;

	if (!json_texts_if(&event->object, "codes", MAX_CODES, MAX_NAME_BYTES, &codes, &row->ncodes))
		row->flags |= FLAG_MALFORMED_CODES;
	row->codes = palloc(Max(row->ncodes, 1) * sizeof(Datum));
	for (int i = 0; i < row->ncodes; i++)
	{
		size_t		len;
		char	   *masked = text_masked(codes[i], &len);

		row->codes[i] = text_datum((Slice) {masked, len});
	}
}

/* is_sha256 tells whether a text is 64 hexadecimal digits. */
static bool
is_sha256(Slice text)
{
	for (size_t i = 0; i < text.len; i++)
	{
		if (!isxdigit((unsigned char) text.data[i]))
			return false;
	}
	return text.len == 64;
}

/* identifiers_hold tells whether the identifiers of a person are what they have to be. */
static bool
identifiers_hold(JsonObject *object)
{
	JsonbContainer *array;

	if (!json_array_if(object, "identifiers", &array))
		return false;
	for (uint32 i = 0; array != NULL && i < JsonContainerSize(array); i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(array, i);
		JsonObject	identifier = {.what = "identifier"};
		Slice		kind;
		Slice		value;
		Slice		sha256;

		if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
			return false;
		identifier.container = element->val.binary.data;
		if (!json_text_if(&identifier, "kind", &kind) || kind.len == 0 ||
			!json_text_if(&identifier, "value", &value) ||
			!json_text_if(&identifier, "sha256", &sha256) ||
			(value.len == 0 && !is_sha256(sha256)) || (sha256.len > 0 && !is_sha256(sha256)))
			return false;
	}
	return true;
}

/* track_read reads and checks what does not depend on stored data. */
void
track_read(Jsonb *jsonb, int64 creator_id, TrackedEvent *event)
{
	static const char *const order_types[] = {"new", "repeat", "renewal"};
	static const char *const payments[] = {"pending", "paid", "failed"};
	static const char *const parts[NUM_MONEY_PARTS] = {"tax", "shipping", "fee"};
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
	event->has_occurred_at = json_time(object, "occurred_at", &row->occurred_at);
	if (!event->has_occurred_at)
	{
		row->occurred_at = GetCurrentTimestamp();
		/* that is by our own clock */
		event->has_sent_at = false;
	}
	if (!json_int64(object, "revision", 0, PG_INT64_MAX, &event->revision))
		event->revision = 0;
	event->is_touch = slice_is(row->kind, "visit") || slice_is(row->kind, "click");
	/* evidence of a wrong type is as good as malformed: it must not cost the order */
	event->malformed |= !json_text_if(object, "token", &event->token);
	event->malformed |= !json_text_if(object, "click_id", &event->click_id);
	event->malformed |= !json_text_if(object, "visitor", &event->visitor);
	event->malformed |= !json_text_if(object, "url", &event->url);
	if (!identifiers_hold(object))
		row->flags |= FLAG_MALFORMED_IDENTIFIERS;
	if (!json_texts_if(object, "order_refs", MAX_REFS, MAX_NAME_BYTES, &event->order_refs, &event->norder_refs))
		row->flags |= FLAG_MALFORMED_REFS;
	read_codes(event);
	read_items(event);
	row->measurement_denied = json_measurement_denied(object);
	json_text(object, "order_id", MAX_NAME_BYTES, &row->order_id);
	json_text(object, "subscription_id", MAX_NAME_BYTES, &row->subscription_id);
	json_text(object, "order_type", MAX_NAME_BYTES, &row->order_type);
	one_of(row->order_type, "order_type", order_types, lengthof(order_types), "new, repeat, renewal");
	json_text(object, "payment", MAX_NAME_BYTES, &row->payment);
	one_of(row->payment, "payment", payments, lengthof(payments), "pending, paid, failed");
	row->has_amount = json_int64(object, "amount", 0, MAX_AMOUNT, &row->money.amount);
	for (int part = 0; part < NUM_MONEY_PARTS; part++)
		row->money.has_part[part] = json_int64(object, parts[part], 0, MAX_AMOUNT, &row->money.part[part]);
	if (json_text(object, "currency", MAX_NAME_BYTES, &row->currency) && !valid_currency(row->currency))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"currency\" of the event must be an ISO 4217 code in capital letters"),
				 errdetail("It is \"%.*s\".", (int) row->currency.len, row->currency.data)));
	event->malformed |= !json_id_if(object, "offer_id", &row->offer_id);
	event->malformed |= !json_id_if(object, "link_id", &row->link_id);
	json_text(object, "goal", MAX_NAME_BYTES, &row->goal);
	row->is_test = json_bool(object, "test");
	if (event->is_touch)
	{
		event->malformed |= !json_text_if(object, "link", &event->link);
		request_read(object, &event->request, row);
	}
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
		if (is_adjustment && row->money.amount == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("key \"amount\" of the event must be positive"),
					 errdetail("What an event of kind \"%.*s\" takes or gives is said by its kind, not by a sign.",
							   (int) row->kind.len, row->kind.data)));
	}

	if (is_adjustment)
		event->effect = EFFECT_ADJUSTMENT;
	else if (is_order)
		event->effect = slice_is(row->payment, "pending") || slice_is(row->payment, "failed") ?
			EFFECT_UNPAID : EFFECT_SALE;
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

	if (!url_reference_split(event->url.data, event->url.len, &parts))
		return;
	if (event->token.len == 0 && url_find_param(parts.query, "bl", &param) && param.value.len > 0)
	{
		event->token = param.value;
		event->token_from_url = true;
	}
	event->row.utm = tracking_params(parts.query, NULL);
}

/* given_click_id reads the click id that was sent; false, with the reason noted, when it is none. */
static bool
given_click_id(TrackedEvent *event, pg_uuid_t *given)
{
	if (event->click_id.len == 0)
		return false;
	if (uuid_parse(event->click_id, given) && uuidv7_is(given))
		return true;
	event->row.token_reason = SLICE_OF("malformed_click_id");
	return false;
}

/* find_touch works out which click or visit an event that is none names, and its own visitor. */
static void
find_touch(TrackedEvent *event)
{
	EventRow   *row = &event->row;
	pg_uuid_t	given;
	bool		has_given;

	if (event->malformed)
		row->token_reason = SLICE_OF("malformed");

	if (event->url.len > 0)
		read_url(event);

	has_given = given_click_id(event, &given);
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
}

/*
 * look_up_named flags a link or an offer that the creator does not have: the id
 * is kept as it was sent.  A visit or click is of its link's offer and campaign.
 */
static void
look_up_named(TrackedEvent *event)
{
	EventRow   *row = &event->row;
	Datum		values[3] = {Int64GetDatum(row->creator_id), Int64GetDatum(row->link_id), Int64GetDatum(row->offer_id)};
	char		nulls[3] = {' ', row->link_id == 0 ? 'n' : ' ', row->offer_id == 0 ? 'n' : ' '};
	Datum		columns[4];
	bool		absent[4];

	if (row->link_id == 0 && row->offer_id == 0)
		return;
	plan_execute(&named_plan, values, nulls);
	heap_deform_tuple(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, columns, absent);
	if (!DatumGetBool(columns[0]))
		row->flags |= FLAG_UNKNOWN_LINK;
	if (!DatumGetBool(columns[1]))
		row->flags |= FLAG_UNKNOWN_OFFER;
	if (event->is_touch && row->offer_id == 0 && !absent[2])
		row->offer_id = DatumGetInt64(columns[2]);
	if (event->is_touch && !absent[3])
		row->campaign_id = DatumGetInt64(columns[3]);
	SPI_freetuptable(SPI_tuptable);
}

/*
 * look_up_slug finds the link of a visit or click by its slug, where its id was
 * not sent.  A slug that does not lead to the event's link stays in its context.
 */
static void
look_up_slug(TrackedEvent *event)
{
	EventRow   *row = &event->row;
	const LinkConfig *link = link_config(row->creator_id, event->link);

	if (row->link_id == 0 && link != NULL)
	{
		row->link_id = link->link_id;
		if (row->offer_id == 0)
			row->offer_id = link->offer_id;
		row->campaign_id = link->campaign_id;
	}
	else if (row->link_id == 0)
		row->flags |= FLAG_UNKNOWN_LINK;
	if (link == NULL || link->link_id != row->link_id)
		event_note(row, "link", slice_cut(event->link, MAX_NAME_BYTES));
}

/*
 * take_touch_in works out what a visit or click that was seen elsewhere says,
 * as if its request were taken here.
 */
static void
take_touch_in(TrackedEvent *event)
{
	EventRow   *row = &event->row;
	Request    *request = &event->request;
	pg_uuid_t	given;

	if (event->malformed)
		row->token_reason = SLICE_OF("malformed");
	look_up_named(event);
	if (event->link.len > 0)
		look_up_slug(event);

	request->token = event->token;
	request->visitor = event->visitor;
	request->url = event->url;
	request_judge(request, row);
	touch_work_out(track_creator(row->creator_id), request, row, event->sink);
	touch_look_up_names(request, row, event->sink);

	/* an id is nobody's signature: it is kept, and ties the click to no visit */
	if (given_click_id(event, &given))
	{
		const TokenVerdict *verdict = &request->verdict;

		row->click_id = given;
		row->has_click_id = true;
		if (row->evidence.len == 0)
			row->evidence = SLICE_OF("click_id");
		if (verdict->genuine && verdict->fields.creator_id == row->creator_id &&
			memcmp(verdict->fields.event_id, given.data, UUID_LEN) != 0)
			row->token_reason = SLICE_OF("disagreement");
	}
}

/* work_out reads what an event says of touches and of what the creator has. */
static void
work_out(TrackedEvent *event)
{
	if (event->is_touch)
		take_touch_in(event);
	else
	{
		find_touch(event);
		look_up_named(event);
	}
}

/* book adds a row to the ledger under the event's own order_id. */
static void
book(const TrackedEvent *event, const char *kind, const Money *money)
{
	const EventRow *row = &event->row;
	LedgerEntry entry = {0};

	entry.creator_id = row->creator_id;
	entry.entry_id = entry.event_id = row->event_id;
	entry.order_id = row->order_id;
	entry.kind = kind;
	entry.money = *money;
	entry.currency = row->currency;
	entry.occurred_at = row->occurred_at;
	entry.received_at = row->received_at;
	entry.is_test = row->is_test;
	ledger_insert(&entry, event->sink);
}

/* queue asks the job for a conversion's path. */
static void
queue(const TrackedEvent *event, const pg_uuid_t *conversion_id, const char *reason)
{
	queue_insert(event->row.creator_id, conversion_id, reason, event->sink);
}

/* tells_of_person tells whether a key's value may be a person's identifier that masking does not find. */
static bool
tells_of_person(const JsonbValue *key)
{
	static const char *const keys[] = {"identifiers", "visitor", "ip", "headers"};
	Slice		name = {key->val.string.val, (size_t) key->val.string.len};

	for (size_t i = 0; i < lengthof(keys); i++)
	{
		if (slice_is(name, keys[i]))
			return true;
	}
	return false;
}

/* without_person gives a copy of JSON that lacks such keys, however deep: what cannot be taken may be events in a wrapping of any kind. */
static Jsonb *
without_person(Jsonb *jsonb)
{
	JsonbIterator *iterator = JsonbIteratorInit(&jsonb->root);
	JsonbParseState *state = NULL;
	JsonbValue	value;
	JsonbValue *copy = NULL;
	JsonbIteratorToken token;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		bool		has_value = token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM;

		if (token == WJB_KEY && tells_of_person(&value))
			(void) JsonbIteratorNext(&iterator, &value, true);
		else
			copy = pushJsonbValue(&state, token, has_value ? &value : NULL);
	}
	return JsonbValueToJsonb(copy);
}

/*
 * track_park keeps something that cannot be taken: an event, JSON that is none,
 * or, where jsonb is NULL, a text that is no JSON that can be stored.  What may
 * hold a person's identifiers is only in the sealed text, and a text that cannot
 * be told apart is nowhere else.  False when the same is parked already.
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
		JsonbValue	value = {.type = jbvNull};

		shown = JsonbValueToJsonb(&value);
	}
	else if (JB_ROOT_IS_OBJECT(jsonb))
		content = content_of(jsonb);
	if (jsonb != NULL && !JB_ROOT_IS_SCALAR(jsonb))
		shown = without_person(jsonb);
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
	if (event->is_touch)
		touch_insert(&event->row, event->sink);
	else
		event_insert(&event->row, event->sink);
	answer->status = status;
	answer->event_id = event->row.event_id;
	answer->detail = detail;
}

/* named_sales reads what the event's references name. */
static void
named_sales(const TrackedEvent *event, Sales *sales)
{
	bool		any_known = event->sink == NULL && !event->refs_are_new;

	for (int i = 0; event->sink != NULL && i < event->nrefs && !any_known; i++)
		any_known = event_sink_knows(event->sink, event->refs[i]);
	if (!any_known)
		memset(sales, 0, sizeof(*sales));
	else
		sales_read(event->row.creator_id, event->refs, event->nrefs, event->sink, sales);
}

/* join has the event's references name one sale from here on. */
static void
join(const TrackedEvent *event, const Sales *sales, bool is_sale, const Money *stated)
{
	sales_join(&event->row, event->refs, event->nrefs, sales, is_sale, stated, event->sink);
}

/* difference tells why an order is not a sale that is known under its references; NULL when it is. */
static const char *
difference(const EventRow *row, const Sale *sale)
{
	if (strncmp(sale->currency, row->currency.data, 3) != 0 ||
		(sale->money.amount != row->money.amount && !sale_had(row->creator_id, sale, row->money.amount)))
		return "order_differs";
	if (sale->is_test != row->is_test)
		return "test_differs";
	return NULL;
}

/* is_later_of tells whether a sale costs what another one does, or did when it was told as that. */
static bool
is_later_of(int64 creator_id, const Sale *sale, const Sale *other)
{
	return sale->money.amount == other->money.amount || sale_had(creator_id, sale, other->money.amount);
}

/*
 * disagreement tells why booked sales cannot be one; NULL when they can.  Then
 * the one that is to stay is the first: of those that cost the same, the first
 * that was booked, but one that was revised is not taken back by one that was
 * not.
 */
static const char *
disagreement(int64 creator_id, Sales *sales)
{
	for (int i = 1; i < sales->nbooked; i++)
	{
		if (strcmp(sales->sales[i].currency, sales->sales[0].currency) != 0)
			return "order_differs";
		if (sales->sales[i].is_test != sales->sales[0].is_test)
			return "test_differs";
	}
	for (int i = 0; i < sales->nbooked; i++)
	{
		Sale		stays = sales->sales[i];
		bool		is_latest = true;

		for (int j = 0; j < sales->nbooked && is_latest; j++)
			is_latest = is_later_of(creator_id, &stays, &sales->sales[j]);
		if (is_latest)
		{
			memmove(&sales->sales[1], &sales->sales[0], i * sizeof(Sale));
			sales->sales[0] = stays;
			return NULL;
		}
	}
	return sales->nbooked == 0 ? NULL : "order_differs";
}

/* has_evidence tells whether an event says anything of where its sale came from. */
static bool
has_evidence(const EventRow *row)
{
	return row->has_click_id || row->has_visitor || row->token_reason.len > 0 || row->measurement_denied;
}

/*
 * take_sale books a paid order, or merges it with the sale that its references
 * name already.  known is what its key did before, if it did.
 */
static void
take_sale(TrackedEvent *event, const KnownKey *known, TrackAnswer *answer)
{
	EventRow   *row = &event->row;
	Sales		sales;
	const char *conflict = NULL;

	named_sales(event, &sales);
	for (int i = 0; i < sales.nbooked && conflict == NULL; i++)
		conflict = difference(row, &sales.sales[i]);
	if (conflict == NULL)
		conflict = disagreement(row->creator_id, &sales);
	if (conflict != NULL)
	{
		if (known != NULL)
			park(event, conflict, answer);
		else
			take_back(event, conflict, answer);
		return;
	}

	if (known != NULL && known->revision > event->revision)
		event_key_note_lower(row->creator_id, row->source, event->stored_key, &row->event_id, row->kind,
							 event->revision, &event->digest, row->received_at, true);
	else if (known != NULL)
		event_key_revise(row->creator_id, row->source, event->stored_key, event->revision,
						 &event->digest, &row->event_id);
	if (sales.nbooked == 0)
	{
		join(event, &sales, true, NULL);
		record(event, known != NULL ? "updated" : "inserted", NULL, answer);
		book(event, "order", &row->money);
		queue(event, &row->event_id, "arrived");
	}
	else
	{
		const Money *money = &sales.sales[0].money;

		for (int part = 0; part < NUM_MONEY_PARTS; part++)
		{
			if (row->money.has_part[part] && money->has_part[part] && row->money.part[part] != money->part[part])
				row->flags |= FLAG_PARTS_DIFFER;
		}
		row->merged = true;
		join(event, &sales, false, &row->money);
		record(event, "merged", "the order is known under another key", answer);
		queue(event, &sales.sales[0].conversion_id, "merged");
	}
}

/* take_unpaid records an order that was not paid, or a version of one that counts no more: what it names and says is known. */
static void
take_unpaid(TrackedEvent *event, const char *status, const char *detail, TrackAnswer *answer)
{
	Sales		sales;

	named_sales(event, &sales);
	if (disagreement(event->row.creator_id, &sales) == NULL)
		join(event, &sales, false, NULL);
	else
	{
		event->row.flags |= FLAG_REFS_DIFFER;
		/* it is evidence of what its order_id names */
		sales_read(event->row.creator_id, event->refs, 1, event->sink, &sales);
	}
	record(event, status, detail, answer);
	if (sales.nbooked > 0 && (has_evidence(&event->row) || event->row.merged))
		queue(event, &sales.sales[0].conversion_id, "evidence");
}

/* take_recorded records an event that does nothing to the books; what it says of a sale counts all the same. */
static void
take_recorded(TrackedEvent *event, TrackAnswer *answer)
{
	record(event, "inserted", NULL, answer);
	if (event->nrefs > 0 && !event->is_touch && has_evidence(&event->row))
	{
		Sales		sales;

		named_sales(event, &sales);
		if (sales.nbooked > 0)
			queue(event, &sales.sales[0].conversion_id, "evidence");
	}
}

/* take_adjustment books a refund, dispute or dispute won. */
static void
take_adjustment(TrackedEvent *event, TrackAnswer *answer)
{
	EventRow   *row = &event->row;
	bool		won = slice_is(row->kind, "dispute_won");
	Money		money = {.amount = won ? row->money.amount : -row->money.amount};
	Sales		sales;
	const char *conflict;
	const char *detail = NULL;

	named_sales(event, &sales);
	conflict = disagreement(row->creator_id, &sales);
	if (sales.nbooked > 0 && conflict == NULL)
	{
		const Sale *sale = &sales.sales[0];

		if (row->currency.len == 0)
			row->currency = SLICE_OF(sale->currency);
		if (strncmp(sale->currency, row->currency.data, 3) != 0)
			conflict = "currency_mismatch";
		else if (sale->is_test != row->is_test)
			conflict = "test_differs";
		else if (!won && sale->taken_back > sale->money.amount - row->money.amount)
			detail = "refunds and disputes exceed what was paid";
	}
	if (conflict != NULL)
	{
		take_back(event, conflict, answer);
		return;
	}
	if (row->currency.len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("key \"currency\" of the event is missing"),
				 errdetail("Order \"%.*s\" is not known yet, so its currency is not either.",
						   (int) row->order_id.len, row->order_id.data)));
	join(event, &sales, false, NULL);
	record(event, "inserted", detail, answer);
	book(event, pnstrdup(row->kind.data, row->kind.len), &money);
}

/* named_by reads the sale that one reference names; false when there is none. */
static bool
named_by(const TrackedEvent *event, Datum ref, Sale *sale)
{
	Sales		sales;

	sales_read(event->row.creator_id, &ref, 1, event->sink, &sales);
	if (sales.n > 0)
		*sale = sales.sales[0];
	return sales.n > 0;
}

/*
 * change_sale has a sale cost what a higher revision of an order of it says.
 * The ledger gets what differs.
 */
static void
change_sale(TrackedEvent *event, const KnownKey *known, const Sale *own, TrackAnswer *answer)
{
	EventRow   *row = &event->row;
	Money		difference_of = {.amount = row->money.amount - own->money.amount};
	bool		differs = difference_of.amount != 0;
	Sales		sales;
	Sale	   *joined;

	named_sales(event, &sales);
	/* its own first, so that it is the one that stays */
	joined = palloc(sales.n * sizeof(Sale));
	joined[0] = *own;
	for (int i = 0, n = 1; i < sales.n; i++)
	{
		const Sale *sale = &sales.sales[i];

		if (strcmp(sale->order_id, own->order_id) == 0)
			continue;
		joined[n++] = *sale;
		if (!sale->booked)
			continue;
		if (strcmp(sale->currency, own->currency) != 0 ||
			(sale->money.amount != row->money.amount && sale->money.amount != own->money.amount))
		{
			park(event, "order_differs", answer);
			return;
		}
		if (sale->is_test != own->is_test)
		{
			park(event, "test_differs", answer);
			return;
		}
	}
	sales.sales = joined;

	for (int part = 0; part < NUM_MONEY_PARTS; part++)
	{
		if (!row->money.has_part[part])
			continue;
		difference_of.part[part] = row->money.part[part] - own->money.part[part];
		difference_of.has_part[part] = !own->money.has_part[part] || difference_of.part[part] != 0;
		differs = differs || difference_of.has_part[part];
		joined[0].money.has_part[part] = true;
	}
	event_key_revise(row->creator_id, row->source, event->stored_key, event->revision,
					 &event->digest, &known->event_id);
	join(event, &sales, false, NULL);
	record(event, "updated", NULL, answer);
	if (differs)
		book(event, "revision", &difference_of);
	queue(event, &own->conversion_id, "updated");
}

/*
 * known_order finds what the order that a key stands for goes by and whether it
 * was paid; has_own and own tell what that names.  False where the event is of
 * another order, which is none that both names mean.
 */
static bool
known_order(TrackedEvent *event, const KnownKey *known, bool *paid, bool *has_own, Sale *own)
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
	TupleDesc	shape;
	bool		isnull;
	char	   *order_id;
	Sale		other;

	if (event->sink != NULL)
		event_sink_flush(event->sink);
	if (plan_find(&known_order_plan, values, NULL) == 0)
		return false;
	tuple = SPI_tuptable->vals[0];
	shape = SPI_tuptable->tupdesc;
	*paid = DatumGetBool(SPI_getbinval(tuple, shape, 1, &isnull));
	order_id = TextDatumGetCString(SPI_getbinval(tuple, shape, 2, &isnull));

	*has_own = named_by(event, CStringGetTextDatum(order_id), own);
	return slice_is(row->order_id, order_id) ||
		(*has_own && named_by(event, event->refs[0], &other) && strcmp(own->order_id, other.order_id) == 0);
}

/*
 * revise takes a higher revision of an order under its key.  A sale costs what
 * it says from now on; an order that had not been paid becomes a sale when it
 * now is.  The older version stays as it was.
 */
static void
revise(TrackedEvent *event, const KnownKey *known, TrackAnswer *answer)
{
	EventRow   *row = &event->row;
	bool		paid;
	bool		has_own;
	Sale		own;

	if (!known_order(event, known, &paid, &has_own, &own))
		/* another order */
		park(event, "key_reused", answer);
	else if (paid && event->effect != EFFECT_SALE)
		/* a sale is undone by a refund, not by being unpaid again */
		park(event, "key_reused", answer);
	else if (paid)
	{
		if (!has_own || !own.booked)
			elog(ERROR, "order \"%.*s\" has no ledger row", (int) row->order_id.len, row->order_id.data);
		if (!slice_is(row->currency, own.currency))
			park(event, "currency_mismatch", answer);
		else if (own.is_test != row->is_test)
			park(event, "test_differs", answer);
		else
			change_sale(event, known, &own, answer);
	}
	else if (event->effect != EFFECT_SALE)
	{
		event_key_revise(row->creator_id, row->source, event->stored_key, event->revision,
						 &event->digest, &known->event_id);
		take_unpaid(event, "updated", "no money is booked until the order is paid", answer);
	}
	else
		take_sale(event, known, answer);
}

/* take_lower takes a revision of an order that comes after a higher one: it is on record, and changes nothing that the higher one said. */
static void
take_lower(TrackedEvent *event, const KnownKey *known, TrackAnswer *answer)
{
	EventRow   *row = &event->row;
	Sales		sales;
	bool		paid;
	bool		has_own;
	Sale		own;

	if (!known_order(event, known, &paid, &has_own, &own))
	{
		/* a key is of one order, whichever revision comes first */
		park(event, "key_reused", answer);
		return;
	}
	named_sales(event, &sales);
	if (event->effect == EFFECT_SALE && sales.nbooked == 0)
	{
		/* the higher one was not paid */
		take_sale(event, known, answer);
		return;
	}
	event_key_note_lower(row->creator_id, row->source, event->stored_key, &row->event_id, row->kind,
						 event->revision, &event->digest, row->received_at, false);
	row->merged = event->effect == EFFECT_SALE;
	take_unpaid(event, "updated", "a higher revision is known", answer);
}

/* is_gone tells whether an event, or the one that its key stands for, is from before what is kept. */
static bool
is_gone(const TrackedEvent *event, const KnownKey *known)
{
	return event->row.occurred_at < event_horizon() || uuidv7_time(&known->event_id) < event_horizon();
}

/* track_known answers an event whose key was seen before. */
void
track_known(TrackedEvent *event, const KnownKey *known, TrackAnswer *answer)
{
	EventRow   *row = &event->row;
	bool		same_content;
	bool		are_orders = slice_is(row->kind, "order") && slice_is(row->kind, known->kind);

	if (known->same_content)
	{
		answer->status = "duplicate";
		answer->event_id = known->event_id;
	}
	else if (event->revision < known->revision &&
			 event_key_had(row->creator_id, row->source, event->stored_key, event->revision,
						   &event->digest, track_content(event), &answer->event_id, &same_content))
	{
		if (same_content)
		{
			answer->status = "duplicate";
			answer->detail = "a higher revision is known";
		}
		else
			park(event, "key_reused", answer);
	}
	else if (!are_orders || event->revision == known->revision)
		park(event, "key_reused", answer);
	else if (is_gone(event, known))
		park(event, "too_old", answer);
	else
	{
		work_out(event);
		if (event->revision > known->revision)
			revise(event, known, answer);
		else
			take_lower(event, known, answer);
	}
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
	work_out(event);
	switch (event->effect)
	{
		case EFFECT_SALE:
			take_sale(event, NULL, answer);
			break;
		case EFFECT_ADJUSTMENT:
			take_adjustment(event, answer);
			break;
		case EFFECT_GOAL:
			record(event, "inserted", NULL, answer);
			queue(event, &row->event_id, "arrived");
			break;
		case EFFECT_UNPAID:
			take_unpaid(event, "inserted", "no money is booked until the order is paid", answer);
			break;
		case EFFECT_RECORD:
			take_recorded(event, answer);
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

/*
 * arrive_again notes when an event arrived that had come before: its own time is
 * what it was then.
 */
static void
arrive_again(int64 clock_skew, TrackedEvent *event, TimestampTz first_arrived_at)
{
	if (!event->has_occurred_at)
		event->row.occurred_at = first_arrived_at;
	track_arrive(clock_skew, event, first_arrived_at);
	event->row.received_at = arrival_time();
}

/*
 * take_event decides what an event does, between owner_enter() and
 * owner_leave(); first_arrived_at is NULL for one that comes for the first time.
 */
static void
take_event(int64 clock_skew, TrackedEvent *event, const TimestampTz *first_arrived_at, TrackAnswer *answer)
{
	EventRow   *row = &event->row;
	KnownKey	known;

	if (first_arrived_at != NULL)
		arrive_again(clock_skew, event, *first_arrived_at);
	else
		track_arrive(clock_skew, event, arrival_time());
	uuidv7_make(&row->event_id, row->occurred_at);
	if (event->nrefs > 0)
	{
		bool	   *known = palloc(event->nrefs * sizeof(bool));

		order_turns_take(row->creator_id, event->refs, event->nrefs, known);
		event->refs_are_new = true;
		for (int i = 0; i < event->nrefs; i++)
			event->refs_are_new = event->refs_are_new && !known[i];
	}

	if (event_key_take(row->creator_id, row->source, event->stored_key, &row->event_id,
					   row->kind, event->revision, &event->digest, track_content(event),
					   row->received_at, &known))
		track_claimed(event, answer);
	else
		track_known(event, &known, answer);
}

/* name_sale works out in which form the event's references are stored. */
static void
name_sale(TrackedEvent *event)
{
	EventRow   *row = &event->row;
	bool		uses_refs = event->effect == EFFECT_SALE || event->effect == EFFECT_UNPAID || event->effect == EFFECT_ADJUSTMENT;

	row->order_id = SLICE_OF(event_key_stored(row->creator_id, row->order_id));
	event->refs = palloc((1 + event->norder_refs) * sizeof(Datum));
	event->refs[0] = text_datum(row->order_id);
	event->nrefs = 1;
	for (int i = 0; uses_refs && i < event->norder_refs; i++)
	{
		Datum		ref = CStringGetTextDatum(event_key_stored(row->creator_id, event->order_refs[i]));
		bool		repeated = false;

		for (int j = 0; j < event->nrefs; j++)
			repeated = repeated || DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, ref, event->refs[j]));
		if (!repeated)
			event->refs[event->nrefs++] = ref;
	}
}

/*
 * track_digest works out what an event's key is stored as and what it is known
 * by when it is sent again, between owner_enter() and owner_leave().
 */
void
track_digest(TrackedEvent *event)
{
	const EventRow *row = &event->row;

	event->digest = event_digest(row->creator_id, track_content(event));
	event->stored_key = event_key_stored(row->creator_id, event->key);
	track_name(event);
}

/* track_content gives an event's canonical text. */
Slice
track_content(TrackedEvent *event)
{
	if (event->content.len == 0)
		event->content = content_of(event->jsonb);
	return event->content;
}

/* track_name works out in which form what names an event is stored. */
void
track_name(TrackedEvent *event)
{
	EventRow   *row = &event->row;

	if (row->order_id.len > 0)
		name_sale(event);
	if (row->subscription_id.len > 0)
		row->subscription_id = SLICE_OF(event_key_stored(row->creator_id, row->subscription_id));
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

/* track_one takes an event, which came first at a time before now or, where that is NULL, comes now. */
static Datum
track_one(FunctionCallInfo fcinfo, const TimestampTz *first_arrived_at)
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
	take_event(clock_skew, &event, first_arrived_at, &answer);
	owner_leave(&scope);

	values[0] = CStringGetTextDatum(answer.status);
	values[1] = UUIDPGetDatum(&answer.event_id);
	nulls[2] = answer.detail == NULL;
	values[2] = nulls[2] ? (Datum) 0 : CStringGetTextDatum(answer.detail);
	return HeapTupleGetDatum(result_tuple(&shape, fcinfo, values, nulls));
}

/* track takes one event. */
Datum
track(PG_FUNCTION_ARGS)
{
	return track_one(fcinfo, NULL);
}

/* track_again takes an event that had arrived before and was parked. */
Datum
track_again(PG_FUNCTION_ARGS)
{
	TimestampTz first_arrived_at;

	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be null", "arrived_at")));
	first_arrived_at = PG_GETARG_TIMESTAMPTZ(2);
	if (TIMESTAMP_NOT_FINITE(first_arrived_at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be finite", "arrived_at")));
	return track_one(fcinfo, &first_arrived_at);
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
