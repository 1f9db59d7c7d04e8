/*-------------------------------------------------------------------------
 *
 * token_core.h
 *	  The byte layout and the text forms of biolink tokens.
 *
 * Pure: libsodium only.  Every length is checked here, before any byte is
 * read.
 *
 *-------------------------------------------------------------------------
 */
#ifndef BIOLINK_TOKEN_CORE_H
#define BIOLINK_TOKEN_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "derive.h"

typedef enum TokenKind
{
	TOKEN_SESSION = 0,
	TOKEN_REDIRECT = 1,
	TOKEN_RECEIPT = 2
} TokenKind;

typedef enum TokenAlgorithm
{
	TOKEN_HMAC = 0,
	TOKEN_ED25519 = 1
} TokenAlgorithm;

#define TOKEN_MAX_BYTES		105
#define TOKEN_MAX_TEXT		140		/* base64url, without a NUL */
#define TOKEN_MAX_QR		168		/* base32, without a NUL */

/* What a token says, tag apart. */
typedef struct TokenFields
{
	TokenKind	kind;
	TokenAlgorithm algorithm;
	uint16_t	epoch;
	uint8_t		event_id[16];
	uint32_t	expires;		/* Unix seconds */
	int64_t		creator_id;
	int64_t		link_id;		/* 0 for none, always 0 in a session token */
	int64_t		campaign_id;
} TokenFields;

#endif							/* BIOLINK_TOKEN_CORE_H */
