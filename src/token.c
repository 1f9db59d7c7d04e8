/*-------------------------------------------------------------------------
 *
 * token.c
 *	  The type biolink.token, and the functions that make and judge tokens.
 *
 * Owns the checks of what may be put into a token and the order in which one
 * is judged: form, key, tag, expiry.
 *
 * Invariants:
 *	- A value of the type has the form of a token (version, kind, algorithm,
 *	  flags, length); whether its tag holds is for verify_token() to say.
 *	- Judging never raises on account of the token, and says nothing of its
 *	  contents unless the tag holds.
 *	- What is compared, hashed and sent is the bytes; the text form of a
 *	  value is unpadded base64url.
 *
 *-------------------------------------------------------------------------
 */
#include "token.h"

#include <math.h>

#include "access/detoast.h"
#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "keys.h"
#include "request.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define SESSION_TTL_HOURS	24
#define LINK_TTL_DAYS		30

/* No interval longer than this reaches a time that a token can state. */
#define MAX_TTL_YEARS		6000
#define MAX_TTL_USECS		((double) MAX_TTL_YEARS * DAYS_PER_YEAR * USECS_PER_DAY)

/* Reasons, in the order of the checks. */
typedef enum Reason
{
	REASON_NONE,
	REASON_MALFORMED,
	REASON_UNKNOWN_KEY,
	REASON_REVOKED_KEY,
	REASON_BAD_SIGNATURE,
	REASON_EXPIRED,
	NUM_REASONS
} Reason;

static const char *const reason_names[NUM_REASONS] = {
	[REASON_NONE] = NULL,
	[REASON_MALFORMED] = "malformed",
	[REASON_UNKNOWN_KEY] = "unknown_key",
	[REASON_REVOKED_KEY] = "revoked_key",
	[REASON_BAD_SIGNATURE] = "bad_signature",
	[REASON_EXPIRED] = "expired",
};

/* Columns of what verify_token() returns. */
enum
{
	VERIFY_VALID,
	VERIFY_REASON,
	VERIFY_KIND,
	VERIFY_CREATOR_ID,
	VERIFY_CLICK_ID,
	VERIFY_LINK_ID,
	VERIFY_CAMPAIGN_ID,
	VERIFY_ISSUED_AT,
	VERIFY_EXPIRES_AT,
	VERIFY_EPOCH,
	NUM_VERIFY_COLUMNS
};

PG_FUNCTION_INFO_V1(token_in);
PG_FUNCTION_INFO_V1(token_out);
PG_FUNCTION_INFO_V1(token_recv);
PG_FUNCTION_INFO_V1(token_send);
PG_FUNCTION_INFO_V1(token_eq);
PG_FUNCTION_INFO_V1(token_ne);
PG_FUNCTION_INFO_V1(token_lt);
PG_FUNCTION_INFO_V1(token_le);
PG_FUNCTION_INFO_V1(token_gt);
PG_FUNCTION_INFO_V1(token_ge);
PG_FUNCTION_INFO_V1(token_cmp);
PG_FUNCTION_INFO_V1(token_hash);
PG_FUNCTION_INFO_V1(token_hash_extended);
PG_FUNCTION_INFO_V1(token_qr);
PG_FUNCTION_INFO_V1(issue_token);
PG_FUNCTION_INFO_V1(verify_token);

/*
 * The type
 */

/* make_token returns bytes as a value of the type. */
static struct varlena *
make_token(const uint8 *bytes, size_t len)
{
	struct varlena *token = palloc(VARHDRSZ + len);

	SET_VARSIZE(token, VARHDRSZ + len);
	memcpy(VARDATA(token), bytes, len);
	return token;
}

/* token_in reads unpadded base64url. */
Datum
token_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	uint8		bytes[TOKEN_MAX_BYTES];
	size_t		len = token_decode(text, strlen(text), bytes);
	TokenFields fields;

	if (!token_parse(bytes, len, &fields))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s: \"%s\"",
						"token", text),
				 errdetail("A token is written as 60, 76, 124 or 140 characters of unpadded base64url.")));
	PG_RETURN_POINTER(make_token(bytes, len));
}

/* token_to_cstring writes unpadded base64url. */
char *
token_to_cstring(const struct varlena *token)
{
	char	   *text = palloc(TOKEN_MAX_TEXT + 1);

	if (token_encode((const uint8 *) VARDATA_ANY(token),
					 VARSIZE_ANY_EXHDR(token), text) == 0)
		elog(ERROR, "value of type token has an impossible length");
	return text;
}

/* token_out is the output function. */
Datum
token_out(PG_FUNCTION_ARGS)
{
	PG_RETURN_CSTRING(token_to_cstring(PG_GETARG_VARLENA_PP(0)));
}

/* token_recv takes the bytes, after the same checks as token_in. */
Datum
token_recv(PG_FUNCTION_ARGS)
{
	StringInfo	buffer = (StringInfo) PG_GETARG_POINTER(0);
	int			len = buffer->len - buffer->cursor;
	const uint8 *bytes = (const uint8 *) pq_getmsgbytes(buffer, len);
	TokenFields fields;

	if (!token_parse(bytes, (size_t) len, &fields))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid external \"%s\" value", "token"),
				 errdetail("Version, kind, algorithm, flags and length must be known and agree.")));
	PG_RETURN_POINTER(make_token(bytes, (size_t) len));
}

/* token_send gives the bytes. */
Datum
token_send(PG_FUNCTION_ARGS)
{
	struct varlena *token = PG_GETARG_VARLENA_PP(0);
	StringInfoData buffer;

	pq_begintypsend(&buffer);
	pq_sendbytes(&buffer, VARDATA_ANY(token), (int) VARSIZE_ANY_EXHDR(token));
	PG_RETURN_BYTEA_P(pq_endtypsend(&buffer));
}

/* compare orders the first two arguments as bytes, a prefix first. */
static int
compare(FunctionCallInfo fcinfo)
{
	struct varlena *a = PG_GETARG_VARLENA_PP(0);
	struct varlena *b = PG_GETARG_VARLENA_PP(1);
	size_t		a_len = VARSIZE_ANY_EXHDR(a);
	size_t		b_len = VARSIZE_ANY_EXHDR(b);
	int			order = memcmp(VARDATA_ANY(a), VARDATA_ANY(b), Min(a_len, b_len));

	if (order == 0)
		order = (a_len > b_len) - (a_len < b_len);
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return order;
}

/* token_eq is operator =. */
Datum
token_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) == 0);
}

/* token_ne is operator <>. */
Datum
token_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) != 0);
}

/* token_lt is operator <. */
Datum
token_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) < 0);
}

/* token_le is operator <=. */
Datum
token_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) <= 0);
}

/* token_gt is operator >. */
Datum
token_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) > 0);
}

/* token_ge is operator >=. */
Datum
token_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare(fcinfo) >= 0);
}

/* token_cmp is the btree comparison. */
Datum
token_cmp(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare(fcinfo));
}

/* token_hash is the hash function of the hash operator class. */
Datum
token_hash(PG_FUNCTION_ARGS)
{
	struct varlena *token = PG_GETARG_VARLENA_PP(0);
	Datum		result = hash_any((unsigned char *) VARDATA_ANY(token),
								  (int) VARSIZE_ANY_EXHDR(token));

	PG_FREE_IF_COPY(token, 0);
	return result;
}

/* token_hash_extended is the same with a seed, for hash partitioning. */
Datum
token_hash_extended(PG_FUNCTION_ARGS)
{
	struct varlena *token = PG_GETARG_VARLENA_PP(0);
	Datum		result = hash_any_extended((unsigned char *) VARDATA_ANY(token),
										   (int) VARSIZE_ANY_EXHDR(token),
										   PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(token, 0);
	return result;
}

/* token_qr is the SQL function of that name: the text for a QR code. */
Datum
token_qr(PG_FUNCTION_ARGS)
{
	struct varlena *token = PG_GETARG_VARLENA_PP(0);
	char		text[TOKEN_MAX_QR + 1];
	size_t		len = token_qr_encode((const uint8 *) VARDATA_ANY(token),
									  VARSIZE_ANY_EXHDR(token), text);

	PG_RETURN_TEXT_P(cstring_to_text_with_len(text, (int) len));
}

/*
 * Making
 */

/* token_expiry rounds a time down to what a token can state. */
bool
token_expiry(TimestampTz at, uint32 *expires)
{
	int64		seconds;

	if (TIMESTAMP_NOT_FINITE(at) || at < -UNIX_EPOCH_OFFSET_SECS * USECS_PER_SEC)
		return false;

	/* first shifted to be positive, so that the division rounds down */
	seconds = (at + UNIX_EPOCH_OFFSET_SECS * USECS_PER_SEC) / USECS_PER_SEC;
	if (seconds > PG_UINT32_MAX)
		return false;
	*expires = (uint32) seconds;
	return true;
}

/* token_sign signs with the newest active key, which may be the very first. */
struct varlena *
token_sign(TokenFields *fields, const char *audience, size_t audience_len)
{
	KeyPurpose	purpose = token_key_purpose(fields->algorithm);
	uint8		secret_key[SECRET_KEY_BYTES];
	TokenKey	key = {0};
	uint8		bytes[TOKEN_MAX_BYTES];
	size_t		len;

	if (fields->algorithm == TOKEN_ED25519)
	{
		secret_key_for_signing(fields->creator_id, purpose, true,
							   &fields->epoch, secret_key);
		key.ed25519 = secret_key;
		len = token_compose(fields, key, audience, audience_len, bytes);
		key_wipe(secret_key, sizeof(secret_key));
	}
	else
	{
		key.hmac = hash_key_for_signing(fields->creator_id, purpose, true,
										&fields->epoch);
		len = token_compose(fields, key, audience, audience_len, bytes);
	}
	if (len == 0)
		elog(ERROR, "token could not be composed");
	return make_token(bytes, len);
}

/* refuse raises what is wrong with an argument of issue_token(). */
static void
refuse(const char *message, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg_internal("%s", message),
			 errdetail_internal("%s", detail)));
}

/* object_id reads an optional link or campaign id; 0 for NULL. */
static int64
object_id(FunctionCallInfo fcinfo, int arg, const char *name, TokenKind kind)
{
	int64		id;

	if (PG_ARGISNULL(arg))
		return 0;
	id = PG_GETARG_INT64(arg);
	if (kind == TOKEN_SESSION)
		refuse(psprintf("a session token has no %s", name),
			   "Only redirect and receipt tokens name a link or a campaign.");
	if (id < 1 || id > MAX_OBJECT_ID)
		refuse(psprintf("%s is out of range", name),
			   psprintf("It is " INT64_FORMAT " and must be from 1 to " INT64_FORMAT ".",
						id, MAX_OBJECT_ID));
	return id;
}

/* expiry_of works out when the token expires: expires_at, else ttl, else the default of the kind. */
static uint32
expiry_of(FunctionCallInfo fcinfo, int ttl_arg, int expires_at_arg, TokenKind kind)
{
	TimestampTz now = GetCurrentTransactionStartTimestamp();
	TimestampTz at;
	uint32		expires = 0;
	bool		fits = true;

	if (!PG_ARGISNULL(expires_at_arg))
		at = PG_GETARG_TIMESTAMPTZ(expires_at_arg);
	else if (!PG_ARGISNULL(ttl_arg))
	{
		Interval   *ttl = PG_GETARG_INTERVAL_P(ttl_arg);

		/* what would overflow is out of range anyway */
		fits = fabs(((double) ttl->month * DAYS_PER_YEAR / MONTHS_PER_YEAR + ttl->day) *
					USECS_PER_DAY) + fabs((double) ttl->time) < MAX_TTL_USECS;
		at = fits
			? DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
													  TimestampTzGetDatum(now),
													  IntervalPGetDatum(ttl)))
			: DT_NOEND;
	}
	else if (kind == TOKEN_SESSION)
		at = now + SESSION_TTL_HOURS * USECS_PER_HOUR;
	else
		at = now + LINK_TTL_DAYS * USECS_PER_DAY;

	if (!token_expiry(at, &expires))
		refuse("expiry of a token is out of range",
			   "It must be from 1970-01-01 00:00:00 UTC to 2106-02-07 06:28:15 UTC.");
	return expires;
}

/* issue_token is the SQL function of that name. */
Datum
issue_token(PG_FUNCTION_ARGS)
{
	TokenFields fields = {0};
	int64		creator_id;
	char	   *name;
	pg_uuid_t  *event_id;
	text	   *audience;

	if (PG_ARGISNULL(0))
		refuse("creator_id is missing", "It must not be NULL.");
	creator_id = PG_GETARG_INT64(0);
	if (creator_id < 1 || creator_id > MAX_CREATOR_ID)
		refuse("creator_id is out of range",
			   psprintf("It is " INT64_FORMAT " and must be from 1 to " INT64_FORMAT ".",
						creator_id, MAX_CREATOR_ID));
	fields.creator_id = creator_id;

	if (PG_ARGISNULL(1))
		refuse("kind is missing", "It must be session, redirect or receipt.");
	name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	if (!token_kind_by_name(name, &fields.kind))
		refuse(psprintf("unknown kind of token \"%s\"", name),
			   "It must be session, redirect or receipt.");

	if (PG_ARGISNULL(2))
		refuse("event_id is missing", "It must not be NULL.");
	event_id = PG_GETARG_UUID_P(2);
	if (!uuidv7_is(event_id))
		refuse("event_id is not a version 7 UUID",
			   "Tokens are made for a click or visit, whose id carries its time.");
	memcpy(fields.event_id, event_id->data, UUID_LEN);

	fields.link_id = object_id(fcinfo, 3, "link_id", fields.kind);
	fields.campaign_id = object_id(fcinfo, 4, "campaign_id", fields.kind);

	if (!PG_ARGISNULL(7))
	{
		name = text_to_cstring(PG_GETARG_TEXT_PP(7));
		if (!token_algorithm_by_name(name, &fields.algorithm))
			refuse(psprintf("unknown token algorithm \"%s\"", name),
				   "It must be hmac or ed25519.");
	}
	fields.expires = expiry_of(fcinfo, 5, 8, fields.kind);

	audience = PG_ARGISNULL(6) ? cstring_to_text("") : PG_GETARG_TEXT_PP(6);
	PG_RETURN_POINTER(token_sign(&fields, VARDATA_ANY(audience),
								 VARSIZE_ANY_EXHDR(audience)));
}

/*
 * Judging
 */

/* judge does what token_judge() promises, with the reason as a number. */
static Reason
judge(const char *text, size_t len, const char *audience, size_t audience_len,
	  TimestampTz at, TokenFields *fields)
{
	uint8		bytes[TOKEN_MAX_BYTES];
	uint8		public_key[PUBLIC_KEY_BYTES];
	TokenKey	key = {0};
	size_t		bytes_len = token_decode_any(text, len, bytes);
	KeyPurpose	purpose;
	KeyState	state;

	if (bytes_len == 0 || !token_parse(bytes, bytes_len, fields))
		return REASON_MALFORMED;

	purpose = token_key_purpose(fields->algorithm);
	if (fields->algorithm == TOKEN_ED25519)
	{
		state = public_key_for_verifying(fields->creator_id, purpose,
										 fields->epoch, public_key);
		key.ed25519 = public_key;
	}
	else
		state = hash_key_for_verifying(fields->creator_id, purpose,
									   fields->epoch, &key.hmac);
	if (state == KEY_REVOKED)
		return REASON_REVOKED_KEY;
	if (state != KEY_OK)
		return REASON_UNKNOWN_KEY;

	if (!token_tag_holds(bytes, bytes_len, fields, key, audience, audience_len))
		return REASON_BAD_SIGNATURE;
	key_verified(fields->creator_id, purpose, fields->epoch, key.ed25519);

	/* not valid any more at the very moment it expires, as in RFC 7519 */
	if (at >= ((TimestampTz) fields->expires - UNIX_EPOCH_OFFSET_SECS) * USECS_PER_SEC)
		return REASON_EXPIRED;
	return REASON_NONE;
}

/* token_judge judges any text. */
void
token_judge(const char *text, size_t len,
			const char *audience, size_t audience_len,
			TimestampTz at, TokenVerdict *verdict)
{
	Reason		reason = judge(text, len, audience, audience_len, at,
							   &verdict->fields);

	verdict->valid = reason == REASON_NONE;
	verdict->genuine = reason == REASON_NONE || reason == REASON_EXPIRED;
	verdict->reason = reason_names[reason];
}

/* The texts that results of verify_token() point to, made once per backend. */
static struct
{
	bool		ready;
	Datum		reasons[NUM_REASONS];
	Datum		kinds[NUM_TOKEN_KINDS];
}			verify_texts;

/* prepare_verify_texts makes them. */
static void
prepare_verify_texts(void)
{
	MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);

	for (int i = REASON_NONE + 1; i < NUM_REASONS; i++)
		verify_texts.reasons[i] = CStringGetTextDatum(reason_names[i]);
	for (int i = 0; i < NUM_TOKEN_KINDS; i++)
		verify_texts.kinds[i] = CStringGetTextDatum(token_kind_name((TokenKind) i));
	verify_texts.ready = true;
	MemoryContextSwitchTo(caller);
}

/* verify_token is the SQL function of that name. */
Datum
verify_token(PG_FUNCTION_ARGS)
{
	static ResultShape shape;
	Datum		values[NUM_VERIFY_COLUMNS];
	bool		nulls[NUM_VERIFY_COLUMNS];
	TokenFields fields;
	Reason		reason = REASON_MALFORMED;

	if (!verify_texts.ready)
		prepare_verify_texts();

	/* a text far too long is not even fetched */
	if (!PG_ARGISNULL(0) &&
		toast_raw_datum_size(PG_GETARG_DATUM(0)) <= VARHDRSZ + TOKEN_MAX_QR)
	{
		text	   *token = PG_GETARG_TEXT_PP(0);
		text	   *audience = PG_ARGISNULL(1) ? NULL : PG_GETARG_TEXT_PP(1);
		TimestampTz at = PG_ARGISNULL(2) ? GetCurrentTransactionStartTimestamp()
			: PG_GETARG_TIMESTAMPTZ(2);

		reason = judge(VARDATA_ANY(token), VARSIZE_ANY_EXHDR(token),
					   audience != NULL ? VARDATA_ANY(audience) : NULL,
					   audience != NULL ? VARSIZE_ANY_EXHDR(audience) : 0,
					   at, &fields);
	}

	memset(nulls, true, sizeof(nulls));
	values[VERIFY_VALID] = BoolGetDatum(reason == REASON_NONE);
	nulls[VERIFY_VALID] = false;
	if (reason != REASON_NONE)
	{
		values[VERIFY_REASON] = verify_texts.reasons[reason];
		nulls[VERIFY_REASON] = false;
	}

	if (reason == REASON_NONE || reason == REASON_EXPIRED)
	{
		pg_uuid_t  *event_id = (pg_uuid_t *) fields.event_id;

		values[VERIFY_KIND] = verify_texts.kinds[fields.kind];
		nulls[VERIFY_KIND] = false;
		values[VERIFY_CREATOR_ID] = Int64GetDatum(fields.creator_id);
		nulls[VERIFY_CREATOR_ID] = false;
		values[VERIFY_CLICK_ID] = UUIDPGetDatum(event_id);
		nulls[VERIFY_CLICK_ID] = false;
		if (fields.link_id != 0)
		{
			values[VERIFY_LINK_ID] = Int64GetDatum(fields.link_id);
			nulls[VERIFY_LINK_ID] = false;
		}
		if (fields.campaign_id != 0)
		{
			values[VERIFY_CAMPAIGN_ID] = Int64GetDatum(fields.campaign_id);
			nulls[VERIFY_CAMPAIGN_ID] = false;
		}
		values[VERIFY_ISSUED_AT] = TimestampTzGetDatum(uuidv7_time(event_id));
		nulls[VERIFY_ISSUED_AT] = false;
		values[VERIFY_EXPIRES_AT] =
			TimestampTzGetDatum(((TimestampTz) fields.expires - UNIX_EPOCH_OFFSET_SECS) *
								USECS_PER_SEC);
		nulls[VERIFY_EXPIRES_AT] = false;
		values[VERIFY_EPOCH] = Int32GetDatum(fields.epoch);
		nulls[VERIFY_EPOCH] = false;
	}

	PG_RETURN_DATUM(HeapTupleGetDatum(result_tuple(&shape, fcinfo, values, nulls)));
}
