/*-------------------------------------------------------------------------
 *
 * agent_core.h
 *	  What a User-Agent header and its company say about a request.
 *
 * Pure: no PostgreSQL.  All strings in the result are constants.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_AGENT_CORE_H
#define BIOLINK_AGENT_CORE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct AgentClass
{
	const char *device;			/* phone, tablet, desktop, tv, console, wearable, other */
	const char *os;				/* ios, android, windows, macos, linux, chromeos, other ... */
	const char *browser;		/* chrome, safari, firefox, edge, opera, samsung, ie, other ... */
	const char *app;			/* in-app browser: instagram, facebook, tiktok ...; NULL for none */
	bool		is_bot;
	const char *reason;			/* NULL unless is_bot: crawler, preview, monitor, library, headless, empty_agent */
} AgentClass;

extern void agent_classify(const char *user_agent, size_t len, AgentClass *result);

/* Does this request header say that nobody is looking (yet)?  Sec-Purpose, Purpose, X-Moz, X-Purpose. */
extern bool agent_header_is_prefetch(const char *name, size_t name_len,
									 const char *value, size_t value_len);

#endif							/* BIOLINK_AGENT_CORE_H */
