/*-------------------------------------------------------------------------
 *
 * touch.h
 *	  A visit or click: what its request says.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_TOUCH_H
#define BIOLINK_TOUCH_H

#include "agent_core.h"
#include "config_cache.h"
#include "event_store.h"
#include "request.h"
#include "token.h"

/* Keys that say what a request was; they never go to context. */
#define REQUEST_KEYS \
	"user_agent", "method", "url", "referrer", "headers", "ip", "country", \
	"region", "city", "language", "platform", "post", "caption", "visitor", \
	"token", "campaign", "consent", "test", "occurred_at"

/*
 * A request, read.  Whoever reads it sets token, visitor and url, and has
 * request_read() read the others; all of it begins as zeros.
 */
typedef struct Request
{
	Slice		url;
	bool		has_url_parts;
	UrlParts	url_parts;
	Slice		visitor;
	Slice		token;
	bool		token_from_url;
	TokenVerdict verdict;		/* of a click's token */
	Slice		ip;
	Slice		post;
	Slice		caption;
	Slice		campaign;
	Slice		referrer;
	Slice		stated_platform;
	bool		shows_agent;	/* what it says of the agent, or does not, is what the agent said */
	bool		is_head;
	bool		is_prefetch;
	AgentClass	agent;
} Request;

extern void request_read(JsonObject *object, Request *request, EventRow *row);
extern void request_judge(Request *request, EventRow *row);
extern void touch_work_out(const CreatorConfig *creator, Request *request, EventRow *row,
						   EventSink *sink);
extern void touch_look_up_names(const Request *request, EventRow *row, EventSink *sink);
extern void touch_insert(EventRow *row, EventSink *sink);

#endif							/* BIOLINK_TOUCH_H */
