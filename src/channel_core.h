/*-------------------------------------------------------------------------
 *
 * channel_core.h
 *	  Which channel, medium and platform a visit or click came through.
 *
 * Pure: no PostgreSQL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_CHANNEL_CORE_H
#define BIOLINK_CHANNEL_CORE_H

#include "url_core.h"

#define CHANNEL_MAX_BYTES	100

typedef struct ChannelInput
{
	Slice		utm_source;		/* decoded */
	Slice		utm_medium;		/* decoded */
	Slice		platform;		/* stated by the application */
	const char *click_id_platform;	/* from channel_click_id(), or NULL */
	bool		click_id_paid;	/* that click id is only given to paid clicks */
	const char *app;			/* AgentClass.app, or NULL */
	Slice		referrer_host;	/* empty for none; own hosts are not passed */
} ChannelInput;

typedef struct ChannelResult
{
	char		channel[CHANNEL_MAX_BYTES + 1];	/* lower case, NUL-terminated */
	char		medium[CHANNEL_MAX_BYTES + 1];
	const char *platform;		/* known platform (instagram, tiktok ...) or NULL */
	const char *evidence;		/* utm_source, platform, click_id, app, referrer, direct */
} ChannelResult;

extern void channel_resolve(const ChannelInput *input, ChannelResult *result);

/* Is this (decoded) parameter name a platform's click id?  Fills platform; paid when only ads carry it. */
extern bool channel_click_id(const char *name, size_t len,
							 const char **platform, bool *paid);

/* Is this host one of a payment provider, whose referrer says nothing of where a buyer came from? */
extern bool channel_payment_host(const char *host, size_t len);

#endif							/* BIOLINK_CHANNEL_CORE_H */
