/*-------------------------------------------------------------------------
 *
 * tracking.h
 *	  The UTM parameters and platforms' click ids of a URL.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_TRACKING_H
#define BIOLINK_TRACKING_H

#include "biolink.h"
#include "channel_core.h"

#include "utils/jsonb.h"

/*
 * Collect what a query says of where a visitor comes from, as a JSON object;
 * NULL when it says nothing.  What the channel is worked out from is filled
 * into *input, where that is given.
 */
extern Jsonb *tracking_params(Slice query, ChannelInput *input);

#endif							/* BIOLINK_TRACKING_H */
