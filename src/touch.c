/*-------------------------------------------------------------------------
 *
 * touch.c
 *	  A visit or click: what its request says.
 *
 * Owns what makes an event row of a request, be it one that is being answered
 * (click.c) or one that was seen elsewhere and is told later (track.c): agent,
 * bots, referrer, UTM and channel; visitor; the visit that a click continues;
 * the campaign and the post that are named.
 *
 * Invariants:
 *	- A request is judged alike whoever took it: nothing here knows whether it
 *	  is told at once or later, but for what was not told (shows_agent).
 *	- Addresses, headers and methods are read, and stored nowhere.
 *	- Batches that note new posts never wait for each other in a circle.
 *
 *-------------------------------------------------------------------------
 */
#include "touch.h"

#include "house.h"
#include "keys.h"
#include "tracking.h"

#include "access/htup_details.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* What strangers write is cut here; what the application writes is refused beyond. */
#define MAX_URL_BYTES		32768
#define MAX_REFERRER_BYTES	2048
#define MAX_AGENT_BYTES		1024
#define MAX_NAME_BYTES		200

/* New posts of a creator, of many requests at once: a lock that SQL cannot take. */
#define POST_LOCK_CLASS		0x6270

/* A visit without a token is found by its visitor for this long. */
#define VISIT_WINDOW		(INT64CONST(30) * 60 * USECS_PER_SEC)

/* What a visit that waits in a sink is looked for by. */
#define VISITOR_NAME(row)	((Slice) {(const char *) (row)->visitor.data, IDHASH_BYTES})

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
static void
read_headers(const JsonObject *headers, Request *request, Slice *user_agent)
{
	JsonbIterator *iterator = JsonbIteratorInit(headers->container);
	JsonbValue	value;
	JsonbIteratorToken token;
	Slice		name = NO_SLICE;

	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		Slice		content;

		if (token == WJB_KEY)
			name = (Slice) {value.val.string.val, (size_t) value.val.string.len};
		if (token != WJB_VALUE || value.type != jbvString)
			continue;
		content = (Slice) {value.val.string.val, (size_t) value.val.string.len};

		if (agent_header_is_prefetch(name.data, name.len, content.data, content.len))
			request->is_prefetch = true;
		else if (user_agent->len == 0 && name_is(name, "user-agent"))
			*user_agent = slice_cut(content, MAX_AGENT_BYTES);
		else if (request->referrer.len == 0 && name_is(name, "referer"))
			request->referrer = slice_cut(content, MAX_REFERRER_BYTES);
	}
}

/* masked gives a text in which no address or number of a person is left. */
static Slice
masked(Slice text)
{
	size_t		len;
	char	   *copy;

	/* the shortest address; country codes are not worth a look */
	if (text.len < 5)
		return text;
	copy = text_masked(text, &len);
	return (Slice) {copy, len};
}

/*
 * request_read reads what a request has beside its token, visitor and URL,
 * which whoever tells it reads in a way of their own.
 */
void
request_read(JsonObject *object, Request *request, EventRow *row)
{
	Slice		method;
	JsonObject	headers;

	json_text_cut(object, "user_agent", MAX_AGENT_BYTES, &row->user_agent);
	json_text(object, "method", MAX_NAME_BYTES, &method);
	json_text_cut(object, "referrer", MAX_REFERRER_BYTES, &request->referrer);
	json_text(object, "ip", MAX_NAME_BYTES, &request->ip);
	json_text_cut(object, "country", MAX_NAME_BYTES, &row->country);
	json_text_cut(object, "region", MAX_NAME_BYTES, &row->region);
	json_text_cut(object, "city", MAX_NAME_BYTES, &row->city);
	json_text_cut(object, "language", MAX_NAME_BYTES, &row->language);
	json_text(object, "platform", MAX_NAME_BYTES, &request->stated_platform);
	row->country = masked(row->country);
	row->region = masked(row->region);
	row->city = masked(row->city);
	row->language = masked(row->language);
	request->stated_platform = masked(request->stated_platform);
	json_text(object, "post", MAX_NAME_BYTES, &request->post);
	json_text_cut(object, "caption", MAX_REFERRER_BYTES, &request->caption);
	json_text(object, "campaign", MAX_NAME_BYTES, &request->campaign);

	/* a text that is there has an address, be it empty */
	request->shows_agent = row->user_agent.data != NULL || method.data != NULL ||
		request->referrer.data != NULL || request->ip.data != NULL;
	request->is_head = slice_is(method, "HEAD") || slice_is(method, "head");
	if (json_nested(object, "headers", &headers))
	{
		request->shows_agent = true;
		read_headers(&headers, request, &row->user_agent);
	}
}

/* judge_agent works out who asks, and whether that is a person. */
static void
judge_agent(Request *request, EventRow *row)
{
	AgentClass *agent = &request->agent;

	agent_classify(row->user_agent.data, row->user_agent.len, agent);
	if (row->user_agent.len > 0)
	{
		/* robots like to name who runs them */
		size_t		len;
		char	   *masked = text_masked(row->user_agent, &len);

		row->user_agent = (Slice) {masked, len};
	}
	row->is_bot = agent->is_bot;
	row->bot_reason = constant(agent->reason);
	if (!row->is_bot && request->is_head)
	{
		row->is_bot = true;
		row->bot_reason = constant("head");
	}
	if (!row->is_bot && request->is_prefetch)
	{
		row->is_bot = true;
		row->bot_reason = constant("prefetch");
	}
	row->device = constant(agent->device);
	row->os = constant(agent->os);
	row->browser = constant(agent->browser);
	row->app = constant(agent->app);
}

/* request_judge works out what does not depend on the creator's data. */
void
request_judge(Request *request, EventRow *row)
{
	if (request->shows_agent)
		judge_agent(request, row);

	request->url = slice_cut(request->url, MAX_URL_BYTES);
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
find_visit(EventRow *row, Request *request, bool has_cookie, bool own_referrer, EventSink *sink)
{
	if (request->token.len > 0)
	{
		TokenVerdict *verdict = &request->verdict;

		token_judge(request->token.data, request->token.len, "", 0, row->occurred_at, verdict);
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
		if (sink != NULL && event_sink_holds(sink, VISITOR_NAME(row)))
			event_sink_flush(sink);
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

/*
 * touch_work_out fills in what a visit or click says once its time is settled
 * and its id made.  Rows that it depends on may wait in a sink.  Runs between
 * owner_enter() and owner_leave(): the row points into what SPI read.
 */
void
touch_work_out(const CreatorConfig *creator, Request *request, EventRow *row, EventSink *sink)
{
	bool		has_cookie = work_out_visitor(creator, request, row);
	bool		own_referrer = work_out_channel(creator, request, row);

	if (slice_is(row->kind, "click"))
		find_visit(row, request, has_cookie, own_referrer, sink);
}

/*
 * wait_for_new_posts makes those who note posts of a creator many at a time
 * wait for each other to the end of the transaction: in which order they come
 * across them is anybody's guess.
 */
static void
wait_for_new_posts(int64 creator_id)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) creator_id, (uint32) (creator_id >> 32), POST_LOCK_CLASS);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* touch_look_up_names finds the campaign and the post that a request names; a new post is noted. */
void
touch_look_up_names(const Request *request, EventRow *row, EventSink *sink)
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

		if (!found && sink != NULL)
		{
			wait_for_new_posts(row->creator_id);
			found = plan_execute(&post_plan, values, NULL) > 0;
		}
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

/* touch_insert stores a visit or click, at once or with the others of a sink. */
void
touch_insert(EventRow *row, EventSink *sink)
{
	event_insert(row, sink);
	/* a visit is looked for by its visitor; by its id only once somebody has been told it */
	if (sink != NULL && slice_is(row->kind, "visit"))
		event_sink_note(sink, VISITOR_NAME(row));
}
