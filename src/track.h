/*-------------------------------------------------------------------------
 *
 * track.h
 *	  What track() and track_batch() share: reading an event and deciding what
 *	  it does.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_TRACK_H
#define BIOLINK_TRACK_H

#include "touch.h"

/* What an event does. */
typedef enum EventEffect
{
	EFFECT_RECORD,				/* nothing but being recorded */
	EFFECT_UNPAID,				/* an order that was not paid: its references are names of a sale */
	EFFECT_GOAL,				/* a conversion without money */
	EFFECT_SALE,				/* a paid order */
	EFFECT_ADJUSTMENT			/* a refund, dispute or dispute won */
} EventEffect;

/* An event, read. */
typedef struct TrackedEvent
{
	JsonObject	object;
	Jsonb	   *jsonb;
	EventRow	row;
	EventEffect effect;
	Slice		key;
	char	   *stored_key;
	int64		revision;
	bool		has_occurred_at;
	bool		has_sent_at;
	TimestampTz sent_at;
	Slice		token;
	Slice		click_id;
	Slice		visitor;
	Slice		url;
	Slice	   *order_refs;		/* as sent */
	int			norder_refs;
	Datum	   *refs;			/* as stored, order_id first: the names of its sale */
	int			nrefs;
	bool		refs_are_new;	/* none of them names anything yet */
	bool		token_from_url;
	bool		is_touch;		/* a visit or click that was seen elsewhere */
	Request		request;		/* of a visit or click */
	Slice		link;			/* likewise: the slug */
	bool		malformed;		/* a token, click id, visitor or url of a wrong type */
	Slice		content;		/* canonical text, once track_content() was asked for it */
	EventDigest digest;
	EventSink  *sink;			/* where its rows wait for others; NULL: nowhere */
} TrackedEvent;

/* What track() answers. */
typedef struct TrackAnswer
{
	const char *status;
	pg_uuid_t	event_id;
	const char *detail;
} TrackAnswer;

extern const CreatorConfig *track_creator(int64 creator_id);
extern void track_arrive(int64 clock_skew, TrackedEvent *event, TimestampTz received_at);
extern void track_read(Jsonb *jsonb, int64 creator_id, TrackedEvent *event);
extern void track_digest(TrackedEvent *event);
extern void track_name(TrackedEvent *event);
extern Slice track_content(TrackedEvent *event);
extern void track_claimed(TrackedEvent *event, TrackAnswer *answer);
extern void track_known(TrackedEvent *event, const KnownKey *known, TrackAnswer *answer);
extern bool track_park(int64 creator_id, Slice source, const char *stored_key, Slice kind,
					   const char *reason, const char *detail, Jsonb *jsonb, Slice text,
					   pg_uuid_t *parked_id);

#endif							/* BIOLINK_TRACK_H */
