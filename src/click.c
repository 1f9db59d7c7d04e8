/*-------------------------------------------------------------------------
 *
 * click.c
 *	  The request path: views of a bio page and clicks on links.
 *
 * Owns what happens between a request and its answer: request -> link found
 * -> agent, UTM, channel worked out in memory -> event row -> token and URL.
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

#include "agent_core.h"
#include "channel_core.h"
#include "config_cache.h"
#include "event_store.h"
#include "house.h"
#include "keys.h"
#include "request.h"
#include "token.h"
#include "tracking.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include <sodium.h>

/* What strangers write is cut here; what the application writes is refused beyond. */
#define MAX_URL_BYTES		32768
#define MAX_REFERRER_BYTES	2048
#define MAX_AGENT_BYTES		1024
#define MAX_NAME_BYTES		200

/* A visit without a token is found by its visitor for this long. */
#define VISIT_WINDOW		(INT64CONST(30) * 60 * USECS_PER_SEC)

PG_FUNCTION_INFO_V1(click);
PG_FUNCTION_INFO_V1(open_page);

/* Keys of a request that have a meaning of their own; others go to context. */
static const char *const request_keys[] = {
	"user_agent", "method", "url", "referrer", "headers", "ip", "country",
	"region", "city", "language", "platform", "post", "caption", "visitor",
	"token", "campaign", "consent", "test", "key", "occurred_at"
};

/* A request, read. */
typedef struct Request
{
	JsonObject	object;
	Slice		key;
	Slice		url;
	bool		has_url_parts;
	UrlParts	url_parts;
	Slice		visitor;
	Slice		token;
	bool		token_from_url;
	Slice		ip;
	Slice		post;
	Slice		caption;
	Slice		campaign;
	Slice		referrer;
	Slice		stated_platform;
	AgentClass	agent;
} Request;

static SavedPlan named_event_plan = SAVED_PLAN(
	"SELECT e.kind, e.event_id, e.visit_id, e.visitor, e.channel, e.medium, e.platform, e.post_id, e.campaign_id, e.measurement_denied, e.day_visitor"
	" FROM biolink.event AS e"
	" WHERE e.creator_id OPERATOR(pg_catalog.=) $1 AND e.event_id OPERATOR(pg_catalog.=) $2"
	" AND e.occurred_at OPERATOR(pg_catalog.>=) $3 AND e.occurred_at OPERATOR(pg_catalog.<) $4",
	"luzz");

static SavedPlan latest_visit_plan = SAVED_PLAN(
	"SELECT e.kind, e.event_id, e.visit_id, e.visitor, e.channel, e.medium, e.platform, e.post_id, e.campaign_id, e.measurement_denied, e.day_visitor"
	" FROM biolink.event AS e"
	" WHERE e.creator_id OPERATOR(pg_catalog.=) $1 AND e.visitor OPERATOR(biolink.=) $2"
	" AND e.occurred_at OPERATOR(pg_catalog.>=) $3 AND e.occurred_at OPERATOR(pg_catalog.<=) $4"
	" AND e.kind OPERATOR(pg_catalog.=) 'visit'"
	" ORDER BY e.occurred_at DESC, e.event_id DESC LIMIT 1",
	"lhzz");

static SavedPlan campaign_plan = SAVED_PLAN(
	"SELECT c.campaign_id FROM biolink.campaign AS c"
	" WHERE c.creator_id OPERATOR(pg_catalog.=) $1 AND c.slug OPERATOR(pg_catalog.=) $2",
	"lt");

static SavedPlan post_plan = SAVED_PLAN(
	"SELECT p.post_id FROM biolink.post AS p"
	" WHERE p.creator_id OPERATOR(pg_catalog.=) $1 AND p.external_id OPERATOR(pg_catalog.=) $2"
	" AND p.platform OPERATOR(pg_catalog.=) $3",
	"ltt");

static SavedPlan new_post_plan = SAVED_PLAN(
	"INSERT INTO biolink.post (creator_id, external_id, platform, caption) VALUES ($1, $2, $3, $4)"
	" ON CONFLICT DO NOTHING RETURNING post_id",
	"lttt");

/* not_null raises 22023 for an argument that must be given. */
static void
not_null(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be null", name)));
}

/* constant makes a slice of a C string that may be NULL. */
static Slice
constant(const char *text)
{
	return text == NULL ? NO_SLICE : SLICE_OF(text);
}

/* name_is compares a header name without regard to case. */
static bool
name_is(Slice name, const char *lower_case)
{
	if (name.len != strlen(lower_case))
		return false;
	for (size_t i = 0; i < name.len; i++)
	{
		char		c = name.data[i];

		if (c >= 'A' && c <= 'Z')
			c += 'a' - 'A';
		if (c != lower_case[i])
			return false;
	}
	return true;
}

/*
 * read_headers looks through the request's headers: a prefetch is one, and the
 * standard ones stand in for keys that were not given.
 */
static bool
read_headers(Request *request, Slice *user_agent)
{
	JsonObject	headers;
	JsonbIterator *iterator;
	JsonbValue	value;
	JsonbIteratorToken token;
	Slice		name = NO_SLICE;
	bool		prefetch = false;

	if (!json_nested(&request->object, "headers", &headers))
		return false;

	iterator = JsonbIteratorInit(headers.container);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		Slice		content;

		if (token == WJB_KEY)
			name = (Slice) {value.val.string.val, (size_t) value.val.string.len};
		if (token != WJB_VALUE || value.type != jbvString)
			continue;
		content = (Slice) {value.val.string.val, (size_t) value.val.string.len};

		if (agent_header_is_prefetch(name.data, name.len, content.data, content.len))
			prefetch = true;
		else if (user_agent->len == 0 && name_is(name, "user-agent"))
			*user_agent = slice_cut(content, MAX_AGENT_BYTES);
		else if (request->referrer.len == 0 && name_is(name, "referer"))
			request->referrer = slice_cut(content, MAX_REFERRER_BYTES);
	}
	return prefetch;
}

/* read_request reads what does not depend on the creator's data. */
static void
read_request(Jsonb *jsonb, Request *request, EventRow *row)
{
	JsonObject *object = &request->object;
	Slice		method;
	bool		prefetch;

	memset(request, 0, sizeof(*request));
	json_object_open(object, jsonb, "request");

	json_text(object, "key", ANY_LENGTH, &request->key);
	json_text_cut(object, "user_agent", MAX_AGENT_BYTES, &row->user_agent);
	json_text(object, "method", MAX_NAME_BYTES, &method);
	json_text_cut(object, "url", MAX_URL_BYTES, &request->url);
	json_text_cut(object, "referrer", MAX_REFERRER_BYTES, &request->referrer);
	json_text(object, "ip", MAX_NAME_BYTES, &request->ip);
	json_text_cut(object, "country", MAX_NAME_BYTES, &row->country);
	json_text_cut(object, "region", MAX_NAME_BYTES, &row->region);
	json_text_cut(object, "city", MAX_NAME_BYTES, &row->city);
	json_text_cut(object, "language", MAX_NAME_BYTES, &row->language);
	json_text(object, "platform", MAX_NAME_BYTES, &request->stated_platform);
	json_text(object, "post", MAX_NAME_BYTES, &request->post);
	json_text_cut(object, "caption", MAX_REFERRER_BYTES, &request->caption);
	json_text(object, "campaign", MAX_NAME_BYTES, &request->campaign);
	json_text(object, "visitor", ANY_LENGTH, &request->visitor);
	json_text(object, "token", ANY_LENGTH, &request->token);
	row->is_test = json_bool(object, "test");
	row->measurement_denied = json_measurement_denied(object);
	if (!json_time(object, "occurred_at", &row->occurred_at))
		row->occurred_at = GetCurrentTimestamp();

	prefetch = read_headers(request, &row->user_agent);
	agent_classify(row->user_agent.data, row->user_agent.len, &request->agent);
	if (row->user_agent.len > 0)
	{
		/* robots like to name who runs them */
		size_t		len;
		char	   *masked = text_masked(row->user_agent, &len);

		row->user_agent = (Slice) {masked, len};
	}
	row->is_bot = request->agent.is_bot;
	row->bot_reason = constant(request->agent.reason);
	if (!row->is_bot && (slice_is(method, "HEAD") || slice_is(method, "head")))
	{
		row->is_bot = true;
		row->bot_reason = constant("head");
	}
	if (!row->is_bot && prefetch)
	{
		row->is_bot = true;
		row->bot_reason = constant("prefetch");
	}
	row->device = constant(request->agent.device);
	row->os = constant(request->agent.os);
	row->browser = constant(request->agent.browser);
	row->app = constant(request->agent.app);

	request->has_url_parts =
		request->url.len > 0 &&
		url_reference_split(request->url.data, request->url.len, &request->url_parts);
	if (request->has_url_parts && request->token.len == 0)
	{
		UrlParam	param;

		if (url_find_param(request->url_parts.query, "bl", &param) && param.value.len > 0)
		{
			request->token = param.value;
			request->token_from_url = true;
		}
	}
	row->context = json_unknown_keys(object, request_keys, lengthof(request_keys));
}

/* is_own_host tells whether a host is one of the creator's. */
static bool
is_own_host(const CreatorConfig *creator, Slice host)
{
	for (int i = 0; i < creator->nhosts; i++)
	{
		if (creator->hosts[i].len == host.len &&
			memcmp(creator->hosts[i].data, host.data, host.len) == 0)
			return true;
	}
	return false;
}

/*
 * work_out_channel fills channel, medium, platform, UTM and the referrer;
 * returns whether the referrer is one of the creator's own pages.
 */
static bool
work_out_channel(const CreatorConfig *creator, const Request *request, EventRow *row)
{
	ChannelInput input = {0};
	ChannelResult *result = palloc(sizeof(ChannelResult));
	bool		own_referrer = false;

	row->utm = tracking_params(request->has_url_parts ? request->url_parts.query : NO_SLICE, &input);
	if (request->referrer.len > 0)
	{
		UrlParts	parts;
		size_t		len;
		char	   *masked = text_masked(request->referrer, &len);

		row->referrer = (Slice) {masked, len};
		if (url_split(request->referrer.data, request->referrer.len, &parts) && parts.host.len > 0)
		{
			char	   *host = palloc(parts.host.len + 1);

			row->referrer_host.len = url_host_normal(parts.host, host);
			row->referrer_host.data = host;
			own_referrer = is_own_host(creator, row->referrer_host);
			if (!own_referrer)
				input.referrer_host = row->referrer_host;
		}
	}

	input.platform = request->stated_platform;
	input.app = request->agent.app;
	channel_resolve(&input, result);
	row->channel = SLICE_OF(result->channel);
	row->medium = SLICE_OF(result->medium);
	row->channel_evidence = constant(result->evidence);
	row->platform = constant(result->platform);
	return own_referrer;
}

/* text_column copies a text column of a row; empty for NULL. */
static Slice
text_column(HeapTuple tuple, TupleDesc descriptor, int number)
{
	bool		isnull;
	Datum		datum = SPI_getbinval(tuple, descriptor, number, &isnull);
	text	   *value;

	if (isnull)
		return NO_SLICE;
	value = DatumGetTextPP(datum);
	return (Slice) {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
}

/*
 * inherit takes over what a click has from the visit it continues: the row of
 * one of the two plans above, which stays valid until SPI is left.
 */
static void
inherit(EventRow *row, const Request *request, bool has_cookie, const char *evidence)
{
	HeapTuple	tuple = SPI_tuptable->vals[0];
	TupleDesc	descriptor = SPI_tuptable->tupdesc;
	Datum		datum;
	bool		isnull;
	bool		denied_isnull;

	if (slice_is(text_column(tuple, descriptor, 1), "visit"))
	{
		row->visit_id = *DatumGetUUIDP(SPI_getbinval(tuple, descriptor, 2, &isnull));
		row->has_visit_id = true;
	}
	else
	{
		datum = SPI_getbinval(tuple, descriptor, 3, &isnull);
		if (!isnull)
		{
			row->visit_id = *DatumGetUUIDP(datum);
			row->has_visit_id = true;
		}
	}

	/* who denies measurement now is not tied to a cookie of before */
	datum = SPI_getbinval(tuple, descriptor, 4, &isnull);
	if (!isnull && !has_cookie &&
		(!row->measurement_denied ||
		 DatumGetBool(SPI_getbinval(tuple, descriptor, 10, &denied_isnull))))
	{
		row->visitor = *DatumGetIdHashP(datum);
		row->has_visitor = true;

		/* one person is counted once, whether or not both requests told the address */
		datum = SPI_getbinval(tuple, descriptor, 11, &isnull);
		row->has_day_visitor = !isnull;
		if (!isnull)
			row->day_visitor = *DatumGetIdHashP(datum);
	}

	if (text_column(tuple, descriptor, 5).len > 0)
	{
		row->channel = text_column(tuple, descriptor, 5);
		row->medium = text_column(tuple, descriptor, 6);
		row->platform = text_column(tuple, descriptor, 7);
		row->channel_evidence = constant("visit");
	}
	datum = SPI_getbinval(tuple, descriptor, 8, &isnull);
	if (!isnull && request->post.len == 0)
		row->post_id = DatumGetInt64(datum);
	datum = SPI_getbinval(tuple, descriptor, 9, &isnull);
	if (!isnull && request->campaign.len == 0)
		row->campaign_id = DatumGetInt64(datum);
	row->evidence = constant(evidence);
}

/* find_visit looks for the visit that a click continues, by its token, else by its visitor. */
static void
find_visit(EventRow *row, const Request *request, const TokenVerdict *verdict,
		   bool has_cookie, bool own_referrer)
{
	if (request->token.len > 0)
	{
		if (verdict->valid && verdict->fields.creator_id == row->creator_id)
		{
			pg_uuid_t	named;
			TimestampTz at;
			Datum		values[4];

			memcpy(named.data, verdict->fields.event_id, UUID_LEN);
			at = uuidv7_time(&named);
			values[0] = Int64GetDatum(row->creator_id);
			values[1] = UUIDPGetDatum(&named);
			values[2] = TimestampTzGetDatum(at);
			values[3] = TimestampTzGetDatum(at + 1000);
			if (plan_find(&named_event_plan, values, NULL) > 0)
			{
				inherit(row, request, has_cookie, "token");
				return;
			}
		}
		else if (verdict->valid)
			row->token_reason = constant("other_creator");
		else if (!request->token_from_url || strcmp(verdict->reason, "malformed") != 0)
			row->token_reason = constant(verdict->reason);
	}

	if (own_referrer && has_cookie)
	{
		Datum		values[4];

		values[0] = Int64GetDatum(row->creator_id);
		values[1] = IdHashPGetDatum(&row->visitor);
		values[2] = TimestampTzGetDatum(row->occurred_at - VISIT_WINDOW);
		values[3] = TimestampTzGetDatum(row->occurred_at);
		if (plan_execute(&latest_visit_plan, values, NULL) > 0)
			inherit(row, request, has_cookie, "visitor");
	}
}

/* work_out_visitor fills visitor and day_visitor; returns whether the visitor is a cookie's. */
static bool
work_out_visitor(const CreatorConfig *creator, const Request *request, EventRow *row)
{
	bool		has_cookie = request->visitor.len > 0 && !row->measurement_denied;

	row->visitor = has_cookie ? visitor_hash(row->creator_id, request->visitor) :
		session_visitor(row->creator_id, &row->event_id);
	row->has_visitor = true;

	if (!has_cookie && request->ip.len > 0 && !row->measurement_denied)
	{
		const HashKey *key;
		uint16		epoch;
		int			offset;
		struct pg_tm tm;
		fsec_t		fraction;
		char		day[32];
		Bytes		pieces[4];

		if (timestamp2tm(row->occurred_at, &offset, &tm, &fraction, NULL, creator->time_zone) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
					 errmsg("timestamp out of range")));
		snprintf(day, sizeof(day), "%04d-%02d-%02d", tm.tm_year, tm.tm_mon, tm.tm_mday);
		pieces[0] = (Bytes) {"bl1.day", 7};
		pieces[1] = (Bytes) {day, strlen(day)};
		pieces[2] = (Bytes) {request->ip.data, request->ip.len};
		pieces[3] = (Bytes) {row->user_agent.data, row->user_agent.len};
		key = hash_key_for_signing(row->creator_id, PURPOSE_DAY, true, &epoch);
		hash_key_hash16(key, pieces, 4, row->day_visitor.data);
		row->has_day_visitor = true;
	}
	return has_cookie;
}

/* look_up_names finds the campaign and the post that a request names; a new post is noted. */
static void
look_up_names(const Request *request, EventRow *row)
{
	bool		isnull;

	if (request->campaign.len > 0)
	{
		Datum		values[2] = {
			Int64GetDatum(row->creator_id),
			PointerGetDatum(cstring_to_text_with_len(request->campaign.data, (int) request->campaign.len))
		};

		if (plan_execute(&campaign_plan, values, NULL) > 0)
			row->campaign_id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
														   SPI_tuptable->tupdesc, 1, &isnull));
	}
	if (request->post.len > 0)
	{
		Datum		values[4] = {
			Int64GetDatum(row->creator_id),
			PointerGetDatum(cstring_to_text_with_len(request->post.data, (int) request->post.len)),
			PointerGetDatum(cstring_to_text_with_len(row->platform.data, (int) row->platform.len)),
			(Datum) 0
		};
		char		nulls[4] = {' ', ' ', ' ', 'n'};
		bool		found = plan_execute(&post_plan, values, NULL) > 0;

		if (!found)
		{
			if (request->caption.len > 0)
			{
				size_t		len;
				char	   *masked = text_masked(request->caption, &len);

				values[3] = PointerGetDatum(cstring_to_text_with_len(masked, (int) len));
				nulls[3] = ' ';
			}
			found = plan_execute(&new_post_plan, values, nulls) > 0 ||
				plan_execute(&post_plan, values, NULL) > 0;
		}
		if (found)
			row->post_id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0],
													   SPI_tuptable->tupdesc, 1, &isnull));
	}
}

/*
 * store_touch stores a visit or click unless its key was seen before; returns
 * whether it stored it.  row->event_id is that of the first in either case.
 * Runs between owner_enter() and owner_leave(): row points into what SPI read.
 */
static bool
store_touch(const CreatorConfig *creator, Request *request, const TokenVerdict *verdict,
			Slice content, EventRow *row)
{
	bool		is_new = true;
	bool		has_cookie;
	bool		own_referrer;

	row->received_at = arrival_time();
	event_settle_time(row, creator->clock_skew, NULL);
	uuidv7_make(&row->event_id, row->occurred_at);
	/* a source each, so that a key names a visit or a click, never both */
	row->source = constant(slice_is(row->kind, "click") ? "biolink:click" : "biolink:visit");

	if (request->key.len > 0)
	{
		EventDigest digest = event_digest(row->creator_id, content);
		KnownKey	known;

		is_new = event_key_take(row->creator_id, row->source,
								event_key_stored(row->creator_id, request->key),
								&row->event_id, row->kind, 0, &digest, content,
								row->received_at, &known);
		if (!is_new)
			row->event_id = known.event_id;
	}

	has_cookie = work_out_visitor(creator, request, row);
	own_referrer = work_out_channel(creator, request, row);
	if (slice_is(row->kind, "click"))
		find_visit(row, request, verdict, has_cookie, own_referrer);
	if (is_new)
	{
		look_up_names(request, row);
		event_insert(row, NULL);
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
	TokenVerdict verdict = {0};
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

	read_request(PG_GETARG_JSONB_P(2), &request, &row);

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

	row.kind = constant("click");
	row.link_id = link->link_id;
	row.offer_id = link->offer_id;
	row.campaign_id = link->campaign_id;
	if (request.token.len > 0)
	{
		token_judge(request.token.data, request.token.len, "", 0, row.occurred_at, &verdict);
		if (verdict.genuine || strcmp(verdict.reason, "malformed") != 0)
			drop = constant("bl");
	}

	owner_enter(&scope);
	is_new = store_touch(creator, &request, &verdict, slug, &row);
	owner_leave(&scope);

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
	TokenVerdict verdict = {0};
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

	read_request(PG_GETARG_JSONB_P(1), &request, &row);

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

	row.kind = constant("visit");
	owner_enter(&scope);
	is_new = store_touch(creator, &request, &verdict, row.kind, &row);
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
				 is_new ? row.bot_reason : constant("duplicate"));
	return HeapTupleGetDatum(result_tuple(&shape, fcinfo, values, nulls));
}
