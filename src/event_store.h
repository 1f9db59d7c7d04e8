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
	int64		amount;
	bool		is_bot;
	bool		is_test;
	bool		merged;
	bool		measurement_denied;
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
	Jsonb	   *utm;
	Jsonb	   *context;
} EventRow;

/* A keyed digest, with the epoch of the key it was made under. */
#define DIGEST_BYTES	18

typedef struct EventDigest
{
	uint8		data[DIGEST_BYTES];
} EventDigest;

/* What an idempotency key did before. */
typedef struct KnownKey
{
	pg_uuid_t	event_id;
	char	   *kind;
	int64		revision;
	bool		same_content;
} KnownKey;

extern void event_insert(EventRow *row);

extern EventDigest event_digest(int64 creator_id, Slice content);
extern char *event_key_stored(int64 creator_id, Slice key);

extern bool event_key_take(int64 creator_id, Slice source, const char *stored_key,
						   const pg_uuid_t *event_id, Slice kind, int64 revision,
						   const EventDigest *digest, Slice content,
						   TimestampTz received_at, KnownKey *known);
extern void event_key_give_back(int64 creator_id, Slice source, const char *stored_key);
extern void event_key_revise(int64 creator_id, Slice source, const char *stored_key,
							 int64 revision, const EventDigest *digest,
							 const pg_uuid_t *event_id);
extern bool event_key_had(int64 creator_id, Slice source, const char *stored_key,
						  int64 revision, const EventDigest *digest, Slice content,
						  pg_uuid_t *event_id);

extern bool event_park(int64 creator_id, Slice source, const char *stored_key, Slice kind,
					   const char *reason, Jsonb *event, Slice content,
					   pg_uuid_t *parked_id);

extern IdHash visitor_hash(int64 creator_id, Slice value);
extern IdHash session_visitor(int64 creator_id, const pg_uuid_t *event_id);

#endif							/* BIOLINK_EVENT_STORE_H */
