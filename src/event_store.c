/*-------------------------------------------------------------------------
 *
 * event_store.c
 *	  Writing events, their keys and what was parked.
 *
 * Owns the statements that insert into biolink.event, event_key, event_parked
 * and repeated_text, and the memory of which repeated texts are stored already.
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
#include "worker.h"

#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include <sodium.h>

#define MAX_STORED_TEXTS	16384

/* A longer key is stored as its hash: an index has no room for it. */
#define MAX_KEY_BYTES		500

typedef struct StoredText
{
	int64		creator_id;
	int64		text_id;
} StoredText;

static HTAB *stored_texts = NULL;
static bool callbacks_registered = false;

static SavedPlan event_plan = SAVED_PLAN(
	"INSERT INTO biolink.event (creator_id, event_id, occurred_at, received_at, visitor, day_visitor, visit_id, click_id,"
	" link_id, campaign_id, offer_id, post_id, agent_id, referrer_id, amount, is_bot, is_test, merged, measurement_denied,"
	" kind, source, bot_reason, evidence, token_reason, channel, channel_evidence, medium, platform, device, os, browser, app,"
	" country, region, city, language, referrer_host, order_id, order_type, payment, goal, currency, utm, context)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,"
	" $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41, $42, $43, $44)",
	"luzzhhuulllllllooootttttttttttttttttttttttjj");
#define EVENT_COLUMNS	44

static SavedPlan text_known_plan = SAVED_PLAN(
	"SELECT 1 FROM biolink.repeated_text AS t"
	" WHERE t.creator_id OPERATOR(pg_catalog.=) $1 AND t.text_id OPERATOR(pg_catalog.=) $2 LIMIT 1",
	"ll");

static SavedPlan text_plan = SAVED_PLAN(
	"INSERT INTO biolink.repeated_text (creator_id, text_id, event_id, value) VALUES ($1, $2, $3, $4)"
	" ON CONFLICT DO NOTHING",
	"llut");

static SavedPlan key_plan = SAVED_PLAN(
	"INSERT INTO biolink.event_key (creator_id, source, key, event_id, kind, revision, digest, received_at)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
	"lttutlxz");

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
	" WHERE k.creator_id OPERATOR(pg_catalog.=) $1 AND k.source OPERATOR(pg_catalog.=) $2 AND k.key OPERATOR(pg_catalog.=) $3",
	"ltt");

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
	"INSERT INTO biolink.event_parked (creator_id, parked_id, source, key, kind, reason, event, digest)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (creator_id, source, key, digest) DO NOTHING",
	"luttttjx");

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

/* event_insert stores an event, and its texts where they are new. */
void
event_insert(EventRow *row)
{
	Datum		values[EVENT_COLUMNS];
	char		nulls[EVENT_COLUMNS];
	int			n = 0;

#define PUT(isnull, datum) \
	do { \
		bool		absent = (isnull); \
		nulls[n] = absent ? 'n' : ' '; \
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
	PUT(!row->has_amount, Int64GetDatum(row->amount));
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
	Assert(n == EVENT_COLUMNS);

#undef PUT
#undef PUT_ID
#undef PUT_TEXT

	plan_execute(&event_plan, values, nulls);
	worker_wake_at_commit();
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
 * digest_matches tells whether a stored digest is of this content; a digest
 * of an epoch whose key is gone cannot tell, and counts as the same.
 */
static bool
digest_matches(int64 creator_id, const bytea *stored, const EventDigest *digest, Slice content)
{
	const uint8 *bytes = (const uint8 *) VARDATA_ANY(stored);
	uint16		epoch;
	const HashKey *key;
	EventDigest again;
	bool		same;

	if (VARSIZE_ANY_EXHDR(stored) != DIGEST_BYTES)
		elog(ERROR, "stored digest has %d bytes", (int) VARSIZE_ANY_EXHDR(stored));
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
		digest_matches(creator_id,
					   DatumGetByteaPP(SPI_getbinval(tuple, descriptor, 4, &isnull)),
					   digest, content);
	return false;
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

/* event_key_had tells whether a lower revision was sent with this content before, and what it made. */
bool
event_key_had(int64 creator_id, Slice source, const char *stored_key,
			  int64 revision, const EventDigest *digest, Slice content,
			  pg_uuid_t *event_id)
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
	return digest_matches(creator_id,
						  DatumGetByteaPP(SPI_getbinval(tuple, descriptor, 2, &isnull)),
						  digest, content);
}

/*
 * event_park keeps what could not be taken, masked; false when the same is
 * parked already.  parked_id is that of the row either way.
 */
bool
event_park(int64 creator_id, Slice source, const char *stored_key, Slice kind,
		   const char *reason, Jsonb *event, Slice content, pg_uuid_t *parked_id)
{
	EventDigest digest = event_digest(creator_id, content);
	Datum		values[8];
	Datum		lookup[4];
	char		nulls[8];
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
	values[6] = JsonbPGetDatum(jsonb_masked(event));
	values[7] = lookup[3] = digest_datum(&digest);
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
