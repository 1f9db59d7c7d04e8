/*-------------------------------------------------------------------------
 *
 * event_store.h
 *	  Writing events, their keys and what was parked.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_EVENT_STORE_H
#define BIOLINK_EVENT_STORE_H

#include "biolink.h"
#include "request.h"

/* What is to be known of an event that was kept as it is all the same. */
typedef enum EventFlag
{
	FLAG_SKEW_CORRECTED = 1 << 0,	/* its clock was wrong by what sent_at showed */
	FLAG_CLAMPED = 1 << 1,		/* it claimed to be from the future */
	FLAG_UNKNOWN_LINK = 1 << 2,
	FLAG_UNKNOWN_OFFER = 1 << 3,
	FLAG_REFS_DIFFER = 1 << 4,	/* its references name sales of different money */
	FLAG_PARTS_DIFFER = 1 << 5, /* it says another tax, shipping or fee than its sale */
	FLAG_MALFORMED_REFS = 1 << 6,
	FLAG_MALFORMED_ITEMS = 1 << 7,
	FLAG_MALFORMED_CODES = 1 << 8,
	FLAG_MALFORMED_IDENTIFIERS = 1 << 9
} EventFlag;

/* Parts of an order's amount that may not be the creator's revenue. */
typedef enum MoneyPart
{
	PART_TAX,
	PART_SHIPPING,
	PART_FEE
} MoneyPart;

#define NUM_MONEY_PARTS	3

/* An amount, and those of its parts that were stated. */
typedef struct Money
{
	int64		amount;
	bool		has_part[NUM_MONEY_PARTS];
	int64		part[NUM_MONEY_PARTS];
} Money;

/*
 * A row of biolink.event.  A slice of length 0, an id of 0 and a NULL pointer
 * are NULL in the table.
 */
typedef struct EventRow
{
	int64		creator_id;
	pg_uuid_t	event_id;
	TimestampTz occurred_at;
	TimestampTz received_at;
	bool		has_visitor;
	IdHash		visitor;
	bool		has_day_visitor;
	IdHash		day_visitor;
	bool		has_visit_id;
	pg_uuid_t	visit_id;
	bool		has_click_id;
	pg_uuid_t	click_id;
	int64		link_id;
	int64		campaign_id;
	int64		offer_id;
	int64		post_id;
	Slice		user_agent;		/* stored once, by hash */
	Slice		referrer;		/* likewise, masked */
	bool		has_amount;
	Money		money;
	bool		is_bot;
	bool		is_test;
	bool		merged;
	bool		measurement_denied;
	uint32		flags;			/* of EventFlag */
	Slice		kind;
	Slice		source;
	Slice		bot_reason;
	Slice		evidence;
	Slice		token_reason;
	Slice		channel;
	Slice		channel_evidence;
	Slice		medium;
	Slice		platform;
	Slice		device;
	Slice		os;
	Slice		browser;
	Slice		app;
	Slice		country;
	Slice		region;
	Slice		city;
	Slice		language;
	Slice		referrer_host;
	Slice		order_id;
	Slice		order_type;
	Slice		payment;
	Slice		goal;
	Slice		currency;
	Slice		subscription_id;
	Datum	   *codes;			/* texts */
	int			ncodes;
	Jsonb	   *items;
	Jsonb	   *utm;
	Jsonb	   *context;
} EventRow;

/* A row of biolink.ledger. */
typedef struct LedgerEntry
{
	int64		creator_id;
	pg_uuid_t	entry_id;
	pg_uuid_t	event_id;
	Slice		order_id;
	const char *kind;
	Money		money;			/* signed */
	Slice		currency;
	TimestampTz occurred_at;
	TimestampTz received_at;
	bool		is_test;
} LedgerEntry;

/* A keyed digest, with the epoch of the key it was made under. */
#define DIGEST_BYTES	18

typedef struct EventDigest
{
	uint8		data[DIGEST_BYTES];
} EventDigest;

/* What the text of a parked event is sealed as. */
#define PARKED_LABEL	"event_parked"

/* What an idempotency key did before. */
typedef struct KnownKey
{
	pg_uuid_t	event_id;
	char	   *kind;
	int64		revision;
	bool		same_content;
} KnownKey;

/*
 * Rows that are written together.  Where a sink is given, what would be
 * inserted waits in it until event_sink_flush().
 */
typedef struct EventSink EventSink;

extern EventSink *event_sink_make(MemoryContext context, int capacity);
extern bool event_sink_holds(const EventSink *sink, Slice name);
extern void event_sink_note(EventSink *sink, Slice name);
extern void event_sink_know(EventSink *sink, Datum ref);
extern bool event_sink_knows(const EventSink *sink, Datum ref);
extern void event_sink_flush(EventSink *sink);
extern void event_sink_empty(EventSink *sink);

extern void event_settle_time(EventRow *row, int64 skew, const TimestampTz *sent_at);
extern void event_note(EventRow *row, const char *key, Slice text);
extern void event_insert(EventRow *row, EventSink *sink);
extern void ledger_insert(const LedgerEntry *entry, EventSink *sink);
extern void queue_insert(int64 creator_id, const pg_uuid_t *conversion_id, const char *reason,
						 EventSink *sink);

/* What happens where a reference is there already: that of a sale learns which event booked it. */
#define ORDER_REF_CONFLICT \
	" ON CONFLICT (creator_id, ref) DO UPDATE SET event_id = excluded.event_id WHERE excluded.event_id IS NOT NULL"

extern void order_ref_insert(const EventRow *row, Datum ref, const char *order_id, bool is_sale, EventSink *sink);

extern EventDigest event_digest(int64 creator_id, Slice content);
extern char *event_key_stored(int64 creator_id, Slice key);

/* A key to be claimed, one of many, and what came of it. */
typedef struct KeyClaim
{
	Slice		source;
	char	   *stored_key;
	pg_uuid_t	event_id;
	Slice		kind;
	int64		revision;
	EventDigest digest;
	TimestampTz received_at;
	bool		claimed;		/* it was new and is this claim's */
	bool		known;			/* it was not; what it did before: */
	pg_uuid_t	known_event_id;
	int64		known_revision;
	char	   *known_kind;
	EventDigest known_digest;
} KeyClaim;

extern void event_keys_take(int64 creator_id, KeyClaim **claims, int nclaims);
extern bool event_digest_matches(int64 creator_id, const EventDigest *stored,
								 const EventDigest *digest, Slice content);
extern bool event_key_take(int64 creator_id, Slice source, const char *stored_key,
						   const pg_uuid_t *event_id, Slice kind, int64 revision,
						   const EventDigest *digest, Slice content,
						   TimestampTz received_at, KnownKey *known);
extern void event_key_give_back(int64 creator_id, Slice source, const char *stored_key);
extern void event_key_revise(int64 creator_id, Slice source, const char *stored_key,
							 int64 revision, const EventDigest *digest,
							 const pg_uuid_t *event_id);
extern void event_key_note_lower(int64 creator_id, Slice source, const char *stored_key,
								 const pg_uuid_t *event_id, Slice kind, int64 revision,
								 const EventDigest *digest, TimestampTz received_at, bool counts);
extern bool event_key_had(int64 creator_id, Slice source, const char *stored_key,
						  int64 revision, const EventDigest *digest, Slice content,
						  pg_uuid_t *event_id, bool *same_content);

extern bool event_park(int64 creator_id, Slice source, const char *stored_key, Slice kind,
					   const char *reason, const char *detail, Jsonb *event, Slice content,
					   Slice original, pg_uuid_t *parked_id);

extern IdHash visitor_hash(int64 creator_id, Slice value);
extern IdHash session_visitor(int64 creator_id, const pg_uuid_t *event_id);

#endif							/* BIOLINK_EVENT_STORE_H */
