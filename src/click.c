/*-------------------------------------------------------------------------
 *
 * click.c
 *	  The request path: views of a bio page and clicks on links.
 *
 * Owns what happens between a request and its answer: request -> link found
 * -> event row (touch.c) -> token and URL.
 *
 * Invariants:
 *	- One call stores at most one event, and nothing when its key was seen
 *	  before, the link or creator is unknown, or events of its time are no
 *	  longer kept.
 *	- Nothing is updated: rows are only added.
 *	- The token is signed over the event id that is stored, and a bot gets none.
 *
 *-------------------------------------------------------------------------
 */
#include "biolink.h"

#include "house.h"
#include "touch.h"

#include "access/htup_details.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include <sodium.h>

PG_FUNCTION_INFO_V1(click);
PG_FUNCTION_INFO_V1(open_page);

/* not_null raises 22023 for an argument that must be given. */
static void
not_null(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be null", name)));
}

/* read_request reads what does not depend on the creator's data. */
static void
read_request(Jsonb *jsonb, Request *request, Slice *key, EventRow *row)
{
	static const char *const known[] = {REQUEST_KEYS, "key"};
	JsonObject	object;

	memset(request, 0, sizeof(*request));
	json_object_open(&object, jsonb, "request");
	json_text(&object, "key", ANY_LENGTH, key);
	request_read(&object, request, row);
	json_text(&object, "url", ANY_LENGTH, &request->url);
	json_text(&object, "visitor", ANY_LENGTH, &request->visitor);
	json_text(&object, "token", ANY_LENGTH, &request->token);
	row->is_test = json_bool(&object, "test");
	row->measurement_denied = json_measurement_denied(&object);
	if (!json_time(&object, "occurred_at", &row->occurred_at))
		row->occurred_at = GetCurrentTimestamp();

	/* here one has seen the request: an agent that is not named has no name */
	request->shows_agent = true;
	request_judge(request, row);
	row->context = json_unknown_keys(&object, known, lengthof(known));
}

/*
 * store_touch stores a visit or click unless its key was seen before; returns
 * whether it stored it.  row->event_id is that of the first in either case.
 * Runs between owner_enter() and owner_leave(): row points into what SPI read.
 */
static bool
store_touch(const CreatorConfig *creator, Request *request, Slice key, Slice content, EventRow *row)
{
	bool		is_new = true;

	row->received_at = arrival_time();
	event_settle_time(row, creator->clock_skew, NULL);
	uuidv7_make(&row->event_id, row->occurred_at);
	/* a source each, so that a key names a visit or a click, never both */
	row->source = slice_is(row->kind, "click") ? SLICE_OF("biolink:click") : SLICE_OF("biolink:visit");

	if (key.len > 0)
	{
		EventDigest digest = event_digest(row->creator_id, content);
		KnownKey	known;

		is_new = event_key_take(row->creator_id, row->source,
								event_key_stored(row->creator_id, key),
								&row->event_id, row->kind, 0, &digest, content,
								row->received_at, &known);
		if (!is_new)
			row->event_id = known.event_id;
	}

	touch_work_out(creator, request, row, NULL);
	if (is_new)
	{
		touch_look_up_names(request, row, NULL);
		touch_insert(row, NULL);
	}
	return is_new;
}

/* make_token signs a token for the stored event. */
static struct varlena *
make_token(const EventRow *row, TokenKind kind, int64 ttl)
{
	TokenFields fields = {0};
	int64		expires;

	fields.kind = kind;
	fields.algorithm = TOKEN_HMAC;
	memcpy(fields.event_id, row->event_id.data, UUID_LEN);
	expires = GetCurrentTimestamp() / USECS_PER_SEC + UNIX_EPOCH_OFFSET_SECS + ttl;
	fields.expires = (uint32) Min(expires, (int64) PG_UINT32_MAX);
	fields.creator_id = row->creator_id;
	if (kind != TOKEN_SESSION)
	{
		fields.link_id = row->link_id;
		fields.campaign_id = row->campaign_id;
	}
	return token_sign(&fields, "", 0);
}

/* slice_result sets a text column of a result; NULL for an empty slice. */
static void
slice_result(Datum *value, bool *null, Slice slice)
{
	*null = slice.len == 0;
	*value = *null ? (Datum) 0 :
		PointerGetDatum(cstring_to_text_with_len(slice.data, (int) slice.len));
}

/* copy_uuid copies an id to where a Datum may point. */
static Datum
copy_uuid(const pg_uuid_t *uuid)
{
	pg_uuid_t  *copy = palloc(sizeof(pg_uuid_t));

	*copy = *uuid;
	return UUIDPGetDatum(copy);
}

/* copy_idhash does likewise for a visitor. */
static Datum
copy_idhash(const IdHash *hash)
{
	IdHash	   *copy = palloc(sizeof(IdHash));

	*copy = *hash;
	return IdHashPGetDatum(copy);
}

/* click takes one click on a link. */
Datum
click(PG_FUNCTION_ARGS)
{
	static ResultShape shape;
	enum
	{
		STATUS, CLICK_ID, VISITOR, TOKEN, REDIRECT_URL, OFFER_ID, ROUTE, IS_BOT, REASON, COLUMNS
	};
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS];
	const CreatorConfig *creator;
	const LinkConfig *link;
	const char *refused = NULL;
	text	   *slug_text;
	Slice		slug;
	EventRow	row = {0};
	Request		request;
	Slice		key;
	OwnerScope	scope;
	bool		is_new;
	struct varlena *token = NULL;
	Slice		token_text = NO_SLICE;
	Slice		drop = NO_SLICE;
	char		hex[2 * UUID_LEN + 1];
	text	   *url;
	UrlParts	no_request = {0};

	not_null(fcinfo, 0, "creator_id");
	not_null(fcinfo, 1, "link");
	not_null(fcinfo, 2, "request");
	memset(nulls, true, sizeof(nulls));
	row.creator_id = PG_GETARG_INT64(0);
	slug_text = PG_GETARG_TEXT_PP(1);
	slug = (Slice) {VARDATA_ANY(slug_text), VARSIZE_ANY_EXHDR(slug_text)};

	read_request(PG_GETARG_JSONB_P(2), &request, &key, &row);

	creator = creator_config(row.creator_id);
	link = creator != NULL ? link_config(row.creator_id, slug) : NULL;
	if (creator == NULL)
		refused = "unknown_creator";
	else if (link == NULL)
		refused = "unknown_link";
	else if (!link->active)
		refused = "inactive_link";
	else if (row.occurred_at < event_horizon())
		refused = "too_old";
	if (refused != NULL)
	{
		values[STATUS] = CStringGetTextDatum("refused");
		values[REASON] = CStringGetTextDatum(refused);
		values[IS_BOT] = BoolGetDatum(row.is_bot);
		nulls[STATUS] = nulls[REASON] = nulls[IS_BOT] = false;
		return HeapTupleGetDatum(result_tuple(&shape, fcinfo, values, nulls));
	}

	row.kind = SLICE_OF("click");
	row.link_id = link->link_id;
	row.offer_id = link->offer_id;
	row.campaign_id = link->campaign_id;

	owner_enter(&scope);
	is_new = store_touch(creator, &request, key, slug, &row);
	owner_leave(&scope);

	/* a parameter of somebody else's may bear that name */
	if (request.token.len > 0 && (request.verdict.genuine || strcmp(request.verdict.reason, "malformed") != 0))
		drop = SLICE_OF("bl");

	if (!row.is_bot)
	{
		token = make_token(&row, TOKEN_REDIRECT, creator->redirect_token_ttl);
		if (link->token_param.len > 0)
		{
			if (link->token_is_click_id)
			{
				sodium_bin2hex(hex, sizeof(hex), row.event_id.data, UUID_LEN);
				token_text = (Slice) {hex, 2 * UUID_LEN};
			}
			else
				token_text = SLICE_OF(token_to_cstring(token));
		}
	}

	url = palloc(VARHDRSZ + url_redirect_bound(link->url.len, request.url.len,
											   link->additions, link->nadditions,
											   link->token_param.len, token_text.len));
	SET_VARSIZE(url, VARHDRSZ +
				url_redirect(VARDATA(url), &link->parts,
							 request.has_url_parts ? &request.url_parts : &no_request,
							 link->additions, link->nadditions,
							 drop, link->token_param, token_text));

	values[STATUS] = CStringGetTextDatum(is_new ? "ok" : "duplicate");
	values[CLICK_ID] = copy_uuid(&row.event_id);
	values[VISITOR] = copy_idhash(&row.visitor);
	values[TOKEN] = PointerGetDatum(token);
	values[REDIRECT_URL] = PointerGetDatum(url);
	values[OFFER_ID] = Int64GetDatum(link->offer_id);
	values[ROUTE] = CStringGetTextDatum("default");
	values[IS_BOT] = BoolGetDatum(row.is_bot);
	memset(nulls, false, sizeof(nulls));
	nulls[TOKEN] = token == NULL;
	nulls[OFFER_ID] = link->offer_id == 0;
	slice_result(&values[REASON], &nulls[REASON], row.bot_reason);
	return HeapTupleGetDatum(result_tuple(&shape, fcinfo, values, nulls));
}

/* open_page takes one view of a bio page. */
Datum
open_page(PG_FUNCTION_ARGS)
{
	static ResultShape shape;
	enum
	{
		VISIT_ID, TOKEN, VISITOR, DECISION_ID, OFFERS, IS_BOT, REASON, COLUMNS
	};
	Datum		values[COLUMNS] = {0};
	bool		nulls[COLUMNS];
	const CreatorConfig *creator;
	const char *refused = NULL;
	EventRow	row = {0};
	Request		request;
	Slice		key;
	OwnerScope	scope;
	bool		is_new;
	int32		max_offers;

	not_null(fcinfo, 0, "creator_id");
	not_null(fcinfo, 1, "request");
	memset(nulls, true, sizeof(nulls));
	row.creator_id = PG_GETARG_INT64(0);
	max_offers = PG_ARGISNULL(2) ? 10 : PG_GETARG_INT32(2);
	if (max_offers < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"max_offers\" must not be negative")));

	read_request(PG_GETARG_JSONB_P(1), &request, &key, &row);

	creator = creator_config(row.creator_id);
	if (creator == NULL)
		refused = "unknown_creator";
	else if (row.occurred_at < event_horizon())
		refused = "too_old";
	if (refused != NULL)
	{
		values[IS_BOT] = BoolGetDatum(row.is_bot);
		values[REASON] = CStringGetTextDatum(refused);
		nulls[IS_BOT] = nulls[REASON] = false;
		return HeapTupleGetDatum(result_tuple(&shape, fcinfo, values, nulls));
	}

	row.kind = SLICE_OF("visit");
	owner_enter(&scope);
	is_new = store_touch(creator, &request, key, row.kind, &row);
	owner_leave(&scope);

	memset(nulls, false, sizeof(nulls));
	values[VISIT_ID] = copy_uuid(&row.event_id);
	values[VISITOR] = copy_idhash(&row.visitor);
	values[OFFERS] = JsonbPGetDatum(offers_of(row.creator_id, max_offers));
	nulls[TOKEN] = row.is_bot;
	if (!row.is_bot)
		values[TOKEN] = PointerGetDatum(make_token(&row, TOKEN_SESSION, creator->session_token_ttl));
	nulls[DECISION_ID] = true;
	values[IS_BOT] = BoolGetDatum(row.is_bot);
	slice_result(&values[REASON], &nulls[REASON],
				 is_new ? row.bot_reason : SLICE_OF("duplicate"));
	return HeapTupleGetDatum(result_tuple(&shape, fcinfo, values, nulls));
}
