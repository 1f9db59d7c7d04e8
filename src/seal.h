/*-------------------------------------------------------------------------
 *
 * seal.h
 *	  Texts that the database keeps and must not show.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_SEAL_H
#define BIOLINK_SEAL_H

#include "biolink.h"
#include "url_core.h"

extern bytea *seal_text(int64 creator_id, const char *label, Slice text);
extern bool seal_open(int64 creator_id, const char *label, const bytea *sealed, Slice *text);

#endif							/* BIOLINK_SEAL_H */
