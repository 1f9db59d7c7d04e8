/*-------------------------------------------------------------------------
 *
 * config_cache.h
 *	  Creators, links and offers as the request path needs them, and the time
 *	  before which events are no longer kept.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_CONFIG_CACHE_H
#define BIOLINK_CONFIG_CACHE_H

#include "biolink.h"
#include "url_core.h"

#include "pgtime.h"
#include "datatype/timestamp.h"
#include "utils/jsonb.h"

typedef struct CreatorConfig
{
	int64		creator_id;
	int			nhosts;
	Slice	   *hosts;			/* lower case */
	pg_tz	   *time_zone;
	int64		session_token_ttl;	/* seconds */
	int64		redirect_token_ttl;
	int64		clock_skew;		/* microseconds by which clocks may differ */
} CreatorConfig;

typedef struct LinkConfig
{
	int64		link_id;
	int64		offer_id;		/* 0 for none */
	int64		campaign_id;	/* 0 for none */
	bool		active;
	Slice		url;
	UrlParts	parts;
	Slice		token_param;	/* empty for none */
	bool		token_is_click_id;
	int			nadditions;		/* the link's UTM */
	UrlAddition *additions;
} LinkConfig;

extern const CreatorConfig *creator_config(int64 creator_id);
extern const LinkConfig *link_config(int64 creator_id, Slice slug);
extern Jsonb *offers_of(int64 creator_id, int32 max_offers);
extern TimestampTz event_horizon(void);

#endif							/* BIOLINK_CONFIG_CACHE_H */
